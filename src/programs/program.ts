// What can be known of a program file before it is run: whether it can be, and by what.

import { constants, accessSync, closeSync, openSync, readSync, statSync } from 'node:fs'
import { dirname } from 'node:path'

/** What a look at a program file tells. */
export interface ProgramFacts {
  /** What is run, and where. */
  readonly command: string
  /** The folder it lies in. */
  readonly cwd: string
  /** `binary`: machine code. `script`: its first line names an interpreter. `unknown`: neither, so the system would refuse it. */
  readonly kind: 'binary' | 'script' | 'unknown'
  /** The first line's words behind `#!`. */
  readonly interpreter: readonly string[]
  /** Why it cannot be run, with what to do; undefined when it can, as far as one can see from outside. */
  readonly problem: string | undefined
}

/** The kernel reads as much (BINPRM_BUF_SIZE). */
const FIRST_LINE = 256

/** Looks at a file that is to be run as a FastCGI program. It must be an absolute path; throws what the system says when it cannot be read. */
export function describeProgram(file: string): ProgramFacts {
  const { mode, isFile } = look(file)
  const facts = { command: file, cwd: dirname(file), interpreter: [] as readonly string[] }
  if (!isFile) return { ...facts, kind: 'unknown', problem: `${file} is not a regular file` }
  const start = firstBytes(file)
  const executable = (mode & 0o111) !== 0
  const bit = executable ? undefined : `${file} is not executable; run chmod +x on it`
  if (start.startsWith('\x7fELF')) return { ...facts, kind: 'binary', problem: bit }
  if (!start.startsWith('#!')) {
    return {
      ...facts,
      kind: 'unknown',
      problem: bit ?? `${file} is no program: its first line must name its interpreter, such as #!/usr/bin/perl`,
    }
  }
  const [line] = start.slice(2).split('\n') as [string]
  const interpreter = line.trim().split(/[ \t]+/)
  return { ...facts, kind: 'script', interpreter, problem: bit ?? wrongInterpreter(file, line, interpreter[0] ?? '') }
}

function wrongInterpreter(file: string, line: string, interpreter: string): string | undefined {
  if (line.endsWith('\r')) return `${file} has line ends of Windows: the system would look for "${interpreter}\\r"; save it with line feeds`
  if (!interpreter.startsWith('/')) return `${file}: its first line must name its interpreter by an absolute path, not "${interpreter}"`
  try {
    accessSync(interpreter, constants.X_OK)
    return undefined
  } catch {
    return `${file}: its interpreter ${interpreter} is not there or cannot be executed`
  }
}

function look(file: string): { mode: number; isFile: boolean } {
  const stat = statSync(file)
  return { mode: stat.mode, isFile: stat.isFile() }
}

function firstBytes(file: string): string {
  const fd = openSync(file, 'r')
  try {
    const buffer = Buffer.alloc(FIRST_LINE)
    return buffer.toString('latin1', 0, readSync(fd, buffer, 0, FIRST_LINE, 0))
  } finally {
    closeSync(fd)
  }
}
