// One run of a CGI program, from the server's side: its output, its end, its deadlines, and what becomes of the answer.
//
// The answer ends cleanly only when the program's output has ended and the program was not killed; everything that goes
// wrong after the header block cuts it. Whatever ends the run early ends the program's whole group: SIGTERM, then SIGKILL.

import { GatewayError, describe, fromByteString } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, Log } from '../core/index.ts'
import type { Program, ProgramExit } from '../process/index.ts'
import type { CgiLimits } from './limits.ts'
import { Output } from './output.ts'
import { relayErrors } from './stderr.ts'

export interface RunOptions {
  /** Of the application, for messages. */
  readonly name: string
  /** Path of the program. */
  readonly script: string
  readonly nph: boolean
  readonly limits: CgiLimits
  readonly log: Log | undefined
  /** Hears why the run was ended early. */
  readonly aborted: (error: unknown) => void
}

export class Run {
  readonly response: Promise<GatewayResponse>
  /** The program has exited: its place is free. Never rejects. */
  readonly exited: Promise<ProgramExit>
  readonly program: Program
  readonly #options: RunOptions
  readonly #output: Output
  #resolve!: (response: GatewayResponse) => void
  #reject!: (error: unknown) => void
  #exit: ProgramExit | undefined
  #eof = false
  #paused = false
  #cut = false
  #remarked = false
  #hold: NodeJS.Timeout | undefined
  #quiet: NodeJS.Timeout | undefined
  #total: NodeJS.Timeout | undefined
  #ladder: NodeJS.Timeout | undefined
  readonly #begun = performance.now()
  #waited = 0
  #pausedAt = 0

  constructor(program: Program, request: GatewayRequest, options: RunOptions) {
    this.program = program
    this.#options = options
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#output = new Output({
      headLimit: options.limits.head,
      nph: options.nph,
      hold: options.limits.holdTime === 0 ? 0 : options.limits.holdBytes,
      held: () => {
        this.#hold = setTimeout(() => this.#output.release(), options.limits.holdTime)
      },
      bodyless: request.method === 'HEAD',
      answer: (response) => this.#resolve(response),
      drain: () => this.#resume(),
      cancel: (reason) => this.abort(reason ?? gone()),
    })
    this.exited = program.exited.then((exit) => this.#exited(exit))
    relayErrors(program, request, options.limits.stderr, () => this.#label())
    this.#listen()
    this.#arm()
    this.#total = setTimeout(() => this.#late(), options.limits.time)
    request.onFinish((outcome) => {
      if (outcome.kind !== 'sent') this.abort(outcome.error ?? gone())
    })
  }

  /** Ends the program, and the answer with `error` where it is not whole. Idempotent. */
  abort(error: unknown): void {
    if (this.#cut || (this.#eof && this.#exit !== undefined && this.#output.state === 'done')) return
    this.#cut = true
    this.#options.aborted(error)
    this.#clear()
    this.#reject(error)
    this.#output.fail(error)
    this.program.stdout.destroy()
    this.program.stdin?.destroy()
    this.terminate()
  }

  /** SIGTERM to the group, SIGKILL to what is left of it. `grace` in milliseconds, the limit's if left out. */
  terminate(grace: number = this.#options.limits.kill): void {
    const { program } = this
    if (program.gone) return
    clearTimeout(this.#ladder)
    if (grace === 0) {
      program.kill('SIGKILL')
      return
    }
    program.kill('SIGTERM')
    this.#ladder = setTimeout(() => program.kill('SIGKILL'), grace)
  }

  /** The client took some of what there is, or the program some of its input. */
  touch(): void {
    this.#quiet?.refresh()
  }

  #listen(): void {
    const { stdout } = this.program
    stdout.on('data', (chunk: Buffer) => this.#data(chunk))
    const ended = (): void => {
      if (this.#eof) return
      this.#eof = true
      this.#settle()
    }
    stdout.once('end', ended)
    stdout.once('close', ended)
  }

  #data(chunk: Buffer): void {
    if (this.#cut) return
    const output = this.#output
    const { state } = output
    let more = true
    try {
      more = output.write(chunk)
    } catch (error) {
      this.#refuse(() => this.#failure(error))
      return
    }
    if (output.received > this.#options.limits.output) {
      this.#refuse(() =>
        this.#failed('UPSTREAM_PROTOCOL', 502, `wrote more than ${this.#options.limits.output} bytes, the limit of its output`),
      )
    } else if (!more) this.#pause()
    else if (output.state === state) this.touch()
    else this.#arm()
  }

  /** Its output is not acceptable. It may have come before the word of its start, and the log shall name its process. */
  #refuse(error: () => GatewayError): void {
    const { program } = this
    program.stdout.destroy()
    if (program.pid !== undefined || this.#exit !== undefined) this.abort(error())
    else program.onStarted = () => this.abort(error())
  }

  #pause(): void {
    if (this.#paused) return
    this.#paused = true
    this.#pausedAt = performance.now()
    this.program.stdout.pause()
    this.#arm()
  }

  #resume(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#waited += performance.now() - this.#pausedAt
    this.program.stdout.resume()
    this.#arm()
  }

  #exited(exit: ProgramExit): ProgramExit {
    this.#exit = exit
    this.#report(exit)
    this.#settle()
    return exit
  }

  /** One of the two ends has come, or both. */
  #settle(): void {
    if (this.#cut) {
      if (this.program.gone) clearTimeout(this.#ladder)
      return
    }
    if (this.#exit?.error !== undefined) this.abort(this.#exit.error)
    else if (this.#eof && this.#exit !== undefined) this.#finish()
    else this.#arm()
  }

  /** Nothing more will come. */
  #finish(): void {
    const exit = this.#exit
    const { state } = this.#output
    if (exit !== undefined) this.#clear()
    if (state === 'done') {
      this.#remark()
      return
    }
    if (exit?.signal !== undefined) {
      const status = state === 'head' ? 500 : 502
      this.abort(
        this.#failed(
          state === 'head' ? 'PROGRAM_FAILED' : 'UPSTREAM_TRUNCATED',
          status,
          `was ended by ${exit.signal} before its answer was whole`,
        ),
      )
      return
    }
    if (state === 'head' && exit?.code !== undefined && exit.code !== 0) {
      this.abort(this.#failed('PROGRAM_FAILED', 500, `exited with status ${exit.code} before it had answered`))
      return
    }
    try {
      this.#output.end()
      this.#remark()
      this.#arm()
    } catch (error) {
      this.abort(this.#failure(error))
    }
  }

  // -- deadlines -------------------------------------------------------------------------------------------------------

  /** Sets the clock for what is being waited for now. */
  #arm(): void {
    clearTimeout(this.#quiet)
    this.#quiet = undefined
    if (this.#waits()) this.#quiet = setTimeout(() => this.#expired(), this.#patience())
  }

  /** For the rest of an answer, or for processes that hold the output of a program that has ended. */
  #waits(): boolean {
    const orphaned = this.#exit !== undefined && !this.#eof
    return !this.#cut && (this.#output.state !== 'done' || orphaned)
  }

  #patience(): number {
    const { firstByte, idle, linger } = this.#options.limits
    if (this.#paused) return idle
    if (this.#eof || this.#exit !== undefined) return linger
    return this.#output.state === 'head' ? firstByte : idle
  }

  /** When this process itself was held up, what came meanwhile has not been read: looked at once more after it has. */
  #expired(): void {
    const { received } = this.#output
    this.#quiet = undefined
    setImmediate(() => {
      if (this.#quiet !== undefined || !this.#waits()) return
      if (this.#output.received === received) this.#silent()
      else this.#arm()
    })
  }

  #silent(): void {
    const { firstByte, idle } = this.#options.limits
    if (this.#paused) {
      this.abort(this.#failed('TIMEOUT', 504, `was stopped: its client took nothing for ${idle} ms`))
    } else if (this.#exit !== undefined) {
      // It has ended, and somebody it started still holds its output: they have had their time.
      this.#options.log?.warn(this.#fields(), `cgi: ${this.#label()} ended, but processes it left kept its output open; ending them`)
      this.terminate()
      this.#eof = true
      this.#finish()
      this.program.stdout.destroy()
    } else if (this.#eof) {
      // It closed its output to go on with other things. Nothing more can come of the answer.
      this.#finish()
    } else if (this.#output.state === 'head') {
      this.abort(this.#failed('TIMEOUT', 504, `did not answer within ${firstByte} ms`))
    } else {
      this.abort(this.#failed('TIMEOUT', 504, `sent nothing for ${idle} ms`))
    }
  }

  /** The time limit, as far as it was the program's own time. */
  #late(): void {
    const now = performance.now()
    const waited = this.#waited + (this.#paused ? now - this.#pausedAt : 0)
    const left = this.#options.limits.time - (now - this.#begun - waited)
    if (left > 1) {
      this.#total = setTimeout(() => this.#late(), Math.max(left, this.#paused ? 1000 : 1))
      return
    }
    const error = this.#failed('TIMEOUT', 504, `ran longer than ${this.#options.limits.time} ms, its limit`)
    // The client may have had its answer long ago: then nobody else says why the program was ended.
    if (this.#output.state === 'done') this.#options.log?.warn(this.#fields(), error.message)
    this.abort(error)
  }

  #clear(): void {
    clearTimeout(this.#hold)
    clearTimeout(this.#quiet)
    clearTimeout(this.#total)
  }

  // -- words -----------------------------------------------------------------------------------------------------------

  #report(exit: ProgramExit): void {
    const { code, signal, userTime, systemTime, maxRss } = exit
    const fields = { ...this.#fields(), code, signal, userTime, systemTime, maxRss, time: performance.now() - this.#begun }
    this.#options.log?.debug(fields, `cgi: ${this.#label()} ended`)
  }

  /** What is odd about a run whose answer was whole: nobody else says it. Where it was not, the answer's error does. */
  #remark(): void {
    const { log } = this.#options
    const exit = this.#exit
    if (exit === undefined || this.#remarked) return
    this.#remarked = true
    const { surplus } = this.#output
    if (surplus > 0)
      log?.warn(this.#fields(), `cgi: ${this.#label()} wrote ${surplus} bytes more than its Content-Length; they were dropped`)
    if (exit.signal !== undefined) log?.warn(this.#fields(), `cgi: ${this.#label()} answered, and was ended by ${exit.signal}`)
    else if (exit.code !== 0) log?.warn(this.#fields(), `cgi: ${this.#label()} answered, and exited with status ${exit.code}`)
  }

  #fields(): object {
    return { application: this.#options.name, program: this.#options.script, pid: this.program.pid }
  }

  #label(): string {
    const { script } = this.#options
    return `${script.slice(script.lastIndexOf('/') + 1)}[${this.program.pid ?? '-'}]`
  }

  /** An error of the output, with its subject. */
  #failure(error: unknown): GatewayError {
    const code = error instanceof GatewayError ? error.code : 'PROGRAM_FAILED'
    const status = error instanceof GatewayError ? error.status : 500
    const exit = this.#exit?.code === undefined ? '' : ` (exit status ${this.#exit.code})`
    return new GatewayError(code, { status, cause: error, message: `${this.#subject()}: ${describe(error)}${exit}` })
  }

  #failed(code: GatewayError['code'], status: number, what: string): GatewayError {
    return new GatewayError(code, { status, message: `${this.#subject()} ${what}` })
  }

  #subject(): string {
    return `cgi: ${fromByteString(this.#options.script)} (pid ${this.program.pid ?? 'none'})`
  }
}

function gone(): GatewayError {
  return new GatewayError('CLIENT_GONE', { status: 499, message: 'cgi: the client has gone' })
}
