// The file that a spooled body goes to: opened for us alone, without a name from then on unless somebody needs one, written batch after
// batch.

import { randomBytes } from 'node:crypto'
import { close, constants, open, unlink, writev } from 'node:fs'
import { join } from 'node:path'
import { chunksAfter } from './chunks-after.ts'
import { GatewayError } from './errors.ts'
import { release } from './release.ts'

export interface SpoolFileEvents {
  /** Everything is written; more may come. */
  drained(): void
  failed(error: GatewayError): void
  /** `end` was called and everything is written. The descriptor is the receiver's. */
  whole(fd: number, path: string | undefined): void
}

/** The file of one body, written one batch after the other. */
export class SpoolFile {
  readonly #directory: string
  readonly #exclusive: boolean
  readonly #on: SpoolFileEvents
  /** While it has a name. */
  #path: string | undefined
  #fd: number | undefined
  #waiting: Uint8Array[] = []
  #position = 0
  #busy = true
  #ended = false
  #abandoned = false

  /**
   * @param exclusive nobody else holds the chunks: what was written is given back at once.
   * @param named the file keeps its name, for a program that is to open it; whoever gets it removes it.
   */
  constructor(directory: string, exclusive: boolean, on: SpoolFileEvents, named: boolean = false) {
    this.#directory = directory
    this.#exclusive = exclusive
    this.#on = on
    const path = join(directory, `viaduct-${randomBytes(12).toString('hex')}`)
    open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600, (error, fd) => {
      if (error !== null) {
        this.#busy = false
        this.#fail(error)
        return
      }
      this.#fd = fd
      if (named) {
        this.#path = path
        this.#next()
        return
      }
      unlink(path, (unlinkError) => {
        if (unlinkError === null) this.#next()
        else this.#fail(unlinkError)
      })
    })
  }

  /** false: wait for `drained`. What comes nevertheless is kept. */
  write(chunks: readonly Uint8Array[]): boolean {
    for (const chunk of chunks) this.#waiting.push(chunk)
    if (!this.#busy) this.#next()
    return false
  }

  end(): void {
    this.#ended = true
    if (!this.#busy) this.#next()
  }

  abandon(): void {
    if (this.#abandoned) return
    this.#abandoned = true
    this.#waiting = []
    // An operation that is under way still uses the descriptor; its callback closes.
    if (!this.#busy) this.#close()
  }

  #next(): void {
    this.#busy = false
    if (this.#abandoned) this.#close()
    else if (this.#waiting.length > 0) {
      // Not more in one call than any system takes (IOV_MAX).
      const batch = this.#waiting.length > 512 ? this.#waiting.splice(0, 512) : this.#waiting
      if (batch === this.#waiting) this.#waiting = []
      this.#write(batch)
    } else if (this.#ended) {
      const fd = this.#fd!
      this.#fd = undefined
      this.#abandoned = true
      const path = this.#path
      this.#path = undefined
      this.#on.whole(fd, path)
    } else this.#on.drained()
  }

  #write(batch: readonly Uint8Array[]): void {
    this.#busy = true
    writev(this.#fd!, batch, this.#position, (error, written) => {
      if (error !== null) {
        this.#fail(error)
        return
      }
      this.#position += written
      const rest = chunksAfter(batch, written)
      if (this.#exclusive && rest.length === 0) for (const chunk of batch) release(chunk)
      if (rest.length > 0 && !this.#abandoned) {
        // A short write: the next one tells whether the disk is full.
        if (written === 0) this.#fail(new Error('nothing was written'))
        else this.#write(rest)
      } else this.#next()
    })
  }

  #fail(cause: Error): void {
    this.#busy = false
    this.#waiting = []
    const known = this.#abandoned
    this.#abandoned = true
    this.#close()
    if (known) return
    this.#on.failed(
      new GatewayError('UNAVAILABLE', {
        status: 507,
        message: `core: a request body could not be kept in ${this.#directory}; make room there, or raise the memory that bodies may take`,
        cause,
      }),
    )
  }

  #close(): void {
    const fd = this.#fd
    this.#fd = undefined
    if (fd !== undefined) close(fd, () => {})
    if (this.#path !== undefined) unlink(this.#path, () => {})
    this.#path = undefined
  }
}
