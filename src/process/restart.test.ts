import { describe, expect, test } from 'vitest'
import type { RestartLimits, RestartMemory } from './restart.ts'
import { WELL, emergency, restart, restartDelay } from './restart.ts'

const limits = { pause: 250, longest: 30_000, calm: 60_000 }

test.each([
  [-1, 0],
  [0, 0],
  [1, 250],
  [2, 500],
  [7, 16_000],
  [8, 30_000],
  [5000, 30_000],
])('after %i failures in a row the pause is %i ms', (failures, pause) => {
  expect(restartDelay(failures, limits)).toBe(pause)
})

/** The pauses of something that lives `life` ms each time it is started. */
function pauses(lives: readonly number[], options: RestartLimits = limits): number[] {
  let memory: RestartMemory = { ...WELL, startedAt: 0 }
  let now = 0
  return lives.map((life) => {
    const decision = restart(memory, now + life, options)
    memory = decision.memory
    now += life + decision.delay
    return decision.delay
  })
}

describe('what is started again', () => {
  test('and dies at once each time comes after pauses that double (CVE-2015-9253)', () => {
    expect(pauses([0, 0, 0, 0])).toEqual([0, 250, 500, 1000])
  })

  test('never spins, and a long pause does not count as calm', () => {
    expect(
      pauses(
        Array.from({ length: 50 }, () => 10),
        { ...limits, calm: 5000 },
      ).slice(8),
    ).toEqual(Array.from({ length: 42 }, () => 30_000))
  })

  test.each([
    [59_999, 500],
    [60_000, 0],
  ])('and then lives for %i ms waits %i ms the next time', (life, pause) => {
    expect(pauses([0, 0, life]).at(-1)).toBe(pause)
  })
})

/** Whether each crash at these times is an emergency. */
function story(times: readonly number[], options: { crashes: number; interval: number }): boolean[] {
  let remembered: readonly number[] = []
  return times.map((now) => {
    const decision = emergency(remembered, now, options)
    remembered = decision.times
    expect(remembered.length).toBeLessThanOrEqual(Math.max(0, options.crashes - 1))
    return decision.emergency
  })
}

describe('an emergency', () => {
  test.each([
    ['three within the interval', [0, 500, 999], [false, false, true]],
    ['the first of three a whole interval ago', [0, 500, 1000], [false, false, false]],
    ['a steady trickle', [0, 600, 1200, 1800], [false, false, false, false]],
    ['declared once, then counted anew', [0, 1, 2, 3, 4, 5], [false, false, true, false, false, true]],
  ])('%s', (_, times, expected) => {
    expect(story(times, { crashes: 3, interval: 1000 })).toEqual(expected)
  })

  test('never is one when it is off', () => {
    expect(story([0, 0, 0, 0], { crashes: 0, interval: 1000 })).toEqual([false, false, false, false])
  })

  test('is the first crash when one is enough', () => {
    expect(story([0, 1], { crashes: 1, interval: 1000 })).toEqual([true, true])
  })
})
