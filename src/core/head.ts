// The header block that a CGI program or a FastCGI responder begins its answer with (RFC 3875, 6; FastCGI 1.0, 6.2).
//
// Strict where leniency split responses elsewhere (CVE-2024-24795, CVE-2023-38709): no bare CR, no NUL, no control
// characters, names are tokens, and what frames the message on our own connection is never taken from a program.

import { GatewayError } from './errors.ts'
import { isFieldValue, isToken, sameName } from './headers.ts'
import { asText } from './respond.ts'
import type { ByteString, GatewayResponse, HeaderList } from './types.ts'

/** A header block larger than this is refused with 502 (CVE-2014-3583). */
export const HEAD_LIMIT = 65_536

/** The header block of an answer, read. */
export interface CgiHead {
  /** From Status; without one 302 where there is a Location, else 200. */
  readonly status: number
  /** What follows the number in Status. */
  readonly reason?: ByteString
  /** The fields but Status, Content-Length among them, without those that are about a connection (RFC 9110, 7.6.1). */
  readonly headers: HeaderList
  /** The program's own Content-Length: what its body must have, byte for byte. */
  readonly contentLength: number | undefined
  /** The path of a local redirect (RFC 3875, 6.2.2): `Location: /path` and no other field. */
  readonly localRedirect?: ByteString
}

/**
 * Where the block ends in `bytes`, looking from `from`: the index after the blank line; -1 while it is not there.
 * Lines end in LF or CRLF. A block may be empty (only a blank line): `parseHead` refuses it.
 */
export function headEnd(bytes: Uint8Array, from: number = 0): number {
  // The blank line may have begun before `from`, where the last piece was cut: look again from three bytes back.
  let at = Math.max(0, from - 3)
  if (at === 0 && bytes[0] === 0x0a) return 1
  if (at === 0 && bytes[0] === 0x0d && bytes[1] === 0x0a) return 2
  for (at = bytes.indexOf(0x0a, at); at !== -1; at = bytes.indexOf(0x0a, at + 1)) {
    if (bytes[at + 1] === 0x0a) return at + 2
    if (bytes[at + 1] === 0x0d && bytes[at + 2] === 0x0a) return at + 3
  }
  return -1
}

// Programs repeat their heads: the same text means the same list. Bounded, for it comes from outside.
const heads = new Map<ByteString, CgiHead>()
const HEADS_LIMIT = 256
const HEADS_LENGTH = 1024

/** Reads a header block (with or without its blank line). Throws UPSTREAM_HEAD, 502, with the line that is wrong. */
export function parseHead(block: ByteString): CgiHead {
  const known = heads.get(block)
  if (known !== undefined) return known
  const head = parse(block)
  if (block.length <= HEADS_LENGTH && !hasCookie(head.headers)) {
    if (heads.size >= HEADS_LIMIT) heads.clear()
    heads.set(block, head)
  }
  return head
}

// A cookie is different for each client: such a head would only push others out.
function hasCookie(headers: HeaderList): boolean {
  for (let i = 0; i < headers.length; i += 2) if (sameName(headers[i]!, 'set-cookie')) return true
  return false
}

function refuse(message: string): GatewayError {
  return new GatewayError('UPSTREAM_HEAD', { status: 502, message: `core: response head: ${message}` })
}

function parse(block: ByteString): CgiHead {
  const text = block.replace(/(?:\r?\n){1,2}$/, '')
  const fields = text === '' ? [] : unfold(text.split(/\r?\n/))
  const headers: ByteString[] = []
  let status: { code: number; reason: ByteString } | undefined
  let location: ByteString | undefined
  let type: ByteString | undefined
  let contentLength: number | undefined
  for (const line of fields) {
    const colon = line.indexOf(':')
    const name = colon === -1 ? line : line.slice(0, colon)
    if (colon === -1 || !isToken(name)) throw refuse(`not a header field: ${quote(line)}`)
    const value = trim(line.slice(colon + 1))
    if (!isFieldValue(value)) throw refuse(`a control character in the value of ${name}`)
    switch (name.toLowerCase()) {
      case 'status':
        if (status !== undefined) throw refuse('Status appears twice')
        status = parseStatus(value)
        break
      case 'location':
        if (location !== undefined) throw refuse('Location appears twice')
        location = value
        headers.push(name, value)
        break
      case 'content-type':
        if (type !== undefined && type !== value) throw refuse('Content-Type appears twice')
        if (type === undefined && value !== '') headers.push(name, value)
        type = value
        break
      case 'content-length': {
        const length = parseLength(value)
        if (contentLength !== undefined && contentLength !== length) throw refuse('Content-Length appears twice, with different values')
        if (contentLength === undefined) headers.push(name, String(length))
        contentLength = length
        break
      }
      // These are about the connection between the client and us, of which the program knows nothing (RFC 9110, 7.6.1).
      case 'connection':
      case 'keep-alive':
      case 'proxy-connection':
      case 'transfer-encoding':
      case 'te':
      case 'trailer':
      case 'upgrade':
        break
      default:
        headers.push(name, value)
    }
  }
  if (status === undefined && location === undefined && type === undefined && headers.length === 0) {
    throw refuse('empty: a program answers with at least one of Content-Type, Location and Status (RFC 3875, 6.2)')
  }
  const code = status?.code ?? (location === undefined ? 200 : 302)
  return {
    status: code,
    ...(status !== undefined && status.reason !== '' && { reason: status.reason }),
    headers,
    contentLength,
    ...(location !== undefined &&
      isLocal(location) &&
      status === undefined &&
      type === undefined &&
      headers.length === 2 && { localRedirect: location }),
  }
}

/** A path of this server. `//host/path` names another one (RFC 3986, 4.2). */
function isLocal(location: ByteString): boolean {
  return location.startsWith('/') && !location.startsWith('//')
}

/** Joins continuation lines (obs-fold, RFC 9112, 5.2) to the line before with one space. */
function unfold(lines: string[]): string[] {
  if (!lines.some((line) => line.startsWith(' ') || line.startsWith('\t'))) return lines
  const out: string[] = []
  for (const line of lines) {
    if ((line.startsWith(' ') || line.startsWith('\t')) && out.length > 0) out[out.length - 1] += ' ' + trim(line)
    else out.push(line)
  }
  return out
}

/** Without spaces and tabs at the ends. String's own `trim` takes 0xA0 too, which is a part of many letters in UTF-8. */
function trim(value: ByteString): ByteString {
  let start = 0
  let end = value.length
  while (start < end && isBlank(value.charCodeAt(start))) start++
  while (end > start && isBlank(value.charCodeAt(end - 1))) end--
  return value.slice(start, end)
}

function isBlank(code: number): boolean {
  return code === 0x20 || code === 0x09
}

function parseStatus(value: ByteString): { code: number; reason: ByteString } {
  const match = /^(\d{3})(?: +(.*))?$/.exec(value)
  const code = match === null ? 0 : Number(match[1])
  // 1xx is not an answer, and RFC 9110, 15 knows nothing above 599.
  if (match === null || code < 200 || code > 599) throw refuse(`Status is not a final status: ${quote(value)}`)
  return { code, reason: match[2] ?? '' }
}

function parseLength(value: ByteString): number {
  if (!/^\d{1,15}$/.test(value)) throw refuse(`Content-Length is not a number: ${quote(value)}`)
  return Number(value)
}

/** Text from outside, cut and escaped for a log line. */
function quote(value: string): string {
  return JSON.stringify(value.length > 80 ? value.slice(0, 80) + '…' : value)
}

/** The response that a head and a body make, for whoever does not treat local redirects: those become plain ones. A small body may become text. */
export function toResponse(head: CgiHead, body: GatewayResponse['body']): GatewayResponse {
  return {
    status: head.status,
    ...(head.reason !== undefined && { reason: head.reason }),
    headers: head.headers,
    body: body instanceof Uint8Array ? (asText(body) ?? body) : body,
  }
}
