// What can be said about a pool, and what is assumed where nothing is.

import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import type { Guard, Workers } from '../process/index.ts'

/** Which application runs, and how. */
export interface WsgiPoolOptions {
  /**
   * The application: `module:callable`, `module:factory()`, a module that has `application`, `app`, `create_app` or `make_app`, or the
   * path of a file that does. Django's manage.py is one.
   */
  readonly app: string
  /** For the log and for messages. Default: `app`. */
  readonly name?: string
  /** The application's folder: working folder of the workers, first on sys.path. Default: that of the file, else ours. */
  readonly folder?: string
  /** Default: that of a `venv` or `.venv` in the folder, else `python3` on PATH. */
  readonly python?: string
  /**
   * Processes. Default 2. Where their number changes, one is idle that has no request on any of its threads, and a request waits, and
   * brings up another one, when no worker can take it: a worker that is quick takes up to `depth`, and what a slow one has not begun waits again.
   */
  readonly workers?: Workers
  /**
   * Requests after which a worker is replaced, against slow leaks; up to a tenth fewer, so that not all go at once. It goes when its
   * successor is ready, one at a time. Default 0, never.
   */
  readonly maxRequests?: number
  /** Of each process: for applications that wait for others, at a price for those that compute. Default 1. */
  readonly threads?: number
  /** Requests that may be with one worker, the one that runs included. With several threads it is 1. Default 8. */
  readonly depth?: number
  /** Added to the workers' environment, which has PATH, HOME, TZ, TMPDIR and the language of ours and nothing else. */
  readonly env?: Readonly<Record<string, string>>
  /** SCHED_BATCH keeps a worker from throwing the server off its core in the middle of its work. Default `batch`, where `chrt` is. */
  readonly scheduling?: 'batch' | 'normal'
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<WsgiLimits>
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Kills the workers should this process vanish. Default: one of its own. */
  readonly guard?: Guard
}

/** What requests to a pool may take, in bytes and milliseconds. */
export interface WsgiLimits {
  /** Requests that may wait for a worker. Default 512. */
  readonly queue: number
  /** Milliseconds a request may wait. Default 30,000. */
  readonly queueTimeout: number
  /** Milliseconds an application may say nothing: before its answer, and between two blocks. Then 504, and the worker is killed. Default 60,000. */
  readonly silence: number
  /** Bytes of a request body. Default 1 GiB. */
  readonly body: number
  /** Bytes of a request body kept in memory; beyond it goes to a file. Default 2 MiB. */
  readonly bodyMemory: number
  /** Milliseconds until a worker must have loaded the application. Default 30,000. */
  readonly start: number
  /** Milliseconds after which a request that runs is told of in the log, once. Default 0: never. */
  readonly slow: number
}

/** What a pool is doing. */
export interface WsgiCounts {
  /** Processes that are ready. */
  readonly workers: number
  /** Requests that run, one a thread at most. */
  readonly running: number
  /** Requests that are with a worker and wait behind another. */
  readonly prefetched: number
  /** Requests that no worker has. */
  readonly waiting: number
  /** Requests that were taken back from a worker that was busy with another, since the start. */
  readonly returned: number
}

export const LIMITS: WsgiLimits = {
  queue: 512,
  queueTimeout: 30_000,
  silence: 60_000,
  body: 1024 ** 3,
  bodyMemory: 2 * 1024 ** 2,
  start: 30_000,
  slow: 0,
}

/** What requests get that find no place in the queue, or no end of it. */
export function refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT', name: string, limits: WsgiLimits, counts: WsgiCounts): GatewayError {
  const { queue, queueTimeout } = limits
  const { running, prefetched, waiting, workers } = counts
  const fact =
    code === 'QUEUE_FULL' ? `has ${waiting} requests waiting of at most ${queue}` : `kept a request waiting for ${queueTimeout} ms`
  return new GatewayError(code, {
    status: 503,
    message: `wsgi: pool "${name}" ${fact}, with ${running + prefetched} requests at its ${workers} workers; give it more workers or a longer queue, or make its requests cheaper`,
    retryAfter: Math.min(30, Math.max(1, Math.ceil(queueTimeout / 1000))),
  })
}

/** What requests get that come too late. */
export function closed(name: string): GatewayError {
  return new GatewayError('CLOSED', { status: 503, message: `wsgi: "${name}" is closed`, retryAfter: 1 })
}
