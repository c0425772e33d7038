// Which connection gets a request, and what is on all of them.

import type { Call } from './call.ts'
import type { Line } from './line.ts'

/** The one with the fewest requests; one that has none for a request that must be alone. */
export function lineFor(lines: readonly Line[], call: Call): Line | undefined {
  let best: Line | undefined
  let least = Infinity
  for (const line of lines) {
    const { load } = line
    if (load < least) {
      if (load === 0) return line
      least = load
      best = line
    }
  }
  return call.alone ? undefined : best
}

/** Requests that are with a worker and wait behind another. */
export function prefetched(lines: readonly Line[]): number {
  let waiting = 0
  for (const { calls } of lines) if (calls.length > 1) waiting += calls.length - 1
  return waiting
}

/** Threads that have a request, and all the requests that they have. */
export function census(workers: Iterable<{ readonly lines: readonly Line[] }>): { readonly running: number; readonly inAll: number } {
  let running = 0
  let inAll = 0
  for (const { lines } of workers) {
    for (const { calls } of lines) {
      inAll += calls.length
      if (calls.length > 0) running++
    }
  }
  return { running, inAll }
}
