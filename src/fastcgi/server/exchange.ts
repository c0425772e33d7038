// One request and its answer, from the application's side: what has come of it, what was sent, what became of it.
//
// States: its variables come; (where CONTENT_LENGTH says nothing, until its first STDIN record it is not known whether there is a
// body); the application has it; (a Filter's answer waits for the end of STDIN); over. Specification: FastCGI 1.0, sections 5 and 6.

import { GatewayError, Scope, emptyBody, encodeHead, statusOf } from '../../core/index.ts'
import type {
  Application,
  ByteStream,
  ByteString,
  ErrorStream,
  FilterData,
  GatewayResponse,
  HeaderList,
  Outcome,
} from '../../core/index.ts'
import { Role, Type } from '../record.ts'
import type { BeginRequest } from '../record.ts'
import { answered } from './errors.ts'
import { DataInput } from './filter.ts'
import { InputBody, tooLarge } from './input.ts'
import { Inputs } from './inputs.ts'
import { answerEnd, textRecords, writeStdout } from './records.ts'
import { ServerRequest } from './request.ts'
import { drop, sendAnswer } from './send.ts'
import type { BodySender, Outlet } from './send.ts'
import { RequestErrors } from './stderr.ts'
import { readFacts, withoutBody } from './variables.ts'
import type { Facts } from './variables.ts'
import type { ServerConnection } from './connection.ts'

/** An answer that waits, or the reason why there is none. */
interface Held {
  readonly response?: GatewayResponse
  readonly error?: unknown
}

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
  readonly inputs: Inputs
  /** The sweep's tick at which STDIN last brought something, while an answer waits for its end. */
  heldAt: number | undefined
  readonly #role: number
  readonly #application: Application
  #pairs: HeaderList = []
  #contentLength: number | undefined
  #scope: Scope | undefined
  #sender: BodySender | undefined
  #held: Held | undefined
  /** The application has it, and has not come back. */
  #running = false
  /** The connection has forgotten it. */
  #left = false
  #headSent = false
  #errors: RequestErrors | undefined

  constructor(connection: ServerConnection, id: number, { role, keep }: BeginRequest, application: Application) {
    this.connection = connection
    this.id = id
    this.keep = keep
    this.#role = role
    this.#application = application
    this.tick = connection.door.tick
    this.inputs = new Inputs(id, connection.door.limits)
  }

  // ---- what comes

  endParams(): void {
    const { connection, inputs } = this
    const pairs = inputs.endParams()
    if (this.outcome !== undefined) return
    const { door } = connection
    const role = this.#role
    try {
      this.#pairs = role === Role.Authorizer ? withoutBody(pairs) : pairs
      this.facts = readFacts(this.#pairs, door, role === Role.Authorizer)
      if (role === Role.Filter) inputs.data = new DataInput(connection, pairs, () => this.#dropUnread())
      const expected = (this.#contentLength = role === Role.Authorizer ? 0 : this.facts.contentLength)
      const limit = door.limits.body
      if (limit > 0 && expected !== undefined && expected > limit) throw tooLarge(expected, limit)
      if (expected !== 0) inputs.stdin = new InputBody(connection, { stream: 'STDIN', expected, limit })
      if (expected === undefined) return
    } catch (error) {
      this.fail(error)
      return
    }
    this.#run()
  }

  endStdin(): void {
    this.flush()
    const { inputs } = this
    inputs.endStdin()
    if (this.arriving) {
      this.#contentLength = 0
      inputs.stdin = undefined
      this.#run()
    } else inputs.stdin?.end()
    this.#letGo()
  }

  /** A socket read is over: what it brought goes to its reader. */
  flush(): void {
    const { inputs } = this
    if (inputs.stdin?.pending === true) {
      if (this.arriving) this.#run()
      if (this.heldAt !== undefined) this.heldAt = this.connection.door.tick
      inputs.stdin.flush()
    }
    inputs.data?.input.flush()
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
    try {
      const request = new ServerRequest(this, facts, this.#pairs, door.trusted, this.#contentLength)
      // Both views are made now, where what is wrong with them is still the web server's mistake and not the application's.
      void request.headers.list
      void request.variables.own
      const result = this.#application(request)
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
    if (this.#mustWait()) this.#hold({ response })
    else this.#send(response)
  }

  #send(response: GatewayResponse): void {
    // What lets a request through has Variable-* fields and nothing else, not even a length.
    const method = this.#role === Role.Authorizer && response.status === 200 ? 'HEAD' : this.facts!.method
    try {
      this.#sender = sendAnswer(this, method, response)
    } catch (error) {
      drop(response, error)
      this.fail(error)
    }
  }

  // ---- a Filter may send nothing before the end of its STDIN (FastCGI 1.0, 6.4)

  #mustWait(): boolean {
    return this.inputs.data !== undefined && !this.inputs.stdinEnded
  }

  #hold(held: Held): void {
    this.#held = held
    this.arriving = false
    this.heldAt = this.connection.door.tick
    this.inputs.stdin?.channel.cancel()
  }

  #letGo(): void {
    const held = this.#held
    this.#held = this.heldAt = undefined
    if (held === undefined) return
    if (held.response !== undefined) this.#send(held.response)
    else this.fail(held.error)
  }

  /** Behind a body that nobody reads the file would never come. */
  #dropUnread(): void {
    const { stdin } = this.inputs
    if (stdin?.channel.used === false) stdin.channel.cancel()
  }

  #failed(error: unknown): void {
    this.#returned()
    this.fail(error)
  }

  get body(): ByteStream {
    return this.inputs.stdin?.channel ?? emptyBody
  }

  get filterData(): FilterData | undefined {
    return this.inputs.data
  }

  get scope(): Scope {
    if (this.#scope === undefined) {
      this.#scope = new Scope(this.connection.door.track)
      if (this.outcome !== undefined) this.#scope.finish(this.outcome)
    }
    return this.#scope
  }

  get errors(): ErrorStream {
    return (this.#errors ??= new RequestErrors(this))
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
    else return this.connection.hasRoomFor(this)
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
    if (this.#mustWait()) {
      this.#hold({ error })
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
    const held = this.#held
    this.#held = this.heldAt = undefined
    if (held?.response !== undefined) drop(held.response, outcome.error)
    this.inputs.fail(() => outcome.error ?? answered())
    this.#scope?.finish(outcome)
  }
}
