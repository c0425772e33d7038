// Opening the HTTP door.

import { openListener } from '../core/index.ts'
import type { Application, Listen, Log, Server } from '../core/index.ts'
import { Door } from './door.ts'
import { resolveLimits } from './limits.ts'
import type { HttpLimits } from './limits.ts'
import { offerUpgrades } from './upgrade.ts'

export interface HttpOptions {
  /** Default 127.0.0.1 and a free port. */
  readonly listen?: Listen
  readonly limits?: Partial<HttpLimits>
  /** Default: warnings and errors go to standard error, a line each. */
  readonly log?: Log
  /** Whether applications may answer 101 and take over a connection (`request.upgrade`). Default false. */
  readonly upgrade?: boolean
}

/** Milliseconds that `close` waits for requests that run, unless told otherwise. */
const GRACE = 10_000

/**
 * Serves an application over HTTP/1.1 and 1.0. Resolves once it listens; rejects with CONFIG where it cannot.
 *
 * A client that ends its side of the connection has left: its requests are cut.
 * `close` accepts nothing new, answers what has come with `Connection: close`, and cuts what is left after the grace.
 */
export async function serveHttp(application: Application, options: HttpOptions = {}): Promise<Server> {
  const door = new Door(application, resolveLimits(options.limits), options.log ?? standardError)
  if (options.upgrade === true) offerUpgrades(door)
  const listener = await openListener(door.server, options.listen ?? {}, 'http').catch(async (error: unknown) => {
    await door.close(0)
    throw error
  })
  door.opened(listener.address)
  let closing: Promise<void> | undefined
  const close = (grace: number = GRACE): Promise<void> => (closing ??= Promise.all([door.close(grace), listener.release()]).then(() => {}))
  return {
    address: listener.address,
    swap: (next) => {
      door.application = next
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

const standardError: Log = {
  debug() {},
  info() {},
  warn: (_, message) => void process.stderr.write(message + '\n'),
  error: (_, message) => void process.stderr.write(message + '\n'),
}
