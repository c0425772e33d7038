// A GatewayRequest as node's IncomingMessage.

import { IncomingMessage } from 'node:http'
import { hasHeader, withHeader, withoutHeaders } from '../core/index.ts'
import type { GatewayRequest, HeaderList } from '../core/index.ts'
import type { NodeSocket } from './node-socket.ts'

/** express builds links of the first two; node's types do not know the third. */
export type Incoming = IncomingMessage & { originalUrl?: string; baseUrl?: string; upgrade?: boolean | null }

/** All of it but the body, which is `_read`'s. @param full `url` is the request's target as received. */
export function incomingOf(request: GatewayRequest, socket: NodeSocket, full: boolean): Incoming {
  // The types want a socket with a descriptor; nothing in IncomingMessage does.
  const req: Incoming = new IncomingMessage(socket as never)
  const list = framed(request)
  req.method = request.method
  req.rawHeaders = list
  // Node's own getter counts the fields that its parser gave it, and finds none.
  req.headers = headersOf(list)
  Object.defineProperty(req, 'headersDistinct', DISTINCT)
  const query = request.queryString === '' ? '' : `?${request.queryString}`
  req.url = full ? request.target : (request.rawPathInfo || '/') + query
  if (!full) {
    req.originalUrl = request.target
    if (request.scriptName !== '') req.baseUrl = request.scriptName
  }
  return req
}

/** Says what the client speaks; from here only, for node's answer depends on it. */
export function setVersion(req: IncomingMessage, protocol: string): void {
  const [, major = '1', minor = '1'] = /(\d)(?:\.(\d))?$/.exec(protocol) ?? []
  req.httpVersion = `${major}.${minor}`
  req.httpVersionMajor = Number(major)
  req.httpVersionMinor = Number(minor)
}

/** The header list, with the body's length or coding as it is now: applications look there whether a request has a body. */
function framed(request: GatewayRequest): string[] {
  const { contentLength, headers } = request
  const { list } = headers
  const chunked = hasHeader(list, 'transfer-encoding')
  if (contentLength === undefined) return chunked ? [...list] : [...withoutHeaders(list, 'content-length'), 'Transfer-Encoding', 'chunked']
  const bare: HeaderList = chunked ? withoutHeaders(list, 'transfer-encoding') : list
  return [...(contentLength > 0 && !hasHeader(bare, 'content-length') ? withHeader(bare, 'Content-Length', String(contentLength)) : bare)]
}

// As documented of `message.headers`: of these the first one counts, whatever follows.
const SINGLE = new Set([
  'age',
  'authorization',
  'content-length',
  'content-type',
  'etag',
  'expires',
  'from',
  'host',
  'if-modified-since',
  'if-unmodified-since',
  'last-modified',
  'location',
  'max-forwards',
  'proxy-authorization',
  'referer',
  'retry-after',
  'server',
  'user-agent',
])

function headersOf(list: readonly string[]): IncomingMessage['headers'] {
  const headers: IncomingMessage['headers'] = {}
  for (let i = 0; i < list.length; i += 2) {
    const name = list[i]!.toLowerCase()
    const value = list[i + 1]!
    const before = headers[name]
    if (name === 'set-cookie') headers[name] = [...(headers[name] ?? []), value]
    else if (before === undefined) headers[name] = value
    else if (!SINGLE.has(name)) headers[name] = `${String(before)}${name === 'cookie' ? '; ' : ', '}${value}`
  }
  return headers
}

const DISTINCT: PropertyDescriptor = {
  configurable: true,
  get(this: IncomingMessage): NodeJS.Dict<string[]> {
    const distinct: NodeJS.Dict<string[]> = {}
    for (let i = 0; i < this.rawHeaders.length; i += 2) (distinct[this.rawHeaders[i]!.toLowerCase()] ??= []).push(this.rawHeaders[i + 1]!)
    return distinct
  },
}
