// Which of several hosts gets the next request. Functions of their arguments only, so that each policy is a table in its test:
// who is up is balance-health.ts, who holds the connections is the client.
//
// Round robin is the smooth weighted one: 5, 1, 1 gives a a b a c a a and not a a a a a b c. Hashing is by rendezvous
// (Thaler and Ravishankar, 1998): when a host comes or goes, only its own share of the keys moves.

/** A host as a policy sees it. */
export interface HostView {
  /** Stays the same for as long as the host does: what hashing goes by. */
  readonly key: string
  /** Its share beside the others', above 0. */
  readonly weight: number
  /** Requests it has now. */
  readonly active: number
  /** What the last round left it: 0 for a new one. */
  readonly turn: number
}

/** What decides whether a host is asked at all. */
export interface HostState extends HostView {
  /** 0: asked first. Those of the next tier are asked only while none of this one is up. */
  readonly tier: number
  /** Whether it may be asked: `mayServe` of its health. */
  readonly up: boolean
  /** It can take one more request now. */
  readonly room: boolean
}

/**
 * How one of several hosts is chosen: in turn by weight, the one with the fewest requests for its weight, the better of two drawn by chance, the first that is up, or by the value of a key.
 */
export type Policy = 'round-robin' | 'least-connections' | 'two-choices' | 'first' | 'hash'

/**
 * The hosts among which a policy chooses: up, of the lowest tier that has one, with room, and none of `except`. When none is up, all
 * count as up: what was known of them may be old, and one more try is better than a certain error.
 * `full`: somebody has to wait. `none`: every one was tried.
 */
export function eligible<H extends HostState>(hosts: readonly H[], except?: ReadonlySet<H>): H[] | 'full' | 'none' {
  const untried = except === undefined || except.size === 0 ? hosts : hosts.filter((host) => !except.has(host))
  if (untried.length === 0) return 'none'
  const up = untried.filter((host) => host.up)
  const asked = up.length === 0 ? untried : up
  let tier = Number.POSITIVE_INFINITY
  for (const host of asked) tier = Math.min(tier, host.tier)
  const free = asked.filter((host) => host.tier === tier && host.room)
  return free.length === 0 ? 'full' : free
}

/** What one choice came to. */
export interface Choice {
  /** Into the hosts that were given. */
  readonly index: number
  /** Each host's `turn` from now on, where the policy takes turns. */
  readonly turns?: readonly number[]
}

/** What a choice may depend on beside the hosts. */
export interface Chance {
  /** 0 up to, not including, 1. */
  random(): number
  /** What `hash` goes by; without one the request goes where `least-connections` sends it. */
  readonly key?: string | undefined
}

/** The next request's host, of at least one. */
export function choose(policy: Policy, hosts: readonly HostView[], chance: Chance): Choice {
  switch (policy) {
    case 'round-robin':
      return takeTurns(hosts)
    case 'least-connections':
      return leastLoaded(hosts)
    case 'two-choices':
      return { index: twoChoices(hosts, chance) }
    case 'hash':
      return chance.key === undefined ? leastLoaded(hosts) : { index: rendezvous(hosts, chance.key) }
    case 'first':
      return { index: 0 }
  }
}

/** Everybody gains their weight, who has most is chosen and pays for all. */
function takeTurns(hosts: readonly HostView[], among: (host: HostView) => boolean = () => true): Choice {
  let total = 0
  let index = -1
  const turns = hosts.map((host, i) => {
    if (!among(host)) return host.turn
    const turn = host.turn + host.weight
    total += host.weight
    if (index === -1 || turn > hosts[index]!.turn + hosts[index]!.weight) index = i
    return turn
  })
  turns[index]! -= total
  return { index, turns }
}

/** The fewest requests for its weight; those that are level take turns. */
function leastLoaded(hosts: readonly HostView[]): Choice {
  let least = Number.POSITIVE_INFINITY
  for (const host of hosts) least = Math.min(least, load(host))
  return takeTurns(hosts, (host) => load(host) === least)
}

/** The less loaded of two drawn by weight: nearly as even as asking all, and clients that do not know of each other do not all pick the same. */
function twoChoices(hosts: readonly HostView[], chance: Chance): number {
  const first = draw(hosts, chance, -1)
  if (hosts.length === 1) return first
  const second = draw(hosts, chance, first)
  return load(hosts[second]!) < load(hosts[first]!) ? second : first
}

function draw(hosts: readonly HostView[], chance: Chance, not: number): number {
  let total = 0
  for (const [i, host] of hosts.entries()) if (i !== not) total += host.weight
  let left = chance.random() * total
  let last = 0
  for (const [i, host] of hosts.entries()) {
    if (i === not) continue
    last = i
    left -= host.weight
    if (left < 0) break
  }
  return last
}

/** Each host draws from the key and its own name; the highest draw, stretched by weight, wins. */
function rendezvous(hosts: readonly HostView[], key: string): number {
  let best = 0
  let highest = Number.NEGATIVE_INFINITY
  for (const [i, host] of hosts.entries()) {
    // Above 0 and below 1, so that the logarithm is a number below 0.
    const drawn = (mix(host.key, key) + 0.5) / 4_294_967_296
    const score = -host.weight / Math.log(drawn)
    if (score > highest) {
      highest = score
      best = i
    }
  }
  return best
}

/** FNV-1a over both, then MurmurHash3's finisher: neighbouring keys must not draw alike. */
function mix(name: string, key: string): number {
  let hash = 0x811c9dc5
  for (let i = 0; i < name.length; i++) hash = Math.imul(hash ^ name.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ 0xff, 0x01000193)
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

function load(host: HostView): number {
  return host.active / host.weight
}

/** RFC 9110, 9.2.2. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** How a try ended without an answer. */
export interface Failed {
  readonly method: string
  /** The whole request can be sent again. */
  readonly repeatable: boolean
  /** Any of the answer has come. */
  readonly answered: boolean
  /** The host cannot have begun: nothing of the request reached it, or it said so. */
  readonly untouched: boolean
}

/** Whether the same request may be tried once more: never when it could then have happened twice. */
export function mayRepeat({ method, repeatable, answered, untouched }: Failed): boolean {
  if (!repeatable) return false
  return untouched || (!answered && IDEMPOTENT.has(method))
}
