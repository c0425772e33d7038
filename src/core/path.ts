// The path of a request, read once: percent-decoded, dot segments resolved, refused where layers could read it differently.

import type { ByteString } from './types.ts'

/** Why a target was refused; every reason means 400 to the client. */
export type PathRefusal = 'not a path' | 'control character' | 'bad percent-encoding' | 'above the root'

/** A request target, read. */
export interface Target {
  /** Percent-decoded, `//` folded to `/`, dot segments resolved (RFC 3986, 5.2.4). Begins with `/`. */
  readonly path: ByteString
  /** As received. */
  readonly rawPath: ByteString
  /** Without the `?`. */
  readonly queryString: ByteString
  /** What `isAmbiguous` says of `rawPath`. */
  readonly ambiguous: boolean
}

// Most targets are plain: one look tells that nothing needs to be decoded or resolved.
const PLAIN = /^\/(?:[A-Za-z0-9_~!$&'()*+,;=:@-]+(?:\.[A-Za-z0-9_~!$&'()*+,;=:@.-]*)?(?:\/(?!\/)|$))*$/

/** Reads an origin-form, absolute-form or `*` target (RFC 9112, 3.2). A string is the reason for refusing it. */
export function parseTarget(target: ByteString): Target | PathRefusal {
  let raw = target
  if (raw.charCodeAt(0) !== 0x2f) {
    if (raw === '*') return { path: '*', rawPath: '*', queryString: '', ambiguous: false }
    const authority = /^https?:\/\/[^/?#]*/i.exec(raw)
    if (authority === null) return 'not a path'
    raw = raw.slice(authority[0].length)
    if (raw.charCodeAt(0) !== 0x2f) raw = '/' + raw
  }
  // A fragment is not sent by clients that keep to the rules, and would end up in a file name.
  const hash = raw.indexOf('#')
  if (hash !== -1) raw = raw.slice(0, hash)
  const mark = raw.indexOf('?')
  const rawPath = mark === -1 ? raw : raw.slice(0, mark)
  const queryString = mark === -1 ? '' : raw.slice(mark + 1)
  if (hasControl(queryString)) return 'control character'
  if (PLAIN.test(rawPath)) return { path: rawPath, rawPath, queryString, ambiguous: false }
  const decoded = percentDecode(rawPath)
  if (decoded === undefined) return 'bad percent-encoding'
  if (hasControl(decoded)) return 'control character'
  const path = resolveDots(decoded)
  if (path === undefined) return 'above the root'
  return { path, rawPath, queryString, ambiguous: isAmbiguous(rawPath) }
}

/**
 * Whether layers could read this path (as received) differently: an encoded slash, a backslash, or something that becomes
 * a separator, a dot or a control character when it is decoded once more (CVE-2024-38474). Kinds that name files by the path must
 * refuse such a request; Node, fetch and proxied applications may have it.
 */
export function isAmbiguous(rawPath: ByteString): boolean {
  if (rawPath.includes('\\')) return true
  return rawPath.includes('%') && /%(?:2f|5c|25(?:2[ef5]|5c|[01][0-9a-f]|7f))/i.test(rawPath)
}

function hasControl(text: ByteString): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

/** Decodes `%XX` into bytes, once. undefined when a `%` is not followed by two hexadecimal digits. */
export function percentDecode(text: ByteString): ByteString | undefined {
  if (!text.includes('%')) return text
  let out = ''
  let from = 0
  for (let at = text.indexOf('%'); at !== -1; at = text.indexOf('%', from)) {
    const hex = text.slice(at + 1, at + 3)
    if (!/^[0-9A-Fa-f]{2}$/.test(hex)) return undefined
    out += text.slice(from, at) + String.fromCharCode(parseInt(hex, 16))
    from = at + 3
  }
  return out + text.slice(from)
}

/** Encodes every byte that a path may not show (RFC 3986, 3.3), for Location headers. `/` stays. */
export function percentEncode(path: ByteString): string {
  return path.replace(/[^A-Za-z0-9\-._~!$&'()*+,;=:@/]/g, (char) => '%' + char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'))
}

/** Removes `.` and `..` and folds `//`. undefined when `..` would leave the root. Keeps a trailing slash. */
function resolveDots(path: ByteString): ByteString | undefined {
  const out: string[] = []
  const segments = path.split('/')
  const last = segments.length - 1
  for (let i = 1; i <= last; i++) {
    const segment = segments[i]!
    if (segment === '..') {
      if (out.pop() === undefined) return undefined
    } else if (segment !== '' && segment !== '.') {
      out.push(segment)
      continue
    }
    if (i === last) out.push('')
  }
  return '/' + out.join('/')
}
