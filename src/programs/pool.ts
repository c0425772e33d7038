// A pool of processes of one FastCGI program as an application: C on libfcgi, Perl, Python, or TypeScript on serveFastCgi.
//
// A worker is taken only when the whole request is here (slow uploads hold none), has one request at a time, and is given back at its
// END_REQUEST. How many there are is a policy's decision; this shell carries it out. One that is silent too long is killed; one that
// dies costs its own request and nobody else's.

import { Connection } from '../fastcgi/index.ts'
import type { Call, CallEnd, Reply } from '../fastcgi/index.ts'
import { Dispatcher, Repeats, describeExit, lifespan, openGuard, policyOf, repeated } from '../process/index.ts'
import type { Exit, Guard, Policy, Scoreboard } from '../process/index.ts'
import { GatewayError, backend, describe, notStarted, spool, silent } from '../core/index.ts'
import type { Backend, ByteString, GatewayRequest, GatewayResponse, Log, PoolStatus, Spooled } from '../core/index.ts'
import { LIMITS, LOOK, launchOptions } from './options.ts'
import { Readiness } from './readiness.ts'
import type { ProgramLimits, ProgramPoolOptions } from './options.ts'
import { boardOf, headOf } from './seat.ts'
import type { Seat } from './seat.ts'
import { Trouble } from './trouble.ts'
import { Worker, census, isReplaced } from './worker.ts'

/**
 * A FastCGI program as an application, in processes of its own. `ready` rejects with the reason when it does not start. Requests reject
 * with UPSTREAM_* (502) when the program dies or answers nonsense, TIMEOUT (504) when it is silent, NOT_STARTED, QUEUE_FULL,
 * QUEUE_TIMEOUT and CLOSED (503), BODY_TOO_LARGE (413).
 */
export function programPool(options: ProgramPoolOptions): Backend {
  const pool = new Pool(options, policyOf(options.workers ?? 2, 'programs'))
  return backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
    pools: () => [pool.status()],
  })
}

class Pool {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #limits: ProgramLimits
  readonly #options: ProgramPoolOptions
  readonly #policy: Policy<unknown>
  readonly #log: Log
  readonly #guard: Guard
  readonly #dispatcher: Dispatcher<Seat>
  readonly #board: Scoreboard
  readonly #hold: { bytes: number; time: number }
  readonly #deadlines: { firstByte: number; between: number }
  readonly #workers = new Map<Worker, Seat | undefined>()
  readonly #looker: NodeJS.Timeout
  #memory: unknown
  /** There can be no more, and the policy knows: nothing to ask it about each request that waits. */
  #full = false
  readonly #trouble = new Trouble()
  readonly #repeats = new Repeats((times) => this.#log.warn({ app: this.#name }, repeated('programs', this.#name, times)))
  #again: NodeJS.Timeout | undefined
  #closing = false
  readonly #readiness = new Readiness()

  constructor(options: ProgramPoolOptions, policy: Policy<unknown>) {
    this.#options = options
    this.#policy = policy
    this.#memory = policy.memory
    this.#name = options.name ?? options.command
    this.#limits = { ...LIMITS, ...options.limits }
    this.#log = options.log ?? silent
    this.#guard = options.guard ?? openGuard()
    this.#hold = { bytes: this.#limits.holdBytes, time: this.#limits.holdTime }
    this.#deadlines = { firstByte: this.#limits.silence, between: this.#limits.silence }
    const { queue: maxQueue, queueTimeout, slow } = this.#limits
    this.#dispatcher = new Dispatcher({ name: this.#name, maxQueue, queueTimeout })
    this.#board = boardOf(this.#name, options.command, slow, this.#log)
    this.ready = this.#readiness.promise
    this.#looker = setInterval(() => this.#decide(), LOOK).unref()
    this.#decide()
    this.#readiness.expect(this.#workers.size)
  }

  // ---- requests

  handle(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    if (request.contentLength === 0) return this.#run(request, undefined, true)
    return this.#upload(request)
  }

  async #upload(request: GatewayRequest): Promise<GatewayResponse> {
    const { bodyMemory: memory, body: limit } = this.#limits
    const body = await spool(request.body, { memory, limit, expected: request.contentLength })
    try {
      return await this.#run(request, body, true)
    } catch (error) {
      // A no-op when the request was sent: its end has closed it.
      body.close()
      throw error
    }
  }

  #run(request: GatewayRequest, body: Spooled | undefined, first: boolean): Promise<GatewayResponse> {
    const refusal = this.#trouble.unfit === undefined ? undefined : this.#trouble.refusal(this.#workers.keys())
    if (refusal !== undefined) return Promise.reject(refusal)
    return new Promise((resolve, reject) => {
      const head = headOf(request, body)
      const served = this.#dispatcher.claim(request, {
        take: (seat) => this.#send(seat, request, head, body, first, { resolve, reject }),
        refuse: reject,
      })
      if (served) return
      // It waits: perhaps there should be more workers.
      const full = this.#workers.size >= this.#policy.max
      if (!full || !this.#full) this.#decide()
      this.#full = full
    })
  }

  #send(seat: Seat, request: GatewayRequest, head: ByteString, body: Spooled | undefined, first: boolean, reply: Reply): void {
    const { worker } = seat
    worker.on('request')
    worker.requests++
    worker.seat.begin(request)
    worker.task = { method: request.method, target: request.target }
    let again = false
    const call: Call = {
      request,
      head,
      body: body === undefined ? null : (body.chunks ?? body.stream()),
      hold: this.#hold,
      deadlines: this.#deadlines,
      stderr: (line) => this.#log.warn({ app: this.#name, pid: worker.pid, ...worker.task }, line),
      onEnd: (how) => {
        // An idle worker may die unnoticed. Only when it saw nothing of the request another one gets it: it may have died of it.
        again = first && !how.taken
        if (!again) body?.close(how.reusable)
        else worker.seat.unbegin()
        this.#ended(seat, how)
      },
      again: () => (again ? this.#run(request, body, false) : undefined),
    }
    seat.connection.start(call, reply)
  }

  #ended(seat: Seat, how: CallEnd): void {
    const { worker } = seat
    const subject = { app: this.#name, pid: worker.pid, ...worker.task }
    // Whatever becomes of the process now, it is not this request's doing.
    if (how.error === undefined || !how.taken) worker.task = undefined
    const { appStatus } = how
    if (appStatus)
      this.#log.warn({ ...subject, appStatus }, `programs: "${this.#name}": a request ended with application status ${appStatus}`)
    if (!how.reusable) this.#dispatcher.remove(seat)
    if (how.reusable) {
      worker.on('finished')
      worker.seat.end()
      worker.idleSince = performance.now()
      if (this.#closing || worker.requests >= worker.lifespan) this.#retire(seat)
      else this.#dispatcher.release(seat)
    } else if (how.error instanceof GatewayError && how.error.code === 'TIMEOUT') {
      this.#board.timeouts++
      this.#log.error(
        subject,
        `programs: process ${worker.pid} of "${this.#name}" said nothing for ${this.#limits.silence} ms and is killed; raise the silence limit or look at the program`,
      )
      worker.on('timeout')
    }
  }

  // ---- workers

  /** Asks the policy what to do, and does it. */
  #decide(): void {
    if (this.#closing) return
    const now = performance.now()
    const idle = this.#dispatcher.idleWorkers.map((seat) => ({ worker: seat, since: seat.worker.idleSince }))
    const view = { idle, ...census(this.#workers.keys(), idle.length), waiting: this.#dispatcher.counts().waiting }
    const { actions, memory } = this.#policy.decide(view, this.#memory, now)
    if (now < this.#trouble.notBefore && actions.some((action) => action.type === 'spawn')) {
      this.#again ??= setTimeout(() => {
        this.#again = undefined
        this.#decide()
      }, this.#trouble.notBefore - now).unref()
      return
    }
    this.#memory = memory
    for (const action of actions) {
      if (action.type === 'spawn') for (let i = 0; i < action.count; i++) this.#spawn()
      else if (action.type === 'retire') this.#retire(action.worker)
      else {
        this.#log.warn(
          { app: this.#name, workers: this.#workers.size, waiting: view.waiting },
          `programs: "${this.#name}" has reached its ${this.#workers.size} processes; raise workers.max or make its requests cheaper`,
        )
      }
    }
  }

  #spawn(): void {
    let worker: Worker
    try {
      worker = new Worker({
        name: this.#name,
        command: this.#options.command,
        args: this.#options.args ?? [],
        launch: launchOptions(this.#options),
        guard: this.#guard,
        log: this.#log,
        lifespan: lifespan(this.#options.maxRequests),
        board: this.#board,
        repeats: this.#repeats,
      })
    } catch (error) {
      this.#startFailed(error)
      return
    }
    this.#workers.set(worker, undefined)
    void worker.over.then((exit) => this.#exited(worker, exit))
    this.#join(worker, this.#limits.start).catch((error: unknown) => {
      if (this.#closing || worker.exit !== undefined) return
      this.#startFailed(error)
      worker.on('timeout')
    })
  }

  /** A connection to the worker, by which it takes its next request. */
  async #join(worker: Worker, timeout: number): Promise<void> {
    const socket = await worker.connect(timeout)
    if (this.#closing || worker.exit !== undefined) {
      socket.destroy()
      return
    }
    const connection = new Connection(socket, { peer: `program "${this.#name}" pid ${worker.pid}`, log: this.#log })
    const seat: Seat = { worker, connection }
    connection.onClose = () => this.#left(seat)
    const began = worker.state === 'starting'
    worker.on(began ? 'ready' : 'finished')
    worker.task = undefined
    worker.seat.end()
    worker.seat.ready = true
    worker.idleSince = performance.now()
    this.#workers.set(worker, seat)
    this.#trouble.unfit = undefined
    this.#dispatcher.add(seat)
    worker.voice.up()
    if (began) this.#readiness.arrived()
  }

  /** A connection is gone. Its process may be, too; if not, it closed it or its client left, and it is reached by another once it has time. */
  #left(seat: Seat): void {
    const { worker } = seat
    this.#dispatcher.remove(seat)
    if (this.#closing || worker.exit !== undefined || (worker.state !== 'ready' && worker.state !== 'busy')) return
    if (worker.requests >= worker.lifespan) {
      this.#retire(seat)
      return
    }
    // Until then it counts as busy, and nobody waits for it longer than for one that is silent.
    worker.on('request')
    this.#join(worker, this.#limits.silence).catch((error: unknown) => {
      if (this.#closing || worker.exit !== undefined) return
      this.#board.timeouts++
      this.#log.error({ app: this.#name, pid: worker.pid }, `${describe(error)}; it is killed`)
      worker.on('timeout')
    })
  }

  #retire(seat: Seat): void {
    const { worker } = seat
    this.#dispatcher.remove(seat)
    worker.on('retire')
    void worker.stop(this.#limits.stop)
    seat.connection.close()
    this.#decide()
  }

  #exited(worker: Worker, exit: Exit): void {
    const starting = worker.state === 'starting'
    if (!this.#closing && isReplaced(worker)) this.#board.restarts++
    worker.seat.leave()
    const seat = this.#workers.get(worker)
    const { fault } = worker.on('exited')
    this.#workers.delete(worker)
    if (seat === undefined) {
      this.#judge(worker, exit, fault, starting)
      return
    }
    this.#dispatcher.remove(seat)
    // A running request hears of it by its connection, which has seen all that was sent before the end; then it is known whether the
    // program ever saw that request.
    setImmediate(() => {
      seat.connection.close(worker.death(exit))
      this.#judge(worker, exit, fault, starting)
    })
  }

  #judge(worker: Worker, exit: Exit, fault: boolean, starting: boolean): void {
    if (this.#closing) return
    // Exit status 0 is a decision of the program (FastCGI 1.0, 2.6), if it has done anything.
    const deliberate = exit.code === 0 && worker.requests > 0 && worker.task === undefined
    if (fault && !deliberate) this.#board.crashes++
    if (fault && starting) this.#startFailed(worker.failure())
    else if (fault && !deliberate) {
      const delay = this.#trouble.pause()
      const next = delay === 0 ? 'another one is started' : `another one is started in ${delay} ms`
      const when = worker.task === undefined ? '' : ' during a request'
      this.#log.error(
        { app: this.#name, pid: worker.pid, code: exit.code, signal: exit.signal, requests: worker.requests, ...worker.task },
        `programs: process ${worker.pid} of "${this.#name}" exited with ${describeExit(exit)}${when}; ${next}`,
      )
    }
    this.#decide()
  }

  #startFailed(error: unknown): void {
    const delay = this.#trouble.pause()
    this.#log.error({ app: this.#name }, `${describe(error)}${delay === 0 ? '' : `; the next try is in ${delay} ms`}`)
    this.#readiness.fail(error)
    for (const seat of this.#workers.values()) if (seat !== undefined) return
    // Nobody is there to serve those that wait, and the next try may end like this one.
    this.#trouble.unfit = error
    this.#dispatcher.refuse(notStarted(error, delay))
  }

  status(): PoolStatus {
    const { unfit } = this.#trouble
    return { ...this.#board.status(this.#dispatcher.queue()), ...(unfit !== undefined && { error: describe(unfit) }) }
  }

  async close(grace: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    clearInterval(this.#looker)
    clearTimeout(this.#again)
    await this.#dispatcher.drained(grace)
    const error = new GatewayError('CLOSED', { status: 503, message: `programs: "${this.#name}" is closed`, retryAfter: 1 })
    this.#dispatcher.close(error)
    this.#readiness.fail(error)
    const workers = [...this.#workers]
    for (const [, seat] of workers) seat?.connection.close(error)
    await Promise.all(workers.map(([worker]) => worker.stop(Math.min(grace, this.#limits.stop))))
    if (this.#options.guard === undefined) this.#guard.close()
  }
}
