// Opening the HTTP door.

import { openListener, standardError } from '../core/index.ts'
import type { Application, Listen, Listener, Log, Server } from '../core/index.ts'
import type { TlsOptions } from './certificates.ts'
import { Door } from './door.ts'
import { resolveLimits } from './limits.ts'
import type { HttpLimits } from './limits.ts'
import { TlsFront } from './tls.ts'
import { offerUpgrades } from './upgrade.ts'

/** Where the door listens, and what a client may take from it. */
export interface HttpOptions {
  /** Default 127.0.0.1 and a free port. */
  readonly listen?: Listen
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<HttpLimits>
  /** Default: warnings and errors go to standard error, a line each. */
  readonly log?: Log
  /** Whether applications may answer 101 and take over a connection (`request.upgrade`). Default false. */
  readonly upgrade?: boolean
  /** Serves HTTPS instead: TLS, with HTTP/2 for clients that ask for it. Upgrades are HTTP/1.1's. */
  readonly tls?: TlsOptions
}

/** Milliseconds that `close` waits for requests that run, unless told otherwise. */
const GRACE = 10_000

/**
 * Serves an application over HTTP/1.1 and 1.0, with `tls` over HTTP/2 too. Resolves once it listens; rejects with CONFIG where it cannot.
 *
 * A client that ends its side of the connection has left: its requests are cut.
 * `close` accepts nothing new, answers what has come with `Connection: close`, and cuts what is left after the grace.
 */
export async function serveHttp(application: Application, options: HttpOptions = {}): Promise<Server> {
  const log = options.log ?? standardError
  const door = new Door(application, resolveLimits(options.limits), log)
  if (options.upgrade === true) offerUpgrades(door)
  let front: TlsFront | undefined
  const end = async (grace: number): Promise<void> => {
    front?.leave(grace)
    await door.close(grace)
    front?.end()
  }
  const open = async (): Promise<Listener> => {
    if (options.tls !== undefined) front = new TlsFront(door, options.tls, log)
    return openListener(door.acceptor, options.listen ?? {}, 'http')
  }
  const listener = await open().catch(async (error: unknown) => {
    await end(0)
    throw error
  })
  door.opened(listener.address)
  let closing: Promise<void> | undefined
  const close = (grace: number = GRACE): Promise<void> => (closing ??= Promise.all([end(grace), listener.release()]).then(() => {}))
  return {
    address: listener.address,
    swap: (next) => {
      door.application = next
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}
