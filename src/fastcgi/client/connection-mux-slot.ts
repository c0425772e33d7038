// One of several requests on a connection: what is sent under its id, what comes for it, and when the id is free again.
// Specification: FastCGI 1.0, sections 3.3 and 5.4.

import type { Call, Reply } from './call.ts'
import type { MuxConnection } from './connection-mux.ts'
import { Exchange } from './exchange.ts'
import type { Line } from './exchange.ts'
import { late } from './failures.ts'
import type { Lane } from './lanes.ts'
import { ProtocolStatus, abortRequest } from '../record.ts'
import type { EndRequest } from '../record.ts'
import { spilledBody } from '../spill.ts'
import type { SpillOwner } from '../spill.ts'
import { Outgoing } from './stdin.ts'
import { Deadline, within } from './timers.ts'

/** After this many milliseconds a request's signal is looked at: shorter ones never make it. */
const LOOK = 100

/** One id of a connection, for one request after another. */
export class MuxSlot implements Lane {
  readonly id: number
  readonly shared = true
  readonly connection: MuxConnection
  exchange: Exchange | undefined
  /** END_REQUEST of the running request, once it has come. */
  ended: EndRequest | undefined
  /** The last record that had begun before the request was sent: what is cut in the middle may have been meant for another one. */
  after = 0
  /** A request that was given up and whose END_REQUEST is still to come: the id is not free before. */
  #dead = false
  readonly #line: Line
  readonly #outgoing: Outgoing
  readonly #deadline: Deadline

  constructor(connection: MuxConnection, id: number) {
    this.id = id
    this.connection = connection
    this.#line = {
      peer: connection.peer,
      log: connection.log,
      // Nothing is ever refused, so nobody pauses: the body is a spill.
      pause() {},
      resume: () => this.#pace(),
      body: (exchange, gone) => {
        const owner: SpillOwner = {
          pause: () => connection.pause(),
          resume: () => connection.resume(),
          // Its reader may be at it long after the request is over, and the id another one's.
          giveUp: (error) => this.#abandon(exchange, error),
        }
        return spilledBody(connection.spill, owner, gone)
      },
      cut: (exchange, error) => this.#abandon(exchange, error),
      giveUp: (exchange, error) => this.#abandon(exchange, error),
    }
    this.#outgoing = new Outgoing(connection.socket, {
      uploadBlocked: () => this.#pace(),
      uploadDone: () => this.#pace(),
      uploadFailed: (error) => this.#abandon(this.exchange, error),
    })
    this.#deadline = new Deadline(
      () => this.#expire(),
      () => this.exchange?.watch(),
    )
  }

  get requests(): number {
    return this.connection.requests
  }

  /** Records with this id mean something. */
  get expects(): boolean {
    return (this.exchange !== undefined || this.#dead) && this.ended === undefined
  }

  start(call: Call, reply: Reply): void {
    const exchange = new Exchange(call, reply, this.#line)
    const { connection } = this
    connection.requests++
    if (connection.closed) {
      exchange.taken = false
      this.#conclude(exchange, connection.lost(exchange), false)
      return
    }
    this.exchange = exchange
    this.ended = undefined
    this.after = connection.begun
    this.#outgoing.write(call, this.id)
    if (connection.socket.errored !== null) exchange.taken = false
    if (this.#outgoing.running) {
      this.#deadline.set(within(call, Number.POSITIVE_INFINITY), LOOK)
      this.#outgoing.start()
    } else this.#deadline.set(within(call, call.deadlines.firstByte), LOOK)
  }

  drained(): void {
    this.#outgoing.drained()
  }

  /** A read brought something for it, and is over. */
  wasRead(): void {
    const { exchange, ended } = this
    if (exchange === undefined) {
      if (ended !== undefined && this.#dead) this.#bury()
    } else if (ended === undefined) {
      exchange.flush()
      if (exchange.hasHead) this.#pace()
    } else {
      this.#outgoing.stop()
      const error = exchange.verdict(ended)
      if (ended.protocolStatus === ProtocolStatus.CantMpxConn) this.connection.refused()
      const reusable = !this.connection.retired && exchange.keep
      this.#conclude(exchange, error, reusable, ended.appStatus)
      if (!reusable) this.connection.put(this)
    }
  }

  /** The connection is gone. */
  shut(failure: (exchange: Exchange) => unknown): void {
    const { exchange } = this
    const error = exchange === undefined ? undefined : failure(exchange)
    this.#dead = false
    this.#deadline.stop()
    this.#outgoing.stop(error)
    if (exchange !== undefined) this.#conclude(exchange, error, false)
  }

  #conclude(exchange: Exchange, error: unknown, reusable: boolean, appStatus?: number): void {
    const { answered, taken } = exchange
    this.exchange = undefined
    this.#deadline.clear()
    exchange.lastWords()
    try {
      exchange.call.onEnd({
        reusable,
        answered,
        taken,
        ...(appStatus !== undefined && { appStatus }),
        ...(error !== undefined && { error }),
      })
    } finally {
      exchange.conclude(error)
    }
  }

  /** This request is over for its client, whatever still comes of it: the application is told, the id waits for its end. */
  #abandon(exchange: Exchange | undefined, error: unknown): void {
    if (exchange === undefined || exchange !== this.exchange) return
    this.#outgoing.stop(error)
    if (this.ended === undefined) {
      this.#dead = true
      if (!this.connection.closed) this.connection.socket.write(abortRequest(this.id), 'latin1')
    }
    const { drainTime } = exchange
    this.#conclude(exchange, error, false)
    if (this.#dead) this.#deadline.set(drainTime)
    else this.connection.put(this)
  }

  #bury(): void {
    this.#dead = false
    this.#deadline.clear()
    this.connection.put(this)
  }

  #pace(): void {
    const { exchange } = this
    if (exchange === undefined) return
    const { call } = exchange
    const waiting = this.#outgoing.running && !this.#outgoing.blocked
    const time = waiting ? Number.POSITIVE_INFINITY : exchange.hasHead ? call.deadlines.between : call.deadlines.firstByte
    this.#deadline.set(within(call, time))
  }

  #expire(): void {
    const { exchange, connection } = this
    if (exchange !== undefined) this.#abandon(exchange, late(exchange, connection.peer))
    else if (this.#dead) {
      // An application that does not end what it was told to end: the id is lost, and with it, in the end, the connection.
      this.#dead = false
      connection.put(this)
      connection.log?.warn({ peer: connection.peer }, `fastcgi: ${connection.peer} did not end a request that was aborted`)
      connection.retire()
    }
  }
}
