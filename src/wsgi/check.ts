// What an application may pass to startResponse (PEP 3333, "The start_response() Callable"), checked where it is called.

import { GatewayError, isFieldValue, isToken, withoutHeaders } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'
import type { AnswerHead } from './head.ts'

/** About a connection, of which an application knows nothing. */
const HOP_BY_HOP = new Set([
  'connection',
  'keep-alive',
  'proxy-authenticate',
  'proxy-authorization',
  'proxy-connection',
  'te',
  'trailer',
  'trailers',
  'transfer-encoding',
  'upgrade',
])

/** Throws PROGRAM_FAILED, 500, that says what is wrong. The list is copied: what the application does to it later has no effect. */
export function checkHead(status: ByteString, headers: readonly (readonly [ByteString, ByteString])[]): AnswerHead {
  const match = typeof status === 'string' && isFieldValue(status) ? /^([2-5]\d\d) (.*)$/.exec(status) : null
  if (match === null) throw refuse(`the status must be three digits from 200 to 599, a space and a reason, not ${JSON.stringify(status)}`)
  const list: ByteString[] = []
  let length: number | undefined
  for (const [name, value] of headers) {
    if (typeof name !== 'string' || !isToken(name)) throw refuse(`${JSON.stringify(name)} is not the name of a header`)
    const lower = name.toLowerCase()
    if (HOP_BY_HOP.has(lower)) throw refuse(`the header ${name} is about a connection, which is the server's`)
    if (typeof value !== 'string' || !isFieldValue(value)) {
      throw refuse(`the value of ${name} holds a control character, or one that is no byte: ${JSON.stringify(value)}`)
    }
    if (lower === 'content-length') {
      if (length !== undefined || !/^\d{1,15}$/.test(value)) throw refuse(`Content-Length is there twice, or not a number: ${value}`)
      length = Number(value)
    }
    list.push(name, value)
  }
  const code = Number(match[1])
  // RFC 9110, 8.6: a 204 has no length.
  return { status: code, reason: match[2]!, headers: code === 204 ? withoutHeaders(list, 'content-length') : list, length }
}

function refuse(fact: string): GatewayError {
  return new GatewayError('PROGRAM_FAILED', { status: 500, message: `wsgi: startResponse: ${fact}` })
}
