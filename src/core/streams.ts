// Byte streams: making them, reading them, looking on.

import { bodyUsed, cancelled } from './channel.ts'
import { GatewayError } from './errors.ts'
import type { ByteSink, ByteStream } from './types.ts'

const NO_MORE: IteratorResult<Uint8Array> = { done: true, value: undefined }

/** The body of a request that has none. One object for all: reading it twice does no harm. */
export const emptyBody: ByteStream = {
  cancel() {},
  pushTo(sink) {
    queueMicrotask(() => sink.end())
    return { resume() {} }
  },
  [Symbol.asyncIterator]: () => ({ next: () => Promise.resolve(NO_MORE) }),
}

type Source = Iterator<Uint8Array> | AsyncIterator<Uint8Array>

/**
 * A stream out of anything that yields chunks. `cancel` returns the iterator, then calls `onCancel` (for what a generator
 * that never started cannot clean up). `onCancel` is not called after the source ended or threw.
 */
export function streamOf(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, onCancel?: (reason: unknown) => void): ByteStream {
  return new IteratedStream(source, onCancel)
}

class IteratedStream implements ByteStream {
  readonly #source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>
  readonly #onCancel: ((reason: unknown) => void) | undefined
  #iterator: Source | undefined
  #sink: ByteSink | undefined
  /** A read that is under way: a source that is stuck must not keep its reader after a cancel. */
  #abandon: ((error: unknown) => void) | undefined
  #over = false
  #error: unknown

  constructor(source: Iterable<Uint8Array> | AsyncIterable<Uint8Array>, onCancel?: (reason: unknown) => void) {
    this.#source = source
    this.#onCancel = onCancel
  }

  cancel(reason?: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#error = cancelled(reason)
    // What a source says while it is being thrown away concerns nobody.
    Promise.resolve(this.#iterator?.return?.()).catch(() => {})
    this.#onCancel?.(reason)
    this.#abandon?.(this.#error)
    this.#sink?.cancelled?.(reason)
  }

  pushTo(sink: ByteSink): { resume(): void } {
    const iterator = this[Symbol.asyncIterator]()
    const tap = new Tap(sink)
    this.#sink = sink
    drain(iterator, tap, () => this.#over).then(
      (cut) => {
        if (!cut) sink.end()
      },
      (error: unknown) => {
        // Set by `cancel` alone: the sink has heard of that.
        if (this.#error === undefined) sink.fail(error ?? new Error('core: a stream failed, and nobody said why'))
      },
    )
    return tap
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    if (this.#iterator !== undefined || this.#over) throw bodyUsed()
    const source = this.#source
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    return { next: () => this.#next(), return: () => this.#return() }
  }

  #next(): Promise<IteratorResult<Uint8Array>> {
    if (this.#over) return this.#error === undefined ? Promise.resolve(NO_MORE) : Promise.reject(this.#error as Error)
    return new Promise((resolve, reject) => {
      this.#abandon = reject
      const fail = (error: unknown): void => {
        this.#over = true
        reject(error as Error)
      }
      try {
        Promise.resolve(this.#iterator!.next()).then((result) => {
          if (result.done === true) this.#over = true
          resolve(result)
        }, fail)
      } catch (error) {
        fail(error)
      }
    })
  }

  async #return(): Promise<IteratorResult<Uint8Array>> {
    if (!this.#over) {
      this.#over = true
      try {
        await this.#iterator?.return?.()
      } finally {
        this.#onCancel?.(undefined)
      }
    }
    return NO_MORE
  }
}

/** Lets an iterating loop wait for the `resume` of a sink. */
class Tap {
  readonly sink: ByteSink
  #wake: (() => void) | undefined
  #resumed = false

  constructor(sink: ByteSink) {
    this.sink = sink
  }

  /** undefined when the sink can take more at once. */
  write(chunk: Uint8Array): Promise<void> | undefined {
    if (chunk.length === 0) return undefined
    this.#resumed = false
    if (this.sink.write(chunk) || this.#resumed) return undefined
    return new Promise((resolve) => {
      this.#wake = resolve
    })
  }

  resume(): void {
    this.#resumed = true
    const wake = this.#wake
    this.#wake = undefined
    wake?.()
  }
}

/** Moves all chunks; tells whether somebody cancelled in between. */
async function drain(iterator: AsyncIterator<Uint8Array>, tap: Tap, over: () => boolean): Promise<boolean> {
  for (;;) {
    const result = await iterator.next()
    if (result.done === true) return false
    const wait = tap.write(result.value)
    if (wait !== undefined) await wait
    if (over()) return true
  }
}

/** Reads `stream` into `sink` by the push lane where there is one, else by iterating. `resume` lifts a false of the sink. */
export function pump(stream: ByteStream, sink: ByteSink): { resume(): void } {
  return stream.pushTo === undefined ? streamOf(stream, (reason) => stream.cancel(reason)).pushTo!(sink) : stream.pushTo(sink)
}

/** All bytes of a stream; rejects with BODY_TOO_LARGE and cancels it beyond `limit`. */
export function collect(stream: ByteStream, limit: number = Number.POSITIVE_INFINITY): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = []
    let length = 0
    const take = (chunk: Uint8Array): boolean => {
      if (length > limit) return true
      length += chunk.length
      if (length <= limit) {
        chunks.push(chunk)
        return true
      }
      chunks.length = 0
      const error = new GatewayError('BODY_TOO_LARGE', { status: 413, message: `core: a body is larger than the limit of ${limit} bytes` })
      reject(error)
      stream.cancel(error)
      return true
    }
    pump(stream, {
      write: take,
      writeAll: (all) => all.every(take),
      end: () => resolve(Buffer.concat(chunks, length)),
      fail: reject,
      cancelled: (reason) => reject(cancelled(reason)),
    })
  })
}

/** Who looks on while a stream is read. */
export interface Observer {
  /** Sees each chunk's length before it passes; what it throws ends the stream with that error. */
  readonly chunk?: (length: number) => void
  /** Called once: the source ended (undefined), failed (its error) or was cancelled. */
  readonly over?: (how: 'ended' | 'failed' | 'cancelled', error?: unknown) => void
}

/** The same stream with somebody looking on: for limits, counts, and knowing when a body is over. Keeps the push lane. */
export function observed(stream: ByteStream, observer: Observer): ByteStream {
  return new ObservedStream(stream, observer)
}

class ObservedStream implements ByteStream {
  readonly #stream: ByteStream
  readonly #observer: Observer
  #done = false
  #failed = false

  constructor(stream: ByteStream, observer: Observer) {
    this.#stream = stream
    this.#observer = observer
  }

  /** An observer hears how long a chunk is, and never has it. */
  get exclusive(): boolean | 'buffers' {
    return this.#stream.exclusive ?? false
  }

  cancel(reason?: unknown): void {
    this.#over('cancelled', reason)
    this.#stream.cancel(reason)
  }

  pushTo(sink: ByteSink): { resume(): void } {
    return pump(this.#stream, {
      write: (chunk) => this.#done || !this.#look(chunk, sink) || sink.write(chunk),
      writeAll: (chunks) => {
        for (const chunk of chunks) if (this.#done || !this.#look(chunk, sink)) return true
        return sink.writeAll(chunks)
      },
      end: () => {
        if (this.#done) return
        this.#over('ended')
        sink.end()
      },
      fail: (error) => {
        if (this.#done) return
        this.#over('failed', error)
        sink.fail(error)
      },
      cancelled: (reason) => {
        if (this.#failed) return
        this.#over('cancelled', reason)
        sink.cancelled?.(reason)
      },
    })
  }

  /** false when the observer threw: the stream is over with that error, and the sink knows. */
  #look(chunk: Uint8Array, sink: ByteSink): boolean {
    try {
      this.#observer.chunk?.(chunk.length)
      return true
    } catch (error) {
      this.#over('failed', error)
      this.#stream.cancel(error)
      sink.fail(error)
      return false
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of this.#stream) {
        this.#observer.chunk?.(chunk.length)
        yield chunk
      }
      this.#over('ended')
    } catch (error) {
      this.#over('failed', error)
      throw error
    } finally {
      this.#over('cancelled')
    }
  }

  #over(how: 'ended' | 'failed' | 'cancelled', error?: unknown): void {
    if (this.#done) return
    this.#done = true
    this.#failed = how === 'failed'
    this.#observer.over?.(how, error)
  }
}
