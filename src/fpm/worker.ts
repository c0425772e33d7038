// One worker and the connection it is reached by: a request goes out, and what comes back goes on to the web server as it is, without a
// copy. Only three things are looked at: the head, for the log; STDERR, which php-fpm words differently; and the end.
//
// An answer is held for a moment: most pages come in a few pieces within less than a millisecond, and leave as one.
//
// FastCGI 1.0, 3.3, 5.3 and 5.5. The request has the same id on both connections, which is why records can be handed on.

import type { Socket } from 'node:net'
import { pump } from '../core/index.ts'
import type { ByteStream, ByteString } from '../core/index.ts'
import { Type, record } from '../fastcgi/index.ts'
import type { Hand } from './crew.ts'
import type { Exchange } from './exchange.ts'
import { KEPT_LIMIT } from './link.ts'
import type { Link } from './link.ts'
import { UploadSink, stdinRecords } from './upload.ts'

const HEADER = 8
const END_LENGTH = 16
/** Bytes of a head that are looked at for its status. */
const HEAD_LIMIT = 65_536
/** What a request may say on STDERR; beyond, it is cut. */
const STDERR_LIMIT = 65_536

/** Milliseconds that the beginning of an answer may be held; what follows goes on as it comes. */
const HOLD_TIME = 5

// One timer for all of them, armed while something is held.
let holding: Worker[] = []
let armed = false
let timer: NodeJS.Timeout | undefined

function releaseAll(): void {
  const held = holding
  armed = false
  holding = []
  for (const worker of held) worker.release()
}

/** The last of an answer, up to END_REQUEST, which begins at `at`. */
interface Answer {
  readonly worker: Worker
  readonly exchange: Exchange
  readonly buffer: Buffer<ArrayBuffer>
  readonly from: number
  readonly at: number
}

// Answers leave together, at the end of a turn of the event loop. By then all workers have their next requests; and a web server that is
// woken by the first one finds the others, in place of taking the processor from us between two of them.
let answers: Answer[] = []

/** What is answered leaves now: before connections are ended. */
export function sendAnswers(): void {
  const all = answers
  answers = []
  for (const each of all) each.worker.answer(each)
}

/** What a pool is told. */
export interface WorkerOwner {
  /** The answer is whole, and the worker free. The last of it is written at the end of this turn: the next request goes first. */
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
  readonly #link: Link
  /** In the link's buffer: what was not handed on yet begins here, and what was not looked at yet here. */
  #from = 0
  #at = 0
  #buffer: Buffer<ArrayBuffer> | undefined
  /** A write still reads the buffer. */
  #lent = false
  /** The answer takes longer, so nothing of it is held any more. */
  #streams = false
  #listed = false
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
    this.#link = hand.link
    this.#owner = owner
    const { socket } = hand.link
    this.#socket = socket
    hand.link.onRead = (buffer, end) => this.#read(buffer, end)
    socket.on('drain', () => this.#upload?.drained())
    socket.on('error', () => {})
    socket.on('close', () => {
      this.#closed = true
      this.#upload?.stop()
      this.release()
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
  send(exchange: Exchange, head: ByteString | Uint8Array, body: readonly Uint8Array[] | ByteStream | null): boolean {
    if (this.closed) return false
    const socket = this.#socket
    // What a web server has sent whole needs nothing.
    if (typeof head !== 'string') socket.write(head)
    else if (body === null) socket.write(head + record(Type.Stdin, exchange.id, ''), 'latin1')
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
    this.#streams = false
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

  #read(buffer: Buffer<ArrayBuffer>, end: number): void {
    const { exchange } = this
    // Nobody asked for anything: what this is meant for is unknown, so nothing follows it.
    if (exchange === undefined) return this.close()
    let from = this.#from
    let at = this.#at
    while (at < end) {
      if (this.#left > 0) {
        const part = Math.min(this.#left, end - at)
        this.#content(buffer, at, at + part)
        at += part
        this.#left -= part
        if (this.#stderr !== undefined) {
          from = at
          if (this.#left === 0) this.#said(exchange)
        }
        continue
      }
      const type = buffer[at + 1]
      if (end - at < HEADER + (type === Type.EndRequest ? END_LENGTH - HEADER : 0)) break
      const length = buffer.readUInt16BE(at + 4)
      if (
        buffer[at] !== 1 ||
        buffer.readUInt16BE(at + 2) !== exchange.id ||
        (type !== Type.Stdout && type !== Type.Stderr && type !== Type.EndRequest)
      ) {
        return this.close()
      }
      if (type === Type.EndRequest) return this.#end(exchange, buffer, from, at, end)
      if (type === Type.Stderr) {
        this.#relay(exchange, buffer, from, at)
        this.#stderr = []
        this.#stderrLeft = length
        from = at + HEADER
      } else this.#contentLeft = length
      this.#left = length + buffer[at + 6]!
      at += HEADER
      // An empty record of STDERR has nothing to say.
      if (this.#left === 0 && this.#stderr !== undefined) this.#said(exchange)
    }
    if (end <= KEPT_LIMIT && !this.#streams && !exchange.over) return this.#hold(buffer, from, at, end)
    this.#relay(exchange, buffer, from, at)
    this.#leave(at, end)
    exchange.pace(this)
  }

  #relay(exchange: Exchange, buffer: Buffer, from: number, at: number): void {
    if (from < at && !exchange.relay(buffer, from, at)) this.#lent = true
  }

  #leave(at: number, end: number): void {
    this.#link.leave(at, end, this.#lent)
    this.#lent = false
    this.#from = this.#at = 0
  }

  #hold(buffer: Buffer<ArrayBuffer>, from: number, at: number, end: number): void {
    this.#from = from
    this.#at = at
    this.#buffer = buffer
    this.#link.keep(end)
    if (this.#listed) return
    this.#listed = true
    holding.push(this)
    if (armed) return
    armed = true
    if (timer === undefined) timer = setTimeout(releaseAll, HOLD_TIME).unref()
    else timer.refresh()
  }

  /** Nothing is held any longer. The next read still goes behind it. */
  release(): void {
    this.#listed = false
    const { exchange } = this
    if (exchange === undefined || this.#buffer === undefined) return
    this.#streams = true
    const from = this.#from
    this.#from = this.#at
    this.#relay(exchange, this.#buffer, from, this.#at)
    this.#buffer = undefined
    exchange.pace(this)
  }

  #content(chunk: Buffer, start: number, end: number): void {
    if (this.#stderr !== undefined) {
      const part = Math.min(this.#stderrLeft, end - start)
      this.#stderrLeft -= part
      // The buffer is used again before all of it has come.
      if (part > 0) this.#stderr.push(Buffer.from(chunk.subarray(start, start + part)))
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

  #end(exchange: Exchange, buffer: Buffer<ArrayBuffer>, from: number, at: number, end: number): void {
    const whole = at + END_LENGTH === end && END_LENGTH - HEADER === buffer.readUInt16BE(at + 4) + buffer[at + 6]!
    // What PHP leaves in the reserved bytes is what was in its memory.
    buffer[at + 7] = 0
    buffer.fill(0, at + 13, at + 16)
    this.#left = 0
    this.#buffer = undefined
    exchange.ending()
    const unsent = this.#socket.writableLength > 0 || (this.#upload !== undefined && !this.#upload.done)
    this.#upload?.stop()
    this.#upload = undefined
    this.exchange = undefined
    if (unsent || !whole) {
      // It has not read all that it was sent, or says more than it should: nothing follows.
      this.close()
    } else {
      this.#socket.resume()
      this.#owner.finished(this)
    }
    this.#lent = true
    this.#leave(end, end)
    if (answers.push({ worker: this, exchange, buffer, from, at }) === 1) setImmediate(sendAnswers)
  }

  answer({ exchange, buffer, from, at }: Answer): void {
    if (exchange.finish(buffer, from, at)) this.#link.giveBack(buffer)
    this.#owner.answered(exchange)
  }
}
