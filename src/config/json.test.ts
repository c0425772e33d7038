import { describe, expect, test } from 'vitest'
import { parseJson } from './json.ts'

describe('JSON', () => {
  test.each(['{}', '[]', ' {"a" : [1, -0.5e+7, true, false, null, "x\\u00e9\\n"], "b":{"c":{}}}\r\n', '"x"', '0'])(
    'is read as JSON.parse reads it: %s',
    (text) => {
      expect(parseJson(text).value).toEqual(JSON.parse(text))
    },
  )

  test.each([
    ['', 'a value, got the end of the file in line 1, column 1'],
    ['{\n  "a": 1,\n}', 'a name in double quotes, got "}" in line 3, column 1'],
    ["{ 'a': 1 }", 'a name in double quotes, got "\'" in line 1, column 3'],
    ['{"a" 1}', '":", got "1" in line 1, column 6'],
    ['{"a": 1 "b": 2}', '"," or "}", got "\\"" in line 1, column 9'],
    ['[1, 2', '"," or "]", got the end of the file in line 1, column 6'],
    ['[\n1,\n,]', 'a value, got "," in line 3, column 1'],
    ['[01]', 'a value, got "01" in line 1, column 2'],
    ['[undefined]', 'a value, got "undefined" in line 1, column 2'],
    ['["a\n"]', 'a text that ends in the same line, got "\\"" in line 1, column 2'],
    ['{} // no', 'the end of the file, got "/" in line 1, column 4'],
    ['[1.]', 'a value, got "1." in line 1, column 2'],
  ])('%j: expected %s', (text, message) => {
    expect(() => parseJson(text)).toThrow(`expected ${message}`)
    expect(() => JSON.parse(text) as unknown).toThrow()
  })

  test('that is too deep to be meant is refused', () => {
    expect(() => parseJson('['.repeat(50_000))).toThrow('less depth')
  })

  test('tells the line of each value', () => {
    const { lines } = parseJson('{\n  "a": [\n    1,\n    { "b c": 2 }\n  ]\n}')
    expect(Object.fromEntries(lines)).toEqual({ '': 1, a: 2, 'a[0]': 3, 'a[1]': 4, 'a[1]["b c"]': 4 })
  })

  test('tells names that are there twice', () => {
    expect(parseJson('{"a": {"b": 1, "b": 2}, "c": {"b": 1}}').problems).toEqual([{ at: 'a.b', message: 'it is there twice' }])
  })
})
