// What a PHP pool can be told, and the limits it keeps.

import type { Log } from '../core/index.ts'
import type { Guard } from '../process/index.ts'

/** Which PHP runs, and how. */
export interface PhpPoolOptions {
  /** For the log and for messages. Default `php`. */
  readonly name?: string
  /** Default `php-cgi`, looked up on PATH. */
  readonly phpCgi?: string
  /** Its version, where it is known: for the status. */
  readonly version?: string
  /** Children of one leader, each serving one request at a time. Default 4. */
  readonly workers?: number
  /**
   * Requests after which a worker is replaced, against slow leaks; up to a tenth fewer, so that not all go at once. Default 0, never.
   * With it there is one child more than `workers`, which waits to take the place of the next one that goes.
   */
  readonly maxRequests?: number
  /** Where scripts are, for requests that do not carry SCRIPT_FILENAME. Without it such a request is refused. */
  readonly root?: string
  /** php.ini settings for the whole pool (`-d`), which a script's ini_set can change. */
  readonly ini?: Readonly<Record<string, string>>
  /** The workers' environment. Nothing but PATH is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** Suffixes of files that may be run. Default `.php` and `.phar`. */
  readonly extensions?: readonly string[]
  /** SCHED_BATCH keeps a worker from throwing the server off its core in the middle of its work. Default `batch`, where `chrt` is. */
  readonly scheduling?: 'batch' | 'normal'
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<PhpLimits>
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Kills the workers should this process vanish. Default: one of its own. */
  readonly guard?: Guard
}

/** What requests to a pool may take, in bytes and milliseconds. */
export interface PhpLimits {
  /** Requests that may wait for a worker. Default 512. */
  readonly queue: number
  /** Milliseconds a request may wait. Default 30,000. */
  readonly queueTimeout: number
  /** Milliseconds a script may say nothing: before the first byte, and between two. Then 504, and the worker is killed. Default 60,000. */
  readonly silence: number
  /** Bytes of a request body. Default 1 GiB; PHP's own post_max_size is usually far lower. */
  readonly body: number
  /** Bytes of a request body kept in memory; beyond it goes to a file. Default 2 MiB. */
  readonly bodyMemory: number
  /** Bytes and milliseconds a reply is held, so that most pages are whole values with a Content-Length. 0: streamed at once. */
  readonly holdBytes: number
  /** See `holdBytes`, in milliseconds. */
  readonly holdTime: number
  /** Milliseconds until the workers must be up. Default 10,000. */
  readonly start: number
  /** Milliseconds after which a script that runs is told of in the log, once. Default 0: never. */
  readonly slow: number
}

export const PHP_LIMITS: PhpLimits = {
  queue: 512,
  queueTimeout: 30_000,
  silence: 60_000,
  body: 1024 ** 3,
  bodyMemory: 2 * 1024 ** 2,
  holdBytes: 65_536,
  holdTime: 5,
  start: 10_000,
  slow: 0,
}
