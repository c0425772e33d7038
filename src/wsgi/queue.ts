// The requests that wait for a worker: first come, first served, but those that a worker gave back come before all others.

import type { Call, CallLine } from './call.ts'

/** Places that are empty at the beginning of the list before it is made shorter. */
const GAP = 64

// No Set: one whose members come and go makes a new table every few, and each old one keeps its members and the next alive.
export class Queue implements CallLine {
  readonly #back: Call[] = []
  /** In order, from `#first` on; empty where one left out of turn. */
  readonly #calls: (Call | undefined)[] = []
  #first = 0
  #size = 0

  get size(): number {
    return this.#back.length + this.#size
  }

  get first(): Call | undefined {
    return this.#back[0] ?? this.#calls[this.#first]
  }

  add(call: Call): void {
    call.line = this
    this.#calls.push(call)
    this.#size++
  }

  /** In front of everybody, in this order. */
  giveBack(calls: readonly Call[]): void {
    for (const call of calls) call.line = this
    this.#back.unshift(...calls)
  }

  remove(call: Call): void {
    call.line = undefined
    const at = this.#calls.indexOf(call, this.#first)
    if (at === -1) {
      const back = this.#back.indexOf(call)
      if (back !== -1) this.#back.splice(back, 1)
      return
    }
    this.#calls[at] = undefined
    this.#size--
    while (this.#first < this.#calls.length && this.#calls[this.#first] === undefined) this.#first++
    if (this.#first === this.#calls.length) this.#calls.length = this.#first = 0
    else if (this.#first >= GAP && this.#first * 2 >= this.#calls.length) {
      this.#calls.splice(0, this.#first)
      this.#first = 0
    }
  }

  /** A copy, in order. */
  all(): Call[] {
    return [...this.#back, ...this.#calls.filter((call) => call !== undefined)]
  }

  credit(): void {
    // Nothing of an answer is under way while a call waits.
  }

  abort(call: Call): void {
    this.remove(call)
    call.over()
  }
}
