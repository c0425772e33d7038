// Shapes: the names of a request's variables, in order. A client repeats them in all its requests, so they are numbered, sent once
// for each connection, and from then on only values are.

import { enumerate } from '../core/index.ts'
import type { ByteString, GatewayRequest } from '../core/index.ts'

/** Numbers are 1 to this; 0 says that the request carries its names. */
export const SHAPES = 256
/** Names of more bytes than this get no number. They come from outside, and a worker keeps what has one. */
const NAMES_LENGTH = 4096

/** A request as the names and the values of its variables, each followed by a NUL. */
export interface Variables {
  readonly names: ByteString
  readonly values: ByteString
}

let names = ''
let values = ''

function emit(name: ByteString, value: ByteString): void {
  // What is called wsgi.something is no string but the worker's own: nobody outside sets it.
  if (name.startsWith('wsgi.')) return
  names += name + '\0'
  values += value + '\0'
}

/** The variables of a request (RFC 3875, 4.1, and PEP 3333); `length` is that of its body where that was spooled. */
export function variablesOf(request: GatewayRequest, length: number | undefined): Variables {
  names = values = ''
  enumerate(request, emit, length === undefined ? {} : { contentLength: length })
  if (request.scheme === 'https') {
    names += 'wsgi.url_scheme\0'
    values += 'https\0'
  }
  return { names, values }
}

/** The same as pairs: for what has no number. */
export function pairsOf({ names: keys, values: texts }: Variables): ByteString {
  const all = texts.split('\0')
  let pairs = ''
  let i = 0
  for (const name of keys.split('\0')) if (name !== '') pairs += `${name}\0${all[i++]}\0`
  return pairs
}

/** The numbers of a pool's shapes. */
export class ShapeTable {
  /** Counts how often the table was begun anew: a connection that has sent shapes of another epoch has sent none. */
  epoch = 0
  readonly #numbers = new Map<ByteString, number>()

  /** 0 for what gets none. */
  numberOf(keys: ByteString): number {
    const known = this.#numbers.get(keys)
    if (known !== undefined) return known
    if (keys.length > NAMES_LENGTH) return 0
    if (this.#numbers.size === SHAPES) {
      // All at once: a client that invents names must not keep everybody else's out for good.
      this.#numbers.clear()
      this.epoch++
    }
    const number = this.#numbers.size + 1
    this.#numbers.set(keys, number)
    return number
  }
}

/** What one connection has been told. */
export class SentShapes {
  readonly #sent = new Uint8Array(SHAPES + 1)
  #epoch = 0

  /** Whether this number has to be explained first; it counts as explained from now on. */
  first(table: ShapeTable, number: number): boolean {
    if (this.#epoch !== table.epoch) {
      this.#epoch = table.epoch
      this.#sent.fill(0)
    }
    if (this.#sent[number] === 1) return false
    this.#sent[number] = 1
    return true
  }
}
