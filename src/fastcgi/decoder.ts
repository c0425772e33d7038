// From socket reads to records, on either side of a connection. Nothing is copied but a discrete record that was cut.
//
// A stream's content is handed on as it arrives, so a record never has to be waited for or held. Only END_REQUEST and its
// like, which mean something only whole, are put together; the format bounds them to 65,535 bytes.
// Specification: FastCGI 1.0, section 3.3.

import { HEADER_LENGTH, Type, VERSION_1, isStream, protocolError } from './record.ts'

/** Hears what the records say. Must not feed the decoder again from within. */
export interface RecordSink {
  /** Some of a stream's bytes: `bytes` from `start` to `end`, at least one. They may be kept, not written to. */
  data(type: number, id: number, bytes: Buffer, start: number, end: number): void
  /** The empty record that ends a stream. */
  end(type: number, id: number): void
  /** A discrete record, whole. Management records have id 0, and may be of a type that nobody knows yet. */
  record(type: number, id: number, bytes: Buffer, start: number, end: number): void
}

/** One per connection and direction. After it has thrown (UPSTREAM_PROTOCOL), the connection has to be closed. */
export class RecordDecoder {
  readonly #sink: RecordSink
  readonly #header = Buffer.alloc(HEADER_LENGTH)
  #headerLength = 0
  /** Records whose header has been read: the number of the one that the sink hears of, from 1. */
  opened = 0
  #type = 0
  #id = 0
  /** Bytes still to come of this record's content and of its padding. */
  #content = 0
  #padding = 0
  /** A discrete record of which a part has come. */
  #whole: Buffer | undefined
  #broken = false

  constructor(sink: RecordSink) {
    this.#sink = sink
  }

  /** Whether no part of a record is waiting for the rest; outstanding padding does not count. */
  get atBoundary(): boolean {
    return this.#headerLength === 0 && this.#content === 0
  }

  /** Records of which anything has come. */
  get begun(): number {
    return this.opened + (this.#headerLength > 0 ? 1 : 0)
  }

  /** Whether the next byte begins a record. */
  get between(): boolean {
    return this.atBoundary && this.#padding === 0
  }

  /** Takes what one read brought, however it was cut. What the sink throws, or a broken record (UPSTREAM_PROTOCOL), is thrown from here. */
  push(bytes: Buffer): void {
    if (this.#broken) throw protocolError('bytes after a protocol error')
    // Reset at the end: whatever is thrown below, by us or by the sink, leaves a decoder that takes no more.
    this.#broken = true
    const end = bytes.length
    let at = 0
    while (at < end) {
      if (this.#content > 0) {
        const next = Math.min(end, at + this.#content)
        this.#take(bytes, at, next)
        at = next
      } else if (this.#padding > 0) {
        const next = Math.min(end, at + this.#padding)
        this.#padding -= next - at
        at = next
      } else if (this.#headerLength === 0 && end - at >= HEADER_LENGTH) {
        this.#open(bytes, at)
        at += HEADER_LENGTH
      } else {
        const next = Math.min(end, at + HEADER_LENGTH - this.#headerLength)
        bytes.copy(this.#header, this.#headerLength, at, next)
        this.#headerLength += next - at
        at = next
        if (this.#headerLength === HEADER_LENGTH) {
          this.#headerLength = 0
          this.#open(this.#header, 0)
        }
      }
    }
    this.#broken = false
  }

  #open(bytes: Buffer, at: number): void {
    if (bytes[at] !== VERSION_1) throw protocolError(`a record of version ${bytes[at]}, not 1`)
    const type = bytes[at + 1]!
    const id = (bytes[at + 2]! << 8) | bytes[at + 3]!
    const length = (bytes[at + 4]! << 8) | bytes[at + 5]!
    checkKind(type, id)
    this.opened++
    this.#type = type
    this.#id = id
    this.#content = length
    this.#padding = bytes[at + 6]!
    if (length > 0) return
    if (isStream(type)) this.#sink.end(type, id)
    else this.#sink.record(type, id, bytes, at, at)
  }

  #take(bytes: Buffer, start: number, end: number): void {
    const size = end - start
    if (isStream(this.#type)) {
      this.#content -= size
      this.#sink.data(this.#type, this.#id, bytes, start, end)
      return
    }
    if (this.#whole === undefined && size === this.#content) {
      this.#content = 0
      this.#sink.record(this.#type, this.#id, bytes, start, end)
      return
    }
    const whole = (this.#whole ??= Buffer.allocUnsafeSlow(this.#content))
    bytes.copy(whole, whole.length - this.#content, start, end)
    this.#content -= size
    if (this.#content > 0) return
    this.#whole = undefined
    this.#sink.record(this.#type, this.#id, whole, 0, whole.length)
  }
}

/** Records of a request have an id, records of the connection have none (FastCGI 1.0, 3.3). */
function checkKind(type: number, id: number): void {
  const ofRequest = type >= Type.BeginRequest && type <= Type.Data
  if (ofRequest && id === 0) throw protocolError(`a record of type ${type} without a request id`)
  // New management types may be invented (FastCGI 1.0, 4.2), new kinds of request records not: we would not know what they end.
  if (!ofRequest && id !== 0) throw protocolError(`a record of type ${type} with request id ${id}`)
}
