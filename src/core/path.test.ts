import { describe, expect, test } from 'vitest'
import { isAmbiguous, parseTarget, percentDecode, percentEncode } from './path.ts'

describe('a target', () => {
  test.each<[string, string, string?]>([
    ['/', '/'],
    ['/a/b.txt', '/a/b.txt'],
    ['/a/', '/a/'],
    ['/a.b.c', '/a.b.c'],
    ['/.hidden', '/.hidden'],
    ['/a..b/..c/d..', '/a..b/..c/d..'],
    ['/...', '/...'],
    ['/?', '/', ''],
    ['/a?b=c', '/a', 'b=c'],
    ['/a?b?c', '/a', 'b?c'],
    ['/a?b%2F../..', '/a', 'b%2F../..'],
    ['/a#b', '/a'],
    ['/a?b#c', '/a', 'b'],
    ['//', '/'],
    ['//a//b//', '/a/b/'],
    ['/.', '/'],
    ['/./a/./b/.', '/a/b/'],
    ['/a/..', '/'],
    ['/a/../', '/'],
    ['/a/b/../c', '/a/c'],
    ['/a/%2e%2e/b', '/b'],
    ['/a/%2E./b', '/b'],
    ['/a/.%2e', '/'],
    ['/%61', '/a'],
    ['/%C3%A9', '/\xc3\xa9'],
    ['/\xc3\xa9', '/\xc3\xa9'],
    ['/%ff', '/\xff'],
    ['/a%20b', '/a b'],
    ['/a+b', '/a+b'],
    ['/100%25', '/100%'],
    ['/%252e', '/%2e'],
    ['/a;b=c', '/a;b=c'],
    ['http://host', '/'],
    ['http://host?a', '/', 'a'],
    ['HTTPS://user@host:1/a/../b?c', '/b', 'c'],
    ['http://host//a', '/a'],
    ['http:///a', '/a'],
    ['*', '*'],
  ])('%j is the path %j', (target, path, query = '') => {
    expect(parseTarget(target)).toMatchObject({ path, queryString: query })
  })

  test.each([
    ['', 'not a path'],
    ['a', 'not a path'],
    ['?a', 'not a path'],
    ['host:443', 'not a path'],
    ['ftp://host/', 'not a path'],
    ['**', 'not a path'],
    ['\\', 'not a path'],
    ['/%00', 'control character'],
    ['/a%0ab', 'control character'],
    ['/a%0D%0Ab', 'control character'],
    ['/%7f', 'control character'],
    ['/a\0', 'control character'],
    ['/a\nb', 'control character'],
    ['/a?b\nc', 'control character'],
    ['/%', 'bad percent-encoding'],
    ['/%2', 'bad percent-encoding'],
    ['/%zz', 'bad percent-encoding'],
    ['/%%32', 'bad percent-encoding'],
    ['/%u0041', 'bad percent-encoding'],
    ['/..', 'above the root'],
    ['/../', 'above the root'],
    ['/a/../..', 'above the root'],
    ['/%2e%2e/a', 'above the root'],
    ['//..', 'above the root'],
    ['/..%2fa', 'above the root'],
    ['http://host/../a', 'above the root'],
  ])('%j is refused: %s', (target, refusal) => {
    expect(parseTarget(target)).toBe(refusal)
  })

  test.each([
    ['/a%2Fb', '/a/b'],
    ['/a%2f..%2fb', '/b'],
    ['/a%5Cb', '/a\\b'],
    ['/a\\b', '/a\\b'],
    ['/..\\..\\a', '/..\\..\\a'],
    ['/a%252Fb', '/a%2Fb'],
    ['/a%252e%252e', '/a%2e%2e'],
    ['/a%2500', '/a%00'],
    ['/a%25252F', '/a%252F'],
  ])('%j could be read differently by another layer', (target, path) => {
    expect(parseTarget(target)).toMatchObject({ path, ambiguous: true, rawPath: target })
  })

  test.each(['/a', '/a%20b', '/a%2e%2e', '/100%25', '/100%25/b', '/%25zz', '/a//b'])('%j could not', (target) => {
    expect(isAmbiguous(target)).toBe(false)
    expect(parseTarget(target)).toMatchObject({ ambiguous: false })
  })

  test('of any bytes is refused or a path below the root, without dot segments and control characters', () => {
    // mulberry32: the same bytes in every run.
    let state = 20_260_101
    const random = (below: number): number => {
      state = (state + 0x6d2b79f5) | 0
      let t = Math.imul(state ^ (state >>> 15), 1 | state)
      t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
      return ((t ^ (t >>> 14)) >>> 0) % below
    }
    const pieces = [
      '/',
      '//',
      '.',
      '..',
      '%2e',
      '%2E%2e',
      '%2f',
      '%5c',
      '\\',
      '%00',
      '%25',
      '%',
      'a',
      '\xe9',
      '?',
      '#',
      '*',
      'http://h',
      ' ',
      '%252e',
    ]
    let paths = 0
    for (let round = 0; round < 20_000; round++) {
      let target = random(4) === 0 ? '' : '/'
      for (let left = random(8); left >= 0; left--)
        target += random(5) === 0 ? String.fromCharCode(random(256)) : pieces[random(pieces.length)]!
      const parsed = parseTarget(target)
      if (typeof parsed === 'string') continue
      paths++
      const { path } = parsed
      if (path === '*') continue
      if (
        !path.startsWith('/') ||
        /[\0-\x1f\x7f]/.test(path) ||
        path.includes('//') ||
        path.split('/').some((segment) => segment === '..' || segment === '.')
      ) {
        expect.unreachable(`${JSON.stringify(target)} became ${JSON.stringify(path)}`)
      }
      // Read again as it is (a path whose own percent signs are encoded), it stays the same.
      expect(parseTarget(percentEncode(path))).toMatchObject({ path })
    }
    expect(paths).toBeGreaterThan(1000)
  })

  test('of 64 KiB takes no time worth speaking of, whatever it is made of', () => {
    for (const unit of ['/', 'a', '.', '/a.', '/..', '%2e', '/a.b', 'a.', '/./']) {
      const target = '/' + unit.repeat(65_536 / unit.length) + '\\'
      const start = performance.now()
      parseTarget(target)
      // Quadratic would be minutes.
      expect(performance.now() - start, unit).toBeLessThan(1000)
    }
  })
})

test('percent-encoding shows what a path may show, and encodes every other byte', () => {
  expect(percentEncode("/a-._~!$&'()*+,;=:@/b")).toBe("/a-._~!$&'()*+,;=:@/b")
  expect(percentEncode('/a b?#%"<>\\^`{|}\xe9\n')).toBe('/a%20b%3F%23%25%22%3C%3E%5C%5E%60%7B%7C%7D%E9%0A')
  const all = String.fromCharCode(...Array.from({ length: 256 }, (_, i) => i))
  expect(percentDecode(percentEncode(all))).toBe(all)
})
