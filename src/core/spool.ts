// A body whose end is awaited before anybody is asked to read it: a slow client then holds memory or a file, never a worker.
//
// It stays in memory up to a size of its own and while the process has budget left, and goes to a file beyond that. The
// file has no name from the moment it is open, so nothing is left behind, however the process ends.

import { close, unlink } from 'node:fs'
import { tmpdir } from 'node:os'
import { Channel, cancelled } from './channel.ts'
import { ChunkList, LARGE, SpooledChunks, closedError } from './chunks.ts'
import { GatewayError } from './errors.ts'
import { readFile } from './file-slice.ts'
import { SpoolFile } from './spool-file.ts'
import type { SpoolFileEvents } from './spool-file.ts'
import { pump } from './streams.ts'
import type { ByteSink, ByteStream } from './types.ts'

/** How large a body may be, and where it is kept. */
export interface SpoolOptions {
  /** Bytes of this body that may stay in memory. Default 1 MiB. */
  readonly memory?: number
  /** Bytes this body may have: BODY_TOO_LARGE, 413, beyond. Default: no limit. */
  readonly limit?: number
  /** Bytes it must have (the request's contentLength): BODY_LENGTH_MISMATCH, 400, otherwise. */
  readonly expected?: number | undefined
  /** Where the file goes. Default: the system's directory for temporary files. */
  readonly directory?: string
  /** What all bodies in memory share. Default `spoolMemory`. */
  readonly budget?: MemoryBudget
  /** A file keeps its name until `close`, for a program of the same user that is to read it. One is left behind if the process is killed meanwhile. Default false. */
  readonly named?: boolean
}

/** A whole body. `close` it, else its memory stays counted and its file stays open. */
export interface Spooled {
  /** In bytes. */
  readonly length: number
  /** The bytes when they are in memory, undefined when they are in a file or after `close`. */
  readonly chunks: readonly Uint8Array[] | undefined
  /** Where they are, with `named`, when they are in a file. */
  readonly path?: string | undefined
  /** Reads from the first byte; may be called again. A stream that is being read may be read to its end after `close`. */
  stream(): ByteStream
  /** Idempotent. `unread`: nobody holds any of `chunks` any more, so that their memory can be used for the next body. */
  close(unread?: boolean): void
}

/** Bytes that a kind of buffer may hold in the whole process. */
export class MemoryBudget {
  /** Bytes that may be handed out at a time. */
  readonly total: number
  /** Bytes handed out. */
  used = 0

  constructor(total: number) {
    this.total = total
  }

  /** Whether there were that many left; they are taken then. */
  take(bytes: number): boolean {
    if (this.used + bytes > this.total) return false
    this.used += bytes
    return true
  }

  /** Gives back so many bytes that were taken. */
  give(bytes: number): void {
    this.used -= bytes
  }
}

/** What all spooled bodies of this process may hold in memory at once: 64 MiB. Later ones go to files. */
export const spoolMemory: MemoryBudget = new MemoryBudget(64 * 1024 * 1024)

const nothing: Spooled = {
  length: 0,
  chunks: [],
  stream: () => {
    const channel = new Channel()
    channel.end()
    return channel
  },
  close() {},
}
const nothingYet = Promise.resolve(nothing)

/**
 * Reads `body` to its end. Rejects, with everything given back and the body cancelled: BODY_LENGTH_MISMATCH 400,
 * BODY_TOO_LARGE 413, UNAVAILABLE 507 when the file cannot be written, and whatever the body fails or is cancelled with.
 */
export function spool(body: ByteStream, options: SpoolOptions = {}): Promise<Spooled> {
  const { expected } = options
  if (expected === 0) return nothingYet
  if (expected !== undefined && expected > (options.limit ?? Infinity)) {
    const error = tooLarge(options.limit!)
    body.cancel(error)
    return Promise.reject(error)
  }
  return new Promise((resolve, reject) => {
    const sink = new SpoolSink(body, options, resolve, reject)
    sink.source = pump(body, sink)
  })
}

function tooLarge(limit: number): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', { status: 413, message: `core: a request body is larger than the limit of ${limit} bytes` })
}

function mismatch(expected: number, received: number): GatewayError {
  const fact = received > expected ? `goes on after the ${expected} bytes` : `ended after ${received} of the ${expected} bytes`
  return new GatewayError('BODY_LENGTH_MISMATCH', { status: 400, message: `core: a request body ${fact} that its Content-Length says` })
}

class SpoolSink implements ByteSink {
  source: { resume(): void } | undefined
  readonly #body: ByteStream
  readonly #options: SpoolOptions
  readonly #budget: MemoryBudget
  readonly #resolve: (spooled: Spooled) => void
  readonly #reject: (error: unknown) => void
  readonly #chunks: ChunkList
  readonly #copies: boolean
  #length = 0
  /** Bytes of the budget that are ours. */
  #taken = 0
  #file: SpoolFile | undefined
  #over = false

  constructor(body: ByteStream, options: SpoolOptions, resolve: (spooled: Spooled) => void, reject: (error: unknown) => void) {
    this.#body = body
    this.#options = options
    this.#budget = options.budget ?? spoolMemory
    this.#resolve = resolve
    this.#reject = reject
    this.#copies = (options.expected ?? 0) >= LARGE
    this.#chunks = new ChunkList(this.#copies, body.exclusive === true)
    // What will not fit is not kept first and written later.
    if ((options.expected ?? 0) > this.#memory) this.#spill()
  }

  get #memory(): number {
    return this.#options.memory ?? 1_048_576
  }

  write(chunk: Uint8Array): boolean {
    if (this.#over) return true
    this.#length += chunk.length
    const { expected, limit } = this.#options
    if (expected !== undefined && this.#length > expected) return this.#refuse(mismatch(expected, this.#length))
    if (limit !== undefined && this.#length > limit) return this.#refuse(tooLarge(limit))
    if (this.#file === undefined) {
      if (this.#length <= this.#memory && this.#budget.take(chunk.length)) {
        this.#taken += chunk.length
        this.#chunks.add(chunk)
        return true
      }
      this.#spill()
    }
    return this.#file!.write([chunk])
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    let more = true
    for (const chunk of chunks) more = this.write(chunk)
    return more
  }

  end(): void {
    if (this.#over) return
    const { expected } = this.#options
    if (expected !== undefined && this.#length < expected) {
      this.fail(mismatch(expected, this.#length))
      return
    }
    if (this.#file !== undefined) this.#file.end()
    else {
      this.#over = true
      const budget = this.#budget
      this.#resolve(new SpooledChunks(this.#chunks.list, this.#length, this.#copies, () => budget.give(this.#taken)))
    }
  }

  fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#release()
    if (this.#file !== undefined) this.#file.abandon()
    this.#reject(error)
  }

  cancelled(reason: unknown): void {
    this.fail(cancelled(reason))
  }

  #refuse(error: unknown): boolean {
    this.fail(error)
    this.#body.cancel(error)
    return true
  }

  #release(): void {
    this.#budget.give(this.#taken)
    this.#taken = 0
    this.#chunks.list = []
  }

  #spill(): void {
    const { directory = tmpdir(), named } = this.#options
    const events: SpoolFileEvents = {
      drained: () => this.source?.resume(),
      failed: (error) => this.#refuse(error),
      whole: (fd, path) => {
        this.#over = true
        this.#resolve(new SpooledFile(fd, this.#length, path))
      },
    }
    this.#file = new SpoolFile(directory, this.#body.exclusive === true, events, named)
    if (this.#chunks.list.length > 0) this.#file.write(this.#chunks.list)
    this.#release()
  }
}

class SpooledFile implements Spooled {
  readonly chunks = undefined
  readonly length: number
  readonly path: string | undefined
  readonly #fd: number
  #readers = 0
  #closed = false

  constructor(fd: number, length: number, path: string | undefined) {
    this.#fd = fd
    this.length = length
    this.path = path
  }

  stream(): ByteStream {
    // Counted from the first read, so that a stream nobody reads keeps nothing open.
    let counted = false
    return readFile(this.#fd, 0, this.length, {
      start: () => {
        if (this.#closed) throw closedError()
        counted = true
        this.#readers++
      },
      over: () => {
        if (!counted) return
        this.#readers--
        this.#closeIfIdle()
      },
    })
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    if (this.path !== undefined) unlink(this.path, () => {})
    this.#closeIfIdle()
  }

  #closeIfIdle(): void {
    if (this.#closed && this.#readers === 0) close(this.#fd, () => {})
  }
}
