// A pool of PHP workers as an application: script in, page out, and the workers kept healthy in between.
//
// A worker is taken only when the whole request is here (slow uploads hold none), and given back at its END_REQUEST, not at
// the end of the client's download. Decisions about time and death: a worker that is silent too long is killed; one whose
// client left finishes by PHP's own rules (ignore_user_abort) and comes back when it has.

import { Connection, Role, encodeRequest } from '../fastcgi/index.ts'
import { Dispatcher, WELL, lifespan, openGuard, restart, visible } from '../process/index.ts'
import type { Exit, Guard, RestartMemory } from '../process/index.ts'
import { GatewayError, backend, describe, spool, silent } from '../core/index.ts'
import type { Backend, GatewayRequest, GatewayResponse, Log, Spooled } from '../core/index.ts'
import { Leader } from './leader.ts'
import { PHP_LIMITS } from './options.ts'
import type { PhpLimits, PhpPoolOptions } from './options.ts'
import { PHP_EXTENSIONS, hasExtension } from './script.ts'
import { resolveScript } from './resolve.ts'
import { scriptFilename, variables, wire } from './wire.ts'

interface Worker {
  readonly connection: Connection
  readonly pid: number
  readonly leader: Leader
  /** Requests after which another one takes its place. */
  readonly lifespan: number
  /** Another one takes its place, or has taken it: nobody has to come for it. */
  relieved: boolean
}

/** PHP as an application. Expects the site to have split the path (SCRIPT_FILENAME in `variables`), or `root`. */
export function phpPool(options: PhpPoolOptions = {}): Backend {
  const pool = new Pool(options)
  return backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
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
  /** Children whose connection was cut in mid-request: they run on until their script notices, or until the timer. */
  readonly #running = new Map<number, NodeJS.Timeout>()
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
    this.#dispatcher = new Dispatcher({
      name: this.#name,
      maxQueue: this.#limits.queue,
      queueTimeout: this.#limits.queueTimeout,
    })
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
    const body = await spool(request.body, {
      memory: this.#limits.bodyMemory,
      limit: this.#limits.body,
      ...(request.contentLength !== undefined && { expected: request.contentLength }),
    })
    return this.#run(request, body)
  }

  #run(request: GatewayRequest, body: Spooled | undefined): GatewayResponse | Promise<GatewayResponse> {
    const worker = this.#acquire(request, body)
    return worker instanceof Promise
      ? worker.then((each) => this.#send(each, request, body, true))
      : this.#send(worker, request, body, true)
  }

  #acquire(request: GatewayRequest, body: Spooled | undefined): Worker | Promise<Worker> {
    try {
      const worker = this.#dispatcher.acquire(request)
      if (!(worker instanceof Promise) || body === undefined) return worker
      return worker.catch((error: unknown) => {
        body.close()
        throw error
      })
    } catch (error) {
      body?.close()
      throw error
    }
  }

  #send(worker: Worker, request: GatewayRequest, body: Spooled | undefined, first: boolean): Promise<GatewayResponse> {
    let again = false
    return worker.connection.send({
      request,
      head: encodeRequest(1, Role.Responder, true, (emit) => variables(request, body, emit)),
      body: wire(body),
      hold: this.#hold,
      deadlines: this.#deadlines,
      stderr: (line) => this.#log.warn({ app: this.#name, pid: worker.pid, target: request.target }, visible(line)),
      onEnd: ({ reusable, taken, error }) => {
        // An idle worker may die unnoticed. Only when it saw nothing of the request another one gets it: it may have died of it.
        again = first && !taken
        // A connection is reusable only when nothing waits to be written to it: then nobody holds the body any more.
        if (!again) body?.close(reusable)
        // A worker that has lost its leader answers what it was asked, and nothing more.
        if (reusable && worker.leader.exit === undefined) this.#finished(worker)
        else this.#lose(worker, request, error)
      },
      again: () => (again ? this.#resend(request, body) : undefined),
    })
  }

  async #resend(request: GatewayRequest, body: Spooled | undefined): Promise<GatewayResponse> {
    return this.#send(await this.#acquire(request, body), request, body, false)
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
    clearTimeout(this.#running.get(pid))
    this.#running.delete(pid)
    if (this.#closing || leader !== this.#leader) {
      socket.destroy()
      return undefined
    }
    const connection = new Connection(socket, { peer: `php "${this.#name}" pid ${pid}`, log: this.#log })
    const worker: Worker = { connection, pid, leader, lifespan: lifespan(this.#options.maxRequests), relieved: false }
    connection.onClose = () => this.#left(worker)
    this.#dispatcher.add(worker)
    return worker
  }

  #finished(worker: Worker): void {
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
      this.#log.error(
        subject,
        `php: worker ${worker.pid} said nothing for ${this.#limits.silence} ms and is killed; raise the silence limit or look at the script`,
      )
      worker.leader.kill(worker.pid)
    } else if (error instanceof GatewayError && error.code === 'UPSTREAM_TRUNCATED') {
      this.#log.error(subject, `php: worker ${worker.pid} died during a request; another one is started`)
    } else if (worker.leader.children().includes(worker.pid)) {
      // Its client left: PHP notices at its next output, unless ignore_user_abort says otherwise. Until then it is nobody's.
      const timer = setTimeout(() => worker.leader.kill(worker.pid), this.#limits.silence)
      timer.unref()
      this.#running.set(worker.pid, timer)
      if (error !== undefined) this.#log.debug(subject, `php: worker ${worker.pid}: ${describe(error)}`)
    }
    worker.connection.close()
  }

  /** A connection is gone, with its child or without. The leader forks what is missing; we connect again. */
  #left(worker: Worker): void {
    this.#dispatcher.remove(worker)
    const { leader } = worker
    if (leader.exit !== undefined) this.#bury(leader)
    if (worker.relieved || this.#closing || leader.exit !== undefined || leader !== this.#leader) return
    this.#join(leader, this.#limits.silence + this.#limits.start).catch((error: unknown) => {
      if (this.#closing || leader !== this.#leader || leader.exit !== undefined) return
      // Its children do not come up: a new leader is the only thing left to try.
      this.#log.error({ app: this.#name, pid: leader.pid }, describe(error))
      void leader.stop(0)
    })
  }

  /** Its children that are answering are left to it; the next leader comes after a pause that grows while it fails. */
  #leaderless(leader: Leader, exit: Exit): void {
    if (this.#closing || leader !== this.#leader) return
    this.#leader = undefined
    const { delay, memory } = restart(this.#restarts, performance.now())
    this.#restarts = memory
    const how = exit.signal ?? `status ${exit.code}`
    this.#log.error(
      { app: this.#name, pid: leader.pid },
      `php: "${this.#name}": the leader exited with ${how}; starting another one in ${delay} ms`,
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

  async close(grace: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    const until = performance.now() + grace
    await this.#dispatcher.drained(grace)
    this.#dispatcher.close(new GatewayError('CLOSED', { status: 503, message: `php: "${this.#name}" is closed`, retryAfter: 1 }))
    for (const worker of this.#dispatcher.workers()) worker.connection.close()
    for (const timer of this.#running.values()) clearTimeout(timer)
    // Scripts that run on without their client have the rest of the time.
    await this.#leader?.stop(this.#running.size > 0 ? Math.max(100, until - performance.now()) : 1000)
    if (this.#ownsGuard) this.#guard.close()
  }
}
