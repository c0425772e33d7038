// `node`: a JavaScript application in the process that serves: express, fastify, koa, hono, a listener, an Application.

import { extname } from 'node:path'
import { buildNode, nodeEntry } from '../node-app.ts'
import { group, may, must, text, zod } from '../values.ts'
import type { NodePlan } from '../node-app.ts'
import type { Kind } from './kind.ts'

interface NodeSettings {
  readonly kind: 'node'
  readonly file: string
  readonly export?: string
}

export const nodeApp: Kind<NodeSettings, NodePlan> = {
  kind: 'node',
  summary:
    'A JavaScript file whose default export is an express, koa, fastify or hono app, a Node listener, a fetch handler or an Application, run in the process that serves. WebSockets reach it.',
  schema: () =>
    group({
      kind: zod().literal('node'),
      file: must(text('the path of a JavaScript file'), 'The file. It must not listen itself.'),
      export: may(text('the name of an export'), 'The export that is the application.', 'default'),
    }),

  describe({ file: given, export: name }, scope) {
    const file = scope.file('file', given)
    const extension = extname(file)
    const typescript = ['.ts', '.mts', '.cts'].includes(extension)
    if (typescript && !('typescript' in process.features && process.features.typescript !== false))
      scope.problem(
        'file',
        'JavaScript',
        `${file}: Node ${process.versions.node} does not read TypeScript; use Node 22.18 or newer, or build it`,
      )
    else if (!typescript && !['.js', '.mjs', '.cjs'].includes(extension))
      scope.problem('file', 'a file that ends in .js, .mjs or .cjs', file)
    const plan: NodePlan = { file, ...(name !== undefined && { export: name }) }
    return Promise.resolve({ plan, entries: [nodeEntry(file)] })
  },

  build: (plan, scope) => buildNode(plan, scope, scope.name),

  explain: (plan) =>
    Promise.resolve({
      what: 'a JavaScript application, in the process that serves',
      program: plan.file,
      why: ['it answers everything that comes here'],
    }),
}
