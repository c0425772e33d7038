// Where programs are: the one asked for, and the small ones that set for it what Node cannot.

import { spawnSync } from 'node:child_process'
import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, join, resolve } from 'node:path'

/** Debian keeps some tools in sbin, which is not on everybody's PATH. */
const SYSTEM = ['/usr/local/sbin', '/usr/local/bin', '/usr/sbin', '/usr/bin', '/sbin', '/bin']

/**
 * The path of an executable file: `name` itself (from `cwd`) if it holds a `/`, else the first of that name on `path`.
 * undefined when there is none.
 */
export function findProgram(name: string, options: { path?: string | undefined; cwd?: string | undefined } = {}): string | undefined {
  if (name === '' || name.includes('\0')) return undefined
  const cwd = options.cwd ?? process.cwd()
  if (name.includes('/')) {
    const file = resolve(cwd, name)
    return isProgram(file) ? file : undefined
  }
  for (const folder of (options.path ?? process.env['PATH'] ?? '').split(delimiter)) {
    // An empty entry would mean the current folder, where anybody may have put a program of that name.
    if (folder === '') continue
    const file = join(resolve(cwd, folder), name)
    if (isProgram(file)) return file
  }
  return undefined
}

function isProgram(file: string): boolean {
  try {
    accessSync(file, constants.X_OK)
    return statSync(file).isFile()
  } catch {
    return false
  }
}

const found = new Map<string, string | undefined>()

/** A tool of the system by name, looked up once. */
export function tool(name: string): string | undefined {
  if (!found.has(name)) found.set(name, findProgram(name, { path: SYSTEM.join(delimiter) }))
  return found.get(name)
}

/** `chrt -b 0`, or why not. Tried once: it may be there and yet be forbidden, in containers for instance. */
let batch: { chain: readonly string[] } | { lack: string } | undefined
/**
 * The words in front of a command that runs it under SCHED_BATCH, or why that cannot be had here (no `chrt`, or not allowed). Tried once for the whole process.
 */
export function batchScheduling(): { chain: readonly string[] } | { lack: string } {
  batch ??= tryBatch()
  return batch
}

function tryBatch(): { chain: readonly string[] } | { lack: string } {
  const chrt = tool('chrt')
  if (chrt === undefined) return { lack: 'chrt was not found; it comes with util-linux' }
  const tried = spawnSync(chrt, ['-b', '0', chrt, '--max'], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 5000, env: {} })
  if (tried.status === 0) return { chain: [chrt, '-b', '0'] }
  return { lack: `chrt -b 0 does not work here: ${tried.error?.message ?? String(tried.stderr).trim()}` }
}

/** The group number of a user's entry; undefined when there is no such user. */
export function primaryGroup(user: string | number): number | undefined {
  const id = tool('id')
  if (id === undefined) return undefined
  const asked = spawnSync(id, ['-g', '--', String(user)], {
    stdio: ['ignore', 'pipe', 'ignore'],
    encoding: 'latin1',
    timeout: 5000,
    env: {},
  })
  return asked.status === 0 ? Number(asked.stdout.trim()) : undefined
}
