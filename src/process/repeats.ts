// What the workers of a pool say while they start, each line once: where an application is broken, all of them say the same, and say it
// again at each try.
//
// Nothing waits: a line is told of who says it first, and who says the same at the same place is silent. Who then says something else,
// or comes up after all, tells what it kept back.

/** Milliseconds after which what was told is told again: it may have left the log by then. */
const MEMORY = 60_000
/** Lines that are compared. */
const LINES = 500

/** One for all workers of a pool. */
export class Repeats {
  /** All that one has said, and others may say again. */
  told: string[] = []
  /** One of them has ended, so that there is no more of it. */
  whole = false
  readonly #count: (times: number) => void
  #since = 0
  #times = 0
  #starting = 0
  #isOld = false

  /** `count` hears how often all that was told has been said again, once none of those that say it is left. */
  constructor(count: (times: number) => void) {
    this.#count = count
  }

  /** Of a worker that starts. `tell` hears its lines, but those that another one has told. `now`: milliseconds of any clock. */
  voice(tell: (line: string) => void, now: number = performance.now()): Voice {
    if (this.#starting === 0 && (this.#isOld || now - this.#since > MEMORY)) {
      this.told = []
      this.whole = this.#isOld = false
    }
    if (this.told.length === 0) this.#since = now
    this.#starting++
    return new Voice(this, tell)
  }

  /** One has come up, or ended and has said all that was told. */
  settled(how: 'up' | 'same' | 'other'): void {
    if (how === 'up') this.#isOld = true
    if (how === 'same' && this.whole) this.#times++
    if (how === 'same') this.whole = true
    if (--this.#starting > 0 || this.#times === 0) return
    const times = this.#times
    this.#times = 0
    this.#count(times)
  }
}

/** In the log of a pool: `programs: "shop": the same 3 more times, by other workers`. */
export function repeated(of: string, name: string, times: number): string {
  return `${of}: "${name}": the same ${times} more time${times === 1 ? '' : 's'}, by other workers`
}

/** One worker's. */
export class Voice {
  readonly #repeats: Repeats
  readonly #tell: (line: string) => void
  #kept: string[] = []
  /** How much of what was told it has said; undefined once it goes its own way. */
  #place: number | undefined = 0
  #settled = false

  constructor(repeats: Repeats, tell: (line: string) => void) {
    this.#repeats = repeats
    this.#tell = tell
  }

  said(line: string): void {
    const { told, whole } = this.#repeats
    const place = this.#place
    if (place !== undefined && place < told.length && told[place] === line) {
      this.#place = place + 1
      this.#kept.push(line)
      return
    }
    if (place !== undefined && place === told.length && !whole && place < LINES) {
      this.#place = place + 1
      told.push(line)
    } else this.#part()
    this.#tell(line)
  }

  /** It has come up: its lines are its own. */
  up(): void {
    this.#part()
    this.#settle('up')
  }

  /** It has ended, and has said all it will. */
  down(): void {
    this.#settle(this.#place !== 0 && this.#place === this.#repeats.told.length ? 'same' : 'other')
  }

  #part(): void {
    this.#place = undefined
    for (const line of this.#kept.splice(0)) this.#tell(line)
  }

  #settle(how: 'up' | 'same' | 'other'): void {
    if (this.#settled) return
    this.#settled = true
    this.#repeats.settled(how)
  }
}
