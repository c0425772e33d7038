// The connections to one application that take one request at a time: how many there may be, and which is used next.
//
// The one used last is used next: its worker is warm, and the others grow old enough to be closed. An idle connection holds a
// worker of php-fpm and its like, so it is kept for a short time only, and goes at once when another one is not being answered.

import type { Address, Log } from '../../core/index.ts'
import { Acks } from './acks.ts'
import { connectFast, formatAddress } from './connect.ts'
import type { TlsOptions } from './connect.ts'
import { Connection } from './connection.ts'
import { clientClosed } from './failures.ts'
import type { LaneCounts, Lanes, Waiters } from './lanes.ts'

export interface ConnectionsOptions {
  readonly address: Address
  readonly tls?: TlsOptions
  readonly max: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly log?: Log
}

/** A new connection without a byte of an answer for this many milliseconds may be waiting for a worker that an idle one holds. */
const STARVED = 100

export class Connections implements Lanes {
  readonly peer: string
  readonly #options: ConnectionsOptions
  readonly #waiters: Waiters
  readonly #all = new Set<Connection>()
  /** Oldest first, for only the end is pushed to and popped from. */
  readonly #idle: Connection[] = []
  /** Connections from which nothing has come yet, by when they were opened. */
  readonly #fresh = new Map<Connection, number>()
  /** Connections open, being opened or promised: never more than `max`. */
  #slots = 0
  #idleTimer: NodeJS.Timeout | undefined
  #freshTimer: NodeJS.Timeout | undefined
  #closing = false
  #ended = false
  readonly #drained: (() => void)[] = []
  readonly #acks: Acks | undefined

  constructor(options: ConnectionsOptions, waiters: Waiters) {
    this.#options = options
    this.#waiters = waiters
    this.peer = formatAddress(options.address, options.tls !== undefined)
    this.#acks = 'path' in options.address ? undefined : new Acks(this.peer, options.log)
  }

  get counts(): LaneCounts {
    return { open: this.#slots, idle: this.#idle.length }
  }

  get room(): boolean {
    return this.#idle.length > 0 || this.#slots < this.#options.max
  }

  take(): Connection | Promise<Connection> | undefined {
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    if (this.#slots >= this.#options.max || this.#closing) return undefined
    this.#slots++
    return this.#open()
  }

  claim(): void {
    this.#slots++
  }

  claimed(): Promise<Connection> {
    return this.#open()
  }

  release(connection: Connection): void {
    if (this.#closing) {
      connection.close()
      return
    }
    if (this.#fresh.size > 0) this.#fresh.delete(connection)
    if (this.#waiters.size > 0) {
      this.#waiters.offer(connection)
      return
    }
    connection.idleSince = performance.now()
    this.#idle.push(connection)
    this.#idleTimer ??= this.#expireIn(this.#options.idleTimeout)
  }

  async close(grace: number): Promise<void> {
    this.#closing = true
    clearTimeout(this.#idleTimer)
    while (this.#idle.length > 0) this.#idle.at(-1)!.close()
    if (this.#slots > 0 && grace > 0) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#drained.push(resolve)
        timer = setTimeout(resolve, Math.min(grace, 0x7fffffff))
      })
      clearTimeout(timer)
    }
    this.#ended = true
    clearTimeout(this.#freshTimer)
    for (const connection of this.#all) connection.close()
  }

  async #open(): Promise<Connection> {
    const { address, connectTimeout, tls, log } = this.#options
    let socket
    try {
      socket = await connectFast(address, connectTimeout, tls)
    } catch (error) {
      this.#freeSlot()
      throw error
    }
    const acks = this.#acks
    const connection = new Connection(socket, { peer: this.peer, ...(log !== undefined && { log }), ...(acks !== undefined && { acks }) })
    this.#all.add(connection)
    connection.onClose = (error) => {
      if (error !== undefined) log?.warn({ peer: this.peer, err: error }, 'fastcgi: a connection was closed')
      this.#all.delete(connection)
      this.#fresh.delete(connection)
      const at = this.#idle.indexOf(connection)
      if (at !== -1) this.#idle.splice(at, 1)
      if (this.#all.size === 0) this.#waiters.emptied?.()
      this.#freeSlot()
    }
    if (this.#ended) {
      connection.close()
      throw clientClosed(this.peer)
    }
    this.#fresh.set(connection, performance.now())
    this.#freshTimer ??= setTimeout(this.#relieve, STARVED).unref()
    return connection
  }

  /** There is room for another connection: whoever waits longest gets it. */
  #freeSlot(): void {
    this.#slots--
    if (!this.#closing && this.#waiters.size > 0 && this.#slots < this.#options.max) {
      this.#slots++
      this.#waiters.offer(this.#open())
    } else if (this.#slots === 0) for (const drained of this.#drained.splice(0)) drained()
  }

  /**
   * More connections than the application has workers: those that are idle hold workers, those that are not accepted wait for one.
   * Each that starves costs one idle connection, the oldest, once.
   */
  readonly #relieve = (): void => {
    this.#freshTimer = undefined
    const before = performance.now() - STARVED + 1
    for (const [connection, since] of this.#fresh) {
      if (connection.heard) this.#fresh.delete(connection)
      else if (since <= before && connection.busy) {
        const oldest = this.#idle[0]
        if (oldest === undefined) break
        this.#fresh.delete(connection)
        oldest.close()
        this.#options.log?.debug(
          { peer: this.peer, connections: this.#slots },
          `fastcgi: ${this.peer} does not answer on a new connection while others are idle; an idle one was closed: are there more connections than workers?`,
        )
      }
    }
    if (this.#fresh.size > 0) this.#freshTimer = setTimeout(this.#relieve, STARVED).unref()
  }

  #expireIn(milliseconds: number): NodeJS.Timeout {
    const timer = setTimeout(() => {
      this.#idleTimer = undefined
      const before = performance.now() - this.#options.idleTimeout
      while (this.#idle[0] !== undefined && this.#idle[0].idleSince <= before + 1) this.#idle[0].close()
      const oldest = this.#idle[0]
      if (oldest !== undefined) this.#idleTimer = this.#expireIn(oldest.idleSince - before)
    }, milliseconds)
    timer.unref()
    return timer
  }
}
