// A request's body: chunks go from node's parser to whoever reads, as they come, and no faster than they are taken.

import { Channel, GatewayError } from '../core/index.ts'
import type { ByteSink, ByteStream, ChannelOptions } from '../core/index.ts'
import type { Exchange } from './exchange.ts'
import { tooLarge } from './incoming.ts'
import type { Incoming } from './incoming.ts'

/** Made when somebody asks for the body of a request that has one. It is its channel's options itself, which saves three closures. */
export class RequestBody implements ByteStream, ChannelOptions {
  /** Bytes that came so far. */
  received = 0
  /** The sweep's tick at which the client last gave something, or was last free to. */
  tick = 0
  /** Somebody is reading: began, and neither came to the end nor gave up. */
  reading = false
  /** The reader has enough for now, so that a pause is not the client's fault. */
  paused = false
  readonly #exchange: Exchange
  readonly #channel: Channel

  constructor(exchange: Exchange) {
    this.#exchange = exchange
    this.#channel = new Channel(this)
  }

  /** Node's parser copies each part of a body into a buffer of its own and keeps none. */
  get exclusive(): boolean {
    return true
  }

  cancel(reason?: unknown): void {
    this.#channel.cancel(reason)
  }

  pushTo(sink: ByteSink): { resume(): void } {
    return this.#channel.pushTo(sink)
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#channel[Symbol.asyncIterator]()
  }

  onStart(): void {
    const exchange = this.#exchange
    const { incoming } = exchange
    if (exchange.outcome !== undefined || incoming.destroyed) {
      this.#channel.fail(this.#gone())
      return
    }
    this.reading = true
    this.tick = exchange.connection.door.tick
    incoming.reader = this
    exchange.sendContinue()
    incoming.on('data', onData).on('end', onEnd).on('close', onClose)
  }

  onDrain(): void {
    if (!this.reading || !this.paused) return
    this.paused = false
    this.tick = this.#exchange.connection.door.tick
    this.#exchange.incoming.resume()
  }

  onCancel(): void {
    this.#stop()
  }

  /** Ends the reading with an error; what is left of the body stays on the wire. */
  fail(error: unknown): void {
    this.#stop()
    this.#channel.fail(error)
  }

  take(chunk: Uint8Array): void {
    const { limits, tick } = this.#exchange.connection.door
    this.received += chunk.length
    this.tick = tick
    if (limits.body > 0 && this.received > limits.body) {
      this.fail(tooLarge(this.received, limits.body))
    } else if (!this.#channel.write(chunk)) {
      this.paused = true
      this.#exchange.incoming.pause()
    }
  }

  end(): void {
    this.#stop()
    this.#channel.end()
  }

  /** The connection ended first. Half a body is never a clean end. */
  cut(): void {
    this.fail(this.#gone())
  }

  #stop(): void {
    if (!this.reading) return
    this.reading = false
    const { incoming } = this.#exchange
    incoming.reader = undefined
    incoming.off('data', onData).off('end', onEnd).off('close', onClose)
    incoming.pause()
  }

  #gone(): GatewayError {
    const whole = this.#exchange.contentLength
    const of = whole === undefined ? '' : ` of ${whole}`
    return new GatewayError('CLIENT_GONE', { status: 499, message: `http: the client has gone after ${this.received}${of} bytes of body` })
  }
}

function onData(this: Incoming, chunk: Uint8Array): void {
  this.reader?.take(chunk)
}

function onEnd(this: Incoming): void {
  this.reader?.end()
}

function onClose(this: Incoming): void {
  this.reader?.cut()
}
