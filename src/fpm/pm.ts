// How many workers a pool has: php-fpm's rules for static, dynamic and ondemand, with its rhythm and its words. Pure: the clock, the
// workers and what is remembered go in; what to do comes out. The shell asks once a second, and ondemand whenever a request has to wait.

import type { PoolConfig } from './config/types.ts'

/** Between two looks, in milliseconds. */
export const MAINTENANCE = 1000

/** From this many at a time on, growing is worth a warning. */
const BUSY_RATE = 8

export interface Idle<W> {
  readonly worker: W
  /** Both by the clock of `now`, in milliseconds. */
  readonly startedAt: number
  readonly lastActive: number
}

/** A pool as the rules see it. */
export interface View<W> {
  readonly idle: readonly Idle<W>[]
  /** On their way: as good as idle. */
  readonly starting: number
  /** All there are, those on their way included. */
  readonly running: number
  /** Requests without a worker. */
  readonly waiting: number
  /** How many more all pools together may have: process.max. */
  readonly room: number
}

export interface Memory {
  /** Workers that are started at a time; doubles while there are too few. */
  readonly rate: number
  /** That max_children is reached was said, and nothing was started since. */
  readonly warned: boolean
}

export const CALM: Memory = { rate: 1, warned: false }

export interface Decision<W> {
  readonly spawn: number
  readonly retire: W | undefined
  readonly warnings: readonly string[]
  /** max_children was in the way, and it is news. */
  readonly reached: boolean
  /** More were wanted than process.max lets. */
  readonly short: boolean
  readonly memory: Memory
}

type Rules = Pick<
  PoolConfig,
  'name' | 'pm' | 'pmMaxChildren' | 'pmStartServers' | 'pmMinSpareServers' | 'pmMaxSpareServers' | 'pmMaxSpawnRate' | 'pmProcessIdleTimeout'
>

function nothing<W>(memory: Memory): Decision<W> {
  return { spawn: 0, retire: undefined, warnings: [], reached: false, short: false, memory }
}

/** How many there are at the start. */
export function initial(rules: Rules): number {
  if (rules.pm === 'static') return rules.pmMaxChildren
  return rules.pm === 'dynamic' ? rules.pmStartServers : 0
}

/** Once a second. */
export function maintain<W>(rules: Rules, view: View<W>, memory: Memory, now: number): Decision<W> {
  if (rules.pm === 'ondemand') return age(rules, view, memory, now)
  if (rules.pm === 'dynamic') return breathe(rules, view, memory)
  // One that died is replaced when it dies; this is for those that process.max kept from being started.
  return spawn(rules.pmMaxChildren - view.running, view, memory)
}

/** A request has to wait. */
export function demand<W>(rules: Rules, view: View<W>, memory: Memory): Decision<W> {
  if (rules.pm !== 'ondemand') return nothing(memory)
  if (view.running >= rules.pmMaxChildren)
    return full(memory, `[pool ${rules.name}] server reached max_children setting (${rules.pmMaxChildren}), consider raising it`)
  if (view.idle.length > 0 || view.starting >= view.waiting) return nothing(memory)
  return spawn(1, view, { ...memory, warned: false })
}

/** ondemand: the one that was started first goes when it has had nothing to do for too long; one a second. */
function age<W>(rules: Rules, view: View<W>, memory: Memory, now: number): Decision<W> {
  const oldest = first(view.idle)
  // Whole seconds, as php-fpm counts them.
  if (oldest === undefined || Math.floor(oldest.lastActive / 1000) >= Math.floor(now / 1000) - rules.pmProcessIdleTimeout)
    return nothing(memory)
  return { ...nothing<W>(memory), retire: oldest.worker }
}

function breathe<W>(rules: Rules, view: View<W>, memory: Memory): Decision<W> {
  const { name, pmMaxChildren: max, pmMinSpareServers: least, pmMaxSpareServers: most } = rules
  const idle = view.idle.length + view.starting
  if (idle > most) return { ...nothing<W>({ ...memory, rate: 1 }), retire: first(view.idle)?.worker }
  if (idle >= least) return nothing({ ...memory, rate: 1 })
  const count = Math.min(memory.rate, least - idle, max - view.running)
  if (count <= 0) return full(memory, `[pool ${name}] server reached pm.max_children setting (${max}), consider raising it`)
  const warnings =
    memory.rate < BUSY_RATE
      ? []
      : [
          `[pool ${name}] seems busy (you may need to increase pm.start_servers, or pm.min/max_spare_servers), spawning ${memory.rate} children, ` +
            `there are ${idle} idle, and ${view.running} total children`,
        ]
  const rate = memory.rate < rules.pmMaxSpawnRate ? memory.rate * 2 : memory.rate
  return { ...spawn(count, view, { rate, warned: false }), warnings }
}

function full<W>(memory: Memory, text: string): Decision<W> {
  const news = !memory.warned
  return { ...nothing<W>({ rate: 1, warned: true }), warnings: news ? [text] : [], reached: news }
}

function spawn<W>(count: number, view: View<W>, memory: Memory): Decision<W> {
  const wanted = Math.max(0, count)
  return { ...nothing<W>(memory), spawn: Math.min(wanted, Math.max(0, view.room)), short: wanted > view.room }
}

/** The one that was started first, of whom the list holds. */
function first<W>(idle: readonly Idle<W>[]): Idle<W> | undefined {
  let found = idle[0]
  for (const each of idle) if (each.startedAt < found!.startedAt) found = each
  return found
}
