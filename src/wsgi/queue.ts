// The requests that wait for a worker: first come, first served, but those that a worker gave back come before all others.

import type { Call, CallLine } from './call.ts'

export class Queue implements CallLine {
  readonly #back: Call[] = []
  readonly #calls = new Set<Call>()

  get size(): number {
    return this.#back.length + this.#calls.size
  }

  get first(): Call | undefined {
    if (this.#back.length > 0) return this.#back[0]
    for (const call of this.#calls) return call
    return undefined
  }

  add(call: Call): void {
    call.line = this
    this.#calls.add(call)
  }

  /** In front of everybody, in this order. */
  giveBack(calls: readonly Call[]): void {
    for (const call of calls) call.line = this
    this.#back.unshift(...calls)
  }

  remove(call: Call): void {
    call.line = undefined
    if (this.#calls.delete(call)) return
    const at = this.#back.indexOf(call)
    if (at !== -1) this.#back.splice(at, 1)
  }

  /** A copy, in order. */
  all(): Call[] {
    return [...this.#back, ...this.#calls]
  }

  credit(): void {
    // Nothing of an answer is under way while a call waits.
  }

  abort(call: Call): void {
    this.remove(call)
    call.over()
  }
}
