// A request's body out of a Readable of node's: its own IncomingMessage, or an HTTP/2 stream.

import type { Readable } from 'node:stream'
import { Channel, GatewayError } from '../core/index.ts'
import type { ByteSink, ByteStream, ChannelOptions } from '../core/index.ts'
import { tooLarge } from './incoming.ts'

export interface ReadableBodyOptions {
  /** Bytes; 0 is no limit. */
  readonly limit: number
  /** Milliseconds without a byte, while somebody reads; 0 is no limit. */
  readonly timeout: number
  /** What the client said. */
  readonly length: number | undefined
  /** The first read has begun. */
  readonly onStart?: () => void
}

/** Chunks go to whoever reads, as they come and no faster than they are taken. */
export class ReadableBody implements ByteStream, ChannelOptions {
  received = 0
  reading = false
  readonly #source: Readable
  readonly #options: ReadableBodyOptions
  readonly #channel: Channel
  #timer: NodeJS.Timeout | undefined

  constructor(source: Readable, options: ReadableBodyOptions) {
    this.#source = source
    this.#options = options
    this.#channel = new Channel(this)
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
    const source = this.#source
    if (source.readableEnded) {
      this.#channel.fail(
        new GatewayError('BODY_USED', {
          status: 500,
          message: 'http: the body was read before the request came to the application (by a body parser?)',
        }),
      )
      return
    }
    if (source.destroyed) {
      this.#channel.fail(this.#gone())
      return
    }
    this.reading = true
    this.#options.onStart?.()
    source.on('data', this.#take).on('end', this.#end).on('close', this.#close).on('error', this.#close)
    this.#watch()
  }

  onDrain(): void {
    if (!this.reading) return
    this.#source.resume()
    this.#watch()
  }

  onCancel(): void {
    this.#stop()
  }

  readonly #take = (chunk: Uint8Array): void => {
    const { limit } = this.#options
    this.received += chunk.length
    this.#timer?.refresh()
    if (limit > 0 && this.received > limit) this.#fail(tooLarge(this.received, limit))
    else if (!this.#channel.write(chunk)) {
      clearTimeout(this.#timer)
      this.#source.pause()
    }
  }

  readonly #end = (): void => {
    this.#stop()
    this.#channel.end()
  }

  /** Half a body is never a clean end. */
  readonly #close = (): void => this.#fail(this.#gone())

  #watch(): void {
    const { timeout } = this.#options
    clearTimeout(this.#timer)
    if (timeout === 0) return
    this.#timer = setTimeout(() => {
      const message = `http: no byte of the request body came for limits.bodyTimeout = ${timeout} ms`
      this.#fail(new GatewayError('TIMEOUT', { status: 408, message }))
    }, timeout)
  }

  #fail(error: unknown): void {
    this.#stop()
    this.#channel.fail(error)
  }

  #stop(): void {
    clearTimeout(this.#timer)
    if (!this.reading) return
    this.reading = false
    const source = this.#source
    source.off('data', this.#take).off('end', this.#end).off('close', this.#close).off('error', this.#close)
    source.pause()
    // Whoever comes late with one must not bring the process down.
    source.on('error', () => {})
  }

  #gone(): GatewayError {
    const whole = this.#options.length
    const of = whole === undefined ? '' : ` of ${whole}`
    return new GatewayError('CLIENT_GONE', { status: 499, message: `http: the client has gone after ${this.received}${of} bytes of body` })
  }
}
