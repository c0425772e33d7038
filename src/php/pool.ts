// A pool of PHP workers as an application: script in, page out, and the workers kept healthy in between.
//
// A worker is taken only when the whole request is here (slow uploads hold none), and given back at its END_REQUEST, not at
// the end of the client's download. Decisions about time and death: a worker that is silent too long is killed; one whose
// client left finishes by PHP's own rules (ignore_user_abort) and comes back when it has.

import { Connection, Role, encodeRequest } from '../fastcgi/index.ts'
import type { Call, Reply } from '../fastcgi/index.ts'
import { Dispatcher, Scoreboard, WELL, describeExit, lifespan, openGuard, restart, visible } from '../process/index.ts'
import type { Exit, Guard, RestartMemory } from '../process/index.ts'
import { GatewayError, backend, describe, spool, silent } from '../core/index.ts'
import type { Backend, ByteString, GatewayRequest, GatewayResponse, Log, PoolStatus, Spooled } from '../core/index.ts'
import { Leader } from './leader.ts'
import { PHP_LIMITS } from './options.ts'
import type { PhpLimits, PhpPoolOptions } from './options.ts'
import { PHP_EXTENSIONS, hasExtension } from './script.ts'
import { resolveScript } from './resolve.ts'
import { Strays } from './strays.ts'
import { scriptFilename, variables, wire } from './wire.ts'
import type { Worker } from './worker.ts'

/** PHP as an application. Expects the site to have split the path (SCRIPT_FILENAME in `variables`), or `root`. */
export function phpPool(options: PhpPoolOptions = {}): Backend {
  const pool = new Pool(options)
  return backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
    pools: () => [pool.status()],
  })
}

class Pool {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #limits: PhpLimits
  readonly #options: PhpPoolOptions
  readonly #log: Log
  readonly #guard: Guard
  readonly #ownsGuard: boolean
  readonly #dispatcher: Dispatcher<Worker>
  readonly #extensions: readonly string[]
  readonly #hold: { bytes: number; time: number }
  readonly #deadlines: { firstByte: number; between: number }
  readonly #board: Scoreboard
  readonly #strays = new Strays()
  #leader: Leader | undefined
  #restarts: RestartMemory = WELL
  /** Whose place is being taken: one at a time, for there is one child to spare. */
  #relief: Worker | undefined
  #closing = false

  constructor(options: PhpPoolOptions) {
    this.#options = options
    this.#name = options.name ?? 'php'
    this.#limits = { ...PHP_LIMITS, ...options.limits }
    this.#log = options.log ?? silent
    this.#extensions = options.extensions ?? PHP_EXTENSIONS
    this.#ownsGuard = options.guard === undefined
    this.#guard = options.guard ?? openGuard()
    this.#hold = { bytes: this.#limits.holdBytes, time: this.#limits.holdTime }
    this.#deadlines = { firstByte: this.#limits.silence, between: this.#limits.silence }
    const { queue: maxQueue, queueTimeout, slow } = this.#limits
    this.#dispatcher = new Dispatcher({ name: this.#name, maxQueue, queueTimeout })
    const interpreter = { mode: 'native', name: 'php-cgi', ...(options.version !== undefined && { version: options.version }) } as const
    this.#board = new Scoreboard({ name: this.#name, kind: 'php', interpreter, slow, log: this.#log })
    this.ready = this.#start()
    // Whoever awaits `ready` hears of it; a pool nobody waits for reports through its log and its 503s.
    this.ready.catch(() => {})
  }

  // ---- requests

  handle(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const script = scriptFilename(request)
    if (script === undefined) return this.#resolve(request)
    if (!hasExtension(script, this.#extensions)) {
      throw new GatewayError('FILE_REFUSED', {
        status: 403,
        message: `php: "${this.#name}": ${script} does not end in ${this.#extensions.join(' or ')}, so it is not run`,
      })
    }
    if (request.contentLength === 0) return this.#run(request, undefined)
    return this.#upload(request)
  }

  async #resolve(request: GatewayRequest): Promise<GatewayResponse> {
    const { root } = this.#options
    const resolved = root === undefined ? undefined : await resolveScript(request, root, this.#extensions)
    if (resolved === undefined) return { status: 404, headers: [], body: null }
    return this.handle(resolved)
  }

  /** php-cgi reads exactly CONTENT_LENGTH bytes and hangs while they do not come: so first the body, then a worker. */
  async #upload(request: GatewayRequest): Promise<GatewayResponse> {
    const { bodyMemory: memory, body: limit } = this.#limits
    const body = await spool(request.body, { memory, limit, expected: request.contentLength })
    try {
      return await this.#run(request, body)
    } catch (error) {
      // A no-op when the request was sent: its end has closed it.
      body.close()
      throw error
    }
  }

  #run(request: GatewayRequest, body: Spooled | undefined, first = true): Promise<GatewayResponse> {
    return new Promise((resolve, reject) => {
      // Ready before it has a worker, which has nothing to do between two requests.
      const head = encodeRequest(1, Role.Responder, true, (emit) => variables(request, body, emit))
      this.#dispatcher.claim(request, {
        take: (worker) => this.#send(worker, request, head, body, first, { resolve, reject }),
        refuse: reject,
      })
    })
  }

  #send(worker: Worker, request: GatewayRequest, head: ByteString, body: Spooled | undefined, first: boolean, reply: Reply): void {
    let again = false
    worker.seat.begin(request)
    const call: Call = {
      request,
      head,
      body: wire(body),
      hold: this.#hold,
      deadlines: this.#deadlines,
      stderr: (line) => this.#log.warn({ app: this.#name, pid: worker.pid, target: request.target }, visible(line)),
      onEnd: ({ reusable, taken, error }) => {
        // An idle worker may die unnoticed. Only when it saw nothing of the request another one gets it: it may have died of it.
        again = first && !taken
        // A connection is reusable only when nothing waits to be written to it: then nobody holds the body any more.
        if (!again) body?.close(reusable)
        else worker.seat.unbegin()
        // A worker that has lost its leader answers what it was asked, and nothing more.
        if (reusable && worker.leader.exit === undefined) this.#finished(worker)
        else this.#lose(worker, request, error)
      },
      again: () => (again ? this.#run(request, body, false) : undefined),
    }
    worker.connection.start(call, reply)
  }

  // ---- workers

  async #start(): Promise<void> {
    const leader = this.#lead()
    const joined = Array.from({ length: this.#size }, () => this.#join(leader, this.#limits.start))
    const results = await Promise.allSettled(joined)
    const failed = results.find((result) => result.status === 'rejected')
    if (failed === undefined) return
    void this.close(0)
    throw failed.reason
  }

  get #size(): number {
    return this.#options.workers ?? 4
  }

  #lead(): Leader {
    const leader = new Leader({
      name: this.#name,
      phpCgi: this.#options.phpCgi ?? 'php-cgi',
      children: (this.#options.maxRequests ?? 0) > 0 ? this.#size + 1 : this.#size,
      ini: this.#options.ini ?? {},
      env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...this.#options.env },
      cwd: this.#options.root ?? '/',
      scheduling: this.#options.scheduling ?? 'batch',
      guard: this.#guard,
      log: this.#log,
    })
    this.#leader = leader
    void leader.exited.then((exit) => this.#leaderless(leader, exit))
    return leader
  }

  /** One connection to one child, and the worker it makes; undefined when there is no use for it any more. */
  async #join(leader: Leader, timeout: number): Promise<Worker | undefined> {
    const { socket, pid } = await leader.connect(timeout)
    this.#strays.found(pid)
    if (this.#closing || leader !== this.#leader) {
      socket.destroy()
      return undefined
    }
    const connection = new Connection(socket, { peer: `php "${this.#name}" pid ${pid}`, log: this.#log })
    const seat = this.#board.seat({ pid })
    seat.ready = true
    const worker = { connection, pid, leader, seat, lifespan: lifespan(this.#options.maxRequests), relieved: false, counted: false }
    connection.onClose = () => this.#left(worker)
    this.#dispatcher.add(worker)
    return worker
  }

  #finished(worker: Worker): void {
    worker.seat.end()
    if (worker.connection.requests < worker.lifespan) this.#dispatcher.release(worker)
    else this.#worn(worker)
  }

  /** It has done its requests. It goes on until the spare child has taken its place, so that there is never one less; then it is let go. */
  #worn(worker: Worker): void {
    if (worker.relieved && worker !== this.#relief) {
      this.#dismiss(worker)
      return
    }
    this.#dispatcher.release(worker)
    if (this.#relief !== undefined || this.#closing) return
    this.#relief = worker
    worker.relieved = true
    const { leader } = worker
    this.#join(leader, this.#limits.silence + this.#limits.start).then(
      (successor) => {
        this.#relief = undefined
        if (successor === undefined) return
        this.#board.restarts++
        const idle = this.#dispatcher.idleWorkers.includes(worker)
        this.#dispatcher.remove(worker)
        if (idle) this.#dismiss(worker)
      },
      (error: unknown) => {
        this.#relief = undefined
        worker.relieved = false
        // It is as good as it was, and the next of its requests tries again.
        if (!this.#closing && leader.exit === undefined) this.#log.warn({ app: this.#name, pid: worker.pid }, describe(error))
        if (worker.connection.closed) this.#left(worker)
      },
    )
  }

  #dismiss(worker: Worker): void {
    worker.leader.dismiss(worker.pid)
    worker.connection.close()
  }

  /** A request ended in a way that leaves the connection unusable. */
  #lose(worker: Worker, request: GatewayRequest, error: unknown): void {
    const subject = { app: this.#name, pid: worker.pid, method: request.method, target: request.target }
    if (error instanceof GatewayError && error.code === 'TIMEOUT') {
      this.#count(worker, 'timeouts')
      this.#log.error(
        subject,
        `php: worker ${worker.pid} said nothing for ${this.#limits.silence} ms and is killed; raise the silence limit or look at the script`,
      )
      worker.leader.kill(worker.pid)
    } else if (error instanceof GatewayError && error.code === 'UPSTREAM_TRUNCATED') {
      this.#count(worker, 'crashes')
      this.#log.error(subject, `php: worker ${worker.pid} died during a request; another one is started`)
    } else if (worker.leader.children().includes(worker.pid)) {
      // Its client left: PHP notices at its next output, unless ignore_user_abort says otherwise. Until then it is nobody's.
      this.#strays.add(worker.pid, worker.seat, this.#limits.silence, () => {
        this.#count(worker, 'timeouts')
        worker.leader.kill(worker.pid)
      })
      if (error !== undefined) this.#log.debug(subject, `php: worker ${worker.pid}: ${describe(error)}`)
    }
    worker.connection.close()
  }

  /** A connection is gone, with its child or without. The leader forks what is missing; we connect again. */
  #left(worker: Worker): void {
    this.#dispatcher.remove(worker)
    if (!this.#strays.has(worker.pid)) worker.seat.leave()
    const { leader } = worker
    if (leader.exit !== undefined) this.#bury(leader)
    if (worker.relieved || this.#closing || leader.exit !== undefined || leader !== this.#leader) return
    const joined = this.#join(leader, this.#limits.silence + this.#limits.start).then((next) => this.#replaced(worker, next))
    joined.catch((error: unknown) => {
      if (this.#closing || leader !== this.#leader || leader.exit !== undefined) return
      // Its children do not come up: a new leader is the only thing left to try.
      this.#log.error({ app: this.#name, pid: leader.pid }, describe(error))
      void leader.stop(0)
    })
  }

  #replaced(worker: Worker, next: Worker | undefined): void {
    if (next === undefined || next.pid === worker.pid) return
    this.#board.restarts++
    if (!worker.counted) this.#count(worker, 'crashes')
  }

  #count(worker: Worker, what: 'timeouts' | 'crashes'): void {
    worker.counted = true
    this.#board[what]++
  }

  /** Its children that are answering are left to it; the next leader comes after a pause that grows while it fails. */
  #leaderless(leader: Leader, exit: Exit): void {
    if (this.#closing || leader !== this.#leader) return
    this.#leader = undefined
    const { delay, memory } = restart(this.#restarts, performance.now())
    this.#restarts = memory
    this.#board.crashes++
    this.#board.restarts++
    this.#log.error(
      { app: this.#name, pid: leader.pid },
      `php: "${this.#name}": the leader exited with ${describeExit(exit)}; starting another one in ${delay} ms`,
    )
    for (const worker of this.#dispatcher.takeIdle()) worker.connection.close()
    this.#bury(leader)
    setTimeout(() => this.#again(), delay).unref()
  }

  /** Ends what a dead leader left, once none of it is answering. Idle children would wait for connections for ever. */
  #bury(leader: Leader): void {
    if (this.#dispatcher.workers().some((worker) => worker.leader === leader)) return
    void leader.stop(0)
  }

  #again(): void {
    if (this.#closing || this.#leader !== undefined) return
    const leader = this.#lead()
    for (let i = 0; i < this.#size; i++) {
      this.#join(leader, this.#limits.start).catch((error: unknown) => {
        if (this.#closing || leader !== this.#leader || leader.exit !== undefined) return
        this.#log.error({ app: this.#name, pid: leader.pid }, describe(error))
        void leader.stop(0)
      })
    }
  }

  status(): PoolStatus {
    this.#strays.keep(this.#leader?.children() ?? [])
    return this.#board.status(this.#dispatcher.queue())
  }

  async close(grace: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    const until = performance.now() + grace
    await this.#dispatcher.drained(grace)
    this.#dispatcher.close(new GatewayError('CLOSED', { status: 503, message: `php: "${this.#name}" is closed`, retryAfter: 1 }))
    for (const worker of this.#dispatcher.workers()) worker.connection.close()
    const stray = this.#strays.size > 0
    this.#strays.keep([])
    // Scripts that run on without their client have the rest of the time.
    await this.#leader?.stop(stray ? Math.max(100, until - performance.now()) : 1000)
    if (this.#ownsGuard) this.#guard.close()
  }
}
