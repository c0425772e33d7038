// `cgi`: one program, or each program of a folder, started for each request (RFC 3875).

import { derive, toByteString, silent } from '../../core/index.ts'
import { hasDotSegment } from '../../static/index.ts'
import { buildPrograms, describePrograms, programMembers, programVariables } from '../programs.ts'
import { firstLineOf, interpreterOf, missing, tellMissing } from '../interpreter.ts'
import { seek, siteOf } from '../site.ts'
import { tellSought } from '../sought.ts'
import { group, list, may, text, yes, zod } from '../values.ts'
import type { Log } from '../../core/index.ts'
import type { ProgramPlan, ProgramSettings } from '../programs.ts'
import type { SiteParts } from '../site.ts'
import type { DescribeScope, Described, Kind } from './kind.ts'
import type { PlanEntry } from '../describe.ts'

interface CgiSettings extends ProgramSettings {
  readonly kind: 'cgi'
  readonly root?: string
  readonly script?: string
  readonly interpreter?: readonly string[]
  readonly extensions?: readonly string[]
  readonly index?: readonly string[]
  readonly symlinks?: boolean
}

interface CgiPlan {
  /** Without it there is one program for everything: `programs.script`. */
  readonly root?: string
  readonly extensions: readonly string[]
  readonly index: readonly string[]
  readonly symlinks: boolean
  readonly programs: ProgramPlan
}

export const programs: Kind<CgiSettings, CgiPlan> = {
  kind: 'cgi',
  summary: 'CGI programs: one (`script`), or every one of a folder (`root`). What follows a program in the path is PATH_INFO.',
  schema: () =>
    group({
      kind: zod().literal('cgi'),
      root: may(text('the path of a folder'), 'A folder of programs: every file of it with the execute bit is one.'),
      script: may(text('the path of a program'), 'One program that answers everything; instead of `root`.'),
      interpreter: may(
        list(text('a word'), 'a list of words: a program and its arguments').min(1, {
          error: 'a list of words: a program and its arguments',
        }),
        'A program that is given each script as its last argument: for scripts without an execute bit. With `root` it needs `extensions`.',
      ),
      extensions: may(
        list(text('a suffix such as ".pl"'), 'a list of suffixes'),
        'Suffixes of files that are programs. Default: every file.',
      ),
      index: may(
        list(text('the name of a program'), 'a list of names'),
        'Programs that show a folder, the first that exists. Default: none.',
        [],
      ),
      symlinks: may(yes(), 'Symbolic links may lead out of the folder.', false),
      ...programMembers(),
    }),

  async describe(settings, scope) {
    const { kind: _, root, script, interpreter, extensions = [''], index = [], symlinks = false, ...rest } = settings
    if ((root === undefined) === (script === undefined)) {
      scope.problem('', 'either "root" (a folder of programs) or "script" (one program)', root === undefined ? 'neither' : 'both')
    }
    if (interpreter !== undefined && root !== undefined && settings.extensions === undefined) {
      scope.problem(
        'extensions',
        'a list of suffixes: with an interpreter and without it, every file of the folder would be run',
        'nothing',
      )
    }
    const command =
      interpreter === undefined ? undefined : ([scope.file('interpreter[0]', interpreter[0]!), ...interpreter.slice(1)] as const)
    const described: Described<CgiPlan>['plan'] = {
      ...(root !== undefined && { root: scope.folder('root', root) }),
      extensions,
      index,
      symlinks,
      programs: {
        ...describePrograms({ ...rest, ...(rest.env !== undefined && { env: scope.secrets('env', rest.env) }) }, scope.path, true),
        ...(script !== undefined && { script: scope.file('script', script) }),
        ...(command !== undefined && { interpreter: command }),
      },
    }
    return { plan: described, entries: [await entryOf(described, scope)] }
  },

  build(plan, scope) {
    const host = buildPrograms(plan.programs, scope)
    return plan.root === undefined ? host : siteOf({ ...partsOf(plan, plan.root, scope.log), programs: host })
  },

  async explain(plan, request) {
    const what = 'a CGI program, started for this request'
    if (plan.root === undefined) {
      const { script = '' } = plan.programs
      const told = derive(request, { variables: { SCRIPT_FILENAME: toByteString(script) } })
      return {
        what,
        program: script,
        why: ['this program answers everything that comes here'],
        variables: programVariables(plan.programs, told),
      }
    }
    const sought = await seek(partsOf(plan, plan.root, silent), request)
    return tellSought(sought, { cgi: what }, (_, each) => programVariables(plan.programs, each))
  },

  files: (plan) => ({
    root: plan.root ?? '/nonexistent',
    symlinks: plan.symlinks,
    accepts: (path) => plan.root !== undefined && !hasDotSegment(path) && plan.extensions.some((each) => path.endsWith(each)),
  }),
}

/** What the table says of it; what one program lacks is a line of the table too. */
async function entryOf(plan: CgiPlan, scope: DescribeScope): Promise<PlanEntry> {
  const { script, interpreter } = plan.programs
  if (interpreter !== undefined) return { path: plan.root ?? script ?? '', kind: 'cgi', interpreter: interpreter[0] }
  if (script === undefined) return { path: plan.root ?? '', kind: 'cgi', interpreter: 'programs' }
  const asked = await interpreterOf(toByteString(script), scope.path)
  if (asked !== undefined && asked.file === undefined) {
    const lack = missing(asked.asked, scope.path, firstLineOf(toByteString(script)))
    scope.problem('script', `a program that can be run`, `one whose interpreter ${tellMissing(lack)}`)
  }
  return { path: script, kind: 'cgi', interpreter: asked?.name ?? 'program' }
}

function partsOf({ index, extensions, symlinks, programs: plan }: CgiPlan, root: string, log: Log): SiteParts {
  const interpreted = plan.interpreter !== undefined
  return {
    root,
    symlinks,
    path: plan.path,
    log,
    locate: { php: [], index, programs: extensions, interpreted, files: false, controller: false },
  }
}
