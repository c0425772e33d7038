import { afterEach, describe, expect, test, vi } from 'vitest'
import { Line } from './line.ts'
import type { LineOptions, Waiter } from './line.ts'
import { Scope } from './scope.ts'

/** Writes down what it gets. */
function waiter(name: string, heard: string[]): Waiter<string> {
  return { take: (what) => heard.push(`${name} took ${what}`), refuse: (error) => heard.push(`${name} was refused: ${String(error)}`) }
}

const line = (options: Partial<LineOptions> = {}): Line<string> =>
  new Line({ max: 3, timeout: 1000, refusal: (code) => code, gone: () => 'gone', ...options })

describe('a line', () => {
  afterEach(() => void vi.useRealTimers())

  test('gives to who waits longest, before offer returns', () => {
    const heard: string[] = []
    const waiting = line()
    for (const name of ['a', 'b']) waiting.wait(undefined, waiter(name, heard))

    expect(waiting.offer('1')).toBe(true)
    expect(heard).toEqual(['a took 1'])
    expect(waiting.offer('2')).toBe(true)
    expect(waiting.offer('3')).toBe(false)
    expect(heard).toEqual(['a took 1', 'b took 2'])
  })

  test('may be offered something and joined from within', () => {
    const heard: string[] = []
    const waiting = line()
    waiting.wait(undefined, {
      take: (what) => {
        waiting.wait(undefined, waiter('c', heard))
        waiting.offer(`${what} again`)
      },
      refuse() {},
    })
    waiting.wait(undefined, waiter('b', heard))

    waiting.offer('1')
    expect(heard).toEqual(['b took 1 again'])
    expect(waiting.size).toBe(1)
  })

  test('refuses the one too many, and counts it', () => {
    const heard: string[] = []
    const waiting = line({ max: 1 })
    waiting.wait(undefined, waiter('a', heard))
    waiting.wait(undefined, waiter('b', heard))

    expect(heard).toEqual(['b was refused: QUEUE_FULL'])
    expect(waiting.counts).toEqual({ waiting: 1, maxWaiting: 1, limit: 1, refused: 1 })
    waiting.clear('closed')
    expect(heard[1]).toBe('a was refused: closed')
  })

  test('is left by a request that is over, with its reason where it has one', () => {
    const heard: string[] = []
    const onLeave = vi.fn<() => void>()
    const waiting = line({ onLeave })
    const [a, b] = [new Scope(), new Scope()]
    waiting.wait(a, waiter('a', heard))
    waiting.wait(b, waiter('b', heard))
    a.finish({ kind: 'cut', status: 0, bytes: 0, error: 'the client has left' })
    b.finish({ kind: 'sent', status: 200, bytes: 0 })

    expect(heard).toEqual(['a was refused: the client has left', 'b was refused: gone'])
    expect(onLeave).toHaveBeenCalledTimes(2)
    expect(waiting.offer('1')).toBe(false)
  })

  test('refuses each one that has waited too long when its time has come, and no other', () => {
    vi.useFakeTimers()
    const heard: string[] = []
    const waiting = line()
    waiting.wait(undefined, waiter('a', heard))
    vi.advanceTimersByTime(600)
    waiting.wait(undefined, waiter('b', heard))
    vi.advanceTimersByTime(450)
    expect(heard).toEqual(['a was refused: QUEUE_TIMEOUT'])
    vi.advanceTimersByTime(600)
    expect(heard).toEqual(['a was refused: QUEUE_TIMEOUT', 'b was refused: QUEUE_TIMEOUT'])
    expect(waiting.counts).toEqual({ waiting: 0, maxWaiting: 2, limit: 3, refused: 2 })
    expect(vi.getTimerCount()).toBe(0)
  })
})
