// What a pool of FastCGI programs can be told, and what it does when it is told nothing.

import type { Log } from '../core/index.ts'
import type { Guard, LaunchOptions, Workers } from '../process/index.ts'

/** Which program runs, and how. */
export interface ProgramPoolOptions {
  /** The program: a path, or a name on PATH. */
  readonly command: string
  /** What follows its name. Default: nothing. */
  readonly args?: readonly string[]
  /** For the log and for messages. Default: the command. */
  readonly name?: string
  /** Default 2. */
  readonly workers?: Workers
  /** Requests after which a process is replaced, against slow leaks; up to a tenth fewer, so that not all go at once. Default 0, never. */
  readonly maxRequests?: number
  /** Its working folder. Default `/`. */
  readonly cwd?: string
  /** Its environment. Nothing but PATH is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** Name or number of the user it runs as. Default: ours. */
  readonly user?: LaunchOptions['user']
  /** Default: the user's own. */
  readonly group?: LaunchOptions['group']
  /** Added to our own niceness, -20 to 19. Default 0. */
  readonly nice?: number
  /** Of each process: open files, memory and the like. */
  readonly resources?: LaunchOptions['limits']
  /** Default `batch`, where `chrt` is: a process that wakes up does not throw the server off its core. */
  readonly scheduling?: 'batch' | 'normal'
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<ProgramLimits>
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Kills the processes should this one vanish. Default: one of its own. */
  readonly guard?: Guard
}

/** What requests to a pool may take, in bytes and milliseconds. */
export interface ProgramLimits {
  /** Requests that may wait for a process. Default 512; 503 beyond. */
  readonly queue: number
  /** Milliseconds a request may wait. Default 30,000; then 503. */
  readonly queueTimeout: number
  /** Milliseconds a program may say nothing: before the first byte, and between two. Then 504, and it is killed. Default 60,000. */
  readonly silence: number
  /** Bytes of a request body. Default 1 GiB; 413 beyond. */
  readonly body: number
  /** Bytes of a request body kept in memory; beyond it goes to a file. Default 2 MiB. */
  readonly bodyMemory: number
  /** Bytes and milliseconds an answer is held, so that most are whole values with a Content-Length. 0: streamed at once. Default 64 KiB, 5 ms. */
  readonly holdBytes: number
  /** See `holdBytes`, in milliseconds. */
  readonly holdTime: number
  /** Milliseconds until a process must have taken its first connection. Default 10,000. */
  readonly start: number
  /** Milliseconds between SIGTERM and SIGKILL. Default 2,000. */
  readonly stop: number
  /** Milliseconds after which a request that runs is told of in the log, once. Default 0: never. */
  readonly slow: number
}

export const LIMITS: ProgramLimits = {
  queue: 512,
  queueTimeout: 30_000,
  silence: 60_000,
  body: 1024 ** 3,
  bodyMemory: 2 * 1024 ** 2,
  holdBytes: 65_536,
  holdTime: 5,
  start: 10_000,
  stop: 2000,
  slow: 0,
}

/** Milliseconds between two looks at how many workers there should be when nothing happens. */
export const LOOK = 1000

/** How a process is started. */
export function launchOptions(options: ProgramPoolOptions): LaunchOptions {
  const { env, cwd = '/', user, group, nice, resources, scheduling = 'batch' } = options
  return {
    cwd,
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...env },
    scheduling,
    ...(user !== undefined && { user }),
    ...(group !== undefined && { group }),
    ...(nice !== undefined && { nice }),
    ...(resources !== undefined && { limits: resources }),
  }
}
