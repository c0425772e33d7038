// `folder`: files, programs and applications of every kind by what is in a folder, as `viaduct serve FOLDER` serves it.

import { hasDotSegment } from '../../static/index.ts'
import { describeFolder } from '../describe.ts'
import { buildFcgiFolder, fcgiMembers, fcgiVariables } from '../fcgi.ts'
import { tellMissing } from '../interpreter.ts'
import { lazy } from '../lazy.ts'
import { buildMounts, explainMount, mountAt } from '../mounts.ts'
import { buildPhp, phpMembers, phpVariables } from '../php.ts'
import { buildPrograms, programMembers, programVariables } from '../programs.ts'
import { seek, siteOf } from '../site.ts'
import { tellSought } from '../sought.ts'
import { group, list, may, must, text, yes, zod } from '../values.ts'
import { readWorkers } from '../workers.ts'
import { choosePython, wsgiMembers } from '../wsgi.ts'
import type { z } from 'zod'
import { silent } from '../../core/index.ts'
import type { Log } from '../../core/index.ts'
import type { SitePlan } from '../describe.ts'
import type { FcgiSettings } from '../fcgi.ts'
import type { PhpSettings } from '../php.ts'
import type { ProgramSettings } from '../programs.ts'
import type { SiteParts } from '../site.ts'
import type { WsgiSettings } from '../wsgi.ts'
import type { DescribeScope, Kind } from './kind.ts'

interface FolderSettings {
  readonly kind: 'folder'
  readonly root: string
  readonly index?: readonly string[]
  readonly symlinks?: boolean
  readonly php?: PhpSettings
  readonly cgi?: ProgramSettings
  readonly wsgi?: Omit<WsgiSettings, 'venv'>
  readonly fcgi?: FcgiSettings
}

export const folder: Kind<FolderSettings, SitePlan> = {
  kind: 'folder',
  summary:
    'A folder as `viaduct serve FOLDER` serves it: files, `*.php`, `cgi-bin/` and `*.cgi`, `*.fcgi`, with `index.php` as front controller, and the Python and JavaScript applications in it.',
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
      cgi: may(group(programMembers()), 'How its CGI programs are run.'),
      wsgi: may(group(pythonMembers()), 'The pools of its Python applications, each the same.'),
      fcgi: may(
        group(fcgiMembers(undefined, 'Default: one, and more with the requests, two a core and four at most.')),
        'The pools of its FastCGI programs, each the same.',
      ),
    }),

  async describe(settings, scope) {
    const root = scope.folder('root', settings.root)
    const { php = {}, cgi = {}, wsgi = {}, fcgi = {} } = settings
    if (wsgi.workers !== undefined) readWorkers(wsgi.workers, (member, expected, got) => scope.problem(`wsgi.${member}`, expected, got))
    const plan = await describeFolder(root, {
      path: scope.path,
      php: {
        ...php,
        ...(php.program !== undefined && { program: scope.file('php.program', php.program) }),
        ...(php.env !== undefined && { env: scope.secrets('php.env', php.env) }),
      },
      cgi: { ...cgi, ...(cgi.env !== undefined && { env: scope.secrets('cgi.env', cgi.env) }) },
      wsgi: {
        ...wsgi,
        ...(wsgi.python !== undefined && (await pythonOf(wsgi.python, root, scope))),
        ...(wsgi.env !== undefined && { env: scope.secrets('wsgi.env', wsgi.env) }),
      },
      fcgi: { ...fcgi, ...(fcgi.env !== undefined && { env: scope.secrets('fcgi.env', fcgi.env) }) },
      problem: (member, expected, got) => scope.problem(`fcgi.${member}`, expected, got),
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
      fcgi: buildFcgiFolder(plan.settings.fcgi, plan.root, plan.settings.started, scope),
      mounts: buildMounts(plan.mounts, scope),
    })
  },

  async explain(plan, request) {
    const mount = mountAt(plan.mounts, request.pathInfo)
    if (mount !== undefined) return explainMount(mount, request)
    const sought = await seek(partsOf(plan, silent), request)
    const { php, cgi, fcgi } = plan.settings
    const told = tellSought(
      sought,
      {
        php: 'a PHP script, in a worker of the pool',
        cgi: 'a CGI program, started for this request',
        fcgi: 'a FastCGI program, in a process of its pool',
      },
      (kind, each) => {
        if (kind === 'php') return phpVariables(php, each)
        return kind === 'cgi' ? programVariables(cgi, each) : fcgiVariables(fcgi, each)
      },
    )
    const lacks = sought.found?.located.kind === 'php' && 'missing' in php
    return lacks ? { ...told, problem: tellMissing(php.missing) } : told
  },

  files: (plan) => ({
    root: plan.root,
    symlinks: plan.settings.symlinks,
    accepts: (path) => !hasDotSegment(path) && mountAt(plan.mounts, path) === undefined,
  }),
}

function partsOf({ root, settings, mounts }: SitePlan, log: Log): SiteParts {
  const { symlinks, extensions, index, cgi } = settings
  const applications = mounts.map(({ path }) => path)
  return { root, symlinks, locate: { php: extensions, index, applications }, mounts: [], path: cgi.path, log }
}

/** Each application may have a virtual environment of its own; a Python that is named is for all of them. */
function pythonMembers(): Record<string, z.ZodType> {
  const { venv: _, ...members } = wsgiMembers()
  return {
    ...members,
    python: may(
      text('a Python: a path, or a name on PATH'),
      'The interpreter of all. Default: of each, that of a `venv` or `.venv` in its folder, else `python3` on PATH.',
    ),
  }
}

async function pythonOf(python: string, root: string, scope: DescribeScope): Promise<{ python?: string; version?: string }> {
  const problem: DescribeScope['problem'] = (member, expected, got) => scope.problem(`wsgi.${member}`, expected, got)
  const { python: found, version } = await choosePython({ python }, root, { ...scope, problem })
  return found === undefined || version === undefined ? {} : { python: found, version }
}
