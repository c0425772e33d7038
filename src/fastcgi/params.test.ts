import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { PairDecoder, decodePairs, encodeLength, encodePair, encodeRequest } from './params.ts'
import { Role } from './record.ts'

const latin1 = (text: string): Buffer => Buffer.from(text, 'latin1')

/** The records of a wire string, taken apart without the decoder. */
function split(text: string): { type: number; id: number; content: Buffer; padding: number }[] {
  const all = latin1(text)
  const out = []
  for (let at = 0; at < all.length;) {
    const length = all.readUInt16BE(at + 4)
    const padding = all[at + 6]!
    out.push({ type: all[at + 1]!, id: all.readUInt16BE(at + 2), content: all.subarray(at + 8, at + 8 + length), padding })
    at += 8 + length + padding
  }
  return out
}

describe('a name-value length', () => {
  test.each([
    [0, '00'],
    [127, '7f'],
    [128, '80 00 00 80'],
    [1000, '80 00 03 e8'],
    [0x7fffffff, 'ff ff ff ff'],
  ])('%i is %s on the wire', (length, hex) => {
    expect(latin1(encodeLength(length))).toEqual(wire.bytes(hex))
  })

  test.each([
    [0, 0],
    [127, 127],
    [128, 128],
    [5, 70_000],
  ])('of %i and %i comes back, in one byte or four', (nameLength, valueLength) => {
    const name = 'N'.repeat(nameLength)
    const value = 'v'.repeat(valueLength)
    expect(latin1(encodePair(name, value))).toEqual(wire.pair(name, value))
    for (const made of [wire.pair(name, value), wire.pair(name, value, true)]) {
      expect(decodePairs(made, 0, made.length)).toEqual([name, value])
    }
  })
})

describe('the parameters of a request', () => {
  const content = Buffer.concat([wire.pair('A', '1'), wire.pair('', ''), wire.pair('B', 'x'.repeat(200)), wire.pair('A', '\xff\0', true)])
  const expected = ['A', '1', '', '', 'B', 'x'.repeat(200), 'A', '\xff\0']

  test('are the same however the bytes are cut', () => {
    for (let cut = 0; cut <= content.length; cut++) {
      const decoder = new PairDecoder()
      decoder.push(content.subarray(0, cut))
      decoder.push(content, cut)
      expect(decoder.end(), `cut at ${cut}`).toEqual(expected)
    }
    const decoder = new PairDecoder()
    for (const byte of wire.bytewise(content)) decoder.push(byte)
    expect(decoder.end()).toEqual(expected)
  })

  test('that end within a pair are refused, wherever they end', () => {
    const borders = new Set([0, 4, 6, 6 + 206])
    for (let end = 0; end < content.length; end++) {
      const decoder = new PairDecoder()
      decoder.push(content, 0, end)
      if (borders.has(end)) expect(decoder.end()).toHaveLength([...borders].indexOf(end) * 2)
      else expect(() => decoder.end(), `ended at ${end}`).toThrow('within a pair')
    }
  })

  test.each([
    ['a length of 2^31 - 1', 'ff ff ff ff 00'],
    ['two lengths whose sum would wrap around', 'ff ff ff ff ff ff ff ff'],
    ['a length just over the limit', '80 10 00 01 00'],
  ])('with %s are refused before anything is kept', (_, hex) => {
    expect(() => new PairDecoder().push(wire.bytes(hex))).toThrowError(expect.objectContaining({ code: 'UPSTREAM_PROTOCOL', status: 502 }))
  })

  test('are bounded in bytes', () => {
    const decoder = new PairDecoder({ bytes: 20 })
    decoder.push(wire.pair('name', 'value'))
    expect(() => decoder.push(wire.pair('name', 'value'))).toThrow('more than 20 bytes')
  })

  test('are bounded in number', () => {
    const decoder = new PairDecoder({ pairs: 2 })
    decoder.push(Buffer.concat([wire.pair('', ''), wire.pair('', '')]))
    expect(() => decoder.push(wire.pair('', ''))).toThrow('more than 2 parameters')
  })

  test('of a megabyte byte by byte take time in proportion', () => {
    const big = wire.pair('BIG', 'x'.repeat(1_000_000))
    const decoder = new PairDecoder()
    const start = performance.now()
    for (let at = 0; at < big.length; at++) decoder.push(big, at, at + 1)
    expect(decoder.end()[1]).toHaveLength(1_000_000)
    // Copying all before it for each byte would be half a terabyte.
    expect(performance.now() - start).toBeLessThan(10_000)
  })

  test('of random bytes give pairs or an error, and nothing else', () => {
    const next = wire.random(7)
    for (let round = 0; round < 2000; round++) {
      const decoder = new PairDecoder({ bytes: 4096, pairs: 16 })
      const noise = Buffer.from(Array.from({ length: next(64) }, () => (next(4) === 0 ? 0x80 + next(128) : next(20))))
      try {
        for (let at = 0; at < noise.length;) {
          const to = Math.min(noise.length, at + 1 + next(9))
          decoder.push(noise, at, to)
          at = to
        }
        expect(decoder.end().length % 2).toBe(0)
      } catch (error) {
        expect(error).toMatchObject({ code: 'UPSTREAM_PROTOCOL' })
      }
    }
  })
})

describe('the start of a request', () => {
  test('is BEGIN_REQUEST, the parameters and their empty record', () => {
    const text = encodeRequest(1, Role.Responder, true, (emit) => {
      emit('REQUEST_METHOD', 'GET')
      emit('QUERY_STRING', '')
    })
    const content = Buffer.concat([wire.pair('REQUEST_METHOD', 'GET'), wire.pair('QUERY_STRING', '')])
    expect(split(text)).toEqual([
      { type: 1, id: 1, content: wire.bytes('00 01 01 00 00 00 00 00'), padding: 0 },
      { type: 4, id: 1, content, padding: -content.length & 7 },
      { type: 4, id: 1, content: Buffer.alloc(0), padding: 0 },
    ])
  })

  test('without parameters still has the empty record, and only that', () => {
    expect(split(encodeRequest(300, Role.Authorizer, false, () => {})).map((each) => [each.type, each.id, each.content.length])).toEqual([
      [1, 300, 8],
      [4, 300, 0],
    ])
  })

  test('never lays a pair across two records, and fills records up to 65,528 bytes', () => {
    const text = encodeRequest(1, Role.Responder, true, (emit) => {
      for (let i = 0; i < 100; i++) emit(`NAME_${i}`, 'v'.repeat(i * 37))
      emit('EXACT', 'x'.repeat(65_528 - 5 - 5))
      emit('LONGEST', 'x'.repeat(65_535 - 7 - 5))
    })
    const records = split(text).slice(1, -1)
    const names = records.flatMap(({ content }) => decodePairs(content, 0, content.length)).filter((_, i) => i % 2 === 0)
    expect(names).toHaveLength(102)
    expect(records.map((each) => each.content.length)).toEqual([expect.any(Number), expect.any(Number), expect.any(Number), 65_528, 65_535])
    for (const each of records) expect((each.content.length + each.padding) % 8).toBe(0)
    expect(latin1(text).length).toBe(text.length)
  })

  test('refuses a pair that no record can carry, with the status for it', () => {
    expect(() => encodeRequest(1, Role.Responder, true, (emit) => emit('HTTP_X', 'x'.repeat(65_535)))).toThrowError(
      expect.objectContaining({ code: 'BAD_REQUEST', status: 431 }),
    )
    expect(encodeRequest(1, Role.Responder, true, () => {})).toHaveLength(24)
  })
})
