// A JavaScript file as an Application, in this process.

import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import { GatewayError, backend, describe, isBackend, poolsOf, standardError } from '../core/index.ts'
import type { Application, Backend, GatewayResponse, Log } from '../core/index.ts'
import { fromFetch, fromNode } from '../http/index.ts'
import type { FetchHandler, NodeApplication } from '../http/index.ts'
import { config, detect } from './detect.ts'
import { placeOf } from './place.ts'
import { guardUncaught, runAs } from './uncaught.ts'
import type { Owner } from './uncaught.ts'

/** How an app is taken out of its file. */
export interface LoadAppOptions {
  /** Hears of what the app lets go uncaught. Default: a line each on standard error. */
  readonly log?: Log
  /** Which export is the app. Default `default`. */
  readonly export?: string
  /** Makes an application of a function that takes `(environ, start_response)`, or of what files call `export const kind = 'wsgi'`. */
  readonly wsgi?: (callable: unknown) => Application
}

/**
 * Imports a file and makes an Application of its default export, or of the one that is named:
 *
 * - an object with a `fetch` function (hono), is called with a `Request`;
 * - a koa or fastify app, an `http.Server` that does not listen, a function with a `listen` (express), or one of two or more
 *   parameters is a Node listener;
 * - a function whose first parameter is called `environ` is a WSGI callable, where somebody runs those;
 * - any other function is an Application of this library.
 *
 * `export const kind = 'application' | 'fetch' | 'node' | 'wsgi'` in the file overrides that: a bare function of a `Request` needs `'fetch'`.
 * Rejects with CONFIG where the file cannot be loaded or is none of these.
 *
 * Until it is closed, an error that the app lets go uncaught is logged and ends only the request it came from. Modules cannot be
 * unloaded: new code needs a new process.
 */
export async function loadApp(file: string, options: LoadAppOptions = {}): Promise<Backend> {
  const path = resolve(file)
  const log = options.log ?? standardError
  const owner: Owner = { file: path, log }
  const release = guardUncaught()
  try {
    const module = await load(path, owner)
    const { kind, app } = detect(path, module, options.export)
    const application = make(kind, app)
    return backend(application, {
      ready: () => (isBackend(application) ? application.ready() : Promise.resolve()),
      close: async (grace) => {
        if (isBackend(application)) await application.close(grace)
        release()
      },
      pools: () => poolsOf([application]),
    })
  } catch (error) {
    release()
    throw error
  }

  function make(kind: string, app: unknown): Application {
    if (kind === 'node') return fromNode(app as NodeApplication, { run: (call, fail) => runAs({ ...owner, fail }, call) })
    if (kind === 'fetch') return owned(fromFetch(app as FetchHandler | { fetch: FetchHandler }), owner)
    if (kind === 'wsgi') {
      if (options.wsgi === undefined) throw config(`${path} is a WSGI function, and nobody here runs those`)
      return owned(options.wsgi(app), owner)
    }
    if (typeof app !== 'function') throw config(`${path} says it is an application; its default export is no function`)
    return owned(checked(app as Application, path), owner)
  }
}

async function load(path: string, owner: Owner): Promise<Record<string, unknown>> {
  try {
    return (await runAs(owner, () => import(pathToFileURL(path).href))) as Record<string, unknown>
  } catch (error) {
    const place = await placeOf(error, path)
    throw config(`${path} could not be loaded: ${describe(error)}${place === undefined ? '' : ` (${place})`}`, error)
  }
}

/** Runs each request as the app's: what it throws later, out of any promise, ends that request. */
function owned(application: Application, owner: Owner): Application {
  const call: Application = (request) =>
    new Promise<GatewayResponse>((done, reject) => {
      // A `throw` before the first await rejects too: this is a promise's executor.
      runAs({ ...owner, fail: reject }, () => void Promise.resolve(application(request)).then(done, reject))
    })
  if (!isBackend(application)) return call
  return backend(call, {
    ready: () => application.ready(),
    close: (grace) => application.close(grace),
    pools: () => poolsOf([application]),
  })
}

/** The commonest mistake has a name. */
function checked(application: Application, path: string): Application {
  const call: Application = async (request) => {
    const response = await application(request)
    if (response instanceof Response) {
      throw new GatewayError('CONTRACT', {
        status: 500,
        message: `node: ${path} returned a fetch Response; write \`export const kind = 'fetch'\` in it, or export { fetch }`,
      })
    }
    return response
  }
  if (!isBackend(application)) return call
  return backend(call, {
    ready: () => application.ready(),
    close: (grace) => application.close(grace),
    pools: () => poolsOf([application]),
  })
}
