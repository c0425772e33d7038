// The frames between the front and a Python worker, from the front's side: what they look like, and cutting them out of what
// was read. docs/wsgi-protocol.md spells them out; both ends are tested against test/fixtures/wsgi/vectors.json.

import { GatewayError } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'

/** Front to worker below 16, worker to front from there. */
export const Kind = {
  Request: 1,
  Streamed: 2,
  Shape: 3,
  Body: 4,
  Credit: 5,
  Abort: 6,
  Ready: 16,
  Unfit: 17,
  Answer: 18,
  Early: 19,
  Head: 20,
  Block: 21,
  Last: 22,
  End: 23,
  Failed: 24,
  Returned: 25,
  Want: 26,
  Errors: 27,
} as const

/** Bytes of a body, either way, that may be under way without a credit. */
export const WINDOW = 262_144
/** A request body up to this is in the request's own frame. */
export const INLINE = 65_536
/** The real-time signal that asks for what was not started. */
export const GIVE_BACK = 40

// Head and first block of an answer, and some room: no worker of ours sends more, so more is not read.
const FRAME_LIMIT = WINDOW + 131_072

/** A number as four chars, most significant byte first. */
function u32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 0xff, (value >>> 8) & 0xff, value & 0xff)
}

/** `values`: each followed by a NUL. `body` is empty where it follows in frames of its own. */
export function requestFrame(kind: 1 | 2, shape: number, values: ByteString, body: ByteString): ByteString {
  const length = 7 + values.length + body.length
  return `${u32(length)}${String.fromCharCode(kind, shape >>> 8, shape & 0xff)}${u32(body.length)}${values}${body}`
}

/** `names`: each followed by a NUL. */
export function shapeFrame(shape: number, names: ByteString): ByteString {
  return `${u32(3 + names.length)}${String.fromCharCode(Kind.Shape, shape >>> 8, shape & 0xff)}${names}`
}

/** The head of a frame with a piece of a request's body; length 0 is the end of it. */
export function bodyHead(length: number): ByteString {
  return u32(1 + length) + String.fromCharCode(Kind.Body)
}

export function creditFrame(number: number, bytes: number): ByteString {
  return u32(9) + String.fromCharCode(Kind.Credit) + u32(number) + u32(bytes)
}

export function abortFrame(number: number): ByteString {
  return u32(5) + String.fromCharCode(Kind.Abort) + u32(number)
}

/** What a worker says. Views are of the bytes that were pushed unless `owned`: copy what is to be kept. */
export interface AnswerSink {
  ready(version: string, loaded: string): void
  unfit(reason: string): void
  /** The whole answer. `over`: and nothing of the request is left to do. */
  answer(head: ByteString, body: Buffer, over: boolean, owned: boolean): void
  head(head: ByteString, first: Buffer, owned: boolean): void
  /** A piece of the body, not always a whole block. */
  block(piece: Buffer): void
  /** The body is whole. */
  last(): void
  /** The request is over. */
  end(): void
  failed(status: number, text: string): void
  returned(count: number): void
  want(bytes: number): void
  errors(text: string): void
}

/** Cuts what a worker sends into frames. Throws UPSTREAM_PROTOCOL for what cannot be one. */
export class AnswerDecoder {
  readonly #sink: AnswerSink
  readonly #start: Buffer = Buffer.alloc(5)
  #started = 0
  #kind = 0
  /** A frame that is not all there yet. */
  #frame: Buffer | undefined
  #filled = 0
  /** Bytes of a block that are still to come: those are handed on as they are. */
  #block = 0

  constructor(sink: AnswerSink) {
    this.#sink = sink
  }

  push(bytes: Buffer, end: number = bytes.length): void {
    let at = 0
    while (at < end) {
      if (this.#block > 0) {
        const next = Math.min(end, at + this.#block)
        this.#block -= next - at
        this.#sink.block(bytes.subarray(at, next))
        at = next
      } else if (this.#frame !== undefined) at = this.#fill(this.#frame, bytes, at, end)
      else if (this.#started > 0 || end - at < 5) at = this.#begin(bytes, at, end)
      else at = this.#open(bytes, at, bytes, at + 5, end)
    }
  }

  /** The five bytes in front of a frame came in two reads. */
  #begin(bytes: Buffer, at: number, end: number): number {
    const count = Math.min(5 - this.#started, end - at)
    bytes.copy(this.#start, this.#started, at, at + count)
    this.#started += count
    if (this.#started < 5) return end
    this.#started = 0
    return this.#open(this.#start, 0, bytes, at + count, end)
  }

  #open(head: Buffer, headAt: number, bytes: Buffer, at: number, end: number): number {
    const length = head.readUInt32BE(headAt) - 1
    const kind = (this.#kind = head[headAt + 4]!)
    if (length < 0 || length > FRAME_LIMIT) throw protocolError(`a frame of ${length + 1} bytes`)
    if (kind === Kind.Block) this.#block = length
    else if (end - at >= length) this.#dispatch(kind, bytes, at, at + length, false)
    else {
      this.#frame = Buffer.allocUnsafeSlow(length)
      this.#filled = 0
      return at
    }
    return kind === Kind.Block ? at : at + length
  }

  #fill(frame: Buffer, bytes: Buffer, at: number, end: number): number {
    const count = Math.min(frame.length - this.#filled, end - at)
    bytes.copy(frame, this.#filled, at, at + count)
    this.#filled += count
    if (this.#filled === frame.length) {
      this.#frame = undefined
      this.#dispatch(this.#kind, frame, 0, frame.length, true)
    }
    return at + count
  }

  #dispatch(kind: number, bytes: Buffer, at: number, end: number, owned: boolean): void {
    const sink = this.#sink
    switch (kind) {
      case Kind.Answer:
      case Kind.Early:
      case Kind.Head: {
        need(end - at >= 2, kind)
        const bodyAt = at + 2 + bytes.readUInt16BE(at)
        need(bodyAt <= end, kind)
        const head = bytes.toString('latin1', at + 2, bodyAt)
        const body = bytes.subarray(bodyAt, end)
        if (kind === Kind.Head) sink.head(head, body, owned)
        else sink.answer(head, body, kind === Kind.Answer, owned)
        break
      }
      case Kind.Last:
        sink.last()
        break
      case Kind.End:
        sink.end()
        break
      case Kind.Failed:
        need(end - at >= 2, kind)
        sink.failed(bytes.readUInt16BE(at), bytes.toString('utf8', at + 2, end))
        break
      case Kind.Returned:
        need(end - at === 4, kind)
        sink.returned(bytes.readUInt32BE(at))
        break
      case Kind.Want:
        need(end - at === 4, kind)
        sink.want(bytes.readUInt32BE(at))
        break
      case Kind.Errors:
        sink.errors(bytes.toString('utf8', at, end))
        break
      case Kind.Ready: {
        const [version = '', loaded = ''] = bytes.toString('utf8', at, end).split('\0')
        sink.ready(version, loaded)
        break
      }
      case Kind.Unfit:
        sink.unfit(bytes.toString('utf8', at, end))
        break
      default:
        throw protocolError(`a frame of kind ${kind}`)
    }
  }
}

function need(holds: boolean, kind: number): void {
  if (!holds) throw protocolError(`a frame of kind ${kind} is too short, or too long`)
}

/** The worker broke the protocol. */
export function protocolError(fact: string): GatewayError {
  return new GatewayError('UPSTREAM_PROTOCOL', { status: 502, message: `wsgi: a worker sent ${fact}` })
}
