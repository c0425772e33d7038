import { readFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { SOFTWARE, VERSION } from '../src/core/index.ts'

test('the version that Viaduct says is that of its package', () => {
  const { version } = JSON.parse(readFileSync(new URL('../package.json', import.meta.url), 'utf8')) as { version: string }
  expect(VERSION).toBe(version)
  expect(SOFTWARE).toBe(`Viaduct/${version}`)
})
