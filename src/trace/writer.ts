// The file that a capture is written to: in order, asynchronously, and bounded in memory and on disk.
//
// A disk that is slower than the traffic slows the traffic. A disk that takes nothing any more, or a file that has reached its
// limit, ends the recording and not the traffic.

import { close, ftruncate, open, writev } from 'node:fs'
import { promisify } from 'node:util'
import { GatewayError, chunksAfter } from '../core/index.ts'
import { MAGIC, encodeFrame } from './format.ts'
import type { CaptureMeta, Frame } from './format.ts'

/** Bytes that may wait for the disk before `write` says so. */
const HIGH_WATER_MARK = 4 * 1024 * 1024
/** Kept free below a limit for the last frame. */
const RESERVE = 256

export interface WriterOptions {
  readonly meta: CaptureMeta
  /** Bytes that the file may have. Default: no limit. */
  readonly limit?: number | undefined
  /** The recording ends before the capture does; once. `error` where it is the disk's fault. */
  readonly onStop: (why: string, error?: Error) => void
  /** More can be written, after a `write` that said false. */
  readonly onDrain: () => void
}

export class CaptureWriter {
  /** Bytes of the file. */
  bytes = 0
  readonly #fd: number
  readonly #options: WriterOptions
  #queue: Buffer[] = []
  #queued = 0
  /** Bytes that are on the disk. */
  #written = 0
  #writing = false
  #full = false
  #stopped = false
  #idle: (() => void) | undefined

  private constructor(fd: number, options: WriterOptions) {
    this.#fd = fd
    this.#options = options
    this.#add(MAGIC)
    this.#add(encodeFrame({ kind: 'meta', time: 0, meta: options.meta }))
    this.#flush()
  }

  /** Makes the file, which only its owner may read: requests hold secrets. Rejects with CONFIG where it exists or cannot be made. */
  static async open(path: string, options: WriterOptions): Promise<CaptureWriter> {
    try {
      return new CaptureWriter(await promisify(open)(path, 'wx', 0o600), options)
    } catch (cause) {
      const { code, message } = cause as NodeJS.ErrnoException
      const why = code === 'EEXIST' ? 'it exists; remove it or choose another name' : message
      throw new GatewayError('CONFIG', { status: 500, message: `capture: cannot write ${path}: ${why}`, cause })
    }
  }

  /** Adds a frame. @returns false when enough waits for the disk: the source stops until `onDrain`. */
  write(frame: Frame): boolean {
    if (this.#stopped) return true
    const bytes = encodeFrame(frame)
    const { limit } = this.#options
    if (limit !== undefined && this.bytes + bytes.length + RESERVE > limit) {
      this.#add(encodeFrame({ kind: 'finish', time: frame.time, reason: 'limit' }))
      this.#stop(`the file has reached its limit of ${limit} bytes`)
    } else this.#add(bytes)
    this.#flush()
    this.#full = !this.#stopped && this.#queued > HIGH_WATER_MARK
    return !this.#full
  }

  /** Ends the file in order and closes it. */
  async end(time: number): Promise<void> {
    if (!this.#stopped) this.#add(encodeFrame({ kind: 'finish', time, reason: 'stopped' }))
    this.#stopped = true
    this.#flush()
    if (this.#writing) await new Promise<void>((resolve) => (this.#idle = resolve))
    await promisify(close)(this.#fd)
  }

  #add(bytes: Buffer): void {
    this.#queue.push(bytes)
    this.#queued += bytes.length
    this.bytes += bytes.length
  }

  #stop(why: string, error?: Error): void {
    this.#stopped = true
    this.#options.onStop(why, error)
  }

  #flush(): void {
    if (this.#writing || this.#queue.length === 0) return
    this.#writing = true
    const batch = this.#queue
    this.#queue = []
    this.#put(batch)
  }

  /** A disk that is nearly full takes a part, and says why with the next one. */
  #put(batch: readonly Buffer[]): void {
    writev(this.#fd, batch, (error, count) => {
      if (error !== null) {
        this.#failed(error)
        return
      }
      this.#written += count
      this.#queued -= count
      const rest = chunksAfter(batch, count)
      if (rest.length > 0) this.#put(rest)
      else this.#done()
    })
  }

  #done(): void {
    this.#writing = false
    this.#flush()
    if (this.#full && this.#queued <= HIGH_WATER_MARK / 2) {
      this.#full = false
      this.#options.onDrain()
    }
    if (!this.#writing) this.#idle?.()
  }

  #failed(error: Error): void {
    const wasStopped = this.#stopped
    this.#queue = []
    this.#queued = 0
    this.bytes = this.#written
    if (!wasStopped) this.#stop(`the file cannot be written: ${error.message}`, error)
    // What was written of it may be longer than what the system said it took.
    ftruncate(this.#fd, this.#written, () => this.#done())
  }
}
