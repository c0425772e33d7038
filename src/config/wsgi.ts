// Python applications as a configuration has them: what is set, which interpreter and application that means, and the pool it becomes.

import { join } from 'node:path'
import { backend, enumerate } from '../core/index.ts'
import { findProgram } from '../process/index.ts'
import { embeddedWsgi } from '../embedded/index.ts'
import { brokenVenv, findPython, pythonVersion, wsgiPool } from '../wsgi/index.ts'
import { chooseInterpreter, interpreterMembers } from './embedded.ts'
import { missing } from './interpreter.ts'
import { mending, startOf } from './mending.ts'
import { missingPage } from './missing-page.ts'
import { maskSecret, readSecrets } from './secrets.ts'
import { choice, limits, may, record, secret, text, whole } from './values.ts'
import { countWorkers, maxRequestsMember, readWorkers, workersMember } from './workers.ts'
import type { z } from 'zod'
import type { Backend, ByteString, GatewayRequest } from '../core/index.ts'
import type { EmbeddedWsgiLimits } from '../embedded/index.ts'
import type { InterpreterSettings } from './embedded.ts'
import type { PlanEntry } from './describe.ts'
import type { Missing } from './interpreter.ts'
import type { BuildScope, DescribeScope } from './kinds/kind.ts'
import type { Workers } from '../process/index.ts'
import type { LimitsGroup, Secret } from './values.ts'
import type { WorkersSetting } from './workers.ts'

/** The settings of a pool, as a configuration writes them. */
export interface WsgiSettings extends InterpreterSettings {
  readonly python?: string
  readonly venv?: string
  readonly workers?: WorkersSetting
  readonly maxRequests?: number
  readonly threads?: number
  readonly depth?: number
  readonly env?: Readonly<Record<string, Secret>>
  readonly scheduling?: 'batch' | 'normal'
  readonly limits?: Readonly<Record<string, number | string>>
}

const LIMITS: LimitsGroup<keyof EmbeddedWsgiLimits> = limits<keyof EmbeddedWsgiLimits>({
  queue: ['count', 'Requests that may wait for a worker; the next one gets 503.', 512],
  queueTimeout: ['duration', 'How long a request may wait for a worker before it gets 503.', '30s'],
  silence: ['duration', 'How long an application may say nothing: then its client gets 504, and its worker is replaced.', '60s'],
  body: ['size', 'Largest request body.', '1G'],
  bodyMemory: ['size', 'Bytes of a request body that are kept in memory; beyond, it goes to a file.', '2M'],
  start: ['duration', 'Within what time a worker must have loaded the application. Of an embedded Python: 60s.', '30s'],
  slow: ['duration', 'A request that runs longer is told of in the log, once, while it runs. 0: none is.', 0],
  memory: ['size', 'Memory of each embedded interpreter.', '512M'],
})

const WORKERS = 2

/** The members that a pool adds to an application. */
export function wsgiMembers(): Record<string, z.ZodType> {
  return {
    python: may(
      text('a Python: a path, or a name on PATH'),
      'The interpreter. Default: that of the virtual environment, else `python3` on PATH.',
    ),
    venv: may(
      text('the path of a virtual environment'),
      'The virtual environment. Default: `venv` or `.venv` in the folder, if there is one.',
    ),
    ...interpreterMembers('a Python of this machine'),
    workers: workersMember(
      WORKERS,
      'One is idle that has no request, on any thread; a request waits when no process can take it. An embedded Python has threads, each with an interpreter, and `max` of them, always.',
      'Processes',
    ),
    maxRequests: maxRequestsMember('It goes when its successor is ready, one at a time. Not of an embedded Python.'),
    threads: may(whole(1, 1000), 'Threads of each: for applications that wait for others.', 1),
    depth: may(
      whole(1, 64),
      'Requests that may be with one worker, the one that runs included; those it has not begun are taken back when it is slow. With several threads it is 1.',
      8,
    ),
    env: may(
      record(secret(), 'variables: names and values'),
      'Environment of the workers. They inherit PATH, HOME, LANG, LC_ALL, TZ and TMPDIR, and nothing else.',
    ),
    scheduling: may(
      choice('batch', 'normal'),
      '`batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used.',
      'batch',
    ),
    limits: may(LIMITS.schema(), 'Limits of the pool.'),
  }
}

interface AnyPoolPlan {
  /** Absolute path of a file, or what to import. */
  readonly app: string
  /** Absolute: where it is run. */
  readonly folder: string
  readonly env?: Readonly<Record<string, Secret>>
  readonly limits?: Partial<EmbeddedWsgiLimits>
}

/** A pool of processes that can be started. */
interface WsgiPoolPlan extends AnyPoolPlan {
  /** Absolute path of the interpreter. */
  readonly python: string
  readonly workers: Workers
  readonly maxRequests?: number
  readonly threads?: number
  readonly depth?: number
  readonly scheduling?: 'batch' | 'normal'
}

/** A pool of threads that can. */
interface EmbeddedPlan extends AnyPoolPlan {
  /** Its version: `3.13`. */
  readonly embedded: string
  readonly workers: number
  /** What the application sees. */
  readonly root: string
  readonly files?: 'read-write' | 'read-only'
}

export type WsgiPlan = WsgiPoolPlan | EmbeddedPlan | { readonly app: string; readonly missing: Missing }

/** Where an application is, and which Python it has. */
export interface WsgiPlace {
  readonly app: string
  readonly folder: string
  /** The folder that an embedded interpreter sees. Default: `folder`. */
  readonly root?: string
  readonly python: string | undefined
  readonly version: string | undefined
  readonly venv: string | undefined
  /** The settings say which Python, so one in the folder does not matter. */
  readonly named?: boolean
}

/** The interpreter that the settings name, or that of the folder; mistakes are told. */
export async function choosePython(
  settings: WsgiSettings,
  folder: string,
  scope: DescribeScope,
): Promise<Pick<WsgiPlace, 'python' | 'version' | 'venv' | 'named'>> {
  const { python: named, venv: given } = settings
  if (named !== undefined && given !== undefined) scope.problem('', 'one of "python" and "venv"', 'both')
  const venv = given === undefined ? undefined : scope.folder('venv', given)
  const asked = venv === undefined ? named : join(venv, 'bin', 'python')
  const found = asked === undefined ? findPython(folder, scope.path) : findProgram(asked, { path: scope.path, cwd: scope.resolve('.') })
  const version = found?.includes('/') === true ? await pythonVersion(found) : undefined
  if (version !== undefined) return { python: found, version, venv: venv ?? venvOf(found!, folder), named: asked !== undefined }
  if (venv !== undefined) scope.problem('venv', 'a virtual environment', `${venv}, which has no bin/python that runs`)
  else if (named !== undefined) scope.problem('python', 'a Python 3: a path, or a name on PATH', named)
  return { python: undefined, version: undefined, venv: undefined }
}

function venvOf(python: string, folder: string): string | undefined {
  return ['venv', '.venv'].map((name) => join(folder, name)).find((venv) => python === join(venv, 'bin', 'python'))
}

/** What the settings mean for an application that was found; numbers that contradict each other are told. */
export function describePool(settings: WsgiSettings, place: WsgiPlace, path: string, problem: DescribeScope['problem']): WsgiPlan {
  const { app, folder, root = folder, python } = place
  const chosen = chooseInterpreter(settings, 'python', python !== undefined, () => missing('python3', path))
  const workers = readWorkers(settings.workers ?? WORKERS, problem)
  const { maxRequests, threads, depth, env, scheduling, files, limits: given } = settings
  const rest = { app, folder, ...(env !== undefined && { env }), ...(given !== undefined && { limits: LIMITS.read(given) }) }
  if (chosen === 'native') {
    return {
      ...rest,
      python: python!,
      workers,
      ...(maxRequests !== undefined && { maxRequests }),
      ...(threads !== undefined && { threads }),
      ...(depth !== undefined && { depth }),
      ...(scheduling !== undefined && { scheduling }),
    }
  }
  if ('missing' in chosen) return { app, missing: chosen.missing }
  const count = typeof workers === 'number' ? workers : workers.max
  return { ...rest, workers: count, embedded: chosen.embedded.version, root, ...(files !== undefined && { files }) }
}

/** `file`: how the application is called where it is mounted. */
export function wsgiEntry(path: string, file: string, plan: WsgiPlan, { folder, version, venv, named }: WsgiPlace): PlanEntry {
  const entry = { path, kind: 'wsgi', file }
  if ('missing' in plan) return { ...entry, missing: plan.missing }
  if ('embedded' in plan) return { ...entry, interpreter: 'python', version: plan.embedded, note: 'embedded', workers: plan.workers }
  const interpreter = venv === undefined ? 'python3' : `python of ${venv.slice(venv.lastIndexOf('/') + 1)}`
  const broken = named === true ? undefined : brokenVenv(folder)
  const note = broken !== undefined && { note: `(not of ${broken}, whose bin/python is gone)` }
  return { ...entry, interpreter, ...(version !== undefined && { version }), ...note, ...countWorkers(plan.workers) }
}

/** The pool; where there is no Python, a page that says so. An application that cannot be loaded is answered with 500 until it can. */
export function buildWsgi(plan: WsgiPlan, scope: BuildScope, name: string, now: boolean): Backend {
  if ('missing' in plan) {
    const after = 'Once it is there, stop Viaduct and start it again, or send it SIGHUP.'
    return backend((request) => missingPage(request, plan.missing, after, scope.log), {})
  }
  const env = readSecrets(plan.env)
  const common = { name, env, log: scope.log, ...(scope.guard !== undefined && { guard: scope.guard }) }
  return mending(
    () => {
      if ('embedded' in plan) return embeddedWsgi({ ...plan, ...common })
      return wsgiPool({ ...plan, ...common })
    },
    {
      ...startOf(scope, name),
      now,
      pool: { kind: 'wsgi', interpreter: { mode: 'embedded' in plan ? 'embedded' : 'native', name: 'python' } },
    },
  )
}

/** What an application finds in its environ, the keys of WSGI itself left out; secrets masked. */
export function wsgiVariables(plan: WsgiPlan, request: GatewayRequest): [ByteString, ByteString][] {
  const out: [ByteString, ByteString][] = []
  enumerate(request, (name, value) => out.push([name, value]))
  for (const [name, value] of 'missing' in plan ? [] : Object.entries(plan.env ?? {})) out.push([name, maskSecret(value)])
  return out
}
