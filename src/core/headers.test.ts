import { describe, expect, test } from 'vitest'
import {
  fromByteString,
  getHeader,
  getHeaders,
  hasHeader,
  isByteString,
  isFieldValue,
  isToken,
  sameName,
  toByteString,
  withHeader,
  withoutHeaders,
} from './headers.ts'

describe('a name', () => {
  test.each([
    ['Host', 'host', true],
    ['HOST', 'host', true],
    ['host', 'host', true],
    ['Host', 'hosts', false],
    ['', '', true],
    // Folding beyond ASCII changes lengths and meanings: K (U+212A) is no k, [ is no {.
    ['\u212aey', 'key', false],
    ['a[', 'a{', false],
    ['@', '`', false],
  ])('%j is the same as %j: %s', (name, lower, same) => {
    expect(sameName(name, lower)).toBe(same)
  })

  test.each(['Host', 'X-A_b.c', "!#$%&'*+-.^_`|~", 'a'])('%j is a token', (name) => expect(isToken(name)).toBe(true))
  test.each(['', 'a b', 'a:', 'a\0', 'é', 'a\x7f', '€', '(a)', 'a,b', 'a\r\n'])('%j is not', (name) => expect(isToken(name)).toBe(false))
})

describe('a value', () => {
  test.each(['', 'a', 'a\tb', ' a ', '\xff', '"quoted"'])('%j can be one', (value) => expect(isFieldValue(value)).toBe(true))
  test.each(['\r', '\n', 'a\r\nB: c', '\0', '\x1b[0m', '\x7f', '€'])('%j cannot', (value) => expect(isFieldValue(value)).toBe(false))
})

describe('a list', () => {
  const list = ['A', '1', 'b', '2', 'a', '3', 'Cookie', 'x=1', 'cookie', 'y=2'] as const

  test('gives one value, repeats joined: with a comma, those of Cookie with a semicolon', () => {
    expect(getHeader(list, 'a')).toBe('1, 3')
    expect(getHeader(list, 'cookie')).toBe('x=1; y=2')
    expect(getHeader(list, 'c')).toBeUndefined()
    expect(getHeaders(list, 'a')).toEqual(['1', '3'])
    expect([hasHeader(list, 'b'), hasHeader(list, '1')]).toEqual([true, false])
  })

  test('without fields it has not is the same list', () => {
    expect(withoutHeaders(list, 'c', 'd')).toBe(list)
    expect(withoutHeaders(list, 'a', 'cookie')).toEqual(['b', '2'])
  })

  test('with a field has it once', () => {
    expect(withHeader(list, 'A', '4')).toEqual(['b', '2', 'Cookie', 'x=1', 'cookie', 'y=2', 'A', '4'])
  })
})

describe('bytes and text', () => {
  test.each([
    ['', ''],
    ['plain', 'plain'],
    ['é', '\xc3\xa9'],
    ['€', '\xe2\x82\xac'],
    ['😀', '\xf0\x9f\x98\x80'],
  ])('%j is %j, both ways', (text, bytes) => {
    expect(toByteString(text)).toBe(bytes)
    expect(fromByteString(bytes)).toBe(text)
    expect(isByteString(bytes)).toBe(true)
  })

  test('bytes that are no UTF-8 become U+FFFD for people', () => {
    expect(fromByteString('a\xff')).toBe('a\ufffd')
    expect(isByteString('€')).toBe(false)
  })
})
