// The status and the slow log of every kind of pool behind one configuration: php-cgi, Python, C on libfcgi, CGI, and embedded PHP and
// Python. What is busy is shown with its request, what waits and what is refused is counted, what is slow is named in the log while it
// runs, and what is killed or hangs is counted and replaced.

import { execFileSync, spawnSync } from 'node:child_process'
import { chmodSync, existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { MAIN, ask, until } from '../cli/program.ts'
import { PYTHON } from '../fixtures/wsgi/open.ts'
import { has } from '../peers.ts'
import { serveConfig } from './peers/viaduct.ts'
import type { Config } from '../../src/config/index.ts'
import type { PoolStatus } from '../../src/core/index.ts'
import type { StatusReport } from '../../src/status/index.ts'
import type { Viaduct } from './peers/viaduct.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-status-'))
const file = join(folder, 'viaduct.config.json')
const hasC = has('gcc') && existsSync('/usr/include/fcgiapp.h')
const available = hasC && has('php-cgi', 'python3')

let server: Viaduct
let url = ''
const names = ['php', 'python', 'c', 'cgi', 'embedded-php', 'embedded-python']

beforeAll(async () => {
  if (!available) return
  mkdirSync(join(folder, 'php'))
  mkdirSync(join(folder, 'py'))
  writeFileSync(
    join(folder, 'php', 'index.php'),
    "<?php $end = microtime(true) + $_GET['ms'] / 1000; while (microtime(true) < $end); echo 'done';",
  )
  writeFileSync(
    join(folder, 'py', 'app.py'),
    `import time
def app(environ, start_response):
    end = time.time() + int(environ['QUERY_STRING'][3:].split('&')[0]) / 1000
    while time.time() < end: pass
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [b'done']
`,
  )
  writeFileSync(
    join(folder, 'slow.sh'),
    '#!/bin/sh\nms="${QUERY_STRING#ms=}"\nms="${ms%%&*}"\nsleep "$((ms / 1000)).$((ms / 100 % 10))"\nprintf "Content-Type: text/plain\\n\\ndone"\n',
  )
  chmodSync(join(folder, 'slow.sh'), 0o755)
  execFileSync('gcc', [
    '-O1',
    '-o',
    join(folder, 'program'),
    fileURLToPath(new URL('../fixtures/fastcgi/program.c', import.meta.url)),
    '-lfcgi',
  ])
  const limits = { slow: '300ms', queue: 1, queueTimeout: '20s', silence: '4s' }
  const env = { PYTHONDONTWRITEBYTECODE: '1' }
  const config: Config = {
    listeners: ['127.0.0.1:0'],
    applications: {
      php: { kind: 'php', root: './php', interpreter: 'native', workers: 1, limits },
      python: { kind: 'wsgi', root: './py', python: PYTHON, workers: 1, depth: 1, limits, env },
      c: { kind: 'fcgi-program', command: './program', workers: 1, limits },
      cgi: { kind: 'cgi', script: './slow.sh', limits: { slow: '300ms', concurrency: 1, queue: 1, time: '4s' } },
      'embedded-php': { kind: 'php', root: './php', interpreter: 'embedded', workers: 1, limits },
      'embedded-python': { kind: 'wsgi', root: './py', interpreter: 'embedded', workers: 1, limits, env },
      status: { kind: 'status' },
      'status-of-others': { kind: 'status', allow: ['192.0.2.7'] },
    },
    sites: [
      {
        routes: [
          { path: '/status', application: 'status' },
          { path: '/others', application: 'status-of-others' },
          ...names.map((name) => ({ path: `/${name}/*`, application: name })),
        ],
      },
      { hosts: ['example.org'], routes: [{ path: '/status', application: 'status' }] },
    ],
    trustedProxies: { from: ['127.0.0.2'] },
  }
  writeFileSync(file, JSON.stringify(config))
  server = await serveConfig(file)
  url = `http://127.0.0.1:${server.port}`
}, 60_000)

afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true, force: true })
})

const report = async (): Promise<StatusReport> => JSON.parse((await ask(url, '/status?json&full')).body) as StatusReport

async function pool(name: string): Promise<PoolStatus> {
  const found = (await report()).pools.find((each) => each.application === name)
  if (found === undefined) throw new Error(`no pool of ${name}`)
  return found as PoolStatus
}

const path = (name: string, ms: number): string => `/${name}/${name === 'c' ? 'sleep' : ''}?ms=${ms}`

/** The pool once it is as it should be. */
const once = (name: string, what: string, is: (status: PoolStatus) => boolean): Promise<PoolStatus> =>
  until(`${name}: ${what}`, async () => {
    const status = await pool(name)
    return is(status) && status
  })

/** A CGI program has been given a request before its process is there. */
const isAtWork = ({ processes }: PoolStatus): boolean => processes[0]?.current !== undefined && processes[0].id > 0

/** What `viaduct status` says. */
function said(...args: string[]): { status: number | null; stdout: string; stderr: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, 'status', ...args], { cwd: folder, encoding: 'utf8' })
  return { status, stdout, stderr }
}

describe.skipIf(!available)('behind one configuration', () => {
  test.each<[string, Partial<PoolStatus>, 'process' | 'thread']>([
    [
      'php',
      { kind: 'php', interpreter: { mode: 'native', name: 'php-cgi', version: expect.stringMatching(/^\d+\.\d/) as string } },
      'process',
    ],
    [
      'python',
      { kind: 'wsgi', interpreter: { mode: 'native', name: 'python', version: expect.stringMatching(/^3\.\d/) as string } },
      'process',
    ],
    ['c', { kind: 'fcgi-program', interpreter: { mode: 'native', name: join(folder, 'program') } }, 'process'],
    ['cgi', { kind: 'cgi', interpreter: { mode: 'native', name: join(folder, 'slow.sh') } }, 'process'],
    ['embedded-php', { kind: 'php', interpreter: { mode: 'embedded', name: 'php', version: '8.3' } }, 'thread'],
    [
      'embedded-python',
      { kind: 'wsgi', interpreter: { mode: 'embedded', name: 'python', version: expect.stringMatching(/^3\.\d/) as string } },
      'thread',
    ],
  ])(
    '%s tells of itself, its workers, its queue and its slow requests',
    async (name, facts, type) => {
      expect(await pool(name)).toMatchObject({
        ...facts,
        application: name,
        workers: { total: 1, idle: 1, busy: 0, maxBusy: 0 },
        requests: 0,
        slow: 0,
      })
      // One runs, one waits, and there is no room for a third.
      const first = ask(url, `${path(name, 1500)}&a=<b>`)
      let isOver = false
      void first.then(() => (isOver = true))
      await once(name, 'busy', isAtWork)
      const second = ask(url, path(name, 1))
      await once(name, 'waiting', (status) => status.queue.waiting === 1)
      const third = await ask(url, path(name, 2))
      expect(third.status).toBe(503)
      const { processes, workers, queue } = await pool(name)
      expect({ workers, queue }).toEqual({
        workers: { total: 1, idle: 0, busy: 1, maxBusy: 1 },
        queue: { waiting: 1, maxWaiting: 1, limit: 1 },
      })
      expect(processes).toMatchObject([{ type, state: 'busy', current: { method: 'GET', target: `${path(name, 1500)}&a=<b>` } }])
      // The slow log speaks while it runs.
      const line = await until(
        'a line of the slow log',
        () => new RegExp(`^.*"app":"${name}".*"slow":true.*$`, 'm').exec(server.log())?.[0],
      )
      expect(isOver).toBe(false)
      const fields = JSON.parse(line) as Record<string, unknown>
      expect(fields).toMatchObject({ level: 'warn', method: 'GET', target: `${path(name, 1500)}&a=<b>` })
      expect(fields[type === 'process' ? 'pid' : 'thread']).toBe(processes[0]?.id)
      expect(fields['seconds']).toBeGreaterThanOrEqual(0.3)
      expect((await Promise.all([first, second])).map(({ status }) => status)).toEqual([200, 200])
      await once(name, 'idle', (status) => status.workers.idle === 1)
      expect(await pool(name)).toMatchObject({ requests: 2, slow: 1, restarts: 0, failures: { timeouts: 0, crashes: 0, refused: 1 } })
    },
    30_000,
  )

  test.each(['php', 'python', 'c', 'cgi'])(
    '%s: a process that is killed at work is counted, and replaced',
    async (name) => {
      const cut = ask(url, path(name, 3000)).catch(() => undefined)
      const { processes } = await once(name, 'busy', isAtWork)
      process.kill(processes[0]!.id, 'SIGKILL')
      await cut
      const after = await once(name, 'a crash', (status) => status.failures.crashes === 1 && status.workers.idle === 1)
      expect(after.failures).toMatchObject({ timeouts: 0, crashes: 1 })
      expect(after.restarts).toBe(name === 'cgi' ? 0 : 1)
      expect(after.processes.some(({ id }) => id === processes[0]!.id)).toBe(false)
      expect((await ask(url, path(name, 1))).status).toBe(200)
    },
    30_000,
  )

  test.each(names)(
    '%s: a request that hangs is counted as a timeout',
    async (name) => {
      const { crashes } = (await pool(name)).failures
      expect((await ask(url, path(name, 20_000))).status).toBe(504)
      const after = await once(name, 'idle again', (status) => status.workers.idle === 1)
      expect(after.failures).toMatchObject({ timeouts: 1, crashes })
      expect((await ask(url, path(name, 1))).status).toBe(200)
    },
    30_000,
  )

  test.skipIf(!has('promtool'))('its metrics pass the check of promtool', async () => {
    const { body, headers } = await ask(url, '/status?prometheus')
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: body, encoding: 'utf8' })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
    expect(headers['content-type']).toContain('version=0.0.4')
    for (const name of names) expect(body).toMatch(new RegExp(`^viaduct_failures_total\\{app="${name}",.*cause="timeout"\\} 1$`, 'm'))
  })

  test('shows itself to nobody but this machine and who is listed', async () => {
    const from = (headers: Record<string, string>, where: string): Promise<number> =>
      fetch(`${url}${where}`, { headers }).then((response) => response.status)
    expect((await ask(url, '/others')).status).toBe(200)
    expect(await from({ 'X-Real-IP': '127.0.0.1', 'X-Forwarded-For': '127.0.0.1', Via: '1.1 x' }, '/status')).toBe(403)
    // Of a trusted proxy the address of its client counts.
    const proxied = (client: string, where: string): string =>
      spawnSync(
        'curl',
        ['-s', '-o', '/dev/null', '-w', '%{http_code}', '--interface', '127.0.0.2', '-H', `X-Forwarded-For: ${client}`, `${url}${where}`],
        { encoding: 'utf8' },
      ).stdout
    expect([proxied('192.0.2.7', '/others'), proxied('192.0.2.7', '/status'), proxied('192.0.2.8', '/others')]).toEqual([
      '200',
      '403',
      '403',
    ])
  })

  test('is printed by the command line: as a table, as JSON, and by the configuration', () => {
    const table = said(`${url}/status`, '--full')
    expect(table).toMatchObject({ status: 0, stderr: '' })
    expect(table.stdout).toMatch(/^embedded-php +php +php 8\.3 embedded +1 +0 +1 /m)
    expect(table.stdout).toMatch(/^ {2}thread \d+ {2}idle /m)
    expect(table.stdout).not.toContain('\x1b')
    expect((JSON.parse(said(`127.0.0.1:${server.port}`, '--json').stdout) as StatusReport).pools).toHaveLength(6)
    expect(said(`${url}/nothing`)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('there is no status at this address (404)') as string,
    })
    expect(said('--json', '-c', file)).toMatchObject({
      status: 1,
      stderr: expect.stringContaining('no listener of HTTP with a fixed port') as string,
    })
    expect(said(url, '-c', file).status).toBe(2)
  })
})
