// What a pool's status page tells, as plain data: whoever runs the pool fills it, and the formats are made from it.

import type { ProcessManager } from '../config/types.ts'

/** A pool at one moment. The number of all its processes is that of the idle and the active ones. */
export interface StatusModel {
  readonly pool: string
  readonly processManager: ProcessManager
  /** Unix seconds at which the pool was started, and of now. */
  readonly startTime: number
  readonly now: number
  /** Requests that were accepted. */
  readonly acceptedConn: number
  /** Requests that wait for a process, the most there have been, and how many may. */
  readonly listenQueue: number
  readonly maxListenQueue: number
  readonly listenQueueLen: number
  readonly idleProcesses: number
  readonly activeProcesses: number
  readonly maxActiveProcesses: number
  /** How often pm.max_children was in the way. */
  readonly maxChildrenReached: number
  readonly slowRequests: number
  readonly processes: readonly ProcessStatus[]
}

export type ProcessState = 'Idle' | 'Running' | 'Reading headers' | 'Getting request information' | 'Ending' | 'Finishing'

/** One process; of its present request, or of its last one when it is idle. */
export interface ProcessStatus {
  readonly pid: number
  readonly state: ProcessState
  /** Unix seconds. */
  readonly startTime: number
  readonly requests: number
  /** Microseconds, so far or altogether. */
  readonly requestDuration: number
  /** A byte string, '' when there was none, as the next ones. */
  readonly requestMethod: string
  /** Without the query. */
  readonly requestUri: string
  readonly queryString: string
  /** Bytes of the request's body. */
  readonly contentLength: number
  readonly user: string
  readonly script: string
  /** Per cent of one processor, and bytes at most; both are shown of idle processes only. */
  readonly lastRequestCpu: number
  readonly lastRequestMemory: number
}
