// REQUEST_BODY_FILE: the web server has the body in a file and says only where, as php-fpm lets it.
//
// php-fpm opens it as the pool's user. The manager may read more than that user, so it looks whether that one could have: a regular
// file whose mode lets it, in folders that let it through. Whoever says it is a web server that may connect; from a client it could
// only come as HTTP_*.

import { closeSync, constants, fstatSync, openSync, readlinkSync, realpathSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import type { ByteString } from '../core/index.ts'
import type { Identity } from './user.ts'

/**
 * The open file, or why there is none.
 * @param root the pool's chroot, or '': `path` begins there, and the file has to lie in it.
 */
export function openBodyFile(
  path: ByteString,
  identity: Identity | undefined,
  root: string = '',
): { readonly fd: number; readonly size: number } | string {
  let fd
  try {
    // Not blocking: a named pipe would be waited for.
    fd = openSync(Buffer.concat([Buffer.from(root), Buffer.from(path, 'latin1')]), constants.O_RDONLY | constants.O_NONBLOCK)
  } catch (error) {
    return `open('${path}') failed: ${(error as NodeJS.ErrnoException).code}`
  }
  const { mode, uid, gid, size } = fstatSync(fd)
  const isRegular = (mode & constants.S_IFMT) === constants.S_IFREG
  const inside = isRegular && (root === '' || lies(fd, root))
  if (inside && may(READ, identity, { mode, uid, gid }) && mayReach(fd, identity)) return { fd, size }
  closeSync(fd)
  if (isRegular && !inside) return `'${path}' is not in the root of the pool`
  return isRegular ? `open('${path}') failed: EACCES for the pool's user` : `'${path}' is not a regular file`
}

/** Of the three bits for a user, a group or others. */
const READ = 0o4
const SEARCH = 0o1

function may(bit: number, identity: Identity | undefined, file: { mode: number; uid: number; gid: number }): boolean {
  // Not root: the manager is the pool's user.
  if (identity === undefined || identity.uid === 0) return true
  if (identity.uid === file.uid) return (file.mode & (bit << 6)) !== 0
  if (identity.gid === file.gid || identity.groups.includes(file.gid)) return (file.mode & (bit << 3)) !== 0
  return (file.mode & bit) !== 0
}

/** Inside the root a link leads elsewhere than it does for us: what it leads out of the root for us is not the file that is meant. */
function lies(fd: number, root: string): boolean {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`).startsWith(`${realpathSync(root).replace(/\/$/, '')}/`)
  } catch {
    return false
  }
}

/** Where the open file really is, whatever links led to it: a file in /root that everybody may read is nobody's but root's. */
function mayReach(fd: number, identity: Identity | undefined): boolean {
  if (identity === undefined || identity.uid === 0) return true
  try {
    const real = readlinkSync(`/proc/self/fd/${fd}`)
    for (let folder = dirname(real); ; folder = dirname(folder)) {
      if (!may(SEARCH, identity, statSync(folder))) return false
      if (folder === '/') return true
    }
  } catch {
    // It has been moved, or removed.
    return false
  }
}
