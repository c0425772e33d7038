// Where lines are written, from the side of a process that has better things to do than to wait for it.
//
// Lines leave together and asynchronously, so that a slow reader holds up nobody; what waits is bounded, so that a stuck one
// does not fill the memory; what cannot be written is dropped and told of once, so that a full disk or a terminal that was
// closed ends neither the server nor its end. (pino's own destination repeats a synchronous flush for ever in that case.)

import { closeSync, openSync, write, writeSync } from 'node:fs'

export interface SinkOptions {
  /** Characters that wait for each other; 0: each line leaves at once. Lines wait a second at most. */
  readonly batch: number
  /** Characters that may wait for the reader; later lines are lost. Default 16 Mi. */
  readonly backlog?: number
}

/** Milliseconds that a line may wait for others. */
const PERIOD = 1000
/** Milliseconds before a pipe that is full is tried again. */
const FULL_PAUSE = 50
/** Milliseconds that the end waits for the reader. */
const END_TIMEOUT = 1000

export class Sink {
  readonly #path: string | undefined
  readonly #batch: number
  readonly #backlog: number
  #fd: number
  #waiting = ''
  #writing = false
  #period: NodeJS.Timeout | undefined
  #told = false
  #ended: (() => void) | undefined
  #closed = false

  /** @param to a descriptor, which stays open, or the path of a file to append to. Throws where that cannot be opened. */
  constructor(to: number | string, options: SinkOptions) {
    this.#path = typeof to === 'string' ? to : undefined
    this.#fd = typeof to === 'string' ? openSync(to, 'a', 0o640) : to
    this.#batch = options.batch
    this.#backlog = options.backlog ?? 16 * 1024 * 1024
  }

  write(line: string): void {
    if (this.#closed) return
    if (this.#waiting.length + line.length > this.#backlog) {
      this.#tell(`its reader is ${this.#backlog} characters behind; lines are lost`)
      return
    }
    this.#waiting += line
    if (this.#waiting.length >= this.#batch) this.#start()
    else this.#period ??= setTimeout(() => this.#start(), PERIOD).unref()
  }

  /** Opens the file anew, after it was renamed. */
  reopen(): void {
    if (this.#path === undefined || this.#closed) return
    // What was said before belongs to the old file.
    this.#start()
    try {
      const old = this.#fd
      this.#fd = openSync(this.#path, 'a', 0o640)
      this.#whenQuiet(() => closeSync(old))
    } catch (error) {
      this.#tell((error as Error).message)
    }
  }

  /** Resolves when everything is written, or nobody takes it within a second. Later lines are dropped. */
  end(): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#closed = true
    return new Promise((done) => {
      const timer = setTimeout(done, END_TIMEOUT)
      this.#whenQuiet(() => {
        clearTimeout(timer)
        if (this.#path !== undefined) closeSync(this.#fd)
        done()
      })
      this.#start()
    })
  }

  #whenQuiet(then: () => void): void {
    const before = this.#ended
    this.#ended = () => {
      before?.()
      then()
    }
    if (!this.#writing && this.#waiting === '') this.#quiet()
  }

  #quiet(): void {
    const then = this.#ended
    this.#ended = undefined
    then?.()
  }

  #start(): void {
    clearTimeout(this.#period)
    this.#period = undefined
    if (this.#writing || this.#waiting === '') return
    this.#writing = true
    const bytes = Buffer.from(this.#waiting)
    this.#waiting = ''
    this.#put(this.#fd, bytes)
  }

  #put(fd: number, bytes: Buffer): void {
    write(fd, bytes, (error, count) => {
      if (error?.code === 'EAGAIN') setTimeout(() => this.#put(fd, bytes), FULL_PAUSE).unref()
      else if (error === null && count < bytes.length) this.#put(fd, bytes.subarray(count))
      else {
        if (error === null) this.#told = false
        else this.#tell(error.message)
        this.#written()
      }
    })
  }

  #written(): void {
    this.#writing = false
    if (this.#waiting !== '' && (this.#closed || this.#ended !== undefined || this.#waiting.length >= this.#batch)) this.#start()
    if (!this.#writing && this.#waiting === '') this.#quiet()
  }

  /** Once until it works again: to standard error, which may be what does not work. */
  #tell(fact: string): void {
    if (this.#told) return
    this.#told = true
    try {
      writeSync(2, `viaduct: a log cannot be written: ${fact}\n`)
    } catch {
      // There is nobody left to tell.
    }
  }
}
