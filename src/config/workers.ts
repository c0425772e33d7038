// How many processes a pool has, as a configuration writes it: a number, or the policy that decides.

import { choice, duration, group, may, milliseconds, must, whole, zod } from './values.ts'
import type { z } from 'zod'
import type { Workers } from '../process/index.ts'
import type { DescribeScope } from './kinds/kind.ts'
import type { Duration } from './values.ts'

export type WorkersSetting =
  | number
  | {
      readonly policy: 'static' | 'dynamic' | 'ondemand'
      readonly max: number
      readonly minSpare?: number
      readonly maxSpare?: number
      readonly start?: number
      readonly idleTimeout?: Duration
    }

const MOST = 10_000

/** The member `workers` of a pool whose processes come and go. `what` there is a number of. */
export function workersMember(fallback: unknown, otherwise: string, what = 'Processes, each with one request at a time'): z.ZodType {
  const error = 'a number of processes, or { "policy", "max", ... }'
  const setting = zod().union(
    [
      whole(1, MOST),
      group({
        policy: must(
          choice('static', 'dynamic', 'ondemand'),
          '`static`: `max` processes, always. `dynamic`: between `minSpare` and `maxSpare` idle ones, at most `max`. `ondemand`: none without requests.',
        ),
        max: must(whole(1, MOST), 'Processes at most.'),
        minSpare: may(whole(1, MOST), 'With `dynamic`: idle ones at least.', 1),
        maxSpare: may(whole(1, MOST), 'With `dynamic`: idle ones at most. Default: two more than `minSpare`.'),
        start: may(whole(1, MOST), 'With `dynamic`: processes at the start. Default: half-way between the spares.'),
        idleTimeout: may(duration(), 'With `ondemand`: how long one may have nothing to do.', '10s'),
      }),
    ],
    { error },
  )
  return may(setting, `${what}: a number, or a policy. ${otherwise}`.trimEnd(), fallback)
}

/** What the setting means; numbers that contradict each other are told at `workers`. */
export function readWorkers(setting: WorkersSetting, problem: DescribeScope['problem']): Workers {
  if (typeof setting === 'number') return setting
  const { policy, max, minSpare = 1, start, idleTimeout } = setting
  for (const name of ['minSpare', 'maxSpare', 'start'] as const)
    if (policy !== 'dynamic' && setting[name] !== undefined) problem(`workers.${name}`, '"policy": "dynamic" beside it', policy)
  if (policy !== 'ondemand' && idleTimeout !== undefined) problem('workers.idleTimeout', '"policy": "ondemand" beside it', policy)
  if (policy === 'static') return max
  if (policy === 'ondemand') return { type: 'ondemand', max, ...(idleTimeout !== undefined && { idleTimeout: milliseconds(idleTimeout) }) }
  const maxSpare = setting.maxSpare ?? Math.max(minSpare, Math.min(max, minSpare + 2))
  if (minSpare > maxSpare || maxSpare > max) problem('workers', 'minSpare <= maxSpare <= max', `${minSpare}, ${maxSpare} and ${max}`)
  else if (start !== undefined && start > max) problem('workers.start', `at most "max", which is ${max}`, String(start))
  return { type: 'dynamic', max, minSpare, maxSpare, ...(start !== undefined && { start }) }
}

/** The member `maxRequests`. `more` there is to say. */
export function maxRequestsMember(more = ''): z.ZodType {
  const what =
    'Requests after which a process is replaced, against slow leaks: so many, or up to a tenth fewer, so that not all go at once; 0 is never.'
  return may(whole(0), `${what} ${more}`.trimEnd(), 0)
}

/** For the table: how many there may be, and whether there are always so many. */
export function countWorkers(workers: Workers): { readonly workers: number; readonly upTo?: true } {
  return typeof workers === 'number' ? { workers } : { workers: workers.max, upTo: true }
}
