// Patterns of paths, and texts with placeholders that are filled from them.
//
// A path is compared segment by segment, decoded and resolved, in time that grows with its length and not with its
// cunning: there is no regular expression that a client could keep busy.

import { percentEncode, toByteString } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'

/** What a path was made of. */
export interface Captures {
  /** The folder of a pattern that ends in `/*`: where what answers is mounted. Empty for the root, and for other patterns. */
  readonly base: ByteString
  /** What `/*` stood for, without the slash in front. */
  readonly rest: ByteString
  /** `:name` and what it stood for. */
  readonly names: Readonly<Record<string, ByteString>>
}

/** A pattern, ready to match. */
export interface PathPattern {
  /** As it was written. */
  readonly text: string
  /** The names of its segments. */
  readonly names: readonly string[]
  /** `path` is decoded and begins with `/`; undefined where it does not fit. */
  match(path: ByteString): Captures | undefined
}

const NO_NAMES: Readonly<Record<string, ByteString>> = {}
const WHOLE: Captures = { base: '', rest: '', names: NO_NAMES }

/** Why a text is no pattern; undefined when it is one. */
export function patternFault(text: string): string | undefined {
  if (!text.startsWith('/')) return /^\*[^*/:]+$/.test(text) ? undefined : 'it begins with "/", or is "*" and how a name ends'
  const segments = text.slice(1).split('/')
  const names = segments.filter((each) => each.startsWith(':'))
  if (segments.some((each, i) => each === '' && i < segments.length - 1)) return 'an empty segment is in no path'
  if (segments.some((each) => each === '.' || each === '..')) return 'dot segments are in no path'
  if (names.some((each) => !/^:[A-Za-z][A-Za-z0-9_]*$/.test(each))) return 'a name is a colon and letters, for a whole segment'
  if (new Set(names).size < names.length) return 'a name is there twice'
  if (names.some((each) => RESERVED.has(each.slice(1)))) return 'path, rest, query, host and scheme have a meaning of their own'
  return undefined
}

const RESERVED: ReadonlySet<string> = new Set(['path', 'rest', 'query', 'host', 'scheme'])

/** `/about`, `/blog/*`, `/post/:id`, `/img/*.png`, `*.php`. What `patternFault` complains of matches nothing. */
export function compilePattern(text: string): PathPattern {
  const source = toByteString(text)
  if (!source.startsWith('/')) return { text, names: [], match: byName(source) }
  const deep = source.endsWith('/*')
  const body = deep ? source.slice(0, -2) : source
  if (!/[:*]/.test(body)) return { text, names: [], match: deep ? below(body) : (path) => (path === body ? WHOLE : undefined) }
  const segments = body.slice(1).split('/')
  const names = segments.filter((each) => each.startsWith(':')).map((each) => each.slice(1))
  return { text, names, match: (path) => bySegments(segments, deep, path) }
}

/** `*.php`: the last segment, in whatever folder. */
function byName(pattern: ByteString): PathPattern['match'] {
  return (path) => (glob(pattern, path.slice(path.lastIndexOf('/') + 1)) ? WHOLE : undefined)
}

function below(base: ByteString): PathPattern['match'] {
  const { length } = base
  return (path) => {
    if (!path.startsWith(base) || (path.length !== length && path.charCodeAt(length) !== 0x2f)) return undefined
    return { base, rest: path.slice(length + 1), names: NO_NAMES }
  }
}

function bySegments(pattern: readonly ByteString[], deep: boolean, path: ByteString): Captures | undefined {
  const names: Record<string, ByteString> = {}
  let at = 0
  for (const [i, expected] of pattern.entries()) {
    if (path.charCodeAt(at) !== 0x2f) return undefined
    const next = path.indexOf('/', at + 1)
    const end = next === -1 ? path.length : next
    const segment = path.slice(at + 1, end)
    if (expected.startsWith(':')) {
      if (segment === '') return undefined
      names[expected.slice(1)] = segment
    } else if (!glob(expected, segment)) return undefined
    at = end
    if (i === pattern.length - 1) break
  }
  if (!deep) return at === path.length ? { base: '', rest: '', names } : undefined
  return { base: path.slice(0, at), rest: path.slice(at + 1), names }
}

/** `*` stands for any bytes of a segment. The first place where a piece fits is as good as every later one. */
function glob(pattern: ByteString, text: ByteString): boolean {
  const pieces = pattern.split('*')
  if (pieces.length === 1) return pattern === text
  const first = pieces[0]!
  const last = pieces.at(-1)!
  if (text.length < first.length + last.length || !text.startsWith(first) || !text.endsWith(last)) return false
  let at = first.length
  for (const piece of pieces.slice(1, -1)) {
    const found = text.indexOf(piece, at)
    if (found === -1) return false
    at = found + piece.length
  }
  return at <= text.length - last.length
}

/** Values by the name of their placeholder. */
export type Fill = (name: string) => ByteString

/** A text with `{name}` in it. */
export interface Template {
  /** As it was written. */
  readonly text: string
  /** Its placeholders, in their order. */
  readonly names: readonly string[]
  /** `encode` goes over every value, never over the text itself. */
  fill(value: Fill, encode: (value: ByteString, name: string) => ByteString): ByteString
}

/** Reads a text with placeholders. Names are not checked: `fill` asks for each of them. */
export function compileTemplate(text: string): Template {
  const pieces = toByteString(text).split(/\{([A-Za-z][A-Za-z0-9_]*)\}/)
  const names = pieces.filter((_, i) => i % 2 === 1)
  const [only = ''] = pieces
  if (names.length === 0) return { text, names, fill: () => only }
  return { text, names, fill: (value, encode) => pieces.map((each, i) => (i % 2 === 1 ? encode(value(each), each) : each)).join('') }
}

/** A value in the query of a URL: everything but unreserved characters is encoded (RFC 3986, 2.3). */
export function queryEncode(value: ByteString): ByteString {
  return percentEncode(value).replace(/[!$&'()*+,;=:@/]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`)
}
