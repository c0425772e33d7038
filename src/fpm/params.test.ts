import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Extensions, plainPath, readFacts } from './params.ts'

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
    ['/a.php', undefined],
    ['/a.php/more/path', undefined],
    ['/photo.jpg', '/photo.jpg'],
    // PHP would run the photograph.
    ['/photo.jpg/x.php', '/photo.jpg'],
    ['/dir.php/x.txt', '/dir.php/x.txt'],
    ['/.php', undefined],
    // PHP says that there is no such file.
    ['/none.php', undefined],
    ['/none.php/x', undefined],
    ['/none.txt', undefined],
    ['', ''],
  ])('%s: %s is refused', (path, refused) => {
    expect(new Extensions('.php .phar', root).refused(path, 0)).toBe(refused)
  })

  test('nothing is refused when every suffix is allowed', () => {
    expect(new Extensions('', root).refused('/photo.jpg', 0)).toBeUndefined()
  })

  test('what was seen is believed for a second', () => {
    const extensions = new Extensions('.php', root)
    expect(extensions.refused('/later.php/x.php', 0)).toBeUndefined()
    writeFileSync(join(root, 'later.txt'), '')
    expect(extensions.refused('/later.txt/x.php', 500)).toBe('/later.txt')
  })
})
