// One connection to one thread of a worker, from the front's side: which requests are there and in which order, what is written and
// when, and getting back what was not started.
//
// Answers come in the order of the requests, so there are no ids. Frames are gathered and leave in one write for each turn of the event
// loop: all requests that one poll found ready go out together.

import { connect } from 'node:net'
import type { Duplex } from 'node:stream'
import { GatewayError, asText } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'
import { visible } from '../process/index.ts'
import type { Seat } from '../process/index.ts'
import type { Call, CallLine } from './call.ts'
import { parseAnswerHead } from './head.ts'
import { isAfter, latin1 } from './line-text.ts'
import { AnswerDecoder, Kind, abortFrame, bodyHead, creditFrame, protocolError, requestFrame, shapeFrame } from './protocol.ts'
import type { AnswerSink } from './protocol.ts'
import { SentShapes, pairsOf } from './shapes.ts'
import type { ShapeTable } from './shapes.ts'
import { Upload } from './upload.ts'
import type { UploadLine } from './upload.ts'

/** What a line tells its worker. */
export interface LineOwner {
  readonly shapes: ShapeTable
  /** Requests that may be on one connection. */
  readonly depth: number
  lineReady(version: string, loaded: string): void
  unfit(reason: string): void
  /** There is room: a request is over. */
  freed(line: Line): void
  /** These were not started; the first of them is to be served first. */
  returned(line: Line, calls: Call[]): void
  /** Asks the process for what was not started. */
  ask(): void
  /** The connection is gone. `ran` is the request that may have been begun, `calls` those that were not. */
  lost(line: Line, ran: Call | undefined, calls: Call[], error: unknown): void
}

const READ = 65_536
// A view keeps the whole read buffer: worth it from a quarter on, else the bytes are copied.
const VIEW = READ / 4

// All lines with something to write, and one immediate for them all.
let dirty: Line[] = []
function flushAll(): void {
  const lines = dirty
  dirty = []
  for (const line of lines) line.flush()
}

export class Line implements AnswerSink, CallLine, UploadLine {
  /** First sent first. The first is the one that runs, or whose answer is under way. */
  readonly calls: Call[] = []
  /** By `performance.now()`: when the worker last said something, or was first given something. */
  heard = 0
  closed = false
  readonly #owner: LineOwner
  readonly #seat: Seat
  readonly #socket: Duplex
  readonly #decoder: AnswerDecoder = new AnswerDecoder(this)
  readonly #sent: SentShapes = new SentShapes()
  #buffer: Buffer = Buffer.allocUnsafeSlow(READ)
  /** A view of the buffer was handed on: the next read gets another one. */
  #viewed = false
  #batch: ByteString = ''
  #number = 0
  /** The number of the last request of which the worker may have seen something. */
  #taken = 0
  #writing = 0
  #upload: Upload | undefined
  /** A signal is under way, and nothing is sent until it is answered. */
  #asking = false
  /** It gave requests back: it gets none until the one that runs is over, else they would go to and fro. */
  #resting = false
  #error: unknown
  #over = false

  /** @param wire the path of a socket, or what stands for one. */
  constructor(wire: string | Duplex, owner: LineOwner, seat: Seat) {
    this.#owner = owner
    this.#seat = seat
    const buffer = (): Buffer => {
      if (this.#viewed) {
        this.#viewed = false
        this.#buffer = Buffer.allocUnsafeSlow(READ)
      }
      return this.#buffer
    }
    const callback = (length: number, bytes: Uint8Array): boolean => this.#read(length, bytes as Buffer)
    if (typeof wire === 'string') this.#socket = connect({ path: wire, onread: { buffer, callback } })
    else this.#socket = wire.on('data', (bytes: Buffer) => this.#read(bytes.length, bytes))
    this.#socket.on('error', (error) => (this.#error ??= error))
    this.#socket.once('close', () => this.#gone())
  }

  /** How many requests it has, or Infinity while it takes none. */
  get load(): number {
    const { length } = this.calls
    return this.closed || this.#asking || this.#resting || this.#upload !== undefined || length >= this.#owner.depth ? Infinity : length
  }

  // ---- to the worker

  send(call: Call): void {
    if (this.calls.length === 0) {
      this.heard = performance.now()
      this.#seat.begin(call.request, this.heard)
    }
    this.#number = (this.#number + 1) >>> 0
    call.number = this.#number
    call.line = this
    this.calls.push(call)
    const { shapes } = this.#owner
    const { variables, body } = call
    const shape = shapes.numberOf(variables.names)
    let frame = shape > 0 && this.#sent.first(shapes, shape) ? shapeFrame(shape, variables.names) : ''
    const values = shape > 0 ? variables.values : pairsOf(variables)
    if (call.alone) frame += requestFrame(Kind.Streamed, shape, values, '')
    else frame += requestFrame(Kind.Request, shape, values, body === undefined ? '' : latin1(body.chunks))
    this.#queue(frame)
    if (call.alone) this.#upload = new Upload(body!.stream(), this)
  }

  credit(call: Call, bytes: number): void {
    if (!this.closed) this.#queue(creditFrame(call.number, bytes))
    if (call === this.calls[0]) this.heard = performance.now()
  }

  abort(call: Call): void {
    // One that waits behind another is thrown away when its answer begins.
    if (!this.closed && call === this.calls[0]) this.#queue(abortFrame(call.number))
  }

  bodyPiece(piece: Uint8Array): void {
    if (piece.length === 0) this.#upload = undefined
    if (this.closed) return
    this.flush()
    const socket = this.#socket
    socket.cork()
    socket.write(bodyHead(piece.length), 'latin1')
    if (piece.length > 0) socket.write(piece)
    socket.uncork()
  }

  bodyFailed(error: unknown): void {
    this.#current().fail(error)
    this.break(error)
  }

  #queue(frame: ByteString): void {
    if (this.#batch === '') {
      if (dirty.length === 0) setImmediate(flushAll)
      dirty.push(this)
    }
    this.#batch += frame
  }

  flush(): void {
    const batch = this.#batch
    if (batch === '') return
    this.#batch = ''
    if (this.closed) return
    const number = this.#number
    this.#writing++
    this.#socket.write(batch, 'latin1', (error) => {
      this.#writing--
      if (error === null || error === undefined) this.#took(number)
    })
    // It did not go out at once, so the worker may have seen a part of it.
    if (this.#socket.writableLength > 0) this.#took(number)
  }

  #took(number: number): void {
    this.#taken = number
  }

  /** Looks whether the worker is busy with one request while others wait behind it, and asks for those. */
  watch(now: number, patience: number): void {
    if (this.calls.length < 2 || this.#asking || this.#resting || now - this.heard < patience) return
    // All that was sent must be in the worker's socket: it counts what it finds there.
    if (this.#batch !== '' || this.#writing > 0 || this.#socket.writableLength > 0) return
    this.#asking = true
    this.#owner.ask()
  }

  // ---- from the worker

  #read(length: number, bytes: Buffer): boolean {
    this.heard = performance.now()
    try {
      this.#decoder.push(bytes, length)
      this.calls[0]?.flush()
    } catch (error) {
      this.break(error)
    }
    return !this.closed
  }

  /** The bytes as something that stays. */
  #keep(view: Buffer, owned: boolean): Buffer {
    if (owned) return view
    if (view.length < VIEW) return Buffer.from(view)
    this.#viewed = true
    return view
  }

  ready(version: string, loaded: string): void {
    this.#owner.lineReady(version, loaded)
  }

  unfit(reason: string): void {
    this.#owner.unfit(reason)
  }

  answer(head: ByteString, body: Buffer, over: boolean, owned: boolean): void {
    const call = this.#current()
    if (!call.dropped) call.answer(parseAnswerHead(head), body.length === 0 ? null : (asText(body) ?? this.#keep(body, owned)))
    if (over) this.end()
  }

  head(head: ByteString, first: Buffer, owned: boolean): void {
    const call = this.#current()
    if (call.dropped) {
      this.#queue(abortFrame(call.number))
      return
    }
    call.begin(parseAnswerHead(head))
    if (first.length > 0) call.push(this.#keep(first, owned))
  }

  block(piece: Buffer): void {
    const call = this.#current()
    if (!call.dropped) call.push(this.#keep(piece, false))
  }

  last(): void {
    this.#current().last()
  }

  end(): void {
    const call = this.#current()
    if (!call.settled) throw protocolError('the end of a request that has no answer')
    this.#pop(call)
  }

  failed(status: number, text: string): void {
    const call = this.#current()
    call.fail(
      new GatewayError(status === 400 ? 'BAD_REQUEST' : 'PROGRAM_FAILED', {
        status: status === 400 ? 400 : 500,
        message: `wsgi: ${call.request.method} ${call.request.target}: ${text}`,
      }),
    )
    this.#pop(call)
  }

  returned(count: number): void {
    if (count > this.calls.length) throw protocolError(`${count} requests back, of ${this.calls.length}`)
    this.#asking = false
    const back = this.calls.splice(this.calls.length - count, count)
    this.#resting = this.calls.length > 0
    if (!this.#resting) this.#seat.unbegin()
    if (back.some((call) => call.alone)) this.#abandonUpload()
    for (const call of back) call.line = undefined
    this.#owner.returned(this, back)
  }

  want(bytes: number): void {
    this.#upload?.want(bytes)
  }

  errors(text: string): void {
    const { errors } = this.#current().request
    for (const line of text.split('\n')) if (line !== '') errors.write(`${visible(line)}\n`)
  }

  #current(): Call {
    const call = this.calls[0]
    if (call === undefined) throw protocolError('an answer that nobody asked for')
    return call
  }

  #pop(call: Call): void {
    this.calls.shift()
    this.#resting = false
    this.#seat.end()
    if (this.calls.length > 0) this.#seat.begin(this.calls[0]!.request, this.heard)
    this.#upload?.stop()
    call.over()
    this.#owner.freed(this)
  }

  #abandonUpload(): void {
    this.#upload?.abandon()
    this.#upload = undefined
  }

  // ---- the end

  /** Lets the worker go: it has nothing, and gets nothing more. */
  finish(): void {
    this.closed = true
    this.#socket.end()
  }

  /** The connection cannot be used any more. */
  break(error: unknown): void {
    this.#error ??= error
    this.#gone()
  }

  #gone(): void {
    if (this.#over) return
    this.#over = true
    this.closed = true
    this.#batch = ''
    this.#abandonUpload()
    this.#socket.destroy()
    const calls = this.calls.splice(0)
    for (const call of calls) call.line = undefined
    // Requests run in order, so only the first can have been begun; and it was not, if it never left.
    const ran = calls[0] !== undefined && !isAfter(calls[0].number, this.#taken) ? calls.shift() : undefined
    if (ran === undefined) this.#seat.unbegin()
    else this.#seat.end()
    this.#owner.lost(this, ran, calls, this.#error)
  }
}
