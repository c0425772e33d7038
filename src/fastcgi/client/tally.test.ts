import { afterEach, describe, expect, test } from 'vitest'
import type { PoolStatus } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import { close, expectRequest, gate, scripted, send, until } from '../../../test/scripted.ts'
import type { Scripted, Step } from '../../../test/scripted.ts'
import * as wire from '../../../test/wire.ts'
import { fastcgi } from './client.ts'
import type { FastCgiOptions } from './options.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

const HELLO = wire.answer(1, 'Content-Type: text/plain\r\n\r\nhello')
const serve = (times: number): Step[] => Array.from({ length: times }, () => [expectRequest(), send(HELLO)]).flat()

async function open(
  steps: readonly Step[],
  options: (upstream: Scripted) => FastCgiOptions,
): Promise<{ get: () => Promise<number | string>; pool: () => PoolStatus; upstream: Scripted }> {
  const upstream = await scripted(steps)
  const app = fastcgi(options(upstream))
  opened.push(upstream, { [Symbol.asyncDispose]: () => app.close(0) })
  const get = async (): Promise<number | string> => {
    try {
      return (await app(makeRequest())).status
    } catch (error) {
      return (error as { code: string }).code
    }
  }
  return { get, pool: () => app.pools!()[0]!, upstream }
}

describe.each<[string, (upstream: Scripted) => FastCgiOptions]>([
  ['one host', ({ address }) => ({ address, retries: 0 })],
  ['several', ({ address }) => ({ upstreams: [{ address }], retries: 0 })],
])('the status of a client of %s', (_, options) => {
  test('counts requests, who waits, and who was refused', async () => {
    const later = gate()
    const { get, pool, upstream } = await open([expectRequest(), until(later.open), send(HELLO), ...serve(1)], (each) => ({
      ...options(each),
      connections: 1,
      queue: 1,
    }))
    const first = get()
    await expect.poll(() => upstream.requests.length).toBe(1)
    const second = get()
    await expect.poll(() => pool().queue.waiting).toBe(1)
    expect(pool().workers).toEqual({ total: 1, idle: 0, busy: 1, maxBusy: 1 })
    expect(await get()).toBe('QUEUE_FULL')
    later.pass()
    expect(await Promise.all([first, second])).toEqual([200, 200])
    expect(pool()).toMatchObject({
      kind: 'fastcgi',
      interpreter: { mode: 'remote' },
      workers: { total: 1, idle: 1, busy: 0, maxBusy: 1 },
      queue: { waiting: 0, maxWaiting: 1, limit: 1 },
      requests: 2,
      failures: { timeouts: 0, crashes: 0, refused: 1 },
    })
  })

  test.each<[string, readonly Step[], Partial<FastCgiOptions>, string, Partial<PoolStatus['failures']>]>([
    ['an answer that does not come', [expectRequest()], { limits: { firstByte: 30 } }, 'TIMEOUT', { timeouts: 1, crashes: 0 }],
    ['an answer that breaks off', [expectRequest(), close()], {}, 'UPSTREAM_TRUNCATED', { timeouts: 0, crashes: 1 }],
  ])('counts %s', async (_name, steps, more, code, failures) => {
    const { get, pool } = await open(steps, (each) => ({ ...options(each), ...more }))
    expect(await get()).toBe(code)
    expect(pool()).toMatchObject({ requests: 1, failures, workers: { busy: 0 } })
  })

  test('counts a host that cannot be reached', async () => {
    const { get, pool, upstream } = await open([], options)
    await upstream[Symbol.asyncDispose]()
    expect(await get()).toBe('UNAVAILABLE')
    expect(pool()).toMatchObject({ requests: 0, failures: { crashes: 1 }, workers: { total: 0, busy: 0 } })
  })
})
