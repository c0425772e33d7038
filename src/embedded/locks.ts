// Locks on files between the threads of a pool: flock(2), which PHP's sessions are guarded by, and fcntl(2)'s ranges, which SQLite's
// databases are. An interpreter in WebAssembly has neither by itself, and two workers would write the same file at a time.
//
// They hold between the workers of one pool, not between those and other programs. Threads ask and wait; this side decides, and gives
// back what a thread held when it is gone.

/** Where one lock ends and another may begin. `flock` and ranges know nothing of each other, as in Linux. */
export interface LockRequest {
  /** The file: device and inode. With a prefix for flock, so that its locks are apart. */
  readonly key: string
  /** Within its worker: an open file for flock, always the same for ranges, which belong to the process (POSIX). */
  readonly holder: string
  readonly exclusive: boolean
  readonly start: number
  /** Infinity: to the end, wherever that is. */
  readonly end: number
}

interface Held extends LockRequest {
  readonly worker: number
}

interface Waiting extends Held {
  readonly granted: () => void
}

export class Locks {
  #held: Held[] = []
  #waiting: Waiting[] = []

  /** At once, if it can be had. Replaces what the same holder has of that range. */
  acquire(worker: number, request: LockRequest): boolean {
    const wanted = { ...request, worker }
    if (this.#conflict(wanted) !== undefined) return false
    this.#carve(wanted)
    this.#held.push(wanted)
    // A lock that was made a shared one may be what somebody waits for.
    this.#serve()
    return true
  }

  /** When it can be had: `granted` is called once, perhaps before this returns. */
  wait(worker: number, request: LockRequest, granted: () => void): void {
    if (this.acquire(worker, request)) granted()
    else this.#waiting.push({ ...request, worker, granted })
  }

  /** Whether somebody else's lock would be in the way. */
  blocked(worker: number, request: LockRequest): boolean {
    return this.#conflict({ ...request, worker }) !== undefined
  }

  release(worker: number, range: Omit<LockRequest, 'exclusive'>): void {
    this.#carve({ ...range, exclusive: true, worker })
    this.#serve()
  }

  /** All that a worker has and waits for: it is gone, or its request is over. */
  releaseAll(worker: number): void {
    if (this.#held.length === 0 && this.#waiting.length === 0) return
    this.#held = this.#held.filter((each) => each.worker !== worker)
    this.#waiting = this.#waiting.filter((each) => each.worker !== worker)
    this.#serve()
  }

  #conflict(wanted: Held): Held | undefined {
    return this.#held.find(
      (each) =>
        each.key === wanted.key &&
        !same(each, wanted) &&
        (each.exclusive || wanted.exclusive) &&
        each.start < wanted.end &&
        wanted.start < each.end,
    )
  }

  /** Takes a range out of what its holder has: what sticks out on either side stays. */
  #carve(range: Held): void {
    const kept: Held[] = []
    for (const each of this.#held) {
      if (each.key !== range.key || !same(each, range) || each.end <= range.start || range.end <= each.start) kept.push(each)
      else {
        if (each.start < range.start) kept.push({ ...each, end: range.start })
        if (each.end > range.end) kept.push({ ...each, start: range.end })
      }
    }
    this.#held = kept
  }

  /** In the order in which they came. */
  #serve(): void {
    for (const each of this.#waiting) {
      if (this.#conflict(each) !== undefined) continue
      this.#waiting = this.#waiting.filter((other) => other !== each)
      this.#carve(each)
      this.#held.push(each)
      each.granted()
    }
  }
}

function same(a: Held, b: Held): boolean {
  return a.worker === b.worker && a.holder === b.holder
}
