// What goes wrong with Python workers, and what it costs: the request that ran, and nothing else.

import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { closeAll, fixture, open } from '../../test/fixtures/wsgi/open.ts'
import { has } from '../../test/peers.ts'
import { members, until } from '../../test/processes.ts'
import { openGuard } from '../process/index.ts'

afterEach(closeAll)

/** Memory of a process that is nobody else's and cannot be dropped, in bytes. */
function resident(pid: number): number {
  return Number(/^RssAnon:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

const MiB = 1024 ** 2

describe.skipIf(!has('python3'))('a worker that dies', () => {
  test.each([
    ['is killed', 9],
    ['has a segmentation fault', 11],
    ['aborts', 6],
  ])('when it %s, costs the request that ran', async (_, signal) => {
    const { server, logged } = await open({ workers: 2 })
    const dead = server.request({ target: `/kill?${signal}` })
    const others = Array.from({ length: 12 }, () => server.request({ target: '/wait?0.02' }))
    expect((await dead).status).toBe(502)
    expect((await Promise.all(others)).map((each) => each.status)).toEqual(Array(12).fill(200))
    expect(logged()).toContain('died during a request')
    if (signal === 11) await until(() => logged().includes('Fatal Python error: Segmentation fault'))
    await until(() => logged().includes('ended with SIG'))
  })

  test('costs those behind it nothing, also where it is the only one', async () => {
    const { server } = await open({ workers: 1, depth: 8 })
    const all = [server.request({ target: '/kill?9' }), ...Array.from({ length: 7 }, () => server.request({ target: '/hello' }))]
    expect((await Promise.all(all)).map((each) => each.status)).toEqual([502, ...Array(7).fill(200)])
  })

  test('amid its answer leaves no clean end', async () => {
    const { server } = await open()
    const response = await server.request({ target: '/half' })
    expect([response.status, response.outcome.kind]).toEqual([200, 'failed'])
    expect((await server.request({ target: '/hello' })).status).toBe(200)
  })

  test('with the body of an upload half read, gives the client an error', async () => {
    const { server } = await open()
    const body = Buffer.alloc(3_000_000, 'u')
    expect((await server.request({ method: 'POST', target: '/kill?9', body })).status).toBe(502)
    expect((await server.request({ method: 'POST', target: '/input?md5', body })).status).toBe(200)
  })

  test('while it is idle is replaced before anybody notices', async () => {
    const { server } = await open()
    const pids = new Set<number>()
    for (let i = 0; i < 4; i++) {
      const response = await server.request({ target: '/pid' })
      expect(response.status).toBe(200)
      const pid = Number(response.body.toString())
      pids.add(pid)
      process.kill(pid, 'SIGKILL')
      await until(() => members(pid).length === 0)
    }
    expect(pids.size).toBe(4)
  })

  test('by SIGTERM finishes what runs, and gives back what does not', async () => {
    const { server, file, noted } = await open()
    const pid = Number((await server.request({ target: '/pid' })).body.toString())
    const slow = server.request({ target: `/wait?note=${file}&0.3` })
    await until(() => noted().length === 1)
    const others = Array.from({ length: 5 }, () => server.request({ target: '/hello' }))
    process.kill(pid, 'SIGTERM')
    expect((await slow).body.toString()).toBe('waited')
    expect((await Promise.all(others)).map((each) => each.status)).toEqual(Array(5).fill(200))
    await until(() => members(pid).length === 0)
  })

  test('idle by SIGTERM ends with status 0', async () => {
    const { server, logged } = await open({ threads: 2 })
    const pid = Number((await server.request({ target: '/pid' })).body.toString())
    process.kill(pid, 'SIGTERM')
    await until(() => logged().includes(`worker ${pid} ended with status 0`))
    expect((await server.request({ target: '/hello' })).status).toBe(200)
  })

  test('a child that the application forked answers nobody', async () => {
    const { server } = await open()
    for (let i = 0; i < 3; i++) expect((await server.request({ target: '/forks' })).body.toString()).toBe('from the parent')
  })

  test('is killed with the front, however that ends', async () => {
    const guard = openGuard()
    const { server, pool } = await open({ guard })
    const pid = Number((await server.request({ target: '/pid' })).body.toString())
    guard.close()
    await until(() => members(pid).length === 0)
    await pool.close(0)
  })
})

describe.skipIf(!has('python3'))('an application', () => {
  test('that never answers is killed in time, with a traceback of where it was', async () => {
    const { server, logged } = await open({ limits: { silence: 300 } })
    const started = performance.now()
    const [hung, other] = await Promise.all([server.request({ target: '/loop' }), server.request({ target: '/hello' })])
    expect([hung.status, other.status]).toEqual([504, 200])
    expect(performance.now() - started).toBeLessThan(5000)
    await until(() => /pep\.py", line \d+ in loop/.test(logged()))
  })

  test('that raises leaves its worker as it was', async () => {
    const { server } = await open()
    const pid = (await server.request({ target: '/pid' })).body.toString()
    for (let i = 0; i < 10; i++) expect((await server.request({ target: '/raising' })).status).toBe(500)
    expect((await server.request({ target: '/pid' })).body.toString()).toBe(pid)
  })

  test.each(['/endless', '/drip'])('%s: is stopped when its client leaves, and its iterable closed', async (target) => {
    const { server, file, noted, pool } = await open()
    const running = server.request({ target: `${target}?note=${file}` })
    await until(() => running.received() > 20)
    running.abort()
    expect((await running).outcome.kind).toBe('cut')
    await until(() => noted().includes('closed'))
    expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(pool.counts().running).toBe(0)
  })

  test('whose client left before the answer is not begun when it waits, and not waited for when it runs', async () => {
    const { server, file, noted } = await open({ workers: 1 })
    const running = server.request({ target: `/wait?note=${file}&0.5` })
    await until(() => noted().length === 1)
    const waiting = server.request({ target: `/wait?note=${file}&0` })
    await new Promise((resolve) => setTimeout(resolve, 250))
    running.abort()
    waiting.abort()
    expect([(await running).outcome.kind, (await waiting).outcome.kind]).toEqual(['cut', 'cut'])
    expect((await server.request({ target: '/hello' })).status).toBe(200)
    expect(noted()).toEqual(['begun'])
  })

  test('waits for a slow reader, who holds neither memory nor anybody else', async () => {
    const { server, file, noted, pool } = await open({ workers: 2, limits: { silence: 400 } })
    const pid = process.pid
    const running = server.request({ target: `/endless?note=${file}`, reader: 'held' })
    await running.head
    const before = resident(pid)
    // Everybody else is served meanwhile, also who was behind it; and its silence is not the application's fault.
    for (let i = 0; i < 50; i++) {
      expect((await server.request({ target: '/hello' })).status).toBe(200)
      await new Promise((resolve) => setTimeout(resolve, 12))
    }
    expect(resident(pid) - before).toBeLessThan(30 * MiB)
    // 10,000 bytes each: the window, and no more.
    expect(noted().length).toBeLessThanOrEqual(1)
    expect(pool.counts().running).toBe(1)
    running.abort()
    await until(() => noted().includes('closed'))
  })

  test('that fails to load again fails its requests at once, and serves when it loads', async () => {
    const folder = mkdtempSync('/tmp/viaduct-test-wsgi-')
    const source = `import os\ndef application(environ, start_response):\n  start_response("200 OK", [])\n  return [str(os.getpid()).encode()]\n`
    try {
      writeFileSync(`${folder}/app.py`, source)
      const { server, logged } = await open({ app: `${folder}/app.py` })
      const pid = Number((await server.request({})).body.toString())
      writeFileSync(`${folder}/app.py`, 'import no_such_module\n')
      process.kill(pid, 'SIGKILL')
      await until(() => logged().includes('cannot be loaded'))
      expect((await server.request({})).status).toBe(503)
      writeFileSync(`${folder}/app.py`, source)
      let status = 0
      for (const end = performance.now() + 10_000; status !== 200 && performance.now() < end;) {
        status = (await server.request({})).status
        await new Promise((resolve) => setTimeout(resolve, 20))
      }
      expect(status).toBe(200)
    } finally {
      rmSync(folder, { recursive: true })
    }
  })
})

describe.skipIf(!has('python3'))('much', () => {
  test('100 MB up and 100 MB down leave memory flat', async () => {
    const { server } = await open()
    const pid = Number((await server.request({ target: '/pid' })).body.toString())
    const chunk = Buffer.alloc(65_536, 'm')
    const body = function* (): Generator<Uint8Array> {
      for (let i = 0; i < 1600; i++) yield chunk
    }
    const before = resident(pid)
    const up = await server.request({ method: 'POST', target: '/input?md5', body: body(), contentLength: 1600 * 65_536 })
    expect(up.body.toString()).toMatch(/^[0-9a-f]{32}\|104857600$/)
    const down = await server.request({ target: `/big?${100 * MiB}` })
    expect([down.body.length, down.outcome.kind]).toEqual([100 * MiB, 'sent'])
    expect(resident(pid) - before).toBeLessThan(20 * MiB)
  })

  test('a queue that is full refuses at once, and one that is slow in time', async () => {
    const { server } = await open({ workers: 1, depth: 1, limits: { queue: 2, queueTimeout: 200 } })
    const started = performance.now()
    const all = await Promise.all(Array.from({ length: 5 }, () => server.request({ target: '/wait?0.6' })))
    expect(all.map((each) => each.status).sort()).toEqual([200, 503, 503, 503, 503])
    expect(all.filter((each) => each.status === 503).every((each) => each.headers.includes('Retry-After'))).toBe(true)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})

describe.skipIf(!has('python3'))('close', () => {
  test('waits for what runs, and leaves nothing behind', async () => {
    // Of this test alone: other pools come and go beside it.
    const temporary = mkdtempSync(join(tmpdir(), 'viaduct-left-'))
    onTestFinished(() => rmSync(temporary, { recursive: true, force: true }))
    vi.stubEnv('TMPDIR', temporary)
    const { server, pool, file, noted } = await open({ workers: 2 })
    const pid = Number((await server.request({ target: '/pid' })).body.toString())
    const running = server.request({ target: `/wait?note=${file}&0.3` })
    await until(() => noted().length === 1)
    await pool.close(2000)
    expect((await running).body.toString()).toBe('waited')
    expect(members(pid)).toEqual([])
    expect(readdirSync(temporary).filter((name) => name.startsWith('viaduct-wsgi-'))).toEqual([])
    expect((await server.request({ target: '/hello' })).status).toBe(503)
  })

  test('cuts what runs longer than its grace', async () => {
    const { server, pool, file, noted } = await open()
    const running = server.request({ target: `/wait?note=${file}&30` })
    await until(() => noted().length === 1)
    const started = performance.now()
    await pool.close(100)
    expect(performance.now() - started).toBeLessThan(3000)
    expect((await running).status).toBe(502)
  })

  test('of a pool that is just coming up leaves nothing behind', async () => {
    const { wsgiPool } = await import('./index.ts')
    const pool = wsgiPool({ app: fixture('broken_slow.py'), workers: 2 })
    const ready = expect(pool.ready()).rejects.toThrow()
    await pool.close(0)
    await ready
  })
})
