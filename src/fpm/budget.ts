// Workers of all pools together: process.max.

import type { Journal } from './journal.ts'

export class Budget {
  used = 0
  readonly #max: number
  readonly #journal: Journal
  #warned = false

  /** @param max 0: no limit. */
  constructor(max: number, journal: Journal) {
    this.#max = max
    this.#journal = journal
  }

  /** How many more there may be. */
  get room(): number {
    return this.#max === 0 ? Number.POSITIVE_INFINITY : Math.max(0, this.#max - this.used)
  }

  take(): void {
    this.used++
    this.#warned = false
  }

  give(): void {
    this.used--
  }

  /** More were wanted: said once, until one is started. */
  short(): void {
    if (this.#warned) return
    this.#warned = true
    const text = "The maximum number of processes has been reached. Please review your configuration and consider raising 'process.max'"
    this.#journal.write('warning', text, 'fpm_children_make')
  }
}
