// Sending an answer over FastCGI: whole values in one write, streams at the pace of the web server. STDOUT's bytes are a head as a CGI
// program writes it, then the body (FastCGI 1.0, 6.2). What cannot be expressed, trailers, is dropped.

import { FileSlice, GatewayError, discard, encodeHead, isBodyless, pump } from '../../core/index.ts'
import type { ByteSink, ByteStream, ByteString, EncodedHead, GatewayResponse } from '../../core/index.ts'

/** What a sender needs of the request it answers. */
export interface Outlet {
  /** The head is about to leave. */
  begin(status: number): void
  /** STDOUT, and with `last` the end of the request behind it. @returns false when the web server takes no more for now. */
  write(head: ByteString, chunks: readonly Uint8Array[], total: number, last: boolean): boolean
  /** The same for text of one-byte characters. */
  writeText(text: ByteString, bodyLength: number): void
  /** Before the head: an error answer. After it: an end that is none. */
  fail(error: unknown): void
}

/** Whoever is sending a body piece by piece. */
export interface BodySender {
  /** The connection can take more. */
  drained(): void
  /** Nobody takes any more. */
  stopped(reason: unknown): void
}

/** Starts the answer; gives the sender of a body that takes time. What it throws was thrown before anything of it was sent. */
export function sendAnswer(outlet: Outlet, method: ByteString, response: GatewayResponse): BodySender | undefined {
  const { status, body } = response
  if (response.internal !== undefined) {
    throw new GatewayError('CONTRACT', { status: 500, message: 'fastcgi: an internal result that no site has resolved' })
  }
  const length = lengthOf(body)
  if (isBodyless(method, status) || status === 205) {
    // To HEAD the length that a GET would have had; null may stand for any.
    const head = encodeHead(response, body === null || status === 205 ? undefined : length)
    outlet.begin(status)
    discard(response)
    outlet.writeText(head.text, 0)
    return undefined
  }
  const head = encodeHead(response, length)
  if (body === null || typeof body === 'string') {
    outlet.begin(status)
    sendText(outlet, head.text, body ?? '', length!)
    return undefined
  }
  if (body instanceof Uint8Array) {
    outlet.begin(status)
    outlet.write(head.text, [body], body.length, true)
    return undefined
  }
  return new StreamSender(outlet, status, head, body instanceof FileSlice ? body.stream() : body)
}

function sendText(outlet: Outlet, head: ByteString, text: string, length: number): void {
  // As many bytes as chars: ASCII, which is the same in every encoding.
  if (length === text.length) outlet.writeText(head + text, length)
  else outlet.write(head, [Buffer.from(text, 'utf8')], length, true)
}

/** The length of a body that has one. */
function lengthOf(body: GatewayResponse['body']): number | undefined {
  if (body === null) return 0
  if (typeof body === 'string') return Buffer.byteLength(body)
  return body instanceof Uint8Array || body instanceof FileSlice ? body.length : undefined
}

const NOTHING: readonly Uint8Array[] = []

class StreamSender implements BodySender, ByteSink {
  readonly #outlet: Outlet
  readonly #status: number
  readonly #head: EncodedHead
  readonly #body: ByteStream
  readonly #lane: { resume(): void }
  #sent = 0
  #open = false
  #over = false
  #paused = false

  constructor(outlet: Outlet, status: number, head: EncodedHead, body: ByteStream) {
    this.#outlet = outlet
    this.#status = status
    this.#head = head
    this.#body = body
    this.#lane = pump(body, this)
    // The head waits for the first bytes, to leave with them, but not for long: an event stream may have none for minutes.
    setImmediate(flushHead, this)
  }

  write(chunk: Uint8Array): boolean {
    return this.writeAll([chunk])
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    let total = 0
    for (const chunk of chunks) total += chunk.length
    // An empty record would be the end.
    if (this.#over || total === 0) return true
    this.#sent += total
    const { length } = this.#head
    if (length !== undefined && this.#sent > length) {
      this.#breakOff(mismatch(length, `the body has ${this.#sent} or more`))
      return true
    }
    if (this.#outlet.write(this.#begin(), chunks, total, false)) return true
    this.#paused = true
    return false
  }

  end(): void {
    if (this.#over) return
    const { length } = this.#head
    if (length !== undefined && this.#sent < length) {
      this.#breakOff(mismatch(length, `the body ended after ${this.#sent}`))
      return
    }
    this.#over = true
    this.#outlet.write(this.#begin(), NOTHING, 0, true)
  }

  fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#outlet.fail(error)
  }

  cancelled(reason: unknown): void {
    this.fail(reason ?? new GatewayError('CLOSED', { status: 500, message: 'fastcgi: the body was cancelled while it was being sent' }))
  }

  drained(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#lane.resume()
  }

  stopped(reason: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#body.cancel(reason)
  }

  /** Sends the head by itself, if no byte of body came in the meantime. */
  flush(): void {
    if (!this.#over && !this.#open) this.#outlet.write(this.#begin(), NOTHING, 0, false)
  }

  /** The head, once. */
  #begin(): ByteString {
    if (this.#open) return ''
    this.#open = true
    this.#outlet.begin(this.#status)
    return this.#head.text
  }

  #breakOff(error: unknown): void {
    this.#over = true
    this.#body.cancel(error)
    this.#outlet.fail(error)
  }
}

function flushHead(sender: StreamSender): void {
  sender.flush()
}

function mismatch(declared: number, fact: string): GatewayError {
  return new GatewayError('BODY_LENGTH_MISMATCH', { status: 500, message: `fastcgi: Content-Length is ${declared} bytes, ${fact}` })
}

/** Discards a response, whatever the application returned as one. */
export function drop(response: GatewayResponse, reason: unknown): void {
  try {
    discard(response, reason)
  } catch {
    // It was no response, or its body fails even at being cancelled; there is nothing left to release.
  }
}
