// Records as they lie on the wire, for looking at them: whole, in their order, with what a decoder drops (padding, empty
// ones, unknown types, wrong ids). From nobody's side: the bytes of either direction are read in the same way.
//
// Unlike the decoder of `viaduct/fastcgi` it waits for a record to be whole and refuses nothing that has a header of version 1:
// a tool that is to show what went wrong must not stop where it goes wrong. Specification: FastCGI 1.0, sections 3.3 and 8.

import { ProtocolStatus, Role, Type } from '../fastcgi/index.ts'

/** `to` the application: what a web server says; `from` it: the answers. */
export type Direction = 'to' | 'from'

/** One record. */
export interface TraceRecord {
  /** Its type; `typeName` makes a word of it. */
  readonly type: number
  /** Of its request; 0 for the connection's own. */
  readonly id: number
  /** A view, perhaps of a larger read: copy what is to be kept. */
  readonly content: Buffer
  /** Bytes of content that the header announces: more than there are where the connection ended within the record. */
  readonly length: number
  /** Bytes of padding. */
  readonly padding: number
}

/** Bytes of a record's header (FastCGI 1.0, 3.3). */
export const HEADER_LENGTH = 8
const VERSION = 1

/** One per connection and direction. Holds at most one record: 64 KiB. */
export class RecordScanner {
  readonly #header = Buffer.alloc(HEADER_LENGTH)
  #headerLength = 0
  #content: Buffer | undefined
  #filled = 0
  #padding = 0
  #foreign: Buffer | undefined

  /** What stands where a header should: its eight bytes, or the fewer there are. Nothing is read any more then. */
  get foreign(): Buffer | undefined {
    return this.#foreign
  }

  /** The records that these bytes complete. */
  push(bytes: Buffer): TraceRecord[] {
    const found: TraceRecord[] = []
    const end = bytes.length
    for (let at = 0; at < end && this.#foreign === undefined;) {
      if (this.#padding > 0) {
        const skipped = Math.min(this.#padding, end - at)
        this.#padding -= skipped
        at += skipped
      } else if (this.#headerLength < HEADER_LENGTH) at = this.#readHeader(bytes, at, found)
      else at = this.#readContent(bytes, at, found)
    }
    return found
  }

  /** The connection has ended in this direction: the record that is not whole, if there is one and its header is. */
  end(): TraceRecord | undefined {
    if (this.#headerLength < HEADER_LENGTH || this.#foreign !== undefined) return undefined
    const cut = this.#record((this.#content ?? Buffer.alloc(0)).subarray(0, this.#filled))
    this.#headerLength = 0
    return cut
  }

  #readHeader(bytes: Buffer, at: number, found: TraceRecord[]): number {
    const next = Math.min(bytes.length, at + HEADER_LENGTH - this.#headerLength)
    bytes.copy(this.#header, this.#headerLength, at, next)
    this.#headerLength += next - at
    const header = this.#header
    if (header[0] !== VERSION) {
      // Whoever looks at it recognizes another protocol by its first bytes; more of them could be secrets.
      const more = bytes.subarray(next, next + HEADER_LENGTH - this.#headerLength)
      this.#foreign = Buffer.concat([header.subarray(0, this.#headerLength), more])
      return bytes.length
    }
    if (this.#headerLength === HEADER_LENGTH && header.readUInt16BE(4) === 0) this.#complete(Buffer.alloc(0), found)
    return next
  }

  #readContent(bytes: Buffer, at: number, found: TraceRecord[]): number {
    const length = this.#header.readUInt16BE(4)
    if (this.#content === undefined && bytes.length - at >= length) {
      this.#complete(bytes.subarray(at, at + length), found)
      return at + length
    }
    this.#content ??= Buffer.allocUnsafeSlow(length)
    const next = Math.min(bytes.length, at + length - this.#filled)
    bytes.copy(this.#content, this.#filled, at, next)
    this.#filled += next - at
    if (this.#filled === length) this.#complete(this.#content, found)
    return next
  }

  #complete(content: Buffer, found: TraceRecord[]): void {
    found.push(this.#record(content))
    this.#padding = this.#header[6]!
    this.#headerLength = 0
    this.#content = undefined
    this.#filled = 0
  }

  #record(content: Buffer): TraceRecord {
    const header = this.#header
    return { type: header[1]!, id: header.readUInt16BE(2), content, length: header.readUInt16BE(4), padding: header[6]! }
  }
}

const TYPES: Readonly<Record<number, string>> = {
  [Type.BeginRequest]: 'BEGIN_REQUEST',
  [Type.AbortRequest]: 'ABORT_REQUEST',
  [Type.EndRequest]: 'END_REQUEST',
  [Type.Params]: 'PARAMS',
  [Type.Stdin]: 'STDIN',
  [Type.Stdout]: 'STDOUT',
  [Type.Stderr]: 'STDERR',
  [Type.Data]: 'DATA',
  [Type.GetValues]: 'GET_VALUES',
  [Type.GetValuesResult]: 'GET_VALUES_RESULT',
  [Type.UnknownType]: 'UNKNOWN_TYPE',
}
const ROLES: Readonly<Record<number, string>> = { [Role.Responder]: 'responder', [Role.Authorizer]: 'authorizer', [Role.Filter]: 'filter' }
const STATUSES: Readonly<Record<number, string>> = {
  [ProtocolStatus.RequestComplete]: 'REQUEST_COMPLETE',
  [ProtocolStatus.CantMpxConn]: 'CANT_MPX_CONN',
  [ProtocolStatus.Overloaded]: 'OVERLOADED',
  [ProtocolStatus.UnknownRole]: 'UNKNOWN_ROLE',
}

/** The specification's name of a record type; `type 42` for one it does not know. */
export function typeName(type: number): string {
  return TYPES[type] ?? `type ${type}`
}

/** `responder`, `authorizer`, `filter`, or `role 42`. */
export function roleName(role: number): string {
  return ROLES[role] ?? `role ${role}`
}

/** `REQUEST_COMPLETE` and the like, or `status 42`. */
export function statusName(protocolStatus: number): string {
  return STATUSES[protocolStatus] ?? `status ${protocolStatus}`
}
