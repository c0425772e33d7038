// The command line of an indexed query (RFC 3875, 4.4): `?red+car` is `argv[1] = "red"`, `argv[2] = "car"`. Pure.
//
// Off unless enabled, and never for an interpreter: a query without `=` became options of php-cgi (CVE-2012-1823), and
// twelve years later again through a dash that is not ASCII (CVE-2024-4577).

import { percentDecode } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'

// Every dash of Unicode, the soft hyphen and the minus sign: some layer may take each of them for `-`.
const DASH = /^\s*[\p{Pd}\u00ad\u02d7\u2043\u2212\u06d4\u2cba]/u
const UTF8 = new TextDecoder('utf-8', { fatal: true })

/** The words of the query. In any doubt there are none, rather than some. */
export function queryArguments(method: ByteString, queryString: ByteString): ByteString[] {
  if (method !== 'GET' && method !== 'HEAD') return []
  if (queryString === '' || queryString.includes('=')) return []
  const words = queryString.split('+').map((word) => percentDecode(word))
  return words.every(isWord) ? words : []
}

function isWord(word: ByteString | undefined): word is ByteString {
  if (word === undefined || word === '' || hasControl(word)) return false
  try {
    return !DASH.test(UTF8.decode(Buffer.from(word, 'latin1')))
  } catch {
    // Bytes that are no text: in some other encoding they may be a dash.
    return false
  }
}

/** Whether there is a control character: none belongs in a path or an argument (caddy#4614, CVE-2019-11043). */
export function hasControl(text: ByteString): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}
