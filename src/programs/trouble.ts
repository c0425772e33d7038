// What has gone wrong with a pool's processes: how long there is none to be started, and what requests are told meanwhile.

import { notStarted } from '../core/index.ts'
import { WELL, restart } from '../process/index.ts'
import type { RestartMemory } from '../process/index.ts'
import { census } from './worker.ts'
import type { Worker } from './worker.ts'

export class Trouble {
  /** By `performance.now()`: nothing is started before, for it died too often. */
  notBefore = 0
  /** Why none comes up, while there is none. */
  unfit: unknown
  #restarts: RestartMemory = WELL

  /** Another one has died: how many milliseconds the next has to wait. */
  pause(): number {
    const { delay, memory } = restart(this.#restarts, performance.now())
    this.#restarts = memory
    this.notBefore = performance.now() + delay
    return delay
  }

  /** What a request is told that would wait in vain; undefined where it may be the one that starts the next of these. */
  refusal(workers: Iterable<Worker>): Error | undefined {
    const wait = this.notBefore - performance.now()
    if (wait <= 0 && census(workers, 0).starting === 0) this.unfit = undefined
    return this.unfit === undefined ? undefined : notStarted(this.unfit, wait)
  }
}
