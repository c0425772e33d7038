// What a program writes, read as an answer: header block, body, end. Decides; the program and its clock are run.ts.
//
// RFC 3875, 6. A body is over when its Content-Length is reached, or when the output ended and the program was well.

import { Channel, GatewayError, headEnd, parseHead } from '../core/index.ts'
import type { ByteString, CgiHead, GatewayResponse } from '../core/index.ts'
import { parseNphHead } from './nph.ts'

export interface OutputOptions {
  /** Bytes of header block. */
  readonly headLimit: number
  /** The program writes a whole HTTP response. */
  readonly nph: boolean
  /** Bytes of body that may wait for the rest. 0: none. */
  readonly hold: number
  /** A body has begun to wait: `release` it when it has waited long enough. */
  readonly held: () => void
  /** The request is HEAD: whatever body comes is dropped. */
  readonly bodyless: boolean
  /** The answer is there; its body may still be coming. */
  readonly answer: (response: GatewayResponse) => void
  /** The client can take more, after `write` said false. */
  readonly drain: () => void
  /** Nobody wants the rest of the body. */
  readonly cancel: (reason: unknown) => void
}

/** `head`: not yet answered. `redirect`: a local redirect, unless a body follows. `body`: being sent. `done`: the rest is dropped. */
export type OutputState = 'head' | 'redirect' | 'body' | 'done'

export class Output {
  state: OutputState = 'head'
  /** Bytes in all. */
  received = 0
  /** Bytes beyond the Content-Length that the program itself gave. */
  surplus = 0
  readonly #options: OutputOptions
  #pending: Buffer = Buffer.alloc(0)
  #head: CgiHead | undefined
  #channel: Channel | undefined
  /** Bytes of body to come, where the program has said how many. */
  #left: number | undefined
  /** The answer while its body waits for its end. */
  #waiting: { readonly response: GatewayResponse; readonly pieces: Uint8Array[]; length: number } | undefined

  constructor(options: OutputOptions) {
    this.#options = options
  }

  /** Bytes of the header block so far, for messages. */
  get pending(): number {
    return this.#pending.length
  }

  /** @returns false when the client has enough for now. Throws UPSTREAM_HEAD (502) for a head that is none. */
  write(chunk: Uint8Array): boolean {
    if (chunk.length === 0) return true
    this.received += chunk.length
    switch (this.state) {
      case 'head':
        return this.#readHead(chunk)
      case 'redirect':
        // A local redirect has no body (RFC 3875, 6.2.2): then this is one for the client to follow.
        this.#begin(this.#head!)
        return this.#readBody(chunk)
      case 'body':
        return this.#readBody(chunk)
      case 'done':
        if (this.#left === 0) this.surplus += chunk.length
        return true
    }
  }

  /** The output has ended and the program was well. Throws when the answer is not whole. */
  end(): void {
    if (this.state === 'head') throw this.#headless()
    if (this.state === 'redirect') {
      this.state = 'done'
      this.#options.answer({ status: 302, headers: [], body: null, internal: { redirect: this.#head!.localRedirect! } })
    }
    if (this.state === 'body') {
      if (this.#left !== undefined && this.#left > 0) {
        throw new GatewayError('UPSTREAM_TRUNCATED', {
          status: 502,
          message: `the output ended ${this.#left} bytes before its Content-Length`,
        })
      }
      this.#over()
    }
  }

  /** A body that waits for its end becomes a stream. */
  release(): void {
    const waiting = this.#waiting
    if (waiting === undefined || this.state !== 'body') return
    this.#waiting = undefined
    this.#channel = new Channel({ onDrain: this.#options.drain, onCancel: this.#options.cancel })
    if (waiting.length > 0) this.#channel.writeAll(waiting.pieces)
    this.#options.answer({ ...waiting.response, body: this.#channel })
  }

  /** The body is whole. */
  #over(): void {
    this.state = 'done'
    const waiting = this.#waiting
    if (waiting === undefined) {
      this.#channel?.end()
      return
    }
    this.#waiting = undefined
    const { response, pieces, length } = waiting
    const body = pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, length)
    // The head's list is shared by all answers that look like it: not a place to add to.
    const headers = this.#head?.contentLength === undefined ? [...response.headers, 'Content-Length', String(length)] : response.headers
    this.#options.answer({ ...response, headers, body })
  }

  /** The body ends here with an error, never cleanly. */
  fail(error: unknown): void {
    this.state = 'done'
    this.#channel?.fail(error)
  }

  #readHead(chunk: Uint8Array): boolean {
    const from = this.#pending.length
    const bytes = from === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([this.#pending, chunk])
    const end = headEnd(bytes, from)
    const { headLimit, nph } = this.#options
    if (end > headLimit || (end === -1 && bytes.length > headLimit)) {
      throw new GatewayError('UPSTREAM_HEAD', { status: 502, message: `a header block of more than ${headLimit} bytes, its limit` })
    }
    if (end === -1) {
      this.#pending = bytes
      return true
    }
    this.#pending = Buffer.alloc(0)
    const block: ByteString = bytes.toString('latin1', 0, end)
    const head = (this.#head = nph ? parseNphHead(block) : parseHead(block))
    const rest = bytes.subarray(end)
    if (head.localRedirect !== undefined) {
      this.state = 'redirect'
      if (rest.length === 0) return true
    }
    this.#begin(head, rest)
    return rest.length === 0 || this.#readBody(rest)
  }

  /** Answers with the head. RFC 3875, 6.3.1: a missing Content-Type is not for us to guess. */
  #begin(head: CgiHead, rest: Uint8Array = NOTHING): void {
    const { answer, bodyless } = this.#options
    const { status, reason, headers, contentLength } = head
    const response = { status, ...(reason !== undefined && { reason }), headers }
    if (bodyless || status === 204 || status === 304 || contentLength === 0) {
      this.state = 'done'
      answer({ ...response, body: null })
      return
    }
    this.state = 'body'
    this.#left = contentLength
    this.#waiting = { response: { ...response, body: null }, pieces: [], length: 0 }
    if (this.#options.hold === 0) this.release()
    // Whole already, as many short ones are: nothing to wait for.
    else if (contentLength === undefined || rest.length < contentLength) this.#options.held()
  }

  #readBody(chunk: Uint8Array): boolean {
    // A method call may have ended it.
    if (this.state !== 'body') return true
    if (this.#left === undefined) return this.#pass(chunk)
    const part = chunk.length > this.#left ? chunk.subarray(0, this.#left) : chunk
    this.surplus += chunk.length - part.length
    this.#left -= part.length
    const more = this.#pass(part)
    if (this.#left > 0) return more
    this.#over()
    return true
  }

  #pass(chunk: Uint8Array): boolean {
    const waiting = this.#waiting
    if (waiting === undefined) return this.#channel!.write(chunk)
    waiting.pieces.push(chunk)
    waiting.length += chunk.length
    if (waiting.length <= this.#options.hold) return true
    this.release()
    return this.#channel!.buffered < HIGH_WATER
  }

  #headless(): GatewayError {
    const what = this.received === 0 ? 'no answer at all' : `no blank line after its header block (${this.received} bytes)`
    return new GatewayError('UPSTREAM_HEAD', { status: 502, message: what })
  }
}

const NOTHING = new Uint8Array(0)
/** What a channel takes before it says that it has enough. */
const HIGH_WATER = 65_536
