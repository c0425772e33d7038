import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { random } from '../../test/random.ts'
import { Scope } from '../core/index.ts'
import type { Outcome } from '../core/index.ts'
import { Dispatcher } from './dispatcher.ts'

interface Worker {
  readonly name: string
}
const worker = (name: string): Worker => ({ name })
const [a, b, c] = [worker('a'), worker('b'), worker('c')]

function dispatcher(limits: { maxQueue?: number; queueTimeout?: number } = {}, ...workers: Worker[]): Dispatcher<Worker> {
  const made = new Dispatcher<Worker>({ name: 'blog', maxQueue: 4, queueTimeout: 1000, ...limits })
  for (const each of workers) made.add(each)
  return made
}

const cut = (error?: unknown): Outcome => ({ kind: 'cut', status: 0, bytes: 0, error })

/** What a promise has come to, without waiting for it. */
async function state(promise: unknown): Promise<unknown> {
  return Promise.race([Promise.resolve(promise).catch((error: unknown) => error), Promise.resolve().then(() => 'pending')])
}

describe('an idle worker', () => {
  test('is had at once, and the one used last comes first', () => {
    const pool = dispatcher({}, a, b)

    expect(pool.acquire()).toBe(b)
    pool.release(b)
    expect(pool.acquire()).toBe(b)
    expect(pool.acquire()).toBe(a)
    expect(pool.counts()).toEqual({ idle: 0, busy: 2, waiting: 0 })
  })

  test('is had without a look at the request', () => {
    const request = {
      onFinish() {
        throw new Error('asked for nothing')
      },
    }
    expect(dispatcher({}, a).acquire(request)).toBe(a)
  })

  test('is listed by how long it has been idle, longest first', () => {
    const pool = dispatcher({}, a, b, c)
    pool.release(pool.acquire() as Worker)
    expect(pool.idleWorkers).toEqual([a, b, c])
    pool.acquire()
    pool.acquire()
    pool.release(c)
    expect(pool.idleWorkers).toEqual([a, c])
    expect(pool.workers()).toEqual([a, b, c])
  })

  test('that is removed is never had again', () => {
    const pool = dispatcher({}, a, b, c)
    pool.remove(b)
    expect(pool.acquire()).toBe(c)
    expect(pool.acquire()).toBe(a)
    expect(pool.counts()).toEqual({ idle: 0, busy: 2, waiting: 0 })
  })

  test('is taken out with all the others by takeIdle', () => {
    const pool = dispatcher({}, a, b, c)
    pool.acquire()
    expect(pool.takeIdle()).toEqual([a, b])
    expect(pool.counts()).toEqual({ idle: 0, busy: 1, waiting: 0 })
    expect(pool.workers()).toEqual([c])
  })
})

describe('the queue', () => {
  test('is first come, first served, and served before release returns', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    const waiting = [pool.acquire(), pool.acquire()]
    pool.release(a)
    expect(pool.counts()).toEqual({ idle: 0, busy: 1, waiting: 1 })
    expect(await waiting[0]).toBe(a)
    expect(await state(waiting[1])).toBe('pending')
    pool.add(b)
    expect(await waiting[1]).toBe(b)
    expect(pool.counts()).toEqual({ idle: 0, busy: 2, waiting: 0 })
  })

  test.each([0, 1, 3])('of %i places refuses the next with 503 at once', async (maxQueue) => {
    const pool = dispatcher({ maxQueue, queueTimeout: 4500 })
    const waiting = Array.from({ length: maxQueue }, () => pool.acquire())
    await expect(pool.acquire()).rejects.toMatchObject({ code: 'QUEUE_FULL', status: 503, retryAfter: 5 })
    expect(pool.counts().waiting).toBe(maxQueue)
    pool.close()
    await Promise.allSettled(waiting)
  })

  test('keeps a place for whoever comes after one has left', async () => {
    const pool = dispatcher({ maxQueue: 3 })
    const client = new Scope()
    const [first, second, third] = [pool.acquire(), pool.acquire(client), pool.acquire()]
    const reason = new Error('the client has gone')
    client.finish(cut(reason))
    await expect(second).rejects.toBe(reason)
    const fourth = pool.acquire()
    for (const each of [a, b, c]) pool.add(each)
    expect(await Promise.all([first, third, fourth])).toEqual([a, b, c])
  })

  test.each([
    ['first', 0],
    ['middle', 1],
    ['last', 2],
  ])('closes up when the %s one leaves', async (_, index) => {
    const pool = dispatcher()
    const clients = [0, 1, 2].map(() => new Scope())
    const waiting = clients.map((client) => pool.acquire(client))
    clients[index]!.finish(cut())
    await expect(waiting[index]).rejects.toThrow()
    pool.add(a)
    pool.add(b)
    expect(await Promise.all(waiting.filter((_each, i) => i !== index))).toEqual([a, b])
    expect(pool.counts()).toEqual({ idle: 0, busy: 2, waiting: 0 })
  })

  test('does not keep a request that is over already', async () => {
    const pool = dispatcher()
    const client = new Scope()
    client.finish(cut())
    await expect(pool.acquire(client)).rejects.toMatchObject({ code: 'CLIENT_GONE' })
    expect(pool.counts().waiting).toBe(0)
  })

  test('gives a worker no second time to a request that is over after it was served', async () => {
    const pool = dispatcher()
    const client = new Scope()
    const waiting = pool.acquire(client)
    pool.add(a)
    client.finish(cut())
    expect(await waiting).toBe(a)
    expect(pool.counts()).toEqual({ idle: 0, busy: 1, waiting: 0 })
  })
})

describe('waiting', () => {
  beforeEach(() => void vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] }))
  afterEach(() => void vi.useRealTimers())

  test('ends with 503 after queueTimeout, for each at its own time, by one timer', async () => {
    const pool = dispatcher({ queueTimeout: 1000 })
    const early = pool.acquire()
    vi.advanceTimersByTime(400)
    const late = pool.acquire()
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(599)
    expect(await state(early)).toBe('pending')
    vi.advanceTimersByTime(1)
    expect(await state(early)).toMatchObject({ code: 'QUEUE_TIMEOUT', status: 503, retryAfter: 1 })
    expect(await state(late)).toBe('pending')
    expect(vi.getTimerCount()).toBe(1)
    vi.advanceTimersByTime(400)
    expect(await state(late)).toMatchObject({ code: 'QUEUE_TIMEOUT' })
    expect(vi.getTimerCount()).toBe(0)
    expect(pool.counts().waiting).toBe(0)
  })

  test.each<[string, (pool: Dispatcher<Worker>, client: Scope) => void]>([
    ['is served', (pool) => pool.add(a)],
    ['leaves', (_, client) => client.finish(cut())],
    ['is refused', (pool) => pool.close()],
  ])('leaves no timer behind when the only one %s', async (_, end) => {
    const pool = dispatcher()
    const client = new Scope()
    const waiting = Promise.resolve(pool.acquire(client)).catch(() => {})
    expect(vi.getTimerCount()).toBe(1)
    end(pool, client)
    await waiting
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('a worker that is removed while busy', () => {
  test('is not idle when its lease ends', () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    pool.remove(a)
    pool.release(a)
    expect(pool.counts()).toEqual({ idle: 0, busy: 0, waiting: 0 })
  })

  test('does not serve those that wait', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    const waiting = pool.acquire()
    pool.remove(a)
    pool.release(a)
    expect(await state(waiting)).toBe('pending')
    pool.add(b)
    expect(await waiting).toBe(b)
  })
})

test('a worker given back twice, or added twice, is an error and not two requests at once', () => {
  const pool = dispatcher({}, a)
  pool.acquire()
  pool.release(a)
  expect(() => pool.release(a)).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  expect(() => pool.add(a)).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  expect(pool.counts()).toEqual({ idle: 1, busy: 0, waiting: 0 })
})

test('refuse tells all that wait why nobody serves them, and new ones may wait again', async () => {
  const pool = dispatcher()
  const waiting = [pool.acquire(), pool.acquire()]
  const reason = new Error('nobody comes up')
  pool.refuse(reason)
  for (const each of waiting) await expect(each).rejects.toBe(reason)
  const next = pool.acquire()
  pool.add(a)
  expect(await next).toBe(a)
})

describe('closing', () => {
  test('refuses those that wait and those that come, and lets leases run', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    const waiting = pool.acquire()
    pool.close()
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED', status: 503 })
    pool.release(a)
    await expect(pool.acquire()).rejects.toMatchObject({ code: 'CLOSED' })
  })

  test('tells the reason it was given', async () => {
    const pool = dispatcher()
    const waiting = pool.acquire()
    const reason = new Error('out of order')
    pool.close(reason)
    await expect(waiting).rejects.toBe(reason)
    await expect(pool.acquire()).rejects.toBe(reason)
  })

  test('drained serves those that wait, takes nothing new, and resolves when all is quiet', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    const waiting = pool.acquire()
    const drained = pool.drained(10_000)
    await expect(pool.acquire()).rejects.toMatchObject({ code: 'CLOSED' })
    pool.release(a)
    expect(await waiting).toBe(a)
    expect(await state(drained)).toBe('pending')
    pool.release(a)
    await drained
  })

  test('drained resolves when the last busy worker dies', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    const drained = pool.drained(100_000)
    pool.remove(a)
    await drained
  })

  test('drained resolves when its grace is over, and counts tell so', async () => {
    const pool = dispatcher({}, a)
    pool.acquire()
    await pool.drained(20)
    expect(pool.counts().busy).toBe(1)
  })

  test('drained resolves when the last that waits is refused', async () => {
    const pool = dispatcher()
    const waiting = pool.acquire()
    const drained = pool.drained(10_000)
    pool.close()
    await expect(waiting).rejects.toMatchObject({ code: 'CLOSED' })
    await drained
  })
})

describe('whatever happens in whatever order', () => {
  test.each([1, 2, 3, 4, 5, 6, 7, 8])('a worker is never at two requests and none is lost (seed %i)', async (seed) => {
    const next = random(seed)
    const pick = <T>(list: readonly T[]): T | undefined => list[Math.floor(next() * list.length)]
    const pool = dispatcher({ maxQueue: 5, queueTimeout: 60_000 })
    const alive = new Set<Worker>()
    const held: Worker[] = []
    const clients = new Set<Scope>()
    let made = 0
    let [asked, served, refused] = [0, 0, 0]

    const got = (taken: Worker): void => {
      served++
      expect(held, `seed ${seed}: ${taken.name} is at two requests`).not.toContain(taken)
      held.push(taken)
    }
    const acquire = (): void => {
      asked++
      const client = new Scope()
      const result = pool.acquire(client)
      if (!(result instanceof Promise)) return got(result)
      clients.add(client)
      result.then(got, () => void refused++).finally(() => clients.delete(client))
    }
    const drop = (list: Worker[], each: Worker): void => void list.splice(list.indexOf(each), 1)

    for (let step = 0; step < 3000; step++) {
      const dice = next()
      if (dice < 0.4) acquire()
      else if (dice < 0.8) {
        const each = pick(held)
        if (each !== undefined) {
          drop(held, each)
          pool.release(each)
        }
      } else if (dice < 0.86 && alive.size < 6) {
        const each = worker(`w${made++}`)
        alive.add(each)
        pool.add(each)
      } else if (dice < 0.91) {
        const each = pick([...alive])
        if (each !== undefined) {
          alive.delete(each)
          pool.remove(each)
        }
      } else pick([...clients])?.finish(cut())
      // Continuations of those that were served run before the next step, as they do between two events.
      await Promise.resolve()
      await Promise.resolve()

      const { idle, busy, waiting } = pool.counts()
      const busyAlive = held.filter((each) => alive.has(each)).length
      expect({ idle, busy, sum: idle + busy }, `seed ${seed}, step ${step}`).toEqual({
        idle: alive.size - busyAlive,
        busy: busyAlive,
        sum: alive.size,
      })
      expect(idle === 0 || waiting === 0, `seed ${seed}, step ${step}: ${idle} idle while ${waiting} wait`).toBe(true)
      expect(asked - served - refused, `seed ${seed}, step ${step}: requests out of sight`).toBe(waiting)
    }
    expect(served).toBeGreaterThan(500)
    expect(refused).toBeGreaterThan(50)
    pool.close()
  })
})
