// What reading a configuration needs of the machine. The decisions are in read.ts, check.ts and load.ts; a test brings a machine of its own.

import { execFileSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'
import type { GlobalConfig, Message } from './types.ts'
import { glob } from './glob.ts'
import type { Globbed } from './glob.ts'

export interface ConfigHost {
  /** The text of a file, UTF-8. Throws what the system says. */
  read(path: string): string
  glob(pattern: string): Globbed
  isFolder(path: string): boolean
  /** Opens for appending, or makes with mode 0600, and closes again. Throws what the system says. */
  touch(path: string): void
  /** From the environment. */
  variable(name: string): string | undefined
  hasUser(name: string): boolean
  hasGroup(name: string): boolean
  /** Whether this process is root. */
  readonly root: boolean
  /** The main log is known from here on: opens it. Throws what the system says. */
  openErrorLog(global: GlobalConfig): void
  /** A line of the main log. */
  say(message: Message): void
  /** What PHP itself prints to standard error, past the log. */
  print(text: string): void
}

/** The parts of it that are the system's. */
export type SystemHost = Omit<ConfigHost, 'openErrorLog' | 'say' | 'print'>

export function systemHost(): SystemHost {
  return {
    root: process.geteuid?.() === 0,
    read: (path) => (statSync(path).isDirectory() ? '' : readFileSync(path, 'utf8')),
    glob,
    isFolder: (path) => statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false,
    touch: (path) => closeSync(openSync(path, 'a', 0o600)),
    variable: (name) => process.env[name],
    hasUser: (name) => hasEntry('passwd', name),
    hasGroup: (name) => hasEntry('group', name),
  }
}

/** Whether a user or a group is known, here or in a directory that the system asks (NSS). */
function hasEntry(database: 'passwd' | 'group', name: string): boolean {
  if (
    readFileSync(`/etc/${database}`, 'latin1')
      .split('\n')
      .some((line) => line.startsWith(`${name}:`))
  )
    return true
  // getent takes a number for an id, which is not what a name is.
  if (name === '' || name.startsWith('-') || /^\d+$/.test(name)) return false
  try {
    execFileSync('getent', [database, name], { stdio: 'ignore', timeout: 10_000 })
    return true
  } catch {
    return false
  }
}

/** The system's own words for what went wrong, as php-fpm ends such lines: `No such file or directory (2)`. */
export function systemError(error: unknown): string {
  const { code, errno } = error as NodeJS.ErrnoException
  const text = (code === undefined ? undefined : WORDS[code]) ?? code ?? String(error)
  return `${text} (${errno === undefined ? 0 : Math.abs(errno)})`
}

const WORDS: Readonly<Record<string, string>> = {
  EACCES: 'Permission denied',
  EISDIR: 'Is a directory',
  ELOOP: 'Too many levels of symbolic links',
  EMFILE: 'Too many open files',
  ENAMETOOLONG: 'File name too long',
  ENOENT: 'No such file or directory',
  ENOSPC: 'No space left on device',
  ENOTDIR: 'Not a directory',
  ENXIO: 'No such device or address',
  EPERM: 'Operation not permitted',
  EROFS: 'Read-only file system',
  ETXTBSY: 'Text file busy',
}
