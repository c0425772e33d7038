import { describe, expect, test } from 'vitest'
import { asciiLower, extension, hasDotSegment, isHidden, isSource } from './names.ts'

describe('a name', () => {
  test.each([
    ['index.php', true],
    ['INDEX.PHP', true],
    ['a.PhP', true],
    ['a.phtml', true],
    ['a.phar', true],
    ['a.inc', true],
    ['a.py', true],
    ['a.pl', true],
    ['a.cgi', true],
    ['a.fcgi', true],
    ['a.rb', true],
    ['a.sh', true],
    ['a.php~', true],
    ['a.php.bak', true],
    ['a.php.old.bak', true],
    ['a.php.swp', true],
    ['php.ini', true],
    ['site.conf', true],
    ['production.env', true],
    ['viaduct.config.json', true],
    ['Viaduct.Config.ts', true],
    ['index.html', false],
    ['a.php.txt', false],
    ['a.txt.bak', false],
    ['php', false],
    ['notes.py.md', false],
    ['archive.tar.gz', false],
    ['', false],
    ['~', false],
  ])('%j is a source: %s', (name, expected) => {
    expect(isSource(name)).toBe(expected)
  })

  test.each([
    ['/.env', true],
    ['/a/.git/config', true],
    ['/.well-known', false],
    ['/.well-known/acme-challenge/x', false],
    ['/.well-known/.secret', true],
    ['/a/.well-known/x', true],
    ['/.well-knownx', true],
    ['/a.b/c', false],
    ['/a/b.', false],
  ])('%j has a hidden segment: %s', (path, expected) => {
    expect(hasDotSegment(path)).toBe(expected)
    if (expected) expect(isHidden(path)).toBe(true)
  })

  test('an extension is what follows the last dot', () => {
    expect(['a.TXT', 'a', '.a', 'a.', 'a.b.C'].map(extension)).toEqual(['txt', '', '', '', 'c'])
  })

  test('folding changes A to Z and nothing else, and never the length', () => {
    let every = ''
    for (let code = 0; code < 256; code++) every += String.fromCharCode(code)
    const folded = asciiLower(every)
    expect(folded).toHaveLength(every.length)
    for (let code = 0; code < 256; code++) {
      expect(folded.charCodeAt(code), `byte ${code}`).toBe(code >= 0x41 && code <= 0x5a ? code + 32 : code)
    }
    // The Kelvin sign and the dotted I fold into ASCII elsewhere; as bytes they stay what they are.
    const kelvin = Buffer.from('x.\u212aSH').toString('latin1')
    expect(asciiLower(kelvin)).toBe(Buffer.from('x.\u212ash').toString('latin1'))
  })
})
