// What a client needs of whoever holds the connections to one application: a lane is a place for one request at a time.

import type { Call, Reply } from './call.ts'

export interface Lane {
  /** The id that its requests must have. */
  readonly id: number
  /** Its connection has other lanes, and must be left open whatever becomes of one. */
  readonly shared: boolean
  /** Requests that its connection has carried so far. */
  readonly requests: number
  start(call: Call, reply: Reply): void
}

/** Who waits for a lane. */
export interface Waiters {
  readonly size: number
  /** Gives it to the first; only while there is one. */
  offer(lane: Lane | Promise<Lane>): void
  /** The last connection is gone, whoever closed it: what is at the other end may be another program by now. */
  emptied?(): void
}

export interface LaneCounts {
  /** Connections that are open or being opened. */
  readonly open: number
  /** Lanes that could take a request without another connection. */
  readonly idle: number
}

export interface Lanes {
  /** Whom they lead to, for messages. */
  readonly peer: string
  readonly counts: LaneCounts
  /** Whether `take` would give one. */
  readonly room: boolean
  /** At once while one is idle, else a promise of a new one; undefined when there may be no more. Rejects with what `connect` rejects with. */
  take(): Lane | Promise<Lane> | undefined
  /** It can be used again. One that cannot goes by itself, with its connection. */
  release(lane: Lane): void
  /** Keeps a place for one more try while the connection that failed goes. `claimed` must follow. */
  claim(): void
  /** A lane of a fresh connection in the place that was claimed. */
  claimed(): Promise<Lane>
  /** Gives no more; ends what is idle now, what runs after `grace` milliseconds at the latest. */
  close(grace: number): Promise<void>
}
