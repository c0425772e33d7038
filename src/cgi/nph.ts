// The answer of a program whose name begins with `nph-` (RFC 3875, 5): a whole HTTP response, which is read strictly and said
// again in our own words. Its bytes are never spliced onto a connection that others use too.

import { GatewayError, parseHead } from '../core/index.ts'
import type { ByteString, CgiHead } from '../core/index.ts'

/** Whether this is the path of such a program. */
export function isNph(script: ByteString): boolean {
  return script.startsWith('nph-', script.lastIndexOf('/') + 1)
}

/** Reads a status line and header fields. Throws UPSTREAM_HEAD, 502. */
export function parseNphHead(block: ByteString): CgiHead {
  const line = /^HTTP\/1\.[01] (\d{3})(?: ([^\r\n\0]*))?\r?\n/.exec(block)
  if (line === null) throw refuse('it does not begin with a status line of HTTP/1')
  const rest = block.slice(line[0].length)
  // Which of its bytes are content would be known only after decoding, and it was told that we speak for it.
  if (/^transfer-encoding[ \t]*:/im.test(rest)) throw refuse('Transfer-Encoding is for the server to choose')
  // Here Status is a field like others have none; with it, the status line could be contradicted.
  if (/^status[ \t]*:/im.test(rest)) throw refuse('Status beside a status line')
  const { localRedirect: _, ...head } = parseHead(`Status: ${line[1]} ${line[2] ?? ''}\n${rest}`)
  return head
}

function refuse(what: string): GatewayError {
  return new GatewayError('UPSTREAM_HEAD', { status: 502, message: `cgi: answer of an nph- program: ${what}` })
}
