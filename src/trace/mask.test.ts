import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { DEFAULT_MASK, Masker, NameMask } from './mask.ts'
import type { Direction, TraceRecord } from './record.ts'

const PARAMS = 4

function asRecord(type: number, content: Buffer, id = 1): TraceRecord {
  return { type, id, content, length: content.length, padding: 0 }
}

/** These pieces of one stream, masked. */
function masked(direction: Direction, type: number, pieces: readonly Buffer[], names: readonly string[] = DEFAULT_MASK): string {
  const masker = new Masker(new NameMask(names))
  return Buffer.concat(pieces.map((piece) => masker.apply(direction, asRecord(type, piece)))).toString('latin1')
}

describe('a name', () => {
  test.each([
    ['Cookie', 'HTTP_COOKIE', true],
    ['HTTP_COOKIE', 'cookie', true],
    ['cookie', 'REDIRECT_HTTP_COOKIE', true],
    ['cookie', 'REDIRECT_REDIRECT_HTTP_COOKIE', true],
    ['X-Api-Key', 'HTTP_X_API_KEY', true],
    ['Cookie', 'HTTP_COOKIE2', false],
    ['*TOKEN*', 'HTTP_X_CSRF_TOKEN', true],
    ['*TOKEN*', 'X-Token-For-Me', true],
    ['DB_*', 'DB_PASSWORD', true],
    ['DB_*', 'MY_DB_PASSWORD', false],
    ['a.b', 'a_b', false],
    ['*', '', true],
  ])('%s masks %s: %s', (pattern, name, expected) => {
    expect(new NameMask([pattern]).has(name)).toBe(expected)
  })
})

test.each([
  'HTTP_AUTHORIZATION',
  'HTTP_APIKEY',
  'HTTP_X_APIKEY',
  'MYSQL_PASSWD',
  'HTTP_X_API_KEY',
  'APP_SECRET',
  'Set-Cookie',
  'X-Csrf-Token',
])('%s is a secret, unless told otherwise', (name) => {
  expect(new NameMask(DEFAULT_MASK).has(name)).toBe(true)
})

describe('variables', () => {
  const secret = 'a=1; session=0123456789'
  const long = 'x'.repeat(300)
  const bytes = Buffer.concat([
    wire.pair('REQUEST_METHOD', 'GET'),
    wire.pair('HTTP_COOKIE', secret),
    wire.pair('', ''),
    wire.pair('EMPTY', ''),
    wire.pair('PHP_AUTH_PW', long, true),
    wire.pair('QUERY_STRING', 'a=b'),
    wire.pair(`L${'O'.repeat(300)}NG`, 'seen by nobody'),
    wire.pair('LAST', 'seen'),
  ])

  test('that are secrets become as many stars, however the records are cut', () => {
    const whole = masked('to', PARAMS, [bytes])
    expect(whole).toHaveLength(bytes.length)
    expect(whole).toContain(`HTTP_COOKIE${'*'.repeat(secret.length)}`)
    expect(whole).toContain(`PHP_AUTH_PW${'*'.repeat(300)}`)
    expect(whole).toContain(`NG${'*'.repeat(14)}`)
    expect(whole).toContain('QUERY_STRINGa=b')
    expect(whole).toContain('LASTseen')
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(masked('to', PARAMS, [bytes.subarray(0, cut), bytes.subarray(cut)]), `cut at ${cut}`).toBe(whole)
    expect(masked('to', PARAMS, wire.bytewise(bytes))).toBe(whole)
  })

  test('are left alone where nothing is masked, and then no copy is made', () => {
    const masker = new Masker(new NameMask([]))
    expect(masker.apply('to', asRecord(PARAMS, bytes))).toBe(bytes)
  })

  test('of one request do not confuse those of another', () => {
    const masker = new Masker(new NameMask(['A']))
    const [first, second] = [wire.pair('A', 'secret'), wire.pair('B', 'public')]
    const out: string[] = []
    for (let at = 0; at < first.length; at++) {
      out.push(masker.apply('to', asRecord(PARAMS, first.subarray(at, at + 1), 1)).toString('latin1'))
      out.push(masker.apply('to', asRecord(PARAMS, second.subarray(at, at + 1), 2)).toString('latin1'))
    }
    expect(out.join('')).toMatch(/\*p\*u\*b\*l\*i\*c$/)
  })

  test('with lengths of two gigabytes are counted and not believed', () => {
    const hostile = Buffer.concat([wire.bytes('ff ff ff ff ff ff ff ff'), Buffer.from('abc')])
    expect(masked('to', PARAMS, [hostile, Buffer.from('def')])).toContain('abcdef')
  })

  test('of more requests than are followed are masked whole', () => {
    const masker = new Masker(new NameMask(['A']))
    for (let id = 1; id <= 1024; id++) masker.apply('to', asRecord(PARAMS, wire.pair('B', 'public'), id))
    expect(masker.apply('to', asRecord(PARAMS, wire.pair('B', 'public'), 2000)).toString()).toBe('*'.repeat(9))
  })
})

describe('the head of an answer', () => {
  const head =
    'Status: 200 OK\r\nSet-Cookie: a=b; Path=/\r\n folded\r\nContent-Type: text/plain\nX-Csrf-Token:abc\r\n\r\nSet-Cookie: body\r\n'
  const expected =
    'Status: 200 OK\r\nSet-Cookie: **** ******\r\n ******\r\nContent-Type: text/plain\nX-Csrf-Token:***\r\n\r\nSet-Cookie: body\r\n'

  test('has stars for secrets, and the body is as it was, however the records are cut', () => {
    const bytes = Buffer.from(head)
    expect(masked('from', wire.STDOUT, [bytes])).toBe(expected)
    for (let cut = 0; cut <= bytes.length; cut++)
      expect(masked('from', wire.STDOUT, [bytes.subarray(0, cut), bytes.subarray(cut)]), `cut at ${cut}`).toBe(expected)
    expect(masked('from', wire.STDOUT, wire.bytewise(bytes))).toBe(expected)
  })

  test('of the next request with the same id is read anew', () => {
    const masker = new Masker(new NameMask(['Cookie', 'Set-Cookie']))
    const say = (text: string): string => masker.apply('from', asRecord(wire.STDOUT, Buffer.from(text))).toString()
    expect(say('A: b\n\nSet-Cookie: body')).toBe('A: b\n\nSet-Cookie: body')
    masker.apply('from', asRecord(wire.END_REQUEST, Buffer.alloc(8)))
    expect(say('Set-Cookie: head\n\n')).toBe('Set-Cookie: ****\n\n')
  })

  test('is not looked for in what a web server says', () => {
    expect(masked('to', wire.STDIN, [Buffer.from('Set-Cookie: a\r\n\r\n')])).toBe('Set-Cookie: a\r\n\r\n')
  })
})

test('variables that still come after the application has refused their request are masked where their values begin', () => {
  const masker = new Masker(new NameMask(DEFAULT_MASK))
  const pairs = Buffer.from('\x0b\x0cHTTP_COOKIEsecret=12345', 'latin1')
  const seen = [pairs.subarray(0, 20), pairs.subarray(20)].map((piece, i) => {
    const content = masker.apply('to', asRecord(PARAMS, piece))
    // OVERLOADED, said before the variables were all there.
    if (i === 0) masker.apply('from', asRecord(3, Buffer.alloc(8)))
    return content.toString('latin1')
  })
  expect(seen.join('')).toBe('\x0b\x0cHTTP_COOKIE' + '*'.repeat(12))
})
