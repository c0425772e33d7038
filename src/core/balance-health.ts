// What is known of a host's health, and what each event makes of it. The clock is an argument; nothing here waits.
//
// Requests that fail eject a host for a while, longer each time; then one request at a time tries it. Where active checks run, they
// alone bring it back. A host that returns gets its share little by little: caches are cold, and everybody would come at once.

/** When a host is left alone, and when it is tried again. Times are milliseconds. */
export interface HealthRules {
  /** This many failures within `window` milliseconds eject a host; 0: failures never do. Default 3. */
  readonly failures: number
  /** Default 10,000. */
  readonly window: number
  /** Milliseconds a host is left alone the first time; twice as long each time after, up to `longest`. Default 5,000. */
  readonly ejection: number
  /** Default 60,000. A host that was up for longer than this begins again with `ejection`. */
  readonly longest: number
  /** Milliseconds in which a host that returns, or is new, comes to its whole share. Default 0: at once. */
  readonly slowStart: number
  /** Whether active checks run, and so decide when a host returns. */
  readonly checked: boolean
  /** Checks in a row that bring a host back (default 2) and that eject it (default 3). */
  readonly rise: number
  /** See `rise`. */
  readonly fall: number
}

/** The rules where nothing else is said. */
export const HEALTH: HealthRules = {
  failures: 3,
  window: 10_000,
  ejection: 5000,
  longest: 60_000,
  slowStart: 0,
  checked: false,
  rise: 2,
  fall: 3,
}

/** What is known of one host. Times are of the clock that `observe` is given, in milliseconds. */
export interface Health {
  /** Whether it gets requests; one that is down gets a single one on trial once `until` has passed. */
  readonly up: boolean
  /** Up: since when. */
  readonly since: number
  /** Failures since `counted`, of which none is older than the window. */
  readonly failures: number
  /** When the first of `failures` was. */
  readonly counted: number
  /** Down: when a request may try it. */
  readonly until: number
  /** How often it was ejected without a long good time in between. */
  readonly ejections: number
  /** Checks in a row that passed, or that failed when below 0. */
  readonly streak: number
}

/** `passed` and `missed` are active checks. */
export type HealthEvent = 'success' | 'failure' | 'passed' | 'missed'

/** Of a host nothing is known about. `since`: -Infinity for one that needs no slow start. */
export function newHealth(since: number = Number.NEGATIVE_INFINITY): Health {
  return { up: true, since, failures: 0, counted: 0, until: 0, ejections: 0, streak: 0 }
}

/** The same object when nothing changes, which is nearly always. */
export function observe(health: Health, event: HealthEvent, rules: HealthRules, now: number): Health {
  switch (event) {
    case 'success':
      if (!health.up) return onTrial(health, now) ? risen(health, now) : health
      return health.failures === 0 ? health : { ...health, failures: 0 }
    case 'failure':
      if (!health.up) return onTrial(health, now) ? ejected(health, rules, now) : health
      return failed(health, rules, now)
    case 'passed': {
      const streak = Math.max(health.streak, 0) + 1
      if (!health.up && streak >= rules.rise) return { ...risen(health, now), streak }
      // Counted only as far as it decides anything.
      return streak > rules.rise ? health : { ...health, streak }
    }
    case 'missed': {
      const streak = Math.min(health.streak, 0) - 1
      if (health.up && -streak >= rules.fall) return { ...ejected(health, rules, now), streak }
      return -streak > rules.fall ? health : { ...health, streak }
    }
  }
}

function failed(health: Health, rules: HealthRules, now: number): Health {
  if (rules.failures === 0) return health
  const recent = health.failures > 0 && now - health.counted <= rules.window
  const failures = recent ? health.failures + 1 : 1
  const counted = recent ? health.counted : now
  return failures >= rules.failures ? ejected(health, rules, now) : { ...health, failures, counted }
}

function ejected(health: Health, rules: HealthRules, now: number): Health {
  const ejections = health.up && now - health.since > rules.longest ? 1 : health.ejections + 1
  const time = Math.min(rules.longest, rules.ejection * 2 ** (ejections - 1))
  return { ...health, up: false, failures: 0, ejections, streak: 0, until: rules.checked ? Number.POSITIVE_INFINITY : now + time }
}

function risen(health: Health, now: number): Health {
  return { ...health, up: true, since: now, failures: 0 }
}

/** Down, and it is time to see whether it still is. */
export function onTrial(health: Health, now: number): boolean {
  return !health.up && now >= health.until
}

/** Whether a host with `active` requests may get one more: one on trial has one at a time. */
export function mayServe(health: Health, active: number, now: number): boolean {
  return health.up || (active === 0 && now >= health.until)
}

/** How much of its weight a host has: a tenth when it returns, all of it once `slowStart` is over. */
export function share(health: Health, rules: HealthRules, now: number): number {
  const time = now - health.since
  if (rules.slowStart === 0 || time >= rules.slowStart) return 1
  return Math.max(0.1, time / rules.slowStart)
}
