// PHP as a configuration has it: what is set, which php-cgi that means, and the pool it becomes.

import { availableParallelism } from 'node:os'
import { backend, enumerate } from '../core/index.ts'
import { embeddedPhp } from '../embedded/index.ts'
import { findPhpCgi, phpPool, phpVersion } from '../php/index.ts'
import { chooseInterpreter, interpreterMembers } from './embedded.ts'
import { missing } from './interpreter.ts'
import { lazy } from './lazy.ts'
import { missingPage } from './missing-page.ts'
import { maskSecret, readSecrets } from './secrets.ts'
import { choice, limits, anyText, may, record, secret, text, whole } from './values.ts'
import { maxRequestsMember } from './workers.ts'
import type { z } from 'zod'
import type { Backend, ByteString, GatewayRequest } from '../core/index.ts'
import type { EmbeddedPhpLimits } from '../embedded/index.ts'
import type { PlanEntry } from './describe.ts'
import type { InterpreterSettings } from './embedded.ts'
import type { Missing } from './interpreter.ts'
import type { BuildScope } from './kinds/kind.ts'
import type { LimitsGroup, Secret } from './values.ts'

/** The settings of a pool, as a configuration writes them. */
export interface PhpSettings extends InterpreterSettings {
  readonly program?: string
  readonly workers?: number
  readonly maxRequests?: number
  readonly ini?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, Secret>>
  readonly scheduling?: 'batch' | 'normal'
  readonly limits?: Readonly<Record<string, number | string>>
}

const LIMITS: LimitsGroup<keyof EmbeddedPhpLimits> = limits<keyof EmbeddedPhpLimits>({
  queue: ['count', 'Requests that may wait for a worker; the next one gets 503.', 512],
  queueTimeout: ['duration', 'How long a request may wait for a worker before it gets 503.', '30s'],
  silence: ['duration', 'How long a script may say nothing: then its client gets 504, and its worker is replaced.', '60s'],
  body: ['size', "Largest request body. PHP's own `post_max_size` is usually far lower. Of an embedded PHP: 128M.", '1G'],
  bodyMemory: ['size', 'Bytes of a request body that are kept in memory; beyond, it goes to a file.', '2M'],
  holdBytes: ['size', 'How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once.', '64K'],
  holdTime: ['duration', 'How long it is held back.', '5ms'],
  start: ['duration', 'Within what time the workers must be up. Of an embedded PHP: 30s.', '10s'],
  slow: ['duration', 'A script that runs longer is told of in the log, once, while it runs. 0: none is.', 0],
  memory: ['size', 'Memory of each embedded interpreter. A native one has what `memory_limit` says.', '512M'],
})

/** The members that a pool adds to an application. */
export function phpMembers(): Record<string, z.ZodType> {
  return {
    program: may(text('the path of a php-cgi'), 'The php-cgi to use. Default: the one on PATH.'),
    ...interpreterMembers('the php-cgi of this machine'),
    workers: may(whole(1, 10_000), 'Requests that run at a time. Default: two a core, at least four; two of an embedded PHP.'),
    maxRequests: maxRequestsMember('With it there is one process more, which waits to take the next place. Not of an embedded PHP.'),
    ini: may(
      record(anyText('text'), 'php.ini settings: names and texts'),
      'php.ini settings for the pool, as text; scripts may change them.',
    ),
    env: may(record(secret(), 'variables: names and values'), 'Environment of the workers. Nothing but PATH is inherited.'),
    scheduling: may(
      choice('batch', 'normal'),
      '`batch` keeps a worker that wakes up from interrupting the server; where the system has no `chrt`, `normal` is used.',
      'batch',
    ),
    limits: may(LIMITS.schema(), 'Limits of the pool.'),
  }
}

interface AnyPoolPlan {
  readonly workers: number
  /** There are PHP files now. Else the pool starts with the first request for one that came later. */
  readonly start: boolean
  readonly ini?: Readonly<Record<string, string>>
  readonly env?: Readonly<Record<string, Secret>>
  readonly limits?: Partial<EmbeddedPhpLimits>
}

/** A pool of processes that can be started. */
interface PhpPoolPlan extends AnyPoolPlan {
  /** Absolute path of php-cgi. */
  readonly file: string
  readonly version?: string
  readonly maxRequests?: number
  readonly scheduling?: 'batch' | 'normal'
}

/** A pool of threads that can. */
interface EmbeddedPlan extends AnyPoolPlan {
  /** Its version: `8.3`. */
  readonly embedded: string
  /** What scripts see. */
  readonly root: string
  readonly files?: 'read-write' | 'read-only'
}

export type PhpPlan = PhpPoolPlan | EmbeddedPlan | { readonly missing: Missing }

const EMBEDDED_WORKERS = 2

/**
 * What the settings mean for the scripts of `root`. `version` is known where the pool starts at once. Rejects with CONFIG for a
 * program that is no php-cgi.
 */
export async function describePhp(
  settings: PhpSettings,
  path: string,
  root: string,
  start: boolean,
): Promise<{ plan: PhpPlan; version?: string }> {
  const file = settings.program ?? findPhpCgi(path)
  const chosen = chooseInterpreter(settings, 'php', file !== undefined, () => missing('php-cgi', path))
  const rest = {
    start,
    ...(settings.ini !== undefined && { ini: settings.ini }),
    ...(settings.env !== undefined && { env: settings.env }),
    ...(settings.limits !== undefined && { limits: LIMITS.read(settings.limits) }),
  }
  if (chosen !== 'native') {
    if ('missing' in chosen) return { plan: chosen }
    const { version } = chosen.embedded
    const { workers = EMBEDDED_WORKERS, files } = settings
    return { plan: { embedded: version, root, workers, ...rest, ...(files !== undefined && { files }) }, version }
  }
  const plan: PhpPoolPlan = {
    file: file!,
    workers: settings.workers ?? Math.max(4, 2 * availableParallelism()),
    ...rest,
    ...(settings.maxRequests !== undefined && { maxRequests: settings.maxRequests }),
    ...(settings.scheduling !== undefined && { scheduling: settings.scheduling }),
  }
  if (!start) return { plan }
  const { version, file: found } = await phpVersion(file!)
  return { plan: { ...plan, file: found, version }, version }
}

/** Its line of the table. */
export function phpEntry(path: string, plan: PhpPlan, version: string): PlanEntry {
  const entry = { path, kind: 'php' }
  if ('missing' in plan) return { ...entry, missing: plan.missing }
  const { workers } = plan
  return 'embedded' in plan
    ? { ...entry, interpreter: 'php', version, note: 'embedded', workers }
    : { ...entry, interpreter: 'php-cgi', version, workers }
}

/** The pool; where there is no PHP, a page that says so. */
export function buildPhp(plan: PhpPlan, scope: BuildScope, extensions: readonly string[]): Backend {
  if ('missing' in plan) {
    const after = 'Once it is there, stop Viaduct and start it again, or send it SIGHUP.'
    return backend((request) => missingPage(request, plan.missing, after, scope.log), {})
  }
  const env = readSecrets(plan.env)
  if ('embedded' in plan) {
    const { embedded: _, start, limits: own, ...rest } = plan
    const given = { ...own, ...scope.limits?.php }
    const guard = scope.guard !== undefined && { guard: scope.guard }
    return lazy(() => embeddedPhp({ ...rest, name: scope.name, extensions, log: scope.log, env, limits: given, ...guard }), start)
  }
  return lazy(
    () =>
      phpPool({
        name: scope.name,
        phpCgi: plan.file,
        ...(plan.version !== undefined && { version: plan.version }),
        workers: plan.workers,
        extensions,
        log: scope.log,
        env,
        limits: { ...plan.limits, ...scope.limits?.php },
        ...(plan.ini !== undefined && { ini: plan.ini }),
        ...(plan.maxRequests !== undefined && { maxRequests: plan.maxRequests }),
        ...(plan.scheduling !== undefined && { scheduling: plan.scheduling }),
        ...(scope.guard !== undefined && { guard: scope.guard }),
      }),
    plan.start,
  )
}

/** What a script finds in `$_SERVER` and by `getenv`; secrets masked. */
export function phpVariables(plan: PhpPlan, request: GatewayRequest): [ByteString, ByteString][] {
  const out: [ByteString, ByteString][] = []
  enumerate(request, (name, value) => out.push([name, value]))
  out.push(['REDIRECT_STATUS', '200'])
  for (const [name, value] of 'missing' in plan ? [] : Object.entries(plan.env ?? {})) out.push([name, maskSecret(value)])
  return out
}
