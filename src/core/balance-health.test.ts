import { describe, expect, test } from 'vitest'
import { HEALTH, mayServe, newHealth, observe, onTrial, share } from './balance-health.ts'
import type { Health, HealthEvent, HealthRules } from './balance-health.ts'

type Step = readonly [at: number, event: HealthEvent]

/** What is known after these events. */
function live(rules: Partial<HealthRules>, ...steps: readonly Step[]): Health {
  let health = newHealth()
  for (const [at, event] of steps) health = observe(health, event, { ...HEALTH, ...rules }, at)
  return health
}

const thrice = (at: number): Step[] => [
  [at, 'failure'],
  [at, 'failure'],
  [at, 'failure'],
]

describe('failures', () => {
  test.each<[string, Partial<HealthRules>, Step[], boolean]>([
    ['three in a row eject', {}, thrice(0), false],
    ['two do not', {}, thrice(0).slice(1), true],
    [
      'not when a success is between',
      {},
      [
        [0, 'failure'],
        [1, 'failure'],
        [2, 'success'],
        [3, 'failure'],
      ],
      true,
    ],
    [
      'not when they are far apart',
      {},
      [
        [0, 'failure'],
        [1, 'failure'],
        [10_002, 'failure'],
      ],
      true,
    ],
    ['never with failures: 0', { failures: 0 }, [...thrice(0), ...thrice(1)], true],
    ['at once with failures: 1', { failures: 1 }, [[0, 'failure']], false],
  ])('%s', (_, rules, steps, up) => {
    expect(live(rules, ...steps).up).toBe(up)
  })

  test('leave a host alone for a while, then one request at a time may try it', () => {
    const health = live({}, ...thrice(1000))
    expect(health.until).toBe(6000)
    expect(mayServe(health, 0, 5999)).toBe(false)
    expect(mayServe(health, 0, 6000)).toBe(true)
    expect(mayServe(health, 1, 6000)).toBe(false)
    expect(onTrial(health, 6000)).toBe(true)
  })

  test('on trial double the time, up to the longest', () => {
    let health = live({}, ...thrice(0))
    const times: number[] = []
    for (let i = 0; i < 6; i++) {
      const now = health.until
      health = observe(health, 'failure', HEALTH, now)
      times.push(health.until - now)
    }
    expect(times).toEqual([10_000, 20_000, 40_000, 60_000, 60_000, 60_000])
  })

  test('of requests that were already under way change nothing', () => {
    const health = live({}, ...thrice(0))
    expect(observe(health, 'failure', HEALTH, 10)).toBe(health)
    expect(observe(health, 'success', HEALTH, 10)).toBe(health)
  })

  test('are forgotten by a success on trial, and remembered for the next time', () => {
    const back = observe(live({}, ...thrice(0)), 'success', HEALTH, 5000)
    expect(back).toMatchObject({ up: true, since: 5000, failures: 0 })
    let again = back
    for (const [, event] of thrice(0)) again = observe(again, event, HEALTH, 6000)
    expect(again.until).toBe(6000 + 10_000)
    let later = back
    for (const [, event] of thrice(0)) later = observe(later, event, HEALTH, 70_000)
    expect(later.until).toBe(70_000 + 5000)
  })
})

describe('active checks', () => {
  const rules = { checked: true }

  test.each<[string, Step[], boolean]>([
    [
      'three that fail eject',
      [
        [0, 'missed'],
        [1, 'missed'],
        [2, 'missed'],
      ],
      false,
    ],
    [
      'two do not',
      [
        [0, 'missed'],
        [1, 'missed'],
      ],
      true,
    ],
    [
      'not when one passes between',
      [
        [0, 'missed'],
        [1, 'missed'],
        [2, 'passed'],
        [3, 'missed'],
        [4, 'missed'],
      ],
      true,
    ],
    ['two that pass bring it back', [...thrice(0), [1, 'passed'], [2, 'passed']], true],
    ['one does not', [...thrice(0), [1, 'passed']], false],
    ['not two with a miss between', [...thrice(0), [1, 'passed'], [2, 'missed'], [3, 'passed']], false],
  ])('%s', (_, steps, up) => {
    expect(live(rules, ...steps).up).toBe(up)
  })

  test('alone bring a host back', () => {
    const health = live(rules, ...thrice(0))
    expect(mayServe(health, 0, 1e9)).toBe(false)
    expect(observe(health, 'success', { ...HEALTH, ...rules }, 1e9).up).toBe(false)
  })
})

test('nothing changes while all is well', () => {
  const health = newHealth()
  expect(observe(health, 'success', HEALTH, 1)).toBe(health)
})

test.each([
  [0, 0, 1],
  [1000, 0, 0.1],
  [1000, 50, 0.1],
  [1000, 500, 0.5],
  [1000, 999, 0.999],
  [1000, 1000, 1],
])('with a slow start of %i ms the share after %i ms is %f', (slowStart, after, expected) => {
  expect(share(newHealth(10_000), { ...HEALTH, slowStart }, 10_000 + after)).toBe(expected)
})

test('a host of the first set needs no slow start', () => {
  expect(share(newHealth(), { ...HEALTH, slowStart: 1000 }, 0)).toBe(1)
})
