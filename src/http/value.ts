// A large value on its way to the client, a megabyte at a time: written in one piece, it would keep the loop from the other clients for
// as long as the fastest one takes it (10 MiB to 32 clients: one in a hundred waited twice as long).

import type { Exchange, Sender } from './exchange.ts'

/** Bytes from which a value is written in parts, and of each part. */
export const PART = 1_048_576

export class ValueSender implements Sender {
  readonly #exchange: Exchange
  readonly #body: Uint8Array
  #position = 0
  #over = false

  constructor(exchange: Exchange, body: Uint8Array) {
    this.#exchange = exchange
    this.#body = body
  }

  start(): void {
    this.#exchange.sender = this
    this.#next()
  }

  /** The write callbacks tell it already. */
  drained(): void {}

  stopped(): void {
    this.#over = true
  }

  readonly #next = (): void => {
    if (this.#over) return
    const exchange = this.#exchange
    const part = this.#body.subarray(this.#position, this.#position + PART)
    this.#position += part.length
    exchange.bytes += part.length
    if (this.#position === this.#body.length) {
      this.#over = true
      exchange.sender = undefined
      exchange.end(part)
      return
    }
    exchange.outgoing.write(part, this.#written)
    if (exchange.outgoing.writableLength > 0) exchange.connection.arm()
  }

  readonly #written = (error?: Error | null): void => {
    if (error === undefined || error === null) setImmediate(this.#next)
  }
}
