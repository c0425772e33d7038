// The processes of a pool: how many there are is a policy's decision, and this carries it out. Each one that ends is replaced, one that has
// done its requests when another is there, and all are ended together.

import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError, describe, silent } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { Repeats, WELL, openGuard, policyOf, repeated, restart } from '../process/index.ts'
import type { Guard, Policy, PoolView, RestartMemory, Scoreboard } from '../process/index.ts'
import { findPython, locate } from './find.ts'
import { processHost } from './host.ts'
import type { OpenHost } from './host.ts'
import type { WsgiLimits, WsgiPoolOptions } from './options.ts'
import { ShapeTable } from './shapes.ts'
import { Worker } from './worker.ts'
import type { WorkerOptions, WorkerOwner } from './worker.ts'

/** What a crew tells its pool. */
export interface CrewOwner extends Omit<WorkerOwner, 'worn'> {
  /** It can serve. */
  joined(worker: Worker): void
  /** One could not be had. */
  failed(error: GatewayError): void
  /** It has ended, or is to get nothing more. */
  left(worker: Worker): void
  /** Requests that no worker can take. */
  waiting(): number
}

/** Milliseconds for an idle worker to end by itself. */
const PATIENCE = 2000
/** Milliseconds between two looks at how many workers there should be when nothing happens. */
const LOOK = 1000

export class Crew {
  /** All that run, ready or not. */
  readonly workers: Set<Worker> = new Set()
  readonly #owner: CrewOwner
  /** Of the workers. */
  readonly #listener: WorkerOwner
  readonly #policy: Policy<unknown>
  readonly #log: Log
  /** What the processes need, and where they are none, nothing. */
  readonly #processes: { readonly guard: Guard; readonly ownsGuard: boolean; readonly sockets: string } | undefined
  readonly #options: WorkerOptions
  /** For a number of workers that changes. */
  #looker: NodeJS.Timeout | undefined
  #memory: unknown
  /** There can be no more, and the policy knows: nothing to ask it about each request that waits. */
  #full = false
  /** Workers that ended and whose successors may not be started yet. */
  #resting = 0
  #restingUntil = 0
  /** What those that are to be started next remember of those before them. */
  readonly #memories: RestartMemory[] = []
  /** Those that have done their requests. They go one after the other: the first when all others are there, whom its successor is one of. */
  readonly #worn: Worker[] = []
  /** Why the last one could not load the application. */
  #told: string | undefined
  #stopping = false

  /** Throws CONFIG for an application that cannot be one, and for numbers that contradict each other. */
  constructor(options: WsgiPoolOptions, name: string, limits: WsgiLimits, board: Scoreboard, owner: CrewOwner, host: OpenHost | undefined) {
    const place = locate(options.app, options.folder)
    const threads = options.threads ?? 1
    this.#owner = owner
    this.#listener = { freed: owner.freed, returned: owner.returned, lost: owner.lost, worn: (worker) => this.#wear(worker) }
    this.#policy = policyOf(options.workers ?? 2, 'wsgi')
    this.#memory = this.#policy.memory
    this.#log = options.log ?? silent
    this.#processes =
      host === undefined
        ? {
            guard: options.guard ?? openGuard(),
            ownsGuard: options.guard === undefined,
            sockets: mkdtempSync(join(tmpdir(), 'viaduct-wsgi-')),
          }
        : undefined
    this.#processes?.guard.watchFolder(this.#processes.sockets)
    this.#options = {
      ...place,
      name,
      threads,
      multiprocess: this.#policy.max > 1,
      // What is queued in a thread other than the first cannot be taken back: signals come to the first alone.
      depth: threads > 1 ? 1 : (options.depth ?? 8),
      maxRequests: options.maxRequests ?? 0,
      env: options.env ?? {},
      start: limits.start,
      silence: limits.silence,
      shapes: new ShapeTable(),
      open:
        host ??
        processHost({
          python: options.python ?? findPython(place.folder),
          scheduling: options.scheduling ?? 'batch',
          ...this.#processes!,
        }),
      board,
      repeats: new Repeats((times) => this.#log.warn({ app: name }, repeated('wsgi', name, times))),
      log: this.#log,
    }
    if (typeof options.workers === 'object') this.#looker = setInterval(() => this.#decide(), LOOK).unref()
  }

  /** Resolves when those that there are at the start can serve; rejects with the first reason why one never will. */
  async start(): Promise<void> {
    const results = await Promise.allSettled(Array.from({ length: this.#ask() }, async () => this.#spawn().ready))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  /** A worker is coming up, or will without being asked for. */
  get trying(): boolean {
    return this.#resting > 0 || this.#starting() > 0
  }

  /** Milliseconds until the next one is started that waits for its turn; 0: now, or none does. */
  get pause(): number {
    return this.#resting === 0 ? 0 : Math.max(0, this.#restingUntil - performance.now())
  }

  /** A request waits: perhaps there should be more workers. */
  wanted(): void {
    if (this.#looker === undefined) return
    const full = this.workers.size >= this.#policy.max
    if (!full || !this.#full) this.#decide()
    this.#full = full
  }

  // ---- how many

  #decide(): void {
    if (this.#stopping) return
    for (let count = this.#ask(); count > 0; count--) this.#try()
  }

  /** Asks the policy, lets go whom it does not want, and returns how many it wants started. */
  #ask(): number {
    const view = this.#view()
    const { actions, memory } = this.#policy.decide(view, this.#memory, performance.now())
    this.#memory = memory
    let count = 0
    for (const action of actions) {
      if (action.type === 'spawn') count += action.count
      else if (action.type === 'retire') this.#retire(action.worker)
      else {
        this.#log.warn(
          { app: this.#options.name, workers: this.workers.size, waiting: this.#owner.waiting() },
          `wsgi: "${this.#options.name}" has reached its ${this.#policy.max} workers; raise workers.max or make its requests cheaper`,
        )
      }
    }
    return count
  }

  /**
   * Idle is who has no request on any thread, busy who has one on some. Those that wait are counted in workers: one takes as many as it
   * has threads. Whom another one is to replace is none of them, nor whom we have let go.
   */
  #view(): PoolView<Worker> {
    const idle: { worker: Worker; since: number }[] = []
    let busy = 0
    for (const worker of this.workers) {
      if (!worker.isReady || worker.isRetired || worker === this.#worn[0]) continue
      if (worker.isBusy || worker.killed !== undefined) busy++
      else idle.push({ worker, since: worker.heard })
    }
    idle.sort((a, b) => a.since - b.since)
    const waiting = Math.ceil(this.#owner.waiting() / this.#options.threads)
    return { idle, busy, starting: this.#starting() + this.#resting, waiting }
  }

  /** Those that can take requests. */
  #serving(): number {
    let serving = 0
    for (const worker of this.workers) if (worker.isReady && !worker.isRetired && worker.killed === undefined) serving++
    return serving
  }

  #starting(): number {
    let starting = 0
    for (const { isReady } of this.workers) if (!isReady) starting++
    return starting
  }

  // ---- up and down

  #try(): void {
    try {
      this.#spawn()
    } catch (error) {
      const { delay, memory } = restart(this.#memories.pop() ?? WELL, performance.now())
      this.#log.error({ app: this.#options.name }, `${describe(error)}; trying again in ${delay} ms`)
      this.#rest(delay, memory)
      this.#owner.failed(asGatewayError(error))
    }
  }

  #spawn(): Worker {
    const worker = new Worker(this.#options, this.#listener)
    const memory = this.#memories.pop() ?? WELL
    this.workers.add(worker)
    worker.ready.then(
      () => this.#joined(worker),
      (error: GatewayError) => this.#failed(error),
    )
    void worker.exited.then(() => this.#exited(worker, memory))
    return worker
  }

  #joined(worker: Worker): void {
    if (worker.exit !== undefined || this.#stopping) return
    this.#told = undefined
    this.#options.board.version = worker.version
    this.#log.info(
      { app: this.#options.name, pid: worker.pid },
      `wsgi: worker ${worker.pid} serves ${worker.loaded} with Python ${worker.version}`,
    )
    this.#owner.joined(worker)
    this.#relieve()
  }

  #failed(error: GatewayError): void {
    if (this.#stopping) return
    // Its siblings fail for the same reason.
    if (error.message !== this.#told) this.#log.error({ app: this.#options.name }, error.message)
    this.#told = error.message
    this.#owner.failed(error)
  }

  #exited(worker: Worker, memory: RestartMemory): void {
    this.workers.delete(worker)
    this.#owner.left(worker)
    if (this.#stopping) return
    if (worker.isRetired) {
      // It had a place that another one may now have.
      this.#decide()
      return
    }
    const { exit } = worker
    this.#options.board.restarts++
    // One that an embedded Python let go, for its memory had grown, ends by itself.
    if (!worker.counted && worker.killed === undefined && exit?.code !== 0) this.#options.board.crashes++
    const { delay, memory: next } = restart(memory, performance.now())
    const place = this.#worn.indexOf(worker)
    if (place !== -1) this.#worn.splice(place, 1)
    const how = `wsgi: worker ${worker.pid} ended with ${exit?.signal ?? `status ${exit?.code}`}`
    // The successor of the first of the worn is on its way.
    const then =
      place === 0 ? 'another one is being started' : delay === 0 ? 'another one is started' : `another one is started in ${delay} ms`
    // Why it cannot load the application has been told, and that it ends for it is no news.
    if (!worker.isUnfit || delay > 0) this.#log.warn({ app: this.#options.name, pid: worker.pid }, `${how}; ${then}`)
    if (place !== 0) this.#rest(delay, next)
    else if (this.#worn.length > 0) this.#try()
  }

  #rest(delay: number, memory: RestartMemory): void {
    this.#restingUntil = performance.now() + delay
    this.#resting++
    setTimeout(() => {
      if (this.#stopping) return
      this.#resting--
      this.#memories.push(memory)
      this.#decide()
      this.#relieve()
    }, delay).unref()
  }

  /** It has done its requests: it goes on until another one can take its place. */
  #wear(worker: Worker): void {
    if (this.#stopping || worker.isRetired || worker.killed !== undefined) return
    this.#worn.push(worker)
    if (this.#worn.length === 1) this.#try()
  }

  #relieve(): void {
    const [worker] = this.#worn
    if (worker === undefined || this.trying) return
    if (this.#serving() > 1) {
      this.#options.board.restarts++
      this.#retire(worker)
    }
    // Its successor's turn, or the next one's.
    if (this.#worn.length > 0) this.#try()
  }

  /** It gets nothing more, finishes what it has, and ends. */
  #retire(worker: Worker): void {
    const place = this.#worn.indexOf(worker)
    if (place !== -1) this.#worn.splice(place, 1)
    this.#owner.left(worker)
    this.#log.debug({ app: this.#options.name, pid: worker.pid, requests: worker.requests }, `wsgi: worker ${worker.pid} is let go`)
    worker.retire(PATIENCE)
  }

  /** Ends them all: at once where a request runs, for its time is over. */
  async stop(): Promise<void> {
    this.#stopping = true
    clearInterval(this.#looker)
    await Promise.all([...this.workers].map((worker) => worker.stop(worker.isBusy ? 0 : PATIENCE)))
    if (this.#processes === undefined) return
    await rm(this.#processes.sockets, { recursive: true, force: true })
    this.#processes.guard.forgetFolder(this.#processes.sockets)
    if (this.#processes.ownsGuard) this.#processes.guard.close()
  }
}

/** What launching throws is one; what else goes wrong on the way is nobody's bad request. */
function asGatewayError(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  return new GatewayError('PROGRAM_FAILED', { status: 503, message: `wsgi: ${describe(error)}`, cause: error })
}
