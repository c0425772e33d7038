import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import {
  ProtocolStatus,
  Role,
  Type,
  abortRequest,
  beginRequest,
  endRequest,
  header,
  readBeginRequest,
  readEndRequest,
  record,
} from './record.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

describe('a record', () => {
  test.each([
    [0, 0, 8],
    [1, 7, 16],
    [8, 0, 16],
    [65_528, 0, 65_536],
    [65_535, 1, 65_544],
  ])('with %i bytes of content has %i of padding and ends on a multiple of eight', (length, padding, total) => {
    const made = latin1(record(Type.Stdout, 0x0102, 'x'.repeat(length)))
    expect(made.length).toBe(total)
    expect(made.subarray(0, 8)).toEqual(Buffer.from([1, 6, 1, 2, length >> 8, length & 255, padding, 0]))
    expect(made.subarray(8 + length)).toEqual(Buffer.alloc(padding))
  })

  test('carries ids of both bytes', () => {
    expect(latin1(header(Type.Stdin, 65_535, 0))).toEqual(wire.bytes('01 05 ff ff 00 00 00 00'))
  })
})

describe('BEGIN_REQUEST', () => {
  test.each([
    [Role.Responder, true, '00 01 01 00 00 00 00 00'],
    [Role.Authorizer, false, '00 02 00 00 00 00 00 00'],
    [Role.Filter, true, '00 03 01 00 00 00 00 00'],
  ])('of role %i, keep %s, is %s both ways', (role, keep, body) => {
    const made = latin1(beginRequest(1, role, keep))
    expect(made.subarray(8)).toEqual(wire.bytes(body))
    expect(readBeginRequest(made, 8, 16)).toEqual({ role, keep })
  })

  test('with other flags and an unknown role is read, and its reserved bytes are ignored', () => {
    expect(readBeginRequest(wire.bytes('12 34 fe 01 02 03 04 05'), 0, 8)).toEqual({ role: 0x1234, keep: false })
  })

  test('that is too short is refused', () => {
    expect(() => readBeginRequest(Buffer.alloc(7), 0, 7)).toThrow('7 bytes')
  })
})

describe('END_REQUEST', () => {
  test.each([
    [0, ProtocolStatus.RequestComplete, '00 00 00 00 00 00 00 00', 0],
    [255, ProtocolStatus.Overloaded, '00 00 00 ff 02 00 00 00', 255],
    [-1, ProtocolStatus.CantMpxConn, 'ff ff ff ff 01 00 00 00', 0xffffffff],
    [0x80000000, ProtocolStatus.UnknownRole, '80 00 00 00 03 00 00 00', 0x80000000],
  ])('with status %i, %i is %s both ways', (app, protocol, body, read) => {
    const made = latin1(endRequest(7, app, protocol))
    expect(made.subarray(8)).toEqual(wire.bytes(body))
    expect(readEndRequest(made, 8, 16)).toEqual({ appStatus: read, protocolStatus: protocol })
  })

  test('ignores what is in its reserved bytes, as php-cgi leaves it there', () => {
    expect(readEndRequest(wire.endRequest(1, { app: 3 }), 8, 16)).toEqual({ appStatus: 3, protocolStatus: 0 })
  })

  test('that is too short is refused', () => {
    expect(() => readEndRequest(Buffer.alloc(4), 0, 4)).toThrow('END_REQUEST with a body of 4 bytes')
  })
})

test('ABORT_REQUEST is a record without content', () => {
  expect(latin1(abortRequest(2))).toEqual(wire.bytes('01 02 00 02 00 00 00 00'))
})
