// The FastCGI door: accepts connections of web servers, and looks after all of them until they end.

import { createServer } from 'node:net'
import type { Server as NetServer, Socket } from 'node:net'
import { GatewayError, describe } from '../../core/index.ts'
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
  readonly #allowed: Networks | undefined
  readonly #connections = new Set<ServerConnection>()
  readonly #work = new Set<Promise<unknown>>()
  readonly #interval: number
  readonly #sweeper: NodeJS.Timeout
  #dropped = 0
  #refused = 0
  #settled: (() => void) | undefined

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
    this.server.maxConnections = options.limits.connections
    this.server.on('drop', () => this.#dropped++)
    this.#interval = serverSweep(options.limits)
    this.#sweeper = setInterval(() => this.#sweep(), this.#interval).unref()
  }

  /** It listens. Without somebody to hear of what befalls the listening socket from now on, that would end the process. */
  opened(): void {
    this.server.on('error', (error) => this.log.error({}, `fastcgi: the listening socket: ${describe(error)}`))
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
    this.#settle()
  }

  readonly track = (work: Promise<unknown>): void => {
    const settled = work.then(
      () => {},
      (error: unknown) => this.log.error({}, `fastcgi: work after a response failed: ${describe(error)}`),
    )
    this.#work.add(settled)
    void settled.then(() => {
      this.#work.delete(settled)
      this.#settle()
    })
  }

  /** Says in the log what the client is not told. `status` is 0 when the answer had begun. */
  report(exchange: ServerExchange, error: unknown, status: number): void {
    const fact = describe(error)
    const { facts } = exchange
    const fields = { method: facts?.method, target: facts?.target, remote: facts?.remote.address, status, error: fact }
    if (status === 0) this.log.error(fields, `fastcgi: an answer broke off: ${fact}`)
    else if (status < 500) this.log.debug(fields, fact)
    else if (error instanceof GatewayError) this.log.error(fields, fact)
    else this.log.error({ ...fields, stack: error instanceof Error ? error.stack : undefined }, `fastcgi: the application failed: ${fact}`)
  }

  async close(grace: number): Promise<void> {
    this.closing = true
    const stopped = new Promise<void>((resolve) => this.server.close(() => resolve()))
    const begin = performance.now()
    const stays = new Map<ServerConnection, number>()
    for (const each of this.#connections) {
      stays.set(each, each.requests === 0 ? FRESH_GRACE : each.requests === each.seenRequests ? 0 : RECENT_GRACE)
    }
    const reap = (): void => {
      const elapsed = grace === 0 ? Number.POSITIVE_INFINITY : performance.now() - begin
      for (const each of this.#connections) if (each.idle && elapsed >= (stays.get(each) ?? FRESH_GRACE)) each.end()
    }
    // One round to read what has arrived, one to be sure.
    await turn()
    await turn()
    reap()
    const reaper = setInterval(reap, 25)
    let timer: NodeJS.Timeout | undefined
    const deadline = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, grace)
    })
    await Promise.race([deadline, stopped.then(() => this.#allSettled())])
    clearTimeout(timer)
    clearInterval(reaper)
    if (this.#work.size > 0) this.log.warn({ count: this.#work.size }, 'fastcgi: closed while work after responses still ran')
    for (const each of this.#connections) each.close(new GatewayError('CLOSED', { status: 503, message: 'fastcgi: the server was closed' }))
    await stopped
    clearInterval(this.#sweeper)
  }

  #sweep(): void {
    this.tick++
    const ticks = (milliseconds: number): number => Math.ceil(milliseconds / this.#interval)
    for (const connection of this.#connections) connection.sweep(ticks)
    // Told once a sweep, for a flood of connections must not become a flood of lines.
    if (this.#dropped > 0) {
      this.log.warn(
        { refused: this.#dropped },
        `fastcgi: limits.connections = ${this.limits.connections} is reached, ${this.#dropped} were refused`,
      )
    }
    if (this.#refused > 0) {
      this.log.warn(
        { refused: this.#refused },
        `fastcgi: ${this.#refused} connections from addresses that are not on the list were refused`,
      )
    }
    this.#dropped = this.#refused = 0
  }

  #settle(): void {
    if (this.#work.size > 0 || this.#settled === undefined) return
    this.#settled()
    this.#settled = undefined
  }

  #allSettled(): Promise<void> | undefined {
    if (this.#work.size === 0) return undefined
    return new Promise((resolve) => {
      this.#settled = resolve
    })
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}
