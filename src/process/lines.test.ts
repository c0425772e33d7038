import { PassThrough } from 'node:stream'
import { finished } from 'node:stream/promises'
import { describe, expect, test } from 'vitest'
import { LineSplitter, lines, visible } from './lines.ts'
import type { LineLimits } from './lines.ts'

function split(chunks: readonly (string | Uint8Array)[], limits: LineLimits = {}): string[] {
  const told: string[] = []
  const splitter = new LineSplitter((line) => told.push(line), limits)
  for (const chunk of chunks) splitter.push(Buffer.from(chunk as string), 0)
  splitter.end()
  return told
}

describe('lines', () => {
  test.each<[string, string[]]>([
    ['', []],
    ['a', ['a']],
    ['a\n', ['a']],
    ['a\nb', ['a', 'b']],
    ['a\r\nb\r\n', ['a', 'b']],
    ['\n\n', ['', '']],
    ['ä€😀\nz', ['ä€😀', 'z']],
    ['one\x1b[31m\rtwo\n', ['one\\x1b[31m\\x0dtwo']],
  ])('%j, however it is cut', (text, expected) => {
    const bytes = Buffer.from(text)
    expect(split([bytes])).toEqual(expected)
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(split([bytes.subarray(0, cut), bytes.subarray(cut)]), `cut at ${cut}`).toEqual(expected)
    expect(split([...bytes].map((byte) => Uint8Array.of(byte)))).toEqual(expected)
  })

  test.each([
    ['12345678\nx\n', ['12345678', 'x']],
    ['123456789\nx\n', ['12345678 [1 more bytes]', 'x']],
    [`${'y'.repeat(1000)}\nx`, ['yyyyyyyy [992 more bytes]', 'x']],
    ['123456789', ['12345678 [1 more bytes]']],
  ])('over 8 bytes are cut, wherever they arrive cut: %#', (text, expected) => {
    for (let cut = 0; cut <= text.length; cut += 1) expect(split([text.slice(0, cut), text.slice(cut)], { length: 8 })).toEqual(expected)
  })

  test('without an end take no more memory than their limit', () => {
    const told: string[] = []
    const splitter = new LineSplitter((line) => told.push(line), { length: 1024 })
    for (let i = 0; i < 100_000; i++) splitter.push(Buffer.from('zz'), 0)
    splitter.end()
    expect(told).toEqual([`${'z'.repeat(1024)} [${200_000 - 1024} more bytes]`])
  })

  test('beyond the rate are dropped, counted, and told of in the next second (CVE-2015-9253)', () => {
    const told: string[] = []
    const splitter = new LineSplitter((line) => told.push(line), { rate: 2 })
    splitter.push(Buffer.from('a\nb\nc\nd\n'), 0)
    splitter.push(Buffer.from('e\n'), 999)
    splitter.settle(999)
    expect(told).toEqual(['a', 'b'])
    splitter.push(Buffer.from('f\n'), 1000)
    expect(told).toEqual(['a', 'b', '[3 lines dropped: more than 2 in a second]', 'f'])
    splitter.push(Buffer.from('g\nh\n'), 1001)
    splitter.settle(2000)
    expect(told.slice(4)).toEqual(['g', '[1 lines dropped: more than 2 in a second]'])
    splitter.end()
    expect(told.length).toBe(6)
  })
})

test.each([
  ['plain, tab\t, ä and 😀', 'plain, tab\t, ä and 😀'],
  ['\0\x07\x1b\x7f', '\\x00\\x07\\x1b\\x7f'],
  ['\x85\x9b', '\\x85\\x9b'],
  ['a\nb\rc', 'a\\x0ab\\x0dc'],
  ['\u2028\u2029\u202e\u2066', '\\u2028\\u2029\\u202e\\u2066'],
])('%j is shown as %j', (text, shown) => {
  expect(visible(text)).toBe(shown)
})

describe('a stream', () => {
  test('is read to its end, its last line included', async () => {
    const told: string[] = []
    const stream = new PassThrough()
    lines(stream, (line) => told.push(line))
    stream.write('a\nb')
    stream.end('c')
    await finished(stream)
    expect(told).toEqual(['a', 'bc'])
  })

  test('that breaks still tells what it had said', async () => {
    const told: string[] = []
    const stream = new PassThrough()
    lines(stream, (line) => told.push(line))
    stream.write('half')
    await new Promise((resolve) => setImmediate(resolve))
    stream.destroy(new Error('broken'))
    await finished(stream).catch(() => {})
    expect(told).toEqual(['half'])
  })

  test('is read on when it says too much', async () => {
    const told: string[] = []
    const stream = new PassThrough()
    lines(stream, (line) => told.push(line), { rate: 3 })
    for (let i = 0; i < 10_000; i++) if (!stream.write('flood\n')) await new Promise((resolve) => stream.once('drain', resolve))
    stream.end()
    await finished(stream)
    expect(told.length).toBeLessThan(100)
    expect(told.slice(0, 3)).toEqual(['flood', 'flood', 'flood'])
    expect(told.at(-1)).toMatch(/^\[\d+ lines dropped/)
  })
})
