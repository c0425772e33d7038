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
  /** Where it was looked for, and where its name stands: for the operator, not for strangers. */
  readonly why?: string
}

export interface Interpreter {
  /** Its name, without folders. */
  readonly name: string
  /** As the script names it: a name that is looked for on PATH, or a path. */
  readonly asked: string
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
  const asked = fromByteString(name)
  return { name: baseName(asked), asked, file: findProgram(asked, { path, cwd: '/' }) }
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

/** Programs that are known to come in a package, and what that is called. `*`: with every manager that is not named. */
const PACKAGES: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'php-cgi': { '*': 'php-cgi', dnf: 'php-cli', zypper: 'php8-fastcgi', brew: 'php' },
  php: { '*': 'php', 'apt-get': 'php-cli', dnf: 'php-cli', zypper: 'php8-cli' },
  python: { '*': 'python3' },
  python3: { '*': 'python3', pacman: 'python', brew: 'python' },
  perl: { '*': 'perl' },
  ruby: { '*': 'ruby' },
  node: { '*': 'nodejs', brew: 'node' },
  bash: { '*': 'bash' },
  zsh: { '*': 'zsh' },
  gawk: { '*': 'gawk' },
  tclsh: { '*': 'tcl', brew: 'tcl-tk' },
  lua: { '*': 'lua', 'apt-get': 'lua5.4', apk: 'lua5.4' },
  guile: { '*': 'guile', 'apt-get': 'guile-3.0' },
  Rscript: { '*': 'R', 'apt-get': 'r-base-core', pacman: 'r', brew: 'r' },
}

/** Where packages put programs. A path elsewhere is somebody's own, and no package brings it. */
const SYSTEM: ReadonlySet<string> = new Set(['/bin', '/usr/bin'])

/**
 * What is said of a program that is not there. `asked`: its name or path, as it is written at `place` (`the first line of /srv/x.pl`).
 * A command is proposed only for a program that is known to come by it.
 */
export function missing(asked: string, path: string, place?: string): Missing {
  const name = baseName(asked)
  const folder = asked.includes('/') ? asked.slice(0, -name.length - 1) : undefined
  const other = folder === undefined ? undefined : findProgram(name, { path, cwd: '/' })
  const where = folder === undefined ? `there is no ${asked} on PATH (${path})` : `there is no ${asked} that can be run`
  const why = [where, place === undefined ? undefined : `${place} asks for it`, other === undefined ? undefined : `there is ${other}`]
  // What can be had under another path is not missing by its name.
  const what = folder === undefined || (SYSTEM.has(folder) && other === undefined) ? name : asked
  const command = what === name ? commandFor(name, path) : undefined
  return { what, why: why.filter((part) => part !== undefined).join('; '), ...(command !== undefined && { command }) }
}

function commandFor(program: string, path: string): string | undefined {
  const packages = Object.hasOwn(PACKAGES, program) ? PACKAGES[program] : undefined
  const manager = MANAGERS.find((each) => findProgram(each.program, { path: `${path}${delimiter}/usr/bin${delimiter}/sbin` }) !== undefined)
  const name = manager === undefined ? undefined : (packages?.[manager.program] ?? packages?.['*'])
  return manager === undefined || name === undefined ? undefined : `${manager.command} ${name}`
}

/** Where a script names its interpreter. */
export function firstLineOf(script: ByteString): string {
  return `the first line of ${fromByteString(script)}`
}

/** What is wrong with what needs it: the same words in the log, on the page, in `check` and in `explain`. */
export function tellMissing({ what, why, command }: Missing): string {
  const more = [why, command === undefined ? undefined : `${command} brings it`].filter((part) => part !== undefined)
  return `${what} is missing${more.length === 0 ? '' : `: ${more.join('; ')}`}`
}

/** In a message: what is not there, and what brings it. */
export function lack({ what, command }: Missing): string {
  return command === undefined ? `no ${what}` : `no ${what} (${command})`
}

/** A path as a word for a shell. */
export function shellWord(path: string): string {
  return /^[\w@%+=:,./-]+$/.test(path) ? path : `'${path.replaceAll("'", String.raw`'\''`)}'`
}
