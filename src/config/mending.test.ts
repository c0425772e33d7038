import { describe, expect, test, vi } from 'vitest'
import { backend, silent, text } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { Down, mending, startOf } from './mending.ts'
import type { Backend } from '../core/index.ts'

/** A program that comes up once `mended`, and counts its tries. */
function program(): { make: () => Backend; tries: number; closed: number; mended: boolean } {
  const state = {
    tries: 0,
    closed: 0,
    mended: false,
    make: (): Backend => {
      state.tries++
      const { mended } = state
      return backend(() => text(200, 'works'), {
        ready: () => (mended ? Promise.resolve() : Promise.reject(new Error('line 3: no such thing'))),
        close: () => Promise.resolve(void state.closed++),
      })
    },
  }
  return state
}

const ask = async (application: Backend): Promise<string> => {
  try {
    return String((await application(makeRequest({}))).body)
  } catch (error) {
    return (error as Error).message
  }
}

describe('an application that does not come up', () => {
  test('is answered with the reason, and keeps nobody from being ready', async () => {
    const broken = program()
    const application = mending(broken.make, { name: 'a', now: true })
    await application.ready()
    expect(await ask(application)).toBe('line 3: no such thing')
    expect(broken).toMatchObject({ tries: 1, closed: 1 })
    await application.close(0)
    expect(broken.closed).toBe(1)
  })

  test('is a reason not to be ready where there is something before it', async () => {
    const application = mending(program().make, { name: 'a', now: true, strict: true })
    await expect(application.ready()).rejects.toMatchObject({ code: 'PROGRAM_FAILED', message: 'line 3: no such thing' })
  })

  test('is tried again by a later request, not by each, and works once it is mended', async () => {
    const now = vi.spyOn(performance, 'now')
    try {
      now.mockReturnValue(1000)
      const broken = program()
      const application = mending(broken.make, { name: 'a', now: true })
      await application.ready()
      now.mockReturnValue(1999)
      expect(await ask(application)).toContain('line 3')
      expect(broken.tries).toBe(1)
      broken.mended = true
      now.mockReturnValue(2000)
      expect(await Promise.all([ask(application), ask(application)])).toEqual(['works', 'works'])
      expect(broken.tries).toBe(2)
      await application.close(0)
      expect(broken.closed).toBe(2)
    } finally {
      now.mockRestore()
    }
  })

  test('waits the longer the longer its last try took', async () => {
    const now = vi.spyOn(performance, 'now')
    try {
      now.mockReturnValue(0)
      const broken = program()
      const application = mending(
        () => {
          now.mockReturnValue(5000)
          return broken.make()
        },
        { name: 'a', now: true },
      )
      await application.ready()
      for (const [time, tries] of [
        [24_999, 1],
        [25_000, 2],
      ] as const) {
        now.mockReturnValue(time)
        await ask(application)
        expect(broken.tries).toBe(tries)
      }
    } finally {
      now.mockRestore()
    }
  })

  test.each<[number, boolean, number, number | undefined]>([
    [1000, true, 503, 1],
    [1001, true, 503, 1],
    [9000, true, 503, 32],
    [1000, false, 500, undefined],
  ])('that took until %i ms, and is tried again: %s, is a %i with Retry-After %s', async (time, again, status, retryAfter) => {
    const now = vi.spyOn(performance, 'now')
    try {
      now.mockReturnValue(1000)
      const make = (): Backend => {
        now.mockReturnValue(time)
        return program().make()
      }
      const application = mending(make, { name: 'a', now: false, again })
      const told = { code: 'NOT_STARTED', status, retryAfter, message: 'line 3: no such thing' }
      // The one that tried it, and the next one.
      for (let i = 0; i < 2; i++) await expect(async () => application(makeRequest({}))).rejects.toMatchObject(told)
    } finally {
      now.mockRestore()
    }
  })

  test('is in the status with the reason, until it comes up', async () => {
    const broken = program()
    const pool = { kind: 'wsgi', interpreter: { mode: 'native', name: 'python' } } as const
    const application = mending(broken.make, { name: '/a/app.py', now: true, pool })
    await application.ready()
    expect(application.pools!()).toEqual([
      expect.objectContaining({ name: '/a/app.py', ...pool, error: 'line 3: no such thing', processes: [] }),
    ])
    broken.mended = true
    await vi.waitFor(async () => expect(await ask(application)).toBe('works'), 5000)
    expect(application.pools!()).toEqual([])
    await application.close(0)
  })

  test('is not tried again where that cannot change anything', async () => {
    const broken = program()
    const application = mending(broken.make, { name: 'a', now: true, again: false })
    await application.ready()
    broken.mended = true
    expect(await ask(application)).toContain('line 3')
    expect(broken.tries).toBe(1)
  })
})

describe('an application that comes up', () => {
  test('is made by the first request where it is not wanted at once', async () => {
    const works = program()
    works.mended = true
    const application = mending(works.make, { name: 'a', now: false, strict: true })
    await application.ready()
    expect(works.tries).toBe(0)
    expect(await ask(application)).toBe('works')
    await application.close(0)
    expect(works).toMatchObject({ tries: 1, closed: 1 })
  })

  test('is closed when it comes up too late, and nothing is made after the end', async () => {
    let come!: () => void
    let closed = false
    const application = mending(
      () =>
        backend(() => text(200, ''), {
          ready: () => new Promise((resolve) => (come = resolve)),
          close: () => Promise.resolve(void (closed = true)),
        }),
      { name: 'late', now: true },
    )
    const end = application.close(0)
    await vi.waitFor(() => come())
    await end
    expect(closed).toBe(true)
    expect(await ask(application)).toBe('config: "late" is closed')
  })
})

describe('what is down', () => {
  test('is known by its place and its name, until it comes up', async () => {
    const broken = program()
    let changes = 0
    const down = new Down(() => changes++)
    const scope = { name: 'site', log: silent, down }
    const application = mending(broken.make, { ...startOf(scope, '/a/app.py'), now: true })
    const whole = mending(broken.make, { ...startOf(scope, 'site'), now: true })
    await Promise.all([application.ready(), whole.ready()])
    expect([down.names(), changes]).toEqual([['site', 'site: /a/app.py'], 2])
    broken.mended = true
    await vi.waitFor(async () => expect(await ask(application)).toBe('works'), 5000)
    expect([down.names(), changes]).toEqual([['site'], 3])
    await Promise.all([application.close(0), whole.close(0)])
  })

  test.each([
    [{ strict: true }, true],
    [{ strict: true, excused: new Set(['other: a', 'a']) }, true],
    [{ strict: true, excused: new Set(['site: a']) }, false],
    [{}, false],
  ])('is no reason against the next front where it was down before: %j', (more, strict) => {
    expect(startOf({ name: 'site', log: silent, ...more }, 'a').strict).toBe(strict)
  })
})
