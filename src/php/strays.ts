// Children whose client left in mid-request: they run on until their script notices (ignore_user_abort), or until their time is over.

import type { Seat } from '../process/index.ts'

interface Stray {
  readonly timer: NodeJS.Timeout
  readonly seat: Seat
}

export class Strays {
  readonly #strays = new Map<number, Stray>()

  get size(): number {
    return this.#strays.size
  }

  /** `late`: it has not come back within `time` milliseconds. */
  add(pid: number, seat: Seat, time: number, late: () => void): void {
    this.found(pid)
    this.#strays.set(pid, { timer: setTimeout(late, time).unref(), seat })
  }

  has(pid: number): boolean {
    return this.#strays.has(pid)
  }

  /** It has come back, or is gone. */
  found(pid: number): void {
    const stray = this.#strays.get(pid)
    if (stray === undefined) return
    clearTimeout(stray.timer)
    stray.seat.leave()
    this.#strays.delete(pid)
  }

  /** Forgets those that are none of these. */
  keep(alive: readonly number[]): void {
    for (const pid of this.#strays.keys()) if (!alive.includes(pid)) this.found(pid)
  }
}
