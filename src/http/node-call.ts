// One request to a Node application.
//
// It gets a real IncomingMessage and a real ServerResponse of node:http over a socket without a descriptor, so that everything they
// do is node's own doing: what it writes is read back by node-answer.ts. There is no shorter way for requests of our own HTTP door: middleware
// between the two must see the answer.

import { STATUS_CODES, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { Channel, GatewayError, hasHeader, isBodyless, pump } from '../core/index.ts'
import type { GatewayRequest, GatewayResponse, HeaderList, Outcome } from '../core/index.ts'
import { AnswerReader } from './node-answer.ts'
import type { AnswerSink } from './node-answer.ts'
import { incomingOf, setVersion } from './node-incoming.ts'
import type { Incoming } from './node-incoming.ts'
import { NodeSocket } from './node-socket.ts'
import type { Piece, SocketOwner } from './node-socket.ts'
import type { NodeTarget } from './node-target.ts'

export class NodeCall implements AnswerSink, SocketOwner {
  readonly #request: GatewayRequest
  readonly #resolve: (response: GatewayResponse) => void
  readonly #reject: (error: unknown) => void
  readonly #socket: NodeSocket
  readonly #req: Incoming
  readonly #res: ServerResponse
  readonly #reader: AnswerReader
  /** The answer's head, once it is there. */
  #head: { status: number; reason: string; headers: HeaderList; length: number | undefined } | undefined
  #trailers: HeaderList | undefined
  /** Body that came together with the head: all of it, most of the time. */
  #early: (Uint8Array | string)[] = []
  #bytes = 0
  #body: Channel | undefined
  #answered = false
  #over = false
  /** The answer's reader has enough; called when it can take more. */
  #held: (() => void) | undefined
  #lane: { resume(): void } | undefined
  #tunnel: Duplex | undefined

  constructor(request: GatewayRequest, full: boolean, resolve: (response: GatewayResponse) => void, reject: (error: unknown) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
    this.#reader = new AnswerReader(this)
    this.#socket = new NodeSocket(request, this)
    this.#req = this.#incoming(full)
    this.#res = this.#outgoing()
    request.onFinish((outcome) => this.#finished(outcome))
  }

  start(target: NodeTarget): void {
    try {
      if (this.#request.upgrade !== undefined && hasHeader(this.#request.headers.list, 'upgrade') && this.#upgrade(target)) return
      const result = target.request(this.#req, this.#res)
      if (result instanceof Promise) result.catch((error: unknown) => this.fail(error))
    } catch (error) {
      this.fail(error)
    }
  }

  /** The application failed, or must stop. */
  fail(error: unknown): void {
    this.#refuse(error)
    this.#cut(error)
  }

  inform(status: number, headers: HeaderList): void {
    // The door says 100 itself, when the body is first read.
    if (status !== 100) this.#request.inform?.(status, headers)
  }

  head(status: number, reason: string, headers: HeaderList, length: number | undefined): void {
    this.#head = { status, reason, headers, length }
    if (status === 101) this.#accept(headers)
  }

  data(chunk: Uint8Array | string): void {
    this.#bytes += typeof chunk === 'string' ? Buffer.byteLength(chunk) : chunk.length
    if (this.#body === undefined) this.#early.push(chunk)
    else if (!this.#body.write(bytes(chunk))) this.#held ??= () => {}
  }

  trailers(list: HeaderList): void {
    this.#trailers = list
  }

  written(pieces: readonly Piece[], done: (error?: Error) => void): void {
    try {
      for (const { chunk, encoding } of pieces) {
        if (this.#tunnel === undefined) this.#reader.write(chunk, encoding)
        else this.#early.push(typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk)
      }
    } catch (error) {
      this.fail(error)
      done()
      return
    }
    if (this.#tunnel !== undefined) this.#forward(done)
    else {
      this.#begin()
      if (this.#held === undefined) done()
      else this.#held = done
    }
  }

  wanted(): void {
    this.#tunnel?.resume()
  }

  ended(done: (error?: Error) => void): void {
    if (this.#tunnel === undefined) this.#end()
    else this.#tunnel.end()
    done()
  }

  destroyed(error: Error | null): void {
    if (this.#tunnel !== undefined) this.#tunnel.destroy()
    else this.fail(error ?? closed())
  }

  timedOut(): void {
    const heard = [this.#socket, this.#req, this.#res].map((each) => each.emit('timeout', this.#socket))
    // As in node: where nobody minds a silence, it ends the connection.
    if (!heard.includes(true)) this.#socket.destroy()
  }

  #incoming(full: boolean): Incoming {
    const req = incomingOf(this.#request, this.#socket, full)
    if (this.#request.contentLength === 0) {
      req.complete = true
      req.push(null)
    } else req._read = () => this.#read()
    return req
  }

  #outgoing(): ServerResponse {
    const req = this.#req
    // As to HTTP/1.1, whatever the client speaks: only so can node tell trailers and the end of a body of unknown length.
    req.httpVersionMajor = req.httpVersionMinor = 1
    const res = new ServerResponse(req)
    setVersion(req, this.#request.protocol)
    // The door's business.
    res.sendDate = false
    res.assignSocket(this.#socket as never)
    Object.defineProperty(res, 'writableNeedDrain', NEED_DRAIN)
    res.on('finish', () => this.#done())
    this.#socket.on('drain', () => res.emit('drain'))
    // What goes wrong here is told to `req` and by the answer; an application that does not listen must not fall over it.
    this.#socket.on('error', () => {})
    return res
  }

  /** The application wants the body: once, then each time it can take more. */
  #read(): void {
    if (this.#lane !== undefined) {
      this.#lane.resume()
      return
    }
    const push = (chunk: Uint8Array): boolean => {
      this.#socket.bytesRead += chunk.length
      this.#socket.active()
      return this.#req.push(chunk)
    }
    this.#lane = pump(this.#request.body, {
      write: push,
      writeAll: (chunks) => {
        let room = true
        for (const chunk of chunks) room = push(chunk)
        return room
      },
      end: () => {
        this.#req.complete = true
        this.#req.push(null)
      },
      fail: (error) => this.fail(error),
      cancelled: (reason) => this.fail(reason ?? closed()),
    })
  }

  /** @returns whether somebody listens for upgrades. */
  #upgrade(target: NodeTarget): boolean {
    this.#req.upgrade = true
    this.#res.detachSocket(this.#socket as never)
    if (target.upgrade?.(this.#req, this.#socket, Buffer.alloc(0)) === true) return true
    this.#req.upgrade = false
    this.#res.assignSocket(this.#socket as never)
    return false
  }

  /** The application wrote a 101: from here the two connections are one. */
  #accept(headers: HeaderList): void {
    const { upgrade } = this.#request
    if (upgrade === undefined)
      throw new GatewayError('CONTRACT', { status: 500, message: 'http: a Node application answered 101 to a request that is no upgrade' })
    const tunnel = (this.#tunnel = upgrade(101, headers))
    const socket = this.#socket
    tunnel.on('data', (chunk: Uint8Array) => {
      socket.active()
      if (!socket.push(chunk)) tunnel.pause()
    })
    tunnel.on('end', () => void socket.push(null))
    tunnel.on('error', () => {})
    tunnel.on('close', () => socket.destroy())
    this.#answered = true
    this.#resolve({ status: 101, headers: [], body: null })
  }

  #forward(done: () => void): void {
    const chunks = this.#early.map(bytes)
    this.#early = []
    const tunnel = this.#tunnel
    if (tunnel === undefined || chunks.length === 0 || !tunnel.writable) done()
    else tunnel.write(chunks.length === 1 ? chunks[0]! : Buffer.concat(chunks), () => done())
  }

  /** After each batch of writes: answers, if there is a head. */
  #begin(): void {
    const head = this.#head
    if (head === undefined || this.#answered) return
    const { status, headers, length } = head
    const reason = head.reason === STATUS_CODES[status] ? {} : { reason: head.reason }
    this.#answered = true
    if (isBodyless(this.#request.method, status)) {
      this.#resolve({ status, ...reason, headers, body: null })
    } else if (length !== undefined && this.#bytes === length) {
      this.#resolve({ status, ...reason, headers, body: whole(this.#early) })
    } else {
      const body = (this.#body = new Channel({ onDrain: () => this.#release(), onCancel: (cause) => this.#cut(cause) }))
      for (const chunk of this.#early) if (!body.write(bytes(chunk))) this.#held ??= () => {}
      this.#early = []
      const trailers = length === undefined ? { trailers: (): HeaderList => this.#trailers ?? [] } : {}
      this.#resolve({ status, ...reason, headers, body, ...trailers })
    }
  }

  #release(): void {
    const held = this.#held
    this.#held = undefined
    held?.()
  }

  /** The application has ended its answer. */
  #end(): void {
    this.#begin()
    if (!this.#answered) this.#refuse(closed())
    this.#body?.end()
  }

  #done(): void {
    this.#end()
    const req = this.#req
    // Nobody began to read: it ends all the same, as in node, where the rest is thrown away.
    if (this.#lane === undefined && !req.complete) {
      req.complete = true
      req.push(null)
    }
    if (!req.readableEnded && req.readableFlowing === null) req.resume()
    this.#over = true
    // Says `close` on the response.
    setImmediate(() => this.#socket.destroy())
  }

  #refuse(error: unknown): void {
    if (this.#answered) this.#body?.fail(error)
    else {
      this.#answered = true
      this.#reject(error)
    }
  }

  #finished(outcome: Outcome): void {
    if (outcome.kind !== 'sent') this.#cut(outcome.error)
  }

  /** As if the connection were gone: `aborted` and `close` on the request, `close` on the response. */
  #cut(cause: unknown): void {
    if (this.#over) return
    this.#over = true
    this.#release()
    if (!this.#req.readableEnded || !this.#res.writableEnded)
      this.#req.destroy(Object.assign(new Error('aborted', { cause }), { code: 'ECONNRESET' }))
    this.#socket.destroy()
  }
}

// Node resets its own note of this only where it holds the socket itself.
const NEED_DRAIN: PropertyDescriptor = {
  configurable: true,
  get(this: ServerResponse): boolean {
    return this.socket?.writableNeedDrain === true && !this.writableEnded && !this.destroyed
  },
}

function bytes(chunk: Uint8Array | string): Uint8Array {
  return typeof chunk === 'string' ? Buffer.from(chunk, 'utf8') : chunk
}

function whole(chunks: readonly (Uint8Array | string)[]): string | Uint8Array {
  if (chunks.length === 1) return chunks[0]!
  return chunks.length === 0 ? '' : Buffer.concat(chunks.map(bytes))
}

function closed(): GatewayError {
  return new GatewayError('UPSTREAM_TRUNCATED', {
    status: 502,
    message: 'http: the Node application closed the connection before its answer was whole',
  })
}
