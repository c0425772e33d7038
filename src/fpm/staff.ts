// The workers of one pool: how many there are, who is idle, how they come and how they go, and what is said of it, in php-fpm's words.
//
// What to do is pm.ts's decision and process/restart.ts's; where workers come from is the crew's business. Here they meet.

import { describe } from '../core/index.ts'
import { Dispatcher, WELL, restart } from '../process/index.ts'
import type { RestartMemory } from '../process/index.ts'
import type { Crew } from './crew.ts'
import { CALM, MAINTENANCE, demand, initial, maintain } from './pm.ts'
import type { Decision, View } from './pm.ts'
import { obituary } from './obituary.ts'
import type { StaffOptions } from './staff-options.ts'
import type { Ending } from './proc.ts'
import { Worker } from './worker.ts'
import type { WorkerOwner } from './worker.ts'

/** Milliseconds until a worker must have taken its connection. */
const HIRE_TIME = 20_000
/** Milliseconds that one has to leave after its last request. */
const WORN_TIME = 1000
/** Between two looks at a worker that works on for nobody. */
const STRAY_LOOK = 50
/** Requests that may wait, where the backlog does not say, and for how long: the web server's own patience ends first. */
const QUEUE = 4096
const QUEUE_TIME = 3_600_000

export class Staff {
  readonly dispatcher: Dispatcher<Worker>
  /** All with a process of their own, also those that are at work for nobody. */
  readonly workers: Set<Worker> = new Set()
  /** Requests that may wait. */
  readonly queue: number
  /** How often max_children was in the way. */
  reached = 0
  readonly #options: StaffOptions
  readonly #name: string
  readonly #ticker: NodeJS.Timeout
  readonly #owner: WorkerOwner
  /** What those who were given up had done, by pid: their interpreter counts on. */
  readonly #past = new Map<number, number>()
  #crew: Crew | undefined
  #starting = 0
  #memory = CALM
  #restarts: RestartMemory = WELL
  #notBefore = 0
  #again: NodeJS.Timeout | undefined
  #proven = false
  /** Somebody has died whom the crew still has. */
  #unreaped = false
  #closing = false

  constructor(options: StaffOptions) {
    this.#options = options
    this.#name = options.config.name
    const { listenBacklog } = options.config
    this.queue = listenBacklog > 0 ? listenBacklog : QUEUE
    this.dispatcher = new Dispatcher({ name: this.#name, maxQueue: this.queue, queueTimeout: QUEUE_TIME })
    const { answered } = options
    this.#owner = { finished: (worker) => this.#finished(worker), answered, broke: (worker) => void this.#broke(worker) }
    const look = (): void => this.#carryOut(maintain(options.config, this.#view(), this.#memory, performance.now()))
    this.#ticker = setInterval(look, MAINTENANCE).unref()
  }

  /** Starts the first ones; rejects with the reason when there are none. */
  async start(): Promise<void> {
    const { config, budget } = this.#options
    const wanted = initial(config)
    const count = Math.min(wanted, budget.room)
    if (count < wanted) budget.short()
    await Promise.all(Array.from({ length: count }, () => this.#hire('debug')))
    this.#proven = true
  }

  get running(): number {
    return this.workers.size + this.#starting
  }

  /** A request had to wait. */
  demand(): void {
    this.#carryOut(demand(this.#options.config, this.#view(), this.#memory))
  }

  // ---- how many

  #view(): View<Worker> {
    return {
      idle: this.dispatcher.idleWorkers.map((worker) => ({ worker, startedAt: worker.startedAt, lastActive: worker.lastActive })),
      starting: this.#starting,
      running: this.running,
      waiting: this.dispatcher.counts().waiting,
      room: this.#options.budget.room,
    }
  }

  #carryOut(decision: Decision<Worker>): void {
    if (this.#closing) return
    this.#memory = decision.memory
    if (decision.reached) this.reached++
    for (const text of decision.warnings) this.#options.journal.write('warning', text)
    if (decision.short) this.#options.budget.short()
    if (decision.retire !== undefined) this.#dismiss(decision.retire, 'spare')
    if (performance.now() < this.#notBefore) return
    for (let i = 0; i < decision.spawn; i++) void this.#hire('debug').catch(() => {})
  }

  // ---- coming

  async #hire(level: 'debug' | 'notice'): Promise<void> {
    const { budget, journal } = this.#options
    this.#starting++
    budget.take()
    try {
      const crew = (this.#crew ??= this.#newCrew())
      const hand = await crew.hire(HIRE_TIME)
      if (this.#closing || crew !== this.#crew) {
        hand.link.socket.destroy()
        budget.give()
        return
      }
      const worker = new Worker(hand, this.#owner)
      worker.requests = this.#past.get(hand.pid) ?? 0
      this.#past.delete(hand.pid)
      this.workers.add(worker)
      journal.write(level, `[pool ${this.#name}] child ${worker.pid} started`, 'fpm_children_make')
      this.dispatcher.add(worker)
    } catch (error) {
      budget.give()
      if (this.#proven && !this.#closing) this.#failed(error)
      throw error
    } finally {
      this.#starting--
    }
  }

  #newCrew(): Crew {
    const crew = this.#options.startCrew()
    void crew.exited.then(() => this.#leaderless(crew))
    return crew
  }

  #failed(error: unknown): void {
    // All that wanted to start fail of the same.
    if (performance.now() < this.#notBefore) return
    const delay = this.#backOff()
    this.#options.journal.write('error', `${describe(error)}; the next try is in ${delay} ms`)
    this.#later(delay)
  }

  /** How long nothing is started after something that should not have happened. */
  #backOff(): number {
    const now = performance.now()
    const { delay, memory } = restart(this.#restarts, now)
    this.#restarts = memory
    this.#notBefore = now + delay
    return delay
  }

  #later(delay: number): void {
    clearTimeout(this.#again)
    this.#again = setTimeout(() => {
      if (!this.#closing) this.refill()
    }, delay).unref()
  }

  /** As many as at the start, or as requests wait for. */
  refill(): void {
    const { waiting } = this.dispatcher.counts()
    const { config, budget } = this.#options
    const wanted = Math.max(initial(config), config.pm === 'ondemand' ? Math.min(waiting, config.pmMaxChildren) : 0)
    const count = Math.min(wanted - this.running, budget.room)
    for (let i = 0; i < count; i++) void this.#hire('notice').catch(() => {})
  }

  // ---- going

  #finished(worker: Worker): void {
    worker.lastActive = performance.now()
    const { pmMaxRequests } = this.#options.config
    if (pmMaxRequests > 0 && worker.requests >= pmMaxRequests) {
      worker.dismissed = 'worn'
      this.dispatcher.remove(worker)
      // PHP leaves by itself: it counts, too.
      if (!worker.hand.crew.counts) worker.hand.crew.kill(worker.pid, 'SIGTERM')
      setTimeout(() => {
        if (this.workers.has(worker)) worker.hand.crew.kill(worker.pid, 'SIGKILL')
      }, WORN_TIME).unref()
    } else if (worker.hand.crew === this.#crew && !worker.closed) {
      this.dispatcher.release(worker)
      if (this.#unreaped && this.dispatcher.counts().idle === this.workers.size) this.#reap()
      // Of a crew that is gone: it answers what it was asked, and nothing more.
    } else this.#dismiss(worker, 'spare')
  }

  #dismiss(worker: Worker, why: 'spare'): void {
    worker.dismissed = why
    this.dispatcher.remove(worker)
    worker.hand.crew.kill(worker.pid, 'SIGKILL')
    worker.close()
  }

  /** The connection is gone, with the process or without. */
  async #broke(worker: Worker): Promise<void> {
    this.dispatcher.remove(worker)
    const { exchange } = worker
    exchange?.closeBody?.()
    if (exchange !== undefined && !exchange.over) exchange.breakOff()
    if (this.#closing) return
    const { crew } = worker.hand
    const ending = await crew.ending(worker.pid)
    if (ending === undefined) this.#astray(worker)
    else this.#dead(worker, ending)
  }

  /** It lives, and works on for nobody: PHP notices at its next output, unless ignore_user_abort says otherwise. */
  #astray(worker: Worker): void {
    worker.stray = true
    const look = async (): Promise<void> => {
      if (this.#closing || !this.workers.has(worker)) return
      const ending = worker.hand.holds() ? undefined : await worker.hand.crew.ending(worker.pid)
      if (ending !== undefined) this.#dead(worker, ending)
      else if (worker.hand.holds()) setTimeout(() => void look(), STRAY_LOOK).unref()
      else this.#back(worker)
    }
    void look()
  }

  /** It has come back, and waits for a connection as one that is new. */
  #back(worker: Worker): void {
    this.#gone(worker)
    this.#past.set(worker.pid, worker.requests)
    if (worker.hand.crew === this.#crew && (this.dispatcher.counts().waiting > 0 || this.running < initial(this.#options.config))) {
      void this.#hire('debug').catch(() => {})
    }
  }

  #gone(worker: Worker): void {
    this.workers.delete(worker)
    this.#options.budget.give()
    worker.exchange = undefined
    this.#bury(worker.hand.crew)
  }

  #dead(worker: Worker, ending: Ending | 'unknown'): void {
    if (!this.workers.has(worker)) return
    const { crew } = worker.hand
    const { level, text, calm, crash } = obituary(this.#name, worker.pid, ending, performance.now() - worker.startedAt, worker.dismissed)
    // Whoever died at work and unseen has most likely crashed.
    const unseen = ending === 'unknown' && worker.exchange !== undefined && crew.exit === undefined
    this.#gone(worker)
    this.#options.journal.write(level, text, 'fpm_children_bury')
    if (crash || unseen) this.#options.crashed()
    if (this.#closing || crew !== this.#crew) return
    this.#unreaped = true
    this.#reap()
    if (worker.dismissed !== 'spare') this.#replace(calm || worker.requests > 0)
  }

  /** The crew is rid of its dead when nobody is at work: who dies while it is at that dies unseen. */
  #reap(): void {
    this.#crew?.reap(() => {
      const calm = this.dispatcher.counts().idle === this.workers.size
      if (calm) this.#unreaped = false
      return calm
    })
  }

  /** One that died is replaced, at once unless they die without having done anything. */
  #replace(useful: boolean): void {
    const { budget } = this.#options
    if (!useful) {
      const delay = this.#backOff()
      if (delay > 0) return this.#later(delay)
    }
    if (performance.now() < this.#notBefore) return
    if (budget.room === 0) return budget.short()
    void this.#hire('notice').catch(() => {})
  }

  /** The process that they all come from has died: those at work finish, the others go, and another one comes. */
  #leaderless(crew: Crew): void {
    if (this.#closing || crew !== this.#crew) return this.#bury(crew)
    this.#crew = undefined
    const delay = this.#backOff()
    const how = crew.exit?.signal ?? `status ${crew.exit?.code}`
    this.#options.journal.write(
      'warning',
      `[pool ${this.#name}] leader ${crew.pid} exited with ${how}; another one is started in ${delay} ms`,
    )
    this.#retire(crew)
    this.#later(delay)
  }

  #retire(crew: Crew): void {
    for (const worker of this.dispatcher.takeIdle()) {
      if (worker.hand.crew !== crew) continue
      this.workers.delete(worker)
      this.#options.budget.give()
      worker.close()
    }
    this.#bury(crew)
  }

  /** Ends what a crew left, once none of it is at work. */
  #bury(crew: Crew): void {
    if (crew === this.#crew || (!this.#closing && [...this.workers].some((worker) => worker.hand.crew === crew))) return
    void crew.close()
  }

  /** A new crew, with an opcache of its own; the old one ends with what it is at. */
  restart(): void {
    const crew = this.#crew
    if (crew === undefined || this.#closing) return
    this.#crew = undefined
    this.#retire(crew)
    this.refill()
  }

  /** Nothing is started any more. */
  stop(): void {
    this.#closing = true
    clearInterval(this.#ticker)
    clearTimeout(this.#again)
  }

  /** Ends all of it at once. */
  async close(): Promise<void> {
    this.stop()
    const crews = new Set([...this.workers].map((worker) => worker.hand.crew))
    if (this.#crew !== undefined) crews.add(this.#crew)
    this.dispatcher.close()
    for (const worker of this.workers) worker.close()
    await Promise.all([...crews].map((crew) => crew.close()))
  }
}
