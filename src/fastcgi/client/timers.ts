// When things happen, at no cost per request: deadlines with one timer per connection that is moved lazily, one sweep for all
// replies that are being held, and answers that are handed on when everything that could be read has been.

import type { GatewayResponse } from '../../core/index.ts'
import type { Reply } from './call.ts'

/** A deadline, and a look at something once it has lasted a while. Setting either is an assignment, nearly always. */
export class Deadline {
  readonly #expired: () => void
  readonly #look: () => void
  #at = Number.POSITIVE_INFINITY
  #lookAt = Number.POSITIVE_INFINITY
  /** When the timer fires: earlier than needed does no harm, it is set again then. */
  #armed = Number.POSITIVE_INFINITY
  #timer: NodeJS.Timeout | undefined
  readonly #fire = (): void => {
    this.#armed = Number.POSITIVE_INFINITY
    const now = performance.now()
    if (now >= this.#lookAt) {
      this.#lookAt = Number.POSITIVE_INFINITY
      this.#look()
    }
    if (now >= this.#at) {
      this.#at = Number.POSITIVE_INFINITY
      this.#expired()
    }
    this.#arm(now)
  }

  constructor(expired: () => void, look: () => void) {
    this.#expired = expired
    this.#look = look
  }

  /** In so many milliseconds, or never (Infinity); in place of the one before. `lookIn`: when to look; one that was asked for stays. */
  set(milliseconds: number, lookIn?: number): void {
    const now = performance.now()
    this.#at = now + milliseconds
    if (lookIn !== undefined) this.#lookAt = now + lookIn
    this.#arm(now)
  }

  /** Neither. The timer may still fire once, and finds nothing. */
  clear(): void {
    this.#at = this.#lookAt = Number.POSITIVE_INFINITY
  }

  stop(): void {
    this.clear()
    this.#armed = Number.POSITIVE_INFINITY
    clearTimeout(this.#timer)
  }

  #arm(now: number): void {
    const next = Math.min(this.#at, this.#lookAt)
    if (next >= this.#armed) return
    clearTimeout(this.#timer)
    this.#armed = next
    // A timer may fire a little early by the other clock: the part of a millisecond is rounded up.
    this.#timer = setTimeout(this.#fire, Math.min(Math.ceil(next - now), 0x7fffffff))
    this.#timer.unref()
  }
}

/** A reply that waits for its end. */
export interface Held {
  /** By `performance.now()`. */
  readonly heldUntil: number
  release(): void
}

// Few are held at any moment and only for milliseconds, so looking through all of them is cheaper than a timer each.
const held = new Set<Held>()
let timer: NodeJS.Timeout | undefined
let armed = Number.POSITIVE_INFINITY

/** Calls `release` at `heldUntil`, unless it is taken out before. */
export function hold(reply: Held): void {
  held.add(reply)
  arm(reply.heldUntil)
}

export function unhold(reply: Held): void {
  held.delete(reply)
}

function arm(at: number): void {
  if (at >= armed) return
  clearTimeout(timer)
  armed = at
  timer = setTimeout(sweep, Math.ceil(at - performance.now()))
}

function sweep(): void {
  armed = Number.POSITIVE_INFINITY
  const now = performance.now()
  let next = Number.POSITIVE_INFINITY
  for (const reply of held) {
    if (reply.heldUntil <= now) {
      held.delete(reply)
      reply.release()
    } else if (reply.heldUntil < next) next = reply.heldUntil
  }
  if (next !== Number.POSITIVE_INFINITY) arm(next)
}

let due: [reply: Reply, response: GatewayResponse][] = []

/**
 * Hands on an answer at the end of this turn of the loop. What an answer costs (its write, and waking whoever reads it) would keep
 * the workers waiting whose answers are here as well, and each of them has its next request as soon as it is read.
 */
export function afterReads(reply: Reply, response: GatewayResponse): void {
  if (due.push([reply, response]) === 1) setImmediate(handOn)
}

function handOn(): void {
  const answers = due
  due = []
  for (const [reply, response] of answers) reply.resolve(response)
}

/** So many milliseconds, or what is left of the time that all of it may take, if that is less. */
export function within({ until }: { readonly until?: number }, milliseconds: number): number {
  if (until === undefined || until === 0) return milliseconds
  return Math.min(milliseconds, Math.max(0, until - performance.now()))
}
