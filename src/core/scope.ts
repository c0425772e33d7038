// How long a request lives: who wants to know of its end, what goes on after it, and the signal that it is over.

import { GatewayError } from './errors.ts'
import type { Outcome } from './types.ts'

type Callback = (outcome: Outcome) => void

/** One per request of a door, and one per attempt. The door calls `finish` exactly once. */
export class Scope {
  /** How it ended; undefined while it has not. */
  outcome: Outcome | undefined
  #first: Callback | undefined
  #more: Callback[] | undefined
  #controller: AbortController | undefined
  #aborted: unknown
  #track: ((work: Promise<unknown>) => void) | undefined

  /** @param track hears of work that goes on after the response, so that a server's `close` can wait for it. */
  constructor(track?: (work: Promise<unknown>) => void) {
    this.#track = track
  }

  /** Calls back once, when it ends; at once if it has. */
  onFinish(callback: Callback): void {
    if (this.outcome !== undefined) callback(this.outcome)
    else if (this.#first === undefined) this.#first = callback
    else (this.#more ??= []).push(callback)
  }

  /** Work that goes on after the response: told to whoever made the scope, else what it rejects with is dropped. */
  waitUntil(work: Promise<unknown>): void {
    if (this.#track !== undefined) this.#track(work)
    else work.catch(() => {})
  }

  /** Tells everybody, once. A client that left, or a failure, also aborts the signal. */
  finish(outcome: Outcome): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    if (outcome.kind !== 'sent') this.abort(outcome.error)
    const first = this.#first
    const more = this.#more
    this.#first = this.#more = undefined
    // One listener's mistake must not keep the next from releasing what it holds.
    if (first !== undefined) call(first, outcome)
    if (more !== undefined) for (const callback of more) call(callback, outcome)
  }

  /** Made on first use: most requests never ask. */
  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController()
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted)
    }
    return this.#controller.signal
  }

  /** Aborts the signal without ending the matter. Idempotent. */
  abort(reason?: unknown): void {
    if (this.#aborted !== undefined) return
    this.#aborted = reason ?? new GatewayError('CLIENT_GONE', { status: 499, message: 'core: the client has gone' })
    this.#controller?.abort(this.#aborted)
  }
}

function call(callback: Callback, outcome: Outcome): void {
  try {
    callback(outcome)
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
