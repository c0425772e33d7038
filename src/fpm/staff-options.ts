// What the workers of a pool are told.

import type { Budget } from './budget.ts'
import type { PoolConfig } from './config/types.ts'
import type { Crew } from './crew.ts'
import type { Exchange } from './exchange.ts'
import type { Journal } from './journal.ts'

export interface StaffOptions {
  readonly config: PoolConfig
  readonly journal: Journal
  readonly budget: Budget
  startCrew(): Crew
  /** A request has its answer. */
  answered(exchange: Exchange): void
  /** A worker died of a signal that tells of a broken memory. @returns whether the pool is to be started anew. */
  crashed(): void
}

/** How workers are started, with whatever settings, and what comes of that. */
export interface CrewSource {
  startCrew(): Crew
  /** Scripts elsewhere would run without the settings they must not change. */
  readonly folders: ReadonlySet<string> | undefined
  /** Removes what was written for it. */
  remove(): void
}
