// A Node application (a listener, express, fastify, koa, an http.Server) as an Application, behind any door.

import { backend } from '../core/index.ts'
import type { Backend, GatewayResponse } from '../core/index.ts'
import { NodeCall } from './node-call.ts'
import { nodeTarget } from './node-target.ts'
import type { NodeApplication } from './node-target.ts'

/** How a Node application is called. */
export interface FromNodeOptions {
  /**
   * What `req.url` is. `mounted` (default): the path below the mount point, as in a sub-application of express, with
   * `req.originalUrl` the whole and `req.baseUrl` the mount point. `full`: the request's target as received.
   */
  readonly url?: 'mounted' | 'full'
  /** Calls the application, for whoever must know to which request an uncaught error belongs; `fail` ends that one. */
  readonly run?: (call: () => void, fail: (error: unknown) => void) => void
}

/**
 * A Node application as an Application. It owns nothing but what it was given: `ready` waits for fastify's plugins, `close` closes fastify.
 * An `http.Server` (fastify's too) may listen for `upgrade`, where the door was opened with `upgrade: true`: so `ws` works.
 *
 * What a listener throws, or rejects with, is a 500 before the head and a broken answer after it. Trailers of a request are not passed on.
 */
export function fromNode(application: NodeApplication, options: FromNodeOptions = {}): Backend {
  const target = nodeTarget(application)
  let ready: Promise<void> | undefined
  return backend(
    (request) =>
      new Promise<GatewayResponse>((resolve, reject) => {
        const call = new NodeCall(request, options.url === 'full', resolve, reject)
        if (options.run === undefined) call.start(target)
        else
          options.run(
            () => call.start(target),
            (error) => call.fail(error),
          )
      }),
    { ready: () => (ready ??= target.ready()), close: () => target.close() },
  )
}
