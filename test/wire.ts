// Makers of FastCGI bytes for tests, written from the specification and not with the code that is tested.

import { Buffer } from 'node:buffer'

export const BEGIN_REQUEST = 1
export const END_REQUEST = 3
export const STDIN = 5
export const STDOUT = 6
export const STDERR = 7
export const GET_VALUES_RESULT = 10
export const UNKNOWN_TYPE = 11

/** `80 00 03 e8` as bytes. */
export function bytes(hex: string): Buffer {
  return Buffer.from(hex.replaceAll(' ', ''), 'hex')
}

export interface RecordOptions {
  /** Default: up to a multiple of eight. Its bytes are not zero, as they need not be. */
  readonly padding?: number
  readonly version?: number
  /** What the header says, where that is a lie. */
  readonly length?: number
}

/** One record. */
export function record(type: number, id: number, content: string | Uint8Array = '', options: RecordOptions = {}): Buffer {
  const body = typeof content === 'string' ? Buffer.from(content, 'latin1') : Buffer.from(content)
  const padding = options.padding ?? -body.length & 7
  const length = options.length ?? body.length
  const header = Buffer.from([options.version ?? 1, type, id >> 8, id & 255, length >> 8, length & 255, padding, 0xee])
  return Buffer.concat([header, body, Buffer.alloc(padding, 0xdd)])
}

export const stdout = (id: number, content: string | Uint8Array, options?: RecordOptions): Buffer => record(STDOUT, id, content, options)
export const stderr = (id: number, content: string | Uint8Array, options?: RecordOptions): Buffer => record(STDERR, id, content, options)

/** END_REQUEST, with left-over memory in its reserved bytes as PHP leaves it there. */
export function endRequest(id: number, status: { app?: number; protocol?: number } = {}, options?: RecordOptions): Buffer {
  const body = Buffer.from([0, 0, 0, 0, status.protocol ?? 0, 0x43, 0x54, 0x2d])
  body.writeUInt32BE(status.app ?? 0, 0)
  return record(END_REQUEST, id, body, options)
}

/** A whole answer in few records: what most applications send. */
export function answer(id: number, text: string): Buffer {
  return Buffer.concat([stdout(id, text), record(STDOUT, id), endRequest(id)])
}

/** A length of a name or a value; `wide` writes small ones in four bytes too. */
function pairLength(value: number, wide: boolean = value > 127): Buffer {
  if (!wide) return Buffer.from([value])
  const out = Buffer.alloc(4)
  out.writeUInt32BE((value | 0x80000000) >>> 0)
  return out
}

export function pair(name: string, value: string, wide?: boolean): Buffer {
  return Buffer.concat([pairLength(name.length, wide), pairLength(value.length, wide), Buffer.from(name + value, 'latin1')])
}

/** Each byte alone. */
export function bytewise(wire: Buffer): Buffer[] {
  return Array.from(wire, (_, at) => wire.subarray(at, at + 1))
}

/** Numbers from a seed, the same each time: for mutations that can be run again (mulberry32). */
export function random(seed: number): (below: number) => number {
  let state = seed >>> 0
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) % below
  }
}
