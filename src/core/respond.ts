// Small whole responses.

import { toByteString } from './headers.ts'
import type { GatewayResponse, HeaderList } from './types.ts'

/** A response with a text body in UTF-8. */
export function text(status: number, body: string, headers: HeaderList = []): GatewayResponse {
  return { status, headers: ['Content-Type', 'text/plain; charset=utf-8', ...headers], body }
}

/** A response with an HTML body in UTF-8. What goes into it is the caller's to escape: `escapeHtml`. */
export function html(status: number, body: string, headers: HeaderList = []): GatewayResponse {
  return { status, headers: ['Content-Type', 'text/html; charset=utf-8', ...headers], body }
}

/** No body at all. */
export function empty(status: number, headers: HeaderList = []): GatewayResponse {
  return { status, headers, body: null }
}

/** A redirect; `location` is already percent-encoded. */
export function redirect(status: 301 | 302 | 303 | 307 | 308, location: string): GatewayResponse {
  return { status, headers: ['Location', toByteString(location)], body: null }
}

/** Escapes text for HTML and XML, in elements and in quoted attributes. */
export function escapeHtml(value: string): string {
  return value.replace(/[&<>"']/g, (char) => `&#${char.charCodeAt(0)};`)
}

const SMALL = 2048
const ASCII = /^[\0-\x7f]*$/

/** A small body as text, if it is ASCII: a door then sends head and body as one string in one piece. */
export function asText(body: Uint8Array): string | undefined {
  if (body.length > SMALL) return undefined
  const ascii = (body instanceof Buffer ? body : Buffer.from(body.buffer, body.byteOffset, body.length)).toString('latin1')
  return ASCII.test(ascii) ? ascii : undefined
}
