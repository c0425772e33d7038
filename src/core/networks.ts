// Addresses and networks, compared on all sixteen bytes: one that is compared in part lets strangers in (CVE-2026-91768).

import { isIP } from 'node:net'
import type { Server, Socket } from 'node:net'

/** The address as sixteen bytes, an IPv4 one as `::ffff:a.b.c.d` (RFC 4291, 2.5.5.2); undefined for what is none. A zone (`%eth0`) is no part of it. */
export function parseIp(text: string): Uint8Array | undefined {
  const zone = text.indexOf('%')
  const address = zone === -1 ? text : text.slice(0, zone)
  switch (isIP(address)) {
    case 4:
      return fromParts([0, 0, 0, 0, 0, 0xffff, ...pair(address)])
    case 6:
      return fromParts(expand(address))
    default:
      return undefined
  }
}

/** The last four bytes of an address as two groups of sixteen bits. */
function pair(address: string): [number, number] {
  const [a = 0, b = 0, c = 0, d = 0] = address.split('.').map(Number)
  return [a * 256 + b, c * 256 + d]
}

/** The eight groups of a valid IPv6 address. */
function expand(address: string): number[] {
  const [head = '', tail] = address.split('::')
  const front = groups(head)
  if (tail === undefined) return front
  const back = groups(tail)
  return [...front, ...Array.from({ length: 8 - front.length - back.length }, () => 0), ...back]
}

function groups(text: string): number[] {
  return text === '' ? [] : text.split(':').flatMap((group) => (group.includes('.') ? pair(group) : [Number.parseInt(group, 16)]))
}

function fromParts(parts: readonly number[]): Uint8Array {
  const bytes = new Uint8Array(16)
  for (const [i, part] of parts.entries()) {
    bytes[2 * i] = part >> 8
    bytes[2 * i + 1] = part & 0xff
  }
  return bytes
}

interface Network {
  readonly bytes: Uint8Array
  /** Leading bits that count, of 128. */
  readonly bits: number
}

/** `10.0.0.0/8`, `::1`, `2001:db8::/32`; undefined for what is no network. */
function parseNetwork(text: string): Network | undefined {
  const slash = text.indexOf('/')
  const address = slash === -1 ? text : text.slice(0, slash)
  const bytes = parseIp(address)
  if (bytes === undefined || address.includes('%')) return undefined
  const v4 = !address.includes(':')
  const most = v4 ? 32 : 128
  if (slash === -1) return { bytes, bits: 128 }
  const length = text.slice(slash + 1)
  if (!/^\d{1,3}$/.test(length) || Number(length) > most) return undefined
  return { bytes, bits: Number(length) + (v4 ? 96 : 0) }
}

/** Whether it is an address or a network that `Networks` takes. */
export function isNetwork(text: string): boolean {
  return parseNetwork(text) !== undefined
}

/** Addresses that were looked up; they come from outside. */
const REMEMBERED = 1024

/** A set of networks. An IPv4 address and the same one mapped into IPv6 are the same. */
export class Networks {
  readonly #networks: readonly Network[]
  readonly #known = new Map<string, boolean>()

  /** What is no network is left out: `isNetwork` tells before. */
  constructor(networks: readonly string[]) {
    this.#networks = networks.map(parseNetwork).filter((each) => each !== undefined)
  }

  /** Whether the address lies in one of them; false for what is no address. */
  has(address: string): boolean {
    const known = this.#known.get(address)
    if (known !== undefined) return known
    const bytes = parseIp(address)
    const found = bytes !== undefined && this.#networks.some((network) => contains(network, bytes))
    if (this.#known.size >= REMEMBERED) this.#known.clear()
    this.#known.set(address, found)
    return found
  }

  /**
   * Whether a connection that `server` has accepted comes from one of them; a unix socket has no addresses, and its file's mode says who
   * may. One that was reset before it was accepted has none either, any more, but what it had sent can still be read.
   */
  admits(socket: Socket, server: Server): boolean {
    const { remoteAddress } = socket
    if (remoteAddress !== undefined) return this.has(remoteAddress)
    const bound = server.address()
    return bound === null || typeof bound === 'string'
  }
}

function contains({ bytes, bits }: Network, address: Uint8Array): boolean {
  const whole = bits >> 3
  for (let i = 0; i < whole; i++) if (bytes[i] !== address[i]) return false
  const rest = bits & 7
  return rest === 0 || (bytes[whole]! ^ address[whole]!) >> (8 - rest) === 0
}
