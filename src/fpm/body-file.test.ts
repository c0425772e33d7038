import { chmodSync, closeSync, mkdirSync, mkdtempSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { openBodyFile } from './body-file.ts'

/** Somebody who owns nothing here. */
const NOBODY = { uid: 64_998, gid: 64_998, groups: [], name: undefined, home: undefined }
let folder: string

beforeAll(() => {
  folder = realpathSync(mkdtempSync(join(tmpdir(), 'body-file-')))
  chmodSync(folder, 0o755)
  for (const [name, mode] of [
    ['open', 0o755],
    ['closed', 0o700],
  ] as const) {
    mkdirSync(join(folder, name))
    writeFileSync(join(folder, name, 'all'), 'body')
    chmodSync(join(folder, name, 'all'), 0o644)
    writeFileSync(join(folder, name, 'own'), 'body')
    chmodSync(join(folder, name, 'own'), 0o600)
    chmodSync(join(folder, name), mode)
  }
  symlinkSync('../closed/all', join(folder, 'open', 'link'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

test.each([
  ['open/all', true],
  ['open/own', false],
  // Everybody may read it, and nobody else can come to it.
  ['closed/all', false],
  ['open/link', false],
  ['closed', false],
  ['open/none', false],
])("of %s the pool's user could read a body: %s", (name, expected) => {
  const found = openBodyFile(join(folder, name), NOBODY)
  if (typeof found !== 'string') closeSync(found.fd)
  expect(typeof found !== 'string').toBe(expected)
})

test('a manager that is the user itself reads what the system lets it', () => {
  const found = openBodyFile(join(folder, 'closed/own'), undefined)
  expect(found).toMatchObject({ size: 4 })
  if (typeof found !== 'string') closeSync(found.fd)
})

test('of a pool with a root, paths begin there and do not lead out of it', () => {
  writeFileSync(join(folder, 'outside'), 'body')
  symlinkSync('/outside', join(folder, 'open', 'absolute'))
  symlinkSync('../outside', join(folder, 'open', 'relative'))
  const root = join(folder, 'open')
  const read = (path: string): string | number => {
    const found = openBodyFile(path, undefined, root)
    if (typeof found === 'string') return found
    closeSync(found.fd)
    return found.size
  }
  expect(read('/all')).toBe(4)
  expect(read('/relative')).toContain('is not in the root of the pool')
  expect(read('/../outside')).toContain('is not in the root of the pool')
  expect(read('/absolute')).toContain('ENOENT')
})
