// One host of several: its connections, its health, and what the balance goes by.

import { mayServe, newHealth, observe, onTrial, share } from '../../core/index.ts'
import type { Health, HealthEvent, HealthRules, HostState, Log } from '../../core/index.ts'
import type { UpstreamStatus } from './options.ts'
import type { Lane, Lanes, Waiters } from './lanes.ts'
import type { HostSpec } from './upstream-names.ts'
import type { Place } from './upstreams.ts'

/** What a host needs of the set it belongs to. */
export interface Hosting {
  readonly rules: HealthRules
  readonly log: Log | undefined
  /** Requests that wait for any host. */
  readonly waiting: number
  /** Whether none of the hosts is up, so that each may be tried. */
  readonly desperate: boolean
  /** A host has a lane for who waits longest. */
  give(place: Place): void
  /** A host may have become able to take more. */
  changed(): void
  /** Whether hosts are asked how many requests they take on a connection. */
  readonly asks: boolean
  /** Never rejects; undefined when the host could not be reached. */
  ask(spec: HostSpec): Promise<number | undefined>
  open(spec: HostSpec, requests: number, waiters: Waiters): Lanes
}

/** What is taken of who is not asked: as many as a connection can have ids. */
const ANY = 65_535
/** Connections of before the host said something else end within this many milliseconds. */
const RETIREMENT = 3_600_000

export class Upstream implements HostState, Waiters {
  readonly key: string
  turn = 0
  active = 0
  #spec: HostSpec
  readonly #set: Hosting
  #lanes: Lanes | undefined
  /** Connections of before it said that it is another one than it was. */
  readonly #former = new Set<Lanes>()
  /** Requests on one of its connections, as it has said; 0: it has said nothing yet. */
  #several = 0
  #asking = false
  /** It may be another program than the one that was asked: it was left alone, or has no connection any more. */
  #doubtful = false
  #health: Health
  #requests = 0
  #failures = 0
  #gone = false
  #trialTimer: NodeJS.Timeout | undefined
  #checkTimer: NodeJS.Timeout | undefined

  /** @param since from when its slow start counts; -Infinity for none. */
  constructor(spec: HostSpec, set: Hosting, since: number) {
    this.key = spec.key
    this.#spec = spec
    this.#set = set
    this.#health = newHealth(since)
    if (set.asks) void this.#ask()
    else this.#lanes = set.open(spec, ANY, this)
  }

  /** Finds out what it can do; while that is not known, it gets nothing that might be too much for it. */
  async #ask(): Promise<void> {
    this.#asking = true
    const said = await this.#set.ask(this.#spec)
    this.#asking = false
    if (this.#gone) return
    // Not reached: the next request asks again.
    this.#doubtful = said === undefined
    const several = said ?? (this.#several || 1)
    if (several !== this.#several) this.#become(several)
    this.#set.changed()
  }

  #become(several: number): void {
    const { log } = this.#set
    const before = this.#lanes
    if (before !== undefined) {
      log?.info(
        { peer: this.key, requests: several },
        `fastcgi: ${this.key} takes ${several} at a time on a connection now, ${this.#several} before`,
      )
      this.#former.add(before)
      void before.close(RETIREMENT).then(() => this.#former.delete(before))
    }
    this.#several = several
    this.#lanes = this.#set.open(this.#spec, several, this)
  }

  get weight(): number {
    return this.#spec.weight * share(this.#health, this.#set.rules, performance.now())
  }

  get tier(): number {
    return this.#spec.tier
  }

  get up(): boolean {
    return mayServe(this.#health, this.active, performance.now())
  }

  get room(): boolean {
    return !this.#held && this.#lanes?.room === true
  }

  /** It is being asked whether it still takes several on a connection, or for the first time. */
  get #held(): boolean {
    return this.#asking && this.#several !== 1
  }

  /** Who waits for a lane of any host. One that is down takes nobody, unless all are. */
  get size(): number {
    return !this.#held && (this.up || this.#set.desperate) ? this.#set.waiting : 0
  }

  offer(lane: Lane | Promise<Lane>): void {
    this.#set.give({ host: this, lanes: this.#lanes!, lane })
  }

  emptied(): void {
    this.#doubtful = this.#set.asks
  }

  /** The same host with another share. */
  change(spec: HostSpec): void {
    this.#spec = spec
  }

  /** Whether this is the same host under the same conditions of connecting. */
  is(spec: HostSpec): boolean {
    return this.key === spec.key && this.#spec.serverName === spec.serverName && this.#spec.connections === spec.connections
  }

  /** A lane, while it has room. Exactly one `ended` must follow. */
  take(): Place {
    this.began()
    const lanes = this.#lanes!
    return { host: this, lanes, lane: lanes.take()! }
  }

  /** A request has got one of its lanes. */
  began(): void {
    this.active++
    this.#requests++
    if (this.#doubtful && !this.#asking) void this.#ask()
  }

  /** What became of a request: `undefined` says nothing about the host. */
  ended(event: 'success' | 'failure' | undefined): void {
    this.active--
    if (event === 'failure') this.#failures++
    if (event !== undefined) this.hear(event)
  }

  hear(event: HealthEvent): void {
    const before = this.#health
    const now = performance.now()
    const after = observe(before, event, this.#set.rules, now)
    if (after === before) return
    this.#health = after
    const { log } = this.#set
    if (after.up && !before.up) {
      log?.info({ peer: this.key }, `fastcgi: ${this.key} is back`)
      this.#set.changed()
    } else if (!after.up && after.until !== before.until) {
      this.#doubtful = this.#set.asks
      const wait = after.until - now
      const then = wait === Number.POSITIVE_INFINITY ? 'until a check passes' : `for ${Math.round(wait)} ms`
      log?.warn({ peer: this.key, ejections: after.ejections }, `fastcgi: ${this.key} failed and is left alone ${then}`)
      clearTimeout(this.#trialTimer)
      if (wait !== Number.POSITIVE_INFINITY) this.#trialTimer = setTimeout(() => this.#set.changed(), Math.ceil(wait) + 1).unref()
    }
  }

  /** Asks again and again; `check` resolves with whether the host is well. */
  watch(interval: number, check: (spec: HostSpec) => Promise<boolean>): void {
    const once = async (): Promise<void> => {
      const well = await check(this.#spec)
      if (this.#gone) return
      this.hear(well ? 'passed' : 'missed')
      this.#checkTimer = setTimeout(() => void once(), interval).unref()
    }
    void once()
  }

  status(): UpstreamStatus {
    const { weight, tier } = this.#spec
    const now = performance.now()
    const { open, idle } = this.#lanes?.counts ?? { open: 0, idle: 0 }
    return {
      address: this.key,
      weight,
      backup: tier > 0,
      state: this.#health.up ? 'up' : onTrial(this.#health, now) ? 'trial' : 'down',
      requests: this.#requests,
      failures: this.#failures,
      active: this.active,
      connections: open,
      idle,
      ejections: this.#health.ejections,
    }
  }

  async close(grace: number): Promise<void> {
    this.#gone = true
    clearTimeout(this.#trialTimer)
    clearTimeout(this.#checkTimer)
    await Promise.all([...this.#former, this.#lanes].map((lanes) => lanes?.close(grace)))
  }
}
