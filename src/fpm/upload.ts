// A request body on its way to a worker as STDIN records (FastCGI 1.0, 5.3).

import type { Socket } from 'node:net'
import type { ByteSink, ByteStream } from '../core/index.ts'
import { Type, record } from '../fastcgi/index.ts'

const FULL = 65_528
/** Bytes that may wait in the socket before the source is told to stop. */
const HIGH_WATER_MARK = 262_144

/** The records of one piece: headers and contents in turn. */
export function stdinRecords(id: number, piece: Uint8Array): Uint8Array[] {
  const parts: Uint8Array[] = []
  for (let at = 0; at < piece.length; at += FULL) {
    const content = piece.subarray(at, at + FULL)
    parts.push(Buffer.from([1, Type.Stdin, id >> 8, id & 0xff, content.length >> 8, content.length & 0xff, 0, 0]), content)
  }
  return parts
}

export class UploadSink implements ByteSink {
  lane: { resume(): void } | undefined
  readonly #socket: Socket
  readonly #id: number
  readonly #body: ByteStream
  readonly #broken: () => void
  #paused = false
  #over = false

  /** @param broken the body cannot be had to its end. */
  constructor(socket: Socket, id: number, body: ByteStream, broken: () => void) {
    this.#socket = socket
    this.#id = id
    this.#body = body
    this.#broken = broken
  }

  write(chunk: Uint8Array): boolean {
    return this.writeAll([chunk])
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    if (this.#over) return true
    this.#socket.cork()
    for (const chunk of chunks) for (const part of stdinRecords(this.#id, chunk)) this.#socket.write(part)
    this.#socket.uncork()
    this.#paused = this.#socket.writableLength > HIGH_WATER_MARK
    return !this.#paused
  }

  end(): void {
    if (this.#over) return
    this.#over = true
    this.#socket.write(record(Type.Stdin, this.#id, ''), 'latin1')
  }

  fail(): void {
    if (this.#over) return
    this.#over = true
    this.#broken()
  }

  /** Whether all of it was handed to the socket. */
  get done(): boolean {
    return this.#over
  }

  drained(): void {
    if (!this.#paused) return
    this.#paused = false
    this.lane?.resume()
  }

  /** Nobody takes the rest. */
  stop(): void {
    if (this.#over) return
    this.#over = true
    this.#body.cancel()
  }
}
