// What goes between a front and its spawning helpers, as bytes. Pure; the other side is spawner.py (and spawner.mjs).
//
// A frame opens the one connection of one program; reports come back over the helper's control channel. The layout is
// described at the top of spawner.py.

import { GatewayError, isByteString } from '../core/index.ts'
import type { ByteString, HeaderList } from '../core/index.ts'

/** A program to be started. All strings are bytes; none may hold a NUL. */
export interface ProgramSpec {
  /** Path of the executable. It is not looked for on PATH. */
  readonly file: ByteString
  /** With argv[0]. */
  readonly argv: readonly ByteString[]
  /** The whole environment: `[name, value, ...]`. */
  readonly env: HeaderList
  /** Its working folder. */
  readonly cwd: ByteString
  /** Standard input: nothing (default), these bytes (up to `INPUT_LIMIT`), or a connection of its own. */
  readonly input?: 'none' | 'stream' | readonly Uint8Array[]
}

/** Bytes of standard input that may travel in the frame. More takes a connection of its own, so that no helper is kept by it. */
export const INPUT_LIMIT = 262_144
/** Bytes of arguments and environment; the kernel refuses about 2 MiB with E2BIG. */
export const TEXT_LIMIT = 2_097_152

/** The frame up to the bytes of `input`, as latin1. Throws BAD_REQUEST, 400, for a NUL. */
export function encodeRun(token: number, spec: ProgramSpec): string {
  const { file, argv, env, cwd, input } = spec
  let length = 0
  if (typeof input === 'object') for (const chunk of input) length += chunk.length
  let text = `run\0${token}\0${input === 'stream' ? 'joined' : length > 0 ? 'data' : 'none'}`
  text += part(cwd, 'the working directory') + part(file, 'the path of the program') + '\0' + argv.length
  for (const argument of argv) text += part(argument, 'an argument')
  for (let i = 0; i < env.length; i += 2) text += part(env[i]!, 'a variable name') + part(env[i + 1]!, env[i]!)
  if (text.length > TEXT_LIMIT || length > INPUT_LIMIT) {
    throw new GatewayError('BAD_REQUEST', {
      status: 431,
      message: `process: ${text.length} bytes of arguments and environment, ${length} of input: at most ${TEXT_LIMIT} and ${INPUT_LIMIT} go to a program`,
    })
  }
  return u32(text.length) + u32(length) + text
}

/** The frame that makes its connection the standard input of the program with this token; it goes before the program's own. */
export function encodeJoin(token: number): string {
  const text = `join\0${token}`
  return u32(text.length) + u32(0) + text
}

/** A signal for a program's group, on the control channel. */
export function encodeKill(token: number, signal: number): string {
  return u32(token) + String.fromCharCode(signal)
}

function part(text: ByteString, what: string): string {
  if (text.includes('\0')) {
    throw new GatewayError('BAD_REQUEST', { status: 400, message: `process: a NUL byte in ${what}, which no program can be given` })
  }
  // A char above 255 would be cut to another byte, past whatever was checked before.
  if (!isByteString(text)) throw new GatewayError('CONTRACT', { status: 500, message: `process: ${what} is not a ByteString` })
  return '\0' + text
}

function u32(value: number): string {
  return String.fromCharCode(value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255)
}

/** Where starting a program failed. */
export type FailedStage = 'frame' | 'input' | 'cwd' | 'exec'
const STAGES: readonly FailedStage[] = ['frame', 'input', 'cwd', 'exec']

export type Report =
  | { readonly type: 'ready' }
  | { readonly type: 'started'; readonly token: number; readonly pid: number }
  | { readonly type: 'failed'; readonly token: number; readonly stage: FailedStage; readonly errno: number }
  | {
      readonly type: 'exited'
      readonly token: number
      /** -1 when a signal ended it. */
      readonly code: number
      /** 0 when it exited by itself. */
      readonly signal: number
      /** Others of its group are still there. */
      readonly left: boolean
      /** Seconds of CPU. */
      readonly userTime: number
      readonly systemTime: number
      /** Bytes. */
      readonly maxRss: number
    }
  | { readonly type: 'stderr'; readonly token: number; readonly bytes: Uint8Array }
  | { readonly type: 'gone'; readonly token: number }

// No report is longer: standard error comes in pieces of 64 KiB.
const REPORT_LIMIT = 65_536 + 64

/** Cuts what a helper sends into reports, however it arrives. */
export class ReportReader {
  #rest: Buffer = Buffer.alloc(0)

  /** Throws UPSTREAM_PROTOCOL for what no helper sends. */
  push(chunk: Uint8Array, emit: (report: Report) => void): void {
    const bytes = this.#rest.length === 0 ? Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length) : Buffer.concat([this.#rest, chunk])
    let at = 0
    while (bytes.length - at >= 4) {
      const length = bytes.readUInt32BE(at)
      if (length < 5 || length > REPORT_LIMIT) throw protocolError(`a report of ${length} bytes`)
      if (bytes.length - at - 4 < length) break
      emit(parseReport(bytes.subarray(at + 4, at + 4 + length)))
      at += 4 + length
    }
    // A copy, so that a few bytes do not keep the socket's whole buffer.
    this.#rest = at === bytes.length ? Buffer.alloc(0) : Buffer.from(bytes.subarray(at))
  }
}

function parseReport(bytes: Buffer): Report {
  const kind = bytes[0]!
  const token = bytes.readUInt32BE(1)
  const fields = bytes.subarray(5)
  const expected = LENGTHS[kind]
  if (expected !== undefined && fields.length !== expected) throw protocolError(`a report of type ${kind} with ${fields.length} bytes`)
  switch (kind) {
    case 1:
      return { type: 'ready' }
    case 2:
      return { type: 'started', token, pid: fields.readUInt32BE(0) }
    case 3:
      return { type: 'failed', token, stage: STAGES[fields[0]!] ?? 'frame', errno: fields.readUInt32BE(1) }
    case 4:
      return {
        type: 'exited',
        token,
        code: fields.readInt32BE(0),
        signal: fields[4]!,
        left: fields[5] === 1,
        userTime: fields.readDoubleBE(6),
        systemTime: fields.readDoubleBE(14),
        maxRss: fields.readDoubleBE(22),
      }
    case 5:
      return { type: 'stderr', token, bytes: fields }
    case 6:
      return { type: 'gone', token }
    default:
      throw protocolError(`a report of unknown type ${kind}`)
  }
}

const LENGTHS: Readonly<Record<number, number>> = { 1: 0, 2: 4, 3: 5, 4: 30, 6: 0 }

function protocolError(what: string): GatewayError {
  return new GatewayError('UPSTREAM_PROTOCOL', { status: 502, message: `process: the spawning helper sent ${what}` })
}
