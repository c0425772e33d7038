// How many workers a pool should have, and which go: a function of what can be seen. The shell that owns the processes asks
// after each event that changes the view, and once a second, and carries out what is decided.

/** A pool as a policy sees it. `W` is whatever the shell knows its workers by. */
export interface PoolView<W> {
  /** Longest idle first; `since` by the same clock as `now`. */
  readonly idle: readonly { readonly worker: W; readonly since: number }[]
  readonly busy: number
  /** Started, not yet ready. */
  readonly starting: number
  /** Requests in the queue. */
  readonly waiting: number
}

export type PolicyAction<W> =
  | { readonly type: 'spawn'; readonly count: number }
  /** `spare`: there are more idle ones than needed. `idle`: it has had nothing to do for long. */
  | { readonly type: 'retire'; readonly worker: W; readonly reason: 'spare' | 'idle' }
  /** The pool cannot grow although it should. */
  | { readonly type: 'report'; readonly what: 'max-workers' }

export interface Decision<W, M> {
  readonly actions: readonly PolicyAction<W>[]
  /** For the next time. */
  readonly memory: M
}

/** A policy and what it starts with. It never waits and never looks at a clock: `now` is an argument, in milliseconds. */
export interface Policy<M> {
  readonly memory: M
  decide<W>(view: PoolView<W>, memory: M, now: number): Decision<W, M>
}

/** All workers from the start, and each one that goes replaced. The pauses between restarts are not its business but restart.ts's. */
export function staticPolicy(limits: { readonly workers: number }): Policy<null> {
  return {
    memory: null,
    decide<W>(view: PoolView<W>): Decision<W, null> {
      const total = view.idle.length + view.busy + view.starting
      if (total < limits.workers) return { actions: [{ type: 'spawn', count: limits.workers - total }], memory: null }
      // Only a smaller number of workers, set while they run, makes this more than none; a busy one goes when it is idle.
      const spare = view.idle.slice(0, total - limits.workers)
      return { actions: spare.map(({ worker }) => ({ type: 'retire', worker, reason: 'spare' })), memory: null }
    },
  }
}
