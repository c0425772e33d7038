// The header block of an answer as a CGI program or a FastCGI responder writes it (RFC 3875, 6.3): the other direction of head.ts.

import { STATUS_CODES } from 'node:http'
import { GatewayError } from './errors.ts'
import { isFieldValue, isToken, sameName } from './headers.ts'
import type { ByteString, GatewayResponse } from './types.ts'

/** A header block, ready to be written. */
export interface EncodedHead {
  /** With its blank line. */
  readonly text: ByteString
  /** What Content-Length says; undefined when it says nothing. */
  readonly length: number | undefined
}

/**
 * The block for this answer: Status first, then its fields without those that are about a connection. `length`, where it is known, is
 * what the body has: it becomes Content-Length, or must be equal to the one there is.
 * Throws CONTRACT, 500, for a field that would not be one, and for a Content-Length that is not the body's.
 */
export function encodeHead(response: GatewayResponse, length?: number): EncodedHead {
  const { status, headers, reason = '' } = response
  if (!Number.isInteger(status) || status < 200 || status > 999) throw contract(`a status of ${status}`)
  let text = `Status: ${status} ${(isFieldValue(reason) ? reason : '') || (STATUS_CODES[status] ?? 'Unknown')}\r\n`
  let declared: number | undefined
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    const value = headers[i + 1]
    if (!isToken(name) || value === undefined || !isFieldValue(value)) throw contract(`${JSON.stringify(name)} is not a header field`)
    if (isAboutConnection(name)) continue
    if (sameName(name, 'content-length')) {
      if (declared !== undefined) throw contract('Content-Length is there twice')
      declared = Number(value)
      if (!/^\d+$/.test(value) || !Number.isSafeInteger(declared)) throw contract(`Content-Length is ${JSON.stringify(value)}`)
      // RFC 9110, 8.6.
      if (status === 204) continue
    }
    text += `${name}: ${value}\r\n`
  }
  if (length !== undefined && declared !== undefined && declared !== length) {
    throw contract(`Content-Length is ${declared}, the body has ${length} bytes`)
  }
  if (length !== undefined && declared === undefined && status !== 204 && status !== 304) text += `Content-Length: ${length}\r\n`
  return { text: text + '\r\n', length: declared ?? length }
}

/** By length first, for this runs on every field of every answer. Status would replace the real one (RFC 3875, 6.3.3). */
function isAboutConnection(name: ByteString): boolean {
  switch (name.length) {
    case 2:
      return sameName(name, 'te')
    case 6:
      return sameName(name, 'status')
    case 7:
      return sameName(name, 'trailer') || sameName(name, 'upgrade')
    case 10:
      return sameName(name, 'connection') || sameName(name, 'keep-alive')
    case 16:
      return sameName(name, 'proxy-connection')
    case 17:
      return sameName(name, 'transfer-encoding')
    default:
      return false
  }
}

function contract(fact: string): GatewayError {
  return new GatewayError('CONTRACT', { status: 500, message: `core: the application's answer cannot be sent: ${fact}` })
}
