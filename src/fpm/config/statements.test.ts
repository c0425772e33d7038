import { describe, expect, test } from 'vitest'
import { atoi, readLine } from './statements.ts'
import type { Statement } from './statements.ts'

const NAMES: Readonly<Record<string, string>> = { HOME: '/root' }
const read = (text: string): { statements: readonly Statement[]; mistake: string | undefined } =>
  readLine(text, (name) => NAMES[name] ?? '')
const value = (text: string): string | undefined => {
  const [statement] = read(`a = ${text}`).statements
  return statement?.kind === 'entry' ? statement.value : undefined
}

describe('a value', () => {
  test.each([
    ['word', 'word'],
    ['two  words ', 'two  words'],
    ['', ''],
    ['yes', '1'],
    ['off', ''],
    ['yes, indeed', 'yes, indeed'],
    ['"yes"', 'yes'],
    ['"a;b" ; comment', 'a;b'],
    [`'raw \${HOME}'`, 'raw ${HOME}'],
    ['"${HOME}/x"', '/root/x'],
    ['${HOME}x${NONE}y', '/rootxy'],
    ['/tmp/"a b"/c', '/tmp/a b/c'],
    ['$pool', '$pool'],
    ['E_ALL & ~E_NOTICE', '32759'],
    ['(1 | 2) ^ 7', '4'],
    ['!1', '0'],
    ['"\\"\\\\\\n"', '"\\\\n'],
  ])('%s is %j', (text, expected) => {
    expect(value(text)).toBe(expected)
  })
})

describe('a line', () => {
  test.each<[string, Statement[]]>([
    ['', []],
    ['; comment', []],
    ['[www]', [{ kind: 'section', name: 'www' }]],
    [
      '[www] a = b',
      [
        { kind: 'section', name: 'www' },
        { kind: 'entry', name: 'a', value: 'b' },
      ],
    ],
    ['env[A B] = c', [{ kind: 'array', name: 'env', key: 'A B', value: 'c' }]],
    ['a.b[] = c', [{ kind: 'array', name: 'a.b', key: '', value: 'c' }]],
    ['alone', [{ kind: 'entry', name: 'alone', value: undefined }]],
    ['a = b\r', [{ kind: 'entry', name: 'a', value: 'b' }]],
  ])('%j says %j', (text, statements) => {
    expect(read(text)).toEqual({ statements, mistake: undefined })
  })

  test.each([
    ['[www', 0, `unexpected end of file, expecting ']' in Unknown on line 1`],
    ['a = "b', 0, `unexpected end of file, expecting TC_DOLLAR_CURLY or TC_QUOTED_STRING or '"' in Unknown on line 2`],
    ['a = b (c', 1, `unexpected '(' in Unknown on line 1`],
    ['a = yes x', 1, 'unexpected TC_CONSTANT in Unknown on line 1'],
    ['a = (b', 0, `unexpected END_OF_LINE, expecting '^' or '|' or '&' or ')' in Unknown on line 2`],
    ['env[a]', 0, `unexpected END_OF_LINE, expecting '=' in Unknown on line 2`],
  ])('%j has %i statements and then a mistake: %s', (text, count, mistake) => {
    const line = read(text)
    expect(line.statements.length).toBe(count)
    expect(line.mistake).toBe(`syntax error, ${mistake}`)
  })
})

test.each([
  ['', 0],
  ['-', 0],
  [' 12x', 12],
  ['-7', -7],
  ['+7', 7],
  ['2147483647', 2147483647],
  ['2147483648', -2147483648],
  ['99999999999', 1215752191],
  ['99999999999999999999', -1],
])('%j is the int %i', (text, expected) => {
  expect(atoi(text)).toBe(expected)
})
