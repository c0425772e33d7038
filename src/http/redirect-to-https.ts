// For the port of plain HTTP beside one with TLS.

import { GatewayError, isHost } from '../core/index.ts'
import type { Application } from '../core/index.ts'

/** Where clients of plain HTTP are sent, and who is not. */
export interface RedirectOptions {
  /** The port of the other one. Default 443, which is not said. */
  readonly port?: number
  /** 308 (default) keeps method and body; 301 is understood by everybody. */
  readonly status?: 301 | 302 | 307 | 308
  /**
   * Answers what is not sent elsewhere: the challenges of a certificate authority (RFC 8555, 8.3), for which there may be no certificate
   * yet, and what came by https to a proxy that is trusted. Default: everything is redirected.
   */
  readonly application?: Application
}

/** Below it a certificate authority looks for a token that only the owner of the host can have put there. */
const CHALLENGES = '/.well-known/acme-challenge/'

/** Answers every request with a redirect to the same place under https. A request without a Host it can name is answered 400. */
export function redirectToHttps(options: RedirectOptions = {}): Application {
  const { port = 443, status = 308, application } = options
  return (request) => {
    if (application !== undefined && (request.scheme === 'https' || request.pathInfo.startsWith(CHALLENGES))) return application(request)
    const host = request.headers.get('host') ?? ''
    if (host === '' || !isHost(host)) {
      throw new GatewayError('BAD_REQUEST', { status: 400, message: 'http: a request without a Host cannot be redirected' })
    }
    const name = host.replace(/:\d*$/, '') + (port === 443 ? '' : `:${port}`)
    const query = request.queryString === '' ? '' : `?${request.queryString}`
    const path = request.target.startsWith('/') ? request.target : (request.rawPathInfo || '/') + query
    return { status, headers: ['Location', `https://${name}${path}`], body: null }
  }
}
