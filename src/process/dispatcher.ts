// Who is idle: hands each request a worker, or a place in a bounded queue. The hottest class of all.
//
// From the pool's side: it adds workers that are ready, removes those that are not, and gives each one back when its lease
// ends. LIFO among the idle, so that the warm ones stay warm and the others age; FIFO among the waiting. While somebody is
// idle, `acquire` is synchronous and allocates nothing.

import { GatewayError, Line } from '../core/index.ts'
import type { LineCounts, Waiter, Waiting } from '../core/index.ts'

/** How many requests wait for a worker, and for how long. */
export interface DispatcherOptions {
  /** The pool's name, for messages. */
  readonly name: string
  /** Requests that may wait; the next one is refused at once with 503. 0: nobody waits. */
  readonly maxQueue: number
  /** Milliseconds that one may wait before it is refused with 503. */
  readonly queueTimeout: number
}

/** What a pool is doing. */
export interface Counts {
  /** Workers without a request. */
  readonly idle: number
  /** Workers with one. */
  readonly busy: number
  /** Requests in the queue. */
  readonly waiting: number
}

interface Slot<W> {
  readonly worker: W
  busy: boolean
}

/** Idle workers and waiting requests; never both at once. */
export class Dispatcher<W> {
  readonly #options: DispatcherOptions
  readonly #slots = new Map<W, Slot<W>>()
  readonly #idle: Slot<W>[] = []
  readonly #line: Line<W>
  #closed: unknown
  #drainers: (() => void)[] = []

  constructor(options: DispatcherOptions) {
    this.#options = options
    this.#line = new Line({
      max: options.maxQueue,
      timeout: options.queueTimeout,
      refusal: (code) => this.#refusal(code),
      gone: () => this.#gone(),
      onLeave: () => this.#settled(),
    })
  }

  /**
   * A worker at once if one is idle, else a promise of one. Refused with QUEUE_FULL, QUEUE_TIMEOUT or CLOSED (each 503); with the
   * outcome's error, or CLIENT_GONE, when the request is over for its client while it waits.
   * A worker that was handed over may die before the promise's continuation runs: the caller finds out by using it.
   * The refusal is always a rejection, never a throw.
   */
  acquire(request?: Waiting): W | Promise<W> {
    return this.#idleOne() ?? new Promise((take, refuse) => this.#wait(request, { take, refuse }))
  }

  /**
   * The same without a promise, so that nothing comes between a worker's release and its next request.
   * @returns whether a worker was idle; else the waiter has a place in the queue, or was refused one.
   */
  claim(request: Waiting, waiter: Waiter<W>): boolean {
    const worker = this.#idleOne()
    if (worker === undefined) this.#wait(request, waiter)
    else waiter.take(worker)
    return worker !== undefined
  }

  /**
   * The lease is over: the worker goes to the first that waits, before this returns, else it is idle.
   * Nothing happens if it was removed in the meantime, as one that died has been.
   * @throws GatewayError CONTRACT when it was not busy: a worker that is given back twice would serve two requests at once.
   */
  release(worker: W): void {
    const slot = this.#slots.get(worker)
    if (slot === undefined) return
    if (!slot.busy) {
      throw new GatewayError('CONTRACT', {
        status: 500,
        message: `process: pool "${this.#options.name}": a worker was released that was not busy`,
      })
    }
    this.#offer(slot)
  }

  /** A new worker that is ready. Adding one twice is a mistake and throws CONTRACT. */
  add(worker: W): void {
    if (this.#slots.has(worker)) {
      throw new GatewayError('CONTRACT', { status: 500, message: `process: pool "${this.#options.name}": a worker was added twice` })
    }
    const slot: Slot<W> = { worker, busy: false }
    this.#slots.set(worker, slot)
    this.#offer(slot)
  }

  /** The worker takes no more: it died, or is to be retired (at the end of its lease, in place of `release`). Whoever has it now keeps it. */
  remove(worker: W): void {
    const slot = this.#slots.get(worker)
    if (slot === undefined) return
    this.#slots.delete(worker)
    if (slot.busy) this.#settled()
    else this.#idle.splice(this.#idle.indexOf(slot), 1)
  }

  /** How many are idle, busy and waiting now. */
  counts(): Counts {
    return { idle: this.#idle.length, busy: this.#slots.size - this.#idle.length, waiting: this.#line.size }
  }

  /** For the pool's status. */
  queue(): LineCounts {
    return this.#line.counts
  }

  /** A copy, the one that has been idle longest first. */
  get idleWorkers(): W[] {
    return this.#idle.map((slot) => slot.worker)
  }

  /** Removes every idle worker and returns them, the one that has been idle longest first. */
  takeIdle(): W[] {
    const taken = this.idleWorkers
    for (const worker of taken) this.#slots.delete(worker)
    this.#idle.length = 0
    return taken
  }

  /** All of them, idle and busy: a copy. */
  workers(): W[] {
    return [...this.#slots.keys()]
  }

  /**
   * Takes nothing new from now on; those that wait already are still served. Resolves when nobody is busy and nobody waits, or
   * after `grace` milliseconds: `counts()` tells which.
   */
  drained(grace: number): Promise<void> {
    this.#closed ??= closed(this.#options.name)
    if (this.#quiet()) return Promise.resolve()
    return new Promise((resolve) => {
      const over = (): void => {
        clearTimeout(timer)
        resolve()
      }
      const timer = setTimeout(over, grace)
      this.#drainers.push(over)
    })
  }

  /** Refuses those that wait: there is nobody who could serve them, and the reason is known. New ones may wait again. */
  refuse(error: unknown): void {
    this.#line.clear(error)
  }

  /** Takes nothing new and refuses those that wait, with `error` (CLOSED, 503 if left out). Leases run on. Idempotent. */
  close(error?: unknown): void {
    this.#closed ??= error ?? closed(this.#options.name)
    this.refuse(error ?? this.#closed)
  }

  #idleOne(): W | undefined {
    if (this.#closed !== undefined) return undefined
    const slot = this.#idle.pop()
    if (slot === undefined) return undefined
    slot.busy = true
    return slot.worker
  }

  #offer(slot: Slot<W>): void {
    slot.busy = true
    if (this.#line.offer(slot.worker)) return
    slot.busy = false
    this.#idle.push(slot)
    if (this.#drainers.length > 0) this.#settled()
  }

  #wait(request: Waiting | undefined, waiter: Waiter<W>): void {
    if (this.#closed === undefined) this.#line.wait(request, waiter)
    else waiter.refuse(this.#closed)
  }

  #gone(): GatewayError {
    return new GatewayError('CLIENT_GONE', { status: 499, message: `process: pool "${this.#options.name}": a client left the queue` })
  }

  #quiet(): boolean {
    return this.#line.size === 0 && this.#idle.length === this.#slots.size
  }

  #settled(): void {
    if (this.#drainers.length === 0 || !this.#quiet()) return
    const drainers = this.#drainers
    this.#drainers = []
    for (const over of drainers) over()
  }

  #refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): GatewayError {
    const { name, maxQueue, queueTimeout } = this.#options
    const { busy, waiting } = this.counts()
    const fact =
      code === 'QUEUE_FULL'
        ? `has ${busy} workers busy and ${waiting} requests waiting of at most ${maxQueue}`
        : `kept a request waiting for ${queueTimeout} ms with ${busy} workers busy`
    return new GatewayError(code, {
      status: 503,
      message: `process: pool "${name}" ${fact}; give it more workers or a longer queue, or make its requests cheaper`,
      // By then everybody who waits now has been served or refused.
      retryAfter: Math.min(30, Math.max(1, Math.ceil(queueTimeout / 1000))),
    })
  }
}

function closed(name: string): GatewayError {
  return new GatewayError('CLOSED', {
    status: 503,
    message: `process: pool "${name}" is closing and takes no more requests`,
    retryAfter: 1,
  })
}
