// Reaching an application: addresses in text, and one attempt to connect with a deadline.

import { connect as open, isIP } from 'node:net'
import type { IpcNetConnectOpts, Socket, TcpNetConnectOpts } from 'node:net'
import { connect as openTls } from 'node:tls'
import { GatewayError } from '../../core/index.ts'
import type { Address } from '../../core/index.ts'
import { openSocket } from './socket.ts'

/** What TLS to an application needs. Its certificate is always verified. */
export interface TlsOptions {
  /** PEM of the authorities that may have signed the application's certificate. Default: those that Node trusts. */
  readonly ca?: string | Buffer | readonly (string | Buffer)[]
  /** PEM of the certificate that we show, for an application that asks for one, and of its key. */
  readonly cert?: string | Buffer
  /** See `cert`. */
  readonly key?: string | Buffer
  /** Of an encrypted key. */
  readonly passphrase?: string
  /** The name that its certificate must have. Default: the host of the address. */
  readonly serverName?: string
}

/** `/run/app.sock`, `unix:/run/app.sock`, `127.0.0.1:9000`, `[::1]:9000`, `localhost:9000`. Throws CONFIG for anything else. */
export function parseAddress(text: string): Address {
  const path = text.startsWith('unix:') ? text.slice(5) : text
  if (path.startsWith('/')) return { path }
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:/[\]]+)):(\d{1,5})$/.exec(text)
  const port = Number(match?.[3])
  if (match === null || port < 1 || port > 65_535) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `fastcgi: expected an address such as 127.0.0.1:9000 or unix:/run/app.sock, got ${JSON.stringify(text)}`,
    })
  }
  return { host: match[1] ?? match[2]!, port }
}

/** Where an application is, or where to ask. */
export type Target =
  | { readonly address: Address; readonly tls: boolean }
  /** A service whose hosts DNS tells (RFC 2782). */
  | { readonly service: string; readonly tls: boolean }

/**
 * Any address, or one with a scheme: `fastcgi://php:9000`, `fastcgis://php:9001` (TLS), `fastcgi+srv://_fcgi._tcp.example.org`,
 * `fastcgis+srv://...`. Throws CONFIG for anything else.
 */
export function parseTarget(text: string): Target {
  const match = /^fastcgi(s?)(\+srv)?:\/\/(.*?)\/?$/.exec(text)
  if (match === null) return { address: parseAddress(text), tls: false }
  const [, secure, service, rest] = match
  const tls = secure === 's'
  if (service === undefined) {
    const address = parseAddress(rest!)
    if ('host' in address) return { address, tls }
  } else if (/^[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+\.?$/.test(rest!)) return { service: rest!, tls }
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `fastcgi: expected an address such as fastcgis://php:9000 or fastcgi+srv://_fcgi._tcp.example.org, got ${JSON.stringify(text)}`,
  })
}

/** An address as messages name it. */
export function formatAddress(address: Address, tls: boolean = false): string {
  if ('path' in address) return `unix:${address.path}`
  const host = address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
  return tls ? `fastcgis://${host}` : host
}

/**
 * A connected socket. Rejects with UNAVAILABLE (502; 503 when the application's backlog is full), or TIMEOUT (504) after
 * `timeout` milliseconds. With `tls` it is ready when the application has shown who it is.
 */
export function connect(address: Address, timeout: number, tls?: TlsOptions): Promise<Socket> {
  return connected(tls === undefined ? open(plain(address)) : secured(address, tls), address, timeout, tls !== undefined)
}

/** The same for a Connection, which only listens to `data`. */
export function connectFast(address: Address, timeout: number, tls?: TlsOptions): Promise<Socket> {
  return connected(tls === undefined ? openSocket(plain(address)) : secured(address, tls), address, timeout, tls !== undefined)
}

function connected(socket: Socket, address: Address, timeout: number, tls: boolean): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const peer = formatAddress(address, tls)
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new GatewayError('TIMEOUT', { status: 504, message: `fastcgi: no connection to ${peer} within ${timeout} ms` }))
    }, timeout)
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer)
      reject(unreachable(peer, error))
    }
    socket.once('error', failed)
    socket.once(tls ? 'secureConnect' : 'connect', () => {
      clearTimeout(timer)
      socket.off('error', failed)
      resolve(socket)
    })
  })
}

function plain(address: Address): IpcNetConnectOpts | TcpNetConnectOpts {
  // Without delay: a request leaves as one write, and a small one would wait for the acknowledgement of the last answer.
  return 'path' in address ? { path: address.path } : { host: address.host, port: address.port, noDelay: true }
}

function secured(address: Address, { ca, cert, key, passphrase, serverName }: TlsOptions): Socket {
  const where = 'path' in address ? { path: address.path } : { host: address.host, port: address.port }
  // RFC 6066, 3: an address is no server name. It is compared with the certificate all the same.
  const name = serverName ?? ('host' in address && isIP(address.host) === 0 ? address.host : undefined)
  const socket = openTls({
    ...where,
    ...(name !== undefined && { servername: name }),
    ...(ca !== undefined && { ca: ca as string | Buffer | (string | Buffer)[] }),
    ...(cert !== undefined && { cert }),
    ...(key !== undefined && { key }),
    ...(passphrase !== undefined && { passphrase }),
    minVersion: 'TLSv1.2',
  })
  socket.setNoDelay(true)
  return socket
}

function unreachable(peer: string, error: NodeJS.ErrnoException): GatewayError {
  // What a unix socket says when its backlog is full: the application is there, only too busy.
  const busy = error.code === 'EAGAIN'
  return new GatewayError('UNAVAILABLE', {
    status: busy ? 503 : 502,
    message: `fastcgi: cannot connect to ${peer}: ${error.code ?? error.message}`,
    cause: error,
    ...(busy && { retryAfter: 1 }),
  })
}
