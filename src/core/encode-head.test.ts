import { describe, expect, test } from 'vitest'
import { encodeHead, parseHead } from './index.ts'
import type { GatewayResponse } from './index.ts'

const answer = (status: number, headers: readonly string[] = [], more: Partial<GatewayResponse> = {}): GatewayResponse => ({
  status,
  headers,
  body: null,
  ...more,
})

describe('the head of an answer', () => {
  test.each<[string, GatewayResponse, number | undefined, string, number | undefined]>([
    ['a status has its reason', answer(404), undefined, 'Status: 404 Not Found\r\n\r\n', undefined],
    ['or its own', answer(404, [], { reason: 'Gone Fishing' }), undefined, 'Status: 404 Gone Fishing\r\n\r\n', undefined],
    ['but none that splits', answer(200, [], { reason: 'a\r\nX: b' }), undefined, 'Status: 200 OK\r\n\r\n', undefined],
    ['and one that nobody knows', answer(599), undefined, 'Status: 599 Unknown\r\n\r\n', undefined],
    ['a known length is said', answer(200, ['X', '1']), 5, 'Status: 200 OK\r\nX: 1\r\nContent-Length: 5\r\n\r\n', 5],
    ['once', answer(200, ['content-length', '5']), 5, 'Status: 200 OK\r\ncontent-length: 5\r\n\r\n', 5],
    ['or the application’s', answer(200, ['Content-Length', '9']), undefined, 'Status: 200 OK\r\nContent-Length: 9\r\n\r\n', 9],
    ['never of a 204', answer(204, ['Content-Length', '0']), 0, 'Status: 204 No Content\r\n\r\n', 0],
    ['nor made up for a 304', answer(304), 0, 'Status: 304 Not Modified\r\n\r\n', 0],
    [
      'what is about a connection stays here',
      answer(200, [
        'Connection',
        'x',
        'Keep-Alive',
        'x',
        'Proxy-Connection',
        'x',
        'TE',
        'x',
        'Trailer',
        'x',
        'Transfer-Encoding',
        'x',
        'Upgrade',
        'x',
      ]),
      undefined,
      'Status: 200 OK\r\n\r\n',
      undefined,
    ],
    ['and a second status', answer(200, ['Status', '500', 'sTATUS', '404']), undefined, 'Status: 200 OK\r\n\r\n', undefined],
    ['bytes stay bytes', answer(200, ['X', '\xc3\xa9']), undefined, 'Status: 200 OK\r\nX: \xc3\xa9\r\n\r\n', undefined],
  ])('%s', (_, response, length, text, declared) => {
    expect(encodeHead(response, length)).toEqual({ text, length: declared })
    // What one side writes the other reads.
    expect(parseHead(text).status).toBe(response.status)
  })

  test.each<[string, GatewayResponse, number | undefined]>([
    ['a name that is none', answer(200, ['X Y', '1']), undefined],
    ['a value that splits', answer(200, ['X', 'a\r\nY: b']), undefined],
    ['a name without a value', answer(200, ['X']), undefined],
    ['a length that is not the body’s', answer(200, ['Content-Length', '4']), 5],
    ['a length that is no number', answer(200, ['Content-Length', '1e3']), undefined],
    ['two lengths', answer(200, ['Content-Length', '1', 'content-length', '1']), undefined],
    ['an interim status', answer(100), undefined],
    ['a status that is none', answer(Number.NaN), undefined],
  ])('%s is refused', (_, response, length) => {
    expect(() => encodeHead(response, length)).toThrowError(expect.objectContaining({ code: 'CONTRACT', status: 500 }) as Error)
  })
})
