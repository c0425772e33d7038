// One request and its answer, from the door's side: whose turn it is, what was sent, what became of it.

import type { Duplex } from 'node:stream'
import { STATUS_CODES, ServerResponse } from 'node:http'
import { GatewayError, Scope, describe, discard, emptyBody, isFieldValue, isToken, statusOf } from '../core/index.ts'
import type { ByteStream, GatewayResponse, HeaderList, Outcome } from '../core/index.ts'
import { RequestBody } from './body.ts'
import { Connection } from './connection.ts'
import { contract } from './head.ts'
import type { Accepted, Incoming } from './incoming.ts'
import { HttpRequest } from './request.ts'
import { send } from './send.ts'

/** What node:http makes for each answer. */
export class Outgoing extends ServerResponse<Incoming> {
  exchange: Exchange | undefined = undefined
}

/** Whoever is sending a body piece by piece. */
export interface Sender {
  /** The connection can take more. */
  drained(): void
  /** Nobody takes any more. */
  stopped(reason: unknown): void
}

export class Exchange {
  readonly connection: Connection
  readonly incoming: Incoming
  readonly outgoing: Outgoing
  /** The request behind this one on the same connection. */
  next: Exchange | undefined = undefined
  outcome: Outcome | undefined = undefined
  sender: Sender | undefined = undefined
  status = 0
  /** Bytes of body handed to the connection. */
  bytes = 0
  /** False where the end of the connection is the end of the body (HTTP/1.0): there only a reset tells half a body from a whole one. */
  delimited = true
  /** Set by the upgrade: the connection is the application's now. */
  upgraded = false
  /** Bytes that had been written when it was. */
  upgradedAt = 0
  /** How the application takes over the connection, where it may. */
  takeOver: ((status: number, headers: HeaderList) => Duplex) | undefined = undefined
  readonly #head: Accepted | GatewayError
  #expectsContinue: boolean
  #failure: unknown
  #flushed = false
  #lingers = false
  #scope: Scope | undefined = undefined
  #body: RequestBody | undefined = undefined

  constructor(connection: Connection, incoming: Incoming, outgoing: Outgoing, head: Accepted | GatewayError, expectsContinue: boolean) {
    this.connection = connection
    this.incoming = incoming
    this.outgoing = outgoing
    this.#head = head
    this.#expectsContinue = expectsContinue
    outgoing.exchange = this
    outgoing.on('close', onClose)
  }

  /** Of the request's body; undefined also where the head was refused, for then nobody knows. */
  get contentLength(): number | undefined {
    return this.#head instanceof GatewayError ? undefined : this.#head.contentLength
  }

  get body(): ByteStream {
    return this.contentLength === 0 ? emptyBody : (this.#body ??= new RequestBody(this))
  }

  /** The body, if somebody is reading it. */
  get reading(): RequestBody | undefined {
    return this.#body?.reading === true ? this.#body : undefined
  }

  get scope(): Scope {
    if (this.#scope === undefined) {
      this.#scope = new Scope(this.connection.door.track)
      if (this.outcome !== undefined) this.#scope.finish(this.outcome)
    }
    return this.#scope
  }

  /** It is this one's turn. */
  run(): void {
    const head = this.#head
    if (head instanceof GatewayError) {
      this.fail(head)
      return
    }
    if (head.target.path === '*') {
      // RFC 9110, 9.3.7: about the server as a whole, and no resource; a ping.
      this.answer({ status: 204, headers: [], body: null })
      return
    }
    try {
      const result = this.connection.door.application(new HttpRequest(this, head))
      if ('then' in result) {
        result.then(
          (response) => this.answer(response),
          (error: unknown) => this.fail(error),
        )
      } else this.answer(result)
    } catch (error) {
      this.fail(error)
    }
  }

  answer(response: GatewayResponse): void {
    if (this.upgraded || this.outcome !== undefined) {
      drop(response, this.outcome?.error)
      return
    }
    try {
      send(this, response)
    } catch (error) {
      drop(response, error)
      this.fail(error)
    }
  }

  /** Writes the head. Throws for what cannot be one; nothing is sent then. */
  writeHead(status: number, reason: string | undefined, list: HeaderList): void {
    if (reason === undefined) this.outgoing.writeHead(status, list as string[])
    else this.outgoing.writeHead(status, reason, list as string[])
    this.status = status
  }

  /** The last of the answer. */
  end(data?: string | Uint8Array, encoding?: BufferEncoding): void {
    const { outgoing, connection } = this
    const { socket } = connection
    this.#release()
    if (data === undefined) outgoing.end()
    else if (encoding === undefined) outgoing.end(data)
    else outgoing.end(data, encoding)
    if (outgoing.writableLength === 0 && !socket.destroyed && socket.errored === null) this.#flushed = true
    else {
      // Node says `finish` even when the last write failed, so it must be looked at before node lets go of the socket.
      outgoing.prependListener('finish', onFinish)
      connection.arm()
    }
  }

  flushed(): void {
    const { socket } = this.connection
    this.#flushed = !socket.destroyed && socket.errored === null
  }

  /** The application failed, or what it returned cannot be sent: its status, and nothing else about it. */
  fail(error: unknown): void {
    if (this.outcome !== undefined || this.upgraded) return
    if (this.outgoing.headersSent) {
      this.break(error)
      return
    }
    this.#failure = error
    const status = errorStatus(error)
    this.connection.door.report(this, error, status)
    const list = ['Content-Length', '0']
    if (error instanceof GatewayError && error.retryAfter !== undefined) list.push('Retry-After', String(Math.ceil(error.retryAfter)))
    // A head that was refused may have been read differently by somebody in between.
    if (this.closes() || status === 408 || this.#head instanceof GatewayError) list.push('Connection', 'close')
    this.writeHead(status, STATUS_CODES[status] ?? 'Error', list)
    this.end()
  }

  /** The answer cannot go on. Its end must not look like one. */
  break(error: unknown): void {
    if (this.outcome !== undefined) return
    this.#failure = error
    const { socket, door } = this.connection
    door.report(this, error, 0)
    // TLS has an end of its own, which is missing then; and node cannot reset what is below it.
    if (this.delimited || socket.remoteAddress === undefined || 'encrypted' in socket) socket.destroy()
    else socket.resetAndDestroy()
  }

  /** The client did something after which it can get no answer. */
  cut(error: unknown): void {
    if (this.outcome !== undefined) return
    this.reading?.fail(error)
    this.#finish({ kind: 'cut', status: this.status, bytes: this.bytes, error })
  }

  /** The connection is done with this answer, one way or the other. */
  closed(): void {
    if (this.outcome !== undefined) return
    const { status, bytes } = this
    const error = this.#failure
    if (this.upgraded) this.#finish({ kind: 'sent', status, bytes: this.connection.socket.bytesWritten - this.upgradedAt })
    else if (error !== undefined) this.#finish({ kind: 'failed', status, bytes, error })
    else if (this.#flushed) this.#finish({ kind: 'sent', status, bytes })
    else this.#finish({ kind: 'cut', status, bytes, error: gone() })
    if (this.#lingers) this.connection.linger()
    this.connection.door.done(this)
  }

  /** Whether the connection ends with this answer. Asked once, when the head is written. */
  closes(): boolean {
    const { connection, outgoing, incoming } = this
    const { closing, limits } = connection.door
    const last =
      closing ||
      !outgoing.shouldKeepAlive ||
      (limits.requestsPerConnection > 0 && connection.requests >= limits.requestsPerConnection) ||
      // Behind a request with an Upgrade and no body, node's parser drops what came in the same read, whether anybody upgrades or not.
      (this.contentLength === 0 && incoming.facts?.upgrade === true)
    const left = this.#left()
    if (left === 0) return last
    if (!last && left <= limits.drainBytes && !this.#expectsContinue) return false
    return (this.#lingers = true)
  }

  /** RFC 9110, 10.1.1: the client waits for it before it sends its body. */
  sendContinue(): void {
    if (!this.#expectsContinue || this.outgoing.headersSent) return
    this.#expectsContinue = false
    this.outgoing.writeContinue()
  }

  /** Sends an interim response. It may always: only the request whose turn it is runs, so the socket is this one's. */
  inform(status: number, headers: HeaderList): void {
    const { outgoing } = this
    if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) throw contract(`an interim status of ${status}`)
    if (outgoing.headersSent || this.outcome !== undefined) return
    outgoing.socket?.write(interim(status, headers), 'latin1')
  }

  #finish(outcome: Outcome): void {
    this.outcome = outcome
    this.sender?.stopped(outcome.error)
    this.sender = undefined
    this.#scope?.finish(outcome)
  }

  /** Bytes of the request's body that are still to come and that nobody reads. */
  #left(): number {
    const { contentLength, incoming } = this
    if (contentLength === 0 || incoming.complete || this.#body?.reading === true) return 0
    return contentLength === undefined ? Number.POSITIVE_INFINITY : contentLength - (this.#body?.received ?? 0)
  }

  /** Sees to what is left of the request's body, before the answer ends: node would take all of it, however much. */
  #release(): void {
    const { incoming, connection } = this
    if (this.#left() > 0) {
      connection.draining = incoming
      connection.since = connection.door.tick
      if (this.#lingers || this.#left() > connection.door.limits.drainBytes) {
        this.#lingers = true
        drain(connection, incoming)
        return
      }
    }
    // Begun and given up: node leaves it to us to take the rest.
    if (this.#body !== undefined && !this.#body.reading) incoming.resume()
  }
}

/** Discards a response, whatever the application returned as one: the door must not fall over it. */
function drop(response: GatewayResponse, reason: unknown): void {
  try {
    discard(response, reason)
  } catch {
    // It was no response, or its body fails even at being cancelled; there is nothing left to release.
  }
}

/** Takes a bounded amount of a body off the wire, while the client reads its answer. */
function drain(connection: Connection, incoming: Incoming): void {
  const { drainBytes } = connection.door.limits
  let drained = 0
  incoming.on('data', (chunk: Uint8Array) => {
    drained += chunk.length
    // From here the client's own buffers fill; the sweep ends it.
    if (drained > drainBytes) incoming.pause()
  })
  const { socket } = connection
  // Node calls this when the answer is out, and would close with unread bytes there: a reset, which may overtake the answer.
  socket.destroySoon = () => connection.linger()
  incoming.once('end', () => {
    delete (socket as Partial<typeof socket>).destroySoon
    if (connection.lingering) socket.destroySoon()
  })
}

/** A 1xx response as it goes over the wire. Throws CONTRACT for fields that cannot be sent. */
export function interim(status: number, headers: HeaderList): string {
  let wire = `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? 'Interim'}\r\n`
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i] ?? ''
    const value = headers[i + 1]
    if (!isToken(name) || value === undefined || !isFieldValue(value)) throw contract(`a field of the ${status} response is not one`)
    wire += `${name}: ${value}\r\n`
  }
  return wire + '\r\n'
}

function errorStatus(error: unknown): number {
  const status = statusOf(error)
  return Number.isInteger(status) && status >= 400 && status <= 599 ? status : 500
}

function gone(): GatewayError {
  return new GatewayError('CLIENT_GONE', { status: 499, message: 'http: the client has gone before its answer was whole' })
}

function onClose(this: Outgoing): void {
  this.exchange?.closed()
}

function onFinish(this: Outgoing): void {
  this.exchange?.flushed()
}

/** One line about a request, for the log. */
export function summary(exchange: Exchange, error: unknown): { method: string; target: string; remote: string; error: string } {
  const { incoming, connection } = exchange
  return { method: incoming.method ?? '', target: incoming.url ?? '', remote: connection.remote.address, error: describe(error) }
}
