// One record for each request, when the matter is over for its client.

import type { ByteString, GatewayRequest, Middleware, Outcome, OutcomeKind } from '../core/index.ts'

/** What is known of a request at its end. Every text is printable ASCII, other bytes as `\xHH`: what a client sent can neither end a line nor speak to a terminal. */
export interface AccessRecord {
  /** Address of the client; empty for one on a unix socket. */
  readonly remote: string
  /** As received. */
  readonly method: string
  /** As received, with the query. */
  readonly target: string
  /** `HTTP/1.1` and the like. */
  readonly protocol: string
  /** 0 when none was sent. */
  readonly status: number
  /** Of body, handed to the connection. */
  readonly bytes: number
  /** Milliseconds from the head of the request to the last byte of the response. */
  readonly duration: number
  /** User-Agent; undefined without one. */
  readonly userAgent: string | undefined
  /** Referer; undefined without one. */
  readonly referer: string | undefined
  /** Where it is not `sent`: the client left, or the application failed. */
  readonly outcome: Exclude<OutcomeKind, 'sent'> | undefined
}

/** Gives `write` a record of each request: for `(record) => log.info(record, 'request')`, or a line made by `combined`. */
export const accessLog =
  (write: (record: AccessRecord) => void): Middleware =>
  (next) =>
  (request) => {
    const start = performance.now()
    request.onFinish((outcome) => write(record(request, outcome, start)))
    return next(request)
  }

function record(request: GatewayRequest, outcome: Outcome, start: number): AccessRecord {
  const userAgent = request.headers.get('user-agent')
  const referer = request.headers.get('referer')
  return {
    remote: request.remote.address,
    method: printable(request.method),
    target: printable(request.target),
    protocol: printable(request.protocol),
    status: outcome.status,
    bytes: outcome.bytes,
    // Microseconds: enough to tell a cached file from one that was read, and short in JSON.
    duration: Math.round((performance.now() - start) * 1000) / 1000,
    userAgent: userAgent === undefined ? undefined : printable(userAgent),
    referer: referer === undefined ? undefined : printable(referer),
    outcome: outcome.kind === 'sent' ? undefined : outcome.kind,
  }
}

/** Control characters, bytes above ASCII and the backslash itself as `\xHH` (CVE-2024-9026 forged lines with less). */
function printable(text: ByteString): string {
  return /[^\x20-\x5b\x5d-\x7e]/.test(text) ? text.replace(/[^\x20-\x5b\x5d-\x7e]/g, hex) : text
}

function hex(char: string): string {
  return `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}`
}

const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec']

/** Apache's Combined Log Format, without the line's end. `time` in milliseconds since 1970, told in UTC. */
export function combined(entry: AccessRecord, time: number = Date.now()): string {
  const at = new Date(time).toISOString()
  const date = `${at.slice(8, 10)}/${MONTHS[Number(at.slice(5, 7)) - 1]}/${at.slice(0, 4)}:${at.slice(11, 19)} +0000`
  const line = quoted(`${entry.method} ${entry.target} ${entry.protocol}`)
  return `${entry.remote || '-'} - - [${date}] ${line} ${entry.status} ${entry.bytes || '-'} ${quoted(entry.referer ?? '-')} ${quoted(entry.userAgent ?? '-')}`
}

function quoted(text: string): string {
  return `"${text.replaceAll('"', '\\x22')}"`
}
