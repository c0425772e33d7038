// What can be known of a pool while it runs, as plain data: whoever owns workers fills it, and pages, metrics and tables are made of it.
//
// It can be sent to another process or written as JSON as it is. Texts that clients have sent are escaped in it already.

/** A pool at one moment. What is counted begins with the pool, so that it begins anew with each reload. */
export interface PoolStatus {
  /** The application of the configuration that it belongs to, where there is one. */
  readonly application?: string
  /** The pool's own name: that of the application, or of a program in its folder. */
  readonly name: string
  /** As configurations have it: `php`, `wsgi`, `fcgi-program`, `cgi`, `fastcgi`. */
  readonly kind: string
  readonly interpreter: Interpreter
  /** Unix time in milliseconds. */
  readonly started: number
  readonly workers: WorkerCounts
  readonly queue: QueueCounts
  /** Requests that a worker had and that are over, however they ended. */
  readonly requests: number
  readonly failures: FailureCounts
  /** Workers whose place another one took: they died, were killed, or had done the requests that one of them does. */
  readonly restarts: number
  /** Requests that ran longer than the limit `slow`. */
  readonly slow: number
  /** Why no worker starts, while there is none that could answer. */
  readonly error?: string
  /** Each worker that there is. */
  readonly processes: readonly WorkerStatus[]
}

/** What runs the code of a pool. */
export interface Interpreter {
  /** `embedded`: WebAssembly in threads of the server. `native`: programs of this machine. `remote`: somebody else runs it. */
  readonly mode: 'native' | 'embedded' | 'remote'
  /** `php-cgi`, `python`, the path of a program, the address of an upstream. */
  readonly name: string
  /** Where it is known. */
  readonly version?: string
}

/** A pool that has not come up, for the reason `error`. */
export function downPool(of: Pick<PoolStatus, 'name' | 'kind' | 'interpreter' | 'started'>, error: string): PoolStatus {
  return {
    ...of,
    workers: { total: 0, idle: 0, busy: 0, maxBusy: 0 },
    queue: { waiting: 0, maxWaiting: 0, limit: 0 },
    requests: 0,
    failures: { timeouts: 0, crashes: 0, refused: 0 },
    restarts: 0,
    slow: 0,
    error,
    processes: [],
  }
}

/** A worker is a place for one request at a time: a process, or a thread where a process has several. */
export interface WorkerCounts {
  /** Those that start are among them, and are neither idle nor busy. */
  readonly total: number
  readonly idle: number
  readonly busy: number
  /** The most that were ever busy at a time. */
  readonly maxBusy: number
}

/** Requests without a worker. */
export interface QueueCounts {
  /** Requests that wait for a worker, the most that ever did, and how many may. */
  readonly waiting: number
  readonly maxWaiting: number
  readonly limit: number
}

/** What went wrong since the start. */
export interface FailureCounts {
  /** Requests whose worker was ended because it was silent, or ran, for too long. */
  readonly timeouts: number
  /** Workers that ended though nobody asked them to, in the middle of a request or without one. */
  readonly crashes: number
  /** Requests that found no place in the queue, or waited in it for too long. */
  readonly refused: number
}

/** One worker, now. */
export interface WorkerStatus {
  /** Of a process its pid, of an embedded interpreter the number of its thread; 0 where there is none yet. */
  readonly id: number
  readonly type: 'process' | 'thread'
  /** Which thread of the process, from 1, where it has several. */
  readonly thread?: number
  readonly state: 'starting' | 'idle' | 'busy'
  /** Unix time in milliseconds. */
  readonly started: number
  /** Requests that it had and that are over. */
  readonly requests: number
  /** The request that it has. */
  readonly current?: RunningRequest
}

/** A request that a worker has. */
export interface RunningRequest {
  /** Without control characters, and cut after 1,000 characters: as the next one, fit for a log, not for HTML. */
  readonly method: string
  readonly target: string
  /** Since it was given to the worker. */
  readonly seconds: number
}
