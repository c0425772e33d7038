// What a kept TCP connection does to an answer that comes in several small writes, and what helps.
//
// Nagle's algorithm at the application's end (RFC 896; PHP leaves it on) keeps a small write back until the one before is acknowledged,
// and our end delays the acknowledgement for what it might carry (RFC 1122, 4.2.3.2): on a connection that has carried a request before,
// 40 ms for a page of more than 8 KB. Node cannot ask for acknowledgements at once, but whatever is sent carries one.

import type { Socket } from 'node:net'
import type { Log } from '../../core/index.ts'
import { SKIPPED } from '../record.ts'

/** Pauses within an answer, in milliseconds, that look like a delayed acknowledgement: Linux waits 40 ms, and a tick more. */
const PAUSE = { least: 35, most: 60 }
/** So many of them, and it is no chance. */
const ENOUGH = 3
/** For one answer: nobody reads them before its end. */
const MOST = 64
/** Reads from here on are acknowledged at once. */
const LARGE = 32_768

/** Of one host over TCP: whether it keeps small writes back. */
export class Acks {
  readonly #peer: string
  readonly #log: Log | undefined
  #pauses = 0

  constructor(peer: string, log: Log | undefined) {
    this.#peer = peer
    this.#log = log
  }

  /** Whether its answers come sooner when something is sent. */
  get needed(): boolean {
    return this.#pauses >= ENOUGH
  }

  /** So many milliseconds passed between two reads of one answer. */
  paused(time: number): void {
    if (time < PAUSE.least || time > PAUSE.most || this.needed) return
    this.#pauses++
    if (!this.needed) return
    const message = `fastcgi: ${this.#peer} keeps small writes back until they are acknowledged; from now on that is done at once`
    this.#log?.info({ peer: this.#peer }, message)
  }
}

/** Of one connection: looks for pauses, and acknowledges where they are known. */
export class Acknowledger {
  readonly #acks: Acks
  readonly #socket: Socket
  #readAt = 0
  #sent = 0

  constructor(acks: Acks, socket: Socket) {
    this.#acks = acks
    this.#socket = socket
  }

  /** A request is sent. */
  begin(): void {
    this.#readAt = this.#sent = 0
  }

  /** Some of an answer has come, and more is to come. */
  read(length: number): void {
    if (this.#acks.needed) {
      if (length < LARGE && this.#sent++ < MOST && this.#socket.writableLength === 0) this.#socket.write(SKIPPED, 'latin1')
    } else this.#readAt = performance.now()
  }

  /** The next part of it is here. */
  came(): void {
    if (this.#readAt !== 0) this.#acks.paused(performance.now() - this.#readAt)
  }
}
