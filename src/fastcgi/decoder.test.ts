import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { RecordDecoder } from './decoder.ts'
import { GatewayError } from '../core/index.ts'

/** What a decoder says of these reads: stream content joined, so that it does not depend on the cuts. */
function decode(...reads: readonly Buffer[]): string[] {
  const out: string[] = []
  let stream = ''
  const decoder = new RecordDecoder({
    data(type, id, bytes, start, end) {
      expect(end).toBeGreaterThan(start)
      const key = `data ${type} ${id} `
      if (stream !== key) out.push(key)
      stream = key
      out[out.length - 1] += bytes.toString('latin1', start, end)
    },
    end(type, id) {
      stream = ''
      out.push(`end ${type} ${id}`)
    },
    record(type, id, bytes, start, end) {
      stream = ''
      out.push(`record ${type} ${id} ${bytes.toString('hex', start, end)}`)
    },
  })
  for (const read of reads) decoder.push(read)
  out.push(decoder.atBoundary ? 'boundary' : 'within')
  return out
}

const conversation = Buffer.concat([
  wire.stdout(1, 'hello', { padding: 3 }),
  wire.stderr(1, 'oh\n', { padding: 0 }),
  wire.stdout(1, ' world', { padding: 255 }),
  wire.record(wire.STDOUT, 1, '', { padding: 5 }),
  wire.record(wire.UNKNOWN_TYPE, 0, wire.bytes('2a 00 00 00 00 00 00 00')),
  wire.record(77, 0, 'new'),
  wire.record(78, 0),
  wire.endRequest(1, { app: 258 }, { padding: 1 }),
])

describe('records', () => {
  test('are what was sent', () => {
    expect(decode(conversation)).toEqual([
      'data 6 1 hello',
      'data 7 1 oh\n',
      'data 6 1  world',
      'end 6 1',
      'record 11 0 2a00000000000000',
      `record 77 0 ${Buffer.from('new').toString('hex')}`,
      'record 78 0 ',
      'record 3 1 000001020043542d',
      'boundary',
    ])
  })

  test('are the same however the bytes are cut', () => {
    const whole = decode(conversation)
    for (let cut = 0; cut <= conversation.length; cut++) {
      expect(decode(conversation.subarray(0, cut), conversation.subarray(cut)), `cut at ${cut}`).toEqual(whole)
    }
    expect(decode(...wire.bytewise(conversation))).toEqual(whole)
  })

  test('of every content length and padding at the borders are read', () => {
    for (const length of [0, 1, 65_535]) {
      for (const padding of [0, 1, 255]) {
        const wireBytes = Buffer.concat([wire.stdout(9, 'x'.repeat(length), { padding }), wire.record(wire.STDERR, 9)])
        const content = length === 0 ? 'end 6 9' : `data 6 9 ${'x'.repeat(length)}`
        expect(decode(wireBytes)).toEqual([content, 'end 7 9', 'boundary'])
      }
    }
  })

  test('are handed on as views of what was read', () => {
    const read = wire.stdout(1, 'hello')
    let seen: Buffer | undefined
    new RecordDecoder({ data: (_type, _id, bytes) => void (seen = bytes), end() {}, record() {} }).push(read)
    expect(seen).toBe(read)
  })

  test('that are not whole are told from whole ones, but outstanding padding is not missed', () => {
    expect(decode(wire.stdout(1, 'hello').subarray(0, 4)).at(-1)).toBe('within')
    expect(decode(wire.stdout(1, 'hello').subarray(0, 10)).at(-1)).toBe('within')
    expect(decode(wire.stdout(1, 'hello').subarray(0, 14)).at(-1)).toBe('boundary')
  })
})

describe('a peer that breaks the protocol', () => {
  test.each([
    ['another version', wire.record(wire.STDOUT, 1, 'x', { version: 2 })],
    ['version 0', Buffer.alloc(8)],
    ['an HTTP answer', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a request record without id', wire.record(wire.STDOUT, 0, 'x')],
    ['a management record with an id', wire.record(wire.GET_VALUES_RESULT, 1)],
    ['an unknown type with an id', wire.record(12, 1)],
    ['type 0', wire.record(0, 1)],
  ])('by %s is refused, and nothing after it is read', (_, bad) => {
    const decoder = new RecordDecoder({ data() {}, end() {}, record() {} })
    expect(() => decoder.push(bad)).toThrowError(expect.objectContaining({ code: 'UPSTREAM_PROTOCOL', status: 502 }))
    expect(() => decoder.push(wire.stdout(1, 'x'))).toThrow(GatewayError)
  })

  test('takes no more once its listener has thrown', () => {
    const decoder = new RecordDecoder({
      data: () => {
        throw new Error('no')
      },
      end() {},
      record() {},
    })
    expect(() => decoder.push(wire.stdout(1, 'x'))).toThrow('no')
    expect(() => decoder.push(wire.stdout(1, 'x'))).toThrow('after a protocol error')
  })

  test('by any change of the bytes does no more than that', () => {
    const next = wire.random(1)
    for (let round = 0; round < 5000; round++) {
      const mutated = Buffer.from(conversation)
      for (let n = 1 + next(4); n > 0; n--) mutated[next(mutated.length)] = next(256)
      const cut = next(mutated.length)
      try {
        const said = decode(mutated.subarray(0, cut), mutated.subarray(cut))
        expect(said.join('').length).toBeLessThan(4 * mutated.length)
      } catch (error) {
        expect(error).toMatchObject({ code: 'UPSTREAM_PROTOCOL' })
      }
    }
  })
})
