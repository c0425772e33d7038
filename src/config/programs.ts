// CGI programs as a configuration has them: what is set, and the host that runs them.

import { cgi, configured, environment } from '../cgi/index.ts'
import { maskSecret, readSecrets } from './secrets.ts'
import { limits, may, record, secret, yes } from './values.ts'
import type { z } from 'zod'
import type { CgiLimits } from '../cgi/index.ts'
import type { Backend, ByteString, GatewayRequest } from '../core/index.ts'
import type { BuildScope } from './kinds/kind.ts'
import type { LimitsGroup, Secret } from './values.ts'

/** The settings of programs, as a configuration writes them. */
export interface ProgramSettings {
  readonly env?: Readonly<Record<string, Secret>>
  readonly authorization?: boolean
  readonly queryArguments?: boolean
  readonly nph?: boolean
  readonly limits?: Readonly<Record<string, number | string>>
}

const LIMITS: LimitsGroup<keyof CgiLimits> = limits<keyof CgiLimits>({
  concurrency: ['count', 'Programs that run at a time. Default: two a core, at least four.', undefined],
  queue: ['count', 'Requests that may wait for a place; the next one gets 503.', 256],
  queueTimeout: ['duration', 'How long a request may wait for a place before it gets 503.', '30s'],
  time: ['duration', 'How long a program may run, not counting the time it waits for its client.', '5m'],
  firstByte: ['duration', 'How long it may say nothing before its head is whole; then 504.', '60s'],
  idle: ['duration', 'How long it may say nothing in the middle of its answer.', '60s'],
  linger: ['duration', 'What is left to its output after its end, or to its end after its output.', '2s'],
  kill: ['duration', 'Time between SIGTERM and SIGKILL.', '1s'],
  head: ['size', 'Largest header block of an answer.', '64K'],
  output: ['size', 'Largest answer.', '16G'],
  body: ['size', 'Largest request body.', '2G'],
  holdBytes: ['size', 'How much of an answer is held back, so that most pages have a Content-Length; 0 streams at once.', '64K'],
  holdTime: ['duration', 'How long it is held back.', '5ms'],
  stderr: ['size', 'How much of standard error goes to the log for each request.', '64K'],
  slow: ['duration', 'A program that runs longer is told of in the log, once, while it runs. 0: none is.', 0],
})

/** The members that programs add to an application. */
export function programMembers(): Record<string, z.ZodType> {
  return {
    env: may(
      record(secret(), 'variables: names and values'),
      "Environment of the programs. Nothing is inherited; PATH is Viaduct's own unless set here.",
    ),
    authorization: may(yes(), 'Pass the Authorization header on (RFC 3875, 4.1.18 advises against it).', false),
    queryArguments: may(yes(), 'Hand a query without `=` to the program as arguments (RFC 3875, 4.4).', false),
    nph: may(yes(), 'Run programs whose name begins with `nph-`.', false),
    limits: may(LIMITS.schema(), 'Limits of the programs.'),
  }
}

/** Programs that can be run. */
export interface ProgramPlan extends Omit<ProgramSettings, 'limits'> {
  /** There are programs now. Else the helpers that start them come with the first request for one that came later. */
  readonly start: boolean
  /** PATH of programs. */
  readonly path: string
  readonly interpreter?: readonly [string, ...string[]]
  /** The one program that answers everything. */
  readonly script?: string
  readonly limits?: Partial<CgiLimits>
}

export function describePrograms(settings: ProgramSettings, path: string, start: boolean): ProgramPlan {
  const { limits: given, ...rest } = settings
  return { ...rest, start, path, ...(given !== undefined && { limits: LIMITS.read(given) }) }
}

export function buildPrograms(plan: ProgramPlan, scope: BuildScope): Backend {
  return cgi({
    name: scope.name,
    env: { PATH: plan.path, ...readSecrets(plan.env) },
    log: scope.log,
    limits: { ...plan.limits, ...scope.limits?.cgi },
    ...(plan.script !== undefined && { script: plan.script }),
    ...(plan.interpreter !== undefined && { interpreter: plan.interpreter }),
    ...(plan.authorization !== undefined && { authorization: plan.authorization }),
    ...(plan.queryArguments !== undefined && { queryArguments: plan.queryArguments }),
    ...(plan.nph !== undefined && { nph: plan.nph }),
    ...(scope.spawner !== undefined && { spawner: scope.spawner() }),
  })
}

/** What a program would find in its environment; secrets masked. `request` says SCRIPT_FILENAME. */
export function programVariables(plan: ProgramPlan, request: GatewayRequest): [ByteString, ByteString][] {
  const masked = Object.fromEntries(Object.entries(plan.env ?? {}).map(([name, value]) => [name, maskSecret(value)]))
  const flat = environment(request, {
    script: plan.script ?? request.variables.get('SCRIPT_FILENAME') ?? '',
    documentRoot: request.variables.get('DOCUMENT_ROOT')?.replace(/\/+$/, ''),
    env: configured({ PATH: plan.path, ...masked }, 'explain'),
    authorization: plan.authorization === true,
    contentLength: request.contentLength ?? 0,
  })
  const out: [ByteString, ByteString][] = []
  for (let i = 0; i < flat.length; i += 2) out.push([flat[i]!, flat[i + 1]!])
  return out
}
