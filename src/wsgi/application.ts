// PEP 3333 for TypeScript: an application written as `app(environ, startResponse)`, as an application of ours.
//
// The rules are the PEP's: the head leaves with the first block that is not empty, and can be replaced until then; each block is
// handed on before the next is asked for; `close` is called once, whatever happens. An application may be asynchronous, and its
// iterable too.

import { Channel, GatewayError, describe, isBodyless } from '../core/index.ts'
import type { Application, ByteString, GatewayRequest, GatewayResponse } from '../core/index.ts'
import { environOf } from './environ.ts'
import type { Environ } from './environ.ts'
import { checkHead } from './check.ts'
import type { AnswerHead } from './head.ts'

/** Hands on a block at once. The promise resolves when there is room for more: await it where much is written. */
export type Write = (data: Uint8Array) => Promise<void>

/** `status` is `200 OK`. `excInfo`: the error that is being handled, which allows a second call and is thrown when the head has left. */
export type StartResponse = (status: ByteString, headers: readonly (readonly [ByteString, ByteString])[], excInfo?: unknown) => Write

/** What an application returns. `close`, if it has one, is called when nobody needs it any more. */
export type WsgiBody = (Iterable<Uint8Array> | AsyncIterable<Uint8Array>) & { close?(): unknown }

/** An application in the shape of PEP 3333. */
export type WsgiApplication = (environ: Environ, startResponse: StartResponse) => WsgiBody | Promise<WsgiBody>

/** Makes an application of one in the shape of PEP 3333. What breaks a rule of the PEP is a PROGRAM_FAILED error, 500. */
export function wsgi(application: WsgiApplication): Application {
  return (request) =>
    new Promise((resolve, reject) => {
      const exchange = new Exchange(request, resolve, reject)
      const work = exchange.run(application)
      // What goes on after the answer is waited for when the server closes.
      request.waitUntil(work)
    })
}

class Exchange {
  readonly #request: GatewayRequest
  readonly #resolve: (response: GatewayResponse) => void
  readonly #reject: (error: unknown) => void
  #head: AnswerHead | undefined
  #channel: Channel | undefined
  /** The head has left. */
  #sent = false
  /** The body is whole, or nobody wants it. */
  #over = false
  /** Bytes that Content-Length still promises. */
  #left: number | undefined
  #room: (() => void) | undefined
  /** The client has left. */
  #cut = false

  constructor(request: GatewayRequest, resolve: (response: GatewayResponse) => void, reject: (error: unknown) => void) {
    this.#request = request
    this.#resolve = resolve
    this.#reject = reject
  }

  async run(application: WsgiApplication): Promise<void> {
    let body: WsgiBody | undefined
    try {
      body = await application(environOf(this.#request), this.#startResponse)
      if (!this.#whole(body)) await this.#stream(body)
    } catch (error) {
      this.#fail(error)
    }
    try {
      await body?.close?.()
    } catch (error) {
      this.#request.errors.write(`wsgi: close: ${describe(error)}\n`)
    }
  }

  readonly #startResponse: StartResponse = (status, headers, excInfo) => {
    if (excInfo === undefined || excInfo === null) {
      if (this.#head !== undefined) throw broken('startResponse was called a second time, without excInfo')
    } else if (this.#sent) throw excInfo as Error
    this.#head = checkHead(status, headers)
    this.#left = this.#head.length
    return this.#write
  }

  readonly #write: Write = async (data) => {
    if (!this.#put(data)) return
    await this.#ready()
  }

  /** An array is all there: one value, with its length. */
  #whole(body: WsgiBody): boolean {
    if (!Array.isArray(body) || this.#sent || this.#head === undefined) return false
    const blocks: unknown[] = body
    if (!blocks.every((block) => block instanceof Uint8Array)) return false
    const all = blocks.length === 1 ? blocks[0]! : Buffer.concat(blocks)
    if (!this.#bodyless() && this.#left !== undefined && this.#left !== all.length) return false
    // To HEAD too: its length is that of GET.
    this.#answer(this.#request.method === 'HEAD' && this.#left === undefined && all.length > 0 ? all : this.#bodyless() ? null : all)
    return true
  }

  async #stream(body: WsgiBody): Promise<void> {
    for await (const block of body) {
      if (!this.#put(block)) break
      await this.#ready()
    }
    this.#finish()
  }

  /** Hands on one block. False: no more are wanted. */
  #put(block: Uint8Array): boolean {
    if (!(block instanceof Uint8Array)) throw broken(`a block of the body is no Uint8Array but ${typeof block}`)
    if (block.length === 0) return !this.#cut
    if (this.#head === undefined) throw broken('a block of the body came before startResponse was called')
    if (this.#bodyless()) {
      this.#finish()
      return false
    }
    if (this.#over) return this.#excess()
    let data = block
    if (this.#left !== undefined) {
      if (data.length > this.#left) data = data.subarray(0, this.#left)
      this.#left -= data.length
      // Said before the answer is whole: after that nobody listens.
      if (data.length < block.length) this.#excess()
    }
    if (!this.#sent && this.#left === 0) this.#answer(data)
    else this.#push(data)
    return data.length === block.length
  }

  #push(data: Uint8Array): void {
    if (this.#channel === undefined) {
      this.#channel = new Channel({ onDrain: () => this.#wake(), onCancel: () => this.#cancelled() })
      this.#sent = true
      this.#resolve({ ...this.#response(), body: this.#channel })
    }
    this.#channel.write(data)
    if (this.#left === 0) this.#finish()
  }

  #excess(): boolean {
    if (this.#cut) return false
    this.#request.errors.write('wsgi: the body is longer than its Content-Length; the rest was cut off\n')
    return false
  }

  /** The whole answer. */
  #answer(body: Uint8Array | null): void {
    this.#sent = this.#over = true
    this.#resolve({ ...this.#response(), body: body === null || body.length === 0 ? null : body })
  }

  #finish(): void {
    if (this.#over) return
    if (this.#head === undefined) throw broken('the application did not call startResponse')
    if (!this.#bodyless() && this.#left !== undefined && this.#left > 0) throw broken(`the body ended ${this.#left} bytes early`)
    if (!this.#sent) {
      this.#answer(null)
      return
    }
    this.#over = true
    this.#channel?.end()
    this.#wake()
  }

  #fail(error: unknown): void {
    if (this.#over) {
      if (!this.#cut) this.#request.errors.write(`wsgi: after the answer: ${describe(error)}\n`)
      return
    }
    this.#over = true
    if (this.#channel !== undefined) this.#channel.fail(error)
    else this.#reject(error)
  }

  // ---- the reader

  #cancelled(): void {
    this.#over = this.#cut = true
    this.#wake()
  }

  /** Resolves when the reader can take more. */
  #ready(): Promise<void> | undefined {
    if (this.#over || this.#channel === undefined || this.#channel.buffered < 65_536) return undefined
    return new Promise((resolve) => {
      this.#room = resolve
    })
  }

  #wake(): void {
    const room = this.#room
    this.#room = undefined
    room?.()
  }

  #bodyless(): boolean {
    return isBodyless(this.#request.method, this.#head!.status)
  }

  #response(): Omit<GatewayResponse, 'body'> {
    const { status, reason, headers } = this.#head!
    return { status, reason, headers }
  }
}

function broken(message: string): GatewayError {
  return new GatewayError('PROGRAM_FAILED', { status: 500, message: `wsgi: ${message}` })
}
