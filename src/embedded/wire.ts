// A pair of pipes as a stream of Node's: for who speaks to a thread as to a socket.

import { Duplex } from 'node:stream'
import type { Pipe } from './pipe.ts'

export class Wire extends Duplex {
  readonly #input: Pipe
  readonly #output: Pipe
  /** What did not fit, and whom to tell when it did. */
  #rest: { readonly bytes: Uint8Array; at: number; readonly done: () => void } | undefined
  #reading = false
  readonly #reads: () => void

  /** @param input to the thread; @param output from it; @param reads called before something that was read is handed on. */
  constructor(input: Pipe, output: Pipe, reads: () => void) {
    super({ allowHalfOpen: true })
    this.#input = input
    this.#output = output
    this.#reads = reads
  }

  /** The thread has written, and rung. */
  arrived(): void {
    this.#output.heard()
    if (this.#reading) this.#pull()
  }

  /** The thread has read. */
  room(): void {
    this.#push()
  }

  override _read(): void {
    this.#reading = true
    this.#pull()
  }

  #pull(): void {
    while (this.#output.length > 0 && this.#reading) {
      const bytes = this.#output.read()
      this.#reads()
      this.#reading = this.push(bytes)
    }
  }

  override _write(bytes: Buffer, _: BufferEncoding, done: () => void): void {
    this.#rest = { bytes, at: 0, done }
    this.#push()
  }

  #push(): void {
    const rest = this.#rest
    if (rest === undefined) return
    rest.at += this.#input.write(rest.bytes, rest.at)
    if (rest.at < rest.bytes.length) {
      this.#input.wantRoom()
      rest.at += this.#input.write(rest.bytes, rest.at)
      if (rest.at < rest.bytes.length) return
    }
    this.#rest = undefined
    rest.done()
  }

  override _final(done: () => void): void {
    this.#input.cut = true
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#input.cut = true
    this.#output.cut = true
    done(error)
  }
}
