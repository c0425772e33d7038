// Asking an application one thing after the other over one connection, with every record in sight: what `viaduct request` and
// `viaduct replay` are made of.
//
// The client for serving is `fastcgi()` of `viaduct/fastcgi`. This one is for finding out: it speaks all three roles, notes what is
// wrong and reads on as long as it makes sense, and measures. Specification: FastCGI 1.0, sections 3, 5 and 6.

import type { Socket } from 'node:net'
import { GatewayError } from '../core/index.ts'
import type { Address, ByteString } from '../core/index.ts'
import { Role, Type, connect, encodeRequest, formatAddress, record } from '../fastcgi/index.ts'
import type { TlsOptions } from '../fastcgi/index.ts'
import { Hearing, REQUEST_ID } from './hearing.ts'
import type { Ear, Reply } from './hearing.ts'
import { RecordScanner } from './record.ts'
import type { Direction, TraceRecord } from './record.ts'

/** The largest content that needs no padding. */
const FULL_CONTENT = 65_528

/** A request, as it is to be sent. */
export interface Question {
  /** One of `Role`, or another number to see what becomes of it. */
  readonly role: number
  /** Ask the application to leave the connection open. */
  readonly keep: boolean
  /** `[name, value, ...]` */
  readonly variables: readonly ByteString[]
  /** The request body. Default: none. */
  readonly stdin?: AsyncIterable<Uint8Array>
  /** Of the filter role. */
  readonly data?: AsyncIterable<Uint8Array>
}

/** How an application is reached and listened to. */
export interface DialogueOptions {
  /** Speak TLS with the application. */
  readonly tls?: TlsOptions | undefined
  /** Milliseconds to connect, and that the application may be silent. Default 60,000. */
  readonly timeout?: number
  /** Sees every record, sent or received, with the milliseconds since the connection was asked for. */
  readonly tap?: (direction: Direction, record: TraceRecord, time: number) => void
}

/** A connection to an application, and one request after the other by hand. */
export class Dialogue {
  /** The application, for messages. */
  readonly peer: string
  /** Milliseconds that connecting took. */
  readonly connectTime: number
  /** Questions so far. */
  questions = 0
  readonly #socket: Socket
  readonly #reads: AsyncIterator<Buffer>
  readonly #timeout: number
  readonly #origin: number
  readonly #tap: DialogueOptions['tap']
  readonly #scanner = new RecordScanner()
  readonly #sent = new RecordScanner()
  #timer: NodeJS.Timeout | undefined
  #late = false
  #broken = false

  private constructor(socket: Socket, peer: string, origin: number, options: DialogueOptions) {
    this.#socket = socket
    this.peer = peer
    this.#origin = origin
    this.connectTime = performance.now() - origin
    this.#timeout = options.timeout ?? 60_000
    this.#tap = options.tap
    this.#reads = socket[Symbol.asyncIterator]() as AsyncIterator<Buffer>
    // Told by the read or the write that it concerns.
    socket.on('error', () => {})
  }

  /** Rejects with UNAVAILABLE or TIMEOUT. */
  static async open(address: Address, options: DialogueOptions = {}): Promise<Dialogue> {
    const origin = performance.now()
    const socket = await connect(address, options.timeout ?? 60_000, options.tls)
    return new Dialogue(socket, formatAddress(address, options.tls !== undefined), origin, options)
  }

  /** Whether another question can be asked. */
  get open(): boolean {
    return !this.#broken && !this.#socket.destroyed
  }

  /** Closes the connection. Idempotent. */
  close(): void {
    this.#broken = true
    clearTimeout(this.#timer)
    this.#socket.destroy()
  }

  /** Never rejects for what the application does: that is `error` of the reply. It does for a body of ours that cannot be read. */
  async ask(question: Question, ear: Ear = {}): Promise<Reply> {
    const answer = new Hearing(ear, this.peer)
    this.questions++
    const head = encodeRequest(REQUEST_ID, question.role as Role, question.keep, (emit) => {
      const { variables } = question
      for (let i = 0; i < variables.length; i += 2) emit(variables[i]!, variables[i + 1]!)
    })
    const sending = this.#send(head, question, answer)
    const receiving = this.#receive(answer)
    try {
      // Who answers before the end of the body is not kept waiting for it; a body that cannot be read ends the reading.
      await Promise.race([receiving, sending.then(() => receiving)])
    } catch (error) {
      if (!(error instanceof GatewayError)) throw error
      answer.error = error
    } finally {
      answer.over = true
      this.#rest()
      if (answer.error !== undefined || !answer.asked || !question.keep) this.close()
    }
    return answer.reply(question.variables)
  }

  // ---- out

  async #send(head: ByteString, question: Question, answer: Hearing): Promise<void> {
    try {
      // In one write where it is all: an application may answer before it has read the end of a body that it does not want.
      this.#socket.cork()
      this.#write(head)
      if (question.stdin === undefined) this.#write(record(Type.Stdin, REQUEST_ID, ''))
      this.#socket.uncork()
      if (question.stdin !== undefined) await this.#stream(Type.Stdin, question.stdin, answer)
      if (question.data !== undefined) await this.#stream(Type.Data, question.data, answer)
      else if (question.role === Role.Filter) this.#write(record(Type.Data, REQUEST_ID, ''))
      answer.asked = !answer.over
    } catch (error) {
      // Ours: half a request cannot be taken back.
      this.#socket.destroy()
      throw error
    }
  }

  async #stream(type: number, source: AsyncIterable<Uint8Array>, answer: Hearing): Promise<void> {
    for await (const chunk of source) {
      const bytes = Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length)
      for (let at = 0; at < bytes.length; at += FULL_CONTENT) {
        // An application may answer before it has read everything: a filter from its cache, a page that refuses an upload.
        if (answer.over || !this.#socket.writable) return
        if (!this.#write(record(type, REQUEST_ID, bytes.toString('latin1', at, at + FULL_CONTENT)))) await this.#drained(answer)
      }
    }
    if (!answer.over && this.#socket.writable) this.#write(record(type, REQUEST_ID, ''))
  }

  #write(wire: ByteString): boolean {
    if (this.#tap !== undefined) {
      const time = this.#now
      for (const each of this.#sent.push(Buffer.from(wire, 'latin1'))) this.#tap('to', each, time)
    }
    this.#wait()
    return this.#socket.write(wire, 'latin1')
  }

  #drained(answer: Hearing): Promise<void> {
    return new Promise((resolve) => {
      const done = (): void => {
        this.#socket.off('drain', done).off('close', done)
        resolve()
      }
      this.#socket.once('drain', done).once('close', done)
      answer.whenOver = done
    })
  }

  // ---- in

  async #receive(answer: Hearing): Promise<void> {
    while (answer.end === undefined) {
      this.#wait()
      const bytes = await this.#read(answer)
      this.#rest()
      const records = this.#scanner.push(bytes)
      const time = this.#now
      for (const each of records) this.#tap?.('from', each, time)
      for (const each of records) await answer.take(each)
      if (this.#scanner.foreign !== undefined) throw foreign(this.#scanner.foreign, this.peer)
    }
    answer.over = true
    answer.whenOver?.()
  }

  async #read(answer: Hearing): Promise<Buffer> {
    let cause: unknown
    try {
      const read = await this.#reads.next()
      if (read.done !== true) return read.value
    } catch (error) {
      cause = error
    }
    answer.over = true
    answer.whenOver?.()
    if (this.#late) {
      const message = `fastcgi: ${this.peer} was silent for ${this.#timeout} ms, after ${answer.bodyLength} bytes of body`
      throw new GatewayError('TIMEOUT', { status: 504, message })
    }
    const how = cause === undefined ? 'closed the connection' : `broke the connection (${(cause as NodeJS.ErrnoException).code})`
    throw new GatewayError('UPSTREAM_TRUNCATED', {
      status: 502,
      message: `fastcgi: ${this.peer} ${how} before END_REQUEST, after ${answer.bodyLength} bytes of body`,
    })
  }

  get #now(): number {
    return performance.now() - this.#origin
  }

  #wait(): void {
    clearTimeout(this.#timer)
    this.#timer = setTimeout(() => {
      this.#late = true
      this.#socket.destroy()
    }, this.#timeout)
  }

  #rest(): void {
    clearTimeout(this.#timer)
  }
}

/** RFC 9110, 9.2.2. */
const IDEMPOTENT: ReadonlySet<ByteString | undefined> = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/**
 * Whether this is no answer, but the sign that a kept connection had been closed since the last one: the question may be asked once more
 * on a new one. What must not be done twice is not: the application may have died of it.
 */
export function wasClosedBefore(dialogue: Dialogue, { variables }: Question, { error, head, stderrLength }: Reply): boolean {
  if (dialogue.questions < 2 || error?.code !== 'UPSTREAM_TRUNCATED' || head !== undefined || stderrLength > 0) return false
  return IDEMPOTENT.has(variables[variables.indexOf('REQUEST_METHOD') + 1])
}

function foreign(bytes: Buffer, peer: string): GatewayError {
  const text = bytes.toString('latin1')
  const hint = text.startsWith('HTTP/') ? ': an HTTP server' : bytes[0] === 0x15 || bytes[0] === 0x16 ? ': perhaps it wants TLS' : ''
  return new GatewayError('UPSTREAM_PROTOCOL', {
    status: 502,
    message: `fastcgi: what ${peer} answers is no FastCGI${hint} (it begins with ${JSON.stringify(text)})`,
  })
}
