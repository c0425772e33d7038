// One program that a spawning helper runs, from the front's side: its connection, its reports, its end.

import { constants } from 'node:os'
import type { Socket } from 'node:net'
import { GatewayError, describe } from '../core/index.ts'
import { signalGroup } from './kill.ts'
import { LineSplitter } from './lines.ts'
import { encodeJoin, encodeRun } from './spawner-wire.ts'
import type { FailedStage, ProgramSpec, Report } from './spawner-wire.ts'

/** How a program ended. */
export interface ProgramExit {
  /** Exit status; undefined when a signal ended it or nothing is known. */
  readonly code: number | undefined
  /** What killed it. */
  readonly signal: NodeJS.Signals | undefined
  /** It was never started, or its helper died and with it the knowledge of its end. */
  readonly error: ProgramError | undefined
  /** Processes of its group were still there. */
  readonly left: boolean
  /** Milliseconds of CPU; 0 where it is not known (node helpers). */
  readonly userTime: number
  /** See `userTime`. */
  readonly systemTime: number
  /** Bytes; 0 where it is not known. */
  readonly maxRss: number
}

/** Why a program did not start: `stage` and the system's name for the error (`ENOENT`). */
export class ProgramError extends GatewayError {
  override readonly name: string = 'ProgramError'
  /** What went wrong: the folder, the program, its helper. */
  readonly stage: FailedStage | 'helper'
  /** The system's name for it: `ENOENT`. */
  readonly errno: string

  constructor(stage: FailedStage | 'helper', errno: string, options: { status: number; message: string; cause?: unknown }) {
    // What is lacking for the moment may be there again.
    super(stage === 'helper' ? 'UNAVAILABLE' : 'PROGRAM_FAILED', options.status === 503 ? { ...options, retryAfter: 1 } : options)
    this.stage = stage
    this.errno = errno
  }
}

/** A program, from `run` until its whole group has gone. */
export interface Program {
  /** What it writes to its standard output. Errors are never thrown: look at `close` and at `exited`. */
  readonly stdout: Socket
  /** Its standard input, if the spec said `stream`: a connection of its own, so that EPIPE cannot take the answer with it. */
  readonly stdin: Socket | undefined
  /** Its process id, which is its group's too; undefined before it was started. */
  readonly pid: number | undefined
  /** Never rejects. Standard error that was written before has been told by then. */
  readonly exited: Promise<ProgramExit>
  /** It has exited, and nobody of its group is left. */
  readonly gone: boolean
  /** Hears each line of standard error, control characters made visible. */
  onStderr: ((line: string) => void) | undefined
  /** Hears that nobody of its group is left. */
  onGone: (() => void) | undefined
  /** Its process id is known now. What it writes may come before. */
  onStarted: (() => void) | undefined
  /** Sends a signal to its whole group; kept until it has started. Harmless when nobody is left. */
  kill(signal: NodeJS.Signals): void
}

/** What a program needs of its helper. */
export interface HelperSide {
  kill(signal: number): void
  /** It did not start the program in time. */
  stuck(): void
  /** Its socket cannot be connected to. */
  unreachable(): void
  /** There is nothing more to hear of this program. */
  gone(): void
}

const errors = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]))
const names = new Map(Object.entries(constants.signals).map(([name, number]) => [number, name as NodeJS.Signals]))
/** How long a connection that closed may be ahead of the report that says why. */
const REPORT_DELAY = 2000

export class Running implements Program {
  stdout!: Socket
  stdin: Socket | undefined
  pid: number | undefined
  readonly exited: Promise<ProgramExit>
  gone = false
  onStderr: ((line: string) => void) | undefined
  onGone: (() => void) | undefined
  onStarted: (() => void) | undefined
  readonly #token: number
  readonly #spec: ProgramSpec
  readonly #frame: string
  readonly #helper: HelperSide
  #settle!: (exit: ProgramExit) => void
  #over = false
  #doom: number | undefined
  #watch: NodeJS.Timeout | undefined
  #lines: LineSplitter | undefined

  constructor(token: number, spec: ProgramSpec, helper: HelperSide) {
    this.#token = token
    this.#spec = spec
    this.#frame = encodeRun(token, spec)
    this.#helper = helper
    this.exited = new Promise((resolve) => {
      this.#settle = resolve
    })
  }

  /** Connects and sends the frame. */
  open(connect: (path: string) => Socket, path: string, timeout: number): void {
    this.#watch = setTimeout(() => {
      // It may be this process that was held up: what the helper has said is read first.
      setImmediate(() => {
        if (this.pid === undefined && !this.#over) this.#helper.stuck()
      })
    }, timeout)
    // The helper takes connections in order: an input that comes first is there when its program is started.
    if (this.#spec.input === 'stream') {
      this.stdin = connect(path)
      this.stdin.on('error', () => {})
      this.stdin.write(encodeJoin(this.#token), 'latin1')
    }
    const socket = (this.stdout = connect(path))
    let failure: unknown
    socket.on('error', (error: NodeJS.ErrnoException) => {
      failure = error
      if (error.syscall === 'connect' && (error.code === 'ENOENT' || error.code === 'ECONNREFUSED')) this.#helper.unreachable()
    })
    socket.once('close', () => this.#closed(failure))
    // Nobody reads what we would say after the frame, so that saying that nothing follows is a system call for nothing.
    socket.allowHalfOpen = true
    socket.once('end', () => socket.destroy())
    socket.cork()
    socket.write(this.#frame, 'latin1')
    if (typeof this.#spec.input === 'object') for (const chunk of this.#spec.input) socket.write(chunk)
    socket.uncork()
  }

  kill(signal: NodeJS.Signals): void {
    if (this.gone) return
    const number = constants.signals[signal]
    if (this.pid === undefined) this.#doom = number
    else this.#helper.kill(number)
  }

  take(report: Report): void {
    switch (report.type) {
      case 'started':
        clearTimeout(this.#watch)
        this.pid = report.pid
        if (this.#doom !== undefined) this.#helper.kill(this.#doom)
        this.onStarted?.()
        return
      case 'stderr':
        this.#lines ??= new LineSplitter((line) => this.onStderr?.(line))
        this.#lines.push(report.bytes, performance.now())
        return
      case 'failed':
        this.#end({ ...UNKNOWN, error: this.#refused(report.stage, errors.get(report.errno) ?? `error ${report.errno}`) })
        return
      case 'exited':
        this.#end({
          code: report.signal === 0 ? report.code : undefined,
          signal: names.get(report.signal),
          error: undefined,
          left: report.left,
          userTime: report.userTime * 1000,
          systemTime: report.systemTime * 1000,
          maxRss: report.maxRss,
        })
        return
      case 'gone':
        this.#go()
        return
      case 'ready':
        return
    }
  }

  /** Its helper is no more. */
  lose(how: string): void {
    // It may have gone, and nobody could say so any more.
    if (this.pid !== undefined && !this.gone) signalGroup(this.pid, 'SIGKILL')
    const name = this.pid === undefined ? 'was lost at its start' : `(pid ${this.pid}) was killed`
    this.#end({
      ...UNKNOWN,
      error: new ProgramError('helper', how, {
        status: 503,
        message: `process: ${this.#spec.file} ${name}: the spawning helper ended with ${how}`,
      }),
    })
    this.#go()
  }

  #closed(failure: unknown): void {
    if (this.pid !== undefined || this.#over) return
    clearTimeout(this.#watch)
    this.#watch = setTimeout(
      () => {
        this.#end({
          ...UNKNOWN,
          error: new ProgramError('helper', (failure as NodeJS.ErrnoException | undefined)?.code ?? 'ECONNRESET', {
            status: 503,
            message: `process: ${this.#spec.file} was not started: the connection to the spawning helper broke${failure === undefined ? '' : ` (${describe(failure)})`}`,
            cause: failure,
          }),
        })
        // A connect that failed is known by now; the report of a broken frame would have come.
      },
      (failure as NodeJS.ErrnoException | undefined)?.syscall === 'connect' ? 0 : REPORT_DELAY,
    )
  }

  #end(exit: ProgramExit): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#watch)
    this.#lines?.end()
    this.#settle(exit)
    if (!exit.left) this.#go()
  }

  #go(): void {
    if (this.gone) return
    this.gone = true
    this.#helper.gone()
    this.onGone?.()
  }

  #refused(stage: FailedStage, errno: string): ProgramError {
    const { file, cwd } = this.#spec
    const what: Record<FailedStage, string> = {
      frame: `the spawning helper could not read its frame (${errno})`,
      input: `its standard input could not be made (${errno})`,
      cwd: `its working directory ${cwd} cannot be entered (${errno})`,
      exec: EXEC[errno] ?? errno,
    }
    const busy = errno === 'EAGAIN' || errno === 'ENOMEM' || errno === 'EMFILE' || errno === 'ENFILE'
    return new ProgramError(stage, errno, {
      status: busy ? 503 : errno === 'E2BIG' ? 431 : 500,
      message: `process: ${file} could not be started: ${what[stage]}`,
    })
  }
}

const UNKNOWN: ProgramExit = { code: undefined, signal: undefined, error: undefined, left: false, userTime: 0, systemTime: 0, maxRss: 0 }

/** What the system means (execve(2)), in words that say what to do. */
const EXEC: Readonly<Record<string, string>> = {
  ENOENT: 'it does not exist, or the interpreter in its first line does not (ENOENT); a first line that ends in CR LF has this effect too',
  EACCES: 'it is not executable for this user, or lies on a file system mounted noexec (EACCES); try chmod +x',
  ENOEXEC: 'it is neither a binary for this machine nor a script that begins with #! and an interpreter (ENOEXEC)',
  E2BIG: 'its arguments and environment are too long for the system (E2BIG)',
  EAGAIN: 'the limit of processes is reached (EAGAIN); see ulimit -u',
  ENOMEM: 'there is not enough memory (ENOMEM)',
  ETXTBSY: 'it is being written to (ETXTBSY)',
  ENOTDIR: 'a part of its path is not a directory (ENOTDIR)',
  ELOOP: 'its path has too many symbolic links, or its interpreters name one another (ELOOP)',
}
