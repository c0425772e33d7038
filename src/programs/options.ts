// What a pool of FastCGI programs can be told, and what it does when it is told nothing.

import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { dynamicPolicy, ondemandPolicy, staticPolicy } from '../process/index.ts'
import type { DynamicLimits, Guard, LaunchOptions, OndemandLimits, Policy } from '../process/index.ts'

/** How many processes there are. */
export type Workers =
  /** So many, always. */
  | number
  /** Some to spare, between `minSpare` and `maxSpare`, at most `max`. */
  | ({ readonly type: 'dynamic' } & DynamicLimits)
  /** None without requests, at most `max`. */
  | ({ readonly type: 'ondemand' } & OndemandLimits)

export interface ProgramPoolOptions {
  /** The program: a path, or a name on PATH. */
  readonly command: string
  readonly args?: readonly string[]
  /** For the log and for messages. Default: the command. */
  readonly name?: string
  /** Default 2. */
  readonly workers?: Workers
  /** Requests after which a process is replaced, against slow leaks. Default 0, never. */
  readonly maxRequests?: number
  /** Its working folder. Default `/`. */
  readonly cwd?: string
  /** Its environment. Nothing but PATH is inherited. */
  readonly env?: Readonly<Record<string, string>>
  readonly user?: LaunchOptions['user']
  readonly group?: LaunchOptions['group']
  readonly nice?: number
  /** Of each process: open files, memory and the like. */
  readonly resources?: LaunchOptions['limits']
  /** Default `batch`, where `chrt` is: a process that wakes up does not throw the server off its core. */
  readonly scheduling?: 'batch' | 'normal'
  readonly limits?: Partial<ProgramLimits>
  readonly log?: Log
  /** Kills the processes should this one vanish. Default: one of its own. */
  readonly guard?: Guard
}

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
  readonly holdTime: number
  /** Milliseconds until a process must have taken its first connection. Default 10,000. */
  readonly start: number
  /** Milliseconds between SIGTERM and SIGKILL. Default 2,000. */
  readonly stop: number
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
}

/** The policy for these workers. Throws CONFIG for numbers that contradict each other. */
export function policyOf(workers: Workers): Policy<unknown> {
  const max = typeof workers === 'number' ? workers : workers.max
  if (!Number.isSafeInteger(max) || max < 1) {
    throw new GatewayError('CONFIG', { status: 500, message: `programs: workers: expected a whole number from 1, got ${max}` })
  }
  if (typeof workers === 'number') return staticPolicy({ workers }) as Policy<unknown>
  if (workers.type === 'ondemand') return ondemandPolicy(workers) as Policy<unknown>
  const { minSpare, maxSpare } = workers
  if (!(minSpare >= 1 && minSpare <= maxSpare && maxSpare <= max)) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `programs: workers: expected 1 <= minSpare <= maxSpare <= max, got ${minSpare}, ${maxSpare} and ${max}`,
    })
  }
  return dynamicPolicy(workers) as Policy<unknown>
}

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

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }
