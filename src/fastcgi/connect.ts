// Reaching an application: addresses in text, and one attempt to connect with a deadline.

import { connect as open } from 'node:net'
import type { Socket } from 'node:net'
import { GatewayError } from '../core/index.ts'
import type { Address } from '../core/index.ts'

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

/** An address as messages name it. */
export function formatAddress(address: Address): string {
  if ('path' in address) return `unix:${address.path}`
  return address.host.includes(':') ? `[${address.host}]:${address.port}` : `${address.host}:${address.port}`
}

/**
 * A connected socket. Rejects with UNAVAILABLE (502; 503 when the application's backlog is full), or TIMEOUT (504) after
 * `timeout` milliseconds.
 */
export function connect(address: Address, timeout: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    // Without delay: a request leaves as one write, and a small one would wait for the acknowledgement of the last answer.
    const socket = open('path' in address ? { path: address.path } : { host: address.host, port: address.port, noDelay: true })
    const timer = setTimeout(() => {
      socket.destroy()
      const message = `fastcgi: no connection to ${formatAddress(address)} within ${timeout} ms`
      reject(new GatewayError('TIMEOUT', { status: 504, message }))
    }, timeout)
    const failed = (error: NodeJS.ErrnoException): void => {
      clearTimeout(timer)
      reject(unreachable(address, error))
    }
    socket.once('error', failed)
    socket.once('connect', () => {
      clearTimeout(timer)
      socket.off('error', failed)
      resolve(socket)
    })
  })
}

function unreachable(address: Address, error: NodeJS.ErrnoException): GatewayError {
  // What a unix socket says when its backlog is full: the application is there, only too busy.
  const busy = error.code === 'EAGAIN'
  return new GatewayError('UNAVAILABLE', {
    status: busy ? 503 : 502,
    message: `fastcgi: cannot connect to ${formatAddress(address)}: ${error.code ?? error.message}`,
    cause: error,
    ...(busy && { retryAfter: 1 }),
  })
}
