// Whether a request comes from this machine: who is told more than a stranger should know goes by it.
//
// Addresses alone do not say it. Behind a proxy that nobody was told of every request comes from this machine, and so does that of a
// stranger's page in a browser here (DNS rebinding), which names the name that led it here.

import { Networks, isNetwork } from '../core/index.ts'
import type { GatewayRequest } from '../core/index.ts'
import { hostFinder } from './hosts.ts'

const LOOPBACK = new Networks(['127.0.0.0/8', '::1'])
/** What proxies add. Of those that we trust, the client's address has taken the place of theirs by now. */
const PASSED_ON = ['forwarded', 'x-forwarded-for', 'x-real-ip', 'via'] as const

/**
 * Tells requests from 127.0.0.0/8 and ::1 that nobody has passed on and that ask for localhost, an address, or one of `hosts` (as sites
 * have them, `*.example.org` too) from all others.
 */
export function fromHere(hosts: readonly string[] = []): (request: GatewayRequest) => boolean {
  const ours = hostFinder([{ hosts: ['localhost', ...hosts] }])
  return ({ remote: { address }, headers }) => {
    if (!LOOPBACK.has(address) || PASSED_ON.some((name) => headers.get(name) !== undefined)) return false
    const host = headers.get('host') ?? ''
    return host === '' || isAddress(host) || ours(host) !== undefined
  }
}

function isAddress(host: string): boolean {
  const name = host.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1')
  return isNetwork(name) && !name.includes('/')
}
