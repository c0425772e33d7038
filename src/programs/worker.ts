// One process of a FastCGI program, from the manager's side: what it is at, its one kept connection, and its end.

import type { Socket } from 'node:net'
import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { openSocket } from '../fastcgi/index.ts'
import { SocketProgram, describeExit, endGroup, ladder, launch, move, signalGroup } from '../process/index.ts'
import type { Exit, Guard, LaunchOptions, Repeats, Scoreboard, Seat, Voice, WorkerEvent, WorkerState } from '../process/index.ts'

export interface WorkerOptions {
  /** For messages. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly launch: Omit<LaunchOptions, 'stdio'>
  readonly guard: Guard
  readonly log: Log
  /** Requests after which it is replaced. */
  readonly lifespan: number
  readonly board: Scoreboard
  /** What others of the pool say while they start. */
  readonly repeats: Repeats
}

export class Worker {
  readonly pid: number
  readonly voice: Voice
  /** How it has exited, when its last words have been heard. */
  readonly over: Promise<Exit>
  state: WorkerState = 'starting'
  /** Requests it was given. */
  requests = 0
  readonly lifespan: number
  readonly seat: Seat
  /** By `performance.now()`. */
  idleSince = 0
  /** The request it has, for the log. */
  task: object | undefined
  readonly #options: WorkerOptions
  readonly #program: SocketProgram
  #stopping: Promise<unknown> | undefined

  /** Starts it; throws PROGRAM_FAILED when it cannot be started. */
  constructor(options: WorkerOptions) {
    this.#options = options
    this.lifespan = options.lifespan
    const { name, command, args, guard } = options
    this.#program = new SocketProgram({
      prefix: 'viaduct-programs-',
      start: (fd) => launch(command, args, { ...options.launch, stdio: [fd, 'ignore', 'pipe'] }),
      guard,
      complaint: (pid) => {
        const what = this.idleSince === 0 ? ' does not start' : ''
        return `programs: "${name}"${what}: ${command} (pid ${pid}) took no connection`
      },
      onLine: (line) => this.voice.said(line),
    })
    this.pid = this.#program.pid
    this.seat = options.board.seat(this)
    this.over = this.#program.over
    this.voice = options.repeats.voice((line) => options.log.warn({ app: name, pid: this.pid, ...this.task }, line))
    void this.over.then(() => this.voice.down())
    void this.#program.exited.then(() => {
      // What it started and left behind is in its group.
      signalGroup(this.pid, 'SIGKILL')
      guard.forget(this.pid)
    })
  }

  /** Set once it has exited. */
  get exit(): Exit | undefined {
    return this.#program.exit
  }

  /** What this event means now: the new state, and what is to be done. */
  on(event: WorkerEvent): { readonly fault: boolean } {
    const next = move(this.state, event)
    if (next === undefined) return { fault: false }
    this.state = next.to
    if (next.act === 'kill') this.kill()
    return { fault: next.fault === true }
  }

  /** A connection that the program has accepted. Rejects with UNAVAILABLE, 503, and the reason. */
  async connect(timeout: number): Promise<Socket> {
    const socket = openSocket({ path: this.#program.path })
    await this.#program.accepted(socket, timeout)
    return socket
  }

  /** Why it takes no requests, with what it said last. */
  failure(): GatewayError {
    return this.#program.failure()
  }

  /** What whoever has its request is told. */
  death(exit: Exit): GatewayError {
    return new GatewayError('UPSTREAM_TRUNCATED', {
      status: 502,
      message: `programs: process ${this.pid} of "${this.#options.name}" exited with ${describeExit(exit)} before its answer was whole`,
    })
  }

  /** Asks it to go, then kills it after `grace` milliseconds. Resolves when it is gone. */
  stop(grace: number): Promise<unknown> {
    return (this.#stopping ??= this.exit === undefined ? endGroup(this.#program.process, ladder({ grace })) : Promise.resolve())
  }

  kill(): void {
    if (this.exit === undefined) signalGroup(this.pid, 'SIGKILL')
  }
}

/** Of one that has ended: another one takes its place. Whom the policy has let go, nobody replaces. */
export function isReplaced({ state, requests, lifespan }: Worker): boolean {
  return requests >= lifespan || (state !== 'stopping' && state !== 'draining')
}

/** What a policy wants to know of workers, `idle` of which are. Those that are on their way out are none. */
export function census(workers: Iterable<Worker>, idle: number): { readonly busy: number; readonly starting: number } {
  let starting = 0
  let there = 0
  for (const { state } of workers) {
    if (state === 'starting') starting++
    else if (state !== 'stopping' && state !== 'killed') there++
  }
  return { busy: there - idle, starting }
}
