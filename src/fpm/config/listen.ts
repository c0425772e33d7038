// What an address in a configuration means: a path, or a port on one or every address.

import { parseIp } from '../../core/index.ts'

export type ListenAddress =
  | { readonly path: string }
  /** Without a host: every address, IPv6 and IPv4. */
  | { readonly host: string | undefined; readonly port: number }

/** php-fpm's rule: whatever has a colon, or nothing but digits, is TCP. */
export function isNetworkAddress(text: string): boolean {
  return text.includes(':') || /^\d+$/.test(text)
}

/** `port`, `host:port`, `[v6]:port`, `*:port`, or a path. undefined: what php-fpm cannot listen on (`invalid port value 'x'`). */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (!isNetworkAddress(text)) return { path: text }
  const colon = text.lastIndexOf(':')
  const digits = text.slice(colon + 1)
  const port = /^\d+$/.test(digits) ? Number(digits) : 0
  if (port < 1 || port > 65_535) return undefined
  const host = colon < 0 ? '' : text.slice(0, colon)
  if (host === '' || host === '*') return { host: undefined, port }
  return { host: host.replace(/^\[(.*)\]$/, '$1'), port }
}

/** `listen.allowed_clients`: who may connect, all 16 bytes; and what is no address, of which php-fpm warns. */
export function parseAllowedClients(text: string): { readonly addresses: readonly string[]; readonly wrong: readonly string[] } {
  const words = text
    .split(',')
    .map((word) => word.trim())
    .filter((word) => word !== '')
  return { addresses: words.filter((word) => parseIp(word) !== undefined), wrong: words.filter((word) => parseIp(word) === undefined) }
}
