// One connection of a web server: kept for as long as it likes, with one request at a time. It holds no worker; a request does, from when
// it is all there until its answer is.
//
// FastCGI 1.0, 3.3, 4 and 5.

import type { Socket } from 'node:net'
import { Channel, GatewayError, describe, spool } from '../core/index.ts'
import type { ByteStream, Spooled } from '../core/index.ts'
import {
  ProtocolStatus,
  RecordDecoder,
  Type,
  decodeGetValues,
  encodeGetValuesResult,
  encodeUnknownType,
  endRequest,
  readBeginRequest,
} from '../fastcgi/index.ts'
import type { Door } from './door.ts'
import { Exchange } from './exchange.ts'

/** Bytes that may wait in a socket. */
export const HIGH_WATER_MARK = 262_144
const HEADER = 8
/** Where a request's first record of PARAMS begins, behind BEGIN_REQUEST. */
const PARAMS = 16
/** Bytes of a body that are kept as they came; a larger one is spooled. */
const SMALL_BODY = 131_072
/** Bytes of a spooled body in memory; the rest goes to a file. */
const BODY_MEMORY = 1_048_576
/** Milliseconds without a byte of a request that has begun, and of an answer that is not taken. */
const STALL_TIME = 60_000
/** Milliseconds that a connection may be kept without a request. */
const IDLE_TIME = 3_600_000

/** Who answers. */
export interface House {
  /** Whether it is PHP that answers, and php-fpm that is expected to. */
  readonly php: boolean
  /** Its parameters are there. @returns whether it is answered already, without its body. */
  greet(exchange: Exchange): boolean
  /** All of it is there. `close` is for when the body is not needed any more. */
  serve(exchange: Exchange, body: readonly Uint8Array[] | ByteStream | null, close: () => void): void
  /** PHP has written these into its error log. */
  logged(exchange: Exchange, messages: readonly string[]): void
  /** Its connection broke before it was answered. */
  left(exchange: Exchange): void
  warn(text: string): void
}

/** An IPv4 address as IPv4, where the socket speaks both. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

export class WebConnection {
  readonly socket: Socket
  readonly remote: string | undefined
  /** Where the door has it. */
  place = 0
  /** Requests that came by it. */
  requests = 0
  readonly #door: Door
  /** Made for what does not come in one piece, which most requests do. */
  #decoder: RecordDecoder | undefined
  #exchange: Exchange | undefined
  /** The body, while it is coming: kept pieces first, then a channel that somebody spools from. */
  #pieces: Uint8Array[] = []
  #expected = 0
  #received = 0
  #channel: Channel | undefined
  #waiting = false
  /** All of the request's STDIN has come. */
  #ended = false
  #draining = false
  #lastByte = performance.now()

  constructor(door: Door, socket: Socket) {
    this.#door = door
    this.socket = socket
    this.remote = socket.remoteAddress === undefined ? undefined : plainAddress(socket.remoteAddress)
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('error', nothing)
    socket.on('close', () => {
      door.forget(this)
      this.#lost()
    })
  }

  #read(bytes: Buffer): void {
    this.#lastByte = performance.now()
    try {
      if (this.#exchange === undefined && this.#decoder?.between !== false && this.#readWhole(bytes)) return
      this.#decoder ??= this.#makeDecoder()
      this.#decoder.push(bytes)
    } catch (error) {
      this.#door.house.warn(`a web server broke the protocol and is closed on: ${describe(error)}`)
      this.close()
    }
  }

  /** A request without a body that came in one piece, with all its parameters in one record: it goes to a worker as it is. */
  #readWhole(bytes: Buffer): boolean {
    const end = wholeRequest(bytes)
    if (end === 0) return false
    const { role, keep } = readBeginRequest(bytes, HEADER, PARAMS)
    if (role < 1 || role > 3) return false
    const exchange = new Exchange(this, bytes.readUInt16BE(2), role, keep)
    if (!exchange.takeWhole(bytes, PARAMS + HEADER, end)) return false
    this.requests++
    this.#exchange = exchange
    this.#ended = true
    this.#begun(exchange)
    return true
  }

  #makeDecoder(): RecordDecoder {
    return new RecordDecoder({
      data: (type, id, bytes, start, end) => {
        // FastCGI 1.0, 3.3: records of an inactive id are ignored.
        const exchange = this.#exchange
        if (exchange === undefined || exchange.id !== id) return
        if (type === Type.Params) exchange.takeParams(bytes, start, end)
        else if (type === Type.Stdin) this.#take(exchange, bytes.subarray(start, end))
      },
      end: (type, id) => {
        const exchange = this.#exchange
        if (exchange === undefined || exchange.id !== id) return
        if (type === Type.Params && exchange.endParams()) this.#begun(exchange)
        // Half a body is never a clean end.
        else if (type !== Type.Stdin) return
        else if (this.#waiting) this.close()
        else this.#ended = true
      },
      record: (type, id, bytes, start, end) => {
        if (id === 0) this.#manage(type, bytes, start, end)
        else if (type === Type.BeginRequest) this.#begin(id, bytes, start, end)
        else if (type === Type.AbortRequest && this.#exchange?.id === id) this.close()
      },
    })
  }

  #manage(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === Type.GetValues) {
      const asked = decodeGetValues(bytes, start, end)
      this.writeText(encodeGetValuesResult(asked.includes('FCGI_MPXS_CONNS') ? { FCGI_MPXS_CONNS: '0' } : {}))
    } else this.writeText(encodeUnknownType(type))
  }

  #begin(id: number, bytes: Buffer, start: number, end: number): void {
    const { role, keep } = readBeginRequest(bytes, start, end)
    // An answer under that id would end the request that is running.
    if (this.#exchange?.id === id) throw new GatewayError('BAD_REQUEST', { status: 400, message: `request ${id} was begun twice` })
    if (this.#exchange !== undefined) this.writeText(endRequest(id, 0, ProtocolStatus.CantMpxConn))
    else if (role < 1 || role > 3) this.writeText(endRequest(id, 0, ProtocolStatus.UnknownRole))
    else {
      this.requests++
      this.#ended = false
      this.#exchange = new Exchange(this, id, role, keep)
    }
  }

  #begun(exchange: Exchange): void {
    if (this.#door.house.greet(exchange)) return
    const { contentLength, bodyFile } = exchange.facts!
    this.#expected = contentLength
    this.#received = 0
    if (contentLength === 0 || bodyFile !== '') this.#door.house.serve(exchange, null, nothing)
    else this.#waiting = true
  }

  // ---- the body

  #take(exchange: Exchange, piece: Uint8Array): void {
    if (!this.#waiting) return
    const room = this.#expected - this.#received
    const part = piece.length > room ? piece.subarray(0, room) : piece
    this.#received += part.length
    if (this.#channel !== undefined) {
      if (!this.#channel.write(part)) this.socket.pause()
    } else this.#pieces.push(part)
    if (this.#received === this.#expected) this.#whole(exchange)
    else if (this.#channel === undefined && this.#received > SMALL_BODY) this.#spool(exchange)
  }

  #whole(exchange: Exchange): void {
    this.#waiting = false
    if (this.#channel !== undefined) {
      this.#channel.end()
      this.#channel = undefined
      // Nobody asks for more of a body that is whole, and what follows is another request.
      this.socket.resume()
      return
    }
    const pieces = this.#pieces
    this.#pieces = []
    this.#door.house.serve(exchange, pieces, nothing)
  }

  #spool(exchange: Exchange): void {
    const channel = new Channel({ onDrain: () => this.socket.resume() })
    this.#channel = channel
    const pieces = this.#pieces
    this.#pieces = []
    spool(channel, { memory: BODY_MEMORY, expected: this.#expected }).then(
      (body) => this.#spooled(exchange, body),
      (error: unknown) => {
        if (exchange.over) return
        this.#door.house.warn(`a request body cannot be kept: ${describe(error)}`)
        this.#waiting = false
        this.#channel = undefined
        this.socket.resume()
        // The web server is still sending: what it does not see answered would be sent in vain.
        exchange.answer(507, 'Content-type: text/html; charset=UTF-8\r\n', 'Insufficient storage.\n')
      },
    )
    if (!channel.writeAll(pieces)) this.socket.pause()
  }

  #spooled(exchange: Exchange, body: Spooled): void {
    if (exchange.over) body.close()
    else this.#door.house.serve(exchange, body.chunks ?? body.stream(), () => body.close())
  }

  // ---- out

  /** @returns whether the system has all of it, and the bytes may be used again. */
  write(bytes: Uint8Array): boolean {
    const { socket } = this
    if (!socket.write(bytes) && !this.#draining) {
      this.#draining = true
      socket.once('drain', () => {
        this.#draining = false
        this.#lastByte = performance.now()
        this.#exchange?.worker?.resume()
      })
    }
    return socket.writableLength === 0
  }

  writeText(wire: string): void {
    if (wire !== '') this.socket.write(wire, 'latin1')
  }

  get house(): House {
    return this.#door.house
  }

  hasRoom(): boolean {
    return this.socket.writableLength < HIGH_WATER_MARK
  }

  /** A request has been answered. */
  done(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    this.#exchange = undefined
    this.#waiting = false
    if (exchange.keep && !this.#door.closing) return
    // Where nothing is on its way in either direction there is nothing to wait for: the system delivers what it has.
    if (this.#ended && this.socket.writableLength === 0 && this.#decoder?.between !== false) this.socket.destroy()
    else this.socket.end()
  }

  /** Ends once it has no request. */
  retire(): void {
    if (this.#exchange === undefined) this.socket.end()
  }

  close(): void {
    this.socket.destroy()
  }

  #lost(): void {
    const exchange = this.#exchange
    this.#exchange = undefined
    this.#waiting = false
    this.#channel?.fail(new Error('the web server has left'))
    this.#channel = undefined
    if (exchange === undefined || exchange.over) return
    exchange.gone()
    this.#door.house.left(exchange)
  }

  sweep(now: number): void {
    const silent = now - this.#lastByte
    const exchange = this.#exchange
    if (exchange === undefined) {
      // An answer that is not taken, or an end that is not answered, is no keeping of a connection.
      if (this.socket.writableLength > 0 || this.socket.writableEnded) {
        if (silent > STALL_TIME) this.close()
      } else if (silent > IDLE_TIME) this.socket.end()
      return
    }
    // While a script is at work it is not the web server that is waited for.
    const coming = exchange.facts === undefined || this.#waiting
    const stuck = this.socket.writableLength > 0 && !this.hasRoom()
    if ((coming || stuck) && silent > STALL_TIME) this.close()
  }
}

/**
 * Where the parameters end in a chunk that is one request, whole and without a body: BEGIN_REQUEST, one record of PARAMS, and the empty
 * ones that end PARAMS and STDIN. 0: it is something else.
 */
function wholeRequest(bytes: Buffer): number {
  const { length } = bytes
  if (length < PARAMS + 3 * HEADER || bytes[1] !== Type.BeginRequest || bytes[PARAMS + 1] !== Type.Params) return 0
  const end = PARAMS + HEADER + bytes.readUInt16BE(PARAMS + 4)
  const after = end + bytes[PARAMS + 6]!
  if (after + 2 * HEADER !== length || end === PARAMS + HEADER) return 0
  if (bytes[after + 1] !== Type.Params || bytes[after + HEADER + 1] !== Type.Stdin) return 0
  for (const at of [0, PARAMS, after, after + HEADER]) {
    // One version, one id, and nothing behind an empty record. BEGIN_REQUEST has eight bytes.
    if (bytes[at] !== 1 || bytes[at + 2] !== bytes[2] || bytes[at + 3] !== bytes[3]) return 0
    if (at !== PARAMS && (bytes[at + 4] !== 0 || bytes[at + 5] !== (at === 0 ? 8 : 0) || bytes[at + 6] !== 0)) return 0
  }
  return bytes.readUInt16BE(2) === 0 ? 0 : end
}

function nothing(): void {}
