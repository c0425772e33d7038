// One Python, from the manager's side: connected to, asked, and ended. What it is, a process or something else, is its host's business.

import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { describeExit, lifespan } from '../process/index.ts'
import type { Exit, Repeats, Scoreboard, Seat, Voice } from '../process/index.ts'
import type { Call } from './call.ts'
import type { OpenHost, WorkerHost } from './host.ts'
import { Line } from './line.ts'
import type { LineOwner } from './line.ts'
import type { ShapeTable } from './shapes.ts'

export interface WorkerOptions {
  /** The pool's. */
  readonly name: string
  /** `module:callable`, or the absolute path of a file. */
  readonly application: string
  /** The application's folder: its working folder, and first on sys.path. */
  readonly folder: string
  readonly threads: number
  readonly multiprocess: boolean
  readonly depth: number
  /** 0: any number. */
  readonly maxRequests: number
  readonly env: Readonly<Record<string, string>>
  /** Milliseconds until it must be ready. */
  readonly start: number
  /** Milliseconds that a thread may go on when another of its process has ended. */
  readonly silence: number
  readonly shapes: ShapeTable
  readonly open: OpenHost
  readonly board: Scoreboard
  /** What others of the pool say while they start. */
  readonly repeats: Repeats
  readonly log: Log
}

/** What a worker tells its pool. */
export interface WorkerOwner {
  freed(line: Line): void
  returned(line: Line, calls: Call[]): void
  lost(worker: Worker, ran: Call | undefined, calls: Call[], error: unknown): void
  /** It has done its requests. Told once. */
  worn(worker: Worker): void
}

/** Milliseconds for the traceback of a process that is about to be killed. */
const LAST_WORDS = 250

export class Worker implements LineOwner {
  readonly pid: number
  readonly lines: Line[] = []
  /** Resolves when every thread can serve; rejects with the reason why it never will. */
  readonly ready: Promise<void>
  readonly exited: Promise<Exit>
  exit: Exit | undefined
  /** Every thread can serve. */
  isReady = false
  /** It was let go, and ends when what it has is done. */
  isRetired = false
  /** Requests that are over. */
  requests = 0
  /** What it loaded, and its Python. */
  loaded = ''
  version = ''
  /** Set when it is being killed: why. */
  killed: GatewayError | undefined
  /** Its end has been counted. */
  counted = false
  readonly shapes: ShapeTable
  readonly depth: number
  readonly #options: WorkerOptions
  readonly #owner: WorkerOwner
  readonly #host: WorkerHost
  readonly #lifespan: number
  /** One a thread. */
  readonly #seats: readonly Seat[]
  #readyLines = 0
  #leaving = false
  #patience = 0
  #resolve!: () => void
  #reject!: (error: GatewayError) => void
  #settled = false
  #timer: NodeJS.Timeout | undefined
  #reason: string | undefined
  #lastWords: string[] = []
  readonly #voice: Voice

  /** Throws when the program cannot be started. */
  constructor(options: WorkerOptions, owner: WorkerOwner) {
    this.#options = options
    this.#owner = owner
    this.shapes = options.shapes
    this.depth = options.depth
    this.#lifespan = lifespan(options.maxRequests)
    const { threads, board } = options
    this.#seats = Array.from({ length: threads }, (_, i) => board.seat(this, threads === 1 ? undefined : i + 1))
    this.#host = options.open(options, {
      listening: (wires) => {
        for (const [i, wire] of wires.entries()) this.lines.push(new Line(wire, this, this.#seats[i]!))
      },
      said: (line) => this.#said(line),
      silent: () => this.#voice.down(),
      leaving: () => this.#leave(),
    })
    this.#voice = options.repeats.voice((line) => options.log.warn({ app: options.name, pid: this.pid }, line))
    this.pid = this.#host.pid
    this.ready = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.ready.catch(() => {})
    this.#timer = setTimeout(() => this.#late(), options.start)
    this.exited = this.#host.exited.then((exit) => this.#exited(exit))
  }

  // ---- coming up

  #settle(error: GatewayError | undefined): void {
    if (this.#settled) return
    this.#settled = true
    clearTimeout(this.#timer)
    if (error !== undefined) {
      this.#reject(error)
      return
    }
    this.isReady = true
    this.#voice.up()
    for (const seat of this.#seats) seat.ready = true
    this.#resolve()
  }

  #late(): void {
    this.kill(
      new GatewayError('TIMEOUT', {
        status: 503,
        retryAfter: 1,
        message: `wsgi: "${this.#options.name}" does not start: ${this.#options.application} was not loaded within ${this.#options.start} ms; raise the start limit or look at what it does while it is imported`,
      }),
    )
  }

  #said(line: string): void {
    this.#lastWords = [...this.#lastWords.slice(-4), line]
    this.#voice.said(line)
  }

  // ---- what its lines say

  lineReady(version: string, loaded: string): void {
    this.version = version
    this.loaded = loaded
    if (++this.#readyLines === this.#options.threads) this.#settle(undefined)
  }

  unfit(reason: string): void {
    this.#reason = reason
  }

  /** It has said that it cannot load the application. */
  get isUnfit(): boolean {
    return this.#reason !== undefined
  }

  freed(line: Line): void {
    if (this.#leaving) this.#finish()
    this.#owner.freed(line)
    if (++this.requests === this.#lifespan) this.#owner.worn(this)
  }

  returned(line: Line, calls: Call[]): void {
    if (this.#leaving) this.#finish()
    this.#owner.returned(line, calls)
  }

  ask(): void {
    this.#host.ask()
  }

  lost(_: Line, ran: Call | undefined, calls: Call[], error: unknown): void {
    this.#owner.lost(this, ran, calls, error)
    if (this.exit !== undefined || this.killed !== undefined) return
    if (error !== undefined) this.#killGroup()
    else this.#leave()
  }

  /** A thread that has ended is not begun anew: the process is, when the others have done what they have. */
  #leave(): void {
    if (this.#leaving) return
    this.#leaving = true
    this.#finish()
    setTimeout(() => this.#killGroup(), this.#options.silence).unref()
  }

  /** The threads that have nothing more to do. */
  #finish(): void {
    for (const line of this.lines) if (line.calls.length === 0 && !line.closed) line.finish()
    if (this.isRetired && this.lines.every((line) => line.closed)) void this.stop(this.#patience)
  }

  /** Lets it go: it finishes what it has, however long that takes, and has `patience` ms from then on to end by itself. */
  retire(patience: number): void {
    this.isRetired = this.#leaving = true
    this.#patience = patience
    this.#finish()
  }

  get isBusy(): boolean {
    return this.lines.some((line) => line.calls.length > 0)
  }

  /** By `performance.now()`: when it last said something. Of an idle one, since when it is. */
  get heard(): number {
    return Math.max(...this.lines.map((line) => line.heard))
  }

  // ---- the end

  /** Kills it for what it did, or did not do: first a traceback of all its threads for the log, then SIGKILL for the group. */
  kill(why: GatewayError): void {
    if (this.killed !== undefined || this.exit !== undefined) return
    this.killed = why
    this.#host.trace()
    setTimeout(() => this.#killGroup(), LAST_WORDS)
  }

  /** Lets it end by itself: each thread does when its connection closes. What is left after `patience` ms is killed. */
  async stop(patience: number): Promise<void> {
    for (const line of this.lines) line.finish()
    if (this.lines.length === 0) this.#killGroup()
    const timer = setTimeout(() => this.#killGroup(), patience)
    await this.exited
    clearTimeout(timer)
  }

  #killGroup(): void {
    if (this.exit === undefined) this.#host.kill()
  }

  #exited(exit: Exit): Exit {
    this.exit = exit
    for (const line of this.lines) line.break(undefined)
    for (const seat of this.#seats) seat.leave()
    this.#settle(this.killed ?? this.#unready(exit))
    return exit
  }

  #unready(exit: Exit): GatewayError {
    const { name, application } = this.#options
    const said = this.#lastWords.length > 0 ? `; it said: ${this.#lastWords.join(' | ')}` : ''
    const how = this.#reason ?? `the worker ended with ${describeExit(exit)} before it was ready${said}`
    return new GatewayError('PROGRAM_FAILED', {
      status: 500,
      message: `wsgi: "${name}" does not start: ${application} cannot be loaded: ${how}`,
    })
  }
}
