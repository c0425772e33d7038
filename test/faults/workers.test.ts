// PHP workers that die or fall silent in the middle of a request: what that request gets, and what the others do not notice.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { get, open, read } from './client.ts'
import { allGone, descendantsOf, eventually, frontOf } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

const WORKERS = 3

describe.skipIf(!has('php-cgi'))('a PHP worker that is killed', () => {
  let site: FaultSite
  let server: Viaduct

  beforeAll(async () => {
    site = faultSite()
    server = await serveFolder(site.folder, { args: ['--workers', String(WORKERS)] })
  })

  afterAll(async () => {
    await server?.stop()
    site?.remove()
  })

  /** As many requests at once as there should be workers, none of which ends before all are there. */
  const everyWorker = async (id: string): Promise<Set<string>> => {
    const answers = await Promise.all(Array.from({ length: WORKERS }, () => get(server.port, `/meet.php?id=${id}&count=${WORKERS}`)))
    expect(answers.map((answer) => answer.status)).toEqual(answers.map(() => 200))
    return new Set(answers.map((answer) => answer.text))
  }

  test('costs its own request a 502, the one beside it nothing, and the pool is whole again', async () => {
    const before = await everyWorker('before')
    const beside = get(server.port, '/wait.php?name=beside&ms=1500')
    const lost = get(server.port, '/wait.php?name=lost&ms=60000')
    const worker = await site.told('lost')
    await site.told('beside')

    process.kill(worker.pid, 'SIGKILL')

    expect((await lost).status).toBe(502)
    expect(await beside).toMatchObject({ status: 200, text: 'done\n' })
    const after = await everyWorker('after')
    expect([before.size, after.size]).toEqual([WORKERS, WORKERS])
    expect(after).not.toContain(String(worker.pid))
  })

  test('after its head was sent makes a cut answer, never one that seems whole', async () => {
    const { response } = await open(server.port, '/half.php?name=half')
    const worker = await site.told('half')

    process.kill(worker.pid, 'SIGKILL')

    await expect(read(response)).rejects.toThrow()
    expect(response.statusCode).toBe(200)
    expect((await everyWorker('again')).size).toBe(WORKERS)
  })

  test('together with all the others makes a pool of new ones', async () => {
    const workers = [...(await everyWorker('all'))].map(Number)
    for (const pid of workers) process.kill(pid, 'SIGKILL')

    await eventually('a request is answered', async () => (await get(server.port, '/hello.php')).status === 200)
    const after = await everyWorker('anew')
    for (const pid of workers) expect(after).not.toContain(String(pid))
  })

  test('that led the others is replaced, and those it led do not stay', async () => {
    // The leader is the parent of the workers: without it none can be started any more.
    const workers = await everyWorker('leader')
    const leader = descendantsOf(frontOf(server.pid).pid).find((each) =>
      descendantsOf(each.pid).some((child) => workers.has(String(child.pid))),
    )
    const orphans = descendantsOf(leader!.pid)

    process.kill(leader!.pid, 'SIGKILL')

    await eventually('a request is answered', async () => (await get(server.port, '/hello.php')).status === 200)
    await everyWorker('led')
    await allGone(orphans)
  })
})
