import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { decodePairs, encodePair } from '../fastcgi/index.ts'
import { Extensions, knownPairs, plainPath, readFacts } from './params.ts'

test.each([
  ['/srv/a.php', '/srv/a.php'],
  ['proxy:fcgi://localhost:9000/srv/a.php', '/srv/a.php'],
  ['proxy:fcgi://localhost/srv/a.php?x=/y', '/srv/a.php'],
  ['PROXY:fcgi://h/a.php', 'PROXY:fcgi://h/a.php'],
  ['proxy:balancer://cluster/srv/a.php', '/srv/a.php'],
  ['proxy:fcgi://localhost', 'proxy:fcgi://localhost'],
  ['', ''],
])('SCRIPT_FILENAME %s is %s', (given, path) => {
  expect(plainPath(given)).toBe(path)
})

test.each([
  ['12', 12],
  ['', 0],
  ['x', 0],
  ['-1', 0],
  ['99999999999999999999', 999_999_999_999_999],
])('CONTENT_LENGTH %j is %i', (text, length) => {
  expect(readFacts(['CONTENT_LENGTH', text]).contentLength).toBe(length)
})

test('of a name that comes twice the last one counts', () => {
  expect(readFacts(['REQUEST_METHOD', 'GET', 'REQUEST_METHOD', 'PUT']).method).toBe('PUT')
})

describe('security.limit_extensions', () => {
  let root: string
  beforeAll(() => {
    root = mkdtempSync(join(tmpdir(), 'vd-params-'))
    mkdirSync(join(root, 'dir.php'))
    for (const name of ['a.php', 'photo.jpg', '.php', 'dir.php/x.txt']) writeFileSync(join(root, name), '')
  })
  afterAll(() => rmSync(root, { recursive: true, force: true }))

  test.each([
    ['/a.php', '/a.php', false],
    ['/a.php/more/path', '/a.php', false],
    ['/photo.jpg', '/photo.jpg', true],
    // PHP would run the photograph.
    ['/photo.jpg/x.php', '/photo.jpg', true],
    ['/dir.php/x.txt', '/dir.php/x.txt', true],
    ['/.php', '/.php', false],
    // PHP says that there is no such file.
    ['/none.php', '', false],
    ['/none.php/x', '', false],
    ['/none.txt', '', false],
    ['', '', true],
  ])('%s is %j, refused: %s', (path, file, refused) => {
    expect(new Extensions('.php .phar', root).resolve(path, 0)).toEqual({ file, refused })
  })

  test('nothing is refused when every suffix is allowed', () => {
    expect(new Extensions('', root).resolve('/photo.jpg', 0)).toEqual({ file: '/photo.jpg', refused: false })
  })

  test('what was seen is believed for a second', () => {
    const extensions = new Extensions('.php', root)
    expect(extensions.resolve('/later.txt/x.php', 0)).toMatchObject({ refused: false })
    writeFileSync(join(root, 'later.txt'), '')
    expect(extensions.resolve('/later.txt/x.php', 999)).toMatchObject({ refused: false })
    expect(extensions.resolve('/later.txt/x.php', 1000)).toMatchObject({ refused: true })
  })

  test('a path longer than any file can have costs no more than the beginning of it that a file can have', () => {
    const extensions = new Extensions('.php', root)
    const begun = performance.now()
    expect(extensions.resolve(`/photo.jpg${'/a'.repeat(500_000)}`, 0)).toEqual({ file: '/photo.jpg', refused: true })
    expect(extensions.resolve(`/${'a'.repeat(1_000_000)}`, 0)).toEqual({ file: '', refused: false })
    // A look at each of its half million beginnings would take minutes.
    expect(performance.now() - begun).toBeLessThan(5000)
  })
})

const wire = (pairs: readonly string[][]): Buffer => Buffer.from(pairs.map(([name, value]) => encodePair(name!, value!)).join(''), 'latin1')

describe('parameters of a request that came whole', () => {
  const names = 'REQUEST_METHOD SCRIPT_NAME QUERY_STRING REQUEST_URI SCRIPT_FILENAME CONTENT_LENGTH REMOTE_USER REQUEST_BODY_FILE'
  const all = [...names.split(' '), 'PHP_VALUE', 'PHP_ADMIN_VALUE', 'REQUEST_METHOX', 'HTTP_X', '', 'L'.repeat(128)]
  test.each([0, 1, 127, 128, 40_000])('are the same as those of one that came in pieces, with values of %i bytes', (length) => {
    const bytes = wire([...all, ...all].map((name, i) => [name, `${i}\xe9`.padEnd(length, 'x').slice(0, length)]))
    const one = Buffer.concat([Buffer.from('front'), bytes, Buffer.from('behind')])
    const found = knownPairs(one, 5, 5 + bytes.length)!
    expect(found.length).toBe(4 * (all.length - 4))
    expect(readFacts(found)).toEqual(readFacts(decodePairs(bytes, 0, bytes.length, { bytes: 2 ** 21 })))
  })

  test('are refused wherever they are cut', () => {
    const bytes = wire([['SCRIPT_NAME', 'y'.repeat(130)]])
    for (let end = 1; end < bytes.length; end++) expect(knownPairs(bytes, 0, end), `cut at ${end}`).toBeUndefined()
    expect(knownPairs(bytes, 0, bytes.length)).toEqual(['SCRIPT_NAME', 'y'.repeat(130)])
    expect(knownPairs(wire(Array.from({ length: 2049 }, () => ['A', ''])), 0, 2049 * 3)).toBeUndefined()
  })
})
