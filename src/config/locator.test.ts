import { mkdirSync, mkdtempSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { Root } from '../static/index.ts'
import { Locator } from './locator.ts'

let folder: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-locator-'))
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

const locator = (options = {}): Locator => new Locator(new Root(folder), { php: ['.php'], index: ['index.html', 'index.php'], ...options })

test('what was found is known until its age, and then looked at again', async () => {
  let now = 0
  const site = locator({ clock: () => now })
  writeFileSync(join(folder, 'a.php'), '')
  expect(site.known('/a.php')).toBeUndefined()
  await site.find('/a.php')
  unlinkSync(join(folder, 'a.php'))
  now = 999
  expect(site.known('/a.php')).toMatchObject({ located: { kind: 'php' } })
  now = 1000
  expect(site.known('/a.php')).toBeUndefined()
  expect(await site.find('/a.php')).toMatchObject({ located: { kind: 'nothing' } })
  expect(site.known('/a.php')).toMatchObject({ located: { kind: 'nothing' } })
})

test('a script gets variables that agree with one another', async () => {
  mkdirSync(join(folder, 'sub'))
  writeFileSync(join(folder, 'sub', 'a.php'), '')
  const site = locator()
  expect((await site.find('/sub/a.php/x y')).changes).toEqual({
    scriptName: '/sub/a.php',
    pathInfo: '/x y',
    rawPathInfo: '/x%20y',
    variables: { SCRIPT_FILENAME: `${folder}/sub/a.php`, DOCUMENT_ROOT: folder, PATH_TRANSLATED: `${folder}/x y` },
  })
  expect((await site.find('/sub/a.php')).changes).toMatchObject({
    pathInfo: '',
    rawPathInfo: '',
    variables: { PATH_TRANSLATED: undefined },
  })
  expect(site.changes('/app', '/sub/a.php', '').scriptName).toBe('/app/sub/a.php')
})

test('those who ask at the same time share one look, and what is missing is remembered with it', async () => {
  writeFileSync(join(folder, 'a.php'), '')
  let looks = 0
  const site = locator({
    inspect: () => {
      looks++
      return Promise.resolve({ what: 'php' })
    },
  })
  const found = await Promise.all([site.find('/a.php'), site.find('/a.php'), site.find('/a.php')])
  expect(looks).toBe(1)
  expect(new Set(found).size).toBe(1)
  expect(site.known('/a.php')!.lacks).toEqual({ what: 'php' })
})

test('it remembers no more paths than it may, and forgets the oldest', async () => {
  const site = locator({ entries: 2 })
  for (const path of ['/a', '/b', '/a', '/c']) await site.find(path)
  expect(['/a', '/b', '/c'].map((path) => site.known(path) !== undefined)).toEqual([true, false, true])
})
