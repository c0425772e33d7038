import { describe, expect, test } from 'vitest'
import { Scope, derive, emptyBody } from '../core/index.ts'
import type { GatewayResponse } from '../core/index.ts'
import { ChildRequest, contentLengthOf, parseEnvironment } from './child-request.ts'
import { encodeHead } from './child.ts'

function requestOf(env: Record<string, string>): ChildRequest {
  return new ChildRequest(new Map(Object.entries(env)), { body: emptyBody, errors: { write() {} }, scope: new Scope() })
}

describe('a request from the environment', () => {
  test('has its members from the meta-variables', () => {
    const request = requestOf({
      REQUEST_METHOD: 'POST',
      SCRIPT_NAME: '/x.cgi',
      PATH_INFO: '/a b',
      QUERY_STRING: 'c=d',
      REQUEST_URI: '/x.cgi/a%20b?c=d',
      SERVER_PROTOCOL: 'HTTP/1.1',
      HTTPS: 'on',
      CONTENT_LENGTH: '5',
      CONTENT_TYPE: 'text/plain',
      HTTP_X_FORWARDED_FOR: 'y',
      REMOTE_ADDR: '192.0.2.1',
      REMOTE_PORT: '1234',
      SERVER_ADDR: '192.0.2.2',
      SERVER_PORT: '443',
      SERVER_NAME: 'example.org',
      REMOTE_USER: 'ann',
    })
    expect(request).toMatchObject({
      method: 'POST',
      target: '/x.cgi/a%20b?c=d',
      scriptName: '/x.cgi',
      pathInfo: '/a b',
      rawPathInfo: '/a%20b',
      queryString: 'c=d',
      protocol: 'HTTP/1.1',
      scheme: 'https',
      contentLength: 5,
      remote: { address: '192.0.2.1', port: 1234 },
      local: { address: '192.0.2.2', port: 443 },
    })
    expect(request.headers.list).toEqual(['content-type', 'text/plain', 'content-length', '5', 'x-forwarded-for', 'y'])
    expect(request.variables.get('SERVER_NAME')).toBe('example.org')
    expect(request.variables.own).toContain('REMOTE_USER')
    expect(derive(request, { pathInfo: '/z' }).variables.get('REMOTE_USER')).toBe('ann')
  })

  test('can do with the least a server must give', () => {
    const request = requestOf({ GATEWAY_INTERFACE: 'CGI/1.1', SCRIPT_NAME: '/x', PATH_INFO: '/a b', QUERY_STRING: 'q' })
    expect(request).toMatchObject({
      method: 'GET',
      target: '/x/a%20b?q',
      rawPathInfo: '/a%20b',
      contentLength: 0,
      scheme: 'http',
      protocol: 'HTTP/1.0',
    })
  })

  test.each([['abc'], ['-1'], ['1e3'], ['5 5'], ['9'.repeat(20)]])('refuses %j as CONTENT_LENGTH', (text) => {
    expect(() => contentLengthOf(new Map([['CONTENT_LENGTH', text]]))).toThrow(expect.objectContaining({ status: 400 }))
  })

  test('reads the block of the kernel, bytes and all', () => {
    expect([...parseEnvironment('A=1\0B=a=b\xff\nc\0EMPTY=\0no-equals\0A=2\0')]).toEqual([
      ['A', '1'],
      ['B', 'a=b\xff\nc'],
      ['EMPTY', ''],
    ])
  })
})

describe('a head for the server', () => {
  test.each<[string, Partial<GatewayResponse>, string]>([
    ['with a reason of its own', { status: 404, reason: 'Gone Fishing' }, 'Status: 404 Gone Fishing\r\n\r\n'],
    ['with the usual reason', { status: 404 }, 'Status: 404 Not Found\r\n\r\n'],
    ['with a number nobody knows', { status: 299 }, 'Status: 299 Unknown\r\n\r\n'],
    [
      'without what is not for it to say',
      { headers: ['Connection', 'close', 'X', 'y', 'status', '1', 'Transfer-Encoding', 'chunked'] },
      'Status: 200 OK\r\nX: y\r\n\r\n',
    ],
    ['with the length of what is whole', { body: 'ä' }, 'Status: 200 OK\r\nContent-Length: 2\r\n\r\n'],
    ['with the length that was given', { body: 'x', headers: ['content-length', '1'] }, 'Status: 200 OK\r\ncontent-length: 1\r\n\r\n'],
    ['without a length where there is no body to be', { status: 204 }, 'Status: 204 No Content\r\n\r\n'],
    ['of a local redirect, alone', { internal: { redirect: '/x?y' }, headers: ['X', 'y'] }, 'Location: /x?y\r\n\r\n'],
  ])('%s', (_, response, head) => {
    expect(encodeHead({ status: 200, headers: [], body: emptyBody, ...response })).toBe(head)
  })

  test.each<[string, Partial<GatewayResponse>]>([
    ['a line break in a value', { headers: ['X', 'a\r\nY: b'] }],
    ['a name that is none', { headers: ['X Y', 'a'] }],
    ['a file to be sent by somebody else', { internal: { file: '/etc/passwd' } }],
    ['a redirect with a line break', { internal: { redirect: '/x\r\nSet-Cookie: a' } }],
  ])('is refused for %s', (_, response) => {
    expect(() => encodeHead({ status: 200, headers: [], body: null, ...response })).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  })
})
