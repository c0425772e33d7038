// Listening sockets, from the side of the process that holds them and never accepts: bound as php-fpm binds them, with its owners and modes.
//
// What a front inherits it calls listen(2) on. A socket that the next configuration still has is kept, so a reload loses no connection.

import { execFileSync } from 'node:child_process'
import { lookup } from 'node:dns/promises'
import { chmodSync, chownSync, existsSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs'
import net from 'node:net'
import { dirname } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { GatewayError, SOCKET_PATH_LIMIT, bindPath, bindPort, probeSocket } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { systemError } from './config/host.ts'
import { parseListenAddress } from './config/listen.ts'
import type { PoolConfig } from './config/types.ts'
import { groupId, userId } from './user.ts'

export interface BoundSocket {
  /** As the configuration writes it. */
  readonly listen: string
  readonly address: Address
  readonly fd: number
  /** Gives it back, and removes a unix socket's file if it is still ours. Idempotent. */
  close(): void
}

/** Binds a pool's address. Rejects with CONFIG in php-fpm's words; `notice` hears of what is tried in between. */
export async function bindSocket(config: PoolConfig, notice: (text: string) => void): Promise<BoundSocket> {
  const address = parseListenAddress(config.listen)
  if (address === undefined) throw failed(`invalid port value '${config.listen.slice(config.listen.lastIndexOf(':') + 1)}'`)
  if ('path' in address) return openPath(config, address.path)
  const { host, port } = address
  if (host !== undefined) {
    const found = net.isIP(host) > 0 ? host : (await lookup(host).catch(unresolved)).address
    return openPort(config.listen, found, port)
  }
  try {
    return openPort(config.listen, '::', port)
  } catch {
    notice('Failed implicitly binding to ::, retrying with 0.0.0.0')
    return openPort(config.listen, '0.0.0.0', port)
  }
}

function openPort(listen: string, host: string, port: number): BoundSocket {
  const socket = bindPort(host, port)
  if (typeof socket === 'number') throw unable(listen, socket)
  return { ...socket, listen }
}

async function openPath(config: PoolConfig, path: string): Promise<BoundSocket> {
  if (Buffer.byteLength(path) > SOCKET_PATH_LIMIT) {
    throw failed(
      `[pool ${config.name}] listen: the socket path ${path} is longer than the ${SOCKET_PATH_LIMIT} bytes that the system allows`,
    )
  }
  if ((await probeSocket(path)) === 'alive') throw failed(`Another FPM instance seems to already listen on ${path}`)
  if (lstatSync(path, { throwIfNoEntry: false })?.isSocket() === true) rmSync(path)
  // Until its owner is set, nobody else can connect.
  const before = process.umask(0o777 & ~0o600)
  let socket
  try {
    socket = bindPath(path)
  } finally {
    process.umask(before)
  }
  // libuv says EACCES for a folder that is not there.
  if (typeof socket === 'number') throw unable(path, existsSync(dirname(path)) ? socket : -2)
  try {
    permit(config, path)
  } catch (error) {
    socket.close()
    throw error
  }
  return { ...socket, listen: config.listen, address: { path } }
}

/** listen.owner, listen.group and listen.mode, or listen.acl_users and listen.acl_groups in their place. */
function permit(config: PoolConfig, path: string): void {
  const { name, listenMode, listenOwner, listenGroup, listenAclUsers, listenAclGroups } = config
  chmodSync(path, listenMode === undefined || listenMode === '' ? 0o660 : Number.parseInt(listenMode, 8))
  const users = words(listenAclUsers)
  const groups = words(listenAclGroups)
  if (users.length > 0 || groups.length > 0) {
    for (const each of users) userId(name, each)
    for (const each of groups) groupId(name, each)
    const entries = [...users.map((each) => `u:${each}:rw`), ...groups.map((each) => `g:${each}:rw`)].join(',')
    try {
      execFileSync('setfacl', ['-m', entries, '--', path], { stdio: ['ignore', 'ignore', 'pipe'], timeout: 10_000 })
    } catch (error) {
      const { stderr, code } = error as { stderr?: Buffer; code?: string }
      const why = code === 'ENOENT' ? 'the program setfacl was not found' : (stderr?.toString().trim() ?? String(error))
      throw failed(`[pool ${name}] failed to write the ACL of the socket '${path}': ${why}`)
    }
    return
  }
  const uid = isSet(listenOwner) ? userId(name, listenOwner) : -1
  const gid = isSet(listenGroup) ? groupId(name, listenGroup) : -1
  if (uid === -1 && gid === -1) return
  const now = statSync(path)
  try {
    chownSync(path, uid === -1 ? now.uid : uid, gid === -1 ? now.gid : gid)
  } catch (error) {
    throw failed(`[pool ${name}] failed to chown() the socket '${path}': ${systemError(error)}`)
  }
}

function words(list: string | undefined): string[] {
  return (list ?? '')
    .split(',')
    .map((each) => each.trim())
    .filter((each) => each !== '')
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}

function unable(address: string, status: number): GatewayError {
  const reason = status < 0 ? getSystemErrorName(status) : 'EADDRINUSE'
  const known: Readonly<Record<string, string>> = {
    EADDRINUSE: 'Address already in use (98)',
    EACCES: 'Permission denied (13)',
    EADDRNOTAVAIL: 'Cannot assign requested address (99)',
    ENOENT: 'No such file or directory (2)',
  }
  return failed(`unable to bind listening socket for address '${address}': ${known[reason] ?? reason}`)
}

function unresolved(error: NodeJS.ErrnoException): never {
  throw failed(`getaddrinfo: ${error.code === 'EAI_AGAIN' ? 'Temporary failure in name resolution' : 'Name or service not known'}\n`)
}

function failed(message: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message })
}

export interface ListeningOptions {
  readonly listen: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly backlog: number
  readonly mode: number | undefined
  readonly user: string | undefined
  readonly group: string | undefined
  readonly socketUser: string | undefined
  readonly socketGroup: string | undefined
}

/**
 * A socket that listens and is to be given to programs in this very turn of the event loop: Node would poll it from the next one on, and
 * take connections away. Throws in spawn-fcgi's words.
 */
export function bindListening(options: ListeningOptions): { readonly fd: number; close(): void } {
  const { listen, backlog } = options
  const isPath = 'path' in listen
  // Closing it would remove the name it was bound to, so the file gets another one before.
  const bindName = isPath ? `${listen.path}.${process.pid}` : listen.host
  if (isPath) {
    if (Buffer.byteLength(bindName) > SOCKET_PATH_LIMIT) throw new Error('path of the Unix socket is too long')
    rmSync(bindName, { force: true })
  }
  const socket = isPath ? bindPath(bindName) : bindPort(listen.host, listen.port)
  if (typeof socket === 'number') throw new Error(`bind failed: ${getSystemErrorName(socket)}`)
  try {
    const status = socket.listen(backlog)
    if (status !== 0) throw new Error(`bind failed: ${getSystemErrorName(status)}`)
    if (isPath) {
      const uid = options.socketUser ?? options.user
      const gid = options.socketGroup ?? options.group
      const now = statSync(bindName)
      if (uid !== undefined || gid !== undefined) {
        chownSync(bindName, uid === undefined ? now.uid : userId('spawn', uid), gid === undefined ? now.gid : groupId('spawn', gid))
      }
      chmodSync(bindName, options.mode ?? 0o666 & ~process.umask() & 0o770)
      if (lstatSync(listen.path, { throwIfNoEntry: false })?.isSocket() === false) throw new Error(`${listen.path} is not a socket`)
      renameSync(bindName, listen.path)
    }
  } catch (error) {
    socket.close()
    throw error
  }
  return socket
}
