// Opening the FastCGI door: an application behind nginx, Apache, lighttpd, HAProxy and every other web server that speaks FastCGI.
//
// A program that some servers start as FastCGI and others once a request is both with `cgi: serveCgi`: protocols do not know one
// another here, so whoever wants the other one hands it in, and who does not has none of it in memory.

import { GatewayError, Networks, isNetwork, openListener, standardError, toByteString } from '../../core/index.ts'
import type { Address, Application, Listen, Log, Server } from '../../core/index.ts'
import { Role } from '../record.ts'
import { ServerDoor } from './door.ts'
import { inheritedSocket, isCgi } from './inherited.ts'
import { resolveServerLimits } from './limits.ts'
import type { FastCgiServerLimits } from './limits.ts'
import { Cast } from './roles.ts'
import type { FastCgiRoles } from './roles.ts'

/** Where the door listens, whom it lets in, and what it believes. */
export interface FastCgiServerOptions {
  /**
   * Default: the listening socket that this process was started with. That is its standard input, as web servers, spawn-fcgi and our
   * own pools start programs, or the one socket of a systemd unit.
   */
  readonly listen?: Listen
  /**
   * `serveCgi`, for a program that is also started as plain CGI: where it has no socket but a request in its environment, it answers
   * that one as the Responder.
   */
  readonly cgi?: (application: Application) => Promise<void>
  /**
   * Where the application is mounted: the path below it is `pathInfo`, however the web server divides it into SCRIPT_NAME and PATH_INFO.
   * `''` or `'/'` for the whole of a site. Default: what the web server says.
   */
  readonly mount?: string
  /** Whether several requests may share a connection. Default true. */
  readonly multiplex?: boolean
  /** Addresses and networks (`10.0.0.0/8`) of web servers that may connect by TCP. Default: FCGI_WEB_SERVER_ADDRS of an inherited socket, else everybody who can. */
  readonly allow?: readonly string[]
  /**
   * Variables that are dropped unless they are named here, for they decide which code runs: PHP_VALUE, PHP_ADMIN_VALUE,
   * REQUEST_BODY_FILE, SCRIPT_FILENAME and UWSGI_*.
   */
  readonly trusted?: readonly string[]
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<FastCgiServerLimits>
  /** Default: warnings and errors go to standard error, a line each. */
  readonly log?: Log
}

/** Milliseconds that `close` waits for requests that run, unless told otherwise. */
const GRACE = 10_000

/** A door that web servers send FastCGI requests to. */
export interface FastCgiServer extends Server {
  /** Requests that come from now on get these. */
  swap(roles: Application | FastCgiRoles): void
}

/**
 * Serves an application over FastCGI as a Responder, or up to three in the roles that they are given. Resolves once it listens (as a CGI
 * program: once the one request is answered); rejects with CONFIG where it cannot.
 *
 * A web server that closes its connection, or sends ABORT_REQUEST, has aborted: requests hear of it by their signal.
 * `close` accepts nothing new, answers what has come, ends idle connections, and cuts what is left after the grace.
 */
export async function serveFastCgi(roles: Application | FastCgiRoles, options: FastCgiServerOptions = {}): Promise<FastCgiServer> {
  const cast = new Cast(roles)
  const listen = options.listen ?? inheritedSocket()
  if (listen === undefined) return asCgi(cast.for(Role.Responder), options.cgi)
  const log = options.log ?? standardError
  const allow = options.allow ?? (options.listen === undefined ? webServerAddresses() : undefined)
  const door = new ServerDoor(cast, {
    limits: resolveServerLimits(options.limits),
    mount: options.mount === undefined ? undefined : toByteString(options.mount.replace(/\/+$/, '')),
    trusted: new Set(options.trusted),
    multiplex: options.multiplex ?? true,
    log,
    allowed: allow && allowList(allow, options.allow === undefined ? 'FCGI_WEB_SERVER_ADDRS' : 'allow'),
  })
  const listener = await openListener(door.server, listen, 'fastcgi').catch(async (error: unknown) => {
    await door.close(0)
    throw error
  })
  door.opened()
  if (allow === undefined && isOpen(listener.address)) {
    log.warn({}, 'fastcgi: everybody who reaches this port can say who the client is; list your web servers in allow, or use a unix socket')
  }
  let closing: Promise<void> | undefined
  const close = (grace: number = GRACE): Promise<void> => (closing ??= Promise.all([door.close(grace), listener.release()]).then(() => {}))
  return {
    address: listener.address,
    swap: (next) => {
      door.cast = new Cast(next)
    },
    close,
    [Symbol.asyncDispose]: () => close(),
  }
}

/** Answers the one request of this process; what is left of a server then is nothing. */
async function asCgi(responder: Application | undefined, serve: FastCgiServerOptions['cgi']): Promise<FastCgiServer> {
  if (serve === undefined || responder === undefined || !isCgi()) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message:
        'fastcgi: serveFastCgi: standard input is no listening socket; let a web server, spawn-fcgi, systemd or a pool start this program, or say where to listen. A program that is started for each request is given cgi: serveCgi',
    })
  }
  await serve(responder)
  return { address: { path: '' }, swap() {}, close: nothing, [Symbol.asyncDispose]: nothing }
}

async function nothing(): Promise<void> {}

function webServerAddresses(): readonly string[] | undefined {
  const value = process.env['FCGI_WEB_SERVER_ADDRS']
  return value === undefined || value === '' ? undefined : value.split(',')
}

/** An entry that was merely dropped would lock out its server, and nobody would know why. */
function allowList(entries: readonly string[], source: string): Networks {
  const trimmed = entries.map((each) => each.trim())
  const wrong = trimmed.find((each) => !isNetwork(each))
  if (wrong === undefined) return new Networks(trimmed)
  throw new GatewayError('CONFIG', { status: 500, message: `fastcgi: ${source}: expected addresses, got ${JSON.stringify(wrong)}` })
}

function isOpen(address: Address): boolean {
  return 'host' in address && !/^(?:127\.|::1$|::ffff:127\.)/.test(address.host)
}
