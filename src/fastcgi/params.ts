// Name-value pairs: the parameters of a request and the values of management records, both ways.
//
// Specification: FastCGI 1.0, sections 3.4 and 5.2. A pair never lies across two of our records: the specification allows
// it, php-cgi resets the connection.

import { GatewayError } from '../core/index.ts'
import type { ByteString, Emit } from '../core/index.ts'
import { FULL_CONTENT, MAX_CONTENT, Type, ZEROS, beginRequest, header, paddingFor, protocolError } from './record.ts'
import type { Role } from './record.ts'

const { fromCharCode } = String
const SHORT: readonly ByteString[] = Array.from({ length: 128 }, (_, length) => fromCharCode(length))

/** A length on the wire: one byte up to 127, four with the highest bit set beyond. */
export function encodeLength(length: number): ByteString {
  if (length < 128) return SHORT[length]!
  return fromCharCode((length >>> 24) | 0x80, (length >>> 16) & 0xff, (length >>> 8) & 0xff, length & 0xff)
}

/** One pair. */
export function encodePair(name: ByteString, value: ByteString): ByteString {
  return encodeLength(name.length) + encodeLength(value.length) + name + value
}

// The encoder's state lives here and not in a closure: it runs on every request, and to its end before anything else does.
let out: ByteString = ''
let content: ByteString = ''
let length = 0
let requestId = 0

/** What a name was last sent with. Most variables of most requests are those of the request before. */
interface Recent {
  value: ByteString
  /** The pair as one flat string, made when the value was met a second time: some values never are. */
  pair: ByteString | undefined
}
// Bounded, for names come from outside: so many names, and pairs no longer than this.
const recent = new Map<ByteString, Recent>()
const RECENT_NAMES = 256
const RECENT_LENGTH = 1024

function append(name: ByteString, value: ByteString): void {
  const known = recent.get(name)
  if (known !== undefined && known.value === value) {
    const pair = (known.pair ??= flat(encodePair(name, value)))
    if (length + pair.length > FULL_CONTENT) flush()
    content += pair
    length += pair.length
    return
  }
  const size = (name.length < 128 ? 1 : 4) + (value.length < 128 ? 1 : 4) + name.length + value.length
  if (length + size > FULL_CONTENT) {
    if (size > MAX_CONTENT) throw pairTooLong(name, size)
    flush()
  }
  content += encodeLength(name.length) + encodeLength(value.length) + name + value
  length += size
  if (size > RECENT_LENGTH) return
  if (known !== undefined) {
    known.value = value
    known.pair = undefined
    return
  }
  if (recent.size >= RECENT_NAMES) recent.clear()
  recent.set(name, { value, pair: undefined })
}

/** The same text in one piece: what is made by adding stays a tree, which each use would walk. */
function flat(text: ByteString): ByteString {
  return Buffer.from(text, 'latin1').toString('latin1')
}

function flush(): void {
  if (length === 0) return
  out += header(Type.Params, requestId, length) + content + ZEROS[paddingFor(length)]!
  content = ''
  length = 0
}

function pairTooLong(name: ByteString, size: number): GatewayError {
  return new GatewayError('BAD_REQUEST', {
    status: 431,
    message: `fastcgi: the variable ${name.slice(0, 80)} makes a pair of ${size} bytes, a record carries at most ${MAX_CONTENT}`,
  })
}

const begins = new Map<number, ByteString>()

function begin(id: number, role: Role, keep: boolean): ByteString {
  const key = (id << 3) | (role << 1) | (keep ? 1 : 0)
  let made = begins.get(key)
  if (made === undefined) {
    made = beginRequest(id, role, keep)
    if (begins.size < 256) begins.set(key, made)
  }
  return made
}

/**
 * What starts a request: BEGIN_REQUEST, the PARAMS records and the empty one that ends them, as one latin1 string.
 *
 * `fill` is given `emit` and calls it once a variable. Write it with `socket.write(string, 'latin1')`.
 * Throws BAD_REQUEST (431) for a pair that no record can carry.
 */
export function encodeRequest(id: number, role: Role, keep: boolean, fill: (emit: Emit) => void): ByteString {
  out = begin(id, role, keep)
  content = ''
  length = 0
  requestId = id
  fill(append)
  flush()
  const wire = out + header(Type.Params, id, 0)
  // Else the last request's text would stay in memory for as long as nothing follows it.
  out = content = ''
  return wire
}

/** What the variables of one request may take. */
export interface ParamsLimits {
  /** All names, values and lengths of one request together, in bytes. Default 1 MiB. */
  readonly bytes?: number
  /** Number of pairs. Default 2048. */
  readonly pairs?: number
}

/**
 * Takes the content of PARAMS (or management) records piece by piece and gives the pairs: `[name, value, ...]`.
 * Refuses with UPSTREAM_PROTOCOL what is over its limits, before it keeps it (CVE-2025-23016).
 */
export class PairDecoder {
  /** Those that are whole: `[name, value, ...]`. */
  readonly pairs: ByteString[] = []
  #limits: Required<ParamsLimits>
  #taken = 0
  // A pair that is not all there yet, in a buffer that doubles: a byte at a time must not cost a copy of all before it.
  #rest: Buffer | undefined
  #restLength = 0
  #needed = 0

  constructor(limits: ParamsLimits = {}) {
    this.#limits = { bytes: limits.bytes ?? 1_048_576, pairs: limits.pairs ?? 2048 }
  }

  /** Takes a piece of the content. Throws UPSTREAM_PROTOCOL beyond the limits. */
  push(bytes: Buffer, start: number = 0, end: number = bytes.length): void {
    this.#taken += end - start
    if (this.#taken > this.#limits.bytes) throw protocolError(`more than ${this.#limits.bytes} bytes of parameters`)
    if (this.#restLength === 0) {
      const at = this.#read(bytes, start, end)
      if (at < end) this.#keep(bytes, at, end)
      return
    }
    this.#keep(bytes, start, end)
    if (this.#restLength < this.#needed) return
    const rest = this.#rest!
    const at = this.#read(rest, 0, this.#restLength)
    rest.copyWithin(0, at, this.#restLength)
    this.#restLength -= at
  }

  /** The stream has ended: a pair that is not whole is an error. */
  end(): readonly ByteString[] {
    if (this.#restLength > 0) throw protocolError('the parameters end within a pair')
    return this.pairs
  }

  #keep(bytes: Buffer, start: number, end: number): void {
    const total = this.#restLength + end - start
    if (this.#rest === undefined || this.#rest.length < total) {
      const grown = Buffer.allocUnsafeSlow(Math.max(256, total * 2))
      this.#rest?.copy(grown, 0, 0, this.#restLength)
      this.#rest = grown
    }
    bytes.copy(this.#rest, this.#restLength, start, end)
    this.#restLength = total
  }

  /** Reads whole pairs; returns where the first unfinished one begins, and notes how many bytes it needs. */
  #read(bytes: Buffer, start: number, end: number): number {
    for (let at = start; at < end;) {
      const nameWide = bytes[at]! > 127
      const valueAt = at + (nameWide ? 4 : 1)
      this.#needed = valueAt - at + 1
      if (valueAt >= end) return at
      const valueWide = bytes[valueAt]! > 127
      const nameAt = valueAt + (valueWide ? 4 : 1)
      this.#needed = nameAt - at
      if (nameAt > end) return at
      // Added as numbers, not as 32 bit integers: two lengths of 2^31 - 1 do not wrap around.
      const valueStart = nameAt + (nameWide ? wide(bytes, at) : bytes[at]!)
      const next = valueStart + (valueWide ? wide(bytes, valueAt) : bytes[valueAt]!)
      this.#needed = next - at
      if (this.#needed > this.#limits.bytes) {
        throw protocolError(`a parameter of ${this.#needed} bytes, over the limit of ${this.#limits.bytes}`)
      }
      if (next > end) return at
      if (this.pairs.length >= this.#limits.pairs * 2) throw protocolError(`more than ${this.#limits.pairs} parameters`)
      this.pairs.push(bytes.toString('latin1', nameAt, valueStart), bytes.toString('latin1', valueStart, next))
      at = next
    }
    return end
  }
}

function wide(bytes: Buffer, at: number): number {
  return bytes.readUInt32BE(at) & 0x7fffffff
}

/** All pairs of one content. */
export function decodePairs(bytes: Buffer, start: number, end: number, limits?: ParamsLimits): readonly ByteString[] {
  const decoder = new PairDecoder(limits)
  decoder.push(bytes, start, end)
  return decoder.end()
}
