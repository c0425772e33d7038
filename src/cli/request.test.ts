// What the FastCGI tools read from a command line, and how they show what came from elsewhere.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { random } from '../../test/wire.ts'
import { GatewayError } from '../core/index.ts'
import { Type } from '../fastcgi/index.ts'
import { UsageError, parse } from './arguments.ts'
import { CAPTURE } from './capture-options.ts'
import { capture } from './capture.ts'
import { show } from './capture-show.ts'
import { coloursOf } from './colours.ts'
import { REPLAY } from './replay-options.ts'
import { readNumbers, replay } from './replay.ts'
import { readApplication } from './request-address.ts'
import { REQUEST } from './request-options.ts'
import { RecordPrinter } from './request-records.ts'
import { milliseconds, preview, problemOf } from './request-text.ts'
import { readParam, request } from './request.ts'
import { VALUES } from './values-options.ts'
import { values } from './values.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-request-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const none = (): [] => []

describe('an address', () => {
  const parsed = parse([], REQUEST.options)
  test.each([
    ['9000', { host: '127.0.0.1', port: 9000 }, false],
    [':9000', { host: '127.0.0.1', port: 9000 }, false],
    ['localhost:9000', { host: 'localhost', port: 9000 }, false],
    ['[::1]:9000', { host: '::1', port: 9000 }, false],
    ['unix:/run/a.sock', { path: '/run/a.sock' }, false],
    ['unix:a.sock', { path: resolve('a.sock') }, false],
    ['/run/a.sock', { path: '/run/a.sock' }, false],
    ['./a.sock', { path: resolve('a.sock') }, false],
    ['package.json', { path: resolve('package.json') }, false],
    ['fastcgi://php:9000', { host: 'php', port: 9000 }, false],
    ['fastcgis://php:9001', { host: 'php', port: 9001 }, true],
  ])('%s is %j', (text, address, tls) => {
    const found = readApplication(text, 'the address', parsed)
    expect(found.address).toEqual(address)
    expect(found.tls !== undefined).toBe(tls)
  })

  test.each(['a.sock', 'unix:', 'http://localhost', '0', '65536', 'fastcgi+srv://_fcgi._tcp.example.org'])('%s is none', (text) => {
    expect(() => readApplication(text, '--to', parsed)).toThrow(/^--to: expected 127\.0\.0\.1:9000, 9000, unix:/)
  })

  test('with TLS takes what it needs, and without refuses it', () => {
    const file = join(folder, 'ca.pem')
    writeFileSync(file, 'pem')
    const options = parse(['--ca', file], REQUEST.options)
    expect(readApplication('fastcgis://a:1', 'the address', options).tls).toEqual({ ca: Buffer.from('pem') })
    expect(() => readApplication('9000', 'the address', options)).toThrow('--ca is for TLS')
    expect(() => readApplication('fastcgis://a:1', 'x', parse(['--cert', file], REQUEST.options))).toThrow(
      '--cert and --key belong together',
    )
    expect(() => readApplication('fastcgis://a:1', 'x', parse(['--ca', '/none'], REQUEST.options))).toThrow('--ca: ENOENT')
  })
})

describe('a mistake in the command line is named', () => {
  type Run = (parsed: ReturnType<typeof parse>, signals: () => []) => Promise<number>
  test.each<[string, { options: typeof REQUEST.options; name: string }, Run, readonly string[], string]>([
    ['no address', REQUEST, request, [], 'the address is missing'],
    ['no script', REQUEST, request, ['9000'], 'a script is missing'],
    ['two scripts', REQUEST, request, ['9000', '/a', '/b'], 'one script at a time, got "/a" and "/b"'],
    ['a filter without data', REQUEST, request, ['9000', '/a', '--role', 'filter'], 'a filter needs something to filter: --data FILE'],
    ['data without a filter', REQUEST, request, ['9000', '/a', '--data', 'x'], '--data is for a filter'],
    ['an unknown role', REQUEST, request, ['9000', '/a', '--role', 'boss'], '--role: expected responder, authorizer or filter, got "boss"'],
    ['a method that is none', REQUEST, request, ['9000', '/a', '-X', 'a b'], '--method: "a b" is no method'],
    ['a header without a colon', REQUEST, request, ['9000', '/a', '-H', 'nonsense'], '--header: expected "Name: value", got "nonsense"'],
    ['a variable without a name', REQUEST, request, ['9000', '/a', '-p', '=a'], '--param: expected NAME=VALUE, got "=a"'],
    ['no requests', REQUEST, request, ['9000', '/a', '-n', '0'], '--count: expected a whole number from 1'],
    ['values of nobody', VALUES, values, [], 'the address is missing'],
    ['a capture of nothing', CAPTURE, capture, ['--to', '9000'], '--listen is missing'],
    ['a capture to nobody', CAPTURE, capture, ['--listen', '9001'], '--to is missing'],
    ['a capture into nothing', CAPTURE, capture, ['--listen', '9001', '--to', '9000'], '--out is missing'],
    ['a capture with too much', CAPTURE, capture, ['file'], '"file" is too much'],
    ['masks for and against', CAPTURE, capture, ['-l', '1', '-t', '2', '-o', 'x', '--mask', 'a', '--no-mask'], 'exclude each other'],
    ['a mask without a name', CAPTURE, capture, ['-l', '1', '-t', '2', '-o', 'x', '--mask', 'a,,b'], '--mask: expected names with commas'],
    ['permissions of a port', CAPTURE, capture, ['-l', '1', '-t', '2', '-o', 'x', '--mode', '666'], '--mode is for a unix socket'],
    [
      'permissions that are none',
      CAPTURE,
      capture,
      ['-l', '/a', '-t', '2', '-o', 'x', '--mode', '999'],
      '--mode: expected permissions such as 660',
    ],
    ['a replay of nothing', REPLAY, replay, ['--to', '9000'], 'a file is missing'],
    ['a replay to nobody', REPLAY, replay, ['file'], '--to is missing'],
    ['a value without a name', REPLAY, replay, ['file', '--to', '9000', '--set', 'A'], '--set: expected NAME=VALUE, got "A"'],
  ])('%s', async (_, { options }, run, args, message) => {
    const failed = async (): Promise<number> => run(parse(args, options), none)
    await expect(failed()).rejects.toThrow(message)
    await expect(failed()).rejects.toBeInstanceOf(UsageError)
  })

  test('of show', async () => {
    await expect(show({ values: new Map(), rest: [] })).rejects.toThrow('a file is missing')
    await expect(show({ values: new Map(), rest: ['f', 'x'] })).rejects.toThrow('the number of a request: expected a whole number from 1')
    await expect(show({ values: new Map([['body', ['answer']]]), rest: ['f'] })).rejects.toThrow('--body is of one request')
    const two = new Map([
      ['json', ['']],
      ['records', ['']],
    ])
    await expect(show({ values: two, rest: ['f'] })).rejects.toThrow('--records and --json exclude each other')
  })
})

test.each<[string, readonly [string, string | undefined]]>([
  ['A=b', ['A', 'b']],
  ['A=', ['A', '']],
  ['A=b=c', ['A', 'b=c']],
  ['A', ['A', undefined]],
])('the variable %s is %j', (text, expected) => {
  expect(readParam(text)).toEqual(expected)
})

test.each([
  ['3', [3]],
  ['3,7', [3, 7]],
  ['2-4, 9', [2, 3, 4, 9]],
])('the requests %s are %j', (text, expected) => {
  expect([...readNumbers(text)!]).toEqual(expected)
})
test.each(['', 'a', '0', '4-2', '1,,2', '-1'])('the requests %j are refused', (text) => {
  expect(() => readNumbers(text)).toThrow('--only: expected numbers such as 3,7 or 10-20')
})

test.each([
  [0, '0.00 ms'],
  [9.994, '9.99 ms'],
  [9.996, '10.0 ms'],
  [99.96, '100 ms'],
  [9999, '9999 ms'],
  [10_000, '10.0 s'],
])('%d ms are %s', (time, text) => {
  expect(milliseconds(time)).toBe(text)
})

const unavailable = (message: string): GatewayError =>
  new GatewayError('UNAVAILABLE', { status: 502, message, cause: new Error('connect X') })

describe('a problem', () => {
  test('is said once, and explained', () => {
    expect(problemOf(unavailable('fastcgi: cannot connect to 127.0.0.1:1: ECONNREFUSED'))).toBe(
      'cannot connect to 127.0.0.1:1: ECONNREFUSED (nobody listens there: is it running?)',
    )
    expect(problemOf(unavailable('fastcgi: cannot connect to a:1: EWHATEVER'))).toBe('cannot connect to a:1: EWHATEVER: connect X')
    expect(problemOf(new Error('a\x1b[31m'))).toBe('a\\x1b[31m')
  })
})

describe('the beginning of a content', () => {
  test.each<[string, Buffer, readonly string[]]>([
    ['nothing', Buffer.alloc(0), []],
    ['lines', Buffer.from('a\r\nb\n\nc'), ['a', 'b', '', 'c']],
    ['text in UTF-8', Buffer.from('hé'), ['hé']],
    ['what speaks to a terminal', Buffer.from('\x1b]0;title\x1b\\ \x9b31m'), ['\\x1b]0;title\\x1b\\ \\x9b31m']],
    ['many lines', Buffer.from('x\n'.repeat(20)), [...Array.from({ length: 8 }, () => 'x'), '... 24 more bytes']],
    ['a long line', Buffer.from('x'.repeat(200)), ['x'.repeat(160), 'x'.repeat(40)]],
    [
      'what is no text',
      Buffer.from('GIF89a\0\0hello world'),
      [
        '00000000  47 49 46 38 39 61 00 00 68 65 6c 6c 6f 20 77 6f  |GIF89a..hello wo|',
        '00000010  72 6c 64                                         |rld|',
      ],
    ],
  ])('shows %s', (_, content, expected) => {
    expect(preview(content)).toEqual(expected)
  })
})

describe('records', () => {
  test('of any kind and content are printed, and nothing in them reaches the terminal', () => {
    let out = ''
    const printer = new RecordPrinter(coloursOf({ isTTY: false }), (text) => (out += text))
    const next = random(11)
    for (let round = 0; round < 3000; round++) {
      const content = Buffer.from(Array.from({ length: next(40) }, () => next(256)))
      printer.print(
        next(2) === 0 ? 'to' : 'from',
        { type: next(14), id: next(3), content, length: content.length + (next(4) === 0 ? next(9) : 0), padding: 0 },
        round,
        next(3),
      )
    }
    expect(out).toMatch(/^[^\0-\x08\x0b-\x1f\x7f-\x9f]*$/)
    expect(out.split('\n').length).toBeGreaterThan(3000)
  })

  test('say what they mean', () => {
    let out = ''
    const printer = new RecordPrinter(coloursOf({ isTTY: false }), (text) => (out += text))
    const say = (type: number, content: Buffer): void =>
      printer.print('from', { type, id: 1, content, length: content.length, padding: 0 }, 1.5)
    say(Type.Params, Buffer.from('\x01\x02A'))
    say(Type.Params, Buffer.from('bc\x01\x01D'))
    say(Type.Params, Buffer.from('e'))
    say(Type.UnknownType, Buffer.from([42, 0, 0, 0, 0, 0, 0, 0]))
    say(Type.EndRequest, Buffer.from([0, 0, 1, 0, 2, 0, 0, 0]))
    say(Type.EndRequest, Buffer.from([0]))
    expect(out.split('\n').map((line) => line.trim())).toEqual([
      '<  1.50 ms  PARAMS            id 1       3',
      '<  1.50 ms  PARAMS            id 1       5',
      'A=bc',
      '<  1.50 ms  PARAMS            id 1       1',
      'D=e',
      '<  1.50 ms  UNKNOWN_TYPE      id 1       8  type 42',
      '<  1.50 ms  END_REQUEST       id 1       8  OVERLOADED, application status 256',
      '<  1.50 ms  END_REQUEST       id 1       1  END_REQUEST with a body of 1 bytes, 8 are needed',
      '00000000  00                                               |.|',
      '',
    ])
  })
})
