// The header block at the start of STDOUT, out of however many pieces it comes in, bounded.

import { GatewayError, headEnd, parseHead } from '../../core/index.ts'
import type { ByteString, CgiHead } from '../../core/index.ts'

export class HeadReader {
  #block: ByteString = ''
  /** Bytes of an unfinished block, in a buffer that doubles: a byte at a time must not cost a copy of all before it. */
  #partial: Buffer | undefined
  #length = 0

  /**
   * Takes `bytes` from `start` to `end`. @returns the index after the block, -1 while it is not whole.
   * Throws UPSTREAM_HEAD (502) for one over `limit`.
   */
  push(bytes: Buffer, start: number, end: number, limit: number): number {
    const before = this.#length
    const size = end - start
    // Nearly always the whole block is in the first piece, and nothing has to be copied.
    const at = before === 0 ? headEnd(bytes.subarray(start, end)) : headEnd(this.#keep(bytes, start, end), before)
    if ((at === -1 ? before + size : at) > limit) {
      throw new GatewayError('UPSTREAM_HEAD', { status: 502, message: `fastcgi: the answer's head is over ${limit} bytes` })
    }
    if (at === -1) {
      if (before === 0) this.#keep(bytes, start, end)
      return -1
    }
    this.#block = before === 0 ? bytes.toString('latin1', start, start + at) : this.#partial!.toString('latin1', 0, at)
    this.#partial = undefined
    return start + at - before
  }

  /** The block, read. Throws UPSTREAM_HEAD (502) with the line that is wrong. */
  take(): CgiHead {
    return parseHead(this.#block)
  }

  #keep(bytes: Buffer, start: number, end: number): Buffer {
    const total = this.#length + end - start
    if (this.#partial === undefined || this.#partial.length < total) {
      const grown = Buffer.allocUnsafeSlow(Math.max(1024, total * 2))
      this.#partial?.copy(grown, 0, 0, this.#length)
      this.#partial = grown
    }
    bytes.copy(this.#partial, this.#length, start, end)
    this.#length = total
    return this.#partial.subarray(0, total)
  }
}
