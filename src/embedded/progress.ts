// Saying what is being loaded, where it takes longer than somebody would wait without a word.

import type { Log } from '../core/index.ts'

/** Longer than a blink. */
const PATIENCE = 300

/** @returns to be called when it is over: whether it was loaded. */
export function announce(log: Log, app: string, what: string): (loaded: boolean) => void {
  const start = performance.now()
  let said = false
  const timer = setTimeout(() => {
    said = true
    log.info({ app }, `embedded: loading ${what} ...`)
  }, PATIENCE)
  return (loaded) => {
    clearTimeout(timer)
    if (said && loaded) log.info({ app }, `embedded: ${what} is ready after ${((performance.now() - start) / 1000).toFixed(1)} s`)
  }
}
