import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { placeOf } from './place.ts'

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct place %20 é-'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function put(name: string, code: string): string {
  writeFileSync(join(folder, name), code)
  return join(folder, name)
}

function withStack(stack: (file: string) => string, file: string): Error {
  const error = new Error('it hurts')
  error.stack = stack(file)
  return error
}

describe('the place of an error', () => {
  test.each<[string, (file: string) => string]>([
    ['a module, told by its URL', (file) => `Error: it hurts\n    at Module.default (${pathToFileURL(file).href}:3:7)`],
    [
      'the top of a module',
      (file) => `Error: it hurts\n    at ${pathToFileURL(file).href}:3:7\n    at async ModuleJob.run (node:internal:1:2)`,
    ],
    ['CommonJS, told by its path', (file) => `Error: it hurts\n    at Object.<anonymous> (${file}:3:7)`],
    ['a module that was read anew', (file) => `Error: it hurts\n    at ${pathToFileURL(file).href}?t=1:3:7`],
    [
      'what it calls',
      (file) => `Error: it hurts\n    at f (/other/lib.mjs:9:9)\n    at ${pathToFileURL(file).href}:3:7\n    at ${file}:9:1`,
    ],
  ])('is the line of %s', async (_, stack) => {
    const file = join(folder, 'app.mjs')
    expect(await placeOf(withStack(stack, file), file)).toBe(`${file}:3`)
  })

  test.each([
    ['app.mjs', 'const a = 1\nexport default {\n  b: [,\n}\n', '4'],
    ['app.cjs', 'const a = 1\nmodule.exports = (', '2'],
  ])('is asked of node where %s cannot be read', async (name, code, line) => {
    const file = put(name, code)
    expect(await placeOf(new SyntaxError('Unexpected token'), file)).toBe(`${file}:${line}`)
  })

  test('is nowhere where nothing tells', async () => {
    const file = put('good.mjs', 'export default 1\n')
    // It is in what that imports.
    expect(await placeOf(new SyntaxError('Unexpected token'), file)).toBeUndefined()
    expect(
      await placeOf(
        withStack(() => 'Error: it hurts\n    at /other.mjs:1:2', file),
        file,
      ),
    ).toBeUndefined()
    expect(await placeOf('a text', file)).toBeUndefined()
  })
})
