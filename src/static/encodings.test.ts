import { expect, test } from 'vitest'
import { accepted } from './encodings.ts'

test.each<[string | undefined, string[]]>([
  [undefined, []],
  ['', []],
  ['gzip, deflate, br', ['br', 'gzip']],
  ['gzip', ['gzip']],
  ['x-gzip', ['gzip']],
  ['BR', ['br']],
  ['br;q=0.5, gzip;q=0.9', ['gzip', 'br']],
  ['br;q=0, gzip', ['gzip']],
  ['*', ['br', 'gzip']],
  ['*;q=0', []],
  ['*, br;q=0', ['gzip']],
  ['identity', []],
  ['identity, gzip;q=0.5', []],
  ['gzip ; q=1.000', ['gzip']],
  ['brotli', []],
])('%j takes %j', (header, expected) => {
  expect(accepted(header)).toEqual(expected)
})
