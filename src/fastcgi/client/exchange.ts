// One request and its answer on a connection, from the web server's side: head, body, and when each is handed on.
//
// A reply is held for a moment (bytes, milliseconds): if its end comes meanwhile it is a whole value with a Content-Length,
// else it becomes a stream. Half a reply is an error, never a short page. What the records are is connection.ts's business.
// Specification: FastCGI 1.0, sections 5.3, 5.5 and 6.2; RFC 3875, section 6.

import { Channel, GatewayError, HEAD_LIMIT, isBodyless, toResponse, withoutHeaders } from '../../core/index.ts'
import type { CgiHead, Log } from '../../core/index.ts'
import type { Call, Reply } from './call.ts'
import { clientGone, rejection, tooLong } from './failures.ts'
import { HeadReader } from './head-reader.ts'
import { ProtocolStatus, protocolError } from '../record.ts'
import type { EndRequest } from '../record.ts'
import { StderrLines } from './stderr.ts'
import type { Spill, SpilledBody } from '../spill.ts'
import { afterReads, hold, unhold } from './timers.ts'
import type { Held } from './timers.ts'

/** What an exchange needs of its connection. */
export interface Line {
  readonly peer: string
  readonly log: Log | undefined
  pause(): void
  resume(): void
  /** A body that takes all there is, for a connection that must not wait for the reader of one of its answers. */
  body?(exchange: Exchange, gone: (reason: unknown) => void): SpilledBody
  /** Nobody wants the rest of the answer: read on for a while, or close. */
  cut(exchange: Exchange, error: unknown): void
  /** Reading on has become too much. */
  giveUp(exchange: Exchange, error: unknown): void
}

const DRAIN = { bytes: 1_048_576, time: 5000 }

// What becomes of STDOUT's bytes.
const HEAD = 0
const HELD = 1
const STREAM = 2
const DISCARD = 3

export class Exchange implements Held {
  readonly call: Call
  readonly id: number
  readonly keep: boolean
  answered = false
  taken = true
  /** Nobody reads any more; what still comes is thrown away. */
  cutShort = false
  /** The reader of the body cannot take more for now. */
  paused = false
  /** Bytes of the body that were delivered or are held. */
  received = 0
  heldUntil = 0
  readonly #line: Line
  readonly #reply: Reply
  #settled = false
  #mode = HEAD
  #head: CgiHead | undefined
  /** Whatever the program sends after the head, the client must not get it. */
  #bodyless = false
  readonly #headReader = new HeadReader()
  #pieces: Uint8Array[] = []
  /** What the body is written to: its reader's channel, or a spill before it. */
  #sink: Channel | Spill | undefined
  #discarded = 0
  #excess = 0
  #stdoutEnded = false
  #failure: unknown
  #stderr: StderrLines | undefined
  #signal: AbortSignal | undefined

  constructor(call: Call, reply: Reply, line: Line) {
    this.call = call
    // The head is BEGIN_REQUEST first: its id and its flags are what the other side will go by.
    this.id = (call.head.charCodeAt(2) << 8) | call.head.charCodeAt(3)
    this.keep = (call.head.charCodeAt(10) & 1) === 1
    this.#reply = reply
    this.#line = line
  }

  get hasHead(): boolean {
    return this.#mode !== HEAD
  }

  // ---- what comes from the application

  stdout(bytes: Buffer, start: number, end: number): void {
    this.answered = true
    if (this.#stdoutEnded) throw protocolError(`STDOUT goes on after its end (${this.#line.peer}, request ${this.id})`)
    if (this.#mode === DISCARD) this.#drop(end - start)
    else if (this.#mode === HEAD) this.#readHead(bytes, start, end)
    else this.#take(bytes.subarray(start, end))
  }

  stdoutEnd(): void {
    this.answered = true
    this.#stdoutEnded = true
  }

  stderr(bytes: Buffer, start: number, end: number): void {
    this.answered = true
    if (this.call.stderr === undefined) return
    this.#stderr ??= new StderrLines((line) => this.call.stderr?.(line))
    this.#stderr.push(bytes, start, end)
  }

  #readHead(bytes: Buffer, start: number, end: number): void {
    let at
    try {
      at = this.#headReader.push(bytes, start, end, this.call.headLimit ?? HEAD_LIMIT)
      if (at === -1) return
      this.#begin(this.#headReader.take())
    } catch (error) {
      this.#refuse(error)
      return
    }
    if (at === end) return
    if (this.#bodyless) this.#drop(end - at)
    else this.#take(bytes.subarray(at, end))
  }

  #begin(head: CgiHead): void {
    this.#head = head
    const redirected = this.call.localRedirects === true && head.localRedirect !== undefined
    this.#bodyless = redirected || isBodyless(this.call.request.method, head.status)
    this.#mode = this.#bodyless ? DISCARD : HELD
  }

  /** The head is no head. The worker may be as good as ever: what follows is drained. */
  #refuse(error: unknown): void {
    this.#mode = DISCARD
    this.#failure = error
  }

  #drop(length: number): void {
    this.#discarded += length
    if (!this.#bodyless && this.received === this.#head?.contentLength) this.#excess += length
    const limit = (this.call.drain ?? DRAIN).bytes
    if (this.#discarded <= limit) return
    const message = `fastcgi: more than ${limit} bytes of an answer that nobody reads (${this.#line.peer}, request ${this.id})`
    this.#line.giveUp(this, this.#failure ?? new GatewayError('CLOSED', { status: 502, message }))
  }

  #take(piece: Uint8Array): void {
    const expected = this.#head!.contentLength
    const room = expected === undefined ? piece.length : Math.min(piece.length, expected - this.received)
    this.received += room
    const { bodyLimit } = this.call
    if (bodyLimit !== undefined && this.received > bodyLimit) {
      this.#line.giveUp(this, tooLong(bodyLimit, this.#line.peer))
      return
    }
    if (room > 0) this.#pieces.push(room === piece.length ? piece : piece.subarray(0, room))
    if (room < piece.length) this.#drop(piece.length - room)
  }

  // ---- what goes to the reader

  /** A socket read is over and the request is not: hand on what there is, or hold it. */
  flush(): void {
    if (this.#failure !== undefined) this.#fail(this.#failure)
    else if (this.#mode === STREAM) this.#push()
    else if (this.#mode === DISCARD) this.#answer(null)
    else if (this.#mode === HELD) {
      const { bytes, time } = this.call.hold
      // Every promised byte is here: nothing that still comes can change the answer.
      if (this.received === this.#head!.contentLength) this.#complete()
      else if (this.received > bytes || time === 0 || bytes === 0) this.release()
      else if (this.heldUntil === 0) {
        this.heldUntil = performance.now() + time
        hold(this)
      }
    }
  }

  /** The reply becomes a stream. */
  release(): void {
    if (this.#mode !== HELD) return
    this.#mode = STREAM
    const gone = (reason: unknown): void => this.cut(reason ?? clientGone(this.#line.peer))
    const spilled = this.#line.body?.(this, gone)
    const channel = spilled?.channel ?? new Channel({ onDrain: () => this.#resume(), onCancel: gone, exclusive: 'buffers' })
    this.#sink = spilled?.sink ?? channel
    this.#answer(channel)
    this.#push()
  }

  #push(): void {
    const sink = this.#sink!
    if (this.#pieces.length > 0) {
      const pieces = this.#pieces
      this.#pieces = []
      if (!sink.writeAll(pieces)) {
        this.paused = true
        this.#line.pause()
      }
    }
    if (this.#mode === STREAM && this.received === this.#head?.contentLength) {
      this.#mode = DISCARD
      this.#resume()
      sink.end()
    }
  }

  /** The reader can take more, or all of the body is its own: the connection's own pace counts again. */
  #resume(): void {
    if (!this.paused) return
    this.paused = false
    this.#line.resume()
  }

  #complete(): void {
    this.#unhold()
    this.#mode = DISCARD
    this.#answer(this.#whole())
  }

  #whole(): Uint8Array | null {
    const pieces = this.#pieces
    this.#pieces = []
    if (pieces.length === 0) return null
    return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces, this.received)
  }

  #answer(body: Uint8Array | Channel | null): void {
    if (this.#settled) return
    this.#settle()
    const head = this.#head!
    if (this.call.localRedirects === true && head.localRedirect !== undefined) {
      afterReads(this.#reply, { status: head.status, headers: [], body: null, internal: { redirect: head.localRedirect } })
      return
    }
    const response = toResponse(head, body)
    // RFC 9110, 8.6: a 204 must not carry one; HEAD and 304 carry what the program said, or nothing.
    if (head.status === 204) afterReads(this.#reply, { ...response, headers: withoutHeaders(head.headers, 'content-length') })
    else if (body instanceof Channel || head.contentLength !== undefined || this.#bodyless) afterReads(this.#reply, response)
    // The head's list is shared by all answers that look like it: not a place to add to.
    else afterReads(this.#reply, { ...response, headers: [...head.headers, 'Content-Length', String(this.received)] })
  }

  #fail(error: unknown): void {
    if (this.#settled) return
    this.#settle()
    const again = this.call.again?.(error)
    if (again === undefined) this.#reply.reject(error)
    else this.#reply.resolve(again)
  }

  #settle(): void {
    this.#settled = true
    this.#signal?.removeEventListener('abort', this.#aborted)
    this.#signal = undefined
  }

  #unhold(): void {
    if (this.heldUntil !== 0) unhold(this)
  }

  // ---- the end

  /** END_REQUEST has come: what is wrong with the answer, if anything. */
  verdict(end: EndRequest): unknown {
    if (this.#failure !== undefined) return this.#failure
    if (end.protocolStatus !== ProtocolStatus.RequestComplete) return rejection(end.protocolStatus, this.#line.peer)
    const where = `(${this.#line.peer}, request ${this.id}, application status ${end.appStatus})`
    if (this.#mode === HEAD) {
      return new GatewayError('UPSTREAM_HEAD', { status: 502, message: `fastcgi: the answer ended without a head ${where}` })
    }
    const expected = this.#head!.contentLength
    if (!this.#bodyless && expected !== undefined && this.received < expected) {
      const message = `fastcgi: the answer ended after ${this.received} of ${expected} bytes that its Content-Length says ${where}`
      return new GatewayError('UPSTREAM_TRUNCATED', { status: 502, message })
    }
    if (this.#excess > 0) {
      this.#line.log?.warn(
        { peer: this.#line.peer, excess: this.#excess },
        `fastcgi: ${this.#excess} bytes beyond the answer's Content-Length were cut off ${where}`,
      )
    }
    return undefined
  }

  /** Hands on the rest and the end, or the error that takes their place. After `onEnd`. */
  conclude(error: unknown): void {
    this.#unhold()
    const mode = this.#mode
    this.#mode = DISCARD
    if (mode === STREAM) {
      const sink = this.#sink!
      if (this.#pieces.length > 0) sink.writeAll(this.#pieces)
      this.#pieces = []
      if (error === undefined) sink.end()
      else sink.fail(error)
    } else if (error !== undefined) this.#fail(error)
    else if (!this.#settled) this.#answer(mode === HELD ? this.#whole() : null)
  }

  /** No more will come of STDERR. */
  lastWords(): void {
    this.#stderr?.end()
  }

  // ---- the reader leaves

  /** It took long enough to be worth a look whether anybody still waits: most requests are over before their signal is made. */
  watch(): void {
    if (this.#settled) return
    const { signal } = this.call.request
    this.#signal = signal
    if (signal.aborted) this.#aborted()
    else signal.addEventListener('abort', this.#aborted, { once: true })
  }

  readonly #aborted = (): void => {
    const reason: unknown = this.#signal?.reason
    this.cut(reason instanceof Error ? reason : clientGone(this.#line.peer))
  }

  /** Nobody wants the answer, or the rest of it. */
  cut(error: unknown): void {
    if (this.cutShort || (this.#settled && this.#mode === DISCARD)) return
    this.cutShort = true
    this.#unhold()
    this.#mode = DISCARD
    this.#failure = error
    this.#pieces = []
    this.#fail(error)
    this.paused = false
    this.#line.cut(this, error)
  }

  get drainTime(): number {
    return (this.call.drain ?? DRAIN).time
  }
}
