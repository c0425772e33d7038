// Which program a script asks for in its first line, whether it is there, and which command would bring it.

import { open } from 'node:fs/promises'
import { delimiter } from 'node:path'
import { fromByteString } from '../core/index.ts'
import { findProgram } from '../process/index.ts'
import { nativePath } from '../static/index.ts'
import type { ByteString } from '../core/index.ts'

/** Something that is needed and not there. */
export interface Missing {
  readonly what: string
  /** The command that brings it, where one is known. */
  readonly command?: string
}

export interface Interpreter {
  /** Its name, without folders. */
  readonly name: string
  /** Its path; undefined when it is not there. */
  readonly file: string | undefined
}

/** What the kernel reads of a first line. */
const LINE = 256

/** The interpreter that a script names with `#!`; undefined for a program that needs none, or that cannot be read. */
export async function interpreterOf(script: ByteString, path: string): Promise<Interpreter | undefined> {
  const line = await firstLine(script)
  const words = /^#![ \t]*([^\r\n]*)/
    .exec(line)?.[1]
    ?.split(/[ \t]+/)
    .filter((word) => word !== '')
  const command = words?.[0]
  if (words === undefined || command === undefined) return undefined
  // `env` finds the program on PATH; its own options and settings come before the name.
  const name = baseName(command) === 'env' ? words.slice(1).find((word) => !word.startsWith('-') && !word.includes('=')) : command
  if (name === undefined) return undefined
  return { name: baseName(fromByteString(name)), file: findProgram(fromByteString(name), { path, cwd: '/' }) }
}

async function firstLine(script: ByteString): Promise<string> {
  try {
    const file = await open(nativePath(script), 'r')
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(LINE), 0, LINE, 0)
      return buffer.toString('latin1', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch {
    // A program may be executable without being readable; then the kernel knows what we cannot.
    return ''
  }
}

function baseName(file: string): string {
  return file.slice(file.lastIndexOf('/') + 1)
}

const MANAGERS: readonly { readonly program: string; readonly command: string }[] = [
  { program: 'apt-get', command: 'apt-get install' },
  { program: 'dnf', command: 'dnf install' },
  { program: 'apk', command: 'apk add' },
  { program: 'pacman', command: 'pacman -S' },
  { program: 'zypper', command: 'zypper install' },
  { program: 'brew', command: 'brew install' },
]

/** Packages that are not named like the program. `*`: with every manager. */
const PACKAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'php-cgi': { dnf: 'php-cli', apk: 'php-cgi', zypper: 'php8-fastcgi', brew: 'php' },
  python: { '*': 'python3' },
  python3: { brew: 'python' },
  node: { '*': 'nodejs', brew: 'node' },
  tclsh: { '*': 'tcl' },
  lua: { 'apt-get': 'lua5.4' },
}

/** What is said of a program that is not there. */
export function missing(program: string, path: string): Missing {
  const manager = MANAGERS.find((each) => findProgram(each.program, { path: `${path}${delimiter}/usr/bin${delimiter}/sbin` }) !== undefined)
  if (manager === undefined || !/^[\w.+-]+$/.test(program)) return { what: program }
  const packages = PACKAGES[program]
  return { what: program, command: `${manager.command} ${packages?.[manager.program] ?? packages?.['*'] ?? program}` }
}

/** In a message: what is not there, and what brings it. */
export function lack({ what, command }: Missing): string {
  return command === undefined ? `no ${what}` : `no ${what} (${command})`
}

/** A path as a word for a shell. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`
}
