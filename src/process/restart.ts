// When to start again what has died. The first time at once, for one crash is an accident; then with pauses that double, for
// a program that dies at its start would otherwise use a whole processor and fill the disk with its complaints (CVE-2015-9253).

/** The pauses between restarts, in milliseconds. */
export interface RestartLimits {
  /** Pause before the second restart, in milliseconds; it doubles from there. */
  readonly pause: number
  /** The longest pause. */
  readonly longest: number
  /** Who has run this long since its last restart is well: the next one is at once again. */
  readonly calm: number
}

/** The pauses where nothing else is said. */
export const RESTART: RestartLimits = { pause: 250, longest: 30_000, calm: 60_000 }

/** Milliseconds to wait after so many failures in a row, not counting the one that just happened: 0, then `pause` doubling to `longest`. */
export function restartDelay(failures: number, limits: RestartLimits = RESTART): number {
  if (failures <= 0) return 0
  // Beyond 2^30 the pause has long been the longest, and an infinity must not come out of it.
  return Math.min(limits.longest, limits.pause * 2 ** Math.min(30, failures - 1))
}

/** What is remembered between failures. */
export interface RestartMemory {
  /** In a row. */
  readonly failures: number
  /** When it was, or is to be, started last. */
  readonly startedAt: number
}

/** What is remembered of who has never failed. */
export const WELL: RestartMemory = { failures: 0, startedAt: Number.NEGATIVE_INFINITY }

/** It has died at `now`: how long to wait, and what to remember. Calm is counted from the restart, or a long pause would count as calm. */
export function restart(memory: RestartMemory, now: number, limits: RestartLimits = RESTART): { delay: number; memory: RestartMemory } {
  const failures = now - memory.startedAt >= limits.calm ? 0 : memory.failures
  const delay = restartDelay(failures, limits)
  return { delay, memory: { failures: failures + 1, startedAt: now + delay } }
}

/** An emergency is `crashes` of them within `interval` milliseconds: the whole is started anew, for something they share may be broken. */
export interface EmergencyLimits {
  /** 0: never. */
  readonly crashes: number
  /** In milliseconds. */
  readonly interval: number
}

/** One more crash at `now`. `times` are those remembered, oldest first; an emergency forgets them, so that it is declared once. */
export function emergency(
  times: readonly number[],
  now: number,
  limits: EmergencyLimits,
): { readonly emergency: boolean; readonly times: readonly number[] } {
  if (limits.crashes <= 0) return { emergency: false, times: [] }
  const recent = [...times.filter((time) => now - time < limits.interval), now].slice(-limits.crashes)
  return recent.length === limits.crashes ? { emergency: true, times: [] } : { emergency: false, times: recent }
}
