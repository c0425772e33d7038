// The client behind proxies: its address and scheme as those say it, if they may.
//
// Nobody may unless the operator names them, for whoever sets these fields is whoever he likes. One kind of field is
// believed, never both: a proxy that sets X-Forwarded-For passes on a Forwarded that its client has made up.

import { GatewayError, Networks, derive, isNetwork, parseIp, withoutHeaders } from '../core/index.ts'
import type { ByteString, Endpoint, GatewayRequest, Middleware } from '../core/index.ts'

/** Which proxies are believed, and which field of theirs. */
export interface ForwardedOptions {
  /** Addresses and networks of proxies; `unix` is whoever connects by a unix socket. */
  readonly from: readonly string[]
  /** `x-forwarded` (default): X-Forwarded-For and X-Forwarded-Proto. `forwarded`: Forwarded (RFC 7239). */
  readonly headers?: 'x-forwarded' | 'forwarded'
}

const FIELDS = ['forwarded', 'x-forwarded-for', 'x-forwarded-proto', 'x-forwarded-host', 'x-forwarded-port', 'x-real-ip'] as const

/** Hops that are read from the end of a field; what is in front of them is nobody's word. */
const HOPS = 32

/**
 * Gives a request that comes from a trusted proxy the address and scheme of its client; one from anybody else loses the fields
 * that would say so. Throws CONFIG for what is no network.
 */
export function forwarded(options: ForwardedOptions): Middleware {
  for (const each of options.from) {
    if (each === 'unix' || isNetwork(each)) continue
    throw new GatewayError('CONFIG', { status: 500, message: `forwarded: "${each}" is no address, no network and not "unix"` })
  }
  const networks = new Networks(options.from.filter((each) => each !== 'unix'))
  const unix = options.from.includes('unix')
  const trusts = (address: string): boolean => (address === '' ? unix : networks.has(address))
  const read = options.headers === 'forwarded' ? fromForwarded : fromXForwarded
  return (next) => (request) => {
    const { remote, local } = request
    // A TCP client that was gone before anybody asked who it is has no address either.
    if (trusts(remote.address) && (remote.address !== '' || local.address === '')) return next(believed(request, read(request), trusts))
    const list = request.headers.list
    const kept = withoutHeaders(list, ...FIELDS)
    return next(kept === list ? request : derive(request, { headers: kept }))
  }
}

/** One proxy's word about who connected to it, nearest first. */
interface Hop {
  readonly client: Endpoint | undefined
  readonly scheme: 'http' | 'https' | undefined
}

function believed(request: GatewayRequest, hops: readonly Hop[], trusts: (address: string) => boolean): GatewayRequest {
  let remote: Endpoint | undefined
  let scheme: Hop['scheme']
  for (const hop of hops) {
    scheme = hop.scheme ?? scheme
    // Hidden or no address at all: what is further away was said by somebody we know nothing of.
    if (hop.client === undefined) break
    remote = hop.client
    if (!trusts(hop.client.address)) break
  }
  if (remote === undefined && scheme === undefined) return request
  return derive(request, {
    ...(remote !== undefined && { remote }),
    // SERVER_PORT is the port that the client used (RFC 3875, 4.1.15): without one of ours it is that of Host, or of the scheme.
    ...(scheme !== undefined && { scheme, local: { address: request.local.address, port: 0 } }),
  })
}

function fromXForwarded(request: GatewayRequest): Hop[] {
  const clients = elements(request.headers.get('x-forwarded-for'))
  // Most proxies say one word for the whole way; where each adds its own, the nearest is the last.
  const schemes = elements(request.headers.get('x-forwarded-proto'))
  const only = schemeOf(schemes[0])
  if (clients.length === 0) return only === undefined ? [] : [{ client: undefined, scheme: only }]
  return clients.map((client, i) => ({
    client: endpoint(client),
    scheme: schemes.length === clients.length ? schemeOf(schemes[i]) : i === 0 ? only : undefined,
  }))
}

// RFC 7239, 4: elements by comma, pairs by semicolon, values as tokens or quoted.
const PAIR = /^\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s";,=]+))\s*$/

function fromForwarded(request: GatewayRequest): Hop[] {
  return elements(request.headers.get('forwarded')).map((element) => {
    let client: Endpoint | undefined
    let scheme: Hop['scheme']
    for (const part of element.split(';')) {
      const pair = PAIR.exec(part)
      const value = pair?.[2] ?? pair?.[3] ?? ''
      if (pair?.[1]!.toLowerCase() === 'for') client = endpoint(value)
      if (pair?.[1]!.toLowerCase() === 'proto') scheme = schemeOf(value)
    }
    return { client, scheme }
  })
}

/** The elements of a list, the last first. A quoted address holds no comma, so quotes need not be looked at. */
function elements(value: ByteString | undefined): ByteString[] {
  if (value === undefined) return []
  const all = value.split(',')
  return all
    .slice(-HOPS)
    .toReversed()
    .map((each) => each.trim())
}

function schemeOf(text: ByteString | undefined): 'http' | 'https' | undefined {
  const lower = text?.toLowerCase()
  return lower === 'http' || lower === 'https' ? lower : undefined
}

/** `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]:80`; undefined for `unknown`, `_hidden` and what is no address. */
function endpoint(text: ByteString): Endpoint | undefined {
  const match = /^(?:\[([^\]]+)\]|(\d+\.\d+\.\d+\.\d+))(?::(\d{1,5}))?$/.exec(text)
  const address = match?.[1] ?? match?.[2] ?? text
  if (address.includes('%') || parseIp(address) === undefined) return undefined
  const port = Number(match?.[3] ?? 0)
  return { address, port: port <= 65_535 ? port : 0 }
}
