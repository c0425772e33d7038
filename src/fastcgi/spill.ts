// An answer on its way to a reader who is slower than the application (and a body, on the other side), on a connection that others share:
// what the reader has not taken waits in memory, then in a file, and the connection is read on. FastCGI has no flow control for one
// of several requests.
//
// The file has no name from the moment it is open. Memory for one answer is at most twice `memory` and 256 KiB.

import { randomBytes } from 'node:crypto'
import { close, constants, open, read, unlink, writev } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Channel, GatewayError, chunksAfter } from '../core/index.ts'

export interface SpillLimits {
  /** Bytes in memory. */
  readonly memory: number
  /** Bytes in a file beyond them. */
  readonly file: number
  readonly directory?: string
  /** The error of a reader that is further behind. Default: it counts as one that has left. */
  readonly tooFar?: () => GatewayError
}

/** What a reader reads, and what is written for it. */
export interface SpilledBody {
  readonly channel: Channel
  readonly sink: Spill
}

/** @param gone hears that the reader has left. */
export function spilledBody(limits: SpillLimits, owner: SpillOwner, gone: (reason: unknown) => void): SpilledBody {
  const channel: Channel = new Channel({
    highWaterMark: limits.memory,
    onDrain: () => sink.drained(),
    onCancel: (reason) => {
      sink.close()
      gone(reason)
    },
  })
  const sink = new Spill(limits, owner, channel)
  return { channel, sink }
}

/** What a spill does to its connection. */
export interface SpillOwner {
  /** The disk is slower than the application: the one case in which all have to wait, until `resume`. */
  pause(): void
  resume(): void
  /** The reader is too far behind, or the file cannot be written. */
  giveUp(error: GatewayError): void
}

const READ_SIZE = 65_536

export class Spill {
  readonly #limits: SpillLimits
  readonly #owner: SpillOwner
  readonly #channel: Channel
  /** What comes goes to the file, behind what is there. */
  #filing = false
  #fd: number | undefined
  #pending: Uint8Array[] = []
  #pendingBytes = 0
  #written = 0
  #read = 0
  /** The reader can take more. */
  #wanted = false
  #busy = false
  #paused = false
  #ending: { readonly error: unknown } | undefined
  #closed = false

  constructor(limits: SpillLimits, owner: SpillOwner, channel: Channel) {
    this.#limits = limits
    this.#owner = owner
    this.#channel = channel
  }

  /** Always takes it. */
  writeAll(pieces: readonly Uint8Array[]): true {
    if (this.#closed) return true
    if (!this.#filing) {
      const more = this.#channel.writeAll(this.#channel.buffered === 0 ? pieces : pieces.map(compact))
      // A false alone may mean that the reader took it and is busy.
      if (!more && this.#channel.buffered >= this.#limits.memory) this.#filing = true
      return true
    }
    for (const piece of pieces) {
      this.#pending.push(compact(piece))
      this.#pendingBytes += piece.length
    }
    if (this.#pendingBytes + this.#written - this.#read > this.#limits.file) {
      const message = `fastcgi: a reader is more than ${this.#limits.file} bytes behind its answer, on a connection that others share`
      this.#fail(this.#limits.tooFar?.() ?? new GatewayError('CLIENT_GONE', { status: 499, message }))
      return true
    }
    if (this.#pendingBytes > this.#limits.memory && !this.#paused) {
      this.#paused = true
      this.#owner.pause()
    }
    this.#work()
    return true
  }

  end(): void {
    this.#finish({ error: undefined })
  }

  /** What came before still reaches the reader. */
  fail(error: unknown): void {
    this.#finish({ error: error ?? new Error('fastcgi: an answer failed, and nobody said why') })
  }

  /** The channel has room again. */
  drained(): void {
    if (!this.#filing) return
    this.#wanted = true
    this.#work()
  }

  /** Nobody reads it any more. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#pending = []
    this.#unpause()
    // An operation that is under way still uses the descriptor; its callback closes.
    if (!this.#busy) this.#closeFile()
  }

  #finish(ending: { readonly error: unknown }): void {
    if (this.#closed || this.#ending !== undefined) return
    this.#ending = ending
    if (this.#filing) this.#work()
    else this.#conclude()
  }

  #conclude(): void {
    const { error } = this.#ending!
    this.#closed = true
    this.#closeFile()
    if (error === undefined) this.#channel.end()
    else this.#channel.fail(error)
  }

  /** One operation at a time: what is wanted from the file, else what is to go into it. */
  #work(): void {
    if (this.#busy) return
    if (this.#closed) {
      this.#closeFile()
      return
    }
    if (this.#wanted && this.#read < this.#written) this.#readSome()
    else if (this.#wanted && this.#pendingBytes > 0) this.#straight()
    else if (this.#wanted) this.#caughtUp()
    else if (this.#pendingBytes > 0) this.#writeSome()
  }

  /** The file is read to its end: what has not been written need not be. */
  #straight(): void {
    const pending = this.#takePending()
    this.#wanted = this.#channel.writeAll(pending)
    this.#work()
  }

  #caughtUp(): void {
    this.#filing = this.#wanted = false
    this.#written = this.#read = 0
    if (this.#ending !== undefined) this.#conclude()
    else this.#closeFile()
  }

  #takePending(): Uint8Array[] {
    const pending = this.#pending
    this.#pending = []
    this.#pendingBytes = 0
    this.#unpause()
    return pending
  }

  #unpause(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#owner.resume()
  }

  #readSome(): void {
    this.#busy = true
    const buffer = Buffer.allocUnsafeSlow(Math.min(READ_SIZE, this.#written - this.#read))
    read(this.#fd!, buffer, 0, buffer.length, this.#read, (error, count) => {
      this.#busy = false
      if (error !== null || count === 0) this.#broken(error ?? new Error('the file became shorter'))
      else {
        this.#read += count
        if (!this.#closed) this.#wanted = this.#channel.write(count === buffer.length ? buffer : buffer.subarray(0, count))
        this.#work()
      }
    })
  }

  #writeSome(): void {
    if (this.#fd === undefined) {
      this.#open()
      return
    }
    this.#busy = true
    // Not more in one call than any system takes (IOV_MAX).
    const batch = this.#pending.splice(0, 512)
    writev(this.#fd, batch, this.#written, (error, count) => {
      this.#busy = false
      if (error !== null || count === 0) {
        this.#broken(error ?? new Error('nothing was written'))
        return
      }
      this.#written += count
      this.#pendingBytes -= count
      if (this.#closed) this.#pending = []
      else this.#pending.unshift(...chunksAfter(batch, count))
      if (this.#pendingBytes <= this.#limits.memory) this.#unpause()
      this.#work()
    })
  }

  #open(): void {
    this.#busy = true
    const path = join(this.#limits.directory ?? tmpdir(), `viaduct-${randomBytes(12).toString('hex')}`)
    open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600, (error, fd) => {
      if (error !== null) {
        this.#busy = false
        this.#broken(error)
        return
      }
      this.#fd = fd
      unlink(path, (unlinkError) => {
        this.#busy = false
        if (unlinkError === null) this.#work()
        else this.#broken(unlinkError)
      })
    })
  }

  #broken(cause: Error): void {
    const folder = this.#limits.directory ?? tmpdir()
    const message = `fastcgi: a body could not be kept in ${folder}; make room there, or raise the memory that a body may take`
    this.#fail(new GatewayError('UNAVAILABLE', { status: 507, message, cause }))
  }

  #fail(error: GatewayError): void {
    const known = this.#closed
    this.close()
    this.#closeFile()
    if (known) return
    this.#channel.fail(error)
    this.#owner.giveUp(error)
  }

  #closeFile(): void {
    const fd = this.#fd
    if (fd === undefined || this.#busy) return
    this.#fd = undefined
    close(fd, () => {})
  }
}

/** A small piece of a read would keep all of what was read, which is mostly for others. */
function compact(piece: Uint8Array): Uint8Array {
  return piece.length * 2 < piece.buffer.byteLength ? Buffer.from(piece) : piece
}
