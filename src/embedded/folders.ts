// The folders that an embedded interpreter writes to beside the site's own: one for temporary files, gone with the pool, and one for
// sessions, which outlives it.

import { createHash } from 'node:crypto'
import { lstatSync, mkdirSync, mkdtempSync, realpathSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir, userInfo } from 'node:os'
import { join } from 'node:path'
import type { Guard } from '../process/index.ts'

/** For temporary files of one pool. */
export interface TemporaryFolder {
  readonly path: string
  /** Idempotent. */
  remove(): Promise<void>
}

/** `guard` removes it when this process is killed. */
export function temporaryFolder(guard: Guard | undefined): TemporaryFolder {
  const path = emptyFolder()
  guard?.watchFolder(path)
  return {
    path,
    remove: async () => {
      await rm(path, { recursive: true, force: true })
      guard?.forgetFolder(path)
    },
  }
}

function emptyFolder(): string {
  return mkdtempSync(join(realpathSync(tmpdir()), 'viaduct-embedded-'))
}

/** Where an interpreter finds it: at `/tmp`, unless the site itself lies there. */
export function temporaryPlace(root: string): string {
  return root === '/tmp' || root.startsWith('/tmp/') ? '/temporary' : '/tmp'
}

/**
 * Where the sessions of the applications in `root` are kept: the same place after a restart. The name can be foretold, and the
 * folder it lies in is everybody's: so it must be ours, and nobody else's to enter, or another one is made.
 */
export function sessionFolder(root: string): string {
  const { uid } = userInfo()
  const top = join(realpathSync(tmpdir()), `viaduct-sessions-${uid}`)
  try {
    mkdirSync(top, { mode: 0o700, recursive: true })
    const found = lstatSync(top)
    if (found.isDirectory() && (uid === -1 || found.uid === uid) && (found.mode & 0o077) === 0) {
      const own = join(top, createHash('sha256').update(root).digest('hex').slice(0, 16))
      mkdirSync(own, { mode: 0o700, recursive: true })
      return own
    }
  } catch {
    // Somebody else's, or no folder.
  }
  return emptyFolder()
}
