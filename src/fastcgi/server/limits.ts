// What one web server may ask of the door, and for how long.

import { GatewayError } from '../../core/index.ts'

/** What one web server may ask of the door, in bytes, counts and milliseconds. */
export interface FastCgiServerLimits {
  /** Connections at a time, told as FCGI_MAX_CONNS; more are closed at once. Default 1024. */
  readonly connections: number
  /** Requests at a time, told as FCGI_MAX_REQS; more are answered with OVERLOADED. Default 1024. */
  readonly requests: number
  /** Bytes of one request's variables. Default 1 MiB. */
  readonly params: number
  /** Number of one request's variables. Default 2048. */
  readonly pairs: number
  /** Bytes of a request body; 413 beyond. Default 0: as many as the web server lets through. */
  readonly body: number
  /**
   * Bytes of one request's body that may wait in memory for their reader on a connection that requests share, as a web server's question
   * for FCGI_MPXS_CONNS or its first two requests at once tell. Elsewhere the web server waits after 64 KiB. Default 1 MiB.
   */
  readonly bodyMemory: number
  /**
   * Bytes of it that may wait in a file beyond that, so that its neighbours need not: FastCGI has no flow control for one of several
   * requests. Further behind, the body fails with 503; 0: all wait. Default 1 GiB.
   */
  readonly bodyFile: number
  /** Milliseconds from BEGIN_REQUEST until all variables are there; then the connection is closed. Default 30,000. */
  readonly paramsTimeout: number
  /** Milliseconds between two pieces of a request body that somebody reads; then the body fails with 408. Default 60,000. */
  readonly bodyTimeout: number
  /** Milliseconds that a web server may take nothing of what is there for it; then its connection is closed. Default 60,000. */
  readonly writeTimeout: number
  /** Milliseconds that a connection may be without a request: longer than web servers keep theirs. Default 300,000; 0: for ever. */
  readonly idleTimeout: number
  /** Milliseconds that an application may go on after ABORT_REQUEST before the request is ended without it. Default 5,000. */
  readonly abortTimeout: number
}

const serverLimits: FastCgiServerLimits = {
  connections: 1024,
  requests: 1024,
  params: 1024 ** 2,
  pairs: 2048,
  body: 0,
  bodyMemory: 1024 ** 2,
  bodyFile: 1024 ** 3,
  paramsTimeout: 30_000,
  bodyTimeout: 60_000,
  writeTimeout: 60_000,
  idleTimeout: 300_000,
  abortTimeout: 5000,
}

const ZERO: readonly (keyof FastCgiServerLimits)[] = ['body', 'bodyFile', 'idleTimeout']

/** The defaults with these in their place. Throws CONFIG for what is not a whole number in range. */
export function resolveServerLimits(given: Partial<FastCgiServerLimits> = {}): FastCgiServerLimits {
  const limits: { -readonly [Name in keyof FastCgiServerLimits]: number } = { ...serverLimits }
  for (const name of Object.keys(given) as (keyof FastCgiServerLimits)[]) {
    const value = given[name]
    if (value === undefined) continue
    const least = ZERO.includes(name) ? 0 : 1
    if (!(name in serverLimits) || !Number.isSafeInteger(value) || value < least) {
      throw new GatewayError('CONFIG', {
        status: 500,
        message: `fastcgi: limits.${name}: ${name in serverLimits ? `expected a whole number from ${least}, got ${value}` : 'there is no such limit'}`,
      })
    }
    limits[name] = value
  }
  return limits
}

/** How often the one sweep over all connections comes by: twice within the shortest deadline, at most once a second. */
export function serverSweep(limits: FastCgiServerLimits): number {
  const { paramsTimeout, bodyTimeout, abortTimeout, idleTimeout } = limits
  const shortest = Math.min(paramsTimeout, bodyTimeout, abortTimeout, idleTimeout || paramsTimeout)
  return Math.max(10, Math.min(1000, Math.floor(shortest / 2)))
}
