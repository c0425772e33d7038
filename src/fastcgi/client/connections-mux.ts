// The connections to one application that take several requests at a time: few, filled one after the other.

import { connectFast, formatAddress } from './connect.ts'
import { MuxConnection } from './connection-mux.ts'
import type { MuxSlot } from './connection-mux-slot.ts'
import type { ConnectionsOptions } from './connections.ts'
import { clientClosed } from './failures.ts'
import type { Lane, LaneCounts, Lanes, Waiters } from './lanes.ts'
import type { SpillLimits } from '../spill.ts'

export interface MuxConnectionsOptions extends ConnectionsOptions {
  /** On each connection at a time. */
  readonly requests: number
  readonly spill: SpillLimits
}

interface Opening {
  readonly connection: Promise<MuxConnection>
  /** Requests that wait for it. */
  expected: number
}

export class MuxConnections implements Lanes {
  readonly peer: string
  readonly #options: MuxConnectionsOptions
  readonly #waiters: Waiters
  /** On each connection at a time. */
  #requests: number
  readonly #all = new Set<MuxConnection>()
  readonly #opening = new Set<Opening>()
  /** Requests that were on a connection that is gone, and go before those that wait. */
  readonly #again: ((lane: Lane | Promise<Lane>) => void)[] = []
  readonly #drained: (() => void)[] = []
  #idleTimer: NodeJS.Timeout | undefined
  #closing = false
  #ended = false

  constructor(options: MuxConnectionsOptions, waiters: Waiters) {
    this.#options = options
    this.#waiters = waiters
    this.#requests = options.requests
    this.peer = formatAddress(options.address, options.tls !== undefined)
  }

  get counts(): LaneCounts {
    let idle = 0
    for (const connection of this.#all) idle += connection.room
    return { open: this.#all.size + this.#opening.size, idle }
  }

  get room(): boolean {
    if (this.#closing) return false
    if (this.#all.size + this.#opening.size < this.#options.max) return true
    for (const connection of this.#all) if (connection.room > 0) return true
    for (const opening of this.#opening) if (opening.expected < this.#requests) return true
    return false
  }

  take(): Lane | Promise<Lane> | undefined {
    if (this.#closing) return undefined
    for (const connection of this.#all) if (connection.room > 0) return connection.take()
    for (const opening of this.#opening) if (opening.expected < this.#requests) return this.#join(opening)
    if (this.#all.size + this.#opening.size >= this.#options.max) return undefined
    const opening: Opening = { connection: this.#open(() => opening), expected: 0 }
    this.#opening.add(opening)
    return this.#join(opening)
  }

  release(slot: MuxSlot): void {
    slot.connection.put(slot)
  }

  /** The dying connection's place is free by the time of `claimed`. */
  claim(): void {}

  claimed(): Promise<Lane> {
    if (this.#closing) return Promise.reject(clientClosed(this.peer))
    const lane = this.take()
    return lane === undefined ? new Promise((resolve) => this.#again.push(resolve)) : Promise.resolve(lane)
  }

  async close(grace: number): Promise<void> {
    this.#closing = true
    clearTimeout(this.#idleTimer)
    for (const again of this.#again.splice(0)) again(Promise.reject(clientClosed(this.peer)))
    for (const connection of this.#all) connection.retire()
    if (this.#all.size + this.#opening.size > 0 && grace > 0) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#drained.push(resolve)
        timer = setTimeout(resolve, Math.min(grace, 0x7fffffff))
      })
      clearTimeout(timer)
    }
    this.#ended = true
    for (const connection of this.#all) connection.close()
  }

  async #join(opening: Opening): Promise<Lane> {
    opening.expected++
    const connection = await opening.connection
    connection.reserved--
    return connection.take()
  }

  async #open(opening: () => Opening): Promise<MuxConnection> {
    const { address, connectTimeout, tls, log, spill } = this.#options
    let socket
    try {
      socket = await connectFast(address, connectTimeout, tls)
    } finally {
      this.#opening.delete(opening())
      if (socket === undefined) this.#settle()
    }
    const connection = new MuxConnection(socket, { peer: this.peer, requests: this.#requests, spill, ...(log !== undefined && { log }) })
    connection.reserved = opening().expected
    connection.onFree = () => this.#freed()
    connection.onRefusal = () => {
      if (this.#requests > 1) log?.warn({ peer: this.peer }, `fastcgi: ${this.peer} says CANT_MPX_CONN: it gets one request at a time`)
      this.#requests = 1
    }
    connection.onClose = (error) => {
      if (error !== undefined) log?.warn({ peer: this.peer, err: error }, 'fastcgi: a connection was closed')
      this.#all.delete(connection)
      if (this.#all.size === 0) this.#waiters.emptied?.()
      this.#settle()
    }
    this.#all.add(connection)
    if (this.#ended) {
      connection.close()
      throw clientClosed(this.peer)
    }
    // Who waits gets what those who waited for this connection leave.
    queueMicrotask(() => this.#serve())
    return connection
  }

  #freed(): void {
    this.#serve()
    this.#idleTimer ??= this.#expireIn(this.#options.idleTimeout)
  }

  /** A connection is gone or was not to be had. */
  #settle(): void {
    this.#serve()
    if (this.#all.size + this.#opening.size === 0) for (const drained of this.#drained.splice(0)) drained()
  }

  #serve(): void {
    while (this.room && (this.#again.length > 0 || this.#waiters.size > 0)) {
      const lane = this.take()!
      const again = this.#again.shift()
      if (again !== undefined) again(lane)
      else this.#waiters.offer(lane)
    }
  }

  #expireIn(milliseconds: number): NodeJS.Timeout {
    return setTimeout(() => {
      this.#idleTimer = undefined
      const before = performance.now() - this.#options.idleTimeout
      let oldest = Number.POSITIVE_INFINITY
      for (const connection of this.#all) {
        if (connection.active > 0 || connection.reserved > 0) continue
        if (connection.idleSince <= before + 1) connection.close()
        else oldest = Math.min(oldest, connection.idleSince)
      }
      if (oldest !== Number.POSITIVE_INFINITY) this.#idleTimer = this.#expireIn(oldest - before)
    }, milliseconds).unref()
  }
}
