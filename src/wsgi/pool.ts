// A pool of Python workers as an application (PEP 3333): requests in, answers out, and the workers kept healthy in between.
//
// A worker is given several requests at once, for waking it for each costs more than most requests. The price would be that they wait
// behind a slow one; so what a worker has not started when it has been silent for two milliseconds is taken back and given to others.
// A request is sent only when its whole body is here: slow uploads hold no worker.

import { GatewayError, backend, notStarted, spool, silent } from '../core/index.ts'
import type { Backend, GatewayRequest, GatewayResponse, Log, PoolStatus, Spooled } from '../core/index.ts'
import { Scoreboard } from '../process/index.ts'
import { Call } from './call.ts'
import { Crew } from './crew.ts'
import type { OpenHost } from './host.ts'
import type { Line } from './line.ts'
import { census, lineFor, prefetched } from './lines.ts'
import { LIMITS, closed, refusal } from './options.ts'
import type { WsgiCounts, WsgiLimits, WsgiPoolOptions } from './options.ts'
import { Queue } from './queue.ts'
import type { Worker } from './worker.ts'

/** A Python application in processes of its own. */
export interface WsgiPool extends Backend {
  /** What it is doing now. */
  counts(): WsgiCounts
}

/** Milliseconds between two looks at workers that have several requests, and the silence after which one is asked for the rest. */
const WATCH = 1
const PATIENCE = 2
/** Milliseconds after which a request is worth a look whether its client is still there. */
const LOOK = 100

/**
 * A Python application, in processes of its own unless `host` knows another place. Rejects in `ready()` with the last line of the
 * traceback and its place when it cannot be loaded.
 */
export function wsgiPool(options: WsgiPoolOptions, host?: OpenHost): WsgiPool {
  const pool = new Pool(options, host)
  const made = backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
    pools: () => [pool.status()],
  })
  return Object.assign(made, { counts: () => pool.counts() })
}

class Pool {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #limits: WsgiLimits
  readonly #log: Log
  readonly #crew: Crew
  readonly #board: Scoreboard
  readonly #queue = new Queue()
  /** Of the workers that are ready. */
  #lines: Line[] = []
  #watch: NodeJS.Timeout | undefined
  #sweep: NodeJS.Timeout | undefined
  /** Why no worker comes up, while there is none. */
  #unfit: GatewayError | undefined
  #returned = 0
  #refused = 0
  #maxWaiting = 0
  #closing: Promise<void> | undefined
  #drained: (() => void) | undefined

  constructor(options: WsgiPoolOptions, host: OpenHost | undefined) {
    this.#name = options.name ?? options.app
    this.#limits = { ...LIMITS, ...options.limits }
    this.#log = options.log ?? silent
    this.#board = new Scoreboard({
      name: this.#name,
      kind: 'wsgi',
      interpreter: { mode: host === undefined ? 'native' : 'embedded', name: 'python' },
      type: host === undefined ? 'process' : 'thread',
      slow: this.#limits.slow,
      log: this.#log,
    })
    this.#crew = new Crew(
      options,
      this.#name,
      this.#limits,
      this.#board,
      {
        joined: (worker) => this.#joined(worker),
        failed: (error) => this.#failed(error),
        left: (worker) => this.#retire(worker),
        freed: () => this.#pump(),
        returned: (_, calls) => this.#back(calls),
        lost: (worker, ran, calls, error) => this.#lost(worker, ran, calls, error),
        waiting: () => this.#queue.size,
      },
      host,
    )
    this.ready = this.#crew.start().catch((error: unknown) => {
      void this.close(0)
      throw error
    })
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
    const line = this.#queue.size === 0 ? lineFor(this.#lines, call) : undefined
    if (line !== undefined) this.#send(line, call)
    else if (this.#closing !== undefined) this.#refuse(call, closed(this.#name))
    else if (this.#unfit !== undefined && this.#crew.trying) this.#refuse(call, notStarted(this.#unfit, this.#crew.pause))
    else if (this.#queue.size >= this.#limits.queue) this.#refuse(call, this.#refusal('QUEUE_FULL'))
    else {
      this.#unfit = undefined
      this.#queue.add(call)
      this.#noteWaiting()
      this.#crew.wanted()
    }
  }

  #send(line: Line, call: Call): void {
    line.send(call)
    if (line.calls.length === 1) return
    this.#watch ??= setTimeout(this.#watched, WATCH)
    this.#noteWaiting()
  }

  #noteWaiting(): void {
    this.#maxWaiting = Math.max(this.#maxWaiting, this.#queue.size + prefetched(this.#lines))
  }

  #pump(): void {
    for (let call = this.#queue.first; call !== undefined; call = this.#queue.first) {
      const line = lineFor(this.#lines, call)
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
    this.#refused++
    return refusal(code, this.#name, this.#limits, this.counts())
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
    // Also of those that are let go: what they have behind a slow one is for others.
    for (const { lines } of this.#crew.workers) {
      for (const line of lines) {
        several ||= line.calls.length > 1
        line.watch(now, PATIENCE)
      }
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
    for (const worker of this.#crew.workers) {
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
    this.#board.timeouts++
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

  #joined(worker: Worker): void {
    this.#unfit = undefined
    this.#lines = [...this.#lines, ...worker.lines]
    this.#pump()
  }

  #failed(error: GatewayError): void {
    if (this.#lines.length > 0) return
    // Nobody is there to serve those that wait, and the next try may fail like this one.
    this.#unfit = error
    for (const call of this.#queue.all()) {
      this.#queue.remove(call)
      this.#refuse(call, notStarted(error, this.#crew.pause))
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
    if (this.#queue.size > 0) this.#crew.wanted()
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
        if (!worker.counted) this.#board.crashes++
        worker.counted = true
        this.#log.error(
          { app: this.#name, pid: worker.pid, method, target },
          `wsgi: worker ${worker.pid} died during a request; another one is started`,
        )
      }
    }
    this.#requeue(calls)
  }

  // ---- the end

  status(): PoolStatus {
    const queue = { waiting: this.#queue.size + prefetched(this.#lines), maxWaiting: this.#maxWaiting, limit: this.#limits.queue }
    return { ...this.#board.status({ ...queue, refused: this.#refused }), ...(this.#unfit !== undefined && { error: this.#unfit.message }) }
  }

  counts(): WsgiCounts {
    const { running, inAll } = census(this.#crew.workers)
    const workers = new Set([...this.#crew.workers].filter((worker) => worker.lines.some((line) => this.#lines.includes(line)))).size
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
    this.#lines = []
    await this.#crew.stop()
  }
}
