// Small chunks that wait, copied together: each may hold all of the read that it was a part of, and costs a few hundred bytes beside, so
// that a peer who sends single bytes would take a hundred times the memory of what it sent.

const SMALL = 2048
/** So many are kept as they come. */
const FREE = 8
const BLOCK = 16_384

/** For one list at a time, to whose end it alone adds. */
export class Joiner {
  /** The last in the list is the beginning of it. */
  #block: Uint8Array | undefined
  #filled = 0

  /** Adds a chunk: itself, or a copy behind the small one before it. */
  add(list: Uint8Array[], chunk: Uint8Array): void {
    if (chunk.length >= SMALL || list.length < FREE) {
      list.push(chunk)
      this.#block = undefined
      return
    }
    if (this.#block === undefined || this.#filled + chunk.length > BLOCK) {
      this.#block = Buffer.allocUnsafeSlow(BLOCK)
      this.#filled = 0
      list.push(this.#block)
    }
    this.#block.set(chunk, this.#filled)
    this.#filled += chunk.length
    list[list.length - 1] = this.#block.subarray(0, this.#filled)
  }
}
