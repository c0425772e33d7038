// `php`: the scripts of a folder, in a pool of workers, and none of its other files.

import { EXTENSIONS } from '../describe.ts'
import { buildPhp, describePhp, phpEntry, phpMembers, phpVariables } from '../php.ts'
import { lack, tellMissing } from '../interpreter.ts'
import { seek, siteOf } from '../site.ts'
import { tellSought } from '../sought.ts'
import { group, list, may, must, text, yes, zod } from '../values.ts'
import { hasExtension } from '../../php/index.ts'
import { silent } from '../../core/index.ts'
import type { Log } from '../../core/index.ts'
import type { PhpPlan, PhpSettings } from '../php.ts'
import type { SiteParts } from '../site.ts'
import type { Kind } from './kind.ts'

interface ScriptSettings extends PhpSettings {
  readonly kind: 'php'
  readonly root: string
  readonly index?: readonly string[]
  readonly extensions?: readonly string[]
  readonly symlinks?: boolean
}

interface ScriptPlan {
  readonly root: string
  readonly index: readonly string[]
  readonly extensions: readonly string[]
  readonly symlinks: boolean
  readonly path: string
  readonly pool: PhpPlan
}

export const php: Kind<ScriptSettings, ScriptPlan> = {
  kind: 'php',
  summary:
    'PHP scripts of a folder, run by a pool of php-cgi workers, or by an embedded PHP. Other files of the folder are not sent: a `static` application beside it does that.',
  schema: () =>
    group({
      kind: zod().literal('php'),
      root: must(text('the path of a folder'), 'The folder of the scripts: DOCUMENT_ROOT.'),
      index: may(list(text('the name of a script'), 'a list of names'), 'What shows a folder, the first that exists.', ['index.php']),
      extensions: may(list(text('a suffix such as ".php"'), 'a list of suffixes'), 'Suffixes of files that are run.', EXTENSIONS),
      symlinks: may(yes(), 'Symbolic links may lead out of the folder.', false),
      ...phpMembers(),
    }),

  async describe(settings, scope) {
    const { kind: _, root: given, index = ['index.php'], extensions = EXTENSIONS, symlinks = false, ...pool } = settings
    const root = scope.folder('root', given)
    for (const [i, each] of extensions.entries())
      if (!each.startsWith('.')) scope.problem(`extensions[${i}]`, 'a suffix such as ".php"', JSON.stringify(each))
    const { plan, version } = await describePhp(
      {
        ...pool,
        ...(pool.program !== undefined && { program: scope.file('program', pool.program) }),
        ...(pool.env !== undefined && { env: scope.secrets('env', pool.env) }),
      },
      scope.path,
      root,
      true,
    )
    if ('missing' in plan) scope.problem('program', 'php-cgi on PATH, or the path of one', lack(plan.missing))
    return {
      plan: { root, index, extensions, symlinks, path: scope.path, pool: plan },
      entries: [phpEntry(root, plan, version ?? '')],
    }
  },

  build: (plan, scope) => siteOf({ ...partsOf(plan, scope.log), php: buildPhp(plan.pool, scope, plan.extensions) }),

  async explain(plan, request) {
    const sought = await seek(partsOf(plan, silent), request)
    const told = tellSought(sought, { php: 'a PHP script, in a worker of the pool' }, (_, each) => phpVariables(plan.pool, each))
    return 'missing' in plan.pool ? { ...told, problem: tellMissing(plan.pool.missing) } : told
  },

  files: (plan) => ({ root: plan.root, symlinks: plan.symlinks, accepts: (path) => hasExtension(path, plan.extensions) }),
}

function partsOf({ root, index, extensions, symlinks, path }: ScriptPlan, log: Log): SiteParts {
  return { root, symlinks, path, log, locate: { php: extensions, index, programs: 'none', files: false, controller: false } }
}
