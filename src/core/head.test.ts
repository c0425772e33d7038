import { describe, expect, test } from 'vitest'
import { headEnd, parseHead, toResponse } from './head.ts'

const bytes = (text: string): Uint8Array => Buffer.from(text, 'latin1')

describe('the end of a header block', () => {
  test.each([
    ['A: b\n\nbody', 6],
    ['A: b\r\n\r\nbody', 8],
    ['A: b\n\r\nbody', 7],
    ['A: b\r\n\nbody', 7],
    ['A: b\nC: d\r\n\n', 12],
    ['\nbody', 1],
    ['\r\nbody', 2],
    ['A: b\n\n\n\n', 6],
    ['', -1],
    ['A: b', -1],
    ['A: b\n', -1],
    ['A: b\r\n\r', -1],
    ['A: b\r\rC: d', -1],
    ['A: b\n\rC', -1],
    ['\r', -1],
  ])('of %j is %i, however the bytes are cut', (text, end) => {
    const block = bytes(text)
    expect(headEnd(block)).toBe(end)
    for (let cut = 0; cut <= block.length; cut++) {
      const first = headEnd(block.subarray(0, cut))
      expect(first === -1 ? headEnd(block, cut) : first, `cut at ${cut}`).toBe(end)
    }
    let seen = -1
    for (let length = 1; length <= block.length && seen === -1; length++) seen = headEnd(block.subarray(0, length), length - 1)
    expect(seen, 'byte by byte').toBe(end)
  })
})

describe('a header block', () => {
  test.each<[string, string, object]>([
    ['a document', 'Content-Type: text/html\n\n', { status: 200, headers: ['Content-Type', 'text/html'] }],
    ['without its blank line', 'Content-Type: text/html', { status: 200, headers: ['Content-Type', 'text/html'] }],
    ['CRLF', 'Content-Type: text/html\r\nX: y\r\n\r\n', { status: 200, headers: ['Content-Type', 'text/html', 'X', 'y'] }],
    ['LF and CRLF mixed', 'Content-Type: a/b\nX: y\r\nZ: w\n\r\n', { status: 200, headers: ['Content-Type', 'a/b', 'X', 'y', 'Z', 'w'] }],
    ['no space after the colon', 'X:y\n\n', { status: 200, headers: ['X', 'y'] }],
    ['space around the value', 'X: \t y \t\n\n', { status: 200, headers: ['X', 'y'] }],
    ['an empty value', 'X:\n\n', { status: 200, headers: ['X', ''] }],
    ['a colon in the value', 'X: y: z\n\n', { status: 200, headers: ['X', 'y: z'] }],
    ['UTF-8 whose last byte is A0', 'X: \xc3\xa0\n\n', { status: 200, headers: ['X', '\xc3\xa0'] }],
    ['a status', 'Status: 404\n\n', { status: 404, headers: [] }],
    ['a status and its reason', 'status: 404 Not  Here\n\n', { status: 404, reason: 'Not  Here', headers: [] }],
    ['a status and spaces', 'Status: 404   \n\n', { status: 404, headers: [] }],
    ['the last status', 'Status: 599\n\n', { status: 599 }],
    ['the first status', 'Status: 200\n\n', { status: 200 }],
    ['several cookies', 'Set-Cookie: a=1\nset-cookie: b=2\n\n', { headers: ['Set-Cookie', 'a=1', 'set-cookie', 'b=2'] }],
    ['a folded line (RFC 9112, 5.2)', 'X: y\n  z\n\tw\nA: b\n\n', { headers: ['X', 'y z w', 'A', 'b'] }],
    [
      'a length',
      'Content-Type: a/b\nContent-Length: 007\n\n',
      { headers: ['Content-Type', 'a/b', 'Content-Length', '7'], contentLength: 7 },
    ],
    ['the same length twice', 'Content-Length: 7\nContent-Length: 7\n\n', { headers: ['Content-Length', '7'], contentLength: 7 }],
    ['the same type twice', 'Content-Type: a/b\nContent-Type: a/b\n\n', { headers: ['Content-Type', 'a/b'] }],
    [
      'what frames our own connection',
      'X: y\nConnection: close\nTransfer-Encoding: chunked\nKeep-Alive: 1\nTE: x\nTrailer: x\nUpgrade: h2c\nProxy-Connection: x\n\n',
      { headers: ['X', 'y'] },
    ],
  ])('with %s is read', (_, block, head) => {
    expect(parseHead(block)).toMatchObject(head)
    expect(parseHead(block), 'and again').toMatchObject(head)
  })

  test.each([
    ['', 'empty'],
    ['\n', 'empty'],
    ['\r\n', 'empty'],
    ['Connection: close\n\n', 'empty'],
    ['no colon\n\n', 'not a header field'],
    [': value\n\n', 'not a header field'],
    ['A : b\n\n', 'not a header field'],
    ['A B: c\n\n', 'not a header field'],
    ['\xe9: b\n\n', 'not a header field'],
    [' folded: first\n\n', 'not a header field'],
    ['HTTP/1.1 200 OK\n\n', 'not a header field'],
    ['<html>\n\n', 'not a header field'],
    ['A: b\n\nC: d\n\n', 'not a header field'],
    ['A: b\rC: d\n\n', 'control character'],
    ['A: b\r\r\nC: d\n\n', 'control character'],
    ['A: b\0\n\n', 'control character'],
    ['A: b\x1b\n\n', 'control character'],
    ['A: b\n \x7f\n\n', 'control character'],
    ['Status: 200\nStatus: 200\n\n', 'Status appears twice'],
    ['Status: 100\n\n', 'not a final status'],
    ['Status: 101\n\n', 'not a final status'],
    ['Status: 199\n\n', 'not a final status'],
    ['Status: 600\n\n', 'not a final status'],
    ['Status: 20\n\n', 'not a final status'],
    ['Status: 2000\n\n', 'not a final status'],
    ['Status: 200OK\n\n', 'not a final status'],
    ['Status: OK\n\n', 'not a final status'],
    ['Status:\n\n', 'not a final status'],
    ['Location: /a\nLocation: /b\n\n', 'Location appears twice'],
    ['Content-Type: a/b\nContent-Type: c/d\n\n', 'Content-Type appears twice'],
    ['Content-Length: 7\nContent-Length: 8\n\n', 'Content-Length appears twice'],
    ['Content-Length: 7, 7\n\n', 'not a number'],
    ['Content-Length: -1\n\n', 'not a number'],
    ['Content-Length: 0x10\n\n', 'not a number'],
    ['Content-Length:\n\n', 'not a number'],
    ['Content-Length: 9999999999999999\n\n', 'not a number'],
  ])('%j is refused: %s', (block, reason) => {
    expect(() => parseHead(block)).toThrow(
      expect.objectContaining({ code: 'UPSTREAM_HEAD', status: 502, message: expect.stringContaining(reason) }),
    )
  })

  test('names the line that is wrong, escaped and cut', () => {
    expect(() => parseHead(`${'x'.repeat(100)}\x1b\n\n`)).toThrow(/"x{80}…"$/)
    expect(() => parseHead('\x1b[31m\n\n')).toThrow(/"\\u001b\[31m"$/)
  })

  test('of any bytes is refused with UPSTREAM_HEAD, or has only names and values that split nothing (CVE-2026-42946)', () => {
    let state = 42
    const random = (below: number): number => {
      state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fffffff
      return (state >> 8) % below
    }
    const pieces = [
      'Status: ',
      'Content-Type: a/b',
      'Location: /x',
      'Content-Length: 1',
      '\r',
      '\n',
      '\r\n',
      ' ',
      '\t',
      ':',
      'X: y',
      '\0',
      '200',
    ]
    let read = 0
    for (let round = 0; round < 20_000; round++) {
      let block = ''
      for (let left = random(8); left >= 0; left--)
        block += random(8) === 0 ? String.fromCharCode(random(256)) : pieces[random(pieces.length)]!
      try {
        const { headers, status, reason } = parseHead(block)
        read++
        expect(status >= 200 && status <= 599).toBe(true)
        expect(/[\0-\x08\x0a-\x1f\x7f]/.test(headers.join('') + (reason ?? '')), JSON.stringify(block)).toBe(false)
      } catch (error) {
        expect(error).toMatchObject({ code: 'UPSTREAM_HEAD' })
      }
    }
    expect(read).toBeGreaterThan(500)
  })
})

describe('a redirect (RFC 3875, 6.2.2 to 6.2.4)', () => {
  test.each<[string, string, number, string | undefined]>([
    ['a path and nothing else is local', 'Location: /a?b', 302, '/a?b'],
    ['what frames the connection does not count', 'Location: /a\nConnection: close', 302, '/a'],
    ["a status makes it the client's", 'Status: 303 See Other\nLocation: /a', 303, undefined],
    ["a type makes it the client's", 'Content-Type: a/b\nLocation: /a', 302, undefined],
    ["any other field makes it the client's", 'Location: /a\nSet-Cookie: a=b', 302, undefined],
    ['so does a length', 'Location: /a\nContent-Length: 0', 302, undefined],
    ["an address elsewhere is the client's", 'Location: https://example/', 302, undefined],
    ['and one that only leaves the scheme out', 'Location: //example/a', 302, undefined],
    ["a relative one is the client's", 'Location: a', 302, undefined],
  ])('%s', (_, block, status, local) => {
    const head = parseHead(`${block}\n\n`)
    expect(head.status).toBe(status)
    expect(head.localRedirect).toBe(local)
  })

  test('that nobody resolves is a plain one', () => {
    expect(toResponse(parseHead('Location: /a\n\n'), null)).toEqual({ status: 302, headers: ['Location', '/a'], body: null })
    expect(toResponse(parseHead('Status: 404 Gone Fishing\n\n'), 'x')).toEqual({
      status: 404,
      reason: 'Gone Fishing',
      headers: [],
      body: 'x',
    })
  })
})

test('heads that repeat are remembered, those with a cookie and long ones are not', () => {
  expect(parseHead('X: remembered\n\n')).toBe(parseHead('X: remembered\n\n'))
  expect(parseHead('X: y\nSet-Cookie: a=b\n\n')).not.toBe(parseHead('X: y\nSet-Cookie: a=b\n\n'))
  const long = `X: ${'y'.repeat(2000)}\n\n`
  expect(parseHead(long)).not.toBe(parseHead(long))
  for (let i = 0; i < 300; i++) parseHead(`X: ${i}\n\n`)
  expect(parseHead('X: remembered\n\n').headers).toEqual(['X', 'remembered'])
})
