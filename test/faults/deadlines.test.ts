// Programs that never answer: 504 on time, and nobody of them left. In one process, because a deadline of a minute is no test's.

import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { cgi } from '../../src/cgi/index.ts'
import type { CgiLimits } from '../../src/cgi/index.ts'
import type { Backend } from '../../src/core/index.ts'
import { serveHttp } from '../../src/http/index.ts'
import { phpPool } from '../../src/php/index.ts'
import { has } from '../peers.ts'
import { get } from './client.ts'
import { allGone, eventually } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

const LIMIT = 400
/** A busy machine is late, but not by this much. */
const LATE = 4000

/** Serves what `build` makes of a site for the time of `story`. */
async function serving(build: (site: FaultSite) => Backend, story: (port: number, site: FaultSite) => Promise<void>): Promise<void> {
  const site = faultSite()
  try {
    await using application = build(site)
    await application.ready()
    await using server = await serveHttp(application)
    await story((server.address as { port: number }).port, site)
  } finally {
    site.remove()
  }
}

/** Asks and expects 504, neither early nor late. */
async function expectTimeout(port: number, path: string): Promise<void> {
  const begun = performance.now()
  const { status } = await get(port, path)
  const took = performance.now() - begun
  expect(status).toBe(504)
  expect(took).toBeGreaterThan(LIMIT * 0.9)
  expect(took).toBeLessThan(LIMIT + LATE)
}

const program =
  (name: string, limits: Partial<CgiLimits> = {}) =>
  (site: FaultSite): Backend =>
    cgi({ script: join(site.folder, 'cgi-bin', name), documentRoot: site.folder, limits: { firstByte: LIMIT, kill: 200, ...limits } })

const pool =
  (silence: number) =>
  (site: FaultSite): Backend =>
    phpPool({ root: site.folder, workers: 1, env: { DOCUMENT_ROOT: site.folder }, limits: { silence } })

describe('a CGI program that never answers', () => {
  test.each(['silent', 'deaf'])('is a 504 on time, and its whole process group is gone: %s', async (name) => {
    await serving(program(name), async (port, site) => {
      const answer = expectTimeout(port, `/?${name}`)
      const processes = [await site.told(name), await site.told(`${name}-child`)]
      await answer
      await allGone(processes)
    })
  })

  test('holds its place no longer than its deadline', async () => {
    await serving(program('silent', { concurrency: 1, queue: 1 }), async (port) => {
      const statuses = await Promise.all(['a', 'b', 'c'].map(async (name) => (await get(port, `/?${name}`)).status))
      // One runs, one waits, and for one there is no room.
      expect(statuses.sort((a, b) => a - b)).toEqual([503, 504, 504])
    })
  })
})

describe.skipIf(!has('php-cgi'))('a PHP script that never answers', () => {
  test('is a 504 on time, and its worker is replaced', async () => {
    await serving(pool(LIMIT), async (port, site) => {
      const answer = expectTimeout(port, '/wait.php?name=never&ms=60000')
      const worker = await site.told('never')
      await answer
      await allGone([worker])
      await eventually('a new worker answers', async () => (await get(port, '/hello.php')).status === 200)
    })
  })

  test('is not one that only takes its time', async () => {
    await serving(pool(3000), async (port) => {
      expect(await get(port, '/wait.php?name=slow&ms=600')).toMatchObject({ status: 200, text: 'done\n' })
    })
  })
})
