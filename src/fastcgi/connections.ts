// The connections to one application: how many there may be, which is used next, and who waits for one.
//
// The one used last is used next: its worker is warm, and the others grow old enough to be closed. Waiting is first come,
// first served, with a bound and a deadline.

import { GatewayError } from '../core/index.ts'
import type { Address, GatewayRequest, Log } from '../core/index.ts'
import { connect, formatAddress } from './connect.ts'
import { Connection } from './connection.ts'

export interface ConnectionsOptions {
  readonly address: Address
  readonly max: number
  readonly queue: number
  readonly queueTimeout: number
  readonly connectTimeout: number
  readonly idleTimeout: number
  readonly log?: Log
}

interface Waiting {
  resolve(connection: Connection | Promise<Connection>): void
  reject(error: unknown): void
}

export class Connections {
  readonly peer: string
  readonly #options: ConnectionsOptions
  readonly #all = new Set<Connection>()
  /** Oldest first, for only the end is pushed to and popped from. */
  readonly #idle: Connection[] = []
  readonly #waiting = new Set<Waiting>()
  /** Connections open, being opened or promised: never more than `max`. */
  #slots = 0
  #idleTimer: NodeJS.Timeout | undefined
  #closing = false
  #ended = false
  #drained: (() => void) | undefined

  constructor(options: ConnectionsOptions) {
    this.#options = options
    this.peer = formatAddress(options.address)
  }

  get counts(): { readonly open: number; readonly idle: number; readonly waiting: number } {
    return { open: this.#slots, idle: this.#idle.length, waiting: this.#waiting.size }
  }

  /** At once while one is idle. Rejects or throws QUEUE_FULL, QUEUE_TIMEOUT, CLOSED (503), and what `connect` rejects with. */
  acquire(request: GatewayRequest): Connection | Promise<Connection> {
    if (this.#closing) throw this.#closed()
    const idle = this.#idle.pop()
    if (idle !== undefined) return idle
    if (this.#slots < this.#options.max) {
      this.#slots++
      return this.#open()
    }
    return this.#wait(request)
  }

  /** Keeps a place for one more try while the connection that failed goes. `claimed` must follow. */
  claim(): void {
    this.#slots++
  }

  /** A fresh connection in the place that was claimed. */
  claimed(): Promise<Connection> {
    return this.#open()
  }

  /** It can be used again. One that cannot goes by itself, when it closes. */
  release(connection: Connection): void {
    if (this.#closing) {
      connection.close()
      return
    }
    const next = this.#shift()
    if (next !== undefined) {
      next.resolve(connection)
      return
    }
    connection.idleSince = performance.now()
    this.#idle.push(connection)
    this.#idleTimer ??= this.#expireIn(this.#options.idleTimeout)
  }

  async close(grace: number): Promise<void> {
    this.#closing = true
    clearTimeout(this.#idleTimer)
    for (const waiting of this.#waiting) waiting.reject(this.#closed())
    this.#waiting.clear()
    while (this.#idle.length > 0) this.#idle.at(-1)!.close()
    if (this.#slots > 0 && grace > 0) {
      let timer: NodeJS.Timeout | undefined
      await new Promise<void>((resolve) => {
        this.#drained = resolve
        timer = setTimeout(resolve, grace)
      })
      clearTimeout(timer)
    }
    this.#ended = true
    for (const connection of this.#all) connection.close()
  }

  async #open(): Promise<Connection> {
    let socket
    try {
      socket = await connect(this.#options.address, this.#options.connectTimeout)
    } catch (error) {
      this.#freeSlot()
      throw error
    }
    const { log } = this.#options
    const connection = new Connection(socket, { peer: this.peer, ...(log !== undefined && { log }) })
    this.#all.add(connection)
    connection.onClose = (error) => {
      if (error !== undefined) log?.warn({ peer: this.peer, err: error }, 'fastcgi: a connection was closed')
      this.#all.delete(connection)
      const at = this.#idle.indexOf(connection)
      if (at !== -1) this.#idle.splice(at, 1)
      this.#freeSlot()
    }
    if (this.#ended) {
      connection.close()
      throw this.#closed()
    }
    return connection
  }

  /** There is room for another connection: whoever waits longest gets it. */
  #freeSlot(): void {
    this.#slots--
    const next = this.#slots < this.#options.max ? this.#shift() : undefined
    if (next !== undefined) {
      this.#slots++
      next.resolve(this.#open())
    } else if (this.#slots === 0) this.#drained?.()
  }

  #shift(): Waiting | undefined {
    for (const first of this.#waiting) {
      this.#waiting.delete(first)
      return first
    }
    return undefined
  }

  #wait(request: GatewayRequest): Promise<Connection> {
    const { max, queue, queueTimeout } = this.#options
    if (this.#waiting.size >= queue) {
      const message = `fastcgi: ${this.peer} has ${max} connections in use and ${queue} requests waiting; raise connections or queue, or lower the requests' cost`
      throw new GatewayError('QUEUE_FULL', { status: 503, message, retryAfter: 1 })
    }
    return new Promise((resolve, reject) => {
      const { signal } = request
      const over = (): void => {
        clearTimeout(timer)
        signal.removeEventListener('abort', aborted)
        this.#waiting.delete(waiting)
      }
      const waiting: Waiting = {
        resolve: (connection) => {
          over()
          resolve(connection)
        },
        reject: (error) => {
          over()
          reject(error)
        },
      }
      const aborted = (): void => waiting.reject(signal.reason)
      const timer = setTimeout(() => {
        const message = `fastcgi: no connection to ${this.peer} became free within ${queueTimeout} ms (all ${max} in use)`
        waiting.reject(new GatewayError('QUEUE_TIMEOUT', { status: 503, message, retryAfter: 1 }))
      }, queueTimeout)
      if (signal.aborted) aborted()
      else {
        signal.addEventListener('abort', aborted, { once: true })
        this.#waiting.add(waiting)
      }
    })
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

  #closed(): GatewayError {
    return new GatewayError('CLOSED', { status: 503, message: `fastcgi: the client of ${this.peer} is closed`, retryAfter: 1 })
  }
}
