// The status as an application, for those who may see it: what clients ask for, and what it runs, is nobody else's business.
//
// Who may is a question of addresses. This machine may, unless the request shows that somebody passed it on, or asked for a name that is
// not ours: behind a proxy that nobody was told of, and for the page of a stranger in a browser here, every request comes from this machine.

import { GatewayError, Networks, empty, isNetwork, text } from '../core/index.ts'
import type { Application, GatewayRequest, Log, PoolStatus } from '../core/index.ts'
import { fromHere } from '../middleware/index.ts'
import { render, wanted } from './formats.ts'
import { reportOf } from './report.ts'

/** Who may see the page. */
export interface StatusPageOptions {
  /** Addresses and networks beside this machine; `unix`: whoever connects by a unix socket. They are believed whatever else a request says. */
  readonly allow?: readonly string[]
  /** Names (as a site has them, `*.example.org` too) by which this machine may ask, beside localhost and addresses. */
  readonly hosts?: readonly string[]
  /** Hears who was refused, as debug. */
  readonly log?: Log
}

const NOWHERE_KEPT = ['Cache-Control', 'no-store', 'X-Content-Type-Options', 'nosniff', 'Vary', 'Accept']

/**
 * What `pools` tells, in the format that a request wants: `?text`, `?html`, `?json`, `?openmetrics`, `?prometheus`, or by Accept; with
 * `full` every worker and its request. 403 for everybody who may not see it. Throws CONFIG for what is no network.
 */
export function statusPage(pools: () => readonly PoolStatus[], options: StatusPageOptions = {}): Application {
  const mayAsk = admission(options)
  return (request) => {
    if (!mayAsk(request)) {
      options.log?.debug({ remote: request.remote.address }, 'status: refused to an address that may not see it')
      return text(403, 'The status is not for everybody.\n', ['Cache-Control', 'no-store'])
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return empty(405, ['Allow', 'GET, HEAD'])
    const { format, full } = wanted(request)
    const { headers, body } = render(reportOf(pools(), full), format)
    return { status: 200, headers: [...headers, ...NOWHERE_KEPT], body }
  }
}

function admission({ allow = [], hosts = [] }: StatusPageOptions): (request: GatewayRequest) => boolean {
  for (const each of allow) {
    if (each === 'unix' || isNetwork(each)) continue
    throw new GatewayError('CONFIG', { status: 500, message: `status: allow: "${each}" is no address, no network and not "unix"` })
  }
  const listed = new Networks(allow.filter((each) => each !== 'unix'))
  const unix = allow.includes('unix')
  const isHere = fromHere(hosts)
  return (request) => {
    const { address } = request.remote
    return (address === '' ? unix : listed.has(address)) || isHere(request)
  }
}
