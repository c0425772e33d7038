// From what is written to hosts: fixed addresses as they are, names and services by what DNS says now.
// Specification: RFC 2782 for services.

import { promises as dns } from 'node:dns'
import { isIP } from 'node:net'
import type { Address } from '../../core/index.ts'
import { configError, wholeNumber } from './options.ts'
import type { UpstreamOptions } from './options.ts'
import { formatAddress, parseTarget } from './connect.ts'

/** How often DNS is asked, and whom. */
export interface ResolveOptions {
  /** Milliseconds between two times. Default 30,000. */
  readonly interval?: number
  /** Name servers to ask, `127.0.0.1:53`. Default: the system's, and its hosts file. */
  readonly servers?: readonly string[]
}

/** One host, as it is connected to. */
export interface HostSpec {
  /** How messages name it, and what it is told from others by. */
  readonly key: string
  readonly address: Address
  readonly tls: boolean
  /** The name that its certificate must have, where the address no longer tells. */
  readonly serverName?: string
  readonly weight: number
  readonly tier: number
  readonly connections: number
}

type Shares = Pick<HostSpec, 'weight' | 'tier' | 'connections'>

/** What was written: a host, or a name that stands for some. */
export type Source = HostSpec | (Shares & { readonly host: string; readonly port: number; readonly tls: boolean }) | ServiceSource
type ServiceSource = Shares & { readonly service: string; readonly tls: boolean }

/** Throws CONFIG. `named`: names of hosts are to be asked for. */
export function sourcesOf(upstreams: readonly (UpstreamOptions | string)[], connections: number, named: boolean): Source[] {
  if (upstreams.length === 0) throw configError('upstreams: expected at least one')
  const seen = new Set<string>()
  return upstreams.map((each) => {
    const options = typeof each === 'string' ? { address: each } : each
    const { address } = options
    const weight = options.weight ?? 1
    if (!(weight > 0 && weight <= 1_000_000)) throw configError(`upstreams: expected a weight above 0, got ${weight}`)
    const shares = {
      weight,
      tier: options.backup === true ? 1 : 0,
      connections: wholeNumber('connections', options.connections ?? connections, 1),
    }
    const target = typeof address === 'string' ? parseTarget(address) : { address, tls: false }
    const source = sourceOf(target, shares, named)
    const name = 'key' in source ? source.key : 'service' in source ? source.service : `${source.host}:${source.port}`
    if (seen.has(name)) throw configError(`upstreams: ${name} is there twice; give it a weight of 2 instead`)
    seen.add(name)
    return source
  })
}

function sourceOf(target: ReturnType<typeof parseTarget>, shares: Shares, named: boolean): Source {
  const { tls } = target
  if ('service' in target) return { ...shares, service: target.service, tls }
  const { address } = target
  if (named && 'host' in address && isIP(address.host) === 0) return { ...shares, ...address, tls }
  return hostSpec(address, tls, shares)
}

function hostSpec(address: Address, tls: boolean, shares: Shares, serverName?: string): HostSpec {
  return { ...shares, key: formatAddress(address, tls), address, tls, ...(tls && serverName !== undefined && { serverName }) }
}

/** Whether anybody has to be asked. */
export function isFixed(source: Source): source is HostSpec {
  return 'key' in source
}

/** All hosts of all sources, each once. Rejects when one of them cannot be found out: the set of before is then as good as any. */
export async function lookUp(sources: readonly Source[], options: ResolveOptions): Promise<HostSpec[]> {
  const ask = asker(options)
  const found = await Promise.all(
    sources.map(async (source) => {
      if (isFixed(source)) return [source]
      if ('service' in source) return serviceHosts(source, ask)
      return addressesOf(source, source.host, source.port, await ask.addresses(source.host))
    }),
  )
  const byKey = new Map<string, HostSpec>()
  for (const spec of found.flat()) if (!byKey.has(spec.key)) byKey.set(spec.key, spec)
  if (byKey.size === 0) throw new Error('there is no host')
  return [...byKey.values()]
}

function addressesOf(source: Shares & { readonly tls: boolean }, name: string, port: number, found: readonly string[]): HostSpec[] {
  return found.map((host) => hostSpec({ host, port }, source.tls, source, name))
}

/** RFC 2782: the hosts of a lower priority are asked first; weights are shares among those of one priority. */
async function serviceHosts(source: ServiceSource, ask: Asker): Promise<HostSpec[]> {
  const records = await ask.services(source.service)
  const priorities = [...new Set(records.map((record) => record.priority))].toSorted((a, b) => a - b)
  const hosts = await Promise.all(
    records.map(async ({ name, port, priority, weight }) => {
      // Backups by configuration come after all priorities of those that are none.
      const tier = source.tier * 65_536 + priorities.indexOf(priority)
      return addressesOf({ ...source, tier, weight: source.weight * Math.max(1, weight) }, name, port, await ask.addresses(name))
    }),
  )
  return hosts.flat()
}

interface Asker {
  addresses(name: string): Promise<readonly string[]>
  services(name: string): Promise<readonly { name: string; port: number; priority: number; weight: number }[]>
}

function asker({ servers }: ResolveOptions): Asker {
  if (servers === undefined) {
    return {
      addresses: async (name) => (await dns.lookup(name, { all: true })).map((each) => each.address),
      services: (name) => dns.resolveSrv(name),
    }
  }
  const resolver = new dns.Resolver({ timeout: 2000, tries: 2 })
  resolver.setServers(servers)
  return {
    async addresses(name) {
      const [v4, v6] = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)])
      const all = [...(v4.status === 'fulfilled' ? v4.value : []), ...(v6.status === 'fulfilled' ? v6.value : [])]
      if (all.length === 0) throw v4.status === 'rejected' ? v4.reason : new Error(`${name} has no address`)
      return all
    },
    services: (name) => resolver.resolveSrv(name),
  }
}
