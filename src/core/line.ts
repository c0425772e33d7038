// Who waits for a worker or a connection: first come, first served, with a bound, a deadline, and one timer for all of them.

import type { QueueCounts } from './status.ts'

/** Somebody in a line: one of the two, once. */
export interface Waiter<T> {
  take(what: T): void
  refuse(error: unknown): void
}

/** What a line wants of a request: to be told when nobody waits for its answer any more. */
export interface Waiting {
  onFinish(callback: (outcome: { readonly error?: unknown }) => void): void
}

/** For a pool's status, with those that were sent away because too many waited, or for too long. */
export interface LineCounts extends QueueCounts {
  readonly refused: number
}

/** What a line needs to know. */
export interface LineOptions {
  /** Requests that may wait; the next one is refused at once. 0: nobody waits. */
  readonly max: number
  /** Milliseconds that one may wait before it is refused. */
  readonly timeout: number
  /** What the one too many, or the one that waited too long, is told. */
  refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): unknown
  /** What stands for the reason of a request that was over before its turn, where its outcome has none. */
  gone(): unknown
  /** Called after some have left without what they waited for. */
  onLeave?(): void
}

/** A place in the line, linked both ways: one that leaves costs the same wherever it stands. */
class Place<T> {
  readonly since: number
  readonly waiter: Waiter<T>
  queued = true
  before: Place<T> | undefined
  behind: Place<T> | undefined

  constructor(since: number, waiter: Waiter<T>) {
    this.since = since
    this.waiter = waiter
  }
}

/** A bounded queue of those that wait for a `T`. */
export class Line<T> {
  readonly #options: LineOptions
  #first: Place<T> | undefined
  #last: Place<T> | undefined
  #size = 0
  #maxSize = 0
  #refused = 0
  #sweep: NodeJS.Timeout | undefined

  constructor(options: LineOptions) {
    this.#options = options
  }

  /** How many wait now. */
  get size(): number {
    return this.#size
  }

  /** For a status. */
  get counts(): LineCounts {
    return { waiting: this.#size, maxWaiting: this.#maxSize, limit: this.#options.max, refused: this.#refused }
  }

  /**
   * Takes a place at the end. The waiter is refused at once where the line is full, else later with QUEUE_TIMEOUT, or with the
   * error of the request's outcome when that is over first. (Its signal is left alone: making one and listening to it would cost more
   * than the rest of a wait, and on a busy pool every request waits for a moment.)
   */
  wait(request: Waiting | undefined, waiter: Waiter<T>): void {
    if (this.#size >= this.#options.max) {
      waiter.refuse(this.#refusal('QUEUE_FULL'))
      return
    }
    const place = new Place<T>(performance.now(), waiter)
    place.before = this.#last
    if (this.#last === undefined) this.#first = place
    else this.#last.behind = place
    this.#last = place
    this.#size++
    if (this.#size > this.#maxSize) this.#maxSize = this.#size
    this.#sweep ??= setTimeout(this.#swept, this.#options.timeout)
    request?.onFinish((outcome) => {
      if (!place.queued) return
      this.#leave(place).refuse(outcome.error ?? this.#options.gone())
      this.#options.onLeave?.()
    })
  }

  /** Gives it to who waits longest, before it returns. @returns false when nobody does. */
  offer(what: T): boolean {
    const first = this.#first
    if (first === undefined) return false
    this.#leave(first).take(what)
    return true
  }

  /** Refuses all that wait. */
  clear(error: unknown): void {
    while (this.#first !== undefined) this.#leave(this.#first).refuse(error)
    this.#options.onLeave?.()
  }

  /** One timer for all that wait, which come in the order of their time. */
  readonly #swept = (): void => {
    this.#sweep = undefined
    const { timeout } = this.#options
    // A timer may go off a fraction of a millisecond early.
    const now = performance.now() + 1
    while (this.#first !== undefined && now - this.#first.since >= timeout) this.#leave(this.#first).refuse(this.#refusal('QUEUE_TIMEOUT'))
    if (this.#first !== undefined) this.#sweep ??= setTimeout(this.#swept, timeout - (now - this.#first.since) + 1)
    this.#options.onLeave?.()
  }

  #refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): unknown {
    this.#refused++
    return this.#options.refusal(code)
  }

  #leave(place: Place<T>): Waiter<T> {
    if (place.before === undefined) this.#first = place.behind
    else place.before.behind = place.behind
    if (place.behind === undefined) this.#last = place.before
    else place.behind.before = place.before
    // One that has grown old would keep all that came behind it alive through a young collection, each by the one before.
    // (The tables of a Set do that: an old one leads to the one that took its place.)
    place.before = place.behind = undefined
    place.queued = false
    this.#size--
    if (this.#size === 0) {
      clearTimeout(this.#sweep)
      this.#sweep = undefined
    }
    return place.waiter
  }
}
