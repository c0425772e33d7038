// A part of an open file as a response body, so that a door can send it its own way.

import { close, read } from 'node:fs'
import { Channel } from './streams.ts'
import type { ByteStream } from './types.ts'

/** Bytes a stream of a file reads at a time: 64 KiB makes 1.4 GB/s, 256 KiB 2.0, and 1 MiB 2.1 at twice the memory. */
export const READ_SIZE = 262_144

/** Owns its descriptor: whoever takes the slice closes it, once everything is read or nobody wants it. */
export class FileSlice {
  readonly fd: number
  /** First byte. */
  readonly start: number
  /** Number of bytes. */
  readonly length: number
  #open = true

  constructor(fd: number, start: number, length: number) {
    this.fd = fd
    this.start = start
    this.length = length
  }

  /** Idempotent. */
  close(): void {
    if (!this.#open) return
    this.#open = false
    // Nothing was written through it, so there is nothing an error here could have lost.
    close(this.fd, () => {})
  }

  /** The bytes as a stream; closes the slice when it ends. A file that became shorter is an error, not a short body. */
  stream(): ByteStream {
    let position = this.start
    const end = this.start + this.length
    const next = (): void => {
      if (position >= end) {
        this.close()
        channel.end()
        return
      }
      const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, end - position))
      read(this.fd, buffer, 0, buffer.length, position, (error, count) => {
        if (error !== null || count === 0) {
          this.close()
          channel.fail(error ?? new Error(`core: the file ended ${end - position} bytes early`))
          return
        }
        position += count
        reading = false
        if (cancelled) this.close()
        else if (channel.write(count === buffer.length ? buffer : buffer.subarray(0, count))) start()
      })
    }
    let reading = false
    let cancelled = false
    const start = (): void => {
      if (reading) return
      reading = true
      next()
    }
    const channel: Channel = new Channel({
      highWaterMark: READ_SIZE,
      onStart: start,
      onDrain: start,
      onCancel: () => {
        cancelled = true
        // A read that is under way still uses the descriptor; its callback closes it.
        if (!reading) this.close()
      },
    })
    return channel
  }
}
