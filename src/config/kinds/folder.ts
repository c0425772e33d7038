// `folder`: files, PHP and CGI programs by what is in a folder, as `viaduct serve FOLDER` serves it.

import { hasDotSegment } from '../../static/index.ts'
import { describeFolder } from '../describe.ts'
import { lazy } from '../lazy.ts'
import { buildPhp, phpMembers, phpVariables } from '../php.ts'
import { buildPrograms, programMembers, programVariables } from '../programs.ts'
import { seek, siteOf } from '../site.ts'
import { tellSought } from '../sought.ts'
import { group, list, may, must, text, yes, zod } from '../values.ts'
import { silent } from './kind.ts'
import type { Log } from '../../core/index.ts'
import type { SitePlan } from '../describe.ts'
import type { PhpSettings } from '../php.ts'
import type { ProgramSettings } from '../programs.ts'
import type { SiteParts } from '../site.ts'
import type { Kind } from './kind.ts'

interface FolderSettings {
  readonly kind: 'folder'
  readonly root: string
  readonly index?: readonly string[]
  readonly symlinks?: boolean
  readonly php?: PhpSettings
  readonly cgi?: ProgramSettings
}

export const folder: Kind<FolderSettings, SitePlan> = {
  kind: 'folder',
  summary: 'A folder as `viaduct serve FOLDER` serves it: files, `*.php`, `cgi-bin/` and `*.cgi`, with `index.php` as front controller.',
  schema: () =>
    group({
      kind: zod().literal('folder'),
      root: must(text('the path of a folder'), 'The folder.'),
      index: may(list(text('the name of a file'), 'a list of names'), 'What shows a folder, the first that exists.', [
        'index.html',
        'index.php',
      ]),
      symlinks: may(yes(), 'Symbolic links may lead out of the folder.', false),
      php: may(group(phpMembers()), 'The pool that runs its PHP.'),
      cgi: may(group(programMembers()), 'How its programs are run.'),
    }),

  async describe(settings, scope) {
    const root = scope.folder('root', settings.root)
    const { php = {}, cgi = {} } = settings
    const plan = await describeFolder(root, {
      path: scope.path,
      php: {
        ...php,
        ...(php.program !== undefined && { program: scope.file('php.program', php.program) }),
        ...(php.env !== undefined && { env: scope.secrets('php.env', php.env) }),
      },
      cgi: { ...cgi, ...(cgi.env !== undefined && { env: scope.secrets('cgi.env', cgi.env) }) },
      ...(settings.index !== undefined && { index: settings.index }),
      ...(settings.symlinks !== undefined && { symlinks: settings.symlinks }),
    })
    return { plan, entries: plan.entries }
  },

  build(plan, scope) {
    return siteOf({
      ...partsOf(plan, scope.log),
      php: buildPhp(plan.settings.php, scope, plan.settings.extensions),
      programs: lazy(() => buildPrograms(plan.settings.cgi, scope), plan.settings.cgi.start),
    })
  },

  async explain(plan, request) {
    const sought = await seek(partsOf(plan, silent), request)
    const { php, cgi } = plan.settings
    const told = tellSought(
      sought,
      { php: 'a PHP script, in a worker of the pool', cgi: 'a CGI program, started for this request' },
      (kind, each) => (kind === 'php' ? phpVariables(php, each) : programVariables(cgi, each)),
    )
    const lacks = sought.found?.located.kind === 'php' && 'missing' in php
    return lacks ? { ...told, problem: `${php.missing.what} is missing` } : told
  },

  files: (plan) => ({ root: plan.root, symlinks: plan.settings.symlinks, accepts: (path) => !hasDotSegment(path) }),
}

function partsOf({ root, settings }: SitePlan, log: Log): SiteParts {
  const { symlinks, extensions, index, cgi } = settings
  return { root, symlinks, locate: { php: extensions, index }, path: cgi.path, log }
}
