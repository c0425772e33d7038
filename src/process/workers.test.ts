import { describe, expect, test } from 'vitest'
import { lifespan, policyOf } from './workers.ts'
import type { Workers } from './workers.ts'

describe('the life of a worker in requests', () => {
  test.each<[number | undefined, number, number]>([
    [undefined, 0, Infinity],
    [0, 0.5, Infinity],
    [1, 0.999, 1],
    [9, 0.999, 9],
    [10, 0.999, 10],
    [1000, 0, 1000],
    [1000, 0.5, 950],
    [1000, 0.999, 901],
  ])('maxRequests %j with chance %d is %d', (maxRequests, chance, expected) => {
    expect(lifespan(maxRequests, () => chance)).toBe(expected)
  })
})

describe('workers', () => {
  test.each<[Workers, number]>([
    [3, 3],
    [{ type: 'dynamic', max: 4, minSpare: 1, maxSpare: 3 }, 4],
    [{ type: 'ondemand', max: 2 }, 2],
  ])('%j are %d at most', (workers, max) => {
    expect(policyOf(workers, 'test').max).toBe(max)
  })

  test.each<[Workers, string]>([
    [0, 'test: workers: expected a whole number from 1, got 0'],
    [1.5, 'test: workers: expected a whole number from 1, got 1.5'],
    [{ type: 'ondemand', max: Number.NaN }, 'test: workers: expected a whole number from 1, got NaN'],
    [{ type: 'dynamic', max: 4, minSpare: 0, maxSpare: 1 }, 'test: workers: expected 1 <= minSpare <= maxSpare <= max, got 0, 1 and 4'],
    [{ type: 'dynamic', max: 4, minSpare: 3, maxSpare: 2 }, 'test: workers: expected 1 <= minSpare <= maxSpare <= max, got 3, 2 and 4'],
    [{ type: 'dynamic', max: 4, minSpare: 1, maxSpare: 5 }, 'test: workers: expected 1 <= minSpare <= maxSpare <= max, got 1, 5 and 4'],
  ])('%j are refused: %s', (workers, message) => {
    expect(() => policyOf(workers, 'test')).toThrowError(expect.objectContaining({ code: 'CONFIG', message }) as Error)
  })
})
