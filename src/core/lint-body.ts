// The rules about bodies, which can only be judged while the bytes pass.

import { FileSlice } from './file-slice.ts'
import { broken, check } from './lint-rules.ts'
import { bodyUsed } from './channel.ts'
import { pump } from './streams.ts'
import type { ByteSink, ByteStream } from './types.ts'

export interface BodyRules {
  /** For messages: `the request body`. */
  readonly name: string
  /** Bytes it must have when it ends; undefined when that is not known. */
  readonly length: number | undefined
  /** The body is over, however; called once. */
  readonly over: () => void
  /** A rule was broken where nobody can be told by a throw. */
  readonly late: (sentence: string) => void
}

/// ## Bodies
///
/// The same for the body of a request and that of a response.
export class LintedBody implements ByteStream {
  /** `ended`: whole. `dropped`: it failed or somebody cancelled it. */
  state: 'open' | 'ended' | 'dropped' = 'open'
  readonly #stream: ByteStream
  readonly #rules: BodyRules
  #read = false
  #bytes = 0
  /** A rule was broken amid the body: the reader hears of that, not of the cancel that follows. */
  #failed = false

  constructor(stream: ByteStream, rules: BodyRules) {
    this.#stream = stream
    this.#rules = rules
  }

  /// - `cancel` is valid at any time and any number of times, also before the first read.
  cancel(reason?: unknown): void {
    this.#settle('dropped')
    this.#stream.cancel(reason)
  }

  pushTo(sink: ByteSink): { resume(): void } {
    this.#begin()
    let returned = false
    const lane = pump(this.#stream, {
      write: (chunk) => {
        /// - Nothing is pushed before `pushTo` has returned.
        if (!returned) this.#rules.late(`${this.#rules.name} was pushed before pushTo returned`)
        return this.#pass([chunk], sink, () => sink.write(chunk))
      },
      writeAll: (chunks) => this.#pass(chunks, sink, () => sink.writeAll(chunks)),
      end: () => {
        if (!this.#stillOpen('end')) return
        const fault = this.#settle('ended') ? this.#short() : undefined
        if (fault === undefined) sink.end()
        else sink.fail(fault)
      },
      fail: (error) => {
        if (!this.#stillOpen('fail')) return
        this.#settle('dropped')
        sink.fail(error)
      },
      cancelled: (reason) => {
        if (this.#failed) return
        this.#settle('dropped')
        sink.cancelled?.(reason)
      },
    })
    returned = true
    return lane
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    this.#begin()
    return this.#iterate()
  }

  async *#iterate(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      for await (const chunk of this.#stream) {
        this.#count(chunk)
        yield chunk
      }
      this.#settle('ended')
      const fault = this.#short()
      if (fault !== undefined) throw fault
    } finally {
      this.#settle('dropped')
    }
  }

  #begin(): void {
    /// - A body is read at most once, by iterating or by `pushTo`.
    if (this.#read) {
      this.#rules.late(`${this.#rules.name} was read twice`)
      throw bodyUsed()
    }
    this.#read = true
  }

  #pass(chunks: readonly Uint8Array[], sink: ByteSink, write: () => boolean): boolean {
    if (this.state === 'dropped') return true
    try {
      for (const chunk of chunks) this.#count(chunk)
    } catch (error) {
      this.#failed = true
      this.#settle('dropped')
      this.#stream.cancel(error)
      sink.fail(error)
      return true
    }
    return write()
  }

  #count(chunk: Uint8Array): void {
    const { name, length } = this.#rules
    /// - Chunks are bytes: `Uint8Array`s that nobody writes to any more.
    check(chunk instanceof Uint8Array, () => `a chunk of ${name} is not a Uint8Array`)
    /// - After its end or failure nothing comes.
    check(this.state === 'open', () => `a chunk of ${name} came after its end`)
    this.#bytes += chunk.length
    /// - A body has as many bytes as its length says (`contentLength`, Content-Length): one more, or its end before the last, is an error and never a clean end.
    check(length === undefined || this.#bytes <= length, () => `${name} has more than the ${length} bytes it is said to have`)
  }

  #short(): Error | undefined {
    const { name, length } = this.#rules
    return length === undefined || this.#bytes === length ? undefined : broken(`${name} ended after ${this.#bytes} of ${length} bytes`)
  }

  #stillOpen(what: string): boolean {
    /// - Exactly one of `end` and `fail` is called, once.
    if (this.state === 'ended') this.#rules.late(`${what} after the end of ${this.#rules.name}`)
    return this.state === 'open'
  }

  #settle(state: 'ended' | 'dropped'): boolean {
    if (this.state !== 'open') return false
    this.state = state
    this.#rules.over()
    return true
  }
}

/** A file whose closing is seen. */
export class LintedFile extends FileSlice {
  readonly #file: FileSlice
  readonly #over: () => void

  constructor(file: FileSlice, over: () => void) {
    super(file.fd, file.start, file.length)
    this.#file = file
    this.#over = over
  }

  override close(): void {
    this.#over()
    this.#file.close()
  }
}
