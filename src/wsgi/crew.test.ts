// How many workers there are, and who replaces whom.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { closeAll, fixture, open } from '../../test/fixtures/wsgi/open.ts'
import { has } from '../../test/peers.ts'
import { members, until } from '../../test/processes.ts'
import type { WsgiPoolOptions } from './index.ts'
import { wsgiPool } from './index.ts'

afterEach(closeAll)

type Server = Awaited<ReturnType<typeof open>>['server']

async function pidOf(server: Server, target = '/pid'): Promise<number> {
  const response = await server.request({ target })
  expect(response.status).toBe(200)
  return Number(response.body.toString())
}

const gone = (pid: number): boolean => members(pid).length === 0

describe.skipIf(!has('python3'))('maxRequests', () => {
  test.each<Partial<WsgiPoolOptions>>([
    { workers: 1 },
    { workers: 2 },
    { workers: 2, depth: 1 },
    { workers: 2, threads: 3 },
    { workers: { type: 'dynamic', max: 3, minSpare: 1, maxSpare: 2 } },
    { workers: { type: 'ondemand', max: 2 } },
  ])('%j: workers are replaced under load, and no request is lost', async (options) => {
    const { server, pool, logged } = await open({ maxRequests: 9, ...options })
    const pids = new Set<number>()
    const client = async (): Promise<void> => {
      for (let i = 0; i < 20_000 && pids.size < 6; i++) pids.add(await pidOf(server))
    }
    await Promise.all(Array.from({ length: 12 }, client))
    expect(pids.size).toBeGreaterThanOrEqual(6)
    expect(logged()).not.toContain('died')
    expect(logged()).not.toContain('ended with')
    const most = typeof options.workers === 'object' ? options.workers.max : options.workers!
    await until(() => [...pids].filter((pid) => !gone(pid)).length <= most)
    expect(pool.counts().workers).toBeGreaterThan(0)
  })

  test('the worker goes when its successor can serve, so there is never one less', async () => {
    const { server, pool, lines } = await open({ workers: 1, maxRequests: 1 })
    const first = await pidOf(server)
    for (let i = 0; i < 20_000 && lines.filter(({ message }) => message.includes(' serves ')).length < 2; i++) {
      expect(pool.counts().workers).toBe(1)
      expect((await server.request({ target: '/hello' })).status).toBe(200)
    }
    await until(() => gone(first))
    expect(pool.counts().workers).toBe(1)
  })

  test('what it has begun is finished, and what is behind that is the successor’s', async () => {
    const { server, file } = await open({ workers: 1, maxRequests: 2 })
    const old = await pidOf(server)
    const last = server.request({ target: '/hello' })
    const slow = server.request({ target: `/wait?note=${file}&0.8` })
    const others = await Promise.all(Array.from({ length: 6 }, () => pidOf(server)))
    expect(others).not.toContain(old)
    expect(gone(old)).toBe(false)
    expect([(await last).status, (await slow).body.toString()]).toEqual([200, 'waited'])
    await until(() => gone(old))
  })

  test('a successor that cannot be had leaves the old one at work', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-test-crew-'))
    const put = (first: string): void =>
      writeFileSync(
        join(folder, 'app.py'),
        `${first}\nimport os\ndef app(environ, start):\n    start('200 OK', [])\n    return [str(os.getpid()).encode()]\n`,
      )
    put('')
    const { server, logged } = await open({ app: join(folder, 'app.py'), workers: 1, maxRequests: 1 })
    put('raise ValueError("half a deployment")')
    const first = await pidOf(server, '/')
    await until(() => logged().includes('half a deployment'))
    for (let i = 0; i < 5; i++) expect(await pidOf(server, '/')).toBe(first)
    put('')
    await until(() => gone(first), 10_000)
    expect(await pidOf(server, '/')).not.toBe(first)
    rmSync(folder, { recursive: true })
  })

  test('one that dies while it waits for its successor is replaced by that one alone', async () => {
    const { server, lines, pool } = await open({ workers: 1, maxRequests: 1 })
    const pid = await pidOf(server)
    process.kill(pid, 'SIGKILL')
    await until(() => gone(pid))
    expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(pool.counts().workers).toBe(1)
    expect(lines.filter(({ message }) => message.includes('starting another one'))).toEqual([])
  })
})

describe.skipIf(!has('python3'))('workers', () => {
  test('on demand: none without requests, one for each that waits, and none again after a while', async () => {
    const { server, pool } = await open({ workers: { type: 'ondemand', max: 3, idleTimeout: 300 } })
    expect(pool.counts().workers).toBe(0)
    const pids = new Set(await Promise.all(Array.from({ length: 3 }, () => pidOf(server))))
    expect(pool.counts().workers).toBeGreaterThan(0)
    await until(() => [...pids].every(gone), 8000)
    await until(() => pool.counts().workers === 0)
    expect((await server.request({ target: '/hello' })).status).toBe(200)
  })

  test('on demand: what is behind a slow request brings up another worker', async () => {
    const { server, pool, file, noted } = await open({ workers: { type: 'ondemand', max: 2 } })
    await pidOf(server)
    expect(pool.counts().workers).toBe(1)
    const slow = server.request({ target: `/wait?note=${file}&3` })
    await until(() => noted().length === 1)
    expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(pool.counts()).toMatchObject({ workers: 2, running: 1 })
    slow.abort()
    await slow
  })

  test('on demand: quick requests behind one another need one worker', async () => {
    const { server, pool } = await open({ workers: { type: 'ondemand', max: 4 }, limits: { queue: 8 } })
    await pidOf(server)
    for (let i = 0; i < 50; i++) expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(pool.counts().workers).toBe(1)
  })

  test('on demand: an application that cannot be loaded is told to all that wait at once, and tried again', async () => {
    const { server, logged } = await open({
      app: fixture('broken_import.py'),
      workers: { type: 'ondemand', max: 2 },
      limits: { queueTimeout: 60_000 },
    })
    for (let time = 0; time < 3; time++) {
      const all = await Promise.all(Array.from({ length: 4 }, () => server.request({ target: '/' })))
      expect(all.map(({ status }) => status)).toEqual(Array(4).fill(503))
      expect(all.every(({ headers }) => Number(headers[headers.indexOf('Retry-After') + 1]) >= 1)).toBe(true)
      expect(logged()).toContain('No module named')
    }
  })

  test('dynamic: some to spare, more with the requests, and its most is told', async () => {
    const { server, pool, file, noted, logged } = await open({
      workers: { type: 'dynamic', max: 3, minSpare: 1, maxSpare: 2, start: 1 },
      depth: 1,
    })
    expect(pool.counts().workers).toBe(1)
    const all = Array.from({ length: 6 }, () => server.request({ target: `/wait?note=${file}&0.4` }))
    await until(() => noted().length >= 3, 8000)
    expect((await Promise.all(all)).map(({ status }) => status)).toEqual(Array(6).fill(200))
    expect(pool.counts().workers).toBe(3)
    await until(() => logged().includes('has reached its 3 workers'))
    await until(() => pool.counts().workers === 2, 8000)
  })

  test('with several threads one is idle when all its threads are, and takes as many that wait', async () => {
    const { server, pool, file, noted } = await open({ workers: { type: 'ondemand', max: 4, idleTimeout: 100 }, threads: 4 })
    const all = Array.from({ length: 4 }, () => server.request({ target: `/wait?note=${file}&1.5` }))
    await until(() => noted().length === 4, 8000)
    expect(pool.counts()).toMatchObject({ workers: 1, running: 4 })
    await Promise.all(all)
    await until(() => pool.counts().workers === 0, 8000)
  })

  test('that contradict each other are refused', () => {
    expect(() => wsgiPool({ app: fixture('pep.py'), workers: { type: 'dynamic', max: 1, minSpare: 2, maxSpare: 3 } })).toThrowError(
      expect.objectContaining({ code: 'CONFIG', message: expect.stringMatching(/^wsgi: workers: /) as string }) as Error,
    )
  })
})
