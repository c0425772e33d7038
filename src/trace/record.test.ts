import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { RecordScanner, roleName, statusName, typeName } from './record.ts'

/** What a scanner makes of these reads, and of their end. */
function scan(...reads: readonly Buffer[]): { records: string[]; foreign: string | undefined } {
  const scanner = new RecordScanner()
  const said = reads.flatMap((read) => scanner.push(read))
  const cut = scanner.end()
  const records = [...said, ...(cut === undefined ? [] : [cut])].map(
    ({ type, id, content, length, padding }) => `${typeName(type)} ${id} ${length}+${padding} ${content.toString('latin1')}`,
  )
  return { records, foreign: scanner.foreign?.toString('latin1') }
}

const conversation = Buffer.concat([
  wire.record(1, 1, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0])),
  wire.stdout(1, 'hello', { padding: 3 }),
  wire.stdout(1, 'x', { padding: 255 }),
  wire.stderr(1, 'oh\n', { padding: 0 }),
  wire.record(wire.STDOUT, 1, '', { padding: 5 }),
  wire.record(77, 0, 'new'),
  wire.record(wire.STDIN, 0, 'no id'),
  wire.endRequest(1, { app: 258 }, { padding: 1 }),
])

describe('records', () => {
  test('come out whole, with their padding and whatever their type, however the bytes are cut', () => {
    const whole = scan(conversation)
    expect(whole.records.slice(1, -1)).toEqual([
      'STDOUT 1 5+3 hello',
      'STDOUT 1 1+255 x',
      'STDERR 1 3+0 oh\n',
      'STDOUT 1 0+5 ',
      'type 77 0 3+5 new',
      'STDIN 0 5+3 no id',
    ])
    for (let cut = 0; cut <= conversation.length; cut++)
      expect(scan(conversation.subarray(0, cut), conversation.subarray(cut)), `cut at ${cut}`).toEqual(whole)
    expect(scan(...wire.bytewise(conversation))).toEqual(whole)
  })

  test('that are cut off are told with what there is of them', () => {
    const bytes = wire.stdout(7, 'hello', { length: 9, padding: 0 })
    expect(scan(bytes).records).toEqual(['STDOUT 7 9+0 hello'])
    expect(scan(bytes.subarray(0, 8)).records).toEqual(['STDOUT 7 9+0 '])
    expect(scan(bytes.subarray(0, 7))).toEqual({ records: [], foreign: undefined })
  })

  test('end where something else begins, whose first eight bytes are kept and no more', () => {
    const http = Buffer.from('HTTP/1.1 200 OK\r\nSet-Cookie: secret\r\n\r\n')
    expect(scan(wire.stdout(1, 'a'), http)).toEqual({ records: ['STDOUT 1 1+7 a'], foreign: 'HTTP/1.1' })
    expect(scan(Buffer.concat([wire.stdout(1, 'a'), http])).foreign).toBe('HTTP/1.1')
    expect(scan(wire.stdout(1, 'a'), http, wire.stdout(1, 'b')).records).toHaveLength(1)
    expect(scan(Buffer.from('x')).foreign).toBe('x')
    expect(scan(wire.record(6, 1, 'v', { version: 2 })).foreign).toHaveLength(8)
  })
})

test.each([
  [typeName(1), 'BEGIN_REQUEST'],
  [typeName(11), 'UNKNOWN_TYPE'],
  [typeName(12), 'type 12'],
  [roleName(3), 'filter'],
  [roleName(0), 'role 0'],
  [statusName(2), 'OVERLOADED'],
  [statusName(9), 'status 9'],
])('%s is what %s is called', (name, expected) => {
  expect(name).toBe(expected)
})
