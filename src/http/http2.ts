// The HTTP/2 side of the door (RFC 9113): sessions come from TLS, each stream is one request. Frames, flow control and header
// compression are node's; what a client may take is decided here.

import { constants, createServer } from 'node:http2'
import type { Http2Server, ServerHttp2Session, ServerHttp2Stream } from 'node:http2'
import type { TLSSocket } from 'node:tls'
import { GatewayError, describe } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { ASKING } from './door.ts'
import type { Door } from './door.ts'
import { Http2Exchange } from './http2-exchange.ts'
import { endpoint } from './connection.ts'
import type { Endpoint } from '../core/index.ts'

/** Bytes that a client may send ahead on one stream, and on all of a connection: the default of 64 KiB makes long ways slow. */
const STREAM_WINDOW = 262_144
const CONNECTION_WINDOW = 1_048_576
/** Milliseconds after an answer within which a busy client has asked again. */
const BUSY = 100

/** One connection. */
export class Http2Session {
  readonly door: Door
  readonly session: ServerHttp2Session
  readonly remote: Endpoint
  readonly local: Endpoint
  /** Requests that run. */
  streams = 0
  /** Its client is to go as soon as it has asked. */
  #leaving = false
  /** When its last request ended, or when it came. */
  #idleSince = performance.now()
  /** Requests that the client took back before they were answered, less those that were answered. */
  #resets = 0
  readonly #log: Log

  constructor(door: Door, session: ServerHttp2Session, socket: TLSSocket, log: Log) {
    this.door = door
    this.session = session
    this.#log = log
    this.remote = endpoint(socket.remoteAddress, socket.remotePort)
    this.local = door.local ?? endpoint(socket.localAddress, socket.localPort)
  }

  /** @returns whether the client has to hear first that it is to go. */
  begin(): boolean {
    this.streams++
    return this.#leaving && !this.session.closed
  }

  /**
   * Lets what runs finish, and tells the client to come no more. What it asked before it heard of that is not answered, and it has to
   * ask again. So one that has just come, or just had an answer, is told together with its next request, or when it has not asked for a
   * moment. One that is idle is told now, lest it should go on here when it is told on another of its connections.
   */
  leave(): void {
    this.#leaving = true
    if (this.streams > 0 || performance.now() - this.#idleSince > BUSY) this.session.close()
    else setTimeout(() => this.session.close(), ASKING).unref()
  }

  /** A stream is over. A client that asks and takes back, over and over, costs work and no window (CVE-2023-44487). */
  over(answered: boolean): void {
    this.streams--
    this.#idleSince = performance.now()
    if (answered) this.#resets = Math.max(0, this.#resets - 1)
    else if (++this.#resets > this.door.limits.streamResets && !this.session.destroyed) {
      this.#log.warn(
        { remote: this.remote.address },
        `http: a client took back ${this.#resets} HTTP/2 requests before they were answered (limits.streamResets); its connection was ended`,
      )
      this.session.destroy(new Error('http: too many requests taken back'), constants.NGHTTP2_ENHANCE_YOUR_CALM)
    }
  }
}

export class Http2Door {
  readonly #door: Door
  readonly #log: Log
  readonly #server: Http2Server
  readonly #sessions: Map<ServerHttp2Session, Http2Session> = new Map()
  #coming: TLSSocket | undefined

  constructor(door: Door, log: Log) {
    this.#door = door
    this.#log = log
    const { limits } = door
    const server = (this.#server = createServer({
      settings: {
        maxConcurrentStreams: limits.streams,
        maxHeaderListSize: limits.headerBytes,
        initialWindowSize: STREAM_WINDOW,
        enablePush: false,
      },
      // Beyond it node resets the stream; up to it the number of fields is ours to refuse, with a status.
      maxHeaderListPairs: limits.headers * 2 + 8,
      maxSessionInvalidFrames: 100,
      maxSessionRejectedStreams: 100,
    }))
    server.on('session', (session) => this.#onSession(session))
    // The fields as they came are an argument that node's types do not know.
    const take = (stream: ServerHttp2Stream, _: unknown, __: unknown, list: readonly string[]): void => this.#onStream(stream, list)
    server.on('stream', take as (stream: ServerHttp2Stream) => void)
    server.on('sessionError', (error) => log.debug({}, `http: an HTTP/2 connection failed: ${describe(error)}`))
  }

  take(socket: TLSSocket): void {
    this.#coming = socket
    this.#server.emit('connection', socket)
    this.#coming = undefined
  }

  /** Every client that is here is told to go. */
  leave(): void {
    for (const session of this.#sessions.values()) session.leave()
  }

  /** Ends all of them. */
  cut(): void {
    for (const session of this.#sessions.keys()) session.destroy()
  }

  #onSession(session: ServerHttp2Session): void {
    const socket = this.#coming
    if (socket === undefined) {
      session.destroy()
      return
    }
    const { idleTimeout } = this.#door.limits
    const of = new Http2Session(this.#door, session, socket, this.#log)
    this.#sessions.set(session, of)
    session.on('close', () => this.#sessions.delete(session))
    session.setLocalWindowSize(CONNECTION_WINDOW)
    if (idleTimeout > 0) {
      // Not as the argument of setTimeout, which listens once: a request may be running then.
      session.on('timeout', () => {
        if (of.streams === 0) session.close()
      })
      session.setTimeout(idleTimeout)
    }
    // It shook hands while the door was closing.
    if (this.#door.closing) of.leave()
  }

  #onStream(stream: ServerHttp2Stream, list: readonly string[]): void {
    // Whatever happens to it is told by `close`.
    stream.on('error', () => {})
    const session = stream.session === undefined ? undefined : this.#sessions.get(stream.session as ServerHttp2Session)
    if (session === undefined) {
      stream.destroy(new GatewayError('CLIENT_GONE', { status: 499, message: 'http: an HTTP/2 stream without its connection' }))
      return
    }
    const run = (): void => new Http2Exchange(session, stream, list, this.#log).run()
    if (!session.begin()) return run()
    // After everything that came together was read, for what comes later is not answered; and before the answer, for who has that asks again.
    setImmediate(() => {
      session.session.close()
      if (stream.destroyed) session.over(false)
      else run()
    })
  }
}
