// Who is idle: hands each request a worker, or a place in a bounded queue. The hottest class of all.
//
// From the pool's side: it adds workers that are ready, removes those that are not, and gives each one back when its lease
// ends. LIFO among the idle, so that the warm ones stay warm and the others age; FIFO among the waiting. While somebody is
// idle, `acquire` is synchronous and allocates nothing.

import { GatewayError } from '../core/index.ts'
import type { QueueFacts } from './scoreboard.ts'

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

/** What the queue wants of a request: to be told when nobody waits for its answer any more. */
export interface Waiting {
  onFinish(callback: (outcome: { readonly error?: unknown }) => void): void
}

/** A request in the queue, linked both ways: one that leaves costs the same wherever it stands. */
class Waiter<W> {
  readonly since: number
  readonly resolve: (worker: W) => void
  readonly reject: (error: unknown) => void
  queued = true
  before: Waiter<W> | undefined
  behind: Waiter<W> | undefined

  constructor(since: number, settle: { resolve: (worker: W) => void; reject: (error: unknown) => void }) {
    this.since = since
    this.resolve = settle.resolve
    this.reject = settle.reject
  }
}

/** Idle workers and waiting requests; never both at once. */
export class Dispatcher<W> {
  readonly #options: DispatcherOptions
  readonly #slots = new Map<W, Slot<W>>()
  readonly #idle: Slot<W>[] = []
  #first: Waiter<W> | undefined
  #last: Waiter<W> | undefined
  #waiting = 0
  #sweep: NodeJS.Timeout | undefined
  #closed: unknown
  #drainers: (() => void)[] = []
  #maxWaiting = 0
  /** Requests that were sent away because too many waited, or for too long. */
  #refused = 0

  constructor(options: DispatcherOptions) {
    this.#options = options
  }

  /**
   * A worker at once if one is idle, else a promise of one. Refused with QUEUE_FULL, QUEUE_TIMEOUT or CLOSED (each 503); with the
   * outcome's error, or CLIENT_GONE, when the request is over for its client while it waits. (Its signal is left alone: making one
   * and listening to it would cost more than the rest of a wait, and on a busy pool every request waits for a moment.)
   * A worker that was handed over may die before the promise's continuation runs: the caller finds out by using it.
   * The refusal is always a rejection, never a throw.
   */
  acquire(request?: Waiting): W | Promise<W> {
    if (this.#closed === undefined) {
      const slot = this.#idle.pop()
      if (slot !== undefined) {
        slot.busy = true
        return slot.worker
      }
    }
    return this.#wait(request)
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
    return { idle: this.#idle.length, busy: this.#slots.size - this.#idle.length, waiting: this.#waiting }
  }

  /** For the pool's status. */
  queue(): QueueFacts {
    return { waiting: this.#waiting, maxWaiting: this.#maxWaiting, limit: this.#options.maxQueue, refused: this.#refused }
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
    while (this.#first !== undefined) this.#take(this.#first).reject(error)
    this.#settled()
  }

  /** Takes nothing new and refuses those that wait, with `error` (CLOSED, 503 if left out). Leases run on. Idempotent. */
  close(error?: unknown): void {
    this.#closed ??= error ?? closed(this.#options.name)
    this.refuse(error ?? this.#closed)
  }

  #offer(slot: Slot<W>): void {
    const first = this.#first
    if (first !== undefined) {
      slot.busy = true
      this.#take(first).resolve(slot.worker)
      return
    }
    slot.busy = false
    this.#idle.push(slot)
    if (this.#drainers.length > 0) this.#settled()
  }

  #wait(request: Waiting | undefined): Promise<W> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed as Error)
    if (this.#waiting >= this.#options.maxQueue) return Promise.reject(this.#refusal('QUEUE_FULL'))
    const { promise, resolve, reject } = deferred<W>()
    const waiter = new Waiter<W>(performance.now(), { resolve, reject })
    waiter.before = this.#last
    if (this.#last === undefined) this.#first = waiter
    else this.#last.behind = waiter
    this.#last = waiter
    this.#waiting++
    if (this.#waiting > this.#maxWaiting) this.#maxWaiting = this.#waiting
    this.#sweep ??= setTimeout(this.#swept, this.#options.queueTimeout)
    request?.onFinish((outcome) => {
      if (!waiter.queued) return
      this.#take(waiter).reject(outcome.error ?? this.#gone())
      this.#settled()
    })
    return promise
  }

  #gone(): GatewayError {
    return new GatewayError('CLIENT_GONE', { status: 499, message: `process: pool "${this.#options.name}": a client left the queue` })
  }

  /** One timer for all that wait, which come in the order of their time. */
  readonly #swept = (): void => {
    this.#sweep = undefined
    // A timer may go off a fraction of a millisecond early.
    const now = performance.now() + 1
    const { queueTimeout } = this.#options
    while (this.#first !== undefined && now - this.#first.since >= queueTimeout)
      this.#take(this.#first).reject(this.#refusal('QUEUE_TIMEOUT'))
    if (this.#first !== undefined) this.#sweep = setTimeout(this.#swept, queueTimeout - (now - this.#first.since) + 1)
    this.#settled()
  }

  #take(waiter: Waiter<W>): Waiter<W> {
    if (waiter.before === undefined) this.#first = waiter.behind
    else waiter.before.behind = waiter.behind
    if (waiter.behind === undefined) this.#last = waiter.before
    else waiter.behind.before = waiter.before
    // One that has grown old would keep all that came behind it alive through a young collection, each by the one before.
    waiter.before = waiter.behind = undefined
    waiter.queued = false
    this.#waiting--
    if (this.#waiting === 0) {
      clearTimeout(this.#sweep)
      this.#sweep = undefined
    }
    return waiter
  }

  #quiet(): boolean {
    return this.#waiting === 0 && this.#idle.length === this.#slots.size
  }

  #settled(): void {
    if (this.#drainers.length === 0 || !this.#quiet()) return
    const drainers = this.#drainers
    this.#drainers = []
    for (const over of drainers) over()
  }

  #refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): GatewayError {
    this.#refused++
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

function deferred<T>(): { promise: Promise<T>; resolve: (value: T) => void; reject: (error: unknown) => void } {
  let resolve!: (value: T) => void
  let reject!: (error: unknown) => void
  const promise = new Promise<T>((yes, no) => {
    resolve = yes
    reject = no
  })
  return { promise, resolve, reject }
}
