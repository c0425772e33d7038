import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import {
  VALUE_NAMES,
  decodeGetValues,
  decodeGetValuesResult,
  decodeUnknownType,
  encodeGetValues,
  encodeGetValuesResult,
  encodeUnknownType,
} from './management.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')
const content = (record: Buffer): [Buffer, number, number] => [record, 8, 8 + record.readUInt16BE(4)]

describe('management records', () => {
  test('ask for values by name', () => {
    const made = latin1(encodeGetValues(VALUE_NAMES))
    const names = Buffer.concat(VALUE_NAMES.map((name) => wire.pair(name, '')))
    expect(made.subarray(0, 4)).toEqual(Buffer.from([1, 9, 0, 0]))
    expect(made.subarray(8, 8 + names.length)).toEqual(names)
    expect(decodeGetValues(...content(made))).toEqual(VALUE_NAMES)
  })

  test('ask with padding even where none is needed: libfcgi does not answer else', () => {
    expect(latin1(encodeGetValues(['FCGI_MAX_CONNS']))).toEqual(
      Buffer.concat([wire.bytes('01 09 00 00 00 10 08 00'), wire.pair('FCGI_MAX_CONNS', ''), Buffer.alloc(8)]),
    )
    expect(latin1(encodeGetValues(['FCGI_MAX_REQS'])).readUInt8(6)).toBe(1)
  })

  test('answer with the values that there are', () => {
    const made = latin1(encodeGetValuesResult({ FCGI_MPXS_CONNS: '0' }))
    expect(made).toEqual(Buffer.concat([wire.bytes('01 0a 00 00 00 12 06 00'), wire.pair('FCGI_MPXS_CONNS', '0'), Buffer.alloc(6)]))
    expect(decodeGetValuesResult(...content(made))).toEqual(new Map([['FCGI_MPXS_CONNS', '0']]))
  })

  test('say which type is unknown, with zeros in the reserved bytes', () => {
    const made = latin1(encodeUnknownType(200))
    expect(made).toEqual(wire.bytes('01 0b 00 00 00 08 00 00 c8 00 00 00 00 00 00 00'))
    expect(decodeUnknownType(...content(made))).toBe(200)
  })

  test.each([
    ['an UNKNOWN_TYPE that is too short', () => decodeUnknownType(Buffer.alloc(7), 0, 7)],
    ['a result that ends within a pair', () => decodeGetValuesResult(wire.bytes('05 01 41'), 0, 3)],
    ['values that no record can carry', () => encodeGetValuesResult({ X: 'x'.repeat(65_535) })],
  ])('refuse %s', (_, make) => {
    expect(make).toThrowError(expect.objectContaining({ code: 'UPSTREAM_PROTOCOL' }))
  })
})
