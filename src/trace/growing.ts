// Bytes that come in pieces and are looked at from the first one: a buffer that doubles, so that a byte at a time does not cost
// a copy of all before it.

export class GrowingBuffer {
  #bytes: Buffer = Buffer.alloc(0)
  length = 0

  append(more: Buffer): void {
    const total = this.length + more.length
    if (this.#bytes.length < total) {
      const grown = Buffer.allocUnsafeSlow(Math.max(256, total * 2))
      this.#bytes.copy(grown, 0, 0, this.length)
      this.#bytes = grown
    }
    more.copy(this.#bytes, this.length)
    this.length = total
  }

  /** All of them; a view that the next `append` may change. */
  get view(): Buffer {
    return this.#bytes.subarray(0, this.length)
  }
}
