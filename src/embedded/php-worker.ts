// One embedded PHP, from the pool's side: its thread, its pipes, its locks, and the request it has.

import { GatewayError, enumerate } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, Spooled } from '../core/index.ts'
import { visible } from '../process/index.ts'
import type { Scoreboard, Seat } from '../process/index.ts'
import type { Log } from '../core/index.ts'
import type { Mount } from './files.ts'
import type { Locks } from './locks.ts'
import { Exchange } from './php-exchange.ts'
import type { ExchangeLimits } from './php-exchange.ts'
import type { FromPhp, LockMessage, PhpThreadData, ToPhp } from './php-messages.ts'
import { Pipe } from './pipe.ts'
import { Thread, lineSink } from './thread.ts'
import type { WasmModule } from './wasm.ts'

export interface WorkerOptions {
  readonly name: string
  readonly url: string
  readonly module: WasmModule
  readonly ini: string
  readonly env: Readonly<Record<string, string>>
  readonly mounts: readonly Mount[]
  readonly limits: ExchangeLimits & { readonly memory: number; readonly start: number }
  readonly locks: Locks
  readonly board: Scoreboard
  readonly log: Log
}

export interface WorkerOwner {
  /** It can take a request. */
  idle(worker: PhpWorker): void
  /** It has ended, whatever the reason. */
  ended(worker: PhpWorker, reason: string): void
}

const OUTPUT = 262_144
const ERRORS = 65_536

export class PhpWorker {
  readonly id: number
  /** Rejects when it does not come up. */
  readonly ready: Promise<void>
  readonly exited: Promise<void>
  /** It has ended because it should. */
  retired = false
  /** It was ended because it was silent for too long. */
  hung = false
  readonly #seat: Seat
  readonly #options: WorkerOptions
  readonly #owner: WorkerOwner
  readonly #thread: Thread<ToPhp, FromPhp>
  readonly #output = new Pipe(Pipe.memory(OUTPUT))
  readonly #errors = new Pipe(Pipe.memory(ERRORS))
  readonly #lock = new Int32Array(new SharedArrayBuffer(4))
  #exchange: Exchange | undefined
  #body: Spooled | undefined
  #settle!: { resolve: () => void; reject: (error: GatewayError) => void }
  readonly #starting: NodeJS.Timeout

  constructor(options: WorkerOptions, owner: WorkerOwner) {
    this.#options = options
    this.#owner = owner
    const { name, log } = options
    const said = (line: string): void => {
      const target = this.#exchange?.request.target
      log.warn({ app: name, thread: this.id, ...(target !== undefined && { target }) }, visible(line))
    }
    const sink = lineSink((line) => {
      if (line !== '') said(line)
    })
    const data: PhpThreadData = {
      url: options.url,
      module: options.module,
      ini: options.ini,
      env: options.env,
      mounts: options.mounts,
      memory: options.limits.memory,
      output: this.#output.memory,
      errors: this.#errors.memory,
      lock: this.#lock.buffer as SharedArrayBuffer,
    }
    this.#thread = new Thread({ file: 'php-thread', data, message: (message) => this.#message(message, sink.write), line: said })
    this.id = this.#thread.id
    this.#seat = options.board.seat({ pid: this.id })
    this.ready = new Promise((resolve, reject) => (this.#settle = { resolve, reject }))
    this.ready.catch(() => {})
    this.#starting = setTimeout(() => this.#thread.kill(`it was not ready within ${options.limits.start} ms`), options.limits.start)
    this.exited = this.#thread.exited.then((reason) => {
      sink.end()
      this.#gone(reason ?? 'the thread ended')
    })
  }

  // ---- a request

  send(request: GatewayRequest, body: Spooled | undefined): Promise<GatewayResponse> {
    this.#thread.hold()
    this.#seat.begin(request)
    this.#body = body
    const exchange = new Exchange(this.#options.name, request, this.#output, this.#options.limits, {
      cut: () => (this.#output.cut = true),
      hung: (error) => {
        this.hung = true
        this.#thread.kill(error.message)
      },
    })
    this.#exchange = exchange
    const length = body?.length ?? 0
    const call = { type: 'call', variables: variablesOf(request, body), length } as const
    if (body === undefined || body.chunks !== undefined) {
      this.#thread.post({ ...call, ...(body?.chunks !== undefined && { chunks: body.chunks }) })
    } else {
      this.#thread.post(call)
      this.#upload(body).catch((error: unknown) => this.#thread.kill(String(error)))
    }
    return exchange.response
  }

  /** Of a body that is in a file. */
  async #upload(body: Spooled): Promise<void> {
    for await (const bytes of body.stream()) this.#thread.post({ type: 'chunk', bytes })
  }

  #over(): void {
    this.#seat.end()
    this.#exchange = undefined
    this.#body?.close()
    this.#body = undefined
    this.#options.locks.releaseAll(this.id)
  }

  // ---- from the thread

  #message(message: FromPhp, stderr: (bytes: Uint8Array) => void): void {
    switch (message.type) {
      case 'ready':
        clearTimeout(this.#starting)
        this.#seat.ready = true
        this.#thread.unhold()
        this.#settle.resolve()
        return
      case 'head':
        this.#exchange?.head(message.block)
        return
      case 'output':
        this.#output.heard()
        this.#exchange?.output()
        return
      case 'errors':
        this.#errors.heard()
        stderr(this.#errors.read())
        return
      case 'lock':
        this.#locking(message)
        return
      case 'end': {
        if (this.#errors.length > 0) stderr(this.#errors.read())
        const exchange = this.#exchange
        exchange?.end()
        this.#over()
        this.#output.reset()
        this.#thread.unhold()
        if (message.memory > this.#options.limits.memory / 2) {
          this.retired = true
          this.#thread.kill('its memory has grown, and does not become smaller')
        } else this.#owner.idle(this)
        return
      }
      case 'crashed':
        this.#thread.kill(message.reason)
    }
  }

  #locking(message: LockMessage): void {
    const { locks } = this.#options
    const answer = (granted: boolean): void => {
      Atomics.store(this.#lock, 0, granted ? 1 : 2)
      Atomics.notify(this.#lock, 0)
    }
    if (message.how === 'wait') locks.wait(this.id, message, () => answer(true))
    else if (message.how === 'try') answer(locks.acquire(this.id, message))
    else if (message.how === 'test') answer(!locks.blocked(this.id, message))
    else {
      locks.release(this.id, message)
      answer(true)
    }
  }

  // ---- the end

  stop(): void {
    this.#thread.kill('the pool was closed')
  }

  #gone(reason: string): void {
    clearTimeout(this.#starting)
    const { name } = this.#options
    this.#settle.reject(new GatewayError('PROGRAM_FAILED', { status: 500, message: `embedded: "${name}": PHP did not start: ${reason}` }))
    const exchange = this.#exchange
    if (exchange !== undefined) {
      const { method, target } = exchange.request
      // What it has written is what the script made before, and is worth no less than from a process that dies.
      exchange.output()
      exchange.lost(
        new GatewayError('UPSTREAM_TRUNCATED', {
          status: 502,
          message: `embedded: "${name}": the interpreter broke during ${method} ${target}: ${reason}`,
        }),
      )
    }
    this.#over()
    this.#seat.leave()
    this.#owner.ended(this, reason)
  }
}

function variablesOf(request: GatewayRequest, body: Spooled | undefined): string[] {
  const out: string[] = []
  enumerate(request, (name, value) => out.push(name, value), body === undefined ? {} : { contentLength: body.length })
  // What php-cgi makes of the two.
  out.push('PHP_SELF', request.scriptName + request.pathInfo, 'REDIRECT_STATUS', '200')
  return out
}
