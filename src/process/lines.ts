// What a program says on its standard error, as lines for a log. The program is not trusted: it may write without an end,
// without a line break, or what would forge or hide lines in whoever reads the log (CVE-2024-9026, CVE-2015-9253).

import type { Readable } from 'node:stream'

/** How much a program may say. */
export interface LineLimits {
  /** Bytes of a line that are kept; the rest up to the line break is dropped. Default 16 KiB. */
  readonly length?: number
  /** Lines a second; more are counted and dropped. Default 1000. */
  readonly rate?: number
}

const NEWLINE = 0x0a
const RETURN = 0x0d

/**
 * Reads `stream` to its end and tells `callback` each line, without its line break and with control characters made visible.
 * The stream is always read, whatever the limits: a program must not stop because it talks too much. What was dropped is said.
 */
export function lines(stream: Readable, callback: (line: string) => void, limits: LineLimits = {}): void {
  const splitter = new LineSplitter(callback, limits)
  let timer: NodeJS.Timeout | undefined
  // A flood that ends is told of soon, not with whatever line comes next.
  const tell = (): void => {
    splitter.settle(performance.now())
    timer = splitter.dropped === 0 ? undefined : setTimeout(tell, 1000).unref()
  }
  stream.on('data', (chunk: Buffer) => {
    splitter.push(chunk, performance.now())
    if (splitter.dropped > 0) timer ??= setTimeout(tell, 1000).unref()
  })
  let over = false
  const end = (): void => {
    if (over) return
    over = true
    clearTimeout(timer)
    splitter.end()
  }
  stream.once('end', end)
  stream.once('close', end)
  stream.on('error', end)
}

/** Bytes in, lines out; the clock is an argument (milliseconds). */
export class LineSplitter {
  /** Lines that were dropped and not yet told of. */
  dropped = 0
  readonly #callback: (line: string) => void
  readonly #length: number
  readonly #rate: number
  #parts: Uint8Array[] = []
  #kept = 0
  #cut = 0
  #windowEnd = Number.NEGATIVE_INFINITY
  #inWindow = 0

  constructor(callback: (line: string) => void, limits: LineLimits = {}) {
    this.#callback = callback
    this.#length = limits.length ?? 16_384
    this.#rate = limits.rate ?? 1000
  }

  push(chunk: Uint8Array, now: number): void {
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      this.#keep(chunk.subarray(start, end === -1 ? chunk.length : end))
      if (end === -1) return
      this.#line(now)
      start = end + 1
    }
  }

  /** Tells of what was dropped, if its second is over. */
  settle(now: number): void {
    if (now >= this.#windowEnd) this.#confess()
  }

  /** A last line without a line break is one too. */
  end(): void {
    this.#confess()
    if (this.#kept > 0) this.#line(Number.POSITIVE_INFINITY)
  }

  #keep(part: Uint8Array): void {
    const room = this.#length - this.#kept
    if (part.length > room) this.#cut += part.length - Math.max(0, room)
    if (part.length === 0 || room <= 0) return
    const kept = part.length > room ? part.subarray(0, room) : part
    this.#parts.push(kept)
    this.#kept += kept.length
    // Many tiny writes would hold as many chunks of up to 64 KiB in memory.
    if (this.#parts.length > 64) this.#parts = [Buffer.concat(this.#parts)]
  }

  #line(now: number): void {
    if (now >= this.#windowEnd) {
      this.#confess()
      this.#windowEnd = now + 1000
      this.#inWindow = 0
    }
    if (this.#inWindow < this.#rate) this.#callback(this.#text())
    else this.dropped++
    this.#inWindow++
    this.#parts = []
    this.#kept = 0
    this.#cut = 0
  }

  #text(): string {
    let bytes = this.#parts.length === 1 ? Buffer.from(this.#parts[0]!) : Buffer.concat(this.#parts)
    if (bytes.at(-1) === RETURN) bytes = bytes.subarray(0, -1)
    const text = visible(bytes.toString('utf8'))
    return this.#cut === 0 ? text : `${text} [${this.#cut} more bytes]`
  }

  #confess(): void {
    const { dropped } = this
    if (dropped === 0) return
    this.dropped = 0
    this.#callback(`[${dropped} lines dropped: more than ${this.#rate} in a second]`)
  }
}

/** Text in which control characters (C0 but tab, DEL, C1) and what reorders or breaks lines (U+2028, U+2029, bidirectional marks) are `\x1b`, `\u202e`. */
export function visible(text: string): string {
  return text.replace(/[\0-\x08\x0a-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]/g, (char) => {
    const code = char.charCodeAt(0)
    return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : `\\u${code.toString(16)}`
  })
}
