import { describe, expect, test } from 'vitest'
import { parseAnswerHead } from './head.ts'

describe('the head of an answer', () => {
  test('is a status, a reason and a list of fields', () => {
    expect(parseAnswerHead('200 OK\0Content-Type\0text/plain\0content-length\x0012')).toEqual({
      status: 200,
      reason: 'OK',
      headers: ['Content-Type', 'text/plain', 'content-length', '12'],
      length: 12,
    })
    expect(parseAnswerHead('404 ')).toEqual({ status: 404, reason: '', headers: [], length: undefined })
    expect(parseAnswerHead('204 None\0Content-Length\x000\0A\0b').headers).toEqual(['A', 'b'])
  })

  test('is read once, unless it sets a cookie', () => {
    expect(parseAnswerHead('200 OK\0A\0b')).toBe(parseAnswerHead('200 OK\0A\0b'))
    expect(parseAnswerHead('200 OK\0Set-Cookie\0b')).not.toBe(parseAnswerHead('200 OK\0Set-Cookie\0b'))
  })

  test.each([
    ['nothing', ''],
    ['an interim status', '103 Early Hints'],
    ['a status that is none', '600 What'],
    ['no reason', '200'],
    ['a line break in the reason', '200 OK\nX: y'],
    ['a name without a value', '200 OK\0A'],
    ['a name that is no token', '200 OK\0A b\0c'],
    ['a line break in a value', '200 OK\0A\0b\r\nc'],
    ['two lengths', '200 OK\0Content-Length\x001\0Content-Length\x001'],
    ['a length that is no number', '200 OK\0Content-Length\0-1'],
  ])('is refused with %s', (_, text) => {
    expect(() => parseAnswerHead(text)).toThrow(expect.objectContaining({ code: 'UPSTREAM_HEAD', status: 502 }))
  })
})
