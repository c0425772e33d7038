// The web server's side of FastCGI: one connection to an application, several requests at a time.
//
// FastCGI has no flow control for one of several requests, so the connection is read on whatever a reader does: what one does not
// take waits in its own spill, within its own budget. A request that fails or is left is aborted by its id; its neighbours do not
// notice. Specification: FastCGI 1.0, sections 3.3 and 5.4.

import type { Socket } from 'node:net'
import { GatewayError } from '../../core/index.ts'
import type { Log } from '../../core/index.ts'
import { MuxSlot } from './connection-mux-slot.ts'
import { RecordDecoder } from '../decoder.ts'
import type { Exchange } from './exchange.ts'
import { truncated } from './failures.ts'
import { Type, protocolError, readEndRequest } from '../record.ts'
import type { SpillLimits } from '../spill.ts'

export interface MuxOptions {
  readonly peer: string
  readonly log?: Log
  /** Requests at a time. */
  readonly requests: number
  /** Of each answer. */
  readonly spill: SpillLimits
}

export class MuxConnection {
  readonly peer: string
  readonly log: Log | undefined
  readonly spill: SpillLimits
  readonly socket: Socket
  /** Requests that were sent over it. */
  requests = 0
  /** Since when it carries none, by `performance.now()`. */
  idleSince = 0
  /** Places that somebody who waits for the connection will take. */
  reserved = 0
  closed = false
  /** It ends what runs and takes nothing new. */
  retired = false
  onClose: ((error?: unknown) => void) | undefined
  /** A place is free that was not a moment ago. */
  onFree: (() => void) | undefined
  /** The application says CANT_MPX_CONN. */
  onRefusal: (() => void) | undefined
  readonly #limit: number
  readonly #slots: MuxSlot[] = []
  /** The id used last is used next: ids stay small. */
  readonly #free: MuxSlot[] = []
  /** Those that the read at hand was about. */
  readonly #touched = new Set<MuxSlot>()
  readonly #decoder: RecordDecoder
  #pauses = 0
  #error: NodeJS.ErrnoException | undefined

  constructor(socket: Socket, options: MuxOptions) {
    this.peer = options.peer
    this.log = options.log
    this.spill = options.spill
    this.socket = socket
    this.#limit = options.requests
    this.#decoder = this.#makeDecoder()
    // One listener for each request that waits for room would be too many for one emitter.
    socket.on('drain', () => this.#slots.forEach((slot) => slot.drained()))
    socket.on('data', (bytes: Buffer) => this.#read(bytes))
    socket.on('end', () => this.#gone())
    socket.on('error', (error) => {
      this.#error = error
    })
    socket.on('close', () => this.#gone())
  }

  /** Records of which anything has come: none of them can be about a request that is yet to be sent. */
  get begun(): number {
    return this.#decoder.begun
  }

  /** Places nobody has, and nobody waits for. */
  get room(): number {
    return this.closed || this.retired ? 0 : this.#limit - this.active - this.reserved
  }

  /** Places that are taken, those of requests whose end is still to come included. */
  get active(): number {
    return this.#slots.length - this.#free.length
  }

  /** A place. `put` must follow, unless the connection closes. */
  take(): MuxSlot {
    const free = this.#free.pop()
    if (free !== undefined) return free
    const slot = new MuxSlot(this, this.#slots.length + 1)
    this.#slots.push(slot)
    return slot
  }

  put(slot: MuxSlot): void {
    if (this.closed) return
    this.#free.push(slot)
    this.idleSince = performance.now()
    if (this.retired && this.active === 0) this.close()
    else this.onFree?.()
  }

  /** Takes nothing new, and closes when nothing runs any more. */
  retire(): void {
    this.retired = true
    if (this.active === 0) this.close()
  }

  /** One request at a time, then, on other connections. */
  refused(): void {
    this.retired = true
    this.onRefusal?.()
  }

  /** Destroys the connection; what runs fails with `error`, by default CLOSED (503). Idempotent. */
  close(error?: unknown): void {
    const fallback = { status: 503, message: `fastcgi: the connection to ${this.peer} was closed`, retryAfter: 1 }
    this.#shut(() => error ?? new GatewayError('CLOSED', fallback), error)
  }

  /** The disk is slower than the application: nobody gets anything for a moment. */
  pause(): void {
    if (this.#pauses++ === 0) this.socket.pause()
  }

  resume(): void {
    if (--this.#pauses === 0) this.socket.resume()
  }

  lost(exchange: Exchange): GatewayError {
    return truncated(exchange, this.peer, this.#error)
  }

  #makeDecoder(): RecordDecoder {
    const own = (id: number): MuxSlot | undefined => {
      const slot = this.#slots[id - 1]
      if (slot?.expects === true && this.#decoder.opened > slot.after) {
        this.#touched.add(slot)
        return slot
      }
      // FastCGI 1.0, 3.3: records of an inactive id are ignored. More of them could come when the id is in use again.
      if (!this.retired) this.log?.warn({ peer: this.peer, id }, `fastcgi: ${this.peer} sent a record for a request that was over`)
      this.retired = true
      return undefined
    }
    return new RecordDecoder({
      data: (type, id, bytes, start, end) => {
        if (type !== Type.Stdout && type !== Type.Stderr) throw unexpected(type, id, this.peer)
        const exchange = own(id)?.exchange
        if (type === Type.Stdout) exchange?.stdout(bytes, start, end)
        else exchange?.stderr(bytes, start, end)
      },
      end: (type, id) => {
        if (type !== Type.Stdout && type !== Type.Stderr) throw unexpected(type, id, this.peer)
        const exchange = own(id)?.exchange
        if (type === Type.Stdout) exchange?.stdoutEnd()
      },
      record: (type, id, bytes, start, end) => {
        if (id === 0) return
        if (type !== Type.EndRequest) throw unexpected(type, id, this.peer)
        const slot = own(id)
        if (slot !== undefined) slot.ended = readEndRequest(bytes, start, end)
      },
    })
  }

  #read(bytes: Buffer): void {
    if (this.closed) return
    try {
      this.#decoder.push(bytes)
    } catch (error) {
      this.#shut(() => error, error)
      return
    }
    for (const slot of this.#touched) {
      this.#touched.delete(slot)
      if (!this.closed) slot.wasRead()
    }
    if (this.retired && this.active === 0) this.close()
  }

  #gone(): void {
    this.#shut((exchange) => this.lost(exchange), this.#error)
  }

  #shut(failure: (exchange: Exchange) => unknown, closeError?: unknown): void {
    if (this.closed) return
    this.closed = true
    this.socket.destroy()
    for (const slot of this.#slots) slot.shut(failure)
    this.onClose?.(closeError)
  }
}

function unexpected(type: number, id: number, peer: string): GatewayError {
  return protocolError(`a record of type ${type} from an application (${peer}, request ${id})`)
}
