// A backend that is made when it is first needed.

import { backend } from '../core/index.ts'
import type { Backend } from '../core/index.ts'

/** With `now` it is made at once and `ready` waits for it; else the first request makes it and waits until it can answer. */
export function lazy(make: () => Backend, now: boolean): Backend {
  let made: Backend | undefined = now ? make() : undefined
  let starting: Promise<void> | undefined
  let closed = false
  return backend(
    (request) => {
      if (made !== undefined && starting === undefined) return made(request)
      // After close only what was there answers, as it sees fit.
      if (closed && made === undefined) return { status: 503, headers: [], body: null }
      const started = (made ??= make())
      starting ??= started.ready().finally(() => {
        starting = undefined
      })
      return starting.then(() => started(request))
    },
    {
      ready: () => made?.ready() ?? Promise.resolve(),
      close: async (grace) => {
        closed = true
        await made?.close(grace)
      },
      pools: () => made?.pools?.() ?? [],
    },
  )
}
