// The capture file's bytes: frames out of what happened, and back. Pure. The format is described in docs/capture-format.md.

import { crc32 } from 'node:zlib'
import { HEADER_LENGTH } from './record.ts'
import type { Direction, TraceRecord } from './record.ts'

/** The first bytes of a file: a name (which, like that of PNG, shows what a transfer as text has done to it), major and minor version. */
export const MAGIC: Buffer = Buffer.from('\x89FCGICAP\r\n\x1a\n\x00\x01\x00\x00', 'latin1')
const NAME_LENGTH = 12
const MAJOR = 1
const FRAME_HEADER = 24
/** A payload is a record, or a few words. */
const PAYLOAD_LIMIT = HEADER_LENGTH + 65_535

const Kind = { Meta: 1, Open: 2, Record: 3, HalfClose: 4, Close: 5, Foreign: 6, Finish: 7 } as const

const MASKED = 1

/** What the file says of itself. */
export interface CaptureMeta {
  /** What wrote it. */
  readonly software: string
  /** ISO 8601: what the times count from. */
  readonly started: string
  /** Where web servers connected. */
  readonly listen: string
  /** Where the application was. */
  readonly to: string
  /** The names whose values are masked. */
  readonly mask: readonly string[]
}

/** `time` is milliseconds from the start, to the microsecond. */
export type Frame =
  | { readonly kind: 'meta'; readonly time: number; readonly meta: CaptureMeta }
  | { readonly kind: 'open'; readonly time: number; readonly connection: number; readonly peer: string }
  | RecordFrame
  | { readonly kind: 'half-close'; readonly time: number; readonly connection: number; readonly direction: Direction }
  /** `reason`: empty for an orderly end. */
  | { readonly kind: 'close'; readonly time: number; readonly connection: number; readonly reason: string }
  /** What is no FastCGI: the first bytes of it. Nothing that follows in this direction is recorded. */
  | { readonly kind: 'foreign'; readonly time: number; readonly connection: number; readonly direction: Direction; readonly bytes: Buffer }
  /** The last one of a file that was closed in order. */
  | { readonly kind: 'finish'; readonly time: number; readonly reason: string }

/** A record that passed. */
export interface RecordFrame {
  /** Told from the other frames by it. */
  readonly kind: 'record'
  /** Milliseconds from the start. */
  readonly time: number
  /** The number of its connection, from 1. */
  readonly connection: number
  /** To the application, or from it. */
  readonly direction: Direction
  /** The record, with masked values replaced. */
  readonly record: TraceRecord
  /** Some of the content was replaced by `*`. */
  readonly masked: boolean
  /** Where the content lies in the file; 0 for a frame that is about to be written. */
  readonly contentAt: number
}

/** Why a file is not read at all; the message is what follows the file's name. */
export class Refusal extends Error {}
/** Why it is not read any further; what came before is good. */
export class Damage extends Error {}

/** One frame as bytes of its own. */
export function encodeFrame(frame: Frame): Buffer {
  switch (frame.kind) {
    case 'meta':
      return encode(Kind.Meta, frame.time, 0, undefined, 0, text(JSON.stringify(frame.meta)))
    case 'open':
      return encode(Kind.Open, frame.time, frame.connection, undefined, 0, text(frame.peer))
    case 'record':
      return encode(
        Kind.Record,
        frame.time,
        frame.connection,
        frame.direction,
        frame.masked ? MASKED : 0,
        recordHeader(frame.record),
        frame.record.content,
      )
    case 'half-close':
      return encode(Kind.HalfClose, frame.time, frame.connection, frame.direction, 0)
    case 'close':
      return encode(Kind.Close, frame.time, frame.connection, undefined, 0, text(frame.reason))
    case 'foreign':
      return encode(Kind.Foreign, frame.time, frame.connection, frame.direction, 0, frame.bytes)
    case 'finish':
      return encode(Kind.Finish, frame.time, 0, undefined, 0, text(frame.reason))
  }
}

function text(value: string): Buffer {
  return Buffer.from(value).subarray(0, PAYLOAD_LIMIT)
}

function recordHeader({ type, id, length, padding }: TraceRecord): Buffer {
  return Buffer.from([1, type, id >> 8, id & 0xff, length >> 8, length & 0xff, padding, 0])
}

function encode(
  kind: number,
  time: number,
  connection: number,
  direction: Direction | undefined,
  flags: number,
  ...payload: readonly Buffer[]
): Buffer {
  const length = payload.reduce((sum, part) => sum + part.length, 0)
  const out = Buffer.alloc(FRAME_HEADER + length)
  out[0] = kind
  out[1] = direction === undefined ? 0 : direction === 'to' ? 1 : 2
  out[2] = flags
  out.writeUIntBE(Math.round(time * 1000), 4, 6)
  out.writeUInt32BE(connection, 12)
  out.writeUInt32BE(length, 16)
  let at = FRAME_HEADER
  for (const part of payload) at += part.copy(out, at)
  out.writeUInt32BE(checksum(out.subarray(0, 20), out.subarray(FRAME_HEADER)), 20)
  return out
}

function checksum(header: Buffer, payload: Buffer): number {
  return crc32(payload, crc32(header))
}

/** Takes a file's bytes piece by piece and gives its frames. */
export class FrameDecoder {
  /** The bytes of a frame (or of the magic) that is not whole. */
  #rest = Buffer.alloc(0)
  /** Where `#rest` begins in the file. */
  #offset = 0
  #started = false

  /** Where the first byte lies that no frame was made of yet. */
  get offset(): number {
    return this.#offset
  }

  /** Whether nothing of a frame is left over. */
  get atBoundary(): boolean {
    return this.#started && this.#rest.length === 0
  }

  /**
   * The frames that these bytes complete; those of a kind that this version does not know are left out.
   * Throws Refusal for what is no capture or one of another version, and Damage; `sink` has had the frames before that.
   */
  push(bytes: Buffer, sink: (frame: Frame) => void): void {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    let at = this.#started ? 0 : this.#start(all)
    for (;;) {
      const next = this.#started ? this.#frame(all, at, sink) : at
      if (next === at) break
      at = next
    }
    // A copy: it is less than a frame, and the read that it lies in is many of them.
    this.#rest = Buffer.from(all.subarray(at))
    this.#offset += at
  }

  #start(all: Buffer): number {
    const seen = Math.min(all.length, NAME_LENGTH)
    if (all.compare(MAGIC, 0, seen, 0, seen) !== 0) throw new Refusal('is no capture of FastCGI: it begins in another way')
    if (all.length < MAGIC.length) return 0
    // A minor version adds kinds of frames, which are left out below.
    const major = all.readUInt16BE(NAME_LENGTH)
    if (major !== MAJOR) throw new Refusal(`is a capture of version ${major}, and this program reads version ${MAJOR}`)
    this.#started = true
    return MAGIC.length
  }

  #frame(all: Buffer, at: number, sink: (frame: Frame) => void): number {
    if (all.length - at < FRAME_HEADER) return at
    const length = all.readUInt32BE(at + 16)
    const where = this.#offset + at
    if (length > PAYLOAD_LIMIT) throw new Damage(`at byte ${where} a frame of ${length} bytes, ${PAYLOAD_LIMIT} are the most`)
    const end = at + FRAME_HEADER + length
    if (all.length < end) return at
    const payload = all.subarray(at + FRAME_HEADER, end)
    if (checksum(all.subarray(at, at + 20), payload) !== all.readUInt32BE(at + 20))
      throw new Damage(`the checksum of the frame at byte ${where} is wrong`)
    const frame = read(all.subarray(at, at + FRAME_HEADER), payload, where)
    if (frame !== undefined) sink(frame)
    return end
  }
}

function read(header: Buffer, payload: Buffer, where: number): Frame | undefined {
  const time = header.readUIntBE(4, 6) / 1000
  const connection = header.readUInt32BE(12)
  const direction: Direction = header[1] === 1 ? 'to' : 'from'
  switch (header[0]) {
    case Kind.Meta:
      return { kind: 'meta', time, meta: readMeta(payload, where) }
    case Kind.Open:
      return { kind: 'open', time, connection, peer: payload.toString() }
    case Kind.Record: {
      if (payload.length < HEADER_LENGTH) throw new Damage(`at byte ${where} a record of ${payload.length} bytes, 8 are the least`)
      const content = payload.subarray(HEADER_LENGTH)
      const length = payload.readUInt16BE(4)
      if (content.length > length) throw new Damage(`at byte ${where} a record of ${length} bytes, with ${content.length} of them`)
      const record = { type: payload[1]!, id: payload.readUInt16BE(2), content, length, padding: payload[6]! }
      const masked = (header[2]! & MASKED) !== 0
      return { kind: 'record', time, connection, direction, record, masked, contentAt: where + FRAME_HEADER + HEADER_LENGTH }
    }
    case Kind.HalfClose:
      return { kind: 'half-close', time, connection, direction }
    case Kind.Close:
      return { kind: 'close', time, connection, reason: payload.toString() }
    case Kind.Foreign:
      return { kind: 'foreign', time, connection, direction, bytes: payload }
    case Kind.Finish:
      return { kind: 'finish', time, reason: payload.toString() }
    default:
      return undefined
  }
}

function readMeta(payload: Buffer, where: number): CaptureMeta {
  let said: unknown
  try {
    said = JSON.parse(payload.toString())
  } catch {
    throw new Damage(`at byte ${where} what it says of itself is no JSON`)
  }
  const fields: Readonly<Record<string, unknown>> = typeof said === 'object' && said !== null ? { ...said } : {}
  const word = (name: string): string => (typeof fields[name] === 'string' ? fields[name] : '')
  const mask = Array.isArray(fields['mask']) ? fields['mask'].filter((each) => typeof each === 'string') : []
  return { software: word('software'), started: word('started'), listen: word('listen'), to: word('to'), mask }
}
