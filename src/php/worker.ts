// One child of a leader, as the pool has it.

import type { Connection } from '../fastcgi/index.ts'
import type { Seat } from '../process/index.ts'
import type { Leader } from './leader.ts'

export interface Worker {
  readonly connection: Connection
  readonly pid: number
  readonly leader: Leader
  readonly seat: Seat
  /** Requests after which another one takes its place. */
  readonly lifespan: number
  /** Another one takes its place, or has taken it: nobody has to come for it. */
  relieved: boolean
  /** Why it ended has been counted. */
  counted: boolean
}
