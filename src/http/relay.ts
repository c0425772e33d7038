// An answer on its way out by node's own server or by an HTTP/2 stream: checked, sent at the client's pace, and never ended cleanly
// when it is not whole. How it is written is the wire's business.

import { STATUS_CODES } from 'node:http'
import { FileSlice, GatewayError, Scope, discard, isBodyless, isFieldValue, isToken, pump, statusOf } from '../core/index.ts'
import type { Application, ByteSink, ByteStream, GatewayRequest, GatewayResponse, HeaderList, Outcome, OutcomeKind } from '../core/index.ts'
import { Head, contract } from './head.ts'

/** The way to the client. Nothing of it is called after `abort`. */
export interface Wire {
  /** @param list without a Date; @param whole the body, where it is known as a whole; @param trailed whether trailers may follow. */
  head(status: number, reason: string, list: HeaderList, whole: string | Uint8Array | undefined, trailed: boolean): void
  /** The head by itself, if it waits for its first bytes. */
  flush(): void
  /** @returns false when it has enough: `drained` of the relay comes later. */
  write(chunks: readonly Uint8Array[]): boolean
  end(trailers: HeaderList): void
  /** What was sent must not look whole. */
  abort(): void
}

export interface RelayHost {
  /** Says in the log what the client is not told. `status` is 0 when the answer had begun. */
  report(error: unknown, status: number): void
  track(work: Promise<unknown>): void
}

/** One request's answer. The outcome is `closed`'s to say: only the wire knows what arrived. */
export class Relay implements ByteSink {
  outcome: Outcome | undefined = undefined
  status = 0
  /** Bytes of body handed to the wire. */
  bytes = 0
  readonly #method: string
  readonly #wire: Wire
  readonly #host: RelayHost
  #scope: Scope | undefined = undefined
  #lane: { resume(): void } | undefined
  #body: ByteStream | undefined
  #trailers: GatewayResponse['trailers']
  #declared: number | undefined
  #failure: unknown
  /** The wire has got all there is. */
  #ended = false

  constructor(method: string, wire: Wire, host: RelayHost) {
    this.#method = method
    this.#wire = wire
    this.#host = host
  }

  readonly scope = (): Scope => {
    if (this.#scope === undefined) {
      this.#scope = new Scope((work) => this.#host.track(work))
      if (this.outcome !== undefined) this.#scope.finish(this.outcome)
    }
    return this.#scope
  }

  run(application: Application, request: GatewayRequest): void {
    try {
      const result = application(request)
      if ('then' in result) {
        result.then(
          (response) => this.#answer(response),
          (error: unknown) => this.refuse(error),
        )
      } else this.#answer(result)
    } catch (error) {
      this.refuse(error)
    }
  }

  /** Before the head: its status, and nothing else about it. After it: never a clean end. */
  refuse(error: unknown): void {
    if (this.outcome !== undefined || this.#ended) return
    this.#failure = error
    if (this.status !== 0) {
      this.#host.report(error, 0)
      this.#wire.abort()
      return
    }
    const wanted = statusOf(error)
    const status = Number.isInteger(wanted) && wanted >= 400 && wanted <= 599 ? wanted : 500
    this.#host.report(error, status)
    const list = ['Content-Length', '0']
    if (error instanceof GatewayError && error.retryAfter !== undefined) list.push('Retry-After', String(Math.ceil(error.retryAfter)))
    this.#head(status, undefined, list, '', false)
    this.#finish([])
  }

  /** The connection is done with this answer. @param whole whether all of it went out. @returns what became of it. */
  closed(whole: boolean): OutcomeKind {
    if (this.outcome !== undefined) return this.outcome.kind
    const { status, bytes } = this
    const error = this.#failure
    if (error !== undefined) this.outcome = { kind: 'failed', status, bytes, error }
    else if (whole && this.#ended) this.outcome = { kind: 'sent', status, bytes }
    else this.outcome = { kind: 'cut', status, bytes, error: gone() }
    if (!this.#ended) this.#body?.cancel(this.outcome.error)
    this.#scope?.finish(this.outcome)
    return this.outcome.kind
  }

  drained(): void {
    this.#lane?.resume()
  }

  write(chunk: Uint8Array): boolean {
    return this.writeAll([chunk])
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    let length = 0
    for (const chunk of chunks) length += chunk.length
    if (this.#over || length === 0) return true
    this.bytes += length
    if (this.#declared !== undefined && this.bytes > this.#declared) {
      this.#break(mismatch(this.#declared, `the body has ${this.bytes} or more`))
      return true
    }
    return this.#wire.write(chunks)
  }

  end(): void {
    if (this.#over) return
    if (this.#declared !== undefined && this.bytes < this.#declared) {
      this.#break(mismatch(this.#declared, `the body ended after ${this.bytes}`))
      return
    }
    try {
      const given = this.#trailers?.() ?? []
      if (given instanceof Promise) given.then((list) => this.#trail(list)).catch((error: unknown) => this.#break(error))
      else this.#trail(given)
    } catch (error) {
      this.#break(error)
    }
  }

  fail(error: unknown): void {
    if (!this.#over) this.refuse(error)
  }

  get #over(): boolean {
    return this.#ended || this.outcome !== undefined || this.#failure !== undefined
  }

  #answer(response: GatewayResponse): void {
    if (this.outcome !== undefined || this.#ended) {
      drop(response, this.outcome?.error)
      return
    }
    try {
      this.#send(response)
    } catch (error) {
      drop(response, error)
      this.refuse(error)
    }
  }

  #send(response: GatewayResponse): void {
    const { status, reason, body } = response
    if (!Number.isInteger(status) || status < 200 || status > 999) throw contract(`a status of ${status}`)
    if (response.internal !== undefined) throw contract('an internal result that no site has resolved')
    const head = new Head(response)
    for (let i = 0; i < head.list.length; i += 2) check(head.list[i], head.list[i + 1])
    if (reason !== undefined && !isFieldValue(reason)) throw contract('a control character in the reason')
    const length = lengthOf(body)
    if (isBodyless(this.#method, status) || status === 205) {
      if (status === 204 || status === 205) head.withoutLength()
      else if (status !== 304 && head.length === undefined && length !== undefined) head.add('Content-Length', String(length))
      this.#head(status, reason, head.list, '', false)
      discard(response)
      this.#finish([])
      return
    }
    if (length !== undefined && head.length !== undefined && head.length !== length) {
      throw contract(`Content-Length is ${head.length}, the body has ${length} bytes`)
    }
    if ((body === null || typeof body === 'string' || body instanceof Uint8Array) && response.trailers === undefined) {
      if (head.length === undefined) head.add('Content-Length', String(length))
      this.bytes = length ?? 0
      this.#head(status, reason, head.list, body ?? '', false)
      this.#finish([])
      return
    }
    this.#stream(response, head, length)
  }

  #stream(response: GatewayResponse, head: Head, length: number | undefined): void {
    const { body, trailers } = response
    if (trailers !== undefined) head.withoutLength()
    else if (head.length === undefined && length !== undefined) head.add('Content-Length', String(length))
    this.#declared = trailers === undefined ? (head.length ?? length) : undefined
    this.#trailers = trailers
    this.#head(response.status, response.reason, head.list, undefined, trailers !== undefined)
    // The head waits for the first bytes, to leave with them, but not for long: an event stream may have none for minutes.
    setImmediate(() => {
      if (!this.#over) this.#wire.flush()
    })
    if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
      if (body !== null && body.length > 0) this.write(typeof body === 'string' ? Buffer.from(body) : body)
      this.end()
      return
    }
    this.#body = body instanceof FileSlice ? body.stream() : body
    this.#lane = pump(this.#body, this)
  }

  #head(status: number, reason: string | undefined, list: HeaderList, whole: string | Uint8Array | undefined, trailed: boolean): void {
    this.#wire.head(status, reason ?? STATUS_CODES[status] ?? '', list, whole, trailed)
    this.status = status
  }

  #trail(list: HeaderList): void {
    if (this.#over) return
    for (let i = 0; i < list.length; i += 2) check(list[i], list[i + 1])
    this.#finish(list)
  }

  #finish(trailers: HeaderList): void {
    this.#ended = true
    this.#wire.end(trailers)
  }

  #break(error: unknown): void {
    if (this.#over) return
    const body = this.#body
    this.refuse(error)
    body?.cancel(error)
  }
}

function check(name: string | undefined, value: string | undefined): void {
  if (name === undefined || value === undefined || !isToken(name) || !isFieldValue(value)) throw contract('a header field is not one')
}

function lengthOf(body: GatewayResponse['body']): number | undefined {
  if (body === null) return 0
  if (typeof body === 'string') return Buffer.byteLength(body)
  return body instanceof Uint8Array || body instanceof FileSlice ? body.length : undefined
}

/** Discards whatever the application returned as a response. */
function drop(response: GatewayResponse, reason: unknown): void {
  try {
    discard(response, reason)
  } catch {
    // It was no response, or its body fails even at being cancelled; there is nothing left to release.
  }
}

function mismatch(declared: number, fact: string): GatewayError {
  return new GatewayError('BODY_LENGTH_MISMATCH', { status: 500, message: `http: Content-Length is ${declared} bytes, ${fact}` })
}

function gone(): GatewayError {
  return new GatewayError('CLIENT_GONE', { status: 499, message: 'http: the client has gone before its answer was whole' })
}
