// Listening sockets, from the side of the process that holds them and never serves.
//
// A socket is bound here and inherited by each front, which calls listen(2) on it: the descriptor lives as long as this
// process does, so connections wait in the backlog while one front replaces another, and no port is ever lost to a reload.

import { chmodSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import net from 'node:net'
import { dirname } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { GatewayError, SOCKET_PATH_LIMIT, bindPath, bindPort, probeSocket } from '../core/index.ts'
import type { Address } from '../core/index.ts'

/** Where to listen. `host` is an address or a name; `*` means every address of the machine, IPv6 and IPv4. `mode` defaults to 0o660. */
export type ListenSpec = { readonly host: string; readonly port: number } | { readonly path: string; readonly mode?: number }

/** A bound socket. */
export interface Listener {
  readonly spec: ListenSpec
  /** What was bound: the real port where 0 was asked for. */
  readonly address: Address
  /** For the stdio of a child. */
  readonly fd: number
  /** Gives the socket back and removes a unix socket's file, if it is still ours. Idempotent. */
  close(): void
}

/** A bind that failed: `reason` is the system's name of it (EADDRINUSE, EACCES ...). */
export class ListenError extends GatewayError {
  override readonly name = 'ListenError'
  /** What was to be opened. */
  readonly spec: ListenSpec
  /** The system's name for it: `EADDRINUSE`. */
  readonly reason: string

  constructor(spec: ListenSpec, reason: string, fact: string) {
    super('CONFIG', { status: 500, message: `runtime: cannot listen on ${describeListen(spec)}: ${fact} (${reason})` })
    this.spec = spec
    this.reason = reason
  }
}

/** The text a person would write for it: `127.0.0.1:8080`, `[::1]:80`, `unix:/run/x.sock`. */
export function describeListen(where: ListenSpec | Address): string {
  if ('path' in where) return `unix:${where.path}`
  return where.host.includes(':') ? `[${where.host}]:${where.port}` : `${where.host}:${where.port}`
}

/** Opens all of them or none. Throws ListenError. */
export async function openListeners(specs: readonly ListenSpec[]): Promise<Listener[]> {
  const open: Listener[] = []
  try {
    for (const spec of specs) open.push('path' in spec ? await openUnix(spec) : await openTcp(spec))
    return open
  } catch (error) {
    for (const listener of open) listener.close()
    throw error
  }
}

async function openTcp(spec: { readonly host: string; readonly port: number }): Promise<Listener> {
  const address = await resolve(spec)
  let socket = bindPort(address, spec.port)
  if (spec.host === '*' && typeof socket === 'number' && isMissingFamily(socket)) socket = bindPort('0.0.0.0', spec.port)
  if (typeof socket === 'number') throw refused(spec, socket)
  return { spec, ...socket }
}

async function resolve(spec: { readonly host: string }): Promise<string> {
  if (spec.host === '*') return '::'
  if (net.isIP(spec.host) !== 0) return spec.host
  try {
    return (await lookup(spec.host)).address
  } catch (error) {
    throw new ListenError(
      spec as ListenSpec,
      (error as NodeJS.ErrnoException).code ?? 'ENOTFOUND',
      `no address is known for "${spec.host}"`,
    )
  }
}

function isMissingFamily(status: number): boolean {
  return ['EAFNOSUPPORT', 'EADDRNOTAVAIL', 'EINVAL'].includes(getSystemErrorName(status))
}

const FACTS: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program listens there',
  EADDRNOTAVAIL: 'this machine has no such address',
  EACCES: 'permission denied',
}

function refused(spec: ListenSpec, status: number): ListenError {
  const reason = status < 0 ? getSystemErrorName(status) : 'EADDRINUSE'
  return new ListenError(spec, reason, FACTS[reason] ?? 'the system refused')
}

async function openUnix(spec: { readonly path: string; readonly mode?: number }): Promise<Listener> {
  const { path } = spec
  // Bound under another name and renamed: the final name never leads to a socket with the wrong mode, and replaces a
  // dead server's file in one step. Closing the handle unlinks only the name that was bound.
  const temporary = `${path}.${process.pid}`
  if (Buffer.byteLength(temporary) > SOCKET_PATH_LIMIT)
    throw new ListenError(spec, 'ENAMETOOLONG', `the path is longer than ${SOCKET_PATH_LIMIT} bytes`)
  await checkPath(spec)
  rmSync(temporary, { force: true })
  const socket = bindPath(temporary, path)
  if (typeof socket === 'number') throw refused(spec, socket)
  try {
    chmodSync(temporary, spec.mode ?? 0o660)
    renameSync(temporary, path)
  } catch (error) {
    socket.close()
    throw new ListenError(spec, (error as NodeJS.ErrnoException).code ?? 'EIO', 'the socket cannot be put in place')
  }
  return { spec, address: { path }, ...socket }
}

/** Refuses a folder that is not there, a file that is not a socket, and a socket on which somebody answers. */
async function checkPath(spec: { readonly path: string }): Promise<void> {
  if (statSync(dirname(spec.path), { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new ListenError(spec, 'ENOENT', `there is no folder ${dirname(spec.path)}`)
  }
  const there = lstatSync(spec.path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isSocket()) throw new ListenError(spec, 'EEXIST', 'a file that is not a socket is in the way')
  // A socket of another user (EACCES) is alive too.
  const answer = await probeSocket(spec.path)
  if (answer === 'ECONNREFUSED' || answer === 'ENOENT') return
  throw new ListenError(spec, answer === 'EACCES' ? 'EACCES' : 'EADDRINUSE', FACTS[answer] ?? FACTS['EADDRINUSE']!)
}
