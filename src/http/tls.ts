// TLS in front of the HTTP door: one listening socket, and the protocol by ALPN (RFC 7301): HTTP/2, else HTTP/1.1.

import type { Socket } from 'node:net'
import { createServer } from 'node:tls'
import type { Server as TlsServer, TLSSocket } from 'node:tls'
import { describe } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { Certificates } from './certificates.ts'
import type { TlsOptions } from './certificates.ts'
import { ASKING } from './door.ts'
import type { Door } from './door.ts'
import { Http2Door } from './http2.ts'

/** As clients name them that speak them. */
const OLDER = ['http/1.1', 'http/1.0']

export class TlsFront {
  readonly server: TlsServer
  readonly #certificates: Certificates
  readonly #http2: Http2Door | undefined
  /** Connections whose handshake is under way, by the client's address. */
  readonly #shaking: Map<string, Socket> = new Map()
  readonly #timers: NodeJS.Timeout[] = []

  /** Throws CONFIG for certificates that cannot be used. */
  constructor(door: Door, options: TlsOptions, log: Log) {
    const certificates = (this.#certificates = new Certificates(options, log, (first) => server.setSecureContext(first)))
    const http2 = (this.#http2 = options.http2 === false ? undefined : new Http2Door(door, log))
    const server: TlsServer = (this.server = createServer({
      ...certificates.first,
      SNICallback: (name, done) => done(null, certificates.choose(name)),
      ALPNProtocols: http2 === undefined ? OLDER : ['h2', ...OLDER],
      handshakeTimeout: door.limits.headersTimeout > 0 ? door.limits.headersTimeout : 120_000,
      noDelay: true,
    }))
    server.on('connection', (socket: Socket) => {
      const key = ends(socket)
      this.#shaking.set(key, socket)
      socket.on('close', () => this.#shaking.delete(key))
    })
    server.on('secureConnection', (socket) => {
      this.#shaking.delete(ends(socket))
      if (http2 !== undefined && socket.alpnProtocol === 'h2') http2.take(socket)
      else door.server.emit('connection', socket)
    })
    server.on('tlsClientError', (error, socket) => {
      log.debug({ remote: socket.remoteAddress }, `http: tls: a handshake failed: ${describe(error)}`)
      socket.destroy()
    })
    door.acceptFrom(server)
  }

  /** Beside the door's own close, which waits for the connections of this server. */
  leave(grace: number): void {
    this.#certificates.close()
    this.#http2?.leave()
    // Who shakes hands is about to ask: like everybody who has just come, for a moment.
    const cut = (): void => {
      for (const socket of this.#shaking.values()) socket.destroy()
    }
    this.#timers.push(
      setTimeout(cut, Math.min(grace, ASKING)),
      setTimeout(() => this.#http2?.cut(), grace),
    )
  }

  /** All connections are gone. */
  end(): void {
    for (const timer of this.#timers) clearTimeout(timer)
  }
}

function ends(socket: Socket | TLSSocket): string {
  return `${socket.remoteAddress} ${socket.remotePort}`
}
