// The memory of a spooled body: chunks as they came, or copied into blocks that serve one body after the other.

import { Channel } from './channel.ts'
import { GatewayError } from './errors.ts'
import { Joiner } from './joiner.ts'
import { release } from './release.ts'
import type { Spooled } from './spool.ts'
import type { ByteStream } from './types.ts'

/** Announced bodies from here are copied into blocks that are used again: keeping what the parser gives would be garbage of 64 KiB each time. */
export const LARGE = 65_536
/** Blocks that are kept for the next body: 16 MiB. */
const KEPT = 256

const BLOCK = 65_536
const blocks: Uint8Array[] = []

/** The chunks of a body, so that their memory is near their length. */
export class ChunkList {
  list: Uint8Array[] = []
  /** All of them are blocks, or the beginning of one. */
  readonly #copies: boolean
  readonly #exclusive: boolean
  readonly #joiner = new Joiner()
  #block: Uint8Array | undefined
  #filled = 0

  /** @param exclusive nobody else holds the chunks: what was copied is given back at once. */
  constructor(copies: boolean, exclusive: boolean) {
    this.#copies = copies
    this.#exclusive = exclusive
  }

  add(chunk: Uint8Array): void {
    if (this.#copies) this.#copy(chunk)
    else this.#joiner.add(this.list, chunk)
  }

  #copy(chunk: Uint8Array): void {
    const { list } = this
    for (let at = 0; at < chunk.length;) {
      if (this.#block === undefined || this.#filled === BLOCK) {
        this.#block = blocks.pop() ?? Buffer.allocUnsafeSlow(BLOCK)
        this.#filled = 0
        list.push(this.#block)
      }
      const part = at === 0 && chunk.length <= BLOCK - this.#filled ? chunk : chunk.subarray(at, at + BLOCK - this.#filled)
      this.#block.set(part, this.#filled)
      this.#filled += part.length
      at += part.length
      list[list.length - 1] = this.#filled === BLOCK ? this.#block : this.#block.subarray(0, this.#filled)
    }
    if (this.#exclusive) release(chunk)
  }
}

export class SpooledChunks implements Spooled {
  chunks: readonly Uint8Array[] | undefined
  readonly length: number
  readonly #copies: boolean
  readonly #giveBack: () => void

  constructor(chunks: readonly Uint8Array[], length: number, copies: boolean, giveBack: () => void) {
    this.chunks = chunks
    this.length = length
    this.#copies = copies
    this.#giveBack = giveBack
  }

  stream(): ByteStream {
    const channel = new Channel()
    if (this.chunks === undefined) channel.fail(closedError())
    else channel.writeAll(this.chunks)
    channel.end()
    return channel
  }

  close(unread: boolean = false): void {
    const { chunks } = this
    if (chunks === undefined) return
    this.chunks = undefined
    this.#giveBack()
    if (!unread || !this.#copies) return
    for (const chunk of chunks) if (blocks.length < KEPT) blocks.push(new Uint8Array(chunk.buffer))
  }
}

export function closedError(): GatewayError {
  return new GatewayError('BODY_USED', { status: 500, message: 'core: a spooled body was read after it had been closed' })
}
