// The bytes of one FastCGI record, from whichever side: header, padding, and the bodies of the discrete records.
//
// Records are made as latin1 strings, one char a byte: a whole request then leaves as one write without any Buffer.
// Specification: FastCGI 1.0, sections 3.3, 5.1, 5.4, 5.5 and 8.

import { GatewayError } from '../core/index.ts'
import type { ByteString } from '../core/index.ts'

export const VERSION_1 = 1
export const HEADER_LENGTH = 8

/** Record types (FastCGI 1.0, 8). 1 to 8 belong to a request, the others to the connection. */
export const Type = {
  BeginRequest: 1,
  AbortRequest: 2,
  EndRequest: 3,
  Params: 4,
  Stdin: 5,
  Stdout: 6,
  Stderr: 7,
  Data: 8,
  GetValues: 9,
  GetValuesResult: 10,
  UnknownType: 11,
} as const

/** What the application is asked to be (FastCGI 1.0, 6). */
export const Role = { Responder: 1, Authorizer: 2, Filter: 3 } as const
export type Role = (typeof Role)[keyof typeof Role]

/** Why a request ended (FastCGI 1.0, 5.5). */
export const ProtocolStatus = { RequestComplete: 0, CantMpxConn: 1, Overloaded: 2, UnknownRole: 3 } as const

/** What the format can carry. */
export const MAX_CONTENT = 65_535
/** What we put into a record when there is more: the largest content that needs no padding. */
export const FULL_CONTENT = 65_528

const KEEP_CONN = 1

/** Whether records of this type make up a stream, whose end is an empty record (FastCGI 1.0, 3.3). */
export function isStream(type: number): boolean {
  return type >= Type.Params && type <= Type.Data
}

/** Padding that brings the next record to a multiple of eight bytes. */
export function paddingFor(length: number): number {
  return -length & 7
}

const { fromCharCode } = String
/** Zero bytes, by their number: padding never carries what was in memory before. */
export const ZEROS: readonly ByteString[] = Array.from({ length: 8 }, (_, count) => '\0'.repeat(count))

/** The eight bytes before a content of this length, with the padding that follows it. */
export function header(type: number, id: number, length: number, padding: number = paddingFor(length)): ByteString {
  return fromCharCode(VERSION_1, type, id >> 8, id & 0xff, length >> 8, length & 0xff, padding, 0)
}

/** A whole record. The content must fit: at most 65,535 bytes. */
export function record(type: number, id: number, content: ByteString): ByteString {
  return header(type, id, content.length) + content + ZEROS[paddingFor(content.length)]!
}

/** Starts a request. With `keep` the application leaves the connection open after it. */
export function beginRequest(id: number, role: Role, keep: boolean): ByteString {
  return record(Type.BeginRequest, id, fromCharCode(role >> 8, role & 0xff, keep ? KEEP_CONN : 0) + '\0\0\0\0\0')
}

/** Ends a request, from the application's side. `appStatus` is taken as unsigned 32 bits, like an exit status. */
export function endRequest(id: number, appStatus: number, protocolStatus: number): ByteString {
  const status = appStatus >>> 0
  const bytes = fromCharCode(status >>> 24, (status >>> 16) & 0xff, (status >>> 8) & 0xff, status & 0xff, protocolStatus)
  return record(Type.EndRequest, id, bytes + '\0\0\0')
}

/** Asks the application to end a request early. */
export function abortRequest(id: number): ByteString {
  return record(Type.AbortRequest, id, '')
}

/**
 * An empty STDIN of a request that does not exist: skipped by every application (FastCGI 1.0, 3.3: inactive ids are ignored). php-cgi
 * closes a new connection on which nothing comes for 5 s, and keeps one for good that began with this.
 */
export const SKIPPED: ByteString = record(Type.Stdin, 0, '')

/** What BEGIN_REQUEST says (FastCGI 1.0, 5.1). */
export interface BeginRequest {
  /** Not checked: an unknown role is answered with UNKNOWN_ROLE, it does not break the protocol. */
  readonly role: number
  /** FCGI_KEEP_CONN: the connection stays open after this request. */
  readonly keep: boolean
}

/** The body of BEGIN_REQUEST. Its reserved bytes are ignored. */
export function readBeginRequest(bytes: Uint8Array, start: number, end: number): BeginRequest {
  if (end - start < 8) throw shortBody('BEGIN_REQUEST', end - start)
  return { role: (bytes[start]! << 8) | bytes[start + 1]!, keep: (bytes[start + 2]! & KEEP_CONN) !== 0 }
}

/** What END_REQUEST says (FastCGI 1.0, 5.5). */
export interface EndRequest {
  /** The program's exit status, or whatever it means by it; 0 to 2^32 - 1. */
  readonly appStatus: number
  /** One of `ProtocolStatus`; not checked. */
  readonly protocolStatus: number
}

/** The body of END_REQUEST. Its reserved bytes are ignored: PHP leaves what was in memory there. */
export function readEndRequest(bytes: Uint8Array, start: number, end: number): EndRequest {
  if (end - start < 8) throw shortBody('END_REQUEST', end - start)
  const appStatus = ((bytes[start]! << 24) | (bytes[start + 1]! << 16) | (bytes[start + 2]! << 8) | bytes[start + 3]!) >>> 0
  return { appStatus, protocolStatus: bytes[start + 4]! }
}

function shortBody(name: string, length: number): GatewayError {
  return protocolError(`${name} with a body of ${length} bytes, 8 are needed`)
}

/** The other side broke the protocol: the connection is of no more use. */
export function protocolError(fact: string): GatewayError {
  return new GatewayError('UPSTREAM_PROTOCOL', { status: 502, message: `fastcgi: ${fact}` })
}
