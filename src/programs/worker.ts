// One process of a FastCGI program, from the manager's side: a private listening socket as its fd 0 (FastCGI 1.0, 2.2), and one kept
// connection to it.
//
// Private, so that it is known who has which request, a crash is told from a refusal, and nobody else reaches the program.

import { linkSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { join } from 'node:path'
import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { openSocket } from '../fastcgi/index.ts'
import { endGroup, ladder, launch, lines, move, signalGroup } from '../process/index.ts'
import type { Exit, Guard, LaunchOptions, Launched, Scoreboard, Seat, WorkerEvent, WorkerState } from '../process/index.ts'

export interface WorkerOptions {
  /** For messages. */
  readonly name: string
  readonly command: string
  readonly args: readonly string[]
  readonly launch: Omit<LaunchOptions, 'stdio'>
  /** A folder that nobody else may enter, and a name in it that is free. */
  readonly folder: string
  readonly socket: string
  readonly guard: Guard
  readonly log: Log
  /** Requests after which it is replaced. */
  readonly lifespan: number
  readonly board: Scoreboard
}

export class Worker {
  readonly pid: number
  readonly exited: Promise<Exit>
  /** The same a little later, when its last words have been heard. */
  readonly over: Promise<Exit>
  /** Set once it has exited. */
  exit: Exit | undefined
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
  readonly #process: Launched
  readonly #bound: string
  readonly #path: string
  #lastWords: string[] = []
  #stopping: Promise<unknown> | undefined

  /** Starts it; throws PROGRAM_FAILED when it cannot be started. */
  constructor(options: WorkerOptions) {
    this.#options = options
    this.lifespan = options.lifespan
    this.#bound = join(options.folder, `${options.socket}-bound`)
    this.#path = join(options.folder, options.socket)
    // From listen to close all in one turn of the event loop, so that Node never polls the socket: whoever polls it accepts
    // connections meant for the program. The second name stays when close() unlinks the first.
    const listener = createServer()
    listener.listen({ path: this.#bound, exclusive: true, backlog: 128 })
    linkSync(this.#bound, this.#path)
    try {
      const fd = (listener as unknown as { _handle: { fd: number } })._handle.fd
      this.#process = launch(options.command, options.args, { ...options.launch, stdio: [fd, 'ignore', 'pipe'] })
    } catch (error) {
      rmSync(this.#path, { force: true })
      throw error
    } finally {
      listener.close()
    }
    this.pid = this.#process.pid
    this.seat = options.board.seat(this)
    options.guard.watch(this.pid)
    this.exited = this.#process.exited.then((exit) => {
      this.exit = exit
      rmSync(this.#path, { force: true })
      // What it started and left behind is in its group.
      signalGroup(this.pid, 'SIGKILL')
      options.guard.forget(this.pid)
      return exit
    })
    const { stderr } = this.#process
    this.over = this.exited.then(async (exit) => {
      if (stderr === null || stderr.closed) return exit
      // Whoever left the group may hold it open.
      let timer: NodeJS.Timeout | undefined
      await Promise.race([
        new Promise((resolve) => stderr.once('close', resolve)),
        new Promise((resolve) => (timer = setTimeout(resolve, 200))),
      ])
      clearTimeout(timer)
      return exit
    })
    if (stderr !== null) {
      lines(stderr, (line) => {
        this.#lastWords = [...this.#lastWords.slice(-4), line]
        options.log.warn({ app: options.name, pid: this.pid, ...this.task }, line)
      })
    }
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
    const socket = openSocket({ path: this.#path })
    const failed = new Promise<never>((_, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('closed before it was accepted')))
    })
    failed.catch(() => {})
    try {
      await Promise.race([this.#accepted(performance.now() + timeout), failed])
      socket.removeAllListeners('error').removeAllListeners('close')
      return socket
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      // The news that the program has ended may come a little after that of its socket, and it is the better reason.
      await Promise.race([this.exited, new Promise((resolve) => setTimeout(resolve, 200))])
      throw this.failure(error)
    }
  }

  /** Why it takes no requests, with what it said last. */
  failure(error?: unknown): GatewayError {
    return new GatewayError('UNAVAILABLE', {
      status: 503,
      retryAfter: 1,
      message: `programs: "${this.#options.name}": ${this.#options.command} (pid ${this.pid}) took no connection: ${this.#reason(error)}`,
      cause: error,
    })
  }

  /** What whoever has its request is told. */
  death(exit: Exit): GatewayError {
    return new GatewayError('UPSTREAM_TRUNCATED', {
      status: 502,
      message: `programs: process ${this.pid} of "${this.#options.name}" exited with ${ending(exit)} before its answer was whole`,
    })
  }

  #reason(error: unknown): string {
    const said = this.#lastWords.length > 0 ? `; it said: ${this.#lastWords.join(' | ')}` : ''
    const how = this.exit === undefined ? (error instanceof Error ? error.message : String(error)) : `it exited with ${ending(this.exit)}`
    return how + said
  }

  /** The program's end of a connection carries the listener's first name in /proc/net/unix, and has an inode once it is accepted. */
  async #accepted(deadline: number): Promise<void> {
    for (let wait = 1; ; wait = Math.min(wait * 2, 25)) {
      if (this.exit !== undefined) throw new Error('it has exited')
      for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
        if (!line.endsWith(` ${this.#bound}`)) continue
        const [, , , , , state, inode] = line.split(/ +/)
        if (state === '03' && inode !== '0') return
      }
      if (performance.now() > deadline) throw new Error('timed out')
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }

  /** Asks it to go, then kills it after `grace` milliseconds. Resolves when it is gone. */
  stop(grace: number): Promise<unknown> {
    return (this.#stopping ??= this.exit === undefined ? endGroup(this.#process, ladder({ grace })) : Promise.resolve())
  }

  kill(): void {
    if (this.exit === undefined) signalGroup(this.pid, 'SIGKILL')
  }
}

/** Of one that has ended: another one takes its place. Whom the policy has let go, nobody replaces. */
export function isReplaced({ state, requests, lifespan }: Worker): boolean {
  return requests >= lifespan || (state !== 'stopping' && state !== 'draining')
}

export function ending(exit: Exit): string {
  return exit.signal ?? `status ${exit.code}`
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
