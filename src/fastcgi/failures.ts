// What the client of a request is told when its application refused it, or nobody waits any more.
// Specification: FastCGI 1.0, section 5.5.

import { GatewayError } from '../core/index.ts'
import { ProtocolStatus, protocolError } from './record.ts'

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
