// Where a door listens: a host and port, a unix socket, or a descriptor that somebody else bound. Shared by the doors of every
// protocol that comes over connections.

import { randomBytes } from 'node:crypto'
import { chmod, chown, lstat, rename } from 'node:fs/promises'
import type { ListenOptions, Server as NetServer } from 'node:net'
import { dirname, join } from 'node:path'
import { GatewayError } from './errors.ts'
import { SOCKET_PATH_LIMIT, ownFile, probeSocket } from './bind.ts'
import type { Address } from './types.ts'

/** Where a door listens. */
export type Listen = Place & {
  /** Connections that may wait until they are accepted, as far as the system lets them (net.core.somaxconn). Default 1024. */
  readonly backlog?: number
}

/** What a door listens on. */
type Place =
  /** Default 127.0.0.1 and 0, a free port. */
  | { readonly host?: string; readonly port?: number }
  /** A unix socket. `mode` are its permissions, default 0o660; `uid` and `gid` its owner, default whoever runs this. */
  | { readonly path: string; readonly mode?: number; readonly uid?: number; readonly gid?: number }
  /** A listening socket that was inherited. `name` is its path where it is a unix socket, for the descriptor does not know. */
  | { readonly fd: number; readonly name?: string }

/** A server that listens. */
export interface Listener {
  /** With the real port, or the path of the socket. */
  readonly address: Address
  /** Removes the socket's file, if it is still the one made here. */
  release(): void
}

const BACKLOG = 1024
/** Beyond that, listen(2) of older systems takes another number. */
const BACKLOG_LIMIT = 65_535

/** Starts listening. Rejects with CONFIG, saying what to do, where that cannot be; `door` begins the message. */
export async function openListener(server: NetServer, where: Listen, door: string): Promise<Listener> {
  try {
    return await open(server, where)
  } catch (error) {
    if (!(error instanceof Refusal)) throw error
    throw new GatewayError('CONFIG', { status: 500, message: `${door}: ${error.message}`, cause: error.cause })
  }
}

/** Why it cannot listen, before it is known whose listener it was to be. */
class Refusal extends Error {}

async function open(server: NetServer, where: Listen): Promise<Listener> {
  const { backlog = BACKLOG } = where
  if (!Number.isSafeInteger(backlog) || backlog < 1 || backlog > BACKLOG_LIMIT) {
    throw config(`listen.backlog: expected a whole number from 1 to ${BACKLOG_LIMIT}, got ${backlog}`)
  }
  if ('path' in where) return openPath(server, where, backlog)
  if ('fd' in where) {
    await listening(server, { fd: where.fd }, backlog, `descriptor ${where.fd}`)
    const address = server.address()
    if (address !== null && typeof address === 'object') return { address: { host: address.address, port: address.port }, release: nothing }
    return { address: { path: where.name ?? address ?? '' }, release: nothing }
  }
  const host = where.host ?? '127.0.0.1'
  const port = where.port ?? 0
  await listening(server, { host, port }, backlog, `${host.includes(':') ? `[${host}]` : host}:${port}`)
  const address = server.address()
  const bound = address !== null && typeof address === 'object' ? address : { address: host, port }
  return { address: { host: bound.address, port: bound.port }, release: nothing }
}

function nothing(): void {}

/**
 * Binds a name of its own and renames it: closing a unix server removes the name it was bound to, which would cut off the heir
 * that has taken the path over meanwhile. It also makes the mode hold before anybody can connect.
 */
async function openPath(server: NetServer, where: Extract<Listen, { path: string }>, backlog: number): Promise<Listener> {
  const { path, mode = 0o660, uid, gid } = where
  const temporary = join(dirname(path), `.${randomBytes(4).toString('hex')}`)
  const longest = Math.max(Buffer.byteLength(path), Buffer.byteLength(temporary))
  if (longest > SOCKET_PATH_LIMIT)
    throw config(`the socket path ${path} is too long: ${longest} bytes, the system allows ${SOCKET_PATH_LIMIT}; choose a shorter one`)
  await checkFree(path)
  await listening(server, { path: temporary }, backlog, path)
  try {
    // -1: as it is.
    if (uid !== undefined || gid !== undefined) await chown(temporary, uid ?? -1, gid ?? -1)
    await chmod(temporary, mode)
    const release = ownFile(path, temporary)
    await rename(temporary, path)
    return { address: { path }, release }
  } catch (error) {
    server.close()
    throw refused(error, path)
  }
}

/** A socket whose server is dead is in nobody's way; a living one is not to be robbed of its clients. */
async function checkFree(path: string): Promise<void> {
  const found = await lstat(path).catch(() => undefined)
  if (found === undefined) return
  if (!found.isSocket()) throw config(`${path} exists and is not a socket; remove it or choose another path`)
  const answer = await probeSocket(path)
  if (answer === 'alive') throw config(`a running server listens on ${path}; stop it or choose another path`)
  if (answer === 'EACCES') throw refused(Object.assign(new Error('not permitted to use it'), { code: 'EACCES' }), path)
}

function listening(server: NetServer, options: ListenOptions & { fd?: number }, backlog: number, subject: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const failed = (error: unknown): void => reject(refused(error, subject))
    server.once('error', failed)
    // In a cluster's worker the primary would hold the socket, and hand out connections as it likes.
    // Beside a descriptor Node reads the backlog only as an argument.
    server.listen({ ...options, exclusive: true }, backlog, () => {
      server.off('error', failed)
      resolve()
    })
  })
}

const REMEDIES: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there; stop it or choose another port',
  EADDRNOTAVAIL: 'this machine has no such address; listen on one it has, or on 0.0.0.0 or :: for all',
  EACCES: 'this user may not; choose a port from 1024 on or a folder that can be written, or grant the right',
  EPERM: 'this user may not; choose a port from 1024 on or a folder that can be written, or grant the right',
  ENOENT: 'the folder does not exist; make it first',
  ENOTDIR: 'a part of the path is not a folder',
  ENOTFOUND: 'no such host; give an address, or a name that this machine can resolve',
  EAI_AGAIN: 'the name cannot be resolved now; give an address',
  EBADF: 'no such descriptor is open; was it inherited?',
  EINVAL: 'not a listening socket; hand over one that is bound and listens',
  ENOTSOCK: 'not a socket; hand over one that is bound and listens',
}

function refused(error: unknown, subject: string): Refusal {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  return config(`cannot listen on ${subject}: ${REMEDIES[code] ?? (error as Error).message}${code === '' ? '' : ` (${code})`}`, error)
}

function config(fact: string, cause?: unknown): Refusal {
  return new Refusal(fact, { cause })
}
