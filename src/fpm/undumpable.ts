// process.dumpable = no: workers whose memory other processes of their user can neither trace nor have written into a core file.
//
// php-fpm gets that of the kernel for having changed its user, but an exec makes a process dumpable again: unless its program is a file
// that it may run and not read (execve(2), prctl(2) on PR_SET_DUMPABLE). So workers are started from such a copy; by one more program,
// for setpriv still has root's right to read everything, and loses it in its own exec.

import { execFileSync } from 'node:child_process'
import { chmodSync, constants, copyFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { findProgram } from '../process/index.ts'
import type { Identity } from './user.ts'

export interface UnreadableCopy {
  readonly file: string
  /** What starts it. */
  readonly by: readonly string[]
  readonly folder: string
}

/** Milliseconds for one that is only asked who it is. */
const TRIAL_TIME = 5000

/**
 * A copy of php-cgi that only root may read. undefined: it cannot be run as that user, since the temporary folder is for no programs or not
 * for everybody, or since it is a script, or finds its libraries by where it is.
 */
export function copyUnreadable(program: string, { uid, gid }: Identity): UnreadableCopy | undefined {
  const env = findProgram('env', { path: '/usr/bin:/bin' })
  // To env(1) a word with `=` is a variable.
  if (env === undefined || tmpdir().includes('=')) return undefined
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-fpm-run-'))
  try {
    chmodSync(folder, 0o711)
    const file = join(folder, basename(program))
    copyFileSync(program, file, constants.COPYFILE_FICLONE)
    chmodSync(file, 0o711)
    execFileSync(env, [file, '-n', '-v'], { uid, gid, cwd: '/', env: {}, stdio: 'ignore', timeout: TRIAL_TIME })
    return { file, by: [env], folder }
  } catch {
    rmSync(folder, { recursive: true, force: true })
    return undefined
  }
}
