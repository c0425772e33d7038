import { describe, expect, test } from 'vitest'
import type { PoolConfig } from './config/types.ts'
import { readSettings, withSettings } from './request-settings.ts'

describe('settings of a request', () => {
  test.each<[string, (readonly [string, string])[], string[]]>([
    ['', [], []],
    ['a=1', [['a', '1']], []],
    [
      'a=1\nb = "two" ; comment\n',
      [
        ['a', '1'],
        ['b', 'two'],
      ],
      [],
    ],
    [
      'a=on\nb=off',
      [
        ['a', '1'],
        ['b', ''],
      ],
      [],
    ],
    [
      'a=1\na=2',
      [
        ['a', '1'],
        ['a', '2'],
      ],
      [],
    ],
    ['a="x\nb=1"', [['a', 'x\nb=1']], []],
    ['a', [], ["empty value for key 'a'"]],
    ['[a]\nb=1', [['b', '1']], ['only classic entries are allowed']],
    ['a[]=1', [], ['only classic entries are allowed']],
    ['a=${HOME}', [['a', '']], []],
    ['a=1\nb=(\nc=2', [['a', '1']], []],
  ])('%j', (text, pairs, complaints) => {
    const said = complaints.map((each) => `Passing INI directive through FastCGI: ${each}`)
    expect(readSettings(text, '')).toEqual({ values: pairs, adminValues: [], complaints: said })
    expect(readSettings('', text)).toEqual({ values: [], adminValues: pairs, complaints: said })
  })

  test('the last one counts, before those of the pool; what scripts cannot change stays so', () => {
    const pool = { pm: 'static', pmProcessIdleTimeout: 0, phpValues: [['a', 'pool']], phpAdminValues: [['b', 'pool']] } as const
    const { pm, phpValues, phpAdminValues } = withSettings(pool as unknown as PoolConfig, readSettings('a=1\na=2\nb=3\nc=4', 'c=5\nd=6'))
    expect(pm).toBe('ondemand')
    expect(phpValues).toEqual([
      ['a', '2'],
      ['a', '1'],
      ['a', 'pool'],
    ])
    expect(phpAdminValues).toEqual([
      ['d', '6'],
      ['c', '5'],
      ['c', '4'],
      ['b', '3'],
      ['b', 'pool'],
    ])
  })
})
