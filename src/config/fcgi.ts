// FastCGI programs as a configuration has them: what is set, and the pools they become.

import { availableParallelism } from 'node:os'
import { dirname } from 'node:path'
import { GatewayError, backend, enumerate, fromByteString, poolsOf, toByteString } from '../core/index.ts'
import { programPool } from '../programs/index.ts'
import { mending, startOf } from './mending.ts'
import { maskSecret, readSecrets } from './secrets.ts'
import { choice, limits, may, record, secret, whole } from './values.ts'
import { maxRequestsMember, readWorkers, workersMember } from './workers.ts'
import type { z } from 'zod'
import type { Backend, ByteString, GatewayRequest } from '../core/index.ts'
import type { Workers } from '../process/index.ts'
import type { ProgramLimits } from '../programs/index.ts'
import type { BuildScope, DescribeScope } from './kinds/kind.ts'
import type { LimitsGroup, Secret } from './values.ts'
import type { WorkersSetting } from './workers.ts'

/** FastCGI programs of one folder that can be there at a time. */
const POOLS = 64

/** The settings of a pool, as a configuration writes them. */
export interface FcgiSettings {
  readonly workers?: WorkersSetting
  readonly maxRequests?: number
  readonly env?: Readonly<Record<string, Secret>>
  readonly scheduling?: 'batch' | 'normal'
  readonly nice?: number
  readonly limits?: Readonly<Record<string, number | string>>
}

const LIMITS: LimitsGroup<keyof ProgramLimits> = limits<keyof ProgramLimits>({
  queue: ['count', 'Requests that may wait for a process; the next one gets 503.', 512],
  queueTimeout: ['duration', 'How long a request may wait for a process before it gets 503.', '30s'],
  silence: ['duration', 'How long a program may say nothing: then its client gets 504, and its process is replaced.', '60s'],
  body: ['size', 'Largest request body.', '1G'],
  bodyMemory: ['size', 'Bytes of a request body that are kept in memory; beyond, it goes to a file.', '2M'],
  holdBytes: ['size', 'How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once.', '64K'],
  holdTime: ['duration', 'How long it is held back.', '5ms'],
  start: ['duration', 'Within what time a process must have taken its first connection.', '10s'],
  stop: ['duration', 'Time between SIGTERM and SIGKILL.', '2s'],
  slow: ['duration', 'A request that runs longer is told of in the log, once, while it runs. 0: none is.', 0],
})

/** The members that a pool adds to an application. `otherwise`: what is said of its workers where `fallback` says nothing. */
export function fcgiMembers(fallback: number | undefined, otherwise: string): Record<string, z.ZodType> {
  return {
    workers: workersMember(fallback, otherwise),
    maxRequests: maxRequestsMember(),
    env: may(record(secret(), 'variables: names and values'), 'Environment of the processes. Nothing but PATH is inherited.'),
    scheduling: may(
      choice('batch', 'normal'),
      '`batch` keeps a process that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used.',
      'batch',
    ),
    nice: may(whole(0, 19), 'How far the processes stand back behind others (nice).', 0),
    limits: may(LIMITS.schema(), 'Limits of the pool.'),
  }
}

/** Pools of programs that can be started. */
export interface FcgiPlan {
  /** PATH of the programs. */
  readonly path: string
  readonly workers: Workers
  readonly maxRequests?: number
  readonly env?: Readonly<Record<string, Secret>>
  readonly scheduling?: 'batch' | 'normal'
  readonly nice?: number
  readonly limits?: Partial<ProgramLimits>
}

/** One is always there, and more come with the requests. */
export function elastic(): Workers {
  return { type: 'dynamic', max: Math.max(4, 2 * availableParallelism()), minSpare: 1, maxSpare: 1 }
}

export function describeFcgi(settings: FcgiSettings, path: string, fallback: Workers, problem: DescribeScope['problem']): FcgiPlan {
  const { workers, limits: given, ...rest } = settings
  return {
    ...rest,
    path,
    workers: workers === undefined ? fallback : readWorkers(workers, problem),
    ...(given !== undefined && { limits: LIMITS.read(given) }),
  }
}

/** What is run, and where. */
export interface FcgiCommand {
  readonly command: string
  readonly args?: readonly string[]
  readonly cwd: string
}

/** A pool of one program. One that cannot be started is answered with the error until it can. */
export function buildFcgi(plan: FcgiPlan, what: FcgiCommand, scope: BuildScope, name: string, now: boolean): Backend {
  const { path, env, limits: own, ...rest } = plan
  const values = { PATH: path, ...readSecrets(env) }
  return mending(
    () =>
      programPool({
        ...rest,
        ...what,
        name,
        env: values,
        log: scope.log,
        ...(own !== undefined && { limits: own }),
        ...(scope.guard !== undefined && { guard: scope.guard }),
      }),
    { ...startOf(scope, name), now, pool: { kind: 'fcgi-program', interpreter: { mode: 'native', name: what.command } } },
  )
}

/** Programs of a folder, each in a pool of its own, by SCRIPT_FILENAME. Those of `started` are there from the start, others with their first request. */
export function buildFcgiFolder(plan: FcgiPlan, root: string, started: readonly ByteString[], scope: BuildScope): Backend {
  const pools = new Map<ByteString, Backend>()
  const add = (file: ByteString, now: boolean): Backend => {
    const command = fromByteString(file)
    const pool = buildFcgi(plan, { command, cwd: dirname(command) }, scope, command, now)
    pools.set(file, pool)
    return pool
  }
  for (const path of started) add(toByteString(root.replace(/\/$/, '')) + path, true)
  let closed = false
  return backend(
    (request) => {
      const file = request.variables.get('SCRIPT_FILENAME') ?? ''
      const pool = pools.get(file)
      if (pool !== undefined) return pool(request)
      if (closed) return { status: 503, headers: [], body: null }
      if (pools.size >= POOLS) {
        throw new GatewayError('QUEUE_FULL', {
          status: 503,
          message: `config: "${scope.name}" has ${POOLS} FastCGI programs already, and ${fromByteString(file)} would be one more; make it an application of its own`,
        })
      }
      return add(file, false)(request)
    },
    {
      ready: async () => {
        await Promise.all([...pools.values()].map((pool) => pool.ready()))
      },
      close: async (grace) => {
        closed = true
        await Promise.all([...pools.values()].map((pool) => pool.close(grace)))
      },
      pools: () => poolsOf(pools.values()),
    },
  )
}

/** What a program gets as parameters and finds in its environment; secrets masked. */
export function fcgiVariables(plan: FcgiPlan, request: GatewayRequest): [ByteString, ByteString][] {
  const out: [ByteString, ByteString][] = []
  enumerate(request, (name, value) => out.push([name, value]))
  out.push(['PATH', plan.path])
  for (const [name, value] of Object.entries(plan.env ?? {})) out.push([name, maskSecret(value)])
  return out
}
