// One connection from a web server: gives each record to the request it belongs to, answers what concerns the connection itself, and
// minds its pace and its end. Specification: FastCGI 1.0, sections 3.5, 4 and 5.
//
// An answer that breaks off after its head ends with a record that is none, and the connection with it: the only end that every web
// server takes for a failure. FastCGI has no word for it, and nginx takes a mere close without END_REQUEST for the end of the page.
// Where other requests share the connection, it takes no new ones and ends like that when they have ended.

import type { Socket } from 'node:net'
import { describe } from '../../core/index.ts'
import type { ByteString } from '../../core/index.ts'
import { RecordDecoder } from '../decoder.ts'
import { decodeGetValues, encodeGetValuesResult, encodeUnknownType } from '../management.ts'
import { ProtocolStatus, Type, endRequest, protocolError, readBeginRequest } from '../record.ts'
import type { BeginRequest } from '../record.ts'
import type { ServerDoor } from './door.ts'
import { gone, late, stalled, unexpected } from './errors.ts'
import { ServerExchange } from './exchange.ts'

/** Bytes that may wait for the web server before sources are told to stop. */
export const HIGH_WATER_MARK = 65_536
/** Bytes of answers to management records and refused requests that may wait: who asks and does not read is closed on. */
const UNREAD_LIMIT = 1_048_576
/** A header of version 0, where version 1 is the only one. */
const NO_RECORD = '\0'.repeat(8)
/** Milliseconds that the requests beside one that broke have to end. */
const BREAK_TIME = 5000
/** Milliseconds between our end of the connection and the web server's: what it still sends would be answered with a reset. */
const LINGER_TIME = 1000

export class ServerConnection {
  readonly door: ServerDoor
  readonly socket: Socket
  /** Requests that came by it. */
  requests = 0
  /** What the sweep saw when it last came by. */
  seenRequests = 0
  /** The sweep's tick at which it had nothing to do, or its end began. */
  tick: number
  /** Requests for whose bodies this socket read has brought something. */
  readonly #touched: ServerExchange[] = []
  readonly #decoder: RecordDecoder
  readonly #active = new Map<number, ServerExchange>()
  /** Have more to say than there was room for; the one who waits longest first. */
  readonly #blocked = new Set<ServerExchange>()
  /** Takes no new requests, and ends with the last one. */
  #closing = false
  /** The tick at which a request broke off beside others. */
  #brokenAt: number | undefined
  /** Requests share it, or may at any time. */
  #shared = false
  /** Bodies that must be written to their files first. */
  #waits = 0
  /** Our side has ended. */
  #ended = false
  #paused = false
  #armed = false

  constructor(door: ServerDoor, socket: Socket) {
    this.door = door
    this.socket = socket
    this.tick = door.tick
    this.#decoder = this.#makeDecoder()
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('drain', () => this.#drained())
    socket.on('finish', () => (this.tick = door.tick))
    socket.on('timeout', () => {
      // Nothing waits for the web server: it was the application that took its time.
      if (socket.writableLength > 0) this.close(stalled(door.limits.writeTimeout))
    })
    // A web server that ends its side has left: none of them half-closes, and closing is FastCGI's other way to abort.
    socket.on('end', () => this.close(gone()))
    socket.on('error', () => {})
    socket.on('close', () => {
      this.close(gone())
      door.closed(this)
    })
  }

  get idle(): boolean {
    return this.#active.size === 0 && !this.#ended
  }

  // ---- in

  #read(bytes: Buffer): void {
    if (this.#ended || this.socket.destroyed) return
    try {
      this.#decoder.push(bytes)
      for (const exchange of this.#touched) exchange.flush()
      this.#touched.length = 0
    } catch (error) {
      this.door.log.warn(
        { remote: this.socket.remoteAddress },
        `fastcgi: a web server broke the protocol and is closed on: ${describe(error)}`,
      )
      this.close(error)
      return
    }
    this.pace()
  }

  #makeDecoder(): RecordDecoder {
    return new RecordDecoder({
      data: (type, id, bytes, start, end) => {
        // FastCGI 1.0, 3.3: records of an inactive id are ignored.
        const exchange = this.#active.get(id)
        if (exchange === undefined) return
        if (type === Type.Stdin) this.#touch(exchange, exchange.inputs.takeStdin(bytes, start, end))
        else if (type === Type.Params) exchange.inputs.takeParams(bytes, start, end)
        else if (type === Type.Data) this.#touch(exchange, exchange.inputs.takeData(bytes, start, end))
        else throw unexpected(type, id)
      },
      end: (type, id) => {
        const exchange = this.#active.get(id)
        if (exchange === undefined) return
        if (type === Type.Stdin) exchange.endStdin()
        else if (type === Type.Params) exchange.endParams()
        else if (type === Type.Data) exchange.inputs.endData()
        else throw unexpected(type, id)
      },
      record: (type, id, bytes, start, end) => {
        if (id === 0) this.#manage(type, bytes, start, end)
        else if (type === Type.BeginRequest) this.#begin(id, readBeginRequest(bytes, start, end))
        else if (type === Type.AbortRequest) this.#active.get(id)?.abort()
        else if (this.#active.has(id)) throw unexpected(type, id)
      },
    })
  }

  #touch(exchange: ServerExchange, first: boolean): void {
    if (first) this.#touched.push(exchange)
  }

  #manage(type: number, bytes: Buffer, start: number, end: number): void {
    if (type === Type.GetValues) {
      const asked = new Set(decodeGetValues(bytes, start, end))
      if (this.door.multiplex && asked.has('FCGI_MPXS_CONNS')) this.#shared = true
      const values = Object.entries(this.door.values).filter(([name]) => asked.has(name))
      this.#reply(encodeGetValuesResult(Object.fromEntries(values)))
      // Answers to what we did not ask: to answer them would never end.
    } else if (type !== Type.GetValuesResult && type !== Type.UnknownType) this.#reply(encodeUnknownType(type))
  }

  #begin(id: number, begin: BeginRequest): void {
    if (this.#active.has(id)) throw protocolError(`BEGIN_REQUEST for request ${id}, which is active`)
    const application = this.door.cast.for(begin.role)
    const refusal = application === undefined ? ProtocolStatus.UnknownRole : this.#refusal()
    if (application !== undefined && refusal === undefined) {
      this.requests++
      this.door.load++
      if (this.#active.size > 0) this.#shared = true
      this.#active.set(id, new ServerExchange(this, id, begin, application))
      return
    }
    this.#reply(endRequest(id, 0, refusal!))
    if (!begin.keep) this.#closing = true
    this.#endIfDone()
  }

  #refusal(): number | undefined {
    const { door } = this
    if (this.#active.size > 0 && !door.multiplex) return ProtocolStatus.CantMpxConn
    if (this.#closing || door.load >= door.limits.requests) return ProtocolStatus.Overloaded
    return undefined
  }

  #reply(wire: ByteString): void {
    if (this.socket.writableLength > UNREAD_LIMIT) throw protocolError('a web server that asks and does not read the answers')
    this.write(wire)
  }

  // ---- out

  write(wire: ByteString): void {
    if (this.#ended || this.socket.destroyed) return
    this.socket.write(wire, 'latin1')
    this.#hasRoom()
  }

  /** Whether this request may write more for now; if not, its `drained` tells when. */
  hasRoomFor(exchange: ServerExchange): boolean {
    if (this.#hasRoom()) return true
    this.#blocked.add(exchange)
    return false
  }

  #hasRoom(): boolean {
    if (this.socket.writableLength < HIGH_WATER_MARK) return true
    this.#arm()
    return false
  }

  /** Calls back when all that was written so far has left, with an error if it will not. */
  flushed(callback: (lost?: unknown) => void): void {
    const { socket } = this
    if (socket.destroyed || socket.errored !== null) callback(gone())
    else if (socket.writableLength === 0) callback()
    else {
      this.#arm()
      socket.write('', 'latin1', (error) => callback(error === null || error === undefined ? undefined : gone()))
    }
  }

  /** The socket's own timer knows when a part of a write went out. */
  #arm(): void {
    if (this.#armed) return
    this.#armed = true
    this.socket.setTimeout(this.door.limits.writeTimeout)
  }

  #drained(): void {
    if (this.#armed) {
      this.#armed = false
      this.socket.setTimeout(0)
    }
    // In turns, and only as many as there is room for: each of them has a piece ready, and all of those together could be large.
    for (const exchange of this.#blocked) {
      if (!this.#hasRoom()) return
      this.#blocked.delete(exchange)
      exchange.drained()
    }
  }

  // ---- pace

  /** Stops reading while somebody's body must wait. */
  pace(): void {
    let pause = this.#waits > 0
    for (const exchange of this.#active.values()) if (exchange.inputs.holdsUp(this.#shared)) pause = true
    if (pause === this.#paused) return
    this.#paused = pause
    if (pause) this.socket.pause()
    else this.socket.resume()
  }

  readonly wait = (): void => {
    this.#waits++
    this.pace()
  }

  readonly goOn = (): void => {
    this.#waits--
    this.pace()
  }

  /** The sweep: what has waited for too long. */
  sweep(ticks: (milliseconds: number) => number): void {
    const { limits, tick } = this.door
    this.seenRequests = this.requests
    if (this.#ended) {
      if (this.socket.writableFinished && tick - this.tick > ticks(LINGER_TIME)) this.socket.destroy()
      return
    }
    if (this.#brokenAt !== undefined && tick - this.#brokenAt > ticks(BREAK_TIME)) this.end()
    else if (this.#active.size === 0) {
      if (limits.idleTimeout > 0 && tick - this.tick > ticks(limits.idleTimeout)) this.end()
    } else for (const exchange of this.#active.values()) this.#sweepOne(exchange, ticks)
  }

  #sweepOne(exchange: ServerExchange, ticks: (milliseconds: number) => number): void {
    const { limits, log, tick } = this.door
    const age = tick - exchange.tick
    if (exchange.aborted) {
      if (age > ticks(limits.abortTimeout)) exchange.giveUp()
    } else if (exchange.arriving && age > ticks(limits.paramsTimeout)) {
      log.warn({ remote: this.socket.remoteAddress }, `fastcgi: the variables of a request did not come within ${limits.paramsTimeout} ms`)
      this.close(gone())
    } else if (exchange.heldAt !== undefined) {
      if (tick - exchange.heldAt > ticks(limits.bodyTimeout)) this.close(late(limits.bodyTimeout))
    } else exchange.inputs.expire(tick - ticks(limits.bodyTimeout), () => late(limits.bodyTimeout))
  }

  // ---- the end

  /** This request has ended. */
  done(exchange: ServerExchange): void {
    if (this.#active.get(exchange.id) !== exchange) return
    this.#active.delete(exchange.id)
    this.#blocked.delete(exchange)
    exchange.leave()
    if (!exchange.keep) this.#closing = true
    this.tick = this.door.tick
    this.#endIfDone()
    this.pace()
  }

  /** The answer to this request cannot go on, and its end must not look like one. */
  breakOff(): void {
    this.#closing = true
    this.#brokenAt ??= this.door.tick
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (!this.#closing && !this.door.closing) return
    // Those that broke are never ended.
    for (const exchange of this.#active.values()) if (exchange.outcome?.kind !== 'failed') return
    this.end()
  }

  /** Ends our side once everything is written, and reads on for a moment: closing with unread bytes would send a reset. */
  end(): void {
    if (this.#ended || this.socket.destroyed) return
    if (this.#brokenAt !== undefined) this.write(NO_RECORD)
    this.#ended = true
    this.tick = this.door.tick
    this.socket.end()
    this.socket.resume()
    this.#forget(gone())
  }

  /** Closes at once, whatever is under way. */
  close(error: unknown): void {
    this.socket.destroy()
    this.#forget(error)
  }

  #forget(error: unknown): void {
    this.#blocked.clear()
    for (const exchange of this.#active.values()) {
      this.#active.delete(exchange.id)
      exchange.gone(error)
      exchange.leave()
    }
  }
}
