// All pools of a process at one moment.

import { VERSION } from '../core/index.ts'
import type { PoolStatus } from '../core/index.ts'

/** What is told: plain data, the same in every format. */
export interface StatusReport {
  /** Of Viaduct. */
  readonly version: string
  /** Of the process that serves: another one after each reload. */
  readonly pid: number
  /** When that was started, and the moment of the report: Unix time in milliseconds. */
  readonly started: number
  readonly now: number
  readonly pools: readonly ReportedPool[]
}

/** `processes` is there where workers were asked for. */
export type ReportedPool = Omit<PoolStatus, 'processes'> & Partial<Pick<PoolStatus, 'processes'>>

/** `full`: with every worker. */
export function reportOf(pools: readonly PoolStatus[], full: boolean): StatusReport {
  return {
    version: VERSION,
    pid: process.pid,
    started: Math.round(performance.timeOrigin),
    now: Date.now(),
    pools: full ? pools : pools.map(summary),
  }
}

function summary(pool: PoolStatus): ReportedPool {
  const { processes: _, ...rest } = pool
  return rest
}
