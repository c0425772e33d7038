// REQUEST_BODY_FILE: the web server has the body in a file and says only where, as php-fpm lets it.
//
// php-fpm opens it as the pool's user. The manager may read more than that user, so it looks whether that one could have: a regular
// file whose mode lets it. Whoever says it is a web server that may connect; from a client it could only come as HTTP_*.

import { closeSync, constants, fstatSync, openSync } from 'node:fs'
import type { ByteString } from '../core/index.ts'
import type { Identity } from './user.ts'

/** The open file, or why there is none. */
export function openBodyFile(path: ByteString, identity: Identity | undefined): { readonly fd: number; readonly size: number } | string {
  let fd
  try {
    // Not blocking: a named pipe would be waited for.
    fd = openSync(Buffer.from(path, 'latin1'), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    return `open('${path}') failed: ${(error as NodeJS.ErrnoException).code}`
  }
  const { mode, uid, gid, size } = fstatSync(fd)
  const isRegular = (mode & constants.S_IFMT) === constants.S_IFREG
  if (isRegular && mayRead(identity, { mode, uid, gid })) return { fd, size }
  closeSync(fd)
  return isRegular ? `open('${path}') failed: EACCES for the pool's user` : `'${path}' is not a regular file`
}

function mayRead(identity: Identity | undefined, file: { mode: number; uid: number; gid: number }): boolean {
  // Not root: the manager is the pool's user.
  if (identity === undefined || identity.uid === 0) return true
  if (identity.uid === file.uid) return (file.mode & 0o400) !== 0
  if (identity.gid === file.gid || identity.groups.includes(file.gid)) return (file.mode & 0o040) !== 0
  return (file.mode & 0o004) !== 0
}
