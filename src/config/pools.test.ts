// How many workers the pools of Python and PHP have and how long each stays, as a configuration says it.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { has } from '../../test/peers.ts'
import { serveMemory } from '../testing/index.ts'
import { ConfigError, buildServer, loadConfig } from './index.ts'
import type { Config, Loaded } from './index.ts'
import type { Backend } from '../core/index.ts'

const PYTHON = `import os
def application(environ, start_response):
    start_response('200 OK', [])
    return [str(os.getpid()).encode()]
`

let folder = ''
const open: Backend[] = []

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-pools-'))
  mkdirSync(join(folder, 'site'))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((site) => site.close(0)))
  rmSync(folder, { recursive: true })
})

type Application = Config['applications'][string]

const load = (app: Application): Promise<Loaded> =>
  loadConfig(join(folder, 'viaduct.config.json'), { applications: { app }, sites: [{ routes: [{ application: 'app' }] }] })

/** A number of answers, each with the pid of whoever gave it, until there are as many different ones as wanted. */
async function pidsOf(app: Application, target: string, wanted: number): Promise<Set<string>> {
  const { plan } = await load(app)
  const server = await buildServer(plan, { log: { debug() {}, info() {}, warn() {}, error() {} } })
  open.push(server)
  await server.ready()
  const client = serveMemory(server)
  const pids = new Set<string>()
  await vi.waitUntil(
    async () => {
      const { status, body } = await client.request({ target })
      expect(status).toBe(200)
      return pids.add(body.toString()).size >= wanted
    },
    { timeout: 10_000, interval: 1 },
  )
  return pids
}

describe.skipIf(!has('python3'))('Python', () => {
  beforeEach(() => writeFileSync(join(folder, 'site/app.py'), PYTHON))
  const settings = { workers: { policy: 'ondemand', max: 1 }, maxRequests: 2 } as const

  test.each<[string, () => Application]>([
    ['kind', () => ({ kind: 'wsgi', root: 'site', ...settings })],
    ['folder', () => ({ kind: 'folder', root: '.', wsgi: settings })],
  ])('%s: comes when it is wanted, and is replaced', async (kind, app) => {
    const { plan } = await load(app())
    const entry = plan.applications['app']!.entries.find((each) => each.kind === 'wsgi')
    expect(entry).toMatchObject({ workers: 1, upTo: true })
    expect((await pidsOf(app(), kind === 'folder' ? '/site/x' : '/x', 3)).size).toBe(3)
  })

  test.each<[string, Application]>([
    ['applications.app.workers', { kind: 'wsgi', root: 'site', workers: { policy: 'dynamic', max: 1, minSpare: 2, maxSpare: 3 } }],
    [
      'applications.app.wsgi.workers',
      { kind: 'folder', root: '.', wsgi: { workers: { policy: 'dynamic', max: 1, minSpare: 2, maxSpare: 3 } } },
    ],
  ])('numbers that contradict each other are told once, at %s', async (at, app) => {
    const error = (await load(app).catch((each: unknown) => each)) as ConfigError
    expect(error).toBeInstanceOf(ConfigError)
    expect(error.problems).toMatchObject([{ at, message: 'expected minSpare <= maxSpare <= max, got 2, 3 and 1' }])
  })
})

describe.skipIf(!has('php-cgi'))('PHP', () => {
  beforeEach(() => writeFileSync(join(folder, 'site/pid.php'), '<?php echo getmypid();'))

  test.each<[string, () => Application]>([
    ['kind', () => ({ kind: 'php', root: 'site', workers: 1, maxRequests: 2 })],
    ['folder', () => ({ kind: 'folder', root: 'site', php: { workers: 1, maxRequests: 2 } })],
  ])('%s: a worker is replaced', async (_, app) => {
    expect((await pidsOf(app(), '/pid.php', 3)).size).toBe(3)
  })
})
