import { describe, expect, test } from 'vitest'
import { queryArguments } from './arguments.ts'

describe('the arguments of an indexed query', () => {
  test.each<[string, string[]]>([
    ['', []],
    ['red', ['red']],
    ['red+car', ['red', 'car']],
    ['a%20b+c%2Bd', ['a b', 'c+d']],
    ['a%3Db', ['a=b']],
    ['a=b', []],
    ['a+b=c', []],
    ['%E4%B8%AD', ['\xe4\xb8\xad']],
    ['a-b', ['a-b']],
  ])('of %j are %j', (query, words) => {
    expect(queryArguments('GET', query)).toEqual(words)
    expect(queryArguments('HEAD', query)).toEqual(words)
  })

  test.each([
    ['an option', '-s'],
    ['an option in the encoded form', '%2ds'],
    ['an option that is not first (CVE-2012-1823)', 'a+-dallow_url_include%3d1'],
    ['an option behind an empty word', '+-s'],
    ['an option behind a space', '%20-s'],
    ['a soft hyphen (CVE-2024-4577)', '%C2%ADs'],
    ['a soft hyphen in Latin-1', '%ADs'],
    ['an en dash', '%E2%80%93s'],
    ['an em dash', '%E2%80%94s'],
    ['a minus sign', '%E2%88%92s'],
    ['a full-width dash', '%EF%BC%8Ds'],
    ['a small dash', '%EF%B9%A3s'],
    ['a dash behind a wide space', '%E3%80%80-s'],
    ['a NUL', 'a%00b'],
    ['a line break', 'a%0Ab'],
    ['a wrong escape', 'a%2'],
    ['an empty word', 'a++b'],
    ['bytes that are no text', 'a+%FF'],
  ])('are none at all when there is %s', (_, query) => {
    expect(queryArguments('GET', query)).toEqual([])
  })

  test('are none for other methods', () => {
    expect(queryArguments('POST', 'red')).toEqual([])
  })
})
