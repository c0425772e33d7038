// The FastCGI door: accepts connections of web servers, and looks after all of them until they end.

import { createServer } from 'node:net'
import type { Server as NetServer, Socket } from 'node:net'
import { Doorkeeper, GatewayError, logFailure } from '../../core/index.ts'
import type { ByteString, Log, Networks } from '../../core/index.ts'
import { HIGH_WATER_MARK, ServerConnection } from './connection.ts'
import type { ServerExchange } from './exchange.ts'
import { serverSweep } from './limits.ts'
import type { FastCgiServerLimits } from './limits.ts'
import type { Cast } from './roles.ts'
import type { Reading } from './variables.ts'

/**
 * When the door closes, a request may be on its way: so long a connection may stay that has not sent anything yet,
 * and one whose last answer is so recent that no sweep has found it idle.
 */
const FRESH_GRACE = 500
const RECENT_GRACE = 100

export interface DoorOptions {
  readonly limits: FastCgiServerLimits
  readonly mount: ByteString | undefined
  readonly trusted: ReadonlySet<string>
  readonly multiplex: boolean
  readonly log: Log
  /** Of TCP peers. */
  readonly allowed: Networks | undefined
}

export class ServerDoor implements Reading {
  cast: Cast
  readonly limits: FastCgiServerLimits
  readonly mount: ByteString | undefined
  readonly trusted: ReadonlySet<string>
  readonly multiplex: boolean
  readonly log: Log
  readonly server: NetServer
  /** What GET_VALUES tells (FastCGI 1.0, 4.1). */
  readonly values: Readonly<Record<string, ByteString>>
  /** Requests that are active, or whose application is still at work. */
  load = 0
  closing = false
  /** Counts sweeps: the clock of everything that has no timer of its own. */
  tick = 0
  /** Hears of work that goes on after a response. */
  readonly track: (work: Promise<unknown>) => void
  readonly #allowed: Networks | undefined
  readonly #connections = new Set<ServerConnection>()
  readonly #keeper: Doorkeeper
  readonly #interval: number
  readonly #sweeper: NodeJS.Timeout
  #refused = 0

  constructor(cast: Cast, options: DoorOptions) {
    this.cast = cast
    this.limits = options.limits
    this.mount = options.mount
    this.trusted = options.trusted
    this.multiplex = options.multiplex
    this.log = options.log
    this.#allowed = options.allowed
    this.values = {
      FCGI_MAX_CONNS: String(options.limits.connections),
      FCGI_MAX_REQS: String(options.limits.requests),
      FCGI_MPXS_CONNS: options.multiplex ? '1' : '0',
    }
    // Half-open: we say when our side ends. Without delay: an answer leaves as one write.
    this.server = createServer({ allowHalfOpen: true, noDelay: true, highWaterMark: HIGH_WATER_MARK }, (socket) => this.#accept(socket))
    this.#keeper = new Doorkeeper('fastcgi', options.limits.connections, options.log)
    this.#keeper.limit(this.server)
    this.track = this.#keeper.track
    this.#interval = serverSweep(options.limits)
    this.#sweeper = setInterval(() => this.#sweep(), this.#interval).unref()
  }

  /** It listens. */
  opened(): void {
    this.#keeper.opened(this.server)
  }

  #accept(socket: Socket): void {
    if (this.#allowed?.admits(socket, this.server) === false) {
      this.#refused++
      socket.destroy()
      return
    }
    this.#connections.add(new ServerConnection(this, socket))
  }

  closed(connection: ServerConnection): void {
    this.#connections.delete(connection)
  }

  /** A request is over, for its connection and for its application. */
  left(): void {
    this.load--
  }

  /** Says in the log what the client is not told. `status` is 0 when the answer had begun. */
  report(exchange: ServerExchange, error: unknown, status: number): void {
    const { facts } = exchange
    logFailure(this.log, 'fastcgi', { method: facts?.method, target: facts?.target, remote: facts?.remote.address }, error, status)
  }

  async close(grace: number): Promise<void> {
    this.closing = true
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()))
    const begin = performance.now()
    const stays = new Map<ServerConnection, number>()
    for (const each of this.#connections) {
      stays.set(each, each.requests === 0 ? FRESH_GRACE : each.requests === each.seenRequests ? 0 : RECENT_GRACE)
    }
    await this.#keeper.drain(grace, stopped, (now) => {
      for (const each of this.#connections) if (each.idle && now - begin >= (stays.get(each) ?? FRESH_GRACE)) each.end()
    })
    for (const each of this.#connections) each.close(new GatewayError('CLOSED', { status: 503, message: 'fastcgi: the server was closed' }))
    await stopped
    clearInterval(this.#sweeper)
  }

  #sweep(): void {
    this.tick++
    const ticks = (milliseconds: number): number => Math.ceil(milliseconds / this.#interval)
    for (const connection of this.#connections) connection.sweep(ticks)
    this.#keeper.sweep()
    if (this.#refused > 0) {
      this.log.warn(
        { refused: this.#refused },
        `fastcgi: ${this.#refused} connections from addresses that are not on the list were refused`,
      )
    }
    this.#refused = 0
  }
}
