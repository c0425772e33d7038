import { describe, expect, test } from 'vitest'
import type { PlanEntry } from '../config/index.ts'
import { coloursOf } from './colours.ts'
import { accessFormatter, humanBytes, humanTime, lineFormatter } from './pretty.ts'
import { addressText, banner, remedies, table } from './table.ts'

const plain = coloursOf({ isTTY: false })
const time = new Date(2026, 0, 2, 3, 4, 5).toISOString()

describe('a log line for people', () => {
  const format = lineFormatter(plain)
  test.each([
    [{ level: 'info', msg: 'hello' }, '03:04:05 hello'],
    [{ level: 'warn', msg: 'hm', code: 3, who: 'me' }, '03:04:05 warn hm code=3 who=me'],
    [{ level: 'error', msg: 'PHP Warning', application: 'php', pid: 12 }, '03:04:05 error php[12] PHP Warning'],
    [{ level: 'info', msg: 'started', pid: 12 }, '03:04:05 started pid=12'],
    [{ level: 'error', msg: 'oh', error: 'a\nb' }, '03:04:05 error oh a\nb'],
    [{ level: 'info', msg: '\x1b[2Jgone\r' }, '03:04:05 \\x1b[2Jgone\\x0d'],
    [{ level: 'info', msg: 'x', who: '\x1b]0;title\x07' }, '03:04:05 x who=\\x1b]0;title\\x07'],
  ])('%j reads %j', (entry, line) => {
    expect(format(JSON.stringify({ time, ...entry }))).toBe(`${line}\n`)
  })
})

describe('an access line for people', () => {
  const format = accessFormatter(plain)
  test.each([
    [{ status: 200, method: 'GET', target: '/', bytes: 12, duration: 3.2, outcome: 'sent' }, '03:04:05 200 GET / 12 B 3 ms'],
    [{ status: 200, method: 'GET', target: '/x', bytes: 1200, duration: 0.2, outcome: 'cut' }, '03:04:05 200 GET /x 1.2 kB <1 ms cut'],
    [{ status: 404, method: 'GET', target: '/\x1b[2J' }, '03:04:05 404 GET /\\x1b[2J'],
  ])('%j reads %j', (entry, line) => {
    expect(format({ time, ...entry })).toBe(`${line}\n`)
  })
})

test.each([
  [0, '0 B'],
  [999, '999 B'],
  [1000, '1.0 kB'],
  [9949, '9.9 kB'],
  [9950, '10 kB'],
  [999_499, '999 kB'],
  [999_500, '1.0 MB'],
  [1e15, '1000 TB'],
])('%i bytes read %s', (bytes, text) => {
  expect(humanBytes(bytes)).toBe(text)
})

test.each([
  [0.4, '<1 ms'],
  [1, '1 ms'],
  [999, '999 ms'],
  [1500, '1.5 s'],
])('%d milliseconds read %s', (milliseconds, text) => {
  expect(humanTime(milliseconds)).toBe(text)
})

describe('the table', () => {
  const rows: PlanEntry[] = [
    { path: '/', kind: 'static' },
    { path: '*.php', kind: 'php', interpreter: 'php-cgi', version: '8.2.36', workers: 4 },
    { path: '/cgi-bin/', kind: 'cgi', workers: 1 },
  ]
  const missing: PlanEntry = { path: '*.php', kind: 'php', workers: 4, missing: { what: 'php-cgi', command: 'apt install php-cgi' } }

  test('is aligned', () => {
    expect(table(rows, plain).split('\n')).toEqual([
      '  /           files',
      '  *.php       PHP     php-cgi 8.2.36   4 workers',
      '  /cgi-bin/   CGI                      1 worker',
    ])
  })

  test('has no column that nobody fills', () => {
    expect(table([rows[0]!], plain)).toBe('  /   files')
  })

  test('names what is missing, and once what would bring it', () => {
    expect(table([missing], plain)).toBe('  *.php   PHP   php-cgi is missing')
    const odd = { ...missing, missing: { what: 'frob', why: 'there is no frob on PATH (/bin); the first line of /x asks for it' } }
    expect(remedies([missing, odd, missing, odd], plain)).toBe(
      'To get what is missing\n  php-cgi:  apt install php-cgi\n  frob:  there is no frob on PATH (/bin); the first line of /x asks for it',
    )
  })

  test('stands above the links', () => {
    const text = banner({ version: '1.2.3', folder: '/srv', entries: [rows[0]!], addresses: [{ host: '::', port: 80 }] }, plain)
    expect(text).toBe(
      'Viaduct 1.2.3 serves /srv\n\n  /   files\n\n  http://localhost/  (every address of this machine)\n\n  Ctrl-C stops it',
    )
  })

  test('stand below what did not come up', () => {
    const text = banner({ version: '1', folder: '/srv', entries: [rows[0]!], addresses: [], down: ['/a/app.py', '/b.fcgi'] }, plain)
    expect(text).toContain('  /   files\n\nNot up, for the reasons above\n  /a/app.py\n  /b.fcgi\n\n')
  })

  test('say what is spoken where', () => {
    const addresses = [{ host: '127.0.0.1', port: 443 }, { host: '::', port: 80 }, { host: '127.0.0.1', port: 9000 }, { path: '/x.sock' }]
    const text = banner(
      { version: '1', folder: '/', entries: [], addresses, protocols: ['https', 'redirect', 'fastcgi', 'fastcgi'] },
      plain,
    )
    expect(text).toContain(
      '  https://127.0.0.1/\n  http://localhost/  (leads to https)\n  127.0.0.1:9000  (FastCGI)\n  unix:/x.sock  (FastCGI)  (every address',
    )
  })
})

test.each([
  [{ host: '127.0.0.1', port: 8080 }, 'http://127.0.0.1:8080/'],
  [{ host: '127.0.0.1', port: 80 }, 'http://127.0.0.1/'],
  [{ host: '::1', port: 8080 }, 'http://[::1]:8080/'],
  [{ host: '0.0.0.0', port: 8080 }, 'http://localhost:8080/'],
  [{ path: '/run/x.sock' }, 'unix:/run/x.sock'],
])('%j is shown as %s', (address, text) => {
  expect(addressText(address)).toBe(text)
})

describe('colours', () => {
  test.each([
    [{ isTTY: true }, {}, true],
    [{ isTTY: false }, {}, false],
    [{ isTTY: false }, { CI: 'true' }, false],
    [{ isTTY: true }, { NO_COLOR: '1' }, false],
    [{ isTTY: true }, { NO_COLOR: '' }, true],
    [{ isTTY: true }, { TERM: 'dumb' }, false],
  ])('of %j with %j: %s', (stream, env, expected) => {
    const before = { ...process.env }
    for (const name of ['NO_COLOR', 'TERM', 'CI']) delete process.env[name]
    Object.assign(process.env, env)
    try {
      expect(coloursOf(stream).isColorSupported).toBe(expected)
    } finally {
      process.env = before
    }
  })
})
