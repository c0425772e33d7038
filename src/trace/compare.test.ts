import { describe, expect, test } from 'vitest'
import { parseHead } from '../core/index.ts'
import { BodyComparison, compareHeads } from './compare.ts'
import type { Difference } from './compare.ts'

const same = (): boolean => false
const ignored = (name: string): boolean => name.toLowerCase() === 'date'

describe('heads', () => {
  test.each<[string, string, readonly Difference[]]>([
    ['A: b\n\n', 'A: b\n\n', []],
    ['A: b\n\n', 'a: b\n\n', []],
    ['A: b\nC: d\n\n', 'C: d\nA: b\n\n', []],
    ['A: b\n\n', 'Status: 404\nA: b\n\n', [{ what: 'status', from: '200', to: '404' }]],
    ['A: b\n\n', 'A: c\n\n', [{ what: 'header', name: 'A', from: 'b', to: 'c' }]],
    ['A: b\nX: y\n\n', 'A: b\n\n', [{ what: 'header', name: 'X', from: 'y', to: undefined }]],
    ['A: b\n\n', 'A: b\nX: y\n\n', [{ what: 'header', name: 'X', from: undefined, to: 'y' }]],
    ['A: b\nA: c\n\n', 'A: c\nA: b\n\n', [{ what: 'header', name: 'A', from: 'b, c', to: 'c, b' }]],
    ['A: b\nA: c\n\n', 'A: b, c\n\n', [{ what: 'header', name: 'A', from: 'b, c', to: 'b, c' }]],
  ])('%j and %j differ by %j', (from, to, expected) => {
    expect(compareHeads(parseHead(from), parseHead(to), same)).toEqual(expected)
  })

  test('may differ where they are told to', () => {
    expect(compareHeads(parseHead('A: b\nDate: 1\n\n'), parseHead('A: b\ndate: 2\n\n'), ignored)).toEqual([])
    expect(compareHeads(parseHead('A: b\n\n'), parseHead('A: b\ndate: 2\n\n'), ignored)).toEqual([])
  })
})

async function* pieces(text: string, size: number): AsyncGenerator<Buffer> {
  for (let at = 0; at < text.length; at += size) yield Buffer.from(text.slice(at, at + size))
}

async function compare(from: string, to: string, sizes: readonly [number, number]): Promise<Difference | undefined> {
  const comparison = new BodyComparison(pieces(from, sizes[0]), from.length)
  for await (const chunk of pieces(to, sizes[1])) await comparison.push(chunk)
  return comparison.finish()
}

describe('bodies', () => {
  const long = 'The quick brown fox jumps over the lazy dog. '.repeat(5)
  const cuts: readonly (readonly [number, number])[] = [1, 2, 7, 64, 1000].flatMap((a) => [1, 3, 8, 1000].map((b) => [a, b] as const))

  test.each([
    ['', '', undefined],
    [long, long, undefined],
    [long, long.replace('brown', 'black'), 11],
    [long, `${long.slice(0, 200)}!${long.slice(201)}`, 200],
    [long, long.slice(0, 100), 100],
    [long, `${long}more`, long.length],
    ['', 'a', 0],
    ['a', '', 0],
    ['a', 'b', 0],
  ])('%j and %j first differ at %s, however they are cut', async (from, to, at) => {
    for (const sizes of cuts) {
      const found = await compare(from, to, sizes)
      if (at === undefined) expect(found, `${sizes}`).toBeUndefined()
      else expect(found, `${sizes}`).toMatchObject({ what: 'body', at, from: { length: from.length }, to: { length: to.length } })
    }
  })

  test('are shown around the place', async () => {
    const found = await compare(long, long.replace('lazy', 'idle'), [1000, 1000])
    if (found?.what !== 'body') throw new Error('the same')
    expect(found.from.excerpt.toString()).toBe(long.slice(15, 15 + 64))
    expect(found.to.excerpt.toString()).toContain('idle dog')
  })
})
