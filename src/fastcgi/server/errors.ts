// What a web server, or whoever reads what it sends, did wrong or not in time.

import { GatewayError } from '../../core/index.ts'
import { protocolError } from '../record.ts'

export function unexpected(type: number, id: number): GatewayError {
  return protocolError(`a record of type ${type} from a web server (request ${id})`)
}

export function gone(): GatewayError {
  return new GatewayError('CLIENT_GONE', { status: 499, message: 'fastcgi: the web server has closed the connection' })
}

/** To whoever reads on after the answer. */
export function answered(): GatewayError {
  return new GatewayError('CLOSED', { status: 499, message: 'fastcgi: the request has been answered' })
}

export function late(timeout: number): GatewayError {
  return new GatewayError('TIMEOUT', {
    status: 408,
    message: `fastcgi: no byte of the request body came for limits.bodyTimeout = ${timeout} ms`,
  })
}

export function stalled(timeout: number): GatewayError {
  return new GatewayError('CLIENT_GONE', {
    status: 499,
    message: `fastcgi: the web server took nothing of its answers for limits.writeTimeout = ${timeout} ms`,
  })
}
