// `wsgi`: a Python application (PEP 3333), in a pool of workers.

import { locateWsgi, describeWsgi } from '../../wsgi/index.ts'
import { describe } from '../../core/index.ts'
import { lack } from '../interpreter.ts'
import { faultOfFolder } from '../scope.ts'
import { group, may, must, text, zod } from '../values.ts'
import { buildWsgi, choosePython, describePool, wsgiEntry, wsgiMembers, wsgiVariables } from '../wsgi.ts'
import type { WsgiPlan, WsgiSettings } from '../wsgi.ts'
import type { DescribeScope, Kind } from './kind.ts'

interface PythonSettings extends WsgiSettings {
  readonly kind: 'wsgi'
  readonly root: string
  readonly app?: string
}

export const python: Kind<PythonSettings, WsgiPlan> = {
  kind: 'wsgi',
  summary:
    "A Python application, run by a pool of workers (PEP 3333): Flask, Django's manage.py, or any callable. It answers every path that comes to it, and no file of its folder is sent.",
  schema: () =>
    group({
      kind: zod().literal('wsgi'),
      root: must(text('the path of a folder'), 'The folder of the application: working folder of the workers, and first on `sys.path`.'),
      app: may(
        text('a file, a module, or "module:callable"'),
        'The application: a file of the folder, `module:callable`, `module:factory()`, or a module that has `application`, `app`, `create_app` or `make_app`. ' +
          'Default: `wsgi.py`, `passenger_wsgi.py`, `application.py`, `app.py` or `manage.py` of the folder, the first that is one.',
      ),
      ...wsgiMembers(),
    }),

  async describe(settings, scope) {
    const root = scope.folder('root', settings.root)
    const [app, found] = await Promise.all([applicationOf(settings, root, scope), choosePython(settings, root, scope)])
    const place = { app, folder: root, ...found }
    const plan = describePool(
      { ...settings, ...(settings.env !== undefined && { env: scope.secrets('env', settings.env) }) },
      place,
      scope.path,
      scope.problem,
    )
    if ('missing' in plan && settings.python === undefined && settings.venv === undefined)
      scope.problem('python', 'python3 on PATH, or the path of one', lack(plan.missing))
    return { plan, entries: [wsgiEntry(root, app.startsWith(`${root}/`) ? app.slice(root.length + 1) : app, plan, place)] }
  },

  build: (plan, scope) => buildWsgi(plan, scope, scope.name, true),

  explain: (plan, request) =>
    Promise.resolve({
      what: 'a Python application, in a worker of the pool',
      program: plan.app,
      why: ['it answers everything that comes here'],
      variables: wsgiVariables(plan, request),
    }),
}

/** What a worker is told to load; mistakes are told. */
async function applicationOf({ app }: PythonSettings, root: string, scope: DescribeScope): Promise<string> {
  if (app === undefined) {
    const found = await describeWsgi(root, scope.path)
    // A folder that is not there has been told.
    if (found === undefined && faultOfFolder(root) === undefined)
      scope.problem('app', 'an application: none of the files of the folder is known to be one', 'nothing')
    return found?.file ?? root
  }
  try {
    return locateWsgi(app, root).application
  } catch (error) {
    scope.problem(
      'app',
      'a file of the folder, a module, "module:callable" or "module:factory()"',
      describe(error).replace(/^wsgi: app: /, ''),
    )
    return app
  }
}
