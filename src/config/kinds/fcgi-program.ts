// `fcgi-program`: a FastCGI program that is started and looked after here, in as many processes as are needed.

import { dirname } from 'node:path'
import { toByteString } from '../../core/index.ts'
import { findProgram } from '../../process/index.ts'
import { describeProgram } from '../../programs/index.ts'
import { buildFcgi, describeFcgi, fcgiMembers, fcgiVariables } from '../fcgi.ts'
import { firstLineOf, interpreterOf, missing, tellMissing } from '../interpreter.ts'
import { anyText, group, list, may, must, text, zod } from '../values.ts'
import { countWorkers } from '../workers.ts'
import type { FcgiCommand, FcgiPlan, FcgiSettings } from '../fcgi.ts'
import type { PlanEntry } from '../describe.ts'
import type { DescribeScope, Kind } from './kind.ts'

interface FcgiProgramSettings extends FcgiSettings {
  readonly kind: 'fcgi-program'
  readonly command: string
  readonly args?: readonly string[]
  readonly cwd?: string
}

interface FcgiProgramPlan {
  readonly what: FcgiCommand
  readonly pool: FcgiPlan
}

export const fcgiProgram: Kind<FcgiProgramSettings, FcgiProgramPlan> = {
  kind: 'fcgi-program',
  summary:
    'A FastCGI program (C on libfcgi, Perl, Python, TypeScript) in processes that Viaduct starts and looks after. It answers every path that comes to it.',
  schema: () =>
    group({
      kind: zod().literal('fcgi-program'),
      command: must(text('a program: a path, or a name on PATH'), 'The program: a path, or a name on PATH.'),
      args: may(list(anyText('text'), 'a list of texts'), 'Its arguments.', []),
      cwd: may(
        text('the path of a folder'),
        "Its working folder. Default: the program's own; of one found on PATH, that of the configuration.",
      ),
      ...fcgiMembers(2, ''),
    }),

  async describe(settings, scope) {
    const { kind: _, command: given, args, cwd, ...rest } = settings
    const command = findCommand(given, scope)
    const own = given.includes('/') ? dirname(command) : scope.resolve('.')
    const folder = cwd === undefined ? own : scope.folder('cwd', cwd)
    const what = { command, cwd: folder, ...(args !== undefined && { args }) }
    const pool = describeFcgi(
      { ...rest, ...(rest.env !== undefined && { env: scope.secrets('env', rest.env) }) },
      scope.path,
      2,
      scope.problem,
    )
    return { plan: { what, pool }, entries: [await entryOf(what, pool, scope)] }
  },

  build: ({ what, pool }, scope) => buildFcgi(pool, what, scope, scope.name, true),

  explain: ({ what, pool }, request) =>
    Promise.resolve({
      what: 'a FastCGI program, in a process of its pool',
      program: what.command,
      why: ['it answers everything that comes here'],
      variables: fcgiVariables(pool, request),
    }),
}

/** Absolute where it is there; a problem else, or where it could not be run. */
function findCommand(given: string, scope: DescribeScope): string {
  if (!given.includes('/')) {
    const found = findProgram(given, { path: scope.path, cwd: scope.resolve('.') })
    if (found === undefined) scope.problem('command', 'a program on PATH, or the path of one', JSON.stringify(given))
    return found ?? given
  }
  const file = scope.file('command', given)
  try {
    const { problem } = describeProgram(file)
    if (problem !== undefined) scope.problem('command', 'a program that can be run', problem)
  } catch {
    // It is not there, or cannot be read: that has been told.
  }
  return file
}

async function entryOf({ command }: FcgiCommand, { workers }: FcgiPlan, scope: DescribeScope): Promise<PlanEntry> {
  const asked = await interpreterOf(toByteString(command), scope.path)
  if (asked !== undefined && asked.file === undefined) {
    const lack = missing(asked.asked, scope.path, firstLineOf(toByteString(command)))
    scope.problem('command', 'a program that can be run', `one whose interpreter ${tellMissing(lack)}`)
  }
  return { path: command, kind: 'fcgi', interpreter: asked?.name ?? 'program', ...countWorkers(workers) }
}
