// A request body on its way to the application that reads it: never more than a window ahead of it.

import { pump } from '../core/index.ts'
import type { ByteSink, ByteStream } from '../core/index.ts'
import { WINDOW } from './protocol.ts'

const PIECE = 65_536

export interface UploadLine {
  /** Sends a piece; an empty one is the end. */
  bodyPiece(piece: Uint8Array): void
  /** The body cannot be read: its end must not look like one. */
  bodyFailed(error: unknown): void
}

export class Upload implements ByteSink {
  readonly #body: ByteStream
  readonly #line: UploadLine
  readonly #lane: { resume(): void }
  #waiting: Uint8Array[] = []
  #window = WINDOW
  #ended = false
  #over = false

  constructor(body: ByteStream, line: UploadLine) {
    this.#body = body
    this.#line = line
    this.#lane = pump(body, this)
  }

  /** The application has read so much more. */
  want(bytes: number): void {
    this.#window += bytes
    if (this.#over || !this.#flow()) return
    if (this.#ended) this.#finish()
    else this.#lane.resume()
  }

  /** The request is over, read or not. */
  stop(): void {
    if (this.#over) return
    this.#over = true
    this.#waiting = []
    this.#body.cancel()
    this.#line.bodyPiece(new Uint8Array(0))
  }

  /** The connection has gone. */
  abandon(): void {
    if (this.#over) return
    this.#over = true
    this.#waiting = []
    this.#body.cancel()
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over) return true
    this.#waiting.push(chunk)
    return this.#flow()
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    if (this.#over) return true
    this.#waiting.push(...chunks)
    return this.#flow()
  }

  end(): void {
    this.#ended = true
    if (!this.#over && this.#waiting.length === 0) this.#finish()
  }

  fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#line.bodyFailed(error)
  }

  /** Whether everything that is here could be sent. */
  #flow(): boolean {
    for (let first = this.#waiting[0]; first !== undefined; first = this.#waiting[0]) {
      const size = Math.min(first.length, this.#window, PIECE)
      if (size > 0) {
        this.#window -= size
        this.#line.bodyPiece(first.subarray(0, size))
      } else if (first.length > 0) return false
      if (size === first.length) this.#waiting.shift()
      else this.#waiting[0] = first.subarray(size)
    }
    return true
  }

  #finish(): void {
    this.#over = true
    this.#line.bodyPiece(new Uint8Array(0))
  }
}
