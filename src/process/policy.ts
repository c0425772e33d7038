// How many workers a pool should have, and which go: a function of what can be seen. The shell that owns the processes asks
// after each event that changes the view, and once a second, and carries out what is decided.

/** A pool as a policy sees it. `W` is whatever the shell knows its workers by. */
export interface PoolView<W> {
  /** Longest idle first; `since` by the same clock as `now`. */
  readonly idle: readonly { readonly worker: W; readonly since: number }[]
  /** Workers with a request. */
  readonly busy: number
  /** Started, not yet ready. */
  readonly starting: number
  /** Requests in the queue. */
  readonly waiting: number
}

/** What a pool is to do. */
export type PolicyAction<W> =
  | { readonly type: 'spawn'; readonly count: number }
  /** `spare`: there are more idle ones than needed. `idle`: it has had nothing to do for long. */
  | { readonly type: 'retire'; readonly worker: W; readonly reason: 'spare' | 'idle' }
  /** The pool cannot grow although it should. */
  | { readonly type: 'report'; readonly what: 'max-workers' }

/** What a policy decides. */
export interface Decision<W, M> {
  /** To be carried out in this order. */
  readonly actions: readonly PolicyAction<W>[]
  /** For the next time. */
  readonly memory: M
}

/** A policy and what it starts with. It never waits and never looks at a clock: `now` is an argument, in milliseconds. */
export interface Policy<M> {
  /** Workers at most: a pool that has as many need not ask because a request waits. */
  readonly max: number
  /** What it starts with. */
  readonly memory: M
  /** Asked when something has changed, and once a second. */
  decide<W>(view: PoolView<W>, memory: M, now: number): Decision<W, M>
}

/** All workers from the start, and each one that goes replaced. The pauses between restarts are not its business but restart.ts's. */
export function staticPolicy(limits: { readonly workers: number }): Policy<null> {
  return {
    max: limits.workers,
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

/** Between two steps of growth or of retiring, in milliseconds: the rhythm that operators know from php-fpm. */
const STEP = 1000

/** How many workers there are, and how many of them to spare. */
export interface DynamicLimits {
  /** Workers at most. */
  readonly max: number
  /** Idle ones at least. */
  readonly minSpare: number
  /** Idle ones at most. */
  readonly maxSpare: number
  /** Workers at the start. Default half-way between the spares. */
  readonly start?: number
  /** How many are started at once at most. Default 32. */
  readonly maxSpawnRate?: number
}

/** What the dynamic policy remembers: how fast it grows, when it last did something, and what it has said. */
export interface DynamicMemory {
  readonly begun: boolean
  readonly rate: number
  readonly steppedAt: number
  readonly warned: boolean
}

/**
 * Some to spare, but not many: while there are fewer idle ones than `minSpare`, 1, 2, 4 ... are started, a second apart; the one that
 * has been idle longest goes while there are more than `maxSpare`, one a second. Requests that wait already are not made to wait for that second.
 */
export function dynamicPolicy(limits: DynamicLimits): Policy<DynamicMemory> {
  const { max, minSpare, maxSpare, maxSpawnRate = 32 } = limits
  const start = Math.min(max, limits.start ?? minSpare + Math.floor((maxSpare - minSpare) / 2))
  return {
    max,
    memory: { begun: false, rate: 1, steppedAt: Number.NEGATIVE_INFINITY, warned: false },
    decide<W>(view: PoolView<W>, memory: DynamicMemory, now: number): Decision<W, DynamicMemory> {
      const total = view.idle.length + view.busy + view.starting
      if (!memory.begun) {
        const count = start - total
        return { actions: count > 0 ? [{ type: 'spawn', count }] : [], memory: { ...memory, begun: true, steppedAt: now } }
      }
      const due = now - memory.steppedAt >= STEP
      const oldest = view.idle[0]
      if (oldest !== undefined && view.idle.length > maxSpare) {
        if (!due) return { actions: [], memory }
        return { actions: [{ type: 'retire', worker: oldest.worker, reason: 'spare' }], memory: { ...memory, rate: 1, steppedAt: now } }
      }
      const urgent = view.waiting - view.starting
      const short = Math.max(urgent, minSpare - view.idle.length - view.starting)
      if (short <= 0) return { actions: [], memory: due && memory.rate !== 1 ? { ...memory, rate: 1 } : memory }
      const room = max - total
      // Said once until there is room again: a full pool is news only when it becomes full.
      if (room <= 0) return { actions: memory.warned ? [] : [{ type: 'report', what: 'max-workers' }], memory: { ...memory, warned: true } }
      if (!due && urgent <= 0) return { actions: [], memory }
      const count = Math.min(short, room, Math.max(memory.rate, Math.min(urgent, maxSpawnRate)))
      const rate = due ? Math.min(memory.rate * 2, maxSpawnRate) : memory.rate
      return { actions: [{ type: 'spawn', count }], memory: { begun: true, rate, steppedAt: due ? now : memory.steppedAt, warned: false } }
    },
  }
}

/** How many workers there may be, and how long one may be idle. */
export interface OndemandLimits {
  /** Workers at most. */
  readonly max: number
  /** Milliseconds that one may have nothing to do. Default 10,000. */
  readonly idleTimeout?: number
}

/** None without requests: one is started for each request that waits, and goes when it has been idle for long. All that are too old go at once. */
export function ondemandPolicy(limits: OndemandLimits): Policy<{ readonly warned: boolean }> {
  const { max, idleTimeout = 10_000 } = limits
  return {
    max,
    memory: { warned: false },
    decide<W>(view: PoolView<W>, memory: { readonly warned: boolean }, now: number): Decision<W, { readonly warned: boolean }> {
      const short = view.waiting - view.starting
      if (short <= 0) {
        const old = view.waiting > 0 ? [] : view.idle.filter(({ since }) => now - since >= idleTimeout)
        return { actions: old.map(({ worker }) => ({ type: 'retire', worker, reason: 'idle' })), memory }
      }
      const room = max - view.idle.length - view.busy - view.starting
      if (room <= 0) return { actions: memory.warned ? [] : [{ type: 'report', what: 'max-workers' }], memory: { warned: true } }
      return { actions: [{ type: 'spawn', count: Math.min(short, room) }], memory: { warned: false } }
    },
  }
}
