import { describe, expect, test } from 'vitest'
import { hasExtension, splitScript } from './script.ts'

describe('splitScript', () => {
  test.each([
    ['/index.php', [['/index.php', '']]],
    ['/index.php/a/b', [['/index.php', '/a/b']]],
    ['/index.php/', [['/index.php', '/']]],
    [
      '/a.php/b.php/c',
      [
        ['/a.php', '/b.php/c'],
        ['/a.php/b.php', '/c'],
      ],
    ],
    ['/a.phar/x', [['/a.phar', '/x']]],
    ['/photo.jpg', []],
    ['/a.php.jpg', []],
    ['/a.PHP', []],
    ['/.php', []],
    ['/x/.php/y', []],
    ['/', []],
    ['/a.phpx/b', []],
    // A line feed in the path once made a peer's regular expression fail (CVE-2019-11043); bytes do not care.
    ['/index.php/\n', [['/index.php', '/\n']]],
    // U+0130 grows when folded to lower case; the cut must not move (CVE-2026-27590).
    ['/\u00c4\u00b0\u00c4\u00b0.php/evil.txt', [['/\u00c4\u00b0\u00c4\u00b0.php', '/evil.txt']]],
  ])('%j', (path, expected) => {
    expect(splitScript(path).map((each) => [each.script, each.pathInfo])).toEqual(expected)
  })

  test('script and path info together are always the path, whatever bytes it is made of', () => {
    let seed = 42
    const random = (): number => (seed = (seed * 1103515245 + 12345) & 0x7fffffff)
    for (let i = 0; i < 2000; i++) {
      let path = '/'
      for (let n = random() % 30; n > 0; n--) path += ['.php', '/', 'a', '.PHP', '\u0130'.slice(0, 1), '\u00ff', '.'][random() % 7]
      for (const { script, pathInfo } of splitScript(path)) {
        expect(script + pathInfo).toBe(path)
        expect(hasExtension(script)).toBe(true)
        expect(pathInfo === '' || pathInfo.startsWith('/')).toBe(true)
      }
    }
  })
})
