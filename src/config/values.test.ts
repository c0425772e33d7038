import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { readListen } from './listen.ts'
import { bytes, duration, milliseconds, size } from './values.ts'

describe('a duration', () => {
  test.each([
    [0, 0],
    [30, 30_000],
    [0.5, 500],
    ['0', 0],
    ['30', 30_000],
    ['1.5', 1500],
    ['500ms', 500],
    ['30s', 30_000],
    ['5m', 300_000],
    ['1h', 3_600_000],
  ])('%j is %i ms', (text, value) => {
    expect(duration().safeParse(text).success).toBe(true)
    expect(milliseconds(text)).toBe(value)
  })

  test.each(['', '5 m', '-1s', '1d', 's', -1, Number.NaN, Number.POSITIVE_INFINITY, 3_000_000, null])('is not %j', (value) => {
    expect(duration().safeParse(value).success).toBe(false)
  })
})

describe('a size', () => {
  test.each([
    [0, 0],
    [4096, 4096],
    ['4096', 4096],
    ['64K', 65_536],
    ['64k', 65_536],
    ['8M', 8_388_608],
    ['8MiB', 8_388_608],
    ['8MB', 8_388_608],
    ['1.5K', 1536],
    ['1G', 1_073_741_824],
  ])('%j is %i bytes', (text, value) => {
    expect(size().safeParse(text).success).toBe(true)
    expect(bytes(text)).toBe(value)
  })

  test.each(['', '8 M', '-1', '1T', 'K', 1.5, -1, {}])('is not %j', (value) => {
    expect(size().safeParse(value).success).toBe(false)
  })
})

describe('an address', () => {
  test.each([
    ['127.0.0.1:80', { host: '127.0.0.1', port: 80 }],
    ['8080', { host: '127.0.0.1', port: 8080 }],
    [':80', { host: '*', port: 80 }],
    ['*:80', { host: '*', port: 80 }],
    ['localhost:0', { host: 'localhost', port: 0 }],
    ['[::1]:80', { host: '::1', port: 80 }],
    ['unix:/run/x.sock', { path: '/run/x.sock' }],
    ['unix:x.sock', { path: '/srv/x.sock' }],
    ['', undefined],
    ['unix:', undefined],
    ['127.0.0.1', undefined],
    ['127.0.0.1:65536', undefined],
    ['::1:80', undefined],
    ['/run/x.sock', undefined],
    ['a b:80', undefined],
  ])('%s: %j', (text, spec) => {
    expect(readListen(text, '/srv')).toEqual(spec)
  })

  test('of a unix socket has the mode that is said', () => {
    expect(readListen('unix:/x', '/', '0600')).toEqual({ path: '/x', mode: 0o600 })
  })
})

test('the JSON Schema, the types and the documentation are what the schema says; if not, run node scripts/config-docs.mjs', () => {
  const root = new URL('../..', import.meta.url).pathname
  expect(execFileSync('node', ['scripts/config-docs.mjs', '--check'], { cwd: root, encoding: 'utf8' })).toBe('')
})
