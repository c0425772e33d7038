// The side that web servers see: connections that are kept for as long as they like, each with one request at a time. A connection holds
// no worker; a request does, from when it is all there until its answer is.
//
// FastCGI 1.0, 3.3, 4 and 5.

import { createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { Channel, GatewayError, describe, spool } from '../core/index.ts'
import type { ByteStream, Networks, Spooled } from '../core/index.ts'
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
import { Exchange } from './exchange.ts'

const HIGH_WATER_MARK = 262_144
/** Bytes of a body that are kept as they came; a larger one is spooled. */
const SMALL_BODY = 131_072
/** Bytes of a spooled body in memory; the rest goes to a file. */
const BODY_MEMORY = 1_048_576
/** Milliseconds between two looks at connections that do not go on. */
const SWEEP = 10_000
/** Milliseconds without a byte of a request that has begun, and of an answer that is not taken. */
const STALL_TIME = 60_000
/** Milliseconds that a connection may be kept without a request. */
const IDLE_TIME = 3_600_000

/** When the door closes, in milliseconds: so long a connection stays whose last answer may be recent, and one that has had none. */
const RECENT_GRACE = 50
const FRESH_GRACE = 500
const STOP_LOOK = 10

/** Who answers. */
export interface House {
  /** Whether it is PHP that answers, and php-fpm that is expected to. */
  readonly php: boolean
  /** Its parameters are there. @returns whether it is answered already, without its body. */
  greet(exchange: Exchange): boolean
  /** All of it is there. `close` is for when the body is not needed any more. */
  serve(exchange: Exchange, body: readonly Uint8Array[] | ByteStream | null, close: () => void): void
  /** Its connection broke before it was answered. */
  left(exchange: Exchange): void
  warn(text: string): void
}

export class Door {
  readonly house: House
  readonly #allowed: Networks | undefined
  readonly #connections = new Set<WebConnection>()
  readonly #servers: Server[] = []
  readonly #sweeper: NodeJS.Timeout
  closing = false

  constructor(house: House, allowed: Networks | undefined) {
    this.house = house
    this.#allowed = allowed
    this.#sweeper = setInterval(() => {
      const now = performance.now()
      for (const each of this.#connections) each.sweep(now)
    }, SWEEP).unref()
  }

  /** Listens on an inherited descriptor. */
  async listen(fd: number, backlog: number): Promise<void> {
    const server = createServer({ noDelay: true, highWaterMark: HIGH_WATER_MARK, allowHalfOpen: false }, (socket) => this.#accept(socket))
    this.#servers.push(server)
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ fd, backlog, exclusive: true }, () => {
        server.off('error', reject)
        server.on('error', (error) => this.house.warn(`the listening socket: ${describe(error)}`))
        resolve()
      })
    })
  }

  #accept(socket: Socket): void {
    // A unix socket has no address; its file's mode says who may.
    if (this.#allowed !== undefined && socket.remoteAddress !== undefined && !this.#allowed.has(socket.remoteAddress)) {
      this.house.warn(`Connection disallowed: IP address '${plainAddress(socket.remoteAddress)}' has been dropped.`)
      socket.destroy()
      return
    }
    this.#connections.add(new WebConnection(this, socket))
  }

  forget(connection: WebConnection): void {
    this.#connections.delete(connection)
  }

  /**
   * Accepts nothing more; connections end with their requests. A request may be on its way: those that have had one stay for a moment,
   * and those that have had none a little longer. Resolves when all that has come by then is in hand.
   */
  async stop(): Promise<void> {
    this.closing = true
    for (const server of this.#servers) server.close()
    const begun = performance.now()
    for (let elapsed = 0; this.#connections.size > 0 && elapsed < FRESH_GRACE; elapsed = performance.now() - begun) {
      await new Promise((resolve) => setTimeout(resolve, STOP_LOOK))
      if (elapsed >= RECENT_GRACE) for (const each of this.#connections) if (each.requests > 0) each.retire()
    }
    for (const each of this.#connections) each.retire()
  }

  /** Ends everything at once. */
  close(): void {
    this.closing = true
    for (const server of this.#servers) server.close()
    clearInterval(this.#sweeper)
    for (const each of this.#connections) each.close()
  }
}

/** An IPv4 address as IPv4, where the socket speaks both. */
export function plainAddress(address: string): string {
  return address.startsWith('::ffff:') ? address.slice(7) : address
}

export class WebConnection {
  readonly socket: Socket
  readonly remote: string | undefined
  /** Requests that came by it. */
  requests = 0
  readonly #door: Door
  readonly #decoder: RecordDecoder
  #exchange: Exchange | undefined
  /** The body, while it is coming: kept pieces first, then a channel that somebody spools from. */
  #pieces: Uint8Array[] = []
  #expected = 0
  #received = 0
  #channel: Channel | undefined
  #waiting = false
  #lastByte = performance.now()

  constructor(door: Door, socket: Socket) {
    this.#door = door
    this.socket = socket
    this.remote = socket.remoteAddress === undefined ? undefined : plainAddress(socket.remoteAddress)
    this.#decoder = this.#makeDecoder()
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('drain', () => {
      this.#lastByte = performance.now()
      this.#exchange?.worker?.resume()
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      door.forget(this)
      this.#lost()
    })
  }

  #read(bytes: Buffer): void {
    this.#lastByte = performance.now()
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      this.#door.house.warn(`a web server broke the protocol and is closed on: ${describe(error)}`)
      this.close()
    }
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
        if (type === Type.Params) this.#begun(exchange)
        // Half a body is never a clean end.
        else if (type === Type.Stdin && this.#waiting) this.close()
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
      this.#exchange = new Exchange(this, id, role, keep)
    }
  }

  #begun(exchange: Exchange): void {
    if (!exchange.endParams()) return
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

  write(bytes: Uint8Array): void {
    this.socket.write(bytes)
  }

  writeText(wire: string): void {
    if (wire !== '') this.socket.write(wire, 'latin1')
  }

  get php(): boolean {
    return this.#door.house.php
  }

  hasRoom(): boolean {
    return this.socket.writableLength < HIGH_WATER_MARK
  }

  /** A request has been answered. */
  done(exchange: Exchange): void {
    if (this.#exchange !== exchange) return
    this.#exchange = undefined
    this.#waiting = false
    if (!exchange.keep || this.#door.closing) this.socket.end()
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

function nothing(): void {}
