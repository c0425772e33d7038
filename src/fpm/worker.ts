// One worker and the connection it is reached by: a request goes out, and what comes back goes on to the web server as it is, record by
// record, without a copy. Only three things are looked at: the head, for the log; STDERR, which php-fpm words differently; and the end.
//
// FastCGI 1.0, 3.3, 5.3 and 5.5. The request has the same id on both connections, which is why records can be handed on.

import type { Socket } from 'node:net'
import { pump } from '../core/index.ts'
import type { ByteStream, ByteString } from '../core/index.ts'
import { Type, record } from '../fastcgi/index.ts'
import type { Hand } from './crew.ts'
import type { Exchange } from './exchange.ts'
import { UploadSink, stdinRecords } from './upload.ts'

const HEADER = 8
const END_LENGTH = 16
/** Bytes of a head that are looked at for its status. */
const HEAD_LIMIT = 65_536
/** What a request may say on STDERR; beyond, it is cut. */
const STDERR_LIMIT = 65_536

/** What a pool is told. */
export interface WorkerOwner {
  /** The answer is whole, and the worker free. Before the last of it is written: the next request may be on its way first. */
  finished(worker: Worker): void
  /** The answer is on its way. */
  answered(exchange: Exchange): void
  /** The connection is gone, with the process or without. */
  broke(worker: Worker): void
}

export class Worker {
  readonly hand: Hand
  readonly pid: number
  /** By `performance.now()`, and as Unix milliseconds. */
  readonly startedAt: number
  readonly startTime: number = Date.now()
  lastActive: number
  requests = 0
  /** The request that it has; stays while the process works on although nobody listens any more. */
  exchange: Exchange | undefined
  /** The last one, for the status page. */
  last: Exchange | undefined
  /** Its connection was given up while it was at work. */
  stray = false
  /** Processor time at the last look, in hundredths of a second. */
  userTicks = 0
  systemTicks = 0
  /** It ends because we want it to. */
  dismissed: 'spare' | 'worn' | 'timeout' | undefined
  readonly #socket: Socket
  readonly #owner: WorkerOwner
  #pending: Buffer | undefined
  /** Bytes left of the record that is coming, with its padding, and of the content of STDOUT. */
  #left = 0
  #contentLeft = 0
  #stderr: Buffer[] | undefined
  #stderrLeft = 0
  #upload: UploadSink | undefined
  #closed = false

  constructor(hand: Hand, owner: WorkerOwner) {
    this.hand = hand
    this.pid = hand.pid
    this.startedAt = this.lastActive = performance.now()
    this.#socket = hand.socket
    this.#owner = owner
    const { socket } = hand
    socket.on('data', (chunk: Buffer) => this.#data(chunk))
    socket.on('drain', () => this.#upload?.drained())
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#upload?.stop()
      owner.broke(this)
    })
    // Half a connection is none.
    socket.on('end', () => socket.destroy())
  }

  get closed(): boolean {
    return this.#closed || this.#socket.destroyed
  }

  /**
   * Sends a request. @returns false when not a byte of it was taken, because the process had gone: it is safe with another worker.
   */
  send(exchange: Exchange, head: ByteString, body: readonly Uint8Array[] | ByteStream | null): boolean {
    if (this.closed) return false
    const socket = this.#socket
    if (body === null) socket.write(head + record(Type.Stdin, exchange.id, ''), 'latin1')
    else if (Array.isArray(body)) {
      socket.cork()
      socket.write(head, 'latin1')
      for (const piece of body as readonly Uint8Array[]) for (const part of stdinRecords(exchange.id, piece)) socket.write(part)
      socket.write(record(Type.Stdin, exchange.id, ''), 'latin1')
      socket.uncork()
    } else socket.write(head, 'latin1')
    // Node tells of a closed peer here, before it emits 'error'.
    if (socket.errored !== null) return false
    this.exchange = this.last = exchange
    this.requests++
    if (body !== null && !Array.isArray(body)) {
      this.#upload = new UploadSink(socket, exchange.id, body as ByteStream, () => this.close())
      this.#upload.lane = pump(body as ByteStream, this.#upload)
    }
    return true
  }

  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  /** Gives the connection up: FastCGI's way to abort. */
  close(): void {
    this.#socket.destroy()
  }

  // ---- what comes

  #data(read: Buffer): void {
    const { exchange } = this
    // Nobody asked for anything: what this is meant for is unknown, so nothing follows it.
    if (exchange === undefined) return this.close()
    let chunk = read
    if (this.#pending !== undefined) {
      chunk = Buffer.concat([this.#pending, read])
      this.#pending = undefined
    }
    let from = 0
    let at = 0
    while (at < chunk.length) {
      if (this.#left > 0) {
        const part = Math.min(this.#left, chunk.length - at)
        this.#content(chunk, at, at + part)
        at += part
        this.#left -= part
        if (this.#stderr !== undefined) {
          from = at
          if (this.#left === 0) this.#said(exchange)
        }
        continue
      }
      const type = chunk[at + 1]
      const size = HEADER + (type === Type.EndRequest ? END_LENGTH - HEADER : 0)
      if (chunk.length - at < size) {
        exchange.relay(chunk, from, at)
        this.#pending = chunk.subarray(at)
        return
      }
      const length = chunk.readUInt16BE(at + 4)
      if (
        chunk[at] !== 1 ||
        chunk.readUInt16BE(at + 2) !== exchange.id ||
        (type !== Type.Stdout && type !== Type.Stderr && type !== Type.EndRequest)
      ) {
        return this.close()
      }
      if (type === Type.EndRequest) {
        this.#end(exchange, chunk, from, at, length + chunk[at + 6]!)
        return
      }
      if (type === Type.Stderr) {
        exchange.relay(chunk, from, at)
        this.#stderr = []
        this.#stderrLeft = length
        from = at + HEADER
      } else this.#contentLeft = length
      this.#left = length + chunk[at + 6]!
      at += HEADER
      // An empty record of STDERR has nothing to say.
      if (this.#left === 0 && this.#stderr !== undefined) this.#said(exchange)
    }
    exchange.relay(chunk, from, chunk.length)
    exchange.pace(this)
  }

  #content(chunk: Buffer, start: number, end: number): void {
    if (this.#stderr !== undefined) {
      const part = Math.min(this.#stderrLeft, end - start)
      this.#stderrLeft -= part
      if (part > 0) this.#stderr.push(chunk.subarray(start, start + part))
      return
    }
    const { exchange } = this
    if (exchange === undefined || exchange.headDone) return
    const part = Math.min(this.#contentLeft, end - start)
    this.#contentLeft -= part
    if (part > 0) exchange.takeHead(chunk, start, start + part, HEAD_LIMIT)
  }

  #said(exchange: Exchange): void {
    const text = Buffer.concat(this.#stderr!).subarray(0, STDERR_LIMIT)
    this.#stderr = undefined
    if (text.length > 0) exchange.stderr(text.toString('latin1'))
  }

  #end(exchange: Exchange, chunk: Buffer, from: number, at: number, rest: number): void {
    const whole = at + HEADER + rest === chunk.length && rest === END_LENGTH - HEADER
    // What PHP leaves in the reserved bytes is what was in its memory.
    chunk[at + 7] = 0
    chunk.fill(0, at + 13, at + 16)
    this.#left = 0
    exchange.ending()
    const unsent = this.#socket.writableLength > 0 || (this.#upload !== undefined && !this.#upload.done)
    this.#upload?.stop()
    this.#upload = undefined
    if (unsent || !whole) {
      // It has not read all that it was sent, or says more than it should: nothing follows.
      this.exchange = undefined
      this.close()
    } else {
      this.exchange = undefined
      this.#socket.resume()
      this.#owner.finished(this)
    }
    exchange.finish(chunk, from, at)
    this.#owner.answered(exchange)
  }
}
