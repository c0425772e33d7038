// Several hosts of one application: who gets the next request, who waits, who comes and goes.
//
// The set may change at any moment, by assignment or by DNS. A host that stays keeps its connections and what is known of its
// health; one that goes gets nothing new, and what runs there ends there.

import { GatewayError, Line, choose, describe, eligible, getHeaders } from '../../core/index.ts'
import type { GatewayRequest, HealthRules, LineCounts, Log, Policy } from '../../core/index.ts'
import { rulesOf } from './options.ts'
import type { Balance, FastCgiOptions, UpstreamOptions, UpstreamStatus } from './options.ts'
import { clientClosed, clientGone } from './failures.ts'
import type { Lane, Lanes, Waiters } from './lanes.ts'
import { Upstream } from './upstream.ts'
import type { Hosting } from './upstream.ts'
import { isFixed, lookUp, sourcesOf } from './upstream-names.ts'
import type { HostSpec, Source } from './upstream-names.ts'

/** A host that has a lane for a request. `ended` must follow exactly once. */
export interface Place {
  readonly host: Upstream
  /** Those that the lane is one of: the host may have others by the time it is used. */
  readonly lanes: Lanes
  readonly lane: Lane | Promise<Lane>
}

/** What a set needs of the client it works for. */
export interface UpstreamsOwner {
  readonly options: FastCgiOptions
  /** Whether hosts are asked how many requests they take on a connection. */
  readonly asks: boolean
  ask(spec: HostSpec): Promise<number | undefined>
  open(spec: HostSpec, requests: number, waiters: Waiters): Lanes
  check(spec: HostSpec): Promise<boolean>
}

/** A host that is gone ends what runs there within this many milliseconds. */
const RETIREMENT = 3_600_000

export class Upstreams implements Hosting {
  readonly rules: HealthRules
  readonly log: Log | undefined
  readonly #owner: UpstreamsOwner
  readonly #policy: Policy
  readonly #balance: Balance
  readonly #queue: Line<Place>
  #written: readonly (UpstreamOptions | string)[] = []
  #sources: readonly Source[] = []
  #hosts: Upstream[] = []
  /** Hosts that are no longer in the set and still have requests. */
  readonly #leaving = new Set<Upstream>()
  /** Settles when names were looked up for the first time. */
  #found: Promise<void> | undefined
  #lookTimer: NodeJS.Timeout | undefined
  #closed = false

  constructor(owner: UpstreamsOwner, upstreams: readonly (UpstreamOptions | string)[]) {
    const { options } = owner
    this.#owner = owner
    this.rules = rulesOf(options.health)
    this.log = options.log
    this.#balance = options.balance ?? 'round-robin'
    this.#policy = typeof this.#balance === 'string' ? this.#balance : 'hash'
    const max = options.queue ?? 512
    const timeout = options.queueTimeout ?? 30_000
    this.#queue = new Line({
      max,
      timeout,
      gone: () => clientGone('upstreams'),
      refusal: (code) => {
        const hosts = `${this.#hosts.length} hosts`
        const fact =
          code === 'QUEUE_FULL'
            ? `${hosts} have all connections in use and ${max} requests waiting`
            : `none of ${hosts} had a connection free within ${timeout} ms`
        const message = `fastcgi: ${fact}; raise connections or queue, add hosts, or lower the requests' cost`
        return new GatewayError(code, { status: 503, message, retryAfter: 1 })
      },
    })
    this.written = upstreams
  }

  // ---- who there is

  get written(): readonly (UpstreamOptions | string)[] {
    return this.#written
  }

  set written(upstreams: readonly (UpstreamOptions | string)[]) {
    const { options } = this.#owner
    const sources = sourcesOf(upstreams, options.connections ?? 8, options.resolve !== undefined)
    if (this.#closed) throw clientClosed('upstreams')
    this.#written = upstreams
    this.#sources = sources
    clearTimeout(this.#lookTimer)
    if (sources.every(isFixed)) {
      this.#found = undefined
      this.#become(sources)
    } else this.#found = this.#look(sources)
  }

  /** Asks DNS, and again after a while; what cannot be found out leaves things as they are. */
  async #look(sources: readonly Source[]): Promise<void> {
    const { resolve = {} } = this.#owner.options
    try {
      const specs = await lookUp(sources, resolve)
      if (sources === this.#sources && !this.#closed) this.#become(specs)
    } catch (error) {
      this.log?.warn({ err: error }, `fastcgi: the hosts of upstreams could not be found out: ${describe(error)}`)
    }
    if (sources !== this.#sources || this.#closed) return
    // Nobody to ask at all: not for a whole interval.
    const pause = resolve.interval ?? 30_000
    const next = this.#hosts.length === 0 ? Math.min(1000, pause) : pause
    this.#lookTimer = setTimeout(() => void this.#look(sources), next).unref()
  }

  #become(specs: readonly HostSpec[]): void {
    // Whoever is there from the beginning needs no slow start.
    const since = this.#hosts.length === 0 ? Number.NEGATIVE_INFINITY : performance.now()
    const check = this.#owner.options.health?.check
    const before = this.#hosts
    this.#hosts = specs.map((spec) => {
      const known = before.find((host) => host.is(spec))
      if (known !== undefined) {
        known.change(spec)
        return known
      }
      const host = new Upstream(spec, this, since)
      if (check !== undefined) host.watch(check.interval ?? 5000, (each) => this.#owner.check(each))
      if (before.length > 0) this.log?.info({ peer: host.key }, `fastcgi: ${host.key} is one of the hosts now`)
      return host
    })
    for (const host of before) if (!this.#hosts.includes(host)) this.#retire(host)
    this.changed()
  }

  #retire(host: Upstream): void {
    this.log?.info({ peer: host.key }, `fastcgi: ${host.key} is no longer one of the hosts`)
    this.#leaving.add(host)
    void host.close(RETIREMENT).then(() => this.#leaving.delete(host))
  }

  // ---- who gets the next request

  /**
   * A host with a lane, none of `tried` if it can be chosen. Rejects with QUEUE_FULL, QUEUE_TIMEOUT, CLOSED (503), UNAVAILABLE
   * (502) when all were tried, and what the request's own end was.
   */
  place(request: GatewayRequest, tried: ReadonlySet<Upstream>): Place | Promise<Place> {
    if (this.#closed) throw clientClosed('upstreams')
    if (this.#hosts.length === 0 && this.#found !== undefined) return this.#placeOnceFound(request, tried)
    const hosts = eligible(this.#hosts, tried)
    if (hosts === 'none') throw this.#nobody()
    if (hosts === 'full') {
      return new Promise((take, refuse) => this.#queue.wait(request, { take, refuse }))
    }
    return this.#choose(hosts, request).take()
  }

  async #placeOnceFound(request: GatewayRequest, tried: ReadonlySet<Upstream>): Promise<Place> {
    await this.#found
    if (this.#hosts.length === 0) throw this.#nobody()
    return this.place(request, tried)
  }

  #choose(hosts: readonly Upstream[], request: GatewayRequest | undefined): Upstream {
    if (hosts.length === 1) return hosts[0]!
    const key = request === undefined || typeof this.#balance === 'string' ? undefined : keyOf(request, this.#balance)
    const { index, turns } = choose(this.#policy, hosts, { random: Math.random, key })
    if (turns !== undefined) for (const [i, turn] of turns.entries()) hosts[i]!.turn = turn
    return hosts[index]!
  }

  #nobody(): GatewayError {
    const names = this.#hosts.map((host) => host.key).join(', ')
    const message = names === '' ? 'fastcgi: DNS tells no host of the upstreams' : `fastcgi: none of the hosts could be asked (${names})`
    return new GatewayError('UNAVAILABLE', { status: 502, message })
  }

  // ---- what hosts tell

  get asks(): boolean {
    return this.#owner.asks
  }

  ask(spec: HostSpec): Promise<number | undefined> {
    return this.#owner.ask(spec)
  }

  open(spec: HostSpec, requests: number, waiters: Waiters): Lanes {
    return this.#owner.open(spec, requests, waiters)
  }

  get waiting(): number {
    return this.#queue.size
  }

  get desperate(): boolean {
    return this.#hosts.every((host) => !host.up)
  }

  give(place: Place): void {
    place.host.began()
    this.#queue.offer(place)
  }

  changed(): void {
    while (this.#queue.size > 0) {
      const hosts = eligible(this.#hosts)
      if (typeof hosts === 'string') return
      this.#queue.offer(this.#choose(hosts, undefined).take())
    }
  }

  // ---- for the client

  status(): UpstreamStatus[] {
    return this.#hosts.map((host) => host.status())
  }

  get counts(): LineCounts {
    return this.#queue.counts
  }

  async ready(): Promise<void> {
    await this.#found
    if (this.#hosts.length === 0) throw this.#nobody()
  }

  async close(grace: number): Promise<void> {
    this.#closed = true
    clearTimeout(this.#lookTimer)
    this.#queue.clear(clientClosed('upstreams'))
    await Promise.all([...this.#hosts, ...this.#leaving].map((host) => host.close(grace)))
  }
}

/** What a request is hashed by; undefined where it has no such thing. */
function keyOf(request: GatewayRequest, balance: Exclude<Balance, string>): string | undefined {
  if ('variable' in balance) return request.variables.get(balance.variable) || undefined
  for (const field of getHeaders(request.headers.list, 'cookie')) {
    for (const pair of field.split(';')) {
      const at = pair.indexOf('=')
      if (at !== -1 && pair.slice(0, at).trim() === balance.cookie) return pair.slice(at + 1).trim() || undefined
    }
  }
  return undefined
}
