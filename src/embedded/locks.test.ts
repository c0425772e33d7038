import { describe, expect, test } from 'vitest'
import { Locks } from './locks.ts'
import type { LockRequest } from './locks.ts'

const A = 1
const B = 2
const C = 3

function range(start: number, end: number, exclusive = true, holder = 'process'): LockRequest {
  return { key: 'file', holder, exclusive, start, end }
}

describe('locks', () => {
  test.each<[string, LockRequest, LockRequest, boolean]>([
    ['two exclusive ones of the same bytes', range(0, 10), range(5, 6), false],
    ['an exclusive and a shared one', range(0, 10), range(0, 10, false), false],
    ['two shared ones', range(0, 10, false), range(0, 10, false), true],
    ['neighbours', range(0, 10), range(10, 20), true],
    ['one to the end and one far away', range(0, Infinity), range(1e9, 1e9 + 1), false],
    ['two files', range(0, 10), { ...range(0, 10), key: 'other' }, true],
  ])('of two workers, %s', (_, first, second, both) => {
    const locks = new Locks()
    expect(locks.acquire(A, first)).toBe(true)
    expect(locks.blocked(B, second)).toBe(!both)
    expect(locks.acquire(B, second)).toBe(both)
  })

  test('of one holder replace each other, and of two in one worker do not', () => {
    const locks = new Locks()
    locks.acquire(A, range(0, 10))
    expect(locks.acquire(A, range(0, 10, false))).toBe(true)
    expect(locks.acquire(B, range(0, 10, false))).toBe(true)
    expect(locks.acquire(A, range(0, 10, true, 'another open file'))).toBe(false)
  })

  test('are cut where a part is given back', () => {
    const locks = new Locks()
    locks.acquire(A, range(0, 30))
    locks.release(A, range(10, 20))
    expect([locks.blocked(B, range(0, 10)), locks.blocked(B, range(10, 20)), locks.blocked(B, range(20, 30))]).toEqual([true, false, true])
  })

  test('are waited for in turn, and come when the one before goes, or its worker does', () => {
    const locks = new Locks()
    const got: string[] = []
    locks.wait(A, range(0, 1), () => got.push('A'))
    locks.wait(B, range(0, 1), () => got.push('B'))
    locks.wait(C, range(0, 1), () => got.push('C'))
    expect(got).toEqual(['A'])
    locks.release(A, range(0, 1))
    expect(got).toEqual(['A', 'B'])
    locks.releaseAll(B)
    expect(got).toEqual(['A', 'B', 'C'])
  })

  test('are not given to a worker that is gone', () => {
    const locks = new Locks()
    const got: string[] = []
    locks.acquire(A, range(0, 1))
    locks.wait(B, range(0, 1), () => got.push('B'))
    locks.wait(C, range(0, 1), () => got.push('C'))
    locks.releaseAll(B)
    locks.releaseAll(A)
    expect(got).toEqual(['C'])
  })

  test('that become shared let those in that wait for no more', () => {
    const locks = new Locks()
    const got: string[] = []
    locks.acquire(A, range(0, 1))
    locks.wait(B, range(0, 1, false), () => got.push('B'))
    locks.acquire(A, range(0, 1, false))
    expect(got).toEqual(['B'])
  })
})
