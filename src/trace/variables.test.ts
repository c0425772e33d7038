import { describe, expect, test } from 'vitest'
import { Role } from '../fastcgi/index.ts'
import { requestVariables } from './variables.ts'
import type { RequestParts } from './variables.ts'

function variables(parts: RequestParts): Record<string, string> {
  const list = requestVariables(parts)
  return Object.fromEntries(list.flatMap((name, i) => (i % 2 === 0 ? [[name, list[i + 1]!]] : [])))
}

describe('a script', () => {
  test.each<[string, Partial<RequestParts>, Record<string, string>]>([
    [
      '/var/www/index.php',
      {},
      {
        SCRIPT_FILENAME: '/var/www/index.php',
        SCRIPT_NAME: '/index.php',
        DOCUMENT_ROOT: '/var/www',
        REQUEST_URI: '/index.php',
        QUERY_STRING: '',
      },
    ],
    ['/index.php?a=b?c', {}, { SCRIPT_FILENAME: '/index.php', DOCUMENT_ROOT: '/', QUERY_STRING: 'a=b?c', REQUEST_URI: '/index.php?a=b?c' }],
    ['/status?json', {}, { SCRIPT_FILENAME: '/status', SCRIPT_NAME: '/status', QUERY_STRING: 'json', DOCUMENT_ROOT: '/' }],
    ['/var/www/a.php/b/c', {}, { SCRIPT_FILENAME: '/var/www/a.php', SCRIPT_NAME: '/a.php', PATH_INFO: '/b/c', REQUEST_URI: '/a.php/b/c' }],
    [
      '/shop/index.php',
      { root: '/var/www/' },
      { SCRIPT_FILENAME: '/var/www/shop/index.php', SCRIPT_NAME: '/shop/index.php', DOCUMENT_ROOT: '/var/www' },
    ],
    ['/var/www/index.php', { uri: '/blog/?page=2' }, { SCRIPT_NAME: '/index.php', REQUEST_URI: '/blog/?page=2', QUERY_STRING: 'page=2' }],
  ])('%s with %j has %j', (script, more, expected) => {
    expect(variables({ script, ...more })).toMatchObject(expected)
  })
})

test('a body has a length and a type, and none has neither', () => {
  expect(variables({ script: '/a.php', bodyLength: 3 })).toMatchObject({
    CONTENT_LENGTH: '3',
    CONTENT_TYPE: 'application/x-www-form-urlencoded',
  })
  expect(variables({ script: '/a.php', bodyLength: 0, headers: ['content-type', 'text/plain'] })).toMatchObject({
    CONTENT_LENGTH: '0',
    CONTENT_TYPE: 'text/plain',
  })
  expect(variables({ script: '/a.php' })).not.toHaveProperty('CONTENT_LENGTH')
})

test('header fields become HTTP_*, but for those that must not', () => {
  const made = variables({
    script: '/a.php',
    headers: ['Host', 'example.org:8080', 'X-A', 'é', 'Proxy', 'http://evil', 'Content-Type', 'a/b'],
  })
  expect(made).toMatchObject({ HTTP_HOST: 'example.org:8080', SERVER_NAME: 'example.org', HTTP_X_A: 'Ã©' })
  expect(made).not.toHaveProperty('HTTP_PROXY')
  expect(made).not.toHaveProperty('HTTP_CONTENT_TYPE')
})

test('what is said last counts: variables replace, add and take away', () => {
  const made = variables({
    script: '/a.php',
    variables: new Map([
      ['SCRIPT_NAME', '/b'],
      ['PHP_VALUE', 'a=1'],
      ['REDIRECT_STATUS', undefined],
    ]),
  })
  expect(made).toMatchObject({ SCRIPT_NAME: '/b', PHP_VALUE: 'a=1' })
  expect(made).not.toHaveProperty('REDIRECT_STATUS')
})

test('an authorizer is not told what it must not know (FastCGI 1.0, 6.3)', () => {
  const made = variables({ script: '/var/www/a.php/info', role: Role.Authorizer, bodyLength: 5 })
  for (const name of ['CONTENT_LENGTH', 'PATH_INFO', 'PATH_TRANSLATED', 'SCRIPT_NAME']) expect(made).not.toHaveProperty(name)
})

test('a filter is told what its data are (FastCGI 1.0, 6.4)', () => {
  const made = variables({ script: '/a', role: Role.Filter, data: { length: 10, lastModified: 1_700_000_000 } })
  expect(made).toMatchObject({ FCGI_DATA_LENGTH: '10', FCGI_DATA_LAST_MOD: '1700000000' })
})
