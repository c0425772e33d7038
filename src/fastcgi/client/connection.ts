// The web server's side of FastCGI: one connection to an application, one request at a time.
//
// Owns the socket: writes requests and their bodies, gives each record to the exchange it belongs to, pauses when a reader
// falls behind, and knows whether the connection can be used again. Choosing a connection is connections.ts, what becomes
// of an answer is exchange.ts. Specification: FastCGI 1.0, sections 3 and 5.

import type { Socket } from 'node:net'
import { GatewayError } from '../../core/index.ts'
import type { GatewayResponse, Log } from '../../core/index.ts'
import { Acknowledger } from './acks.ts'
import type { Acks } from './acks.ts'
import { RecordDecoder } from '../decoder.ts'
import { Exchange } from './exchange.ts'
import type { Line } from './exchange.ts'
import type { Call, CallEnd, Reply } from './call.ts'
import { late, truncated } from './failures.ts'
import type { Lane } from './lanes.ts'
import { Type, protocolError, readEndRequest } from '../record.ts'
import type { EndRequest } from '../record.ts'
import { Outgoing } from './stdin.ts'
import { Deadline, within } from './timers.ts'

/** What a connection needs to know beside its socket. */
export interface ConnectionOptions {
  /** Who is at the other end, for messages. */
  readonly peer: string
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** What is known of a host over TCP whose connections are kept. */
  readonly acks?: Acks
}

/** After this many milliseconds a request's signal is looked at: shorter ones never make it. */
const LOOK = 100

/** One connection to an application, for one request at a time. `fastcgi` looks after a number of them; this is for who does that by himself. */
export class Connection implements Lane {
  /** The socket is closed, by whichever side; after the last call's `onEnd`. Set it once. */
  onClose: ((error?: unknown) => void) | undefined
  /** Who is at the other end, for messages. */
  readonly peer: string
  /** One request at a time needs one id. */
  readonly id = 1
  /** Never: a connection for several requests at a time is another class. */
  readonly shared = false
  /** Requests that were sent over it, this one included. */
  requests = 0
  /** For whoever keeps connections: when it was last given back, by `performance.now()`. */
  idleSince = 0
  readonly #socket: Socket
  readonly #decoder: RecordDecoder
  readonly #line: Line
  readonly #outgoing: Outgoing
  readonly #deadline: Deadline
  readonly #acknowledger: Acknowledger | undefined
  #exchange: Exchange | undefined
  /** END_REQUEST of the running request, once it has come. */
  #ended: EndRequest | undefined
  /** Records came that belong to no running request. What they were meant for is unknown, so nothing follows them. */
  #stray = false
  #closed = false
  #error: NodeJS.ErrnoException | undefined

  /** @param socket connected or connecting, to nobody else's use. */
  constructor(socket: Socket, options: ConnectionOptions) {
    this.peer = options.peer
    this.#socket = socket
    this.#acknowledger = options.acks === undefined ? undefined : new Acknowledger(options.acks, socket)
    this.#line = this.#makeLine(options)
    this.#outgoing = this.#makeOutgoing()
    this.#decoder = this.#makeDecoder()
    this.#deadline = new Deadline(
      () => this.#expire(),
      () => this.#exchange?.watch(),
    )
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('drain', () => this.#outgoing.drained())
    socket.on('end', () => this.#gone())
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('close', () => this.#gone())
  }

  /** A request is on it. */
  get busy(): boolean {
    return this.#exchange !== undefined
  }

  /** Anything has come from the other side: somebody has accepted the connection. */
  get heard(): boolean {
    return this.#socket.bytesRead > 0
  }

  /** Nothing more can be sent. */
  get closed(): boolean {
    return this.#closed
  }

  /**
   * Sends a request. Rejects with what went wrong before the answer was handed on (UPSTREAM_TRUNCATED, UPSTREAM_HEAD,
   * UPSTREAM_PROTOCOL, UNAVAILABLE, TIMEOUT, CLIENT_GONE, and CONTRACT while another one runs); afterwards the body fails with it.
   */
  send(call: Call): Promise<GatewayResponse> {
    return new Promise((resolve, reject) => this.start(call, { resolve, reject }))
  }

  /** The same for who has a promise already, or needs none. */
  start(call: Call, reply: Reply): void {
    if (this.#exchange !== undefined) {
      throw new GatewayError('CONTRACT', { status: 500, message: `fastcgi: a second request on a busy connection (${this.peer})` })
    }
    const exchange = new Exchange(call, reply, this.#line)
    this.#exchange = exchange
    this.requests++
    if (this.#closed) {
      exchange.taken = false
      this.#conclude(exchange, { reusable: false, error: this.#truncated(exchange), answered: false, taken: false })
      return
    }
    this.#ended = undefined
    this.#acknowledger?.begin()
    this.#outgoing.write(call, exchange.id)
    // Not a byte was accepted: the other side had closed. Node tells it here, before it emits 'error'.
    if (this.#socket.errored !== null) exchange.taken = false
    if (!this.#outgoing.running) this.#deadline.set(within(call, call.deadlines.firstByte), LOOK)
    else {
      this.#deadline.set(within(call, Number.POSITIVE_INFINITY), LOOK)
      this.#outgoing.start()
    }
  }

  /** Destroys the connection; a running request fails with `error`, by default CLOSED (503). Idempotent. */
  close(error?: unknown): void {
    if (this.#closed) return
    const reason =
      error ?? new GatewayError('CLOSED', { status: 503, message: `fastcgi: the connection to ${this.peer} was closed`, retryAfter: 1 })
    this.#shut(reason, error)
  }

  // ---- out

  #makeOutgoing(): Outgoing {
    return new Outgoing(this.#socket, {
      uploadBlocked: () => this.#pace(),
      uploadDone: () => this.#pace(),
      uploadFailed: (error) => this.#shut(error),
    })
  }

  // ---- in

  #makeDecoder(): RecordDecoder {
    const own = (id: number): Exchange | undefined => {
      const exchange = this.#exchange
      if (exchange !== undefined && exchange.id === id && this.#ended === undefined) return exchange
      // FastCGI 1.0, 3.3: records of an inactive id are ignored.
      this.#stray = true
      return undefined
    }
    return new RecordDecoder({
      data: (type, id, bytes, start, end) => {
        const exchange = own(id)
        if (exchange === undefined) return
        if (type === Type.Stdout) exchange.stdout(bytes, start, end)
        else if (type === Type.Stderr) exchange.stderr(bytes, start, end)
        else throw this.#unexpected(type, id)
      },
      end: (type, id) => {
        const exchange = own(id)
        if (exchange === undefined) return
        if (type === Type.Stdout) exchange.stdoutEnd()
        else if (type !== Type.Stderr) throw this.#unexpected(type, id)
      },
      record: (type, id, bytes, start, end) => {
        // Management answers to what we did not ask do no harm (FastCGI 1.0, 4): the connection is as good as before.
        if (id === 0) return
        const exchange = own(id)
        if (exchange === undefined) return
        if (type !== Type.EndRequest) throw this.#unexpected(type, id)
        exchange.answered = true
        this.#ended = readEndRequest(bytes, start, end)
      },
    })
  }

  #unexpected(type: number, id: number): GatewayError {
    return protocolError(`a record of type ${type} from an application (${this.peer}, request ${id})`)
  }

  #read(bytes: Buffer): void {
    if (this.#closed) return
    this.#acknowledger?.came()
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      this.#shut(error, error)
      return
    }
    const exchange = this.#exchange
    if (exchange === undefined) {
      // Of a record that has only begun, the rest would be taken for the next request's.
      if (this.#stray || !this.#decoder.atBoundary) this.close(protocolError(`records without a request (${this.peer})`))
    } else if (this.#ended !== undefined) this.#finish(exchange, this.#ended)
    else {
      if (!this.#outgoing.running) this.#acknowledger?.read(bytes.length)
      exchange.flush()
      if (exchange.hasHead) this.#pace()
    }
  }

  /** The whole read was looked at first: what follows END_REQUEST decides whether another request may. */
  #finish(exchange: Exchange, ended: EndRequest): void {
    const unsent = this.#outgoing.running
    if (unsent) this.#outgoing.stop()
    const error = exchange.verdict(ended)
    const reusable =
      exchange.keep && !unsent && this.#socket.writableLength === 0 && !this.#stray && this.#decoder.atBoundary && !this.#socket.destroyed
    const { answered, taken } = exchange
    this.#conclude(exchange, { reusable, appStatus: ended.appStatus, answered, taken, ...(error !== undefined && { error }) })
    if (!reusable) this.#shut(undefined)
  }

  /** Free first, then `onEnd`, then the answer: the next request is on its way before this one's reader does its work. */
  #conclude(exchange: Exchange, how: CallEnd): void {
    this.#exchange = undefined
    this.#deadline.clear()
    exchange.lastWords()
    try {
      exchange.call.onEnd(how)
    } finally {
      exchange.conclude(how.error)
    }
  }

  // ---- pace

  #makeLine(options: ConnectionOptions): Line {
    return {
      peer: options.peer,
      log: options.log,
      pause: () => this.#socket.pause(),
      resume: () => {
        this.#socket.resume()
        this.#pace()
      },
      cut: (exchange, error) => this.#cut(exchange, error),
      giveUp: (exchange, error) => {
        if (exchange === this.#exchange) this.#shut(error)
      },
    }
  }

  /** Which deadline counts now: none while it is not the application we wait for. */
  #pace(): void {
    const exchange = this.#exchange
    if (exchange === undefined || exchange.cutShort) return
    const { call } = exchange
    const waiting = exchange.paused || (this.#outgoing.running && !this.#outgoing.blocked)
    const time = waiting ? Number.POSITIVE_INFINITY : exchange.hasHead ? call.deadlines.between : call.deadlines.firstByte
    this.#deadline.set(within(call, time))
  }

  #expire(): void {
    const exchange = this.#exchange
    if (exchange === undefined) return
    this.#shut(late(exchange, this.peer))
  }

  #cut(exchange: Exchange, error: unknown): void {
    if (exchange !== this.#exchange) return
    // Half a request body cannot be taken back, and nobody is there to send the other half.
    if (exchange.call.onCut !== 'drain' || this.#outgoing.running) {
      this.#shut(error)
      return
    }
    this.#socket.resume()
    this.#deadline.set(exchange.drainTime)
  }

  // ---- the end

  /** The other side has closed, or the socket broke. */
  #gone(): void {
    if (this.#closed) return
    const exchange = this.#exchange
    this.#shut(exchange === undefined ? undefined : this.#truncated(exchange), this.#error)
  }

  #shut(failure: unknown, closeError?: unknown): void {
    if (this.#closed) return
    this.#closed = true
    const exchange = this.#exchange
    this.#deadline.stop()
    this.#outgoing.stop(failure)
    this.#socket.destroy()
    if (exchange !== undefined) {
      const { answered, taken } = exchange
      this.#conclude(exchange, { reusable: false, error: failure, answered, taken })
    }
    this.onClose?.(closeError)
  }

  #truncated(exchange: Exchange): GatewayError {
    const error = this.#error
    if (error?.syscall === 'connect') {
      return new GatewayError('UNAVAILABLE', { status: 502, message: `fastcgi: cannot connect to ${this.peer}`, cause: error })
    }
    return truncated(exchange, this.peer, error)
  }
}
