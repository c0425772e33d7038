import { describe, expect, test } from 'vitest'
import { countWorkers, readWorkers, workersMember } from './workers.ts'
import type { WorkersSetting } from './workers.ts'

function read(setting: WorkersSetting): { workers: unknown; problems: string[] } {
  const problems: string[] = []
  const workers = readWorkers(setting, (member, expected, got) => void problems.push(`${member}: expected ${expected}, got ${got}`))
  return { workers, problems }
}

describe('the number of processes', () => {
  test.each<[WorkersSetting, unknown]>([
    [3, 3],
    [{ policy: 'static', max: 5 }, 5],
    [
      { policy: 'ondemand', max: 5 },
      { type: 'ondemand', max: 5 },
    ],
    [
      { policy: 'ondemand', max: 5, idleTimeout: '2m' },
      { type: 'ondemand', max: 5, idleTimeout: 120_000 },
    ],
    [
      { policy: 'dynamic', max: 8 },
      { type: 'dynamic', max: 8, minSpare: 1, maxSpare: 3 },
    ],
    [
      { policy: 'dynamic', max: 1 },
      { type: 'dynamic', max: 1, minSpare: 1, maxSpare: 1 },
    ],
    [
      { policy: 'dynamic', max: 8, minSpare: 2, maxSpare: 8, start: 8 },
      { type: 'dynamic', max: 8, minSpare: 2, maxSpare: 8, start: 8 },
    ],
  ])('%j means %j', (setting, workers) => {
    expect(read(setting)).toEqual({ workers, problems: [] })
    expect(workersMember(2, '').safeParse(setting).success).toBe(true)
  })

  test.each<[WorkersSetting, string]>([
    [{ policy: 'static', max: 5, minSpare: 1 }, 'workers.minSpare: expected "policy": "dynamic" beside it, got static'],
    [{ policy: 'ondemand', max: 5, start: 1 }, 'workers.start: expected "policy": "dynamic" beside it, got ondemand'],
    [{ policy: 'dynamic', max: 5, idleTimeout: 1 }, 'workers.idleTimeout: expected "policy": "ondemand" beside it, got dynamic'],
    [{ policy: 'dynamic', max: 2, minSpare: 3 }, 'workers: expected minSpare <= maxSpare <= max, got 3, 3 and 2'],
    [{ policy: 'dynamic', max: 9, minSpare: 3, maxSpare: 2 }, 'workers: expected minSpare <= maxSpare <= max, got 3, 2 and 9'],
    [{ policy: 'dynamic', max: 2, start: 3 }, 'workers.start: expected at most "max", which is 2, got 3'],
  ])('%j is a mistake: %s', (setting, problem) => {
    expect(read(setting).problems).toEqual([problem])
  })

  test.each([0, 1.5, 'many', {}, { policy: 'static' }, { max: 3 }, { policy: 'elastic', max: 3 }, { policy: 'static', max: 3, min: 1 }])(
    '%j is none',
    (setting) => {
      expect(workersMember(2, '').safeParse(setting).success).toBe(false)
    },
  )

  test('is shown as a limit where it may be less', () => {
    expect(countWorkers(4)).toEqual({ workers: 4 })
    expect(countWorkers({ type: 'ondemand', max: 4 })).toEqual({ workers: 4, upTo: true })
  })
})
