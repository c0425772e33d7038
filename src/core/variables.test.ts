import { describe, expect, test } from 'vitest'
import { derive, enumerate, enumerateHeaders, isHost, variableName, type EnumerateOptions } from './index.ts'
import { makeRequest, type RequestParts } from '../testing/index.ts'

function variables(parts: RequestParts, options?: EnumerateOptions): Record<string, string> {
  const out: Record<string, string> = {}
  enumerate(
    makeRequest(parts),
    (name, value) => {
      expect(name in out, `${name} is told once`).toBe(false)
      out[name] = value
    },
    options,
  )
  return out
}

function fromHeaders(list: readonly string[], options?: EnumerateOptions): [string, string][] {
  const out: [string, string][] = []
  enumerateHeaders(list, (name, value) => out.push([name, value]), options)
  return out
}

describe('the variables of a request', () => {
  test('are those of RFC 3875, 4.1, and the usual ones beside them', () => {
    expect(
      variables({
        method: 'POST',
        target: '/app/a%20b?c=d%20e',
        scriptName: '/app',
        scheme: 'https',
        headers: ['Host', 'www.example:8443', 'Content-Type', 'text/plain', 'X-One', '1'],
        body: 'hello',
        remote: { address: '192.0.2.7', port: 4711 },
        local: { address: '192.0.2.8', port: 443 },
      }),
    ).toEqual({
      CONTENT_LENGTH: '5',
      CONTENT_TYPE: 'text/plain',
      GATEWAY_INTERFACE: 'CGI/1.1',
      SERVER_SOFTWARE: expect.stringMatching(/^Viaduct\/\d/),
      SERVER_PROTOCOL: 'HTTP/1.1',
      SERVER_NAME: 'www.example',
      SERVER_PORT: '443',
      SERVER_ADDR: '192.0.2.8',
      REQUEST_METHOD: 'POST',
      REQUEST_SCHEME: 'https',
      HTTPS: 'on',
      REQUEST_URI: '/app/a%20b?c=d%20e',
      SCRIPT_NAME: '/app',
      PATH_INFO: '/a b',
      QUERY_STRING: 'c=d%20e',
      REMOTE_ADDR: '192.0.2.7',
      REMOTE_PORT: '4711',
      HTTP_HOST: 'www.example:8443',
      HTTP_X_ONE: '1',
    })
  })

  test('begin with CONTENT_LENGTH, which SCGI requires', () => {
    const names: string[] = []
    enumerate(makeRequest({ method: 'POST', body: 'x' }), (name) => names.push(name))
    expect(names[0]).toBe('CONTENT_LENGTH')
  })

  test.each<[string, RequestParts, EnumerateOptions | undefined, string | undefined]>([
    ['no body', {}, undefined, undefined],
    ['a body', { body: 'abc' }, undefined, '3'],
    ['an empty body that was declared', { body: '' }, undefined, '0'],
    ['a body of unknown length', { body: [Buffer.from('abc')] }, undefined, undefined],
    ['one that was spooled since', { body: [Buffer.from('abc')] }, { contentLength: 3 }, '3'],
    ['one that is dropped', { body: 'abc' }, { contentLength: undefined }, undefined],
  ])('have a CONTENT_LENGTH for %s: %s', (_, parts, options, length) => {
    expect(variables(parts, options)['CONTENT_LENGTH']).toBe(length)
  })

  test('leave PATH_INFO out when it is empty, and QUERY_STRING never', () => {
    const found = variables({ target: '/app', scriptName: '/app' })
    expect(found['PATH_INFO']).toBeUndefined()
    expect(found['QUERY_STRING']).toBe('')
    expect(found['HTTPS']).toBeUndefined()
  })

  test.each([
    [['Host', 'a.example'], 'a.example', 'a.example'],
    [['Host', 'a.example:81'], 'a.example', 'a.example:81'],
    [['Host', '[2001:db8::1]:81'], '[2001:db8::1]', '[2001:db8::1]:81'],
    [['Host', ''], '192.0.2.2', ''],
    // What cannot be a host never reaches an application, which builds links and password mails of it.
    [['Host', 'a b'], '192.0.2.2', undefined],
    [['Host', 'a.example/path'], '192.0.2.2', undefined],
    [['Host', '<script>'], '192.0.2.2', undefined],
    [['Host', 'a:port'], '192.0.2.2', undefined],
    [['Host', 'user@a.example'], '192.0.2.2', undefined],
    [['Host', '2001:db8::1'], '192.0.2.2', undefined],
    [['Host', '"'], '192.0.2.2', undefined],
    [['Host', 'a.example', 'Host', 'b.example'], '192.0.2.2', undefined],
  ])('with %j name the server %s', (headers, name, host) => {
    const found = variables({ headers })
    expect(found['SERVER_NAME']).toBe(name)
    expect(found['HTTP_HOST']).toBe(host)
  })

  test.each<[RequestParts, string, string]>([
    [{ local: { address: '', port: 0 } }, 'test.example', '80'],
    [{ local: { address: '', port: 0 }, scheme: 'https' }, 'test.example', '443'],
    [{ local: { address: '', port: 0 }, headers: ['Host', 'a:81'] }, 'a', '81'],
    [{ local: { address: '', port: 0 }, headers: ['Host', ''] }, 'localhost', '80'],
    [{ local: { address: '::1', port: 8080 }, headers: ['Host', ''] }, '[::1]', '8080'],
    [{ local: { address: '::1', port: 8080 }, headers: ['Host', 'a:81'] }, 'a', '8080'],
  ])('from %j have SERVER_NAME %s and SERVER_PORT %s', (parts, name, port) => {
    expect(variables(parts)).toMatchObject({ SERVER_NAME: name, SERVER_PORT: port })
  })
})

describe('a header field', () => {
  test('becomes HTTP_ and its name in capitals', () => {
    expect(fromHeaders(['x-Forwarded-for', '1', 'Accept', '*/*'])).toEqual([
      ['HTTP_X_FORWARDED_FOR', '1'],
      ['HTTP_ACCEPT', '*/*'],
    ])
  })

  test.each(['Proxy', 'PROXY', 'proxy'])('%s never becomes HTTP_PROXY (CVE-2016-5385)', (name) => {
    expect(fromHeaders([name, 'http://evil'])).toEqual([])
    expect(fromHeaders([name, 'http://evil'], { underscores: true })).toEqual([])
  })

  test.each([
    'Connection',
    'Keep-Alive',
    'Proxy-Connection',
    'Proxy-Authorization',
    'TE',
    'Trailer',
    'Transfer-Encoding',
    'Upgrade',
    'Content-Length',
    'Content-Type',
  ])('%s is about this connection or has a variable of its own', (name) => expect(fromHeaders([name, 'x'])).toEqual([]))

  test.each([
    ['close, X-Secret', ['X-Secret', '1', 'X-Open', '2']],
    ['x-secret', ['X-SECRET', '1', 'X-Open', '2']],
    ['keep-alive , X-Secret,', ['x-secret', '1', 'X-Open', '2']],
  ])('that Connection: %s names is hop-by-hop too', (options, list) => {
    expect(fromHeaders(['Connection', options, ...list])).toEqual([['HTTP_X_OPEN', '2']])
    expect(fromHeaders([...list, 'Connection', options]), 'wherever Connection stands').toEqual([['HTTP_X_OPEN', '2']])
  })

  test('with _ in its name is dropped: Remote_User would be Remote-User (GHSA-f59h-q822-g45g)', () => {
    for (const list of [
      ['Remote_User', 'mallory', 'Remote-User', 'alice'],
      ['Remote-User', 'alice', 'Remote_User', 'mallory'],
    ]) {
      expect(fromHeaders(list)).toEqual([['HTTP_REMOTE_USER', 'alice']])
    }
    expect(fromHeaders(['Remote_User', 'mallory'])).toEqual([])
  })

  test.each([
    [['X_A', '1', 'X-A', '2', 'X_A', '3'], [['HTTP_X_A', '1, 2, 3']]],
    [['X-A', '1', 'X_A', '2'], [['HTTP_X_A', '1, 2']]],
    [['X_A', '1', 'X_A', '2'], [['HTTP_X_A', '1, 2']]],
    [['Connection', 'x-a', 'X_A', '1', 'X-A', '2'], [['HTTP_X_A', '1']]],
  ])('where _ is allowed, %j is joined and told once (caddy#7808)', (list, expected) => {
    expect(fromHeaders(list, { underscores: true })).toEqual(expected)
  })

  test('that repeats is joined in order, Cookie with a semicolon', () => {
    expect(fromHeaders(['A', '1', 'Cookie', 'x=1', 'B', '2', 'a', '3', 'COOKIE', 'y=2'])).toEqual([
      ['HTTP_A', '1, 3'],
      ['HTTP_COOKIE', 'x=1; y=2'],
      ['HTTP_B', '2'],
    ])
  })

  test('Authorization is passed on unless that is not wanted', () => {
    expect(fromHeaders(['Authorization', 'Basic x'])).toEqual([['HTTP_AUTHORIZATION', 'Basic x']])
    expect(fromHeaders(['Authorization', 'Basic x'], { authorization: false })).toEqual([])
  })

  test.each(['', 'A=B', 'A B', 'A\0', 'ÿ', 'ß'])('whose name is %j, no token, becomes nothing', (name) => {
    expect(variableName(name)).toBe('')
  })

  test('of an invented name does not keep others from being known', () => {
    for (let i = 0; i < 5000; i++) expect(variableName(`X-${i}`)).toBe(`HTTP_X_${i}`)
    expect(variableName('Host')).toBe('HTTP_HOST')
    expect(variableName('Proxy')).toBe('')
    expect(variableName('X-'.padEnd(1000, 'y'))).toBe('HTTP_X_'.padEnd(1005, 'Y'))
  })
})

describe('variables set by a configuration or an upstream', () => {
  const own = [
    'REMOTE_USER',
    'alice',
    'HTTP_X_ROLE',
    'admin',
    'SCRIPT_NAME',
    '/evil',
    'REQUEST_METHOD',
    'PUT',
    'HTTPS',
    'on',
    'HTTP_PROXY',
    'x',
    'REDIRECT_STATUS',
    '200',
  ]

  test('never replace what members and headers give, nor make an HTTP_ one (CVE-2025-65082, CVE-2024-8927)', () => {
    const found = variables({ variables: own, headers: ['X-Role', 'user', 'Redirect-Status', '403'] })
    expect(found).toMatchObject({
      REMOTE_USER: 'alice',
      HTTP_X_ROLE: 'user',
      SCRIPT_NAME: '',
      REQUEST_METHOD: 'GET',
      REDIRECT_STATUS: '200',
      HTTP_REDIRECT_STATUS: '403',
    })
    expect(found['HTTPS']).toBeUndefined()
    expect(found['HTTP_PROXY']).toBeUndefined()
  })

  test('are seen one by one as they are told', () => {
    const request = makeRequest({ target: '/a?b', variables: own, headers: ['X-Role', 'user'] })
    const all: Record<string, string> = {}
    enumerate(request, (name, value) => (all[name] = value))
    for (const name of [...Object.keys(all), 'HTTP_PROXY', 'HTTPS', 'NO_SUCH', 'HTTP_NO_SUCH', 'CONTENT_TYPE']) {
      expect(request.variables.get(name), name).toBe(all[name])
    }
  })

  test('are added and removed by derive, and computed anew from what changed', () => {
    const request = makeRequest({ target: '/a/b', variables: ['A', '1', 'constructor', '2'] })
    const derived = derive(request, { scriptName: '/a', pathInfo: '/b', variables: { B: '3', A: undefined, SCRIPT_NAME: '/evil' } })
    expect(derived.variables.own).toEqual(['constructor', '2', 'B', '3', 'SCRIPT_NAME', '/evil'])
    expect(derived.variables.get('SCRIPT_NAME')).toBe('/a')
    expect(derived.variables.get('PATH_INFO')).toBe('/b')
    expect(request.variables.get('A')).toBe('1')
  })
})

test.each([
  ['a.example', true],
  ['a.example:', true],
  ['a.example:65535', true],
  ['a.example:123456', false],
  ['[::1]', true],
  ['[::1', false],
  ['', true],
  ['a\0', false],
  ['a,b', true],
  ['a\\b', false],
])('%j can be a Host: %s', (value, can) => {
  expect(isHost(value)).toBe(can)
  expect(isHost(value), 'asked again').toBe(can)
})
