// The table of directives in the documentation is the one that configurations are read with.
// `VIADUCT_WRITE=1 npx vitest run test/fpm/face-docs.test.ts` writes it.

import { readFileSync, writeFileSync } from 'node:fs'
import { expect, test } from 'vitest'
import { ARRAYS, GLOBAL, POOL } from '../../src/fpm/config/directives.ts'
import type { Directive } from '../../src/fpm/config/directives.ts'

const PAGE = new URL('../../docs/php-fpm-compatibility.md', import.meta.url)

function rows<C>(directives: readonly Directive<C>[]): string[] {
  return directives.map(({ name, kind, initial, about }) => {
    const shown = initial === undefined || initial === -1 ? '' : `\`${kind.show(initial)}\``
    return `| \`${name}\` | ${kind.form} | ${shown} | ${about} |`
  })
}

const HEAD = ['| directive | value | default | meaning |', '|---|---|---|---|']
const TABLE = [
  '',
  '### `[global]`',
  '',
  ...HEAD,
  ...rows(GLOBAL),
  '',
  '### Pools',
  '',
  ...HEAD,
  ...rows(POOL),
  ...ARRAYS.map(
    ({ name, flag, about }) =>
      `| \`${name}[${name === 'access.suppress_path' ? '' : '...'}]\` | ${flag ? 'yes or no' : 'text'} | | ${about} |`,
  ),
  '',
].join('\n')

test('the documentation has every directive as it is read', () => {
  const page = readFileSync(PAGE, 'utf8')
  const [before, rest] = page.split('<!-- directives -->\n') as [string, string]
  const [, after] = rest.split('<!-- /directives -->') as [string, string]
  const whole = `${before}<!-- directives -->\n${TABLE}<!-- /directives -->${after}`
  if (process.env['VIADUCT_WRITE'] === '1') writeFileSync(PAGE, whole)
  expect(page).toBe(whole)
})
