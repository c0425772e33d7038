// Secrets taken out of what is recorded, not out of what passes: the bytes of a value become as many `*`, so that every length
// and every record boundary stays what it was.
//
// Both places are streams that may be cut anywhere, so both are read by a state machine that keeps no more than a name.
// Specification: FastCGI 1.0, section 3.4 (pairs); RFC 3875, section 6 (the head of an answer).

import { Type } from '../fastcgi/index.ts'
import type { Direction, TraceRecord } from './record.ts'

/**
 * What is masked unless told otherwise: variables of requests and header fields of answers, by one list. `*` stands for anything.
 * Bodies are not masked.
 */
export const DEFAULT_MASK: readonly string[] = [
  'Authorization',
  'Proxy-Authorization',
  'Cookie',
  'Set-Cookie',
  'PHP_AUTH_PW',
  'PHP_AUTH_DIGEST',
  '*PASSWORD*',
  '*PASSWD*',
  '*SECRET*',
  '*TOKEN*',
  '*API_KEY*',
  '*APIKEY*',
]

const STAR = 0x2a
const LF = 0x0a
const COLON = 0x3a
const isBlank = (byte: number): boolean => byte === 0x20 || byte === 0x09
/** Longer names are not looked at, and their values masked. */
const NAME_LIMIT = 256
/** Requests of one connection that are followed; what belongs to more is masked whole. */
const REQUEST_LIMIT = 1024

/** `Cookie`, `HTTP_COOKIE`, `http-cookie` and Apache's `REDIRECT_HTTP_COOKIE` are one name. */
function canonical(name: string): string {
  return name
    .toUpperCase()
    .replaceAll('-', '_')
    .replace(/^(?:REDIRECT_)*(?:HTTP_)?/, '')
}

/**
 * A list of names whose values are masked. `Cookie` stands for the field, for HTTP_COOKIE and for Apache's REDIRECT_HTTP_COOKIE; `*` in a name for anything.
 */
export class NameMask {
  readonly #patterns: readonly RegExp[]
  // The same names come with every request. Bounded, for they come from outside.
  readonly #known = new Map<string, boolean>()

  constructor(names: readonly string[]) {
    this.#patterns = names.map((name) => {
      const parts = canonical(name)
        .split('*')
        .map((part) => part.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&'))
      return new RegExp(`^${parts.join('.*')}$`, 's')
    })
  }

  /** Nothing is masked at all. */
  get empty(): boolean {
    return this.#patterns.length === 0
  }

  /** Whether the values of this variable or header field are masked. */
  has(name: string): boolean {
    const known = this.#known.get(name)
    if (known !== undefined) return known
    const plain = canonical(name)
    const masked = this.#patterns.some((pattern) => pattern.test(plain))
    if (this.#known.size >= 1024) this.#known.clear()
    this.#known.set(name, masked)
    return masked
  }
}

/** One per connection: gives each record's content as it may be kept. */
export class Masker {
  readonly #names: NameMask
  readonly #variables = new Map<number, PairMask>()
  readonly #heads = new Map<number, HeadMask>()

  constructor(names: NameMask) {
    this.#names = names
  }

  /** The content itself where nothing in it is secret, else a copy. */
  apply(direction: Direction, { type, id, content }: TraceRecord): Buffer {
    if (this.#names.empty) return content
    if (direction === 'to') {
      // Their own end, and not that of the request: an application may refuse it while they still come, in the middle of a pair.
      if (type === Type.BeginRequest || (type === Type.Params && content.length === 0)) this.#variables.delete(id)
      else if (type === Type.Params) return this.#through(this.#variables, id, content, () => new PairMask(this.#names))
    } else if (type === Type.EndRequest) this.#heads.delete(id)
    else if (type === Type.Stdout) return this.#through(this.#heads, id, content, () => new HeadMask(this.#names))
    return content
  }

  #through(states: Map<number, PairMask | HeadMask>, id: number, content: Buffer, make: () => PairMask | HeadMask): Buffer {
    let state = states.get(id)
    if (state === undefined) {
      if (states.size >= REQUEST_LIMIT) return Buffer.alloc(content.length, STAR)
      states.set(id, (state = make()))
    }
    return state.apply(content)
  }
}

/** Name-value pairs of one stream, however they are cut. */
class PairMask {
  readonly #names: NameMask
  /** The two lengths, of one or four bytes each, as far as they have come. */
  #lengths: number[] = []
  #nameLeft = 0
  #valueLeft = 0
  #name = ''
  #masked = false

  constructor(names: NameMask) {
    this.#names = names
  }

  apply(content: Buffer): Buffer {
    let out = content
    for (let at = 0; at < content.length;) {
      if (this.#nameLeft > 0) {
        const end = Math.min(content.length, at + this.#nameLeft)
        if (this.#name.length < NAME_LIMIT) this.#name += content.toString('latin1', at, Math.min(end, at + NAME_LIMIT))
        this.#nameLeft -= end - at
        at = end
        if (this.#nameLeft === 0) this.#masked = this.#name.length >= NAME_LIMIT || this.#names.has(this.#name)
      } else if (this.#valueLeft > 0) {
        const end = Math.min(content.length, at + this.#valueLeft)
        if (this.#masked) {
          if (out === content) out = Buffer.from(content)
          out.fill(STAR, at, end)
        }
        this.#valueLeft -= end - at
        at = end
      } else this.#length(content[at++]!)
    }
    return out
  }

  #length(byte: number): void {
    const lengths = this.#lengths
    lengths.push(byte)
    const valueAt = lengths[0]! > 127 ? 4 : 1
    if (lengths.length <= valueAt) return
    if (lengths.length < valueAt + (lengths[valueAt]! > 127 ? 4 : 1)) return
    this.#nameLeft = number(lengths, 0, valueAt)
    this.#valueLeft = number(lengths, valueAt, lengths.length)
    this.#lengths = []
    this.#name = ''
    this.#masked = this.#nameLeft === 0 && this.#names.has('')
  }
}

function number(bytes: readonly number[], start: number, end: number): number {
  let value = end - start === 4 ? bytes[start]! & 0x7f : bytes[start]!
  for (let at = start + 1; at < end; at++) value = value * 256 + bytes[at]!
  return value
}

/** The header fields at the start of STDOUT; after the blank line nothing is touched. */
class HeadMask {
  readonly #names: NameMask
  #over = false
  #name = ''
  /** Where in a line we are; `first` decides whether it continues the field before (RFC 9112, 5.2). */
  #in: 'first' | 'name' | 'value' = 'first'
  #masked = false

  constructor(names: NameMask) {
    this.#names = names
  }

  apply(content: Buffer): Buffer {
    if (this.#over) return content
    let out = content
    for (let at = 0; at < content.length && !this.#over; at++) {
      const byte = content[at]!
      if (byte === LF) this.#line()
      else if (this.#in === 'value') {
        if (!this.#masked || isBlank(byte) || byte === 0x0d) continue
        if (out === content) out = Buffer.from(content)
        out[at] = STAR
      } else if (this.#in === 'first' && isBlank(byte)) this.#in = 'value'
      else if (byte === COLON) {
        this.#in = 'value'
        this.#masked = this.#name.length >= NAME_LIMIT || this.#names.has(this.#name.trim())
      } else {
        if (this.#in === 'first') this.#name = ''
        this.#in = 'name'
        if (this.#name.length < NAME_LIMIT) this.#name += String.fromCharCode(byte)
      }
    }
    return out
  }

  #line(): void {
    // Nothing, or a CR alone.
    if (this.#in === 'first' || (this.#in === 'name' && this.#name === '\r')) this.#over = true
    this.#in = 'first'
  }
}
