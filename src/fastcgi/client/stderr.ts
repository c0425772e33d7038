// FCGI_STDERR of one request as lines of text, bounded: what a program says about itself must not fill a log or a memory.

const LINE_LIMIT = 8192
const TOTAL_LIMIT = 65_536

/** Hands on whole lines without their ends; the last one, and one that is too long, as they are. */
export class StderrLines {
  readonly #write: (line: string) => void
  #parts: Buffer[] = []
  #length = 0
  #total = 0
  #dropped = 0

  constructor(write: (line: string) => void) {
    this.#write = write
  }

  push(bytes: Buffer, start: number, end: number): void {
    const room = TOTAL_LIMIT - this.#total
    const stop = Math.min(end, start + room)
    this.#dropped += end - stop
    this.#total += stop - start
    let from = start
    while (from < stop) {
      const newline = bytes.indexOf(0x0a, from)
      const at = newline === -1 || newline >= stop ? stop : newline
      const cut = Math.min(at, from + LINE_LIMIT - this.#length)
      this.#parts.push(bytes.subarray(from, cut))
      this.#length += cut - from
      if (cut === at && at < stop) this.#flush()
      else if (this.#length === LINE_LIMIT) this.#flush()
      from = cut === at && at < stop ? at + 1 : cut
    }
    // The memory of this read may be given back before the rest of the line comes.
    const last = this.#parts.length - 1
    if (last >= 0) this.#parts[last] = Buffer.from(this.#parts[last]!)
  }

  end(): void {
    if (this.#length > 0) this.#flush()
    if (this.#dropped > 0) this.#write(`(${this.#dropped} more bytes of standard error were dropped)`)
    this.#dropped = 0
  }

  #flush(): void {
    // Decoded only when the line is whole: a record may end in the middle of a character.
    const line = (this.#parts.length === 1 ? this.#parts[0]! : Buffer.concat(this.#parts)).toString('utf8')
    this.#parts = []
    this.#length = 0
    const text = line.endsWith('\r') ? line.slice(0, -1) : line
    if (text !== '') this.#write(text)
  }
}
