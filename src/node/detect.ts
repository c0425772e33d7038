// What the default export of an app file is. By rules that can be told, and a word of the file itself that overrides them.

import { GatewayError, isBackend } from '../core/index.ts'
import type { Application } from '../core/index.ts'
import { isNodeApplication } from '../http/index.ts'

/** What an app is: an Application of this library, a fetch handler, a Node listener, or a WSGI callable in JavaScript. */
export type AppKind = 'application' | 'fetch' | 'node' | 'wsgi'
const KINDS: readonly string[] = ['application', 'fetch', 'node', 'wsgi']

export interface Found {
  readonly kind: AppKind
  readonly app: unknown
}

/** @param module what `import()` gave. Throws CONFIG for what is none of the kinds. */
export function detect(file: string, module: Readonly<Record<string, unknown>>, name: string = 'default'): Found {
  const app = name === 'default' ? defaultOf(module) : module[name]
  if (app === undefined || app === null) {
    if (name !== 'default') throw config(`${file} has no export "${name}"; it has ${Object.keys(module).join(', ') || 'none'}`)
    throw config(`${file} has no default export; export the app (\`export default app\`) and leave listening to the server`)
  }
  const said = module['kind']
  if (said !== undefined) {
    if (typeof said !== 'string' || !KINDS.includes(said)) {
      throw config(`${file} exports kind = ${JSON.stringify(said)}; expected one of ${KINDS.join(', ')}`)
    }
    return { kind: said as AppKind, app }
  }
  const kind = kindOf(app)
  if (kind === undefined) {
    throw config(
      `the ${name === 'default' ? 'default export' : `export "${name}"`} of ${file} is none of: a function, an object with a fetch function, an express, koa or fastify app, an http.Server`,
    )
  }
  return { kind, app }
}

/** What CommonJS compiled from a module calls its default, too. */
function defaultOf(module: Readonly<Record<string, unknown>>): unknown {
  const app = module['default']
  return typeof app === 'object' && app !== null && '__esModule' in app && 'default' in app ? app.default : app
}

/** PEP 3333 has its parameters by position, but everybody calls the first one this; no listener does. */
const ENVIRON = /^(?:async\s+)?(?:function\b\s*\*?\s*[\w$]*\s*)?\(?\s*_?environ\s*[,)=]/

function kindOf(app: unknown): AppKind | undefined {
  if (typeof app === 'object') {
    if (isNodeApplication(app)) return 'node'
    return app !== null && 'fetch' in app && typeof app.fetch === 'function' ? 'fetch' : undefined
  }
  if (typeof app !== 'function') return undefined
  if (isBackend(app as Application)) return 'application'
  // express: a function that can listen.
  if ('listen' in app && typeof app.listen === 'function') return 'node'
  if (ENVIRON.test(Function.prototype.toString.call(app))) return 'wsgi'
  return app.length >= 2 ? 'node' : 'application'
}

export function config(fact: string, cause?: unknown): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `node: ${fact}`, cause })
}
