// Starts a program per request without ever forking the front: the front's side of the spawning helpers.
//
// child_process.spawn copies the page tables of this process and waits for the exec: 1 ms of blocked event loop in a small
// front, 14 ms in one of 360 MB. A helper of 10 MB uses posix_spawn instead (spawner.py; spawner.mjs where there is no
// Python). One connection to a helper is one program: a frame, then what the program writes. Reports on its start, its end
// and its standard error come over the helper's control channel; when that channel closes, the helper kills what it started.

import { availableParallelism } from 'node:os'
import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { WELL, restart } from './restart.ts'
import type { RestartMemory } from './restart.ts'
import { Helper } from './spawner-helper.ts'
import type { Program } from './spawner-program.ts'
import { killSession } from './spawner-session.ts'
import type { ProgramSpec } from './spawner-wire.ts'
import { findProgram } from './tools.ts'

/** What starts programs, and how many of them. */
export interface SpawnerOptions {
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Helper processes, used in turn. Default: one a core. */
  readonly helpers?: number
  /** What the helpers are written in. Default `python` (3.8 or later) where there is one, else `node`, which is half as fast. */
  readonly kind?: 'python' | 'node'
  /** The interpreter. Default: /usr/bin/python3, else the first python3 on PATH. */
  readonly python?: string
}

/** Starts programs without forking this process: helpers do, which are small. */
export interface Spawner extends AsyncDisposable {
  /** Resolves when a program can be started; rejects with UNAVAILABLE after 10 s. */
  ready(): Promise<void>
  /** Starts a program. Throws UNAVAILABLE (503) while no helper is up, BAD_REQUEST for a NUL; what fails later is told by `exited`. */
  run(spec: ProgramSpec): Program
  /** Whether `run` would find a helper. */
  readonly up: boolean
  /** Process ids of the helpers, for the status page. */
  readonly pids: readonly number[]
  /** Kills every program that is left, with its group, and ends the helpers. Idempotent. */
  close(): Promise<void>
}

/** Starts the helpers. They end with `close`, or with this process, however it went. */
export function openSpawner(options: SpawnerOptions = {}): Spawner {
  return new Helpers(options)
}

const READY_TIMEOUT = 10_000
const CLOSE_TIMEOUT = 4000

class Helpers implements Spawner {
  readonly #log: Log | undefined
  #python: string | undefined
  readonly #slots: (Helper | undefined)[]
  readonly #memory: RestartMemory[]
  readonly #all = new Set<Helper>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #sweeps = new Set<Promise<void>>()
  #waiting: (() => void)[] = []
  #turn = 0
  #token = 0
  #everReady = false
  #closing: Promise<void> | undefined
  #closed: (() => void) | undefined
  #failure = ''

  constructor(options: SpawnerOptions) {
    const count = options.helpers ?? availableParallelism()
    this.#log = options.log
    this.#python = options.kind === 'node' ? undefined : (options.python ?? findPython())
    if (options.kind === 'python' && this.#python === undefined) {
      throw new GatewayError('CONFIG', {
        status: 500,
        message: 'process: spawner: python3 was not found; install it or leave the kind out',
      })
    }
    this.#slots = Array.from({ length: count }, () => undefined)
    this.#memory = Array.from({ length: count }, () => ({ ...WELL, startedAt: performance.now() }))
    for (let slot = 0; slot < count; slot++) this.#start(slot)
  }

  get up(): boolean {
    return this.#slots.some((helper) => helper?.ready === true)
  }

  get pids(): readonly number[] {
    return this.#slots.flatMap((helper) => (helper === undefined ? [] : [helper.pid]))
  }

  ready(): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(closedError())
    if (this.up) return Promise.resolve()
    return new Promise((resolve, reject) => {
      const settle = (): void => {
        clearTimeout(timer)
        if (this.up) resolve()
        else reject(this.#closing === undefined ? this.#unavailable() : closedError())
      }
      const timer = setTimeout(() => {
        this.#waiting = this.#waiting.filter((each) => each !== settle)
        settle()
      }, READY_TIMEOUT)
      this.#waiting.push(settle)
    })
  }

  run(spec: ProgramSpec): Program {
    if (this.#closing !== undefined) throw closedError()
    const helper = this.#next()
    if (helper === undefined) throw this.#unavailable()
    this.#token = this.#token >= 0xffffffff ? 1 : this.#token + 1
    return helper.run(this.#token, spec)
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#closed = resolve
      for (const timer of this.#timers) clearTimeout(timer)
      this.#wake()
      for (const helper of this.#all) {
        helper.end()
        this.#later(CLOSE_TIMEOUT, () => helper.kill())
      }
      this.#finished()
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  #next(): Helper | undefined {
    for (let tries = this.#slots.length; tries > 0; tries--) {
      const helper = this.#slots[this.#turn]
      this.#turn = (this.#turn + 1) % this.#slots.length
      if (helper?.ready === true) return helper
    }
    return undefined
  }

  #start(slot: number): void {
    try {
      const helper = new Helper({
        slot,
        python: this.#python,
        log: this.#log,
        onReady: () => this.#ready(),
        onRetired: (retired) => this.#vacate(retired),
        onLost: (lost, how) => this.#lost(lost, how),
      })
      this.#slots[slot] = helper
      this.#all.add(helper)
    } catch (error) {
      this.#failure = (error as Error).message
      this.#log?.error({ helper: slot }, `process: spawner: ${this.#failure}`)
      this.#again(slot)
    }
  }

  #ready(): void {
    this.#everReady = true
    this.#wake()
  }

  #vacate(helper: Helper): void {
    if (this.#slots[helper.slot] === helper) this.#slots[helper.slot] = undefined
    this.#again(helper.slot)
  }

  #lost(helper: Helper, how: string): void {
    this.#all.delete(helper)
    // What it started is now without a parent; those that changed their group are still of its session.
    const sweep = killSession(helper.pid).finally(() => {
      this.#sweeps.delete(sweep)
      this.#finished()
    })
    this.#sweeps.add(sweep)
    if (this.#closing !== undefined || helper.retired) return
    this.#failure = helper.lastWords === '' ? `ended with ${how}` : helper.lastWords
    this.#log?.warn({ pid: helper.pid, helper: helper.slot }, `process: spawner: a helper ended with ${how}; starting another`)
    if (!this.#everReady && this.#python !== undefined) {
      this.#log?.warn({}, `process: spawner: ${this.#python} does not work (${this.#failure}); using node, which is half as fast`)
      this.#python = undefined
    }
    this.#vacate(helper)
  }

  #again(slot: number): void {
    if (this.#closing !== undefined) return
    const { delay, memory } = restart(this.#memory[slot]!, performance.now())
    this.#memory[slot] = memory
    this.#later(delay, () => this.#start(slot))
  }

  #later(delay: number, action: () => void): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      action()
    }, delay)
    timer.unref()
    this.#timers.add(timer)
  }

  #wake(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const each of waiting) each()
  }

  #finished(): void {
    if (this.#closed === undefined || this.#all.size > 0 || this.#sweeps.size > 0) return
    for (const timer of this.#timers) clearTimeout(timer)
    this.#closed()
  }

  #unavailable(): GatewayError {
    return new GatewayError('UNAVAILABLE', {
      status: 503,
      retryAfter: 1,
      message: `process: spawner: no helper is up${this.#failure === '' ? '' : `; the last one: ${this.#failure}`}`,
    })
  }
}

function closedError(): GatewayError {
  return new GatewayError('CLOSED', { status: 503, message: 'process: spawner: closed, and starts nothing more' })
}

/** The system's own python3 first: others on PATH may be shell scripts that choose one anew each time. */
function findPython(): string | undefined {
  return findProgram('/usr/bin/python3') ?? findProgram('python3')
}
