// One request on its way through a pool: it waits, is with a worker (perhaps with several, one after the other, as long as none has
// begun it), and is answered as a value or as a stream at the client's pace.

import { Channel, GatewayError, isBodyless } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, Spooled } from '../core/index.ts'
import type { AnswerHead } from './head.ts'
import { INLINE, WINDOW } from './protocol.ts'
import { variablesOf } from './shapes.ts'
import type { Variables } from './shapes.ts'

/** What a call needs of the connection it is on. */
export interface CallLine {
  /** The reader took so many bytes more. */
  credit(call: Call, bytes: number): void
  /** Nobody wants the answer, or the rest of it. */
  abort(call: Call): void
}

// Credits are given in portions: each is a frame.
const PORTION = 65_536

export class Call {
  readonly request: GatewayRequest
  readonly body: Spooled | undefined
  /** By `performance.now()`: when it came. */
  readonly since: number
  /** Too large a body for one frame: it is sent while the worker reads, and nothing is sent behind it. */
  readonly alone: boolean
  line: CallLine | undefined
  /** Its number on that connection. */
  number = 0
  /** It has a head, or an error: the promise is settled. */
  settled = false
  /** Nobody wants the answer: what comes of it is thrown away. */
  dropped = false
  #variables: Variables | undefined
  readonly #resolve: (response: GatewayResponse) => void
  readonly #reject: (error: unknown) => void
  #channel: Channel | undefined
  #pieces: Buffer[] = []
  /** Bytes that the worker has sent and that no credit was given for. */
  #owed = 0
  #signal: AbortSignal | undefined

  constructor(
    request: GatewayRequest,
    body: Spooled | undefined,
    since: number,
    resolve: (response: GatewayResponse) => void,
    reject: (error: unknown) => void,
  ) {
    this.request = request
    this.body = body
    this.since = since
    this.alone = body !== undefined && body.length > INLINE
    this.#resolve = resolve
    this.#reject = reject
  }

  get variables(): Variables {
    return (this.#variables ??= variablesOf(this.request, this.body?.length))
  }

  /** The worker has used up its window and the reader does not read: its silence is not its fault. */
  get stalled(): boolean {
    return this.#owed >= WINDOW
  }

  // ---- the answer

  /** All of it; text is ASCII. */
  answer(head: AnswerHead, body: Uint8Array | string | null): void {
    if (this.settled) return
    if (isBodyless(this.request.method, head.status)) {
      // To HEAD: a body that is there says how long that of GET is. The head is shared by all answers that look like it.
      const length = this.request.method === 'HEAD' && head.length === undefined ? (body?.length ?? 0) : 0
      this.#settle(length > 0 ? { ...head, headers: [...head.headers, 'Content-Length', String(length)] } : head, null)
    } else if (head.length !== undefined && head.length !== (body?.length ?? 0)) {
      this.fail(truncated(head.length, body?.length ?? 0))
    } else this.#settle(head, body)
  }

  /** The head, and the body follows. */
  begin(head: AnswerHead): void {
    if (this.settled) return
    const channel = new Channel({
      onDrain: () => this.#drained(),
      onCancel: () => this.#cut(),
    })
    this.#channel = channel
    this.#settle(head, channel)
  }

  /** A piece of the body; `flush` hands on what one read brought. */
  push(piece: Buffer): void {
    if (this.dropped) return
    this.#pieces.push(piece)
  }

  flush(): void {
    if (this.#pieces.length === 0) return
    const pieces = this.#pieces
    this.#pieces = []
    let length = 0
    for (const piece of pieces) length += piece.length
    this.#owed += length
    if (this.#channel?.writeAll(pieces) === true) this.#drained()
  }

  /** The body is whole. */
  last(): void {
    this.flush()
    this.#channel?.end()
    this.#channel = undefined
  }

  fail(error: unknown): void {
    this.#unlook()
    this.flush()
    const channel = this.#channel
    this.#channel = undefined
    if (channel !== undefined) channel.fail(error)
    else if (!this.settled) {
      this.settled = true
      this.#reject(error)
    }
  }

  /** Its worker is done with it, or there never will be one. */
  over(): void {
    this.line = undefined
    this.body?.close()
  }

  // ---- the reader

  #drained(): void {
    const bytes = this.#owed
    if (bytes < PORTION || this.#channel === undefined) return
    this.#owed = 0
    this.line?.credit(this, bytes)
  }

  #cut(): void {
    this.dropped = true
    this.#channel = undefined
    this.#pieces = []
    this.line?.abort(this)
  }

  /** It has taken long enough to be worth a look whether anybody still waits: making a signal costs more than most requests. */
  look(): void {
    if (this.settled || this.#signal !== undefined) return
    this.#signal = this.request.signal
    if (this.#signal.aborted) this.handleEvent()
    else this.#signal.addEventListener('abort', this)
  }

  /** The call is its own listener. */
  handleEvent(): void {
    const reason: unknown = this.#signal?.reason
    if (this.settled) return
    this.dropped = true
    this.fail(reason instanceof Error ? reason : new GatewayError('CLIENT_GONE', { status: 499, message: 'wsgi: the client has gone' }))
    this.line?.abort(this)
  }

  #unlook(): void {
    this.#signal?.removeEventListener('abort', this)
    this.#signal = undefined
  }

  #settle(head: AnswerHead, body: Uint8Array | string | Channel | null): void {
    this.settled = true
    if (this.#signal !== undefined) this.#unlook()
    this.#resolve({ status: head.status, reason: head.reason, headers: head.headers, body })
  }
}

function truncated(expected: number, received: number): GatewayError {
  return new GatewayError('UPSTREAM_TRUNCATED', {
    status: 502,
    message: `wsgi: an answer of ${received} bytes whose Content-Length says ${expected}`,
  })
}
