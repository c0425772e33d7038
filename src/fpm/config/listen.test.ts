import { describe, expect, test } from 'vitest'
import { parseAllowedClients, parseListenAddress } from './listen.ts'

describe('an address', () => {
  test.each([
    ['/run/php.sock', { path: '/run/php.sock' }],
    ['9000', { host: undefined, port: 9000 }],
    ['127.0.0.1:9000', { host: '127.0.0.1', port: 9000 }],
    ['localhost:9000', { host: 'localhost', port: 9000 }],
    ['[::1]:9000', { host: '::1', port: 9000 }],
    ['::1:9000', { host: '::1', port: 9000 }],
    ['*:9000', { host: undefined, port: 9000 }],
    [':9000', { host: undefined, port: 9000 }],
    ['127.0.0.1:0', undefined],
    ['127.0.0.1:', undefined],
    ['127.0.0.1:x', undefined],
    ['65536', undefined],
  ])('%s is %j', (text, expected) => {
    expect(parseListenAddress(text)).toEqual(expected)
  })
})

test('clients are addresses with commas and spaces between them', () => {
  expect(parseAllowedClients('127.0.0.1, ::1 ,2001:db8::2,host,10.0.0.0/8')).toEqual({
    addresses: ['127.0.0.1', '::1', '2001:db8::2'],
    wrong: ['host', '10.0.0.0/8'],
  })
})
