// One host of several: its connections, its health, and what the balance goes by.

import { mayServe, newHealth, observe, onTrial, share } from '../../core/index.ts'
import type { Health, HealthEvent, HealthRules, HostState, Log } from '../../core/index.ts'
import type { UpstreamStatus } from './options.ts'
import type { Lane, Lanes, Waiters } from './lanes.ts'
import type { HostSpec } from './upstream-names.ts'

/** What a host needs of the set it belongs to. */
export interface Hosting {
  readonly rules: HealthRules
  readonly log: Log | undefined
  /** Requests that wait for any host. */
  readonly waiting: number
  /** Whether none of the hosts is up, so that each may be tried. */
  readonly desperate: boolean
  /** A host has a lane for who waits longest. */
  give(host: Upstream, lane: Lane | Promise<Lane>): void
  /** A host may have become able to take more. */
  changed(): void
  /** Its connections; a promise where it has to be asked first what it can do. */
  open(spec: HostSpec, waiters: Waiters): Lanes | Promise<Lanes>
}

export class Upstream implements HostState, Waiters {
  readonly key: string
  turn = 0
  active = 0
  #spec: HostSpec
  readonly #set: Hosting
  #lanes: Lanes | undefined
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
    const lanes = set.open(spec, this)
    if (!(lanes instanceof Promise)) this.#lanes = lanes
    else {
      void lanes.then((made) => {
        this.#lanes = made
        if (this.#gone) void made.close(0)
        else set.changed()
      })
    }
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

  /** Not while it is still being asked what it can do. */
  get room(): boolean {
    return this.#lanes?.room === true
  }

  /** Who waits for a lane of any host. One that is down takes nobody, unless all are. */
  get size(): number {
    return this.up || this.#set.desperate ? this.#set.waiting : 0
  }

  offer(lane: Lane | Promise<Lane>): void {
    this.#set.give(this, lane)
  }

  get lanes(): Lanes {
    return this.#lanes!
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
  take(): Lane | Promise<Lane> {
    this.began()
    return this.lanes.take()!
  }

  /** A request has got one of its lanes. */
  began(): void {
    this.active++
    this.#requests++
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
    await this.#lanes?.close(grace)
  }
}
