// What workers print, as lines of the main log: `WARNING: [pool www] child 12 said into stderr: "..."`.
//
// A line that is longer than log_limit goes on in the next one, with the same head; nothing is cut. Control characters are made visible.

import { escapeControls } from './escape.ts'

export type WorkerStream = 'stdout' | 'stderr'

export interface WorkerOutputOptions {
  readonly pool: string
  readonly pid: number
  /** `decorate_workers_output`: with head and quotes. */
  readonly decorate: boolean
  /** `log_buffering`: one write for each line; without it each piece is written as it comes. */
  readonly buffering: boolean
  /** `log_limit`: bytes of a line, with its line break. */
  readonly limit: number
  /** What the log begins a line with at this moment. */
  readonly head: () => string
  readonly write: (bytes: Uint8Array) => void
}

const NEWLINE = 0x0a

/** Both streams of one worker. A line that one of them has begun ends when the other one speaks. */
export class WorkerOutput {
  readonly #options: WorkerOutputOptions
  #stream: WorkerStream = 'stderr'
  /** Bytes of the line so far, written or not; 0: none is begun. And of its head. */
  #length = 0
  #headLength = 0
  #pending = ''

  constructor(options: WorkerOutputOptions) {
    this.#options = options
  }

  push(stream: WorkerStream, chunk: Uint8Array): void {
    if (stream !== this.#stream) {
      this.#finish('')
      this.#stream = stream
    }
    let start = 0
    for (;;) {
      const end = chunk.indexOf(NEWLINE, start)
      const part = chunk.subarray(start, end < 0 ? chunk.length : end)
      this.#add(escapeControls(Buffer.from(part.buffer, part.byteOffset, part.length).toString('latin1')))
      if (end < 0) break
      this.#finish('')
      start = end + 1
    }
  }

  /** Its request is over: a line without its line break ends here. */
  endLine(): void {
    this.#finish('')
  }

  /** The stream is closed. Only a line without its line break is told of. */
  end(stream: WorkerStream): void {
    if (stream === this.#stream) this.#finish(this.#options.decorate ? ', pipe is closed' : '')
  }

  #add(text: string): void {
    let rest = text
    while (rest !== '') {
      if (this.#length === 0) this.#begin()
      const left = this.#options.limit - this.#length - this.#quote.length - 1
      // A head that fills the line leaves room for one byte, or it would never end.
      const room = this.#length > this.#headLength ? left : Math.max(1, left)
      if (rest.length <= room) {
        this.#put(rest)
        return
      }
      this.#put(rest.slice(0, room))
      rest = rest.slice(room)
      this.#put(`${this.#quote}\n`)
      this.#flush()
    }
  }

  #begin(): void {
    const { decorate, pool, pid, head } = this.#options
    if (decorate) this.#put(`${head()}[pool ${pool}] child ${pid} said into ${this.#stream}: "`)
    this.#headLength = this.#length
  }

  #finish(suffix: string): void {
    if (this.#length === 0) return
    this.#put(`${this.#quote}${suffix}\n`)
    this.#flush()
  }

  get #quote(): string {
    return this.#options.decorate ? '"' : ''
  }

  #put(text: string): void {
    this.#length += text.length
    if (this.#options.buffering) this.#pending += text
    else this.#options.write(Buffer.from(text, 'latin1'))
  }

  #flush(): void {
    if (this.#pending !== '') this.#options.write(Buffer.from(this.#pending, 'latin1'))
    this.#pending = ''
    this.#length = 0
  }
}
