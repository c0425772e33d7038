// What the client of a request is told when its application refused it, or nobody waits any more.
// Specification: FastCGI 1.0, section 5.5.

import { GatewayError } from '../../core/index.ts'
import type { Exchange } from './exchange.ts'
import { ProtocolStatus, protocolError } from '../record.ts'

export function clientGone(peer: string): GatewayError {
  return new GatewayError('CLIENT_GONE', { status: 499, message: `fastcgi: nobody waits for the answer any more (${peer})` })
}

/** END_REQUEST with another protocol status than REQUEST_COMPLETE. */
export function rejection(protocolStatus: number, peer: string): GatewayError {
  switch (protocolStatus) {
    case ProtocolStatus.CantMpxConn:
      return new GatewayError('UNAVAILABLE', { status: 503, message: `fastcgi: ${peer} refused the request: CANT_MPX_CONN`, retryAfter: 1 })
    case ProtocolStatus.Overloaded:
      return new GatewayError('UNAVAILABLE', { status: 503, message: `fastcgi: ${peer} refused the request: OVERLOADED`, retryAfter: 1 })
    case ProtocolStatus.UnknownRole:
      return new GatewayError('UPSTREAM_PROTOCOL', { status: 502, message: `fastcgi: ${peer} does not play this role: UNKNOWN_ROLE` })
    default:
      return protocolError(`END_REQUEST with protocol status ${protocolStatus} (${peer})`)
  }
}

export function clientClosed(peer: string): GatewayError {
  return new GatewayError('CLOSED', { status: 503, message: `fastcgi: the client of ${peer} is closed`, retryAfter: 1 })
}

export function tooLong(limit: number, peer: string): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', {
    status: 502,
    message: `fastcgi: an answer is longer than the limit of ${limit} bytes (${peer}); raise limits.response if it may be`,
  })
}

/** The connection went before END_REQUEST. */
export function truncated(exchange: Exchange, peer: string, error: NodeJS.ErrnoException | undefined): GatewayError {
  const how = error === undefined ? 'connection closed' : `connection lost (${error.code ?? error.message})`
  // The cause is given only where the request cannot have been read: whoever repeats requests goes by it.
  return new GatewayError('UPSTREAM_TRUNCATED', {
    status: 502,
    message: `fastcgi: ${how} before END_REQUEST (${peer}, request ${exchange.id}, ${exchange.received} bytes of body)`,
    ...(!exchange.taken && error !== undefined && { cause: error }),
  })
}

/** Its time is over: what took too long. */
export function late(exchange: Exchange, peer: string): GatewayError {
  const { deadlines, until } = exchange.call
  const fact =
    until !== undefined && until !== 0 && performance.now() >= until
      ? `it was not over in the time that a request may take in all, after ${exchange.received} bytes of body`
      : exchange.cutShort
        ? `an answer that nobody reads did not end within ${exchange.drainTime} ms`
        : exchange.hasHead
          ? `nothing came for ${deadlines.between} ms after ${exchange.received} bytes of body`
          : `no answer within ${deadlines.firstByte} ms`
  return new GatewayError('TIMEOUT', { status: 504, message: `fastcgi: ${fact} (${peer}, request ${exchange.id})` })
}
