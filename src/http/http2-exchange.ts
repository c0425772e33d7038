// One HTTP/2 stream: a request and its answer (RFC 9113, 8).

import { constants } from 'node:http2'
import type { OutgoingHttpHeaders, ServerHttp2Stream } from 'node:http2'
import { GatewayError, emptyBody, isHost, logFailure, parseTarget, sameName } from '../core/index.ts'
import type { HeaderList, Log } from '../core/index.ts'
import { BridgedRequest } from './bridged.ts'
import { contract } from './head.ts'
import type { Http2Session } from './http2.ts'
import { refusal, tooLarge } from './incoming.ts'
import { ReadableBody } from './readable-body.ts'
import { Relay } from './relay.ts'
import type { RelayHost, Wire } from './relay.ts'

interface Pseudo {
  method: string
  path: string
  scheme: string
  authority: string
}

export class Http2Exchange implements Wire, RelayHost {
  readonly #session: Http2Session
  readonly #stream: ServerHttp2Stream
  readonly #log: Log
  readonly #relay: Relay
  readonly #pseudo: Pseudo = { method: '', path: '', scheme: 'https', authority: '' }
  readonly #list: string[] = []
  #whole = false
  #expectsContinue = false
  #timed = false

  constructor(session: Http2Session, stream: ServerHttp2Stream, raw: readonly string[], log: Log) {
    this.#session = session
    this.#stream = stream
    this.#log = log
    this.#read(raw)
    this.#relay = new Relay(this.#pseudo.method, this, this)
  }

  run(): void {
    const stream = this.#stream
    const relay = this.#relay
    stream.on('drain', () => {
      stream.setTimeout(0)
      relay.drained()
    })
    // Of a stream that the client took back, `close` may come late.
    stream.on('aborted', () => this.#over(false))
    // Node may close a stream that ended well before it says `finish`; a code that is not 0 then means that it did not.
    stream.on('close', () => this.#over(stream.writableFinished || stream.rstCode === constants.NGHTTP2_NO_ERROR))
    const request = this.#request()
    if (request instanceof GatewayError) relay.refuse(request)
    // RFC 9110, 9.3.7: about the server as a whole, and no resource; a ping.
    else if (request.pathInfo === '*') relay.run(() => ({ status: 204, headers: [], body: null }), request)
    else relay.run(this.#session.door.application, request)
  }

  head(status: number, _: string, list: HeaderList, whole: string | Uint8Array | undefined, trailed: boolean): void {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return
    const fields: OutgoingHttpHeaders = { ':status': status }
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i]!.toLowerCase()
      // Nothing is upgraded here (RFC 9113, 8.2.2), also not by a 426.
      if (name === 'upgrade') continue
      const before = fields[name]
      if (before === undefined) fields[name] = list[i + 1]!
      else fields[name] = [...(Array.isArray(before) ? before : [String(before)]), list[i + 1]!]
    }
    this.#whole = whole !== undefined
    stream.respond(fields, { endStream: whole !== undefined && whole.length === 0, waitForTrailers: trailed })
    if (whole !== undefined && whole.length > 0) {
      stream.end(whole)
      this.#expectRoom()
    }
  }

  /** The head has left. */
  flush(): void {}

  write(chunks: readonly Uint8Array[]): boolean {
    const stream = this.#stream
    if (stream.destroyed || stream.closed) return true
    stream.cork()
    let room = true
    for (const chunk of chunks) room = stream.write(chunk)
    stream.uncork()
    if (!room) this.#expectRoom()
    return room
  }

  /** Cuts a client that takes nothing for so long. One listener for the whole answer, which may have to wait thousands of times. */
  #expectRoom(): void {
    const stream = this.#stream
    const { writeTimeout } = this.#session.door.limits
    if (writeTimeout === 0 || stream.destroyed) return
    if (!this.#timed) stream.on('timeout', () => stream.destroy(new Error('http: the client took nothing of its answer')))
    this.#timed = true
    stream.setTimeout(writeTimeout)
  }

  end(trailers: HeaderList): void {
    const stream = this.#stream
    if (!this.#whole) {
      if (trailers.length > 0 || stream.listenerCount('wantTrailers') === 0) {
        stream.once('wantTrailers', () => {
          const fields: OutgoingHttpHeaders = {}
          for (let i = 0; i < trailers.length; i += 2) fields[trailers[i]!.toLowerCase()] = trailers[i + 1]!
          if (!stream.destroyed) stream.sendTrailers(fields)
        })
      }
      stream.end()
      this.#expectRoom()
    }
    if (!stream.readableEnded) this.#drain()
  }

  abort(): void {
    this.#stream.destroy(new Error('http: the answer broke off'))
  }

  report(error: unknown, status: number): void {
    const { method, path: target } = this.#pseudo
    logFailure(this.#log, 'http', { method, target, remote: this.#session.remote.address }, error, status)
  }

  track(work: Promise<unknown>): void {
    this.#session.door.track(work)
  }

  #over(whole: boolean): void {
    const relay = this.#relay
    if (relay.outcome !== undefined) return
    this.#session.over(relay.closed(whole) !== 'cut')
  }

  #read(raw: readonly string[]): void {
    const pseudo = this.#pseudo
    for (let i = 0; i < raw.length; i += 2) {
      const name = raw[i]!
      const value = raw[i + 1]!
      if (name.charCodeAt(0) !== 0x3a) this.#list.push(name, value)
      else if (name === ':method') pseudo.method = value
      else if (name === ':path') pseudo.path = value
      else if (name === ':authority') pseudo.authority = value
    }
  }

  #request(): BridgedRequest | GatewayError {
    const { limits } = this.#session.door
    const { method, path: target } = this.#pseudo
    if (method === 'CONNECT') return refusal(501, 'CONNECT, which is not spoken here')
    if (this.#list.length > limits.headers * 2)
      return refusal(431, `${this.#list.length / 2} header fields, the limit is ${limits.headers}`)
    let bytes = target.length
    for (const text of this.#list) bytes += text.length
    if (bytes > limits.headerBytes) return refusal(431, `a head of ${bytes} bytes, the limit is ${limits.headerBytes}`)
    if (target.length > limits.targetBytes) return refusal(414, `a target of ${target.length} bytes, the limit is ${limits.targetBytes}`)
    const list = this.#withHost()
    if (list instanceof GatewayError) return list
    const path = parseTarget(target)
    if (typeof path === 'string') return refusal(400, `the target: ${path}`)
    if (path.path === '*' && method !== 'OPTIONS') return refusal(400, 'the target "*" is for OPTIONS only')
    const contentLength = this.#length()
    if (contentLength instanceof GatewayError) return contentLength
    if (limits.body > 0 && contentLength !== undefined && contentLength > limits.body) return tooLarge(contentLength, limits.body)
    const body =
      contentLength === 0
        ? emptyBody
        : new ReadableBody(this.#stream, {
            limit: limits.body,
            timeout: limits.bodyTimeout,
            length: contentLength,
            onStart: () => this.#sendContinue(),
          })
    return new BridgedRequest({
      method,
      target,
      path,
      protocol: 'HTTP/2.0',
      scheme: 'https',
      list,
      body,
      contentLength,
      remote: this.#session.remote,
      local: this.#session.local,
      errors: { write: (text) => this.#log.warn({ method, target }, text.trimEnd()) },
      scope: this.#relay.scope,
      inform: (status, headers) => this.#inform(status, headers),
    })
  }

  /** With `:authority` as Host, in place of one that may stand beside it (RFC 9113, 8.3.1). */
  #withHost(): HeaderList | GatewayError {
    const { authority } = this.#pseudo
    const hosts: string[] = []
    const rest: string[] = []
    for (let i = 0; i < this.#list.length; i += 2) {
      const name = this.#list[i]!
      const value = this.#list[i + 1]!
      if (sameName(name, 'host')) hosts.push(value)
      else rest.push(name, value)
      if (sameName(name, 'expect') && value.toLowerCase() === '100-continue') this.#expectsContinue = true
    }
    const host = authority === '' ? hosts[0] : authority
    if (host === undefined || hosts.length > 1) return refusal(400, `${hosts.length} Host fields and no :authority, there must be one`)
    if (!isHost(host)) return refusal(400, 'the :authority is not a host')
    return ['host', host, ...rest]
  }

  #length(): number | undefined | GatewayError {
    const stated: string[] = []
    for (let i = 0; i < this.#list.length; i += 2) if (sameName(this.#list[i]!, 'content-length')) stated.push(this.#list[i + 1]!)
    if (stated.length === 0) return this.#stream.endAfterHeaders ? 0 : undefined
    const length = Number(stated[0])
    if (stated.length > 1 || !/^\d+$/.test(stated[0]!) || !Number.isSafeInteger(length))
      return refusal(400, 'the Content-Length is not a length')
    return length
  }

  #inform(status: number, headers: HeaderList): void {
    if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) throw contract(`an interim status of ${status}`)
    const stream = this.#stream
    if (stream.headersSent || stream.destroyed || stream.closed) return
    const fields: OutgoingHttpHeaders = { ':status': status }
    for (let i = 0; i < headers.length; i += 2) fields[headers[i]!.toLowerCase()] = headers[i + 1]!
    stream.additionalHeaders(fields)
  }

  #sendContinue(): void {
    if (!this.#expectsContinue) return
    this.#expectsContinue = false
    this.#inform(100, [])
  }

  /** Takes a bounded amount of a body that nobody reads, then tells the client to stop (RFC 9113, 8.1). */
  #drain(): void {
    const stream = this.#stream
    const { drainBytes, drainTimeout } = this.#session.door.limits
    let drained = 0
    const stop = (): void => {
      if (!stream.destroyed) stream.close(constants.NGHTTP2_NO_ERROR)
    }
    const timer = setTimeout(stop, drainTimeout).unref()
    stream.on('data', (chunk: Uint8Array) => {
      drained += chunk.length
      if (drained > drainBytes) stop()
    })
    stream.on('close', () => clearTimeout(timer))
  }
}
