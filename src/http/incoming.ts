// A request's head as node:http parsed it, and whether the door takes it (RFC 9112, 3.2, 6.1 and 6.3; RFC 9110, 7.2).
// llhttp has already refused what it is strict about; here is what it leaves to the server.

import { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { GatewayError, isHost, parseTarget, sameName } from '../core/index.ts'
import type { HeaderList, Target } from '../core/index.ts'
import type { RequestBody } from './body.ts'
import type { HttpLimits } from './limits.ts'

/** The few fields that decide how a message is read, found in one pass. */
export class Facts {
  host: string | undefined = undefined
  hosts = 0
  contentLength: string | undefined = undefined
  lengths = 0
  transferEncoding: string | undefined = undefined
  expect: string | undefined = undefined
  upgrade = false

  constructor(list: HeaderList) {
    for (let i = 0; i < list.length; i += 2) {
      const name = list[i]!
      // By length first: that alone tells most names apart.
      switch (name.length) {
        case 4:
          if (sameName(name, 'host') && this.hosts++ === 0) this.host = list[i + 1]!
          break
        case 6:
          if (sameName(name, 'expect')) this.expect = this.expect === undefined ? list[i + 1]! : `${this.expect}, ${list[i + 1]!}`
          break
        case 7:
          if (sameName(name, 'upgrade')) this.upgrade = true
          break
        case 14:
          if (sameName(name, 'content-length') && this.lengths++ === 0) this.contentLength = list[i + 1]!
          break
        case 17:
          if (sameName(name, 'transfer-encoding')) {
            this.transferEncoding = this.transferEncoding === undefined ? list[i + 1]! : `${this.transferEncoding}, ${list[i + 1]!}`
          }
          break
      }
    }
  }
}

/** What node:http makes for each request. */
export class Incoming extends IncomingMessage {
  facts: Facts | undefined = undefined
  /** Set while somebody reads the body: the listeners find it by this, so that they need not be made per request. */
  reader: RequestBody | undefined = undefined
  /** The door took its head, and no body follows. */
  bodyless = false

  /** Of a body that is not there nobody waits for the end: telling it is seven ticks and two passes of a stream's machinery for each request. */
  override push(chunk: unknown, encoding?: BufferEncoding): boolean {
    return !this.bodyless && super.push(chunk, encoding)
  }

  /** Node's server takes an unread body off the wire by this. */
  _dump(): void {
    if (!this.bodyless) dump.call(this)
  }
}

const dump = (IncomingMessage.prototype as unknown as { _dump: () => void })._dump
const readableEnded = Object.getOwnPropertyDescriptor(Readable.prototype, 'readableEnded')!

// What node's server asks when the answer is out: whether it may forget the request, or must wait for its end first.
Object.defineProperty(Incoming.prototype, 'readableEnded', {
  get(this: Incoming): boolean {
    return this.bodyless || (readableEnded.get!.call(this) as boolean)
  },
})

// Of `headers`, node's server itself reads only `expect` (and `te` of HTTP/1.0, for an answer that we never give). Building the
// whole object for that, on every request, is the dearest thing it does in JavaScript; the door works on rawHeaders.
Object.defineProperty(Incoming.prototype, 'headers', {
  get(this: Incoming): Facts {
    return (this.facts ??= new Facts(this.rawHeaders))
  },
})

/** A head that the door takes. `list` is the header list for the application. */
export interface Accepted {
  readonly target: Target
  readonly list: HeaderList
  readonly contentLength: number | undefined
}

/** Reads a request's head. The error is what the client is told. */
export function examine(incoming: Incoming, limits: HttpLimits): Accepted | GatewayError {
  const facts = (incoming.facts ??= new Facts(incoming.rawHeaders))
  const list = incoming.rawHeaders
  const url = incoming.url ?? ''
  if (incoming.httpVersionMajor !== 1) return refusal(505, `HTTP/${incoming.httpVersion} is not spoken here`)
  if (list.length > limits.headers * 2) return refusal(431, `${list.length / 2} header fields, the limit is ${limits.headers}`)
  if (url.length > limits.targetBytes) return refusal(414, `a target of ${url.length} bytes, the limit is ${limits.targetBytes}`)
  const contentLength = bodyLength(facts, incoming.httpVersionMinor)
  if (contentLength instanceof GatewayError) return contentLength
  if (limits.body > 0 && contentLength !== undefined && contentLength > limits.body) return tooLarge(contentLength, limits.body)
  const oldest = incoming.httpVersionMinor === 0
  if (facts.hosts > 1 || (facts.hosts === 0 && !oldest)) return refusal(400, `${facts.hosts} Host fields, there must be one`)
  if (facts.host !== undefined && !isHost(facts.host)) return refusal(400, 'the Host field is not a host')
  const target = parseTarget(url)
  if (typeof target === 'string') return refusal(400, `the target: ${target}`)
  if (target.path === '*' && incoming.method !== 'OPTIONS') return refusal(400, 'the target "*" is for OPTIONS only')
  if (url.charCodeAt(0) === 0x2f || url === '*') return { target, list, contentLength }
  const replaced = withAuthority(list, url)
  return replaced === undefined ? refusal(400, 'the authority of the target is not a host') : { target, list: replaced, contentLength }
}

function bodyLength(facts: Facts, minor: number): number | undefined | GatewayError {
  const { contentLength, transferEncoding } = facts
  if (transferEncoding !== undefined) {
    // Two readings of where a message ends are how requests are smuggled (RFC 9112, 6.1 and 11.2).
    if (contentLength !== undefined) return refusal(400, 'Content-Length and Transfer-Encoding in one message')
    if (minor === 0) return refusal(400, 'Transfer-Encoding in an HTTP/1.0 message')
    return transferEncoding.toLowerCase() === 'chunked' ? undefined : refusal(501, 'a transfer coding other than chunked')
  }
  if (contentLength === undefined) return 0
  const length = Number(contentLength)
  if (facts.lengths > 1 || !/^\d+$/.test(contentLength) || !Number.isSafeInteger(length))
    return refusal(400, 'the Content-Length is not a length')
  return length
}

/** An absolute-form target says the host; the Host field beside it must be ignored (RFC 9112, 3.2.2). */
function withAuthority(list: HeaderList, url: string): HeaderList | undefined {
  const authority = /^https?:\/\/([^/?#]*)/i.exec(url)?.[1] ?? ''
  if (authority === '' || !isHost(authority)) return undefined
  const replaced = ['Host', authority]
  for (let i = 0; i < list.length; i += 2) if (!sameName(list[i]!, 'host')) replaced.push(list[i]!, list[i + 1]!)
  return replaced
}

export function refusal(status: number, why: string): GatewayError {
  return new GatewayError('BAD_REQUEST', { status, message: `http: refused a request: ${why}` })
}

export function tooLarge(length: number, limit: number): GatewayError {
  return new GatewayError('BODY_TOO_LARGE', {
    status: 413,
    message: `http: a request body of ${length} bytes or more is over limits.body = ${limit}`,
  })
}
