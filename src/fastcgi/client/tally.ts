// What became of a client's requests: integers, for its status.

import { GatewayError } from '../../core/index.ts'
import type { LineCounts, PoolStatus } from '../../core/index.ts'
import type { LaneCounts } from './lanes.ts'

export class Tally {
  readonly #started = Date.now()
  #requests = 0
  #busy = 0
  #maxBusy = 0
  #timeouts = 0
  #crashes = 0

  /** A request is sent. Exactly one `ended` follows. */
  began(): void {
    if (++this.#busy > this.#maxBusy) this.#maxBusy = this.#busy
  }

  /** `error`: why it has no whole answer. */
  ended(error: unknown): void {
    this.#busy--
    this.#requests++
    if (error !== undefined) this.failed(error)
  }

  /** Also of a request that found no connection. */
  failed(error: unknown): void {
    const code = error instanceof GatewayError ? error.code : undefined
    if (code === 'TIMEOUT') this.#timeouts++
    else if (code === 'UPSTREAM_TRUNCATED' || code === 'UNAVAILABLE') this.#crashes++
  }

  /** Its workers are the places on its connections; who is at their other end is not ours to list. */
  status(name: string, { open, idle }: LaneCounts, queue: LineCounts): PoolStatus {
    const { refused, ...counts } = queue
    return {
      name,
      kind: 'fastcgi',
      interpreter: { mode: 'remote', name },
      started: this.#started,
      // Where requests share connections, there are more places than those.
      workers: { total: Math.max(open, this.#busy + idle), idle, busy: this.#busy, maxBusy: this.#maxBusy },
      queue: counts,
      requests: this.#requests,
      failures: { timeouts: this.#timeouts, crashes: this.#crashes, refused },
      restarts: 0,
      slow: 0,
      processes: [],
    }
  }
}
