// One request through the in-memory door: fed at the application's pace, answered by the same rules as over HTTP.

import {
  Channel,
  GatewayError,
  describe,
  discard,
  getHeader,
  isBodyless,
  isFieldValue,
  isToken,
  pump,
  statusOf,
  type Application,
  type ByteSink,
  type ByteStream,
  type GatewayResponse,
  type HeaderList,
  type Outcome,
  type OutcomeKind,
} from '../core/index.ts'
import { bodyStream, type CollectedResponse } from './collect.ts'
import { makeRequest, type MadeRequest, type RequestParts } from './request.ts'

/** A request, and how its client reads. */
export interface MemoryParts extends RequestParts {
  /**
   * How the client reads the answer's body. `eager` (default): as it comes. `slow`: it has enough after each chunk, and goes
   * on a turn of the event loop later. `held`: it has enough after the first chunk, until `release()`.
   */
  readonly reader?: 'eager' | 'slow' | 'held'
}

/** What the client got. */
export interface MemoryResponse extends CollectedResponse {
  /** What `onFinish` heard. Look at it: after a failure or an abort, `body` is what the client had got by then. */
  readonly outcome: Outcome
  /** The 1xx responses that came before, in order. */
  readonly informed: readonly { readonly status: number; readonly headers: HeaderList }[]
  /** What was written to `errors`. */
  readonly errors: string
  /** The body in the pieces in which it came. */
  readonly chunks: readonly Uint8Array[]
}

/** A request under way; awaited, it gives the response. It never rejects for what the application does. */
export interface MemoryExchange extends Promise<MemoryResponse> {
  /** Resolves with the status when the head is sent; with 0 when there never will be one. */
  readonly head: Promise<number>
  /** Bytes of body that the client has got so far. */
  received(): number
  /** The client goes away. */
  abort(reason?: unknown): void
  /** A `held` reader reads on, to the end. */
  release(): void
}

const gone = (): GatewayError => new GatewayError('CLIENT_GONE', { status: 499, message: 'testing: the client has gone' })

/** The state of one exchange. `settled` is called once, after `onFinish`. */
export class Exchange {
  readonly request: MadeRequest
  readonly informed: { status: number; headers: HeaderList }[] = []
  readonly #settled: (response: MemoryResponse) => void
  readonly #headSent: (status: number) => void
  readonly #body: Channel
  readonly #chunks: Uint8Array[] = []
  #reader: 'eager' | 'slow' | 'held'
  #response: GatewayResponse | undefined
  #source: { resume(): void } | undefined
  #stream: ByteStream | undefined
  #trailers: HeaderList = []
  #status = 0
  #bytes = 0
  #over = false

  constructor(parts: MemoryParts, settled: (response: MemoryResponse) => void, headSent: (status: number) => void) {
    this.#settled = settled
    this.#headSent = headSent
    this.#reader = parts.reader ?? 'eager'
    const made = makeRequest(parts)
    this.#body = fed(made.body, made.contentLength)
    this.request = makeRequest({
      ...parts,
      headers: made.headers.list,
      ...((parts.body !== undefined || made.contentLength !== 0) && { body: this.#body }),
      contentLength: made.contentLength,
      inform: (status, headers) => this.#inform(status, headers),
    })
  }

  get received(): number {
    return this.#bytes
  }

  async run(application: Application): Promise<void> {
    try {
      const response = await application(this.request)
      if (this.#over) discard(response, this.request.signal.reason)
      else await this.#answer(response)
    } catch (error) {
      this.#refuse(error)
    }
  }

  abort(reason: unknown = gone()): void {
    if (this.#over) return
    this.#body.fail(reason)
    this.#finish('cut', reason)
    this.#stream?.cancel(reason)
  }

  release(): void {
    this.#reader = 'eager'
    this.#source?.resume()
  }

  #inform(status: number, headers: HeaderList): void {
    if (status < 100 || status > 199 || status === 101) {
      throw new GatewayError('CONTRACT', { status: 500, message: `testing: inform: ${status} is not an interim status` })
    }
    // Too late for it: a client that has the head, or has gone, gets no more of them.
    if (this.#status === 0 && !this.#over) this.informed.push({ status, headers })
  }

  /** The application failed before there was a head. */
  #refuse(error: unknown): void {
    this.request.errors.write(`${describe(error)}\n`)
    if (this.#over) return
    const retryAfter = error instanceof GatewayError ? error.retryAfter : undefined
    const headers = retryAfter === undefined ? [] : ['Retry-After', String(retryAfter)]
    this.#head({ status: statusOf(error), headers, body: null })
    this.#finish('failed', error)
  }

  async #answer(response: GatewayResponse): Promise<void> {
    const fault = faultOf(response, this.request.method)
    if (fault !== undefined) {
      const error = new GatewayError('CONTRACT', { status: 500, message: `testing: ${fault}` })
      discard(response, error)
      throw error
    }
    this.#head(response)
    if (isBodyless(this.request.method, response.status) || response.status === 205) {
      discard(response)
      this.#finish('sent')
      return
    }
    this.#stream = bodyStream(response.body)
    this.#source = pump(this.#stream, this.#sink(declaredLength(response)))
  }

  #head(response: GatewayResponse): void {
    this.#response = response
    this.#status = response.status
    this.#headSent(response.status)
  }

  #sink(declared: number | undefined): ByteSink {
    const take = (chunk: Uint8Array): boolean => {
      if (this.#over) return true
      if (declared !== undefined && this.#bytes + chunk.length > declared) {
        const error = lengthError(declared, 'more')
        this.#break(error)
        this.#stream?.cancel(error)
        return true
      }
      this.#chunks.push(chunk)
      this.#bytes += chunk.length
      if (this.#reader === 'slow') setImmediate(() => this.#source?.resume())
      return this.#reader === 'eager'
    }
    return {
      write: take,
      writeAll: (chunks) => chunks.map(take).every(Boolean),
      end: () => {
        if (declared !== undefined && this.#bytes < declared) this.#break(lengthError(declared, `only ${this.#bytes}`))
        else void this.#end()
      },
      fail: (error) => this.#break(error),
      cancelled: (reason) => this.#break(reason ?? new Error('testing: the body was cancelled while it was being sent')),
    }
  }

  async #end(): Promise<void> {
    try {
      const trailers = this.#response?.trailers
      if (trailers !== undefined) this.#trailers = await trailers()
      this.#finish('sent')
    } catch (error) {
      this.#break(error)
    }
  }

  /** After the head nothing can be told to the client but that it is not whole. */
  #break(error: unknown): void {
    if (this.#over) return
    this.request.errors.write(`${describe(error)}\n`)
    this.#finish('failed', error)
  }

  #finish(kind: OutcomeKind, error?: unknown): void {
    if (this.#over) return
    this.#over = true
    // Whatever the application did not read of the body, nobody will.
    this.#body.cancel(error)
    const outcome: Outcome = { kind, status: this.#status, bytes: this.#bytes, ...(error !== undefined && { error }) }
    this.request.finish(outcome)
    this.#headSent(0)
    this.#settled({
      status: this.#status,
      reason: this.#response?.reason,
      headers: this.#response?.headers ?? [],
      body: Buffer.concat(this.#chunks),
      trailers: this.#trailers,
      outcome,
      informed: this.informed,
      errors: this.request.errorText,
      chunks: this.#chunks,
    })
  }
}

/** The client's body, sent as the application reads it. What is not as long as it says is cut or fails, as framing makes it. */
function fed(source: ByteStream, length: number | undefined): Channel {
  let sent = 0
  let lane: { resume(): void } | undefined
  const channel: Channel = new Channel({
    highWaterMark: 1,
    onStart: () => {
      lane = pump(source, {
        write: (chunk) => {
          const wanted = length === undefined ? chunk.length : Math.min(chunk.length, length - sent)
          sent += wanted
          return channel.write(chunk.subarray(0, wanted))
        },
        writeAll(chunks) {
          return chunks.map((chunk) => this.write(chunk)).every(Boolean)
        },
        end: () => {
          if (length === undefined || sent === length) channel.end()
          else channel.fail(gone())
        },
        fail: (error) => channel.fail(error),
      })
    },
    onDrain: () => lane?.resume(),
    onCancel: (reason) => source.cancel(reason),
  })
  return channel
}

/** Why this response cannot be sent, before anything of it is. */
function faultOf(response: GatewayResponse, method: string): string | undefined {
  const { status, reason, headers, internal, body } = response
  if (internal !== undefined) return `an internal result reached the door: ${JSON.stringify(internal)}`
  if (!Number.isInteger(status) || status < 200 || status > 599) return `${status} is not a final status`
  if (reason !== undefined && !isFieldValue(reason)) return 'a control character in the reason'
  if (headers.length % 2 !== 0) return 'a header list of an odd length'
  for (let i = 0; i < headers.length; i += 2) {
    if (!isToken(headers[i]!)) return `${JSON.stringify(headers[i])} is not a header's name`
    if (!isFieldValue(headers[i + 1]!)) return `a control character in the value of ${headers[i]}`
  }
  const declared = declaredLength(response)
  if (Number.isNaN(declared)) return 'Content-Length is not a number'
  if (declared === undefined || isBodyless(method, status)) return undefined
  const length = body === null ? 0 : typeof body === 'string' ? Buffer.byteLength(body) : 'length' in body ? body.length : declared
  return length === declared ? undefined : `Content-Length is ${declared} and the body has ${length} bytes`
}

function declaredLength(response: GatewayResponse): number | undefined {
  const value = getHeader(response.headers, 'content-length')
  return value === undefined ? undefined : /^\d+$/.test(value) ? Number(value) : Number.NaN
}

function lengthError(declared: number, got: string): GatewayError {
  return new GatewayError('BODY_LENGTH_MISMATCH', {
    status: 502,
    message: `testing: Content-Length is ${declared} and the body had ${got}`,
  })
}
