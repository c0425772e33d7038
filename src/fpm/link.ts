// A connection to a worker, from the manager's side: reads go into one buffer of its own, one behind the other for as long as what came is
// held, and leave it as they are. Nothing is copied and nothing is allocated while whoever takes it keeps up.

import { connect } from 'node:net'
import type { IpcNetConnectOpts, Socket, TcpNetConnectOpts } from 'node:net'

/** Bytes of a buffer. The kernel gives its memory when it is first touched, which small answers hardly do. */
const SIZE = 65_536
/** Bytes that may be kept in front of the next read. */
export const KEPT_LIMIT = 49_152

export class Link {
  readonly socket: Socket
  /** Told of each read: the bytes in front of `end` that were not left yet. They are the link's, and valid until `leave`. */
  onRead: ((buffer: Buffer<ArrayBuffer>, end: number) => void) | undefined
  #buffer = Buffer.allocUnsafeSlow(SIZE)
  /** Where the next read goes. */
  #at = 0
  #next: Uint8Array | undefined = this.#buffer
  /** Was lent, and is free again. */
  #spare: Buffer<ArrayBuffer> | undefined

  constructor(where: IpcNetConnectOpts | TcpNetConnectOpts) {
    this.socket = connect({
      ...where,
      onread: {
        // Asked after each read; without an answer it is the one of before.
        buffer: () => {
          const next = this.#next
          this.#next = undefined
          return next as Uint8Array
        },
        callback: (length) => {
          this.onRead?.(this.#buffer, this.#at + length)
          return true
        },
      },
    })
  }

  /** From within `onRead`: all of it stays where it is, and the next read goes behind it. At most KEPT_LIMIT bytes. */
  keep(end: number): void {
    this.#at = end
    this.#next = this.#buffer.subarray(end)
  }

  /**
   * From within `onRead`: only `from` to `end` stays, at the front.
   * @param lent somebody reads the buffer still: the next reads get another one.
   */
  leave(from: number, end: number, lent: boolean): void {
    const length = end - from
    if (lent) {
      const next = this.#spare ?? Buffer.allocUnsafeSlow(SIZE)
      this.#spare = undefined
      this.#buffer.copy(next, 0, from, end)
      this.#buffer = next
    } else if (this.#at === 0 && length === 0) return
    else this.#buffer.copyWithin(0, from, end)
    this.#at = length
    this.#next = this.#buffer.subarray(length)
  }

  /** Nobody reads a lent buffer any more. */
  giveBack(buffer: Buffer<ArrayBuffer>): void {
    this.#spare = buffer
  }
}
