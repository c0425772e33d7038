// A pool of Python workers as an application (PEP 3333): requests in, answers out, and the workers kept healthy in between.
//
// A worker is given several requests at once, for waking it for each costs more than most requests. The price would be that they
// wait behind a slow one; so what a worker has not started when it has been silent for two milliseconds is taken back and given to
// others. A request is sent only when its whole body is here: slow uploads hold no worker.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError, backend, spool } from '../core/index.ts'
import type { Backend, GatewayRequest, GatewayResponse, Log, Spooled } from '../core/index.ts'
import { WELL, openGuard, restart } from '../process/index.ts'
import type { Guard, RestartMemory } from '../process/index.ts'
import { Call } from './call.ts'
import { findPython, locate } from './find.ts'
import type { Line } from './line.ts'
import { Queue } from './queue.ts'
import { ShapeTable } from './shapes.ts'
import { Worker } from './worker.ts'

export interface WsgiPoolOptions {
  /**
   * The application: `module:callable`, `module:factory()`, a module that has `application`, `app`, `create_app` or `make_app`, or the
   * path of a file that does. Django's manage.py is one.
   */
  readonly app: string
  /** For the log and for messages. Default: `app`. */
  readonly name?: string
  /** The application's folder: working folder of the workers, first on sys.path. Default: that of the file, else ours. */
  readonly folder?: string
  /** Default: that of a `venv` or `.venv` in the folder, else `python3` on PATH. */
  readonly python?: string
  /** Processes. Default 2. */
  readonly workers?: number
  /** Of each process: for applications that wait for others, at a price for those that compute. Default 1. */
  readonly threads?: number
  /** Requests that may be with one worker, the one that runs included. With several threads it is 1. Default 8. */
  readonly depth?: number
  /** Added to the workers' environment, which has PATH, HOME, TZ, TMPDIR and the language of ours and nothing else. */
  readonly env?: Readonly<Record<string, string>>
  /** SCHED_BATCH keeps a worker from throwing the server off its core in the middle of its work. Default `batch`, where `chrt` is. */
  readonly scheduling?: 'batch' | 'normal'
  readonly limits?: Partial<WsgiLimits>
  readonly log?: Log
  /** Kills the workers should this process vanish. Default: one of its own. */
  readonly guard?: Guard
}

export interface WsgiLimits {
  /** Requests that may wait for a worker. Default 512. */
  readonly queue: number
  /** Milliseconds a request may wait. Default 30,000. */
  readonly queueTimeout: number
  /** Milliseconds an application may say nothing: before its answer, and between two blocks. Then 504, and the worker is killed. Default 60,000. */
  readonly silence: number
  /** Bytes of a request body. Default 1 GiB. */
  readonly body: number
  /** Bytes of a request body kept in memory; beyond it goes to a file. Default 2 MiB. */
  readonly bodyMemory: number
  /** Milliseconds until a worker must have loaded the application. Default 30,000. */
  readonly start: number
}

/** What a pool is doing. */
export interface WsgiCounts {
  /** Processes that are ready. */
  readonly workers: number
  /** Requests that run, one a thread at most. */
  readonly running: number
  /** Requests that are with a worker and wait behind another. */
  readonly prefetched: number
  readonly waiting: number
  /** Requests that were taken back from a worker that was busy with another, since the start. */
  readonly returned: number
}

export interface WsgiPool extends Backend {
  counts(): WsgiCounts
}

const LIMITS: WsgiLimits = {
  queue: 512,
  queueTimeout: 30_000,
  silence: 60_000,
  body: 1024 ** 3,
  bodyMemory: 2 * 1024 ** 2,
  start: 30_000,
}

/** Milliseconds between two looks at workers that have several requests, and the silence after which one is asked for the rest. */
const WATCH = 1
const PATIENCE = 2
/** Milliseconds after which a request is worth a look whether its client is still there. */
const LOOK = 100

const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** A Python application. Rejects in `ready()` with the last line of the traceback and its place when it cannot be loaded. */
export function wsgiPool(options: WsgiPoolOptions): WsgiPool {
  const pool = new Pool(options)
  const made = backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
  })
  return Object.assign(made, { counts: () => pool.counts() })
}

class Pool {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #options: WsgiPoolOptions
  readonly #limits: WsgiLimits
  readonly #log: Log
  readonly #guard: Guard
  readonly #sockets: string
  readonly #place: { readonly application: string; readonly folder: string }
  readonly #shapes = new ShapeTable()
  readonly #queue = new Queue()
  readonly #workers = new Set<Worker>()
  /** Of the workers that are ready. */
  #lines: Line[] = []
  #watch: NodeJS.Timeout | undefined
  #sweep: NodeJS.Timeout | undefined
  /** Why no worker comes up, while there is none. */
  #unfit: GatewayError | undefined
  #returned = 0
  #closing: Promise<void> | undefined
  #drained: (() => void) | undefined

  constructor(options: WsgiPoolOptions) {
    this.#options = options
    this.#name = options.name ?? options.app
    this.#limits = { ...LIMITS, ...options.limits }
    this.#log = options.log ?? silent
    this.#place = locate(options.app, options.folder)
    this.#guard = options.guard ?? openGuard()
    this.#sockets = mkdtempSync(join(tmpdir(), 'viaduct-wsgi-'))
    this.ready = this.#start()
    // Whoever awaits `ready` hears of it; a pool nobody waits for reports through its log and its answers.
    this.ready.catch(() => {})
  }

  // ---- requests

  handle(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    if (this.#closing !== undefined) return Promise.reject(closed(this.#name))
    if (request.contentLength === 0) return this.#run(request, undefined)
    return this.#upload(request)
  }

  async #upload(request: GatewayRequest): Promise<GatewayResponse> {
    const body = await spool(request.body, {
      memory: this.#limits.bodyMemory,
      limit: this.#limits.body,
      expected: request.contentLength,
    })
    return this.#run(request, body)
  }

  #run(request: GatewayRequest, body: Spooled | undefined): Promise<GatewayResponse> {
    return new Promise((resolve, reject) => this.#dispatch(new Call(request, body, performance.now(), resolve, reject)))
  }

  #dispatch(call: Call): void {
    this.#sweep ??= setTimeout(this.#swept, Math.min(LOOK, this.#limits.queueTimeout))
    const line = this.#queue.size === 0 ? this.#lineFor(call) : undefined
    if (line !== undefined) this.#send(line, call)
    else if (this.#closing !== undefined) this.#refuse(call, closed(this.#name))
    else if (this.#unfit !== undefined && this.#lines.length === 0) this.#refuse(call, this.#unfit)
    else if (this.#queue.size >= this.#limits.queue) this.#refuse(call, this.#refusal('QUEUE_FULL'))
    else this.#queue.add(call)
  }

  #send(line: Line, call: Call): void {
    line.send(call)
    if (line.calls.length > 1) this.#watch ??= setTimeout(this.#watched, WATCH)
  }

  /** The one with the fewest requests; one that has none for a request that must be alone. */
  #lineFor(call: Call): Line | undefined {
    let best: Line | undefined
    let least = Infinity
    for (const line of this.#lines) {
      const { load } = line
      if (load < least) {
        if (load === 0) return line
        least = load
        best = line
      }
    }
    return call.alone ? undefined : best
  }

  #pump(): void {
    for (let call = this.#queue.first; call !== undefined; call = this.#queue.first) {
      const line = this.#lineFor(call)
      if (line === undefined) return
      this.#queue.remove(call)
      this.#send(line, call)
    }
    this.#settled()
  }

  #refuse(call: Call, error: GatewayError): void {
    call.fail(error)
    call.over()
  }

  #refusal(code: 'QUEUE_FULL' | 'QUEUE_TIMEOUT'): GatewayError {
    const { queue, queueTimeout } = this.#limits
    const { running, prefetched, waiting, workers } = this.counts()
    const fact =
      code === 'QUEUE_FULL' ? `has ${waiting} requests waiting of at most ${queue}` : `kept a request waiting for ${queueTimeout} ms`
    return new GatewayError(code, {
      status: 503,
      message: `wsgi: pool "${this.#name}" ${fact}, with ${running + prefetched} requests at its ${workers} workers; give it more workers or a longer queue, or make its requests cheaper`,
      retryAfter: Math.min(30, Math.max(1, Math.ceil(queueTimeout / 1000))),
    })
  }

  // ---- the clock

  /** What is in the sockets by now is read before anybody is judged: this loop may have been busy itself. */
  readonly #watched = (): void => {
    this.#watch = undefined
    setImmediate(this.#judge)
  }

  readonly #judge = (): void => {
    const now = performance.now()
    let several = false
    for (const line of this.#lines) {
      if (line.calls.length < 2) continue
      several = true
      line.watch(now, PATIENCE)
    }
    if (several) this.#watch ??= setTimeout(this.#watched, WATCH)
  }

  /** One timer for all that is measured in tenths of a second. */
  readonly #swept = (): void => {
    this.#sweep = undefined
    // A timer may go off a fraction of a millisecond early.
    const now = performance.now() + 1
    for (const call of this.#queue.all()) {
      if (now - call.since >= this.#limits.queueTimeout) {
        this.#queue.remove(call)
        this.#refuse(call, this.#refusal('QUEUE_TIMEOUT'))
      } else if (now - call.since >= LOOK) call.look()
    }
    let busy = this.#queue.size > 0
    for (const worker of this.#workers) {
      for (const line of worker.lines) {
        if (line.calls.length === 0) continue
        busy = true
        for (const call of line.calls) if (now - call.since >= LOOK) call.look()
        if (now - line.heard >= this.#limits.silence && line.calls[0]?.stalled !== true) this.#hung(worker, line)
      }
    }
    if (busy) this.#sweep = setTimeout(this.#swept, Math.min(LOOK, this.#limits.queueTimeout))
    this.#settled()
  }

  #hung(worker: Worker, line: Line): void {
    const { method, target } = line.calls[0]!.request
    const error = new GatewayError('TIMEOUT', {
      status: 504,
      message: `wsgi: "${this.#name}": the application said nothing for ${this.#limits.silence} ms (pid ${worker.pid}, ${method} ${target})`,
    })
    this.#log.error(
      { app: this.#name, pid: worker.pid, method, target },
      `wsgi: worker ${worker.pid} said nothing for ${this.#limits.silence} ms and is killed; raise the silence limit or look at the application`,
    )
    this.#retire(worker)
    worker.kill(error)
    line.break(error)
  }

  // ---- workers

  async #start(): Promise<void> {
    const results = await Promise.allSettled(Array.from({ length: this.#size }, async () => this.#spawn(WELL).ready))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return
    void this.close(0)
    throw failed.reason
  }

  get #size(): number {
    return this.#options.workers ?? 2
  }

  #spawn(memory: RestartMemory): Worker {
    const threads = this.#options.threads ?? 1
    const worker: Worker = new Worker(
      {
        name: this.#name,
        python: this.#options.python ?? findPython(this.#place.folder),
        application: this.#place.application,
        folder: this.#place.folder,
        threads,
        multiprocess: this.#size > 1,
        // What is queued in a thread other than the first cannot be taken back: signals come to the first alone.
        depth: threads > 1 ? 1 : (this.#options.depth ?? 8),
        env: this.#options.env ?? {},
        scheduling: this.#options.scheduling ?? 'batch',
        sockets: this.#sockets,
        start: this.#limits.start,
        silence: this.#limits.silence,
        shapes: this.#shapes,
        guard: this.#guard,
        log: this.#log,
      },
      {
        freed: () => this.#pump(),
        returned: (_, calls) => this.#back(calls),
        lost: (from, ran, calls, error) => this.#lost(from, ran, calls, error),
      },
    )
    this.#workers.add(worker)
    worker.ready.then(
      () => this.#joined(worker),
      (error: GatewayError) => this.#failed(error),
    )
    void worker.exited.then(() => this.#exited(worker, memory))
    return worker
  }

  #joined(worker: Worker): void {
    if (worker.exit !== undefined || this.#closing !== undefined) return
    this.#unfit = undefined
    this.#lines = [...this.#lines, ...worker.lines]
    this.#log.info({ app: this.#name, pid: worker.pid }, `wsgi: worker ${worker.pid} serves ${worker.loaded} with Python ${worker.version}`)
    this.#pump()
  }

  #failed(error: GatewayError): void {
    if (this.#closing !== undefined) return
    this.#log.error({ app: this.#name }, error.message)
    if (this.#lines.length > 0) return
    // Nobody is there to serve those that wait, and the next try may fail like this one.
    this.#unfit = error
    for (const call of this.#queue.all()) {
      this.#queue.remove(call)
      this.#refuse(call, error)
    }
  }

  #retire(worker: Worker): void {
    this.#lines = this.#lines.filter((line) => !worker.lines.includes(line))
  }

  #back(calls: Call[]): void {
    this.#returned += calls.length
    this.#requeue(calls)
  }

  /** Nobody has begun them. */
  #requeue(calls: readonly Call[]): void {
    const wanted: Call[] = []
    for (const call of calls) {
      if (call.settled) call.over()
      else wanted.push(call)
    }
    this.#queue.giveBack(wanted)
    this.#pump()
  }

  #lost(worker: Worker, ran: Call | undefined, calls: readonly Call[], error: unknown): void {
    this.#retire(worker)
    if (ran !== undefined) {
      const { method, target } = ran.request
      ran.fail(
        error instanceof GatewayError
          ? error
          : new GatewayError('UPSTREAM_TRUNCATED', {
              status: 502,
              message: `wsgi: "${this.#name}": worker ${worker.pid} died during ${method} ${target}`,
              cause: error,
            }),
      )
      ran.over()
      if (worker.killed === undefined) {
        this.#log.error(
          { app: this.#name, pid: worker.pid, method, target },
          `wsgi: worker ${worker.pid} died during a request; another one is started`,
        )
      }
    }
    this.#requeue(calls)
  }

  #exited(worker: Worker, memory: RestartMemory): void {
    this.#workers.delete(worker)
    this.#retire(worker)
    if (this.#closing !== undefined) return
    const { exit } = worker
    const { delay, memory: next } = restart(memory, performance.now())
    this.#log.warn(
      { app: this.#name, pid: worker.pid },
      `wsgi: worker ${worker.pid} ended with ${exit?.signal ?? `status ${exit?.code}`}; starting another one in ${delay} ms`,
    )
    setTimeout(() => this.#again(next), delay).unref()
  }

  #again(memory: RestartMemory): void {
    if (this.#closing !== undefined) return
    try {
      this.#spawn(memory)
    } catch (error) {
      this.#log.error({ app: this.#name }, error instanceof Error ? error.message : String(error))
      const { delay, memory: next } = restart(memory, performance.now())
      setTimeout(() => this.#again(next), Math.max(delay, 1000)).unref()
    }
  }

  // ---- the end

  counts(): WsgiCounts {
    let running = 0
    let inAll = 0
    for (const worker of this.#workers) {
      for (const line of worker.lines) {
        inAll += line.calls.length
        if (line.calls.length > 0) running++
      }
    }
    const workers = new Set([...this.#workers].filter((worker) => worker.lines.some((line) => this.#lines.includes(line)))).size
    return { workers, running, prefetched: inAll - running, waiting: this.#queue.size, returned: this.#returned }
  }

  #settled(): void {
    if (this.#drained === undefined) return
    const { running, waiting } = this.counts()
    if (running === 0 && waiting === 0) this.#drained()
  }

  close(grace: number): Promise<void> {
    return (this.#closing ??= this.#close(grace))
  }

  async #close(grace: number): Promise<void> {
    // One turn later, for `closing` must be set when the last request ends.
    await Promise.resolve()
    if (grace > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, grace)
        this.#drained = () => {
          clearTimeout(timer)
          resolve()
        }
        this.#settled()
      })
    }
    for (const call of this.#queue.all()) {
      this.#queue.remove(call)
      this.#refuse(call, closed(this.#name))
    }
    clearTimeout(this.#watch)
    clearTimeout(this.#sweep)
    const workers = [...this.#workers]
    this.#lines = []
    await Promise.all(workers.map((worker) => worker.stop(worker.lines.some((line) => line.calls.length > 0) ? 0 : 2000)))
    rmSync(this.#sockets, { recursive: true, force: true })
    if (this.#options.guard === undefined) this.#guard.close()
  }
}

function closed(name: string): GatewayError {
  return new GatewayError('CLOSED', { status: 503, message: `wsgi: "${name}" is closed`, retryAfter: 1 })
}
