import { describe, expect, test } from 'vitest'
import { makeRequest } from '../testing/index.ts'
import type { RequestParts } from '../testing/index.ts'
import { SAFE_PATH, configured, environment } from './environment.ts'
import type { EnvironmentOptions } from './environment.ts'

const defaults: EnvironmentOptions = {
  script: '/srv/cgi-bin/x.cgi',
  documentRoot: '/srv/www',
  env: configured({}, 'test'),
  authorization: false,
  contentLength: 0,
}

function envOf(parts: RequestParts = {}, options: Partial<EnvironmentOptions> = {}): Record<string, string> {
  const list = environment(makeRequest(parts), { ...defaults, ...options })
  const out: Record<string, string> = {}
  for (let i = 0; i < list.length; i += 2) {
    expect(out, `${list[i]} appears once`).not.toHaveProperty([list[i]!])
    out[list[i]!] = list[i + 1]!
  }
  return out
}

describe('the environment of a program', () => {
  test('has every variable of RFC 3875, 4.1 that there is something for, and those of practice', () => {
    const env = envOf(
      {
        method: 'POST',
        target: '/cgi-bin/x.cgi/a%20b/c?d=e%20f',
        scriptName: '/cgi-bin/x.cgi',
        pathInfo: '/a b/c',
        headers: { host: 'example.org:8080', 'content-type': 'text/plain' },
        body: 'hello',
        remote: { address: '192.0.2.7', port: 999 },
        local: { address: '192.0.2.2', port: 8080 },
      },
      { contentLength: 5 },
    )
    expect(env).toEqual({
      PATH: SAFE_PATH,
      CONTENT_LENGTH: '5',
      CONTENT_TYPE: 'text/plain',
      GATEWAY_INTERFACE: 'CGI/1.1',
      SERVER_SOFTWARE: expect.stringMatching(/^Viaduct\//),
      SERVER_PROTOCOL: 'HTTP/1.1',
      SERVER_NAME: 'example.org',
      SERVER_PORT: '8080',
      SERVER_ADDR: '192.0.2.2',
      REQUEST_METHOD: 'POST',
      REQUEST_SCHEME: 'http',
      REQUEST_URI: '/cgi-bin/x.cgi/a%20b/c?d=e%20f',
      SCRIPT_NAME: '/cgi-bin/x.cgi',
      PATH_INFO: '/a b/c',
      PATH_TRANSLATED: '/srv/www/a b/c',
      QUERY_STRING: 'd=e%20f',
      REMOTE_ADDR: '192.0.2.7',
      REMOTE_PORT: '999',
      HTTP_HOST: 'example.org:8080',
      SCRIPT_FILENAME: '/srv/cgi-bin/x.cgi',
      DOCUMENT_ROOT: '/srv/www',
      REDIRECT_STATUS: '200',
    })
  })

  test('has no PATH_INFO, PATH_TRANSLATED, CONTENT_LENGTH or CONTENT_TYPE where there is none, and an empty QUERY_STRING', () => {
    const env = envOf({ target: '/x', scriptName: '/x' })
    for (const name of ['PATH_INFO', 'PATH_TRANSLATED', 'CONTENT_LENGTH', 'CONTENT_TYPE', 'HTTPS']) expect(env).not.toHaveProperty([name])
    expect(env['QUERY_STRING']).toBe('')
  })

  test('has no DOCUMENT_ROOT and no PATH_TRANSLATED when nobody knows the root', () => {
    const env = envOf({ target: '/x/y', scriptName: '/x' }, { documentRoot: undefined })
    expect(env['PATH_INFO']).toBe('/y')
    expect(env).not.toHaveProperty('DOCUMENT_ROOT')
    expect(env).not.toHaveProperty('PATH_TRANSLATED')
  })

  test('inherits nothing from this process', () => {
    expect(process.env['PATH']).toBeDefined()
    expect(envOf()['PATH']).toBe(SAFE_PATH)
    expect(Object.keys(envOf()).filter((name) => /^(HOME|USER|SHELL|PWD|NODE_|npm_|VITEST)/.test(name))).toEqual([])
  })

  test('keeps bytes that are no text as they are', () => {
    expect(envOf({ pathInfo: '/\xff\xfe', headers: { host: 'h' } })['PATH_INFO']).toBe('/\xff\xfe')
  })
})

const headers = (list: string[], options: Partial<EnvironmentOptions> = {}): Record<string, string> =>
  Object.fromEntries(
    Object.entries(envOf({ headers: ['Host', 'h', ...list] }, options)).filter(
      ([name]) => name.startsWith('HTTP_') && name !== 'HTTP_HOST',
    ),
  )

describe('a header', () => {
  test.each([
    ['becomes HTTP_*, with _ for -', ['X-Forwarded-For', 'a'], { HTTP_X_FORWARDED_FOR: 'a' }],
    ['is joined with its repeats', ['Accept', 'a', 'accept', 'b'], { HTTP_ACCEPT: 'a, b' }],
    ['of cookies is joined with a semicolon', ['Cookie', 'a=1', 'cookie', 'b=2'], { HTTP_COOKIE: 'a=1; b=2' }],
    ['named Proxy is dropped (CVE-2016-5385)', ['Proxy', 'http://evil/', 'PROXY', 'x'], {}],
    ['with _ in its name is dropped (GHSA-f59h-q822-g45g)', ['Remote_User', 'root', 'X_Forwarded_For', 'x'], {}],
    ['with _ does not join one with -', ['X-A', '1', 'X_A', '2'], { HTTP_X_A: '1' }],
    [
      'of the connection is dropped',
      ['Connection', 'close, X-Secret', 'X-Secret', '1', 'TE', 'trailers', 'Upgrade', 'h2c', 'Transfer-Encoding', 'chunked'],
      {},
    ],
    ['of authorization is dropped (RFC 3875, 4.1.18)', ['Authorization', 'Basic eA==', 'Proxy-Authorization', 'x'], {}],
    [
      'cannot name a variable of the server (CVE-2024-8927)',
      ['Redirect-Status', '200', 'Script-Filename', '/etc/passwd', 'PATH', '/tmp'],
      {
        HTTP_REDIRECT_STATUS: '200',
        HTTP_SCRIPT_FILENAME: '/etc/passwd',
        HTTP_PATH: '/tmp',
      },
    ],
  ])('%s', (_, list, expected) => {
    expect(headers(list)).toEqual(expected)
  })

  test('of authorization passes when that is wanted', () => {
    expect(headers(['Authorization', 'Basic eA=='], { authorization: true })).toEqual({ HTTP_AUTHORIZATION: 'Basic eA==' })
  })
})

describe('precedence', () => {
  test('what the server computes wins over the configuration and the request (CVE-2025-65082)', () => {
    const env = envOf({
      variables: [
        'SCRIPT_FILENAME',
        '/etc/passwd',
        'REDIRECT_STATUS',
        '500',
        'DOCUMENT_ROOT',
        '/',
        'PATH_TRANSLATED',
        '/etc',
        'REQUEST_METHOD',
        'X',
        'HTTP_PROXY',
        'x',
      ],
    })
    expect(env).toMatchObject({
      SCRIPT_FILENAME: '/srv/cgi-bin/x.cgi',
      REDIRECT_STATUS: '200',
      DOCUMENT_ROOT: '/srv/www',
      REQUEST_METHOD: 'GET',
    })
    expect(env).not.toHaveProperty('HTTP_PROXY')
  })

  test('the configuration wins over the request', () => {
    const env = envOf(
      { variables: ['A', 'request', 'B', 'request'] },
      { env: configured({ A: 'configuration', PATH: '/opt/bin' }, 'test') },
    )
    expect(env).toMatchObject({ A: 'configuration', B: 'request', PATH: '/opt/bin' })
  })

  test('a variable of the request that decides what code is run does not pass', () => {
    const names = [
      'PATH',
      'LD_PRELOAD',
      'LD_LIBRARY_PATH',
      'BASH_ENV',
      'ENV',
      'IFS',
      'PERL5LIB',
      'PERL5OPT',
      'PYTHONPATH',
      'PYTHONSTARTUP',
      'RUBYOPT',
      'NODE_OPTIONS',
      'PHPRC',
      'PHP_VALUE',
      'PHP_ADMIN_VALUE',
      'PHP_INI_SCAN_DIR',
      'GIT_SSH_COMMAND',
    ]
    const env = envOf({ variables: names.flatMap((name) => [name, 'evil']) })
    expect(Object.entries(env).filter(([, value]) => value === 'evil')).toEqual([])
  })

  test('what an authorizer says passes, and a name that is none does not', () => {
    const env = envOf({
      variables: [
        'REMOTE_USER',
        'ann',
        'AUTH_TYPE',
        'Basic',
        'SSL_CLIENT_S_DN',
        'x',
        'A=B',
        'x',
        '',
        'x',
        'BASH_FUNC_x%%',
        '() { :;}; echo',
      ],
    })
    expect(env).toMatchObject({ REMOTE_USER: 'ann', AUTH_TYPE: 'Basic', SSL_CLIENT_S_DN: 'x' })
    expect(Object.keys(env).filter((name) => !/^[A-Z_0-9]+$/.test(name))).toEqual([])
  })
})

describe('configured variables', () => {
  test.each([
    ['REQUEST_METHOD', 'computed'],
    ['HTTP_PROXY', 'computed'],
    ['REDIRECT_STATUS', 'computed'],
    ['SCRIPT_FILENAME', 'computed'],
    ['A=B', 'cannot be the name'],
    ['', 'cannot be the name'],
    ['A-B', 'cannot be the name'],
  ])('cannot be named %j', (name, why) => {
    expect(() => configured({ [name]: 'x' }, 'blog')).toThrow(
      expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining(why) }),
    )
  })

  test('hold no NUL, and are UTF-8', () => {
    expect(() => configured({ A: 'x\0y' }, 'blog')).toThrow(/NUL/)
    expect(configured({ A: 'ä' }, 'blog').get('A')).toBe('\xc3\xa4')
  })
})
