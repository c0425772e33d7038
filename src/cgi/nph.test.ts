import { describe, expect, test } from 'vitest'
import { isNph, parseNphHead } from './nph.ts'

describe('an nph- program', () => {
  test.each([
    ['/srv/nph-x.cgi', true],
    ['nph-', true],
    ['/nph-dir/x.cgi', false],
    ['/srv/xnph-x', false],
    ['/srv/NPH-x', false],
  ])('%s: %s', (script, expected) => {
    expect(isNph(script)).toBe(expected)
  })
})

describe('its answer', () => {
  test('is a status line and fields, without what frames a message', () => {
    expect(parseNphHead('HTTP/1.0 404 Not Here\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n')).toEqual({
      status: 404,
      reason: 'Not Here',
      headers: ['Content-Type', 'text/plain'],
      contentLength: undefined,
    })
    expect(parseNphHead('HTTP/1.1 200\nX: y\n\n')).toMatchObject({ status: 200, headers: ['X', 'y'] })
    expect(parseNphHead('HTTP/1.1 204 No Content\r\n\r\n')).toMatchObject({ status: 204, headers: [] })
  })

  test('has no local redirect: it speaks to the client', () => {
    expect(parseNphHead('HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n')).not.toHaveProperty('localRedirect')
  })

  test.each([
    ['without a status line', 'Content-Type: text/plain\r\n\r\n'],
    ['of another protocol', 'HTTP/2 200\r\n\r\n'],
    ['with an interim status', 'HTTP/1.1 100 Continue\r\n\r\n'],
    ['that frames its content', 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n'],
    ['that contradicts itself', 'HTTP/1.1 200 OK\r\nStatus: 500\r\n\r\n'],
    ['with a space before a colon', 'HTTP/1.1 200 OK\r\nX : y\r\n\r\n'],
    ['with a bare CR', 'HTTP/1.1 200 OK\r\nX: a\rY: b\r\n\r\n'],
  ])('is refused %s', (_, head) => {
    expect(() => parseNphHead(head)).toThrow(expect.objectContaining({ code: 'UPSTREAM_HEAD', status: 502 }))
  })
})
