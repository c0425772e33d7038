// Who waits for a connection: first come, first served, with a bound and a deadline, and one timer for all of them.

import type { GatewayError, GatewayRequest, QueueCounts } from '../../core/index.ts'
import { clientGone } from './failures.ts'

export interface QueueOptions {
  /** Requests that may wait. */
  readonly max: number
  /** Milliseconds that one may. */
  readonly timeout: number
  /** What they wait for, in messages. */
  readonly peer: string
  /** What the one too many, or the one that waited too long, is told. */
  refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): GatewayError
}

interface Waiter<T> {
  readonly since: number
  resolve(what: T | Promise<T>): void
  reject(error: unknown): void
}

export class ConnectionQueue<T> {
  readonly #options: QueueOptions
  /** In the order they came; one that leaves costs the same wherever it stands. */
  readonly #waiters = new Set<Waiter<T>>()
  #sweep: NodeJS.Timeout | undefined
  #maxWaiting = 0
  #refused = 0

  constructor(options: QueueOptions) {
    this.#options = options
  }

  /** For the status, with those that were sent away. */
  get counts(): QueueCounts & { readonly refused: number } {
    return { waiting: this.size, maxWaiting: this.#maxWaiting, limit: this.#options.max, refused: this.#refused }
  }

  get size(): number {
    return this.#waiters.size
  }

  /** Rejects with QUEUE_FULL, QUEUE_TIMEOUT, or what the request's own end was. */
  wait(request: GatewayRequest): Promise<T> {
    const { max, timeout, peer } = this.#options
    if (this.#waiters.size >= max) return Promise.reject(this.#refusal('QUEUE_FULL'))
    return new Promise((resolve, reject) => {
      const waiter: Waiter<T> = { since: performance.now(), resolve, reject }
      this.#waiters.add(waiter)
      this.#maxWaiting = Math.max(this.#maxWaiting, this.#waiters.size)
      this.#sweep ??= setTimeout(this.#swept, timeout)
      // Not its signal: making one and listening to it would cost more than the rest of a wait.
      request.onFinish((outcome) => {
        if (this.#remove(waiter)) reject(outcome.error ?? clientGone(peer))
      })
    })
  }

  /** Gives it to who waits longest. Only while somebody waits: `size` tells. */
  offer(what: T | Promise<T>): void {
    for (const waiter of this.#waiters) {
      this.#remove(waiter)
      waiter.resolve(what)
      return
    }
  }

  /** Refuses all that wait. */
  clear(error: unknown): void {
    for (const waiter of this.#waiters) {
      this.#remove(waiter)
      waiter.reject(error)
    }
  }

  #refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): GatewayError {
    this.#refused++
    return this.#options.refusal(code)
  }

  #remove(waiter: Waiter<T>): boolean {
    const waited = this.#waiters.delete(waiter)
    if (this.#waiters.size === 0) {
      clearTimeout(this.#sweep)
      this.#sweep = undefined
    }
    return waited
  }

  readonly #swept = (): void => {
    this.#sweep = undefined
    const { timeout } = this.#options
    // A timer may go off a fraction of a millisecond early.
    const now = performance.now() + 1
    for (const waiter of this.#waiters) {
      if (now - waiter.since < timeout) {
        this.#sweep = setTimeout(this.#swept, timeout - (now - waiter.since) + 1)
        return
      }
      this.#remove(waiter)
      waiter.reject(this.#refusal('QUEUE_TIMEOUT'))
    }
  }
}
