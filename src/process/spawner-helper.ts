// One spawning helper from the front's side: its process, its socket, its control channel, and the programs it runs.

import { mkdtempSync, rmdirSync, unlinkSync } from 'node:fs'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Log } from '../core/index.ts'
import { launch } from './launch.ts'
import type { Launched } from './launch.ts'
import { lines } from './lines.ts'
import { Running } from './spawner-program.ts'
import type { Program } from './spawner-program.ts'
import { ReportReader, encodeKill } from './spawner-wire.ts'
import type { ProgramSpec, Report } from './spawner-wire.ts'

export interface HelperOptions {
  /** Which of the spawner's helpers this is. */
  readonly slot: number
  /** The Python that runs it; undefined: node. */
  readonly python: string | undefined
  readonly log: Log | undefined
  readonly onReady: () => void
  /** Takes nothing new: its socket is out of reach. */
  readonly onRetired: (helper: Helper) => void
  /** Its process has ended, and its programs with it. */
  readonly onLost: (helper: Helper, how: string) => void
}

/** A helper that has not started a program within this time is stuck, perhaps in an exec from a dead network file system. */
const START_TIMEOUT = 15_000

export class Helper {
  readonly slot: number
  /** Programs can be started. */
  ready = false
  /** Leaves when its programs have. */
  retired = false
  /** The last line of its standard error. */
  lastWords = ''
  readonly #options: HelperOptions
  readonly #child: Launched
  readonly #control: Socket
  readonly #path: string
  readonly #programs = new Map<number, Running>()

  /** Throws what `launch` and the file system do. */
  constructor(options: HelperOptions) {
    this.#options = options
    this.slot = options.slot
    // Only this user may reach the socket: who can write a frame can run a program.
    this.#path = join(mkdtempSync(join(shortTmpdir(), 'viaduct-')), 's')
    try {
      this.#child = launch(...command(options.python, this.#path), {
        cwd: '/',
        env: environment(),
        stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
      })
    } catch (error) {
      removeSocket(this.#path)
      throw error
    }
    // What spawn calls a stream is a socket, both ways.
    this.#control = this.#child.stdio[3] as unknown as Socket
    this.#listen()
  }

  get pid(): number {
    return this.#child.pid
  }

  /** Throws BAD_REQUEST for a spec that cannot be sent; then nothing was opened. */
  run(token: number, spec: ProgramSpec): Program {
    const program = new Running(token, spec, {
      kill: (signal) => this.#kill(token, signal),
      stuck: () => this.#child.kill('SIGKILL'),
      unreachable: () => this.#retire(),
      gone: () => this.#gone(token),
    })
    if (this.#programs.size === 0) this.#control.ref()
    this.#programs.set(token, program)
    program.open((path) => connect(path), this.#path, START_TIMEOUT)
    return program
  }

  /** Asks it to kill what it started and to leave. */
  end(): void {
    this.ready = false
    this.#child.ref()
    this.#control.ref()
    this.#control.end()
  }

  /** Insists. */
  kill(): void {
    this.#child.kill('SIGKILL')
  }

  #kill(token: number, signal: number): void {
    this.#control.write(encodeKill(token, signal), 'latin1')
  }

  #listen(): void {
    const child = this.#child
    const reader = new ReportReader()
    const take = (report: Report): void => this.#take(report)
    this.#control.on('data', (chunk: Buffer) => {
      try {
        reader.push(chunk, take)
      } catch (error) {
        this.lastWords = (error as Error).message
        this.kill()
      }
    })
    // Its end is told by `close`, once everything it had sent has been read.
    this.#control.on('error', () => {})
    lines(child.stderr!, (line) => {
      this.lastWords = line
      this.#options.log?.warn({ pid: child.pid, helper: this.slot }, `process: spawner: ${line}`)
    })
    child.once('close', (code, signal) => this.#lost(signal ?? `status ${code}`))
    // A helper does not keep this process alive, but a program that it runs does.
    child.unref()
    const stderr = child.stderr as unknown as Socket
    stderr.unref()
  }

  #take(report: Report): void {
    if (report.type === 'ready') {
      this.ready = !this.retired
      if (this.#programs.size === 0) this.#control.unref()
      this.#options.onReady()
      return
    }
    const program = this.#programs.get(report.token)
    if (program !== undefined) program.take(report)
    // Given up for lost while it was being started: nobody else would end it.
    else if (report.type === 'started') this.#kill(report.token, constants.signals.SIGKILL)
  }

  #gone(token: number): void {
    if (!this.#programs.delete(token) || this.#programs.size > 0) return
    if (this.retired) this.end()
    else this.#control.unref()
  }

  /** For instance because somebody cleaned up the folder of temporary files. */
  #retire(): void {
    if (this.retired) return
    this.retired = true
    this.ready = false
    this.#options.log?.warn({ pid: this.pid, helper: this.slot }, `process: spawner: ${this.#path} cannot be reached; using a new helper`)
    if (this.#programs.size === 0) this.end()
    this.#options.onRetired(this)
  }

  #lost(how: string): void {
    this.ready = false
    this.#control.destroy()
    removeSocket(this.#path)
    for (const program of this.#programs.values()) program.lose(how)
    this.#options.onLost(this, how)
  }
}

function command(python: string | undefined, path: string): [string, string[]] {
  return python === undefined
    ? [process.execPath, ['--max-semi-space-size=1', script('spawner.mjs'), path]]
    : [python, ['-I', '-S', script('spawner.py'), path]]
}

function script(name: string): string {
  return fileURLToPath(new URL(name, import.meta.url))
}

/** Programs get their own environment, each; the helper needs only what its interpreter needs to run. */
function environment(): Record<string, string> {
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

/** A helper that left by itself has done this. */
function removeSocket(path: string): void {
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
