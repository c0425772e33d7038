// Opening a file to send it, and what can be wrong with that.

import { close, constants, fstat, open } from 'node:fs'
import { GatewayError } from '../core/index.ts'
import { identity, nativePath } from './root.ts'
import type { ByteString } from '../core/index.ts'
import type { Identity } from './root.ts'

export interface OpenFile {
  readonly fd: number
  /** What the open descriptor says, not what the name meant before. */
  readonly identity: Identity
}

/** Opens a regular file for reading. Without waiting (a FIFO would), and not through a link that was put there since. */
export function openFile(real: ByteString): Promise<OpenFile> {
  return new Promise((resolve, reject) => {
    open(nativePath(real), constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW, (error, fd) => {
      if (error !== null) {
        reject(isCode(error, 'EMFILE', 'ENFILE') ? tooMany(error) : error)
        return
      }
      fstat(fd, (failed, stats) => {
        if (failed === null && stats.isFile()) {
          resolve({ fd, identity: identity(stats) })
          return
        }
        close(fd, () => {})
        reject(failed ?? Object.assign(new Error(`static: ${real} is no regular file any more`), { code: 'ENOENT' }))
      })
    })
  })
}

function tooMany(cause: unknown): GatewayError {
  return new GatewayError('UNAVAILABLE', {
    status: 503,
    message: 'static: no descriptor left to open a file; raise ulimit -n',
    cause,
    retryAfter: 1,
  })
}

export function isCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && 'code' in error && codes.includes(String(error.code))
}
