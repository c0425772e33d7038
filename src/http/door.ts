// The HTTP door: takes requests from node:http, one of a connection at a time, and looks after its connections until they end.

import { createServer } from 'node:http'
import type { Server as HttpServer } from 'node:http'
import { Server as NetServer } from 'node:net'
import type { Socket } from 'node:net'
import { Doorkeeper, GatewayError, logFailure } from '../core/index.ts'
import type { Address, Application, Endpoint, ErrorStream, Log } from '../core/index.ts'
import { bare, clientErrorStatus, refuseConnect } from './client-error.ts'
import { Connection, nowhere } from './connection.ts'
import { Exchange, Outgoing, summary } from './exchange.ts'
import { Incoming, examine, refusal } from './incoming.ts'
import { sweepInterval } from './limits.ts'
import type { HttpLimits } from './limits.ts'

/** Requests that may wait on one connection. Clients that pipeline at all send a few. */
const PIPELINE_LIMIT = 128
/**
 * When the door closes, a request may be on its way: so many milliseconds a connection may stay that has not sent anything
 * yet, or whose last answer is so recent that no sweep has found it idle. A busy client needs more than a moment to ask again.
 */
export const ASKING = 500

export class Door {
  application: Application
  readonly limits: HttpLimits
  readonly server: HttpServer<typeof Incoming, typeof Outgoing>
  /** Who accepts the connections: node's HTTP server itself, or the TLS server in front of it. */
  acceptor: NetServer
  readonly connections: Set<Connection> = new Set()
  closing = false
  /** This end of every connection, where all have the same. */
  local: Endpoint | undefined = undefined
  /** Counts sweeps: the clock of everything that has no timer of its own. */
  tick = 0
  /** Hears of work that goes on after a response. */
  readonly track: (work: Promise<unknown>) => void
  readonly #log: Log
  readonly #keeper: Doorkeeper
  /** While closing: until when a connection without a request may stay. */
  readonly #stays: WeakMap<Connection, number> = new WeakMap()
  readonly #interval: number
  readonly #sweeper: NodeJS.Timeout

  constructor(application: Application, limits: HttpLimits, log: Log) {
    this.application = application
    this.limits = limits
    this.#log = log
    this.#keeper = new Doorkeeper('http', limits.connections, log)
    this.track = this.#keeper.track
    this.#interval = sweepInterval(limits)
    const server = (this.server = createServer({
      IncomingMessage: Incoming,
      ServerResponse: Outgoing,
      // Said, because the command line of node could switch it on.
      insecureHTTPParser: false,
      maxHeaderSize: limits.headerBytes,
      headersTimeout: limits.headersTimeout,
      // Uploads may take as long as they like, as long as they go on: see bodyTimeout.
      requestTimeout: 0,
      connectionsCheckingInterval: this.#interval,
      // The sweep does it, without a timer that is set twice a request.
      keepAliveTimeout: 0,
      // Checked here, together with duplicates.
      requireHostHeader: false,
      noDelay: true,
      highWaterMark: 65_536,
    }))
    // Beyond its own limit node drops fields without a word. The bytes are limited, and the number is checked here.
    server.maxHeadersCount = 0
    this.acceptor = server
    this.#keeper.limit(server)
    server.on('connection', (socket) => this.#onConnection(socket))
    server.on('request', (incoming, outgoing) => this.#onRequest(incoming, outgoing, false))
    server.on('checkContinue', (incoming, outgoing) => this.#onRequest(incoming, outgoing, true))
    server.on('checkExpectation', (incoming, outgoing) => this.#onExpectation(incoming, outgoing))
    server.on('connect', (_, socket) => refuseConnect(socket))
    server.on('clientError', (error, socket) => this.#onClientError(error, socket as Socket))
    server.on('timeout', (socket) => onTimeout(socket))
    this.#sweeper = setInterval(() => this.#sweep(), this.#interval).unref()
  }

  /** Takes connections from this server, which hands them over by `connection` on `this.server`. */
  acceptFrom(acceptor: NetServer): void {
    this.acceptor = acceptor
    this.#keeper.limit(acceptor)
    // Node minds the deadline of heads from here on, as if it listened itself.
    acceptor.once('listening', () => this.server.emit('listening'))
  }

  /** It listens, here. */
  opened(address: Address): void {
    // The same for every connection, unless it listens on every address there is.
    if ('path' in address) this.local = nowhere
    else if (address.host !== '0.0.0.0' && address.host !== '::') this.local = { address: address.host, port: address.port }
    this.#keeper.opened(this.acceptor)
  }

  /** Where the lines go that an application writes about a request. */
  errorsOf(exchange: Exchange): ErrorStream {
    const { method, url } = exchange.incoming
    return { write: (text) => this.#log.warn({ method, target: url }, text.trimEnd()) }
  }

  /** Says in the log what the client is not told. `status` is 0 when the answer had begun. */
  report(exchange: Exchange, error: unknown, status: number): void {
    logFailure(this.#log, 'http', summary(exchange, error), error, status)
  }

  /** This exchange is over: the next one of its connection. */
  done(exchange: Exchange): void {
    const { connection } = exchange
    connection.disarm()
    if (connection.first !== exchange) return
    const next = connection.shift()
    if (next !== undefined) {
      if (!connection.socket.destroyed && !connection.lingering) next.run()
    } else if (this.closing) {
      // Its head went out before the door closed, so the client does not know yet and may be asking for more.
      this.#stays.set(connection, performance.now() + ASKING)
    }
  }

  async close(grace: number): Promise<void> {
    this.closing = true
    const { server } = this
    // Not node's own close, which ends idle connections at once, with requests that are on the wire already.
    const stopped = new Promise<void>((resolve) => NetServer.prototype.close.call(this.acceptor, () => resolve()))
    const begin = performance.now()
    for (const connection of this.connections) {
      if (connection.requests === 0 || connection.requests !== connection.seenRequests) this.#stays.set(connection, begin + ASKING)
    }
    await this.#keeper.drain(grace, stopped, (now) => this.#reap(now))
    for (const connection of this.connections) connection.socket.destroy()
    await stopped
    clearInterval(this.#sweeper)
    // Ends node's own interval.
    server.close()
  }

  #onConnection(socket: Socket): void {
    // A connection that is handed back to the parser is not new.
    if (Connection.of(socket) !== undefined) return
    const connection = new Connection(this, socket)
    this.connections.add(connection)
    // It shook hands (TLS) while the door was closing.
    if (this.closing) this.#stays.set(connection, performance.now() + ASKING)
    socket.on('close', onSocketClose)
  }

  #onRequest(incoming: Incoming, outgoing: Outgoing, expectsContinue: boolean): void {
    const connection = Connection.of(incoming.socket)
    // What comes after the last answer of a connection is not answered (RFC 9112, 9.6).
    if (connection === undefined || connection.lingering) return
    if (connection.requests++ === 0) connection.locate()
    const head =
      connection.queued < PIPELINE_LIMIT
        ? examine(incoming, this.limits)
        : refusal(503, `${PIPELINE_LIMIT} requests wait on one connection`)
    if (!(head instanceof GatewayError) && head.contentLength === 0) incoming.bodyless = true
    this.enter(new Exchange(connection, incoming, outgoing, head, expectsContinue))
  }

  enter(exchange: Exchange): void {
    if (exchange.connection.push(exchange)) exchange.run()
  }

  #onExpectation(incoming: Incoming, outgoing: Outgoing): void {
    const connection = Connection.of(incoming.socket)
    if (connection === undefined || connection.lingering) return
    if (connection.requests++ === 0) connection.locate()
    this.enter(new Exchange(connection, incoming, outgoing, refusal(417, 'an expectation other than 100-continue'), false))
  }

  /** Not HTTP, too much of it, or too slow. */
  #onClientError(error: Error & { code?: string }, socket: Socket): void {
    const connection = Connection.of(socket)
    const status = clientErrorStatus(error.code)
    if (connection === undefined || connection.lingering || status === 0 || !socket.writable || socket.bytesRead === 0) {
      socket.destroy()
      return
    }
    this.#log.debug({ remote: socket.remoteAddress, code: error.code, status }, `http: refused what a client sent: ${error.message}`)
    const { first } = connection
    if (first?.outgoing.headersSent === true) {
      socket.destroy()
      return
    }
    const reason =
      error.code === 'HPE_INVALID_EOF_STATE'
        ? new GatewayError('CLIENT_GONE', { status: 499, message: 'http: the client has gone in the middle of its request' })
        : refusal(status, error.message)
    for (let exchange = first; exchange !== undefined; exchange = exchange.next) exchange.cut(reason)
    socket.write(bare(status), 'latin1')
    connection.linger()
  }

  #sweep(): void {
    this.tick++
    this.#keeper.sweep()
    const { limits } = this
    const idle = ticks(limits.idleTimeout, this.#interval)
    const body = ticks(limits.bodyTimeout, this.#interval)
    const drain = ticks(limits.drainTimeout, this.#interval)
    for (const connection of this.connections) {
      const { first } = connection
      const age = this.tick - connection.since
      if (connection.draining?.complete === true) connection.draining = undefined
      if (connection.upgraded) continue
      if (connection.lingering || (first === undefined && connection.draining !== undefined)) {
        if (age > drain) connection.socket.destroy()
      } else if (first === undefined) this.#sweepIdle(connection, age > idle)
      else if (first.reading?.paused === false && this.tick - first.reading.tick > body) first.reading.fail(tooSlow(limits.bodyTimeout))
    }
  }

  #sweepIdle(connection: Connection, expired: boolean): void {
    const { socket } = connection
    if (connection.requests !== connection.seenRequests) {
      connection.seenRequests = connection.requests
      connection.seenBytes = socket.bytesRead
      connection.since = this.tick
    } else if (expired && socket.bytesRead === connection.seenBytes) {
      // More bytes are the beginning of a request, and node minds its head's deadline.
      socket.destroySoon()
    }
  }

  /** While closing: ends what has no request and whose time to ask is over at `now`. */
  #reap(now: number): void {
    for (const connection of this.connections) {
      const { socket } = connection
      if (connection.first !== undefined || connection.lingering || connection.upgraded) continue
      if (connection.draining?.complete === false) continue
      if (connection.requests !== connection.seenRequests) {
        connection.seenRequests = connection.requests
        connection.seenBytes = socket.bytesRead
      }
      // More bytes than at the last look are the beginning of a request.
      if (now >= (this.#stays.get(connection) ?? 0) && socket.bytesRead === connection.seenBytes) socket.destroySoon()
    }
  }
}

function onSocketClose(this: Socket): void {
  const connection = Connection.of(this)
  if (connection === undefined) return
  connection.door.connections.delete(connection)
  // All of them, for node tells only the one whose turn it was.
  for (let exchange = connection.first; exchange !== undefined; exchange = connection.first) {
    exchange.closed()
    if (connection.first === exchange) connection.shift()
  }
}

function onTimeout(socket: Socket): void {
  // Nothing waits for the client: it was the application that took its time.
  if (socket.writableLength > 0) socket.destroy()
}

function tooSlow(timeout: number): GatewayError {
  return new GatewayError('TIMEOUT', {
    status: 408,
    message: `http: no byte of the request body came for limits.bodyTimeout = ${timeout} ms`,
  })
}

/** 0 milliseconds are never. */
function ticks(milliseconds: number, interval: number): number {
  return milliseconds === 0 ? Number.POSITIVE_INFINITY : Math.ceil(milliseconds / interval)
}
