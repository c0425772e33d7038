// Who does what in a pool, and what became of its requests: counted while it runs, for its status and its slow log.
//
// From the pool's side: each worker has a seat, which is told of each request at its begin and its end. Both are on the hot path, so
// they are assignments and integers: the time is that of a clock which ticks ten times a second while somebody is busy, and the same
// tick finds the requests that run for too long.

import { fromByteString } from '../core/index.ts'
import type { Interpreter, LineCounts, Log, PoolStatus, RunningRequest, WorkerStatus } from '../core/index.ts'
import { visible } from './lines.ts'

/** Of which pool, and what is worth a line in the log. */
export interface ScoreboardOptions {
  readonly name: string
  readonly kind: string
  readonly interpreter: Interpreter
  /** What its workers are. Default `process`. */
  readonly type?: 'process' | 'thread'
  /** Milliseconds after which a request is worth a line in the log; 0: none is. Default 0. */
  readonly slow?: number | undefined
  readonly log: Log
}

/** What is told of a request. */
interface Requested {
  readonly method: string
  readonly target: string
}

/** Milliseconds between two ticks, and the fewest for a short `slow`. */
const TICK = 100
const SHORTEST = 10
/** Of a target, for the status and the log. */
const LENGTH = 1000

/** Who does what in a pool, and what became of its requests. Each worker has a seat, which is told of each request at its begin and its end. */
export class Scoreboard {
  /** Counted by the pool. */
  timeouts = 0
  crashes = 0
  restarts = 0
  /** Counted by the seats. */
  requests = 0
  busy = 0
  maxBusy = 0
  slow = 0
  /** Where it becomes known later. */
  version: string | undefined
  readonly #options: ScoreboardOptions
  readonly #seats = new Set<Seat>()
  readonly #started = Date.now()
  readonly #limit: number
  readonly #tick: number
  #timer: NodeJS.Timeout | undefined
  #now = 0
  /** Somebody was busy since the last tick. */
  #used = false

  constructor(options: ScoreboardOptions) {
    this.#options = options
    this.version = options.interpreter.version
    this.#limit = options.slow ?? 0
    this.#tick = this.#limit === 0 ? TICK : Math.min(TICK, Math.max(SHORTEST, Math.floor(this.#limit / 4)))
  }

  /** A place for one request at a time. `worker.pid` is looked at when it is asked for. `thread`: which of several of one process, from 1. */
  seat(worker: { readonly pid: number | undefined }, thread?: number): Seat {
    const seat = new Seat(this, worker, thread)
    this.#seats.add(seat)
    return seat
  }

  /** By `performance.now()`, and a tick old at most while somebody is busy. */
  clock(): number {
    this.#used = true
    if (this.#timer === undefined) {
      this.#now = performance.now()
      this.#arm()
    }
    return this.#now
  }

  remove(seat: Seat): void {
    this.#seats.delete(seat)
  }

  /** `listed`: which seats are workers that there are. Default: all. */
  status(queue: LineCounts, listed: (seat: Seat) => boolean = () => true): PoolStatus {
    const { name, kind, interpreter } = this.#options
    const now = performance.now()
    const processes = [...this.#seats].filter(listed).map((seat) => this.#worker(seat, now))
    let idle = 0
    let total = 0
    let busy = 0
    for (const seat of this.#seats) {
      total++
      if (seat.request !== undefined) busy++
      else if (seat.ready) idle++
    }
    const { waiting, maxWaiting, limit, refused } = queue
    return {
      name,
      kind,
      interpreter: { ...interpreter, ...(this.version !== undefined && { version: this.version }) },
      started: this.#started,
      workers: { total, idle, busy, maxBusy: this.maxBusy },
      queue: { waiting, maxWaiting, limit },
      requests: this.requests,
      failures: { timeouts: this.timeouts, crashes: this.crashes, refused },
      restarts: this.restarts,
      slow: this.slow,
      processes,
    }
  }

  #worker(seat: Seat, now: number): WorkerStatus {
    const { request, thread } = seat
    return {
      id: seat.worker.pid ?? 0,
      type: this.#options.type ?? 'process',
      ...(thread !== undefined && { thread }),
      state: request !== undefined ? 'busy' : seat.ready ? 'idle' : 'starting',
      started: seat.started,
      requests: seat.requests,
      ...(request !== undefined && { current: running(request, now - seat.since) }),
    }
  }

  #arm(): void {
    this.#timer = setTimeout(this.#ticked, this.#tick)
    this.#timer.unref()
  }

  readonly #ticked = (): void => {
    this.#timer = undefined
    this.#now = performance.now()
    if (this.#limit > 0 && this.busy > 0) this.#look()
    // Who asks next starts it again.
    if (!this.#used && this.busy === 0) return
    this.#used = false
    this.#arm()
  }

  #look(): void {
    // The clock was a tick old at most when they began: nobody is told of who was quick enough.
    const before = this.#now - this.#limit - this.#tick
    for (const seat of this.#seats) {
      const { request } = seat
      if (request === undefined || seat.told || seat.since > before) continue
      seat.told = true
      this.slow++
      this.#tell(seat, request)
    }
  }

  #tell({ worker, thread, since }: Seat, request: Requested): void {
    const { name, log, type = 'process', interpreter } = this.#options
    const { method, target, seconds } = running(request, this.#now - since)
    const elsewhere = interpreter.mode === 'remote'
    const who = elsewhere ? {} : type === 'process' ? { pid: worker.pid, ...(thread !== undefined && { thread }) } : { thread: worker.pid }
    const place = elsewhere ? `at ${interpreter.name}` : type === 'process' ? `pid ${worker.pid ?? 'unknown'}` : `thread ${worker.pid}`
    log.warn(
      { app: name, ...who, method, target, seconds, slow: true },
      `slow: "${name}" has been at ${method} ${target} for ${seconds.toFixed(1)} s (${place}), and goes on`,
    )
  }
}

/** One worker's place on the board. Written by its pool. */
export class Seat {
  worker: { readonly pid: number | undefined }
  readonly thread: number | undefined
  /** Unix time in milliseconds. */
  started: number = Date.now()
  /** It can take requests, or has taken one before. */
  ready = false
  /** Requests that are over. */
  requests = 0
  /** The one that runs. */
  request: Requested | undefined
  /** By `performance.now()`: since when. */
  since = 0
  /** It has been called slow. */
  told = false
  readonly #board: Scoreboard

  constructor(board: Scoreboard, worker: { readonly pid: number | undefined }, thread: number | undefined) {
    this.#board = board
    this.worker = worker
    this.thread = thread
  }

  /** It was given a request. `now`: by `performance.now()`, where somebody has asked already. */
  begin(request: Requested, now?: number): void {
    const board = this.#board
    const clock = board.clock()
    if (this.request === undefined && ++board.busy > board.maxBusy) board.maxBusy = board.busy
    this.request = request
    this.since = now ?? clock
    this.told = false
  }

  /** Its request is over, however. Without one nothing happens. */
  end(): void {
    if (this.request === undefined) return
    this.request = undefined
    this.requests++
    this.#board.requests++
    this.#board.busy--
  }

  /** It was taken back unbegun. */
  unbegin(): void {
    if (this.request === undefined) return
    this.request = undefined
    this.#board.busy--
  }

  /** The worker is gone. Idempotent. */
  leave(): void {
    this.end()
    this.#board.remove(this)
  }
}

function running({ method, target }: Requested, milliseconds: number): RunningRequest {
  return { method: fit(method), target: fit(target), seconds: Math.max(0, Math.round(milliseconds)) / 1000 }
}

function fit(bytes: string): string {
  return visible(fromByteString(bytes.length > LENGTH ? `${bytes.slice(0, LENGTH)}...` : bytes))
}
