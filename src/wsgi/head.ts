// The head of a worker's answer: `200 OK`, then names and values, separated by NUL. Applications repeat their heads, so most are
// looked up and not read.

import { GatewayError, hasHeader, isFieldValue, isToken, sameName, withoutHeaders } from '../core/index.ts'
import type { ByteString, HeaderList } from '../core/index.ts'

export interface AnswerHead {
  readonly status: number
  readonly reason: ByteString
  readonly headers: HeaderList
  /** Its own Content-Length. */
  readonly length: number | undefined
}

// Bounded, for it is applications, and whoever asks them, that make heads up.
const heads = new Map<ByteString, AnswerHead>()
const HEADS_LIMIT = 256
const HEADS_LENGTH = 1024

/** Throws UPSTREAM_HEAD, 502: the worker has looked at it already, but a worker runs what others wrote. */
export function parseAnswerHead(text: ByteString): AnswerHead {
  const known = heads.get(text)
  if (known !== undefined) return known
  const head = parse(text)
  // A cookie is different for each client: such a head would only push others out.
  if (text.length <= HEADS_LENGTH && !hasHeader(head.headers, 'set-cookie')) {
    if (heads.size >= HEADS_LIMIT) heads.clear()
    heads.set(text, head)
  }
  return head
}

function parse(text: ByteString): AnswerHead {
  const [line = '', ...headers] = text.split('\0')
  const match = /^([2-5]\d\d) (.*)$/s.exec(line)
  if (match === null || !isFieldValue(line)) throw refuse(`the status ${JSON.stringify(line.slice(0, 80))}`)
  if (headers.length % 2 !== 0) throw refuse('a name without a value')
  let length: number | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]!
    if (!isToken(name) || !isFieldValue(value)) throw refuse(`the field ${JSON.stringify(name.slice(0, 80))}`)
    if (!sameName(name, 'content-length')) continue
    if (length !== undefined || !/^\d{1,15}$/.test(value)) throw refuse('its Content-Length')
    length = Number(value)
  }
  const status = Number(match[1])
  // RFC 9110, 8.6: a 204 has none.
  const list = status === 204 ? withoutHeaders(headers, 'content-length') : headers
  return { status, reason: match[2]!, headers: list, length }
}

function refuse(what: string): GatewayError {
  return new GatewayError('UPSTREAM_HEAD', { status: 502, message: `wsgi: the head of an answer cannot be one: ${what}` })
}
