// process.dumpable = no: workers whose memory other processes of their user can neither trace nor have written into a core file.
//
// php-fpm gets that of the kernel for having changed its user, but an exec makes a process dumpable again: unless its program is a file
// that it may run and not read (execve(2), prctl(2) on PR_SET_DUMPABLE). So workers are started from such a copy; by one more program,
// for setpriv still has root's right to read everything, and loses it in its own exec.

import { chmodSync, constants, copyFileSync, mkdtempSync, rmSync, statSync, accessSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, dirname, join } from 'node:path'
import { findProgram } from '../process/index.ts'

export interface UnreadableCopy {
  readonly file: string
  /** What starts it. */
  readonly by: readonly string[]
  readonly folder: string
}

/** A copy of a program that only root may read. undefined: no program can be run from the temporary folder, or not by everybody. */
export function copyUnreadable(program: string): UnreadableCopy | undefined {
  const env = findProgram('env', { path: '/usr/bin:/bin' })
  // To env(1) a word with `=` is a variable.
  if (env === undefined || tmpdir().includes('=')) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-fpm-run-'))
  try {
    chmodSync(folder, 0o711)
    const file = join(folder, basename(program))
    copyFileSync(program, file, constants.COPYFILE_FICLONE)
    chmodSync(file, 0o711)
    // A file system without programs says so here (access(2), EACCES).
    accessSync(file, constants.X_OK)
    if (reachable(folder)) return { file, by: [env], folder }
  } catch {
    // What cannot be copied is run as it is.
  }
  rmSync(folder, { recursive: true, force: true })
  return undefined
}

/** Whether everybody may look for a name in this folder. */
function reachable(folder: string): boolean {
  for (let each = folder; ; each = dirname(each)) {
    if ((statSync(each).mode & 0o001) === 0) return false
    if (each === dirname(each)) return true
  }
}
