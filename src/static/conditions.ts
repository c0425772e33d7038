// What a request asks of a file: all of it, a part, or only whether it has changed (RFC 9110, 13 and 14).

import fresh from 'fresh'
import parseRange from 'range-parser'
import { sameName } from '../core/index.ts'
import type { GatewayRequest, HeaderList } from '../core/index.ts'

export interface Validators {
  readonly size: number
  readonly etag: string
  readonly lastModified: string
  readonly mtimeMs: number
}

/** First and last byte, both included. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

export type Verdict = 'whole' | 'not modified' | 'precondition failed' | 'unsatisfiable' | readonly ByteRange[]

/** More ranges than this in one request are an attack or a mistake (CVE-2011-3192): the whole file is sent. */
const RANGES_LIMIT = 16

/** Whether there is any header field that could make the answer something else than the whole file. */
export function isConditional(headers: HeaderList): boolean {
  for (let i = 0; i < headers.length; i += 2) {
    const name = headers[i]!
    switch (name.length) {
      case 5:
        if (sameName(name, 'range')) return true
        break
      case 8:
        if (sameName(name, 'if-match') || sameName(name, 'if-range')) return true
        break
      case 13:
        if (sameName(name, 'if-none-match')) return true
        break
      case 17:
        if (sameName(name, 'if-modified-since')) return true
        break
      case 19:
        if (sameName(name, 'if-unmodified-since')) return true
    }
  }
  return false
}

/** The order is that of RFC 9110, 13.2.2. */
export function judge(request: GatewayRequest, file: Validators): Verdict {
  const { headers } = request
  if (!isConditional(headers.list)) return 'whole'
  const match = headers.get('if-match')
  const unmodified = headers.get('if-unmodified-since')
  if (match !== undefined) {
    if (!matches(match, file.etag)) return 'precondition failed'
  } else if (unmodified !== undefined && Date.parse(file.lastModified) > Date.parse(unmodified)) {
    return 'precondition failed'
  }
  if (isFresh(request, file)) return 'not modified'
  const range = headers.get('range')
  // Range means something for GET alone (RFC 9110, 14.2).
  if (range === undefined || request.method !== 'GET') return 'whole'
  const condition = headers.get('if-range')
  if (condition !== undefined && !isSame(condition, file)) return 'whole'
  return ranges(range, file.size)
}

// Without the request's Cache-Control, which speaks to caches: a server that has the file answers what was asked (RFC 9110, 13.2.2).
function isFresh(request: GatewayRequest, file: Validators): boolean {
  const { headers } = request
  return fresh(
    {
      'if-none-match': headers.get('if-none-match'),
      'if-modified-since': headers.get('if-modified-since'),
    },
    { etag: file.etag, 'last-modified': file.lastModified },
  )
}

/** If-Match compares strongly (RFC 9110, 13.1.1): a weak tag matches nothing. */
function matches(list: string, etag: string): boolean {
  return list.trim() === '*' || list.split(',').some((tag) => tag.trim() === etag)
}

/** If-Range (RFC 9110, 13.1.5): the tag, or the date to the letter, which is strong only when it is a second old. */
function isSame(condition: string, file: Validators): boolean {
  if (condition.startsWith('"')) return condition === file.etag
  return condition === file.lastModified && Date.now() - file.mtimeMs >= 1000
}

function ranges(header: string, size: number): Verdict {
  if (!/^bytes=/i.test(header)) return 'whole'
  const specs = header.slice(6).split(',')
  if (specs.length > RANGES_LIMIT) return 'whole'
  // A suffix longer than the file is the whole file (RFC 9110, 14.1.2); range-parser takes it for unsatisfiable.
  const exact = specs.map((spec) => (/^\s*-\d+\s*$/.test(spec) && Number(spec.trim().slice(1)) > size ? '0-' : spec))
  const found = parseRange(size, `bytes=${exact.join(',')}`, { combine: true })
  if (found === -1) return 'unsatisfiable'
  return typeof found === 'number' ? 'whole' : found
}
