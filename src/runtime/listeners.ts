// Listening sockets, from the side of the process that holds them and never serves.
//
// A socket is bound here and inherited by each front, which calls listen(2) on it: the descriptor lives as long as this
// process does, so connections wait in the backlog while one front replaces another, and no port is ever lost to a reload.

import { chmodSync, lstatSync, renameSync, rmSync, statSync } from 'node:fs'
import { lookup } from 'node:dns/promises'
import net from 'node:net'
import { dirname } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { GatewayError } from '../core/index.ts'
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

// What net.Server makes inside: binds, does not listen, and is not polled until somebody asks for it. A polled copy
// would take connections away from the fronts.
interface Handle {
  readonly fd: number
  getsockname(out: { address?: string; port?: number }): number
  close(): void
}
type CreateHandle = (address: string, port: number, addressType: 4 | 6 | -1) => Handle | number
const createHandle = (net as unknown as { _createServerHandle: CreateHandle })._createServerHandle

async function openTcp(spec: { readonly host: string; readonly port: number }): Promise<Listener> {
  const { address, family } = await resolve(spec)
  let handle = createHandle(address, spec.port, family)
  if (spec.host === '*' && typeof handle === 'number' && isMissingFamily(handle)) handle = createHandle('0.0.0.0', spec.port, 4)
  if (typeof handle === 'number') throw refused(spec, handle)
  const name: { address?: string; port?: number } = {}
  // libuv keeps EADDRINUSE back until listen(); asking for the name tells it now.
  const status = handle.getsockname(name)
  if (status !== 0 || (spec.port !== 0 && name.port !== spec.port)) {
    handle.close()
    throw refused(spec, status)
  }
  return bound(spec, { host: name.address!, port: name.port! }, handle, () => {})
}

async function resolve(spec: { readonly host: string }): Promise<{ address: string; family: 4 | 6 }> {
  if (spec.host === '*') return { address: '::', family: 6 }
  const version = net.isIP(spec.host)
  if (version !== 0) return { address: spec.host, family: version === 6 ? 6 : 4 }
  try {
    const found = await lookup(spec.host)
    return { address: found.address, family: found.family === 6 ? 6 : 4 }
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

// sockaddr_un has 108 bytes with the final NUL; libuv 1.46 cuts a longer path short without a word.
const PATH_LIMIT = 107

async function openUnix(spec: { readonly path: string; readonly mode?: number }): Promise<Listener> {
  const { path } = spec
  // Bound under another name and renamed: the final name never leads to a socket with the wrong mode, and replaces a
  // dead server's file in one step. Closing the handle unlinks only the name that was bound.
  const temporary = `${path}.${process.pid}`
  if (Buffer.byteLength(temporary) > PATH_LIMIT) throw new ListenError(spec, 'ENAMETOOLONG', `the path is longer than ${PATH_LIMIT} bytes`)
  await checkPath(spec)
  rmSync(temporary, { force: true })
  const handle = createHandle(temporary, -1, -1)
  if (typeof handle === 'number') throw refused(spec, handle)
  try {
    chmodSync(temporary, spec.mode ?? 0o660)
    renameSync(temporary, path)
  } catch (error) {
    handle.close()
    rmSync(temporary, { force: true })
    throw new ListenError(spec, (error as NodeJS.ErrnoException).code ?? 'EIO', 'the socket cannot be put in place')
  }
  const { dev, ino } = statSync(path)
  return bound(spec, { path }, handle, () => {
    const now = statSync(path, { throwIfNoEntry: false })
    if (now?.dev === dev && now.ino === ino) rmSync(path, { force: true })
  })
}

/** Refuses a folder that is not there, a file that is not a socket, and a socket on which somebody answers. */
async function checkPath(spec: { readonly path: string }): Promise<void> {
  if (statSync(dirname(spec.path), { throwIfNoEntry: false })?.isDirectory() !== true) {
    throw new ListenError(spec, 'ENOENT', `there is no folder ${dirname(spec.path)}`)
  }
  const there = lstatSync(spec.path, { throwIfNoEntry: false })
  if (there === undefined) return
  if (!there.isSocket()) throw new ListenError(spec, 'EEXIST', 'a file that is not a socket is in the way')
  const answer = await new Promise<string>((done) => {
    const socket = net.connect(spec.path)
    socket.on('connect', () => {
      socket.destroy()
      done('connected')
    })
    socket.on('error', (error: NodeJS.ErrnoException) => done(error.code ?? 'EIO'))
  })
  // A full backlog (EAGAIN) and a socket of another user (EACCES) are alive too.
  if (answer === 'ECONNREFUSED' || answer === 'ENOENT') return
  throw new ListenError(spec, answer === 'EACCES' ? 'EACCES' : 'EADDRINUSE', FACTS[answer] ?? FACTS['EADDRINUSE']!)
}

function bound(spec: ListenSpec, address: Address, handle: Handle, remove: () => void): Listener {
  let open = true
  return {
    spec,
    address,
    fd: handle.fd,
    close: () => {
      if (!open) return
      open = false
      remove()
      handle.close()
    },
  }
}
