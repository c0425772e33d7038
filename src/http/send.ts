// Sending an answer: whole values in one write, streams at the client's pace, files through buffers that never leave the door.

import { FileSlice, GatewayError, discard, isBodyless, isFieldValue, isToken, pump, releaseBuffers } from '../core/index.ts'
import type { ByteSink, ByteStream, GatewayResponse, HeaderList } from '../core/index.ts'
import { Head, contract } from './head.ts'
import type { Exchange, Outgoing, Sender } from './exchange.ts'
import { FileSender } from './file.ts'
import { PART, ValueSender } from './value.ts'

/** Starts the answer. What it throws was thrown before anything of it was sent. */
export function send(exchange: Exchange, response: GatewayResponse): void {
  const { status, body } = response
  if (!Number.isInteger(status) || status < 200 || status > 599) throw contract(`a status of ${status}`)
  if (response.internal !== undefined) throw contract('an internal result that no site has resolved')
  if (isBodyless(exchange.incoming.method ?? '', status) || status === 205) sendHead(exchange, response)
  else if (body === null || typeof body === 'string' || body instanceof Uint8Array) sendValue(exchange, response, body ?? '')
  else if (body instanceof FileSlice) new FileSender(exchange, response, body).start()
  else new StreamSender(exchange, response, body).start()
}

/** To HEAD, and with statuses that have no body (RFC 9110, 6.4.1). The length a GET would have had may be said, except where it must not. */
function sendHead(exchange: Exchange, response: GatewayResponse): void {
  const head = new Head(response)
  const { status, body } = response
  if (status === 204 || status === 205) head.withoutLength()
  if (status === 205) head.add('Content-Length', '0')
  else if (status !== 204 && status !== 304 && head.length === undefined) {
    const length =
      typeof body === 'string' ? Buffer.byteLength(body) : body instanceof Uint8Array || body instanceof FileSlice ? body.length : undefined
    if (length !== undefined) head.add('Content-Length', String(length))
  }
  writeHead(exchange, response, head)
  discard(response)
  exchange.end()
}

function sendValue(exchange: Exchange, response: GatewayResponse, body: string | Uint8Array): void {
  if (response.trailers !== undefined && exchange.incoming.httpVersionMinor === 1) {
    // Trailers need chunked coding, so the value goes the way of a stream.
    new StreamSender(exchange, response, streamOfValue(body)).start()
    return
  }
  const head = new Head(response)
  const length = typeof body === 'string' ? Buffer.byteLength(body) : body.length
  if (head.length === undefined) head.add('Content-Length', String(length))
  else if (head.length !== length) throw contract(`Content-Length is ${head.length}, the body has ${length} bytes`)
  writeHead(exchange, response, head)
  if (typeof body !== 'string' && length > PART) {
    new ValueSender(exchange, body).start()
    return
  }
  exchange.bytes = length
  // Node joins head and text into one string of one encoding: as UTF-8 it would change header bytes over 0x7f.
  if (typeof body !== 'string') exchange.end(body)
  else if (length === body.length) exchange.end(body, 'latin1')
  else exchange.end(Buffer.from(body, 'utf8'))
}

/** Writes the head, with `Connection: close` where the connection ends with this answer. */
export function writeHead(exchange: Exchange, response: GatewayResponse, head: Head): void {
  if (exchange.closes()) head.add('Connection', 'close')
  exchange.writeHead(response.status, response.reason, head.list)
}

function streamOfValue(body: string | Uint8Array): ByteStream {
  const chunk = typeof body === 'string' ? Buffer.from(body, 'utf8') : body
  return {
    cancel() {},
    async *[Symbol.asyncIterator]() {
      yield chunk
    },
  }
}

/** Bytes that may wait for the client before the source is told to stop. */
const HIGH_WATER_MARK = 65_536

/** A stream on its way to the client. The chunked coding is written here: one chunk and one write for all that came at once. */
class StreamSender implements ByteSink, Sender {
  readonly #exchange: Exchange
  readonly #outgoing: Outgoing
  readonly #response: GatewayResponse
  readonly #body: ByteStream
  readonly #head: Head
  #lane: { resume(): void } | undefined
  #chunked = false
  #open = false
  #over = false
  #paused = false

  constructor(exchange: Exchange, response: GatewayResponse, body: ByteStream) {
    this.#exchange = exchange
    this.#outgoing = exchange.outgoing
    this.#response = response
    this.#body = body
    this.#head = new Head(response)
  }

  start(): void {
    const exchange = this.#exchange
    this.#lane = pump(this.#body, this)
    exchange.sender = this
    exchange.outgoing.on('drain', onDrain)
    // The head waits for the first bytes, to leave with them, but not for long: an event stream may have none for minutes.
    setImmediate(flushHead, this)
  }

  write(chunk: Uint8Array): boolean {
    if (chunk.length === 0 || !this.#admit(chunk.length)) return true
    const outgoing = this.#outgoing
    outgoing.cork()
    if (this.#chunked) outgoing.write(chunk.length.toString(16) + '\r\n', 'latin1')
    let room = outgoing.write(chunk)
    if (this.#chunked) room = outgoing.write('\r\n', 'latin1')
    outgoing.uncork()
    return room || this.#room()
  }

  writeAll(chunks: readonly Uint8Array[]): boolean {
    let length = 0
    for (const chunk of chunks) length += chunk.length
    if (length === 0 || !this.#admit(length)) return true
    const outgoing = this.#outgoing
    outgoing.cork()
    if (this.#chunked) outgoing.write(length.toString(16) + '\r\n', 'latin1')
    let room = true
    for (const chunk of chunks) if (chunk.length > 0) room = outgoing.write(chunk)
    if (this.#body.exclusive === 'buffers') room = this.#freeing(chunks)
    else if (this.#chunked) room = outgoing.write('\r\n', 'latin1')
    outgoing.uncork()
    return room || this.#room()
  }

  /** Ends what was written at once; when all of it has left, so may its memory: what waits for the collector here makes it run all the time. */
  #freeing(chunks: readonly Uint8Array[]): boolean {
    return this.#outgoing.write(this.#chunked ? '\r\n' : '', 'latin1', (error) => {
      if (error === null || error === undefined) releaseBuffers(chunks)
    })
  }

  end(): void {
    if (this.#over || !this.#begin()) return
    const { length } = this.#head
    if (length !== undefined && this.#exchange.bytes < length) {
      this.#breakOff(mismatch(length, `the body ended after ${this.#exchange.bytes}`))
      return
    }
    const { trailers } = this.#response
    if (trailers === undefined || !this.#chunked) {
      this.#finish('')
      return
    }
    try {
      const given = trailers()
      if (given instanceof Promise) given.then((list) => this.#trail(list)).catch((error: unknown) => this.#breakOff(error))
      else this.#trail(given)
    } catch (error) {
      this.#breakOff(error)
    }
  }

  fail(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#exchange.sender = undefined
    // Nothing has left yet, so the client can still be told.
    this.#exchange.fail(error)
  }

  drained(): void {
    if (!this.#paused) return
    this.#paused = false
    this.#lane?.resume()
  }

  stopped(reason: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#cancel(reason)
  }

  /** Sends the head by itself, if no byte of body came in the meantime. */
  flush(): void {
    // As latin1: by `flushHeaders` node would send header bytes over 0x7f as UTF-8.
    if (!this.#over && !this.#open && this.#begin()) this.#outgoing.write('', 'latin1')
  }

  /** Writes the head, once. @returns false when it could not be. */
  #begin(): boolean {
    if (this.#open) return true
    const exchange = this.#exchange
    try {
      if (this.#response.trailers !== undefined && exchange.incoming.httpVersionMinor === 1) this.#head.withoutLength()
      writeHead(exchange, this.#response, this.#head)
    } catch (error) {
      this.#breakOff(error)
      return false
    }
    this.#open = true
    // Node's own chunked coding is four writes a chunk, and one chunk for each piece.
    this.#chunked = this.#outgoing.chunkedEncoding
    this.#outgoing.chunkedEncoding = false
    exchange.delimited = this.#chunked || this.#head.length !== undefined
    return true
  }

  #admit(length: number): boolean {
    if (this.#over || !this.#begin()) return false
    const exchange = this.#exchange
    const declared = this.#head.length
    if (declared !== undefined && exchange.bytes + length > declared) {
      this.#breakOff(mismatch(declared, `the body has ${exchange.bytes + length} or more`))
      return false
    }
    exchange.bytes += length
    return true
  }

  /** After a write that node called enough. Most of it may have gone to the kernel meanwhile. */
  #room(): boolean {
    if (this.#outgoing.writableLength < HIGH_WATER_MARK) return true
    this.#paused = true
    this.#exchange.connection.arm()
    return false
  }

  #trail(list: HeaderList): void {
    if (this.#over) return
    let wire = ''
    for (let i = 0; i < list.length; i += 2) wire += trailer(list[i], list[i + 1])
    this.#finish(wire)
  }

  #finish(trailers: string): void {
    this.#over = true
    this.#exchange.sender = undefined
    if (this.#chunked) this.#exchange.end(`0\r\n${trailers}\r\n`, 'latin1')
    else this.#exchange.end()
  }

  /** A body that fails at being cancelled has nobody to tell. */
  #cancel(reason: unknown): void {
    try {
      this.#body.cancel(reason)
    } catch (error) {
      this.#exchange.connection.door.report(this.#exchange, error, 0)
    }
  }

  #breakOff(error: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#exchange.sender = undefined
    this.#cancel(error)
    this.#exchange.fail(error)
  }
}

function trailer(name: string | undefined, value: string | undefined): string {
  if (name === undefined || value === undefined || !isToken(name) || !isFieldValue(value)) throw contract('a trailer field is not one')
  return `${name}: ${value}\r\n`
}

export function mismatch(declared: number, fact: string): GatewayError {
  return new GatewayError('BODY_LENGTH_MISMATCH', { status: 500, message: `http: Content-Length is ${declared} bytes, ${fact}` })
}

function flushHead(sender: StreamSender): void {
  sender.flush()
}

function onDrain(this: Outgoing): void {
  this.exchange?.sender?.drained()
}
