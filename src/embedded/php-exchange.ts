// One request to an embedded PHP, from the pool's side: what comes out of the thread becomes an answer.
//
// A short page that is done soon is handed over as one value, for then it has a length; what is longer or slower is streamed, at the
// pace of its reader: while that does not read, the pipe stays full and the script waits.

import { Channel, GatewayError, isBodyless, parseHead } from '../core/index.ts'
import type { CgiHead, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Pipe } from './pipe.ts'

export interface ExchangeLimits {
  readonly silence: number
  readonly holdBytes: number
  readonly holdTime: number
}

export interface ExchangeOwner {
  /** Nobody reads on, or nobody waits any more. */
  cut(): void
  /** It said nothing for too long. */
  hung(error: GatewayError): void
}

export class Exchange {
  readonly request: GatewayRequest
  readonly response: Promise<GatewayResponse>
  /** All output is in the pipe, or there will be no more. */
  #ended = false
  #over = false
  #cut = false
  #head: CgiHead | undefined
  #held: Buffer[] = []
  #bytes = 0
  #channel: Channel | undefined
  #paused = false
  #answered = false
  #holding: NodeJS.Timeout | undefined
  #silent: NodeJS.Timeout
  readonly #pipe: Pipe
  readonly #name: string
  readonly #limits: ExchangeLimits
  readonly #owner: ExchangeOwner
  #resolve!: (response: GatewayResponse) => void
  #reject!: (error: unknown) => void

  constructor(name: string, request: GatewayRequest, pipe: Pipe, limits: ExchangeLimits, owner: ExchangeOwner) {
    this.#name = name
    this.request = request
    this.#pipe = pipe
    this.#limits = limits
    this.#owner = owner
    this.response = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#silent = setTimeout(() => this.#hung(), limits.silence)
    request.onFinish(({ kind, error }) => {
      if (kind !== 'sent') this.#drop(error)
    })
  }

  // ---- from the thread

  head(block: string): void {
    this.#heard()
    if (this.#answered || this.#head !== undefined) return
    try {
      this.#head = parseHead(block)
    } catch (error) {
      this.#fail(error)
      this.#drop(error)
      return
    }
    this.#holding = setTimeout(() => this.#stream(), this.#limits.holdTime)
  }

  /** There is something in the pipe. */
  output(): void {
    this.#heard()
    if (!this.#paused) this.#drain()
  }

  /** All is in the pipe. The worker is free; what is left to be read is not its business. */
  end(): void {
    this.#ended = true
    clearTimeout(this.#silent)
    clearTimeout(this.#holding)
    // What the pipe holds is little, and the next request wants it.
    this.#paused = false
    while (this.#pipe.length > 0) this.#take(this.#pipe.read())
    this.#finish()
  }

  /** It is gone in the middle. */
  lost(error: GatewayError): void {
    // Nothing more comes of it, so there is nobody to be told or waited for.
    this.#ended = true
    this.#fail(error)
  }

  // ---- to the client

  #drain(): void {
    while (this.#pipe.length > 0 && !this.#paused) this.#take(this.#pipe.read())
  }

  #take(chunk: Buffer): void {
    this.#bytes += chunk.length
    if (this.#cut || this.#bodyless) return
    if (this.#channel !== undefined) {
      if (!this.#channel.write(chunk)) this.#pause()
      return
    }
    this.#held.push(chunk)
    if (this.#bytes > this.#limits.holdBytes) this.#stream()
  }

  get #bodyless(): boolean {
    return this.#head !== undefined && isBodyless(this.request.method, this.#head.status)
  }

  /** It is longer, or takes longer, than what is held. */
  #stream(): void {
    clearTimeout(this.#holding)
    if (this.#head === undefined || this.#channel !== undefined || this.#answered) return
    // To HEAD nothing is streamed: its answer waits for the end, where the length is known.
    if (this.#bodyless) return
    this.#channel = new Channel({
      onDrain: () => this.#resume(),
      onCancel: (reason) => this.#drop(reason),
    })
    this.#answer(this.#channel)
    const held = this.#held
    this.#held = []
    if (held.length > 0 && !this.#channel.writeAll(held)) this.#pause()
  }

  #pause(): void {
    this.#paused = true
    // It is not silent while nobody listens.
    clearTimeout(this.#silent)
  }

  #resume(): void {
    this.#paused = false
    if (this.#ended) return
    this.#heard()
    this.#drain()
  }

  #finish(): void {
    if (this.#over) return
    const head = this.#head
    if (head === undefined) {
      this.#fail(this.#error('UPSTREAM_HEAD', 502, 'the script ended without a header'))
      return
    }
    const promised = head.contentLength
    if (promised !== undefined && promised !== this.#bytes && !this.#bodyless) {
      this.#fail(this.#error('UPSTREAM_TRUNCATED', 502, `the script sent ${this.#bytes} bytes, and its Content-Length says ${promised}`))
      return
    }
    this.#over = true
    if (this.#channel !== undefined) this.#channel.end()
    else this.#answer(this.#bodyless || this.#bytes === 0 ? null : Buffer.concat(this.#held))
  }

  #answer(body: GatewayResponse['body']): void {
    if (this.#answered) return
    this.#answered = true
    const { status, reason, headers } = this.#head!
    const length = this.request.method === 'HEAD' && this.#head!.contentLength === undefined && this.#bytes > 0
    this.#resolve({
      status,
      ...(reason !== undefined && { reason }),
      headers: length ? [...headers, 'Content-Length', String(this.#bytes)] : headers,
      body,
    })
  }

  #fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    clearTimeout(this.#silent)
    clearTimeout(this.#holding)
    if (this.#channel !== undefined) this.#channel.fail(error)
    else if (!this.#answered) this.#reject(error)
    this.#answered = true
  }

  /** Nobody wants the rest: the script hears of it at its next output (ignore_user_abort). */
  #drop(reason: unknown): void {
    if (this.#cut) return
    this.#cut = true
    this.#held = []
    this.#paused = false
    if (!this.#answered) this.#fail(reason ?? new GatewayError('CLIENT_GONE', { status: 499, message: 'embedded: the client has gone' }))
    this.#over = true
    if (!this.#ended) {
      this.#heard()
      this.#owner.cut()
    }
  }

  // ---- the clock

  #heard(): void {
    clearTimeout(this.#silent)
    if (!this.#ended) this.#silent = setTimeout(() => this.#hung(), this.#limits.silence)
  }

  #hung(): void {
    const error = this.#error('TIMEOUT', 504, `the script said nothing for ${this.#limits.silence} ms`)
    this.#fail(error)
    this.#owner.hung(error)
  }

  #error(code: 'TIMEOUT' | 'UPSTREAM_HEAD' | 'UPSTREAM_TRUNCATED', status: number, fact: string): GatewayError {
    const { method, target } = this.request
    return new GatewayError(code, { status, message: `embedded: "${this.#name}": ${fact} (${method} ${target})` })
  }
}
