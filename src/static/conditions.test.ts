import { describe, expect, test } from 'vitest'
import { makeRequest } from '../testing/index.ts'
import { isConditional, judge } from './conditions.ts'

const mtimeMs = Date.UTC(2026, 0, 2, 3, 4, 5)
const date = new Date(mtimeMs).toUTCString()
const before = new Date(mtimeMs - 1000).toUTCString()
const after = new Date(mtimeMs + 1000).toUTCString()
const file = { size: 100, etag: '"abc"', lastModified: date, mtimeMs }

const verdict = (headers: Record<string, string>, method = 'GET'): unknown => judge(makeRequest({ method, headers }), file)

describe('a conditional request', () => {
  test.each<[Record<string, string>, string]>([
    [{}, 'whole'],
    [{ 'If-None-Match': '"abc"' }, 'not modified'],
    [{ 'If-None-Match': 'W/"abc"' }, 'not modified'],
    [{ 'If-None-Match': '"x", "abc"' }, 'not modified'],
    [{ 'If-None-Match': '*' }, 'not modified'],
    [{ 'If-None-Match': '"x"' }, 'whole'],
    // The tag decides; the date is for those who have none (RFC 9110, 13.1.3).
    [{ 'If-None-Match': '"x"', 'If-Modified-Since': date }, 'whole'],
    [{ 'If-Modified-Since': date }, 'not modified'],
    [{ 'If-Modified-Since': after }, 'not modified'],
    [{ 'If-Modified-Since': before }, 'whole'],
    [{ 'If-Modified-Since': 'yesterday' }, 'whole'],
    [{ 'If-None-Match': '"abc"', 'Cache-Control': 'no-cache' }, 'not modified'],
    [{ 'If-Match': '"abc"' }, 'whole'],
    [{ 'If-Match': '*' }, 'whole'],
    [{ 'If-Match': '"x"' }, 'precondition failed'],
    [{ 'If-Match': 'W/"abc"' }, 'precondition failed'],
    [{ 'If-Match': '"abc"', 'If-Unmodified-Since': before }, 'whole'],
    [{ 'If-Unmodified-Since': before }, 'precondition failed'],
    [{ 'If-Unmodified-Since': date }, 'whole'],
    [{ 'If-Unmodified-Since': 'never' }, 'whole'],
    [{ 'If-Match': '"x"', 'If-None-Match': '"abc"' }, 'precondition failed'],
    [{ 'If-None-Match': '"abc"', Range: 'bytes=0-1' }, 'not modified'],
  ])('%j: %s', (headers, expected) => {
    expect(verdict(headers)).toEqual(expected)
  })
})

describe('a range of 100 bytes', () => {
  test.each<[string, unknown]>([
    ['bytes=0-0', [{ start: 0, end: 0 }]],
    ['bytes=0-99', [{ start: 0, end: 99 }]],
    ['bytes=0-100', [{ start: 0, end: 99 }]],
    ['bytes=99-', [{ start: 99, end: 99 }]],
    ['bytes=100-', 'unsatisfiable'],
    ['bytes=-1', [{ start: 99, end: 99 }]],
    ['bytes=-100', [{ start: 0, end: 99 }]],
    ['bytes=-101', [{ start: 0, end: 99 }]],
    ['bytes=-0', 'unsatisfiable'],
    ['bytes=5-4', 'unsatisfiable'],
    ['bytes=x', 'whole'],
    ['bytes=', 'whole'],
    ['lines=0-1', 'whole'],
    [
      'bytes=0-1, 10-11',
      [
        { start: 0, end: 1 },
        { start: 10, end: 11 },
      ],
    ],
    // Those that touch or overlap are one, so that an answer is never longer than the file by more than its part heads.
    ['bytes=0-9,10-19', [{ start: 0, end: 19 }]],
    ['bytes=0-50,40-60,0-', [{ start: 0, end: 99 }]],
    ['bytes=200-,0-1', [{ start: 0, end: 1 }]],
    [
      `bytes=${Array.from({ length: 16 }, (_, i) => `${i * 2}-${i * 2}`).join(',')}`,
      Array.from({ length: 16 }, (_, i) => ({ start: i * 2, end: i * 2 })),
    ],
    [`bytes=${Array.from({ length: 17 }, (_, i) => `${i * 2}-${i * 2}`).join(',')}`, 'whole'],
  ])('%s', (range, expected) => {
    const found = verdict({ Range: range })
    expect(typeof found === 'string' ? found : [...(found as [])]).toEqual(expected)
  })

  test.each<[Record<string, string>, boolean]>([
    [{ 'If-Range': '"abc"' }, true],
    [{ 'If-Range': '"x"' }, false],
    [{ 'If-Range': 'W/"abc"' }, false],
    [{ 'If-Range': date }, true],
    [{ 'If-Range': after }, false],
  ])('with %j is sent as a part: %s', (headers, part) => {
    expect(verdict({ ...headers, Range: 'bytes=0-1' }) !== 'whole').toBe(part)
  })

  test('means nothing but for GET', () => {
    expect(verdict({ Range: 'bytes=0-1' }, 'HEAD')).toBe('whole')
  })

  test('of an empty file cannot be had', () => {
    const empty = { ...file, size: 0 }
    expect(judge(makeRequest({ headers: { Range: 'bytes=0-' } }), empty)).toBe('unsatisfiable')
  })
})

test('what a browser sends with every request is not taken for a condition', () => {
  const browser =
    'Host User-Agent Accept Accept-Language Accept-Encoding Connection Cookie Cache-Control Referer Upgrade-Insecure-Requests Sec-Fetch-Dest Sec-Fetch-Mode Origin DNT'
  expect(isConditional(browser.split(' ').flatMap((name) => [name, 'x']))).toBe(false)
  for (const name of ['Range', 'IF-RANGE', 'if-match', 'If-None-Match', 'If-Modified-Since', 'If-Unmodified-Since']) {
    expect(isConditional(['Host', 'x', name, 'x']), name).toBe(true)
  }
})
