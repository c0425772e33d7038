// A request as php-cgi gets it: its variables and its body.

import { enumerate } from '../core/index.ts'
import type { ByteString, ByteStream, GatewayRequest, Spooled } from '../core/index.ts'

/** What the site says is to be run. */
export function scriptFilename(request: GatewayRequest): ByteString | undefined {
  const { own } = request.variables
  for (let i = 0; i < own.length; i += 2) if (own[i] === 'SCRIPT_FILENAME') return own[i + 1]
  return undefined
}

/** All that the script finds in $_SERVER; `body` says how long what was spooled is. */
export function variables(request: GatewayRequest, body: Spooled | undefined, emit: (name: ByteString, value: ByteString) => void): void {
  enumerate(request, emit, body === undefined ? {} : { contentLength: body.length })
  // Some applications look whether a server stands in front of PHP by this (it once kept php-cgi from being run by its URL).
  emit('REDIRECT_STATUS', '200')
}

/** The body as a connection sends it. */
export function wire(body: Spooled | undefined): readonly Uint8Array[] | ByteStream | null {
  return body === undefined ? null : (body.chunks ?? body.stream())
}
