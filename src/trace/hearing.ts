// One answer as it is heard: handed on piece by piece, and judged at its end as a web server would judge it.

import { GatewayError } from '../core/index.ts'
import type { ByteString, CgiHead } from '../core/index.ts'
import { Type, readEndRequest } from '../fastcgi/index.ts'
import type { EndRequest } from '../fastcgi/index.ts'
import { AnswerReader } from './answer.ts'
import { statusName, typeName } from './record.ts'
import type { TraceRecord } from './record.ts'

/** Of the one request that runs on a connection. */
export const REQUEST_ID = 1

/** Hears the answer while it comes. Views: copy what is to be kept. */
export interface Ear {
  /** The head is whole. */
  head?(head: CgiHead): void
  /** Nothing more is read until the promise is kept. */
  body?(chunk: Buffer): void | Promise<void>
  /** A piece of STDERR. */
  stderr?(chunk: Buffer): void
}

/** What came of a question. Times are milliseconds since it was asked, undefined for what never came. */
export interface Reply {
  /** Its head. */
  readonly head: CgiHead | undefined
  /** Bytes of STDOUT after the head. */
  readonly bodyLength: number
  /** Bytes of STDERR. */
  readonly stderrLength: number
  /** What END_REQUEST said. */
  readonly end: EndRequest | undefined
  /** Why the answer is none, or not whole. */
  readonly error: GatewayError | undefined
  /** What is odd about it, and does no harm. */
  readonly oddities: readonly string[]
  /** When its head was whole. */
  readonly headTime: number | undefined
  /** When it was over. */
  readonly time: number
}

/** One answer, as far as it has come. */
export class Hearing {
  readonly #ear: Ear
  readonly #peer: string
  readonly #started = performance.now()
  readonly #reader = new AnswerReader()
  readonly #oddities: string[] = []
  error: GatewayError | undefined
  end: EndRequest | undefined
  bodyLength = 0
  stderrLength = 0
  /** All of the question was sent. */
  asked = false
  /** Nobody waits for more of it. */
  over = false
  whenOver: (() => void) | undefined
  #headTime: number | undefined

  constructor(ear: Ear, peer: string) {
    this.#ear = ear
    this.#peer = peer
  }

  async take({ type, id, content, length }: TraceRecord): Promise<void> {
    if (this.end !== undefined) this.#odd(`${typeName(type)} after END_REQUEST`)
    else if (id !== REQUEST_ID) this.#odd(`${typeName(type)} with request id ${id}`)
    else if (type === Type.Stdout) await this.#stdout(content)
    else if (type === Type.Stderr) {
      this.stderrLength += length
      if (length > 0) this.#ear.stderr?.(content)
    } else if (type !== Type.EndRequest) this.#odd(`${typeName(type)} from an application`)
    else this.end = readEndRequest(content, 0, length)
  }

  async #stdout(content: Buffer): Promise<void> {
    const before = this.#reader.head
    const head = this.#reader.push(content)
    if (before === undefined && this.#reader.head !== undefined) {
      this.#headTime = performance.now() - this.#started
      this.#ear.head?.(this.#reader.head)
    }
    if (head === content.length) return
    this.bodyLength += content.length - head
    await this.#ear.body?.(content.subarray(head))
  }

  #odd(fact: string): void {
    if (this.#oddities.length < 16 && !this.#oddities.includes(fact)) this.#oddities.push(fact)
  }

  reply(variables: readonly ByteString[]): Reply {
    const { head } = this.#reader
    return {
      head,
      bodyLength: this.bodyLength,
      stderrLength: this.stderrLength,
      end: this.end,
      error: this.error ?? this.#fault(variables),
      oddities: this.#oddities,
      headTime: this.#headTime,
      time: performance.now() - this.#started,
    }
  }

  /** What a web server would make a 502 of, or a 503. */
  #fault(variables: readonly ByteString[]): GatewayError | undefined {
    const { head, problem } = this.#reader
    const protocolStatus = this.end?.protocolStatus ?? 0
    if (protocolStatus !== 0)
      return new GatewayError('UNAVAILABLE', {
        status: 503,
        message: `fastcgi: ${this.#peer} refused the request: ${statusName(protocolStatus)}`,
      })
    if (head === undefined) {
      const why = problem ?? (this.#reader.headLength === 0 ? 'it has not a byte' : 'it ends before the blank line after its head')
      return new GatewayError('UPSTREAM_HEAD', { status: 502, message: `fastcgi: the answer of ${this.#peer} has no valid head: ${why}` })
    }
    const bodyless = head.status === 304 || variables[variables.indexOf('REQUEST_METHOD') + 1] === 'HEAD'
    if (head.contentLength === undefined || bodyless || head.contentLength === this.bodyLength) return undefined
    const message = `fastcgi: ${this.#peer} announced ${head.contentLength} bytes of body and sent ${this.bodyLength}`
    return new GatewayError('UPSTREAM_TRUNCATED', { status: 502, message })
  }
}
