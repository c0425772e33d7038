// Which web servers may speak to us: FCGI_WEB_SERVER_ADDRS (FastCGI 1.0, 3.2) and its like. Whoever may connect decides who the
// client is, where a script lies and who is logged in.

import { isIP } from 'node:net'
import { GatewayError } from '../core/index.ts'

/** The 16 bytes of an address; an IPv4 one is mapped into IPv6 (RFC 4291, 2.5.5.2). undefined for what is none. */
export function addressBytes(text: string): readonly number[] | undefined {
  const kind = isIP(text)
  if (kind === 0) return undefined
  if (kind === 4) return [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, ...text.split('.').map(Number)]
  // Which link a link-local address is on is told behind a `%`.
  const [plain] = text.split('%') as [string]
  const [before, after] = plain.split('::').map(groups) as [number[], number[] | undefined]
  return after === undefined ? before : [...before, ...Array.from({ length: 16 - before.length - after.length }, () => 0), ...after]
}

function groups(text: string): number[] {
  if (text === '') return []
  return text.split(':').flatMap((group) => {
    if (group.includes('.')) return group.split('.').map(Number)
    const value = parseInt(group, 16)
    return [value >> 8, value & 0xff]
  })
}

/**
 * Tells whether an address is on the list; all 16 bytes count (CVE-2026-91768). Throws CONFIG for an entry that is no address: one that
 * was dropped would lock out its server, and nobody would know why.
 */
export function allowList(entries: readonly string[], source: string): (address: string) => boolean {
  const known = new Set<string>()
  for (const entry of entries) {
    const bytes = addressBytes(entry.trim())
    if (bytes === undefined) {
      throw new GatewayError('CONFIG', { status: 500, message: `fastcgi: ${source}: expected IP addresses, got ${JSON.stringify(entry)}` })
    }
    known.add(bytes.join('.'))
  }
  return (address) => {
    const bytes = addressBytes(address)
    return bytes !== undefined && known.has(bytes.join('.'))
  }
}
