import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { glob, matches } from './glob.ts'

describe('a name', () => {
  test.each([
    ['a.conf', '*.conf', true],
    ['a.conf', '*', true],
    ['.hidden', '*', false],
    ['.hidden', '.*', true],
    ['a.conf', 'a?conf', true],
    ['a', '?', true],
    ['ab', '?', false],
    ['b', '[abc]', true],
    ['b', '[!abc]', false],
    ['d', '[^abc]', true],
    ['x', '[a-z]', true],
    [']', '[]]', true],
    ['[', '[', true],
    ['a*', 'a\\*', true],
    ['ab', 'a\\*', false],
    ['a.b', 'a.b', true],
    ['axb', 'a.b', false],
    ['a{b}', 'a{b}', true],
  ])('%s is matched by %s: %s', (name, pattern, expected) => {
    expect(matches(name, pattern)).toBe(expected)
  })
})

describe('paths', () => {
  let folder: string
  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'glob-'))
    for (const name of ['b.d', 'a.d', 'c.d']) mkdirSync(join(folder, name))
    for (const name of ['b.d/2.conf', 'b.d/10.conf', 'a.d/B.conf', 'a.d/a.conf', 'a.d/.conf', 'plain'])
      writeFileSync(join(folder, name), '')
    symlinkSync('/nowhere', join(folder, 'dangling'))
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  test.each<[string, readonly string[] | string]>([
    ['*/*.conf', ['a.d/B.conf', 'a.d/a.conf', 'b.d/10.conf', 'b.d/2.conf']],
    ['a.d', ['a.d/']],
    ['?.d', ['a.d/', 'b.d/', 'c.d/']],
    ['plain', ['plain']],
    ['dang*', ['dangling']],
    ['none', 'nothing'],
    ['*.none', 'nothing'],
    ['none/*', 'unreadable'],
    ['plain/*', 'nothing'],
    ['*/none/*', 'nothing'],
  ])('of %s are %j', (pattern, expected) => {
    const found = glob(join(folder, pattern))
    expect(typeof found === 'string' ? found : found.map((path) => path.slice(folder.length + 1))).toEqual(expected)
  })
})
