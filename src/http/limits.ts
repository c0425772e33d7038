// What one client may take from the HTTP door: bytes, counts and time. Every buffer has a limit, every state a deadline.

import { GatewayError } from '../core/index.ts'

/** Bytes and milliseconds. 0 switches a limit off where that is said. */
export interface HttpLimits {
  /** Request line and header fields together; 431 beyond. Default 32 KiB: sites with many cookies need more than 16. */
  readonly headerBytes: number
  /** Number of header fields; 431 beyond. Default 100. */
  readonly headers: number
  /** Length of the request target; 414 beyond. Default 8 KiB. */
  readonly targetBytes: number
  /** Length of a request body; 413 beyond. Default 0, no limit: the door keeps no body in memory, and who spools one has a limit. */
  readonly body: number
  /** From the first byte of a connection or of a request to the end of its head; 408 beyond. Default 30 s; 0 is no limit. */
  readonly headersTimeout: number
  /** Between two pieces of a body that somebody wants to read; 408 beyond. Default 30 s; 0 is no limit. */
  readonly bodyTimeout: number
  /** A kept connection without a request is closed. Default 65 s, longer than the 60 s that proxies keep theirs; 0 is no limit. */
  readonly idleTimeout: number
  /** A client that takes nothing of its answer is cut. Default 60 s; 0 is no limit. */
  readonly writeTimeout: number
  /** Connections at a time; one more is closed at once, without an answer, for answering is what there is no room for. Default 16384; 0 is no limit. */
  readonly connections: number
  /** The answer to the last of these carries `Connection: close`. Default 0, no limit. */
  readonly requestsPerConnection: number
  /** How much of a body that nobody reads is taken off the wire, so that the client comes to read its answer. Default 256 KiB. */
  readonly drainBytes: number
  /** For how long. Default 1 s. */
  readonly drainTimeout: number
  /** HTTP/2: requests at a time on one connection. Default 128. */
  readonly streams: number
  /** HTTP/2: requests that a client took back before they were answered, beyond those that were answered; one more ends its connection. Default 100. */
  readonly streamResets: number
}

/** The limits where nothing else is said. */
export const defaultLimits: HttpLimits = {
  headerBytes: 32_768,
  headers: 100,
  targetBytes: 8192,
  body: 0,
  headersTimeout: 30_000,
  bodyTimeout: 30_000,
  idleTimeout: 65_000,
  writeTimeout: 60_000,
  connections: 16_384,
  requestsPerConnection: 0,
  drainBytes: 262_144,
  drainTimeout: 1000,
  streams: 128,
  streamResets: 100,
}

const POSITIVE: readonly (keyof HttpLimits)[] = ['headerBytes', 'headers', 'targetBytes', 'drainTimeout', 'streams']

/** The defaults with these in their place. Throws CONFIG for what is not a whole number in range. */
export function resolveLimits(given: Partial<HttpLimits> = {}): HttpLimits {
  const limits: { -readonly [Name in keyof HttpLimits]: number } = { ...defaultLimits }
  for (const name of Object.keys(given) as (keyof HttpLimits)[]) {
    const value = given[name]
    if (value === undefined) continue
    const least = POSITIVE.includes(name) ? 1 : 0
    if (!(name in defaultLimits) || !Number.isSafeInteger(value) || value < least) {
      throw new GatewayError('CONFIG', {
        status: 500,
        message: `http: limits.${name}: ${name in defaultLimits ? `expected a whole number from ${least}, got ${value}` : 'there is no such limit'}`,
      })
    }
    limits[name] = value
  }
  return limits
}

/** How often the one sweep over all connections comes by: twice within the shortest of its deadlines, at most once a second. */
export function sweepInterval(limits: HttpLimits): number {
  const deadlines = [limits.headersTimeout, limits.bodyTimeout, limits.idleTimeout, limits.drainTimeout].filter((each) => each > 0)
  return Math.max(10, Math.min(1000, Math.floor(Math.min(...deadlines) / 2)))
}
