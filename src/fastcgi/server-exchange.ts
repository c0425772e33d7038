// One request and its answer, from the application's side: what has come of it, what was sent, what became of it.
//
// States: its variables come; (where CONTENT_LENGTH says nothing, until its first STDIN record it is not known whether there is a
// body); the application has it; over. Specification: FastCGI 1.0, sections 5 and 6.2.

import { GatewayError, Scope, discard, emptyBody, encodeHead, statusOf } from '../core/index.ts'
import type { ByteStream, ByteString, ErrorStream, GatewayResponse, HeaderList, Outcome } from '../core/index.ts'
import { PairDecoder } from './params.ts'
import { Type, protocolError } from './record.ts'
import { answerEnd, textRecords, writeStdout } from './server-records.ts'
import { ServerRequest } from './server-request.ts'
import { sendAnswer } from './server-send.ts'
import type { BodySender, Outlet } from './server-send.ts'
import { StdinBody, tooLarge } from './server-stdin.ts'
import { readFacts } from './server-variables.ts'
import type { Facts } from './server-variables.ts'
import type { ServerConnection } from './server-connection.ts'

/** Bytes of STDERR that one request may send. Beyond, lines go to the log only. */
const STDERR_LIMIT = 65_536

export class ServerExchange implements Outlet {
  readonly connection: ServerConnection
  readonly id: number
  readonly keep: boolean
  /** The sweep's tick at which it began, or was aborted. */
  tick: number
  outcome: Outcome | undefined = undefined
  status = 0
  /** Bytes of body handed to the connection. */
  bytes = 0
  facts: Facts | undefined = undefined
  /** ABORT_REQUEST came; the application has not come back yet. */
  aborted = false
  /** Its variables, or the news whether it has a body, are on their way. */
  arriving = true
  /** Its body; undefined while nobody can read it, and where there is none. */
  stdin: StdinBody | undefined = undefined
  #params: PairDecoder | undefined
  #pairs: HeaderList = []
  #pieces: Buffer[] = []
  #contentLength: number | undefined
  #stdinEnded = false
  #scope: Scope | undefined
  #sender: BodySender | undefined
  /** The application has it, and has not come back. */
  #running = false
  /** The connection has forgotten it. */
  #left = false
  #headSent = false
  #stderr = 0

  constructor(connection: ServerConnection, id: number, keep: boolean) {
    this.connection = connection
    this.id = id
    this.keep = keep
    this.tick = connection.door.tick
    const { params, pairs } = connection.door.limits
    this.#params = new PairDecoder({ bytes: params, pairs })
  }

  // ---- what comes

  takeParams(bytes: Buffer, start: number, end: number): void {
    if (this.#params === undefined) throw protocolError(`PARAMS go on after their end (request ${this.id})`)
    this.#params.push(bytes, start, end)
  }

  endParams(): void {
    if (this.#params === undefined) throw protocolError(`PARAMS end twice (request ${this.id})`)
    this.#pairs = this.#params.end()
    this.#params = undefined
    if (this.outcome !== undefined) return
    const { door } = this.connection
    try {
      this.facts = readFacts(this.#pairs, door)
      const length = (this.#contentLength = this.facts.contentLength)
      if (length === undefined) return
      if (door.limits.body > 0 && length > door.limits.body) throw tooLarge(length, door.limits.body)
    } catch (error) {
      this.fail(error)
      return
    }
    this.#run()
  }

  takeStdin(bytes: Buffer, start: number, end: number): void {
    if (this.#params !== undefined) throw protocolError(`STDIN before the end of PARAMS (request ${this.id})`)
    if (this.#stdinEnded) throw protocolError(`STDIN goes on after its end (request ${this.id})`)
    if (this.#pieces.length === 0) this.connection.touched.push(this)
    this.#pieces.push(bytes.subarray(start, end))
  }

  endStdin(): void {
    if (this.#params !== undefined) throw protocolError(`STDIN before the end of PARAMS (request ${this.id})`)
    this.flush()
    this.#stdinEnded = true
    if (this.arriving) {
      this.#contentLength = 0
      this.#run()
    } else this.stdin?.end()
  }

  /** A socket read is over: what it brought of the body goes to its reader. */
  flush(): void {
    if (this.#pieces.length === 0) return
    const pieces = this.#pieces
    this.#pieces = []
    if (this.arriving) this.#run()
    this.stdin?.take(pieces)
  }

  /** FastCGI 1.0, 5.4: the web server wants no answer any more. The request still ends with END_REQUEST, once the application has. */
  abort(): void {
    if (this.outcome !== undefined || this.aborted) return
    this.aborted = true
    this.tick = this.connection.door.tick
    this.gone(new GatewayError('CLIENT_GONE', { status: 499, message: `fastcgi: request ${this.id} was aborted by the web server` }))
    if (!this.#running) this.giveUp()
  }

  /** The application has come back, or had its time. */
  giveUp(): void {
    if (!this.aborted) return
    this.aborted = false
    this.connection.write(answerEnd(this.id, 1))
    this.connection.done(this)
  }

  /** Nobody takes an answer any more. */
  gone(error: unknown): void {
    this.#finish({ kind: 'cut', status: this.status, bytes: this.bytes, error })
  }

  /** The connection has forgotten it: its id may be somebody else's from here. */
  leave(): void {
    this.#left = true
    if (!this.#running) this.connection.door.left()
  }

  // ---- the application

  #run(): void {
    const { door } = this.connection
    const facts = this.facts!
    this.arriving = false
    this.#running = true
    if (this.#contentLength !== 0) this.stdin = new StdinBody(this.connection, this.#contentLength)
    try {
      const request = new ServerRequest(this, facts, this.#pairs, door.trusted, this.#contentLength)
      // Both views are made now, where what is wrong with them is still the web server's mistake and not the application's.
      void request.headers.list
      void request.variables.own
      const result = door.application(request)
      if ('then' in result) {
        result.then(
          (response) => this.#answer(response),
          (error: unknown) => this.#failed(error),
        )
      } else this.#answer(result)
    } catch (error) {
      this.#failed(error)
    }
  }

  #returned(): void {
    if (!this.#running) return
    this.#running = false
    if (this.#left) this.connection.door.left()
    this.giveUp()
  }

  #answer(response: GatewayResponse): void {
    this.#returned()
    if (this.outcome !== undefined) {
      drop(response, this.outcome.error)
      return
    }
    try {
      this.#sender = sendAnswer(this, this.facts!.method, response)
    } catch (error) {
      drop(response, error)
      this.fail(error)
    }
  }

  #failed(error: unknown): void {
    this.#returned()
    this.fail(error)
  }

  get body(): ByteStream {
    return this.stdin?.channel ?? emptyBody
  }

  get scope(): Scope {
    if (this.#scope === undefined) {
      this.#scope = new Scope(this.connection.door.track)
      if (this.outcome !== undefined) this.#scope.finish(this.outcome)
    }
    return this.#scope
  }

  get errors(): ErrorStream {
    return { write: (text) => this.#complain(text) }
  }

  /** As UTF-8, at once: whoever reads an error log wants to know before the answer is over. */
  #complain(text: string): void {
    const line = Buffer.from(text, 'utf8').toString('latin1')
    if (line === '') return
    this.#stderr += line.length
    if (this.outcome === undefined && this.#stderr <= STDERR_LIMIT) this.connection.write(textRecords(Type.Stderr, this.id, line))
    else this.connection.door.log.warn({ method: this.facts?.method, target: this.facts?.target }, text.trimEnd())
  }

  // ---- what goes

  begin(status: number): void {
    this.#headSent = true
    this.status = status
  }

  write(head: ByteString, chunks: readonly Uint8Array[], total: number, last: boolean): boolean {
    this.bytes += total
    writeStdout(this.connection.socket, this.id, head, chunks, total, last ? answerEnd(this.id, 0) : '')
    if (last) this.#end()
    else if (!this.connection.hasRoom()) return false
    return true
  }

  writeText(text: ByteString, bodyLength: number): void {
    this.bytes += bodyLength
    this.connection.write(textRecords(Type.Stdout, this.id, text) + answerEnd(this.id, 0))
    this.#end()
  }

  drained(): void {
    this.#sender?.drained()
  }

  fail(error: unknown): void {
    if (this.outcome !== undefined) return
    if (this.#headSent) {
      this.connection.door.report(this, error, 0)
      this.#finish({ kind: 'failed', status: this.status, bytes: this.bytes, error })
      this.connection.breakOff()
      return
    }
    const said = statusOf(error)
    const status = Number.isInteger(said) && said >= 400 && said <= 599 ? said : 500
    this.connection.door.report(this, error, status)
    const headers =
      error instanceof GatewayError && error.retryAfter !== undefined ? ['Retry-After', String(Math.ceil(error.retryAfter))] : []
    this.begin(status)
    const { text } = encodeHead({ status, headers, body: null }, 0)
    this.connection.write(textRecords(Type.Stdout, this.id, text) + answerEnd(this.id, status < 500 ? 0 : 1))
    this.#finish({ kind: 'failed', status, bytes: 0, error })
    this.connection.done(this)
  }

  /** Everything is written. Whether it has left decides what became of it. */
  #end(): void {
    const { status, bytes, connection } = this
    this.#sender = undefined
    connection.flushed((lost) => {
      if (lost === undefined) this.#finish({ kind: 'sent', status, bytes })
      else this.gone(lost)
    })
    connection.done(this)
  }

  #finish(outcome: Outcome): void {
    if (this.outcome !== undefined) return
    this.outcome = outcome
    this.arriving = false
    const sender = this.#sender
    this.#sender = undefined
    try {
      sender?.stopped(outcome.error)
    } catch (error) {
      // A body that fails at being cancelled has nobody to tell.
      this.connection.door.report(this, error, 0)
    }
    // Whoever still reads the request's body must not wait for what is ignored from now on.
    this.stdin?.fail(outcome.error ?? new GatewayError('CLOSED', { status: 499, message: 'fastcgi: the request has been answered' }))
    this.#scope?.finish(outcome)
  }
}

/** Discards a response, whatever the application returned as one. */
function drop(response: GatewayResponse, reason: unknown): void {
  try {
    discard(response, reason)
  } catch {
    // It was no response, or its body fails even at being cancelled; there is nothing left to release.
  }
}
