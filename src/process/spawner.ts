// Starts a program per request without ever forking the front: the front's side of the spawning helpers.
//
// child_process.spawn copies the page tables of this process and waits for the exec: 1 ms of blocked event loop in a small
// front, 14 ms in one of 360 MB. A helper of 9 MB uses posix_spawn instead (spawner.py; spawner.mjs where there is no
// Python). One connection to a helper is one program: a frame, then what the program writes. Reports on its start, its end
// and its standard error come over the helper's control channel; when that channel closes, the helper kills what it started.

import { mkdtempSync, rmdirSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { availableParallelism, constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { launch } from './launch.ts'
import type { Launched } from './launch.ts'
import { lines } from './lines.ts'
import { WELL, restart } from './restart.ts'
import { Running } from './spawner-program.ts'
import type { Program } from './spawner-program.ts'
import { killSession } from './spawner-session.ts'
import { ReportReader, encodeKill } from './spawner-wire.ts'
import type { ProgramSpec, Report } from './spawner-wire.ts'
import { findProgram } from './tools.ts'

export interface SpawnerOptions {
  readonly log?: Log
  /** Helper processes, used in turn. Default: one a core. */
  readonly helpers?: number
  /** What the helpers are written in. Default `python` (3.8 or later) where there is one, else `node`, which is half as fast. */
  readonly kind?: 'python' | 'node'
  /** The interpreter. Default: /usr/bin/python3, else the first python3 on PATH. */
  readonly python?: string
}

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

export function openSpawner(options: SpawnerOptions = {}): Spawner {
  return new Helpers(options)
}

const READY_TIMEOUT = 10_000
const CLOSE_TIMEOUT = 4000
/** A helper that has not started a program within this time is stuck, perhaps in an exec from a dead network file system. */
const START_TIMEOUT = 15_000

interface Helper {
  readonly slot: number
  readonly child: Launched
  readonly control: Socket
  readonly path: string
  readonly programs: Map<number, Running>
  ready: boolean
  /** Takes nothing new; leaves when its programs have. */
  retired: boolean
  lastWords: string
}

class Helpers implements Spawner {
  readonly #log: Log | undefined
  #python: string | undefined
  readonly #slots: (Helper | undefined)[]
  readonly #memory: (typeof WELL)[]
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
    return this.#slots.flatMap((helper) => (helper === undefined ? [] : [helper.child.pid]))
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
    const token = this.#nextToken()
    // Encoded before anything is opened: a spec that cannot be sent has no effect.
    const program = new Running(token, spec, {
      kill: (signal) => helper.control.write(encodeKill(token, signal), 'latin1'),
      stuck: () => helper.child.kill('SIGKILL'),
      unreachable: () => this.#retire(helper),
      gone: () => this.#gone(helper, token),
    })
    if (helper.programs.size === 0) helper.control.ref()
    helper.programs.set(token, program)
    program.open((path) => connect(path), helper.path, START_TIMEOUT)
    return program
  }

  close(): Promise<void> {
    this.#closing ??= new Promise((resolve) => {
      this.#closed = resolve
      for (const timer of this.#timers) clearTimeout(timer)
      this.#wake()
      for (const helper of this.#all) this.#end(helper)
      this.#finished()
    })
    return this.#closing
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  // -- helpers ---------------------------------------------------------------------------------------------------------

  #next(): Helper | undefined {
    for (let tries = this.#slots.length; tries > 0; tries--) {
      const helper = this.#slots[this.#turn]
      this.#turn = (this.#turn + 1) % this.#slots.length
      if (helper?.ready === true) return helper
    }
    return undefined
  }

  #nextToken(): number {
    this.#token = this.#token >= 0xffffffff ? 1 : this.#token + 1
    return this.#token
  }

  #start(slot: number): void {
    // Only this user may reach the socket: who can write a frame can run a program.
    const path = join(mkdtempSync(join(shortTmpdir(), 'viaduct-')), 's')
    let child: Launched
    try {
      child = launch(...this.#command(path), {
        cwd: '/',
        env: helperEnvironment(),
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      removeSocket(path)
      this.#failure = (error as Error).message
      this.#again(slot)
      return
    }
    const helper: Helper = {
      slot,
      child,
      control: child.stdio[3] as unknown as Socket,
      path,
      programs: new Map(),
      ready: false,
      retired: false,
      lastWords: '',
    }
    this.#slots[slot] = helper
    this.#all.add(helper)
    this.#attach(helper)
  }

  #command(path: string): [string, string[]] {
    return this.#python === undefined
      ? [process.execPath, ['--max-semi-space-size=1', script('spawner.mjs'), path]]
      : [this.#python, ['-I', '-S', script('spawner.py'), path]]
  }

  #attach(helper: Helper): void {
    const { child, control } = helper
    const reader = new ReportReader()
    const take = (report: Report): void => this.#take(helper, report)
    control.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk, take)
      } catch (error) {
        helper.lastWords = (error as Error).message
        child.kill('SIGKILL')
      }
    })
    // Its end is told by `close`, once everything it had sent has been read.
    control.on('error', () => {})
    lines(child.stderr!, (line) => {
      helper.lastWords = line
      this.#log?.warn({ pid: child.pid, helper: helper.slot }, `process: spawner: ${line}`)
    })
    child.once('close', (code, signal) => this.#lost(helper, signal ?? `status ${code}`))
    // A helper does not keep this process alive, but a program that it runs does.
    child.unref()
    const stderr = child.stderr as unknown as Socket
    stderr.unref()
  }

  #take(helper: Helper, report: Report): void {
    if (report.type === 'ready') {
      helper.ready = !helper.retired
      this.#everReady = true
      if (helper.programs.size === 0) helper.control.unref()
      this.#log?.debug({ pid: helper.child.pid, helper: helper.slot }, 'process: spawner: a helper is ready')
      this.#wake()
      return
    }
    const program = helper.programs.get(report.token)
    if (program !== undefined) program.take(report)
    // Given up for lost while it was being started: nobody else would end it.
    else if (report.type === 'started') helper.control.write(encodeKill(report.token, constants.signals.SIGKILL), 'latin1')
  }

  #gone(helper: Helper, token: number): void {
    if (!helper.programs.delete(token) || helper.programs.size > 0) return
    if (helper.retired) this.#end(helper)
    else helper.control.unref()
  }

  /** Its socket is out of reach, for instance because somebody cleaned up the folder of temporary files. */
  #retire(helper: Helper): void {
    if (helper.retired) return
    helper.retired = true
    helper.ready = false
    if (this.#slots[helper.slot] === helper) this.#slots[helper.slot] = undefined
    this.#log?.warn(
      { pid: helper.child.pid, helper: helper.slot },
      `process: spawner: ${helper.path} cannot be reached; using a new helper`,
    )
    if (helper.programs.size === 0) this.#end(helper)
    this.#again(helper.slot)
  }

  /** Asks it to kill what it started and to leave; after a while, insists. */
  #end(helper: Helper): void {
    helper.ready = false
    helper.child.ref()
    helper.control.ref()
    helper.control.end()
    this.#later(CLOSE_TIMEOUT, () => helper.child.kill('SIGKILL'))
  }

  #lost(helper: Helper, how: string): void {
    helper.ready = false
    this.#all.delete(helper)
    helper.control.destroy()
    removeSocket(helper.path)
    for (const program of helper.programs.values()) program.lose(how)
    if (this.#slots[helper.slot] === helper) this.#slots[helper.slot] = undefined
    // What it started is now without a parent; those that changed their group are still of its session.
    const sweep = killSession(helper.child.pid).finally(() => {
      this.#sweeps.delete(sweep)
      this.#finished()
    })
    this.#sweeps.add(sweep)
    if (this.#closing !== undefined || helper.retired) return
    this.#failure = helper.lastWords === '' ? `ended with ${how}` : helper.lastWords
    this.#log?.warn({ pid: helper.child.pid, helper: helper.slot }, `process: spawner: a helper ended with ${how}; starting another`)
    if (!this.#everReady && this.#python !== undefined) {
      this.#log?.warn({}, `process: spawner: ${this.#python} does not work (${this.#failure}); using node, which is half as fast`)
      this.#python = undefined
    }
    this.#again(helper.slot)
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

/** Debian's own python3 first: others on PATH may be shell scripts that choose one anew each time. */
function findPython(): string | undefined {
  return findProgram('/usr/bin/python3') ?? findProgram('python3')
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

/** Programs get their own environment, each; the helper needs only what its interpreter needs to run. */
function helperEnvironment(): Record<string, string> {
  const env: Record<string, string> = { PATH: '/usr/local/bin:/usr/bin:/bin' }
  const libraries = process.env['LD_LIBRARY_PATH']
  if (libraries !== undefined) env['LD_LIBRARY_PATH'] = libraries
  return env
}

/** The path of a unix socket has 107 bytes at most. */
function shortTmpdir(): string {
  const folder = tmpdir()
  return Buffer.byteLength(folder) <= 80 ? folder : '/tmp'
}

function removeSocket(path: string): void {
  // A helper that left by itself has done this.
  try {
    unlinkSync(path)
  } catch {
    // Not there any more, or never bound.
  }
  try {
    rmdirSync(dirname(path))
  } catch {
    // As above.
  }
}
