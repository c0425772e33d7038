import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { until } from '../../test/processes.ts'
import type { Backend, Log } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { describeProgram, programPool } from './index.ts'
import type { ProgramPoolOptions } from './index.ts'

const fixture = (name: string): string => new URL(`../../test/fixtures/fastcgi/${name}`, import.meta.url).pathname
const hasC = has('gcc') && existsSync('/usr/include/fcgiapp.h')
const hasPerl = has('perl') && perlHas('FCGI')

function perlHas(module: string): boolean {
  try {
    execFileSync('perl', [`-M${module}`, '-e', '1'], { stdio: 'ignore' })
    return true
  } catch {
    console.warn(`SKIPPED: tests that need Perl's ${module}; install libfcgi-perl to run them`)
    return false
  }
}

let folder = ''
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-test-programs-'))
  if (hasC) execFileSync('gcc', ['-O1', '-o', join(folder, 'program'), fixture('program.c'), '-lfcgi'])
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const pools: Backend[] = []
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close(2000)
})

interface Line {
  readonly fields: Record<string, unknown>
  readonly message: string
}

interface Opened {
  readonly get: (target: string, parts?: object) => Promise<{ status: number; text: string; kind: string }>
  readonly lines: Line[]
  readonly pool: Backend
}

function open(options: Partial<ProgramPoolOptions> = {}): Opened {
  const lines: Line[] = []
  const write = (fields: object, message: string): void => void lines.push({ fields: fields as Record<string, unknown>, message })
  const log: Log = { debug: write, info: write, warn: write, error: write }
  const pool = programPool({ command: join(folder, 'program'), name: 'shop', workers: 2, log, ...options })
  pools.push(pool)
  const server = serveMemory(pool)
  return {
    pool,
    lines,
    get: async (target, parts = {}) => {
      const response = await server.request({ target, ...parts })
      return { status: response.status, text: response.body.toString('latin1'), kind: response.outcome.kind }
    },
  }
}

const said = (lines: readonly Line[]): string => lines.map((line) => line.message).join('\n')

const folders = (): string[] => readdirSync(tmpdir()).filter((name) => name.startsWith('viaduct-programs-'))

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** What every program must do, whatever it is written in. */
function everyProgram(options: () => Partial<ProgramPoolOptions>): void {
  test('serves, in processes that stay', async () => {
    const { get, pool } = open(options())
    await pool.ready()
    const pids = new Set<string>()
    for (let i = 0; i < 10; i++) pids.add((await get('/')).text)
    // Last in, first out: one stays warm.
    expect(pids.size).toBe(1)
    expect(alive(Number([...pids][0]))).toBe(true)
  })

  test.each([0, 10, 200_000, 6_000_000])('takes a body of %i bytes', async (length) => {
    const { get } = open(options())
    expect(await get('/echo', { method: 'POST', body: Buffer.alloc(length, 'b') })).toMatchObject({ status: 200, text: `POST ${length}` })
  })

  test('one that dies costs its own request only', async () => {
    const { get, lines, pool } = open(options())
    await pool.ready()
    expect(await get('/die')).toMatchObject({ status: 502, kind: 'failed' })
    await until(() => said(lines).includes('exited with SIGKILL during a request; another one is started'))
    expect((await get('/')).status).toBe(200)
  })

  test('what it says on its errors is attributed', async () => {
    const { get, lines } = open(options())
    expect((await get('/stderr')).text).toBe('ok')
    await until(() => said(lines).includes('by the protocol'))
    expect(lines.find((line) => line.message === 'by the protocol')?.fields).toMatchObject({ app: 'shop', target: '/stderr' })
  })

  test('close leaves nobody behind', async () => {
    const { get, pool } = open(options())
    const pid = Number((await get('/')).text)
    await pool.close(2000)
    expect(alive(pid)).toBe(false)
    expect((await get('/')).status).toBe(503)
  })
}

describe.skipIf(!hasC)('a pool of a C program on libfcgi', () => {
  everyProgram(() => ({}))

  test('serves as many at once as it has processes, and the others in turn', async () => {
    const { get, pool } = open({ workers: 3 })
    await pool.ready()
    const all = await Promise.all(Array.from({ length: 9 }, () => get('/sleep?ms=30')))
    expect(new Set(all.map((each) => each.text)).size).toBe(3)
  })

  test('passes status and fields on, and an exit status to the log', async () => {
    const { get, lines } = open()
    expect(await get('/status')).toMatchObject({ status: 418, text: 'teapot' })
    await until(() => lines.some((line) => line.fields['appStatus'] === 3))
  })

  test('refuses at once when the queue is full, and in time when it is slow', async () => {
    const { get, pool } = open({ workers: 1, limits: { queue: 1, queueTimeout: 100 } })
    await pool.ready()
    const first = get('/sleep?ms=400')
    const second = get('/')
    const third = get('/')
    expect((await third).status).toBe(503)
    expect((await second).status).toBe(503)
    expect((await first).status).toBe(200)
  })

  test('an answer cut in the middle is an error, and the log has the true signal', async () => {
    const { get, lines } = open()
    expect((await get('/half')).kind).toBe('failed')
    await until(() => said(lines).includes('exited with SIGSEGV during a request'))
    expect(lines.find((line) => line.message.includes('SIGSEGV'))?.fields).toMatchObject({
      signal: 'SIGSEGV',
      target: '/half',
      app: 'shop',
    })
    expect((await get('/')).status).toBe(200)
  })

  test('one that is silent too long is killed, and answered 504', async () => {
    const { get, lines, pool } = open({ workers: 1, limits: { silence: 150 } })
    await pool.ready()
    const pid = Number((await get('/')).text)
    expect((await get('/sleep?ms=20000')).status).toBe(504)
    expect(said(lines)).toContain('said nothing for 150 ms and is killed')
    await until(() => !alive(pid))
    expect(Number((await get('/')).text)).not.toBe(pid)
    // A process that we killed ourselves is no reason for a pause.
    expect(said(lines)).not.toContain('exited with')
  })

  test('an idle process that is killed is replaced before anybody notices', async () => {
    const { get, pool } = open({ workers: 1 })
    await pool.ready()
    for (let i = 0; i < 5; i++) {
      const { status, text: pid } = await get('/')
      expect(status).toBe(200)
      process.kill(Number(pid), 'SIGKILL')
      await until(() => !alive(Number(pid)))
    }
  })

  test('one whose client left finishes, and comes back', async () => {
    const { get, pool } = open({ workers: 1 })
    await pool.ready()
    const pid = (await get('/')).text
    const server = serveMemory(pool)
    const exchange = server.request({ target: '/drip' })
    await until(() => exchange.received() > 20_000)
    exchange.abort()
    expect((await exchange).outcome.kind).toBe('cut')
    expect((await get('/')).text).toBe(pid)
    await server.close()
  })

  test('one whose client left is given nothing until it has finished', async () => {
    const { pool } = open({ workers: 2 })
    await pool.ready()
    const workers = () => pool.pools!()[0]!.workers
    const server = serveMemory(pool)
    const begun = performance.now()
    const exchange = server.request({ target: '/sleep?ms=400' })
    await until(() => workers().busy === 1)
    exchange.abort()
    expect((await exchange).outcome.kind).toBe('cut')
    await until(() => workers().idle === 2)
    expect(performance.now() - begun).toBeGreaterThan(390)
    await server.close()
  })

  test('is replaced after maxRequests, without a request lost', async () => {
    const { get, lines } = open({ workers: 1, maxRequests: 3 })
    const pids: string[] = []
    for (let i = 0; i < 9; i++) pids.push((await get('/')).text)
    expect(new Set(pids).size).toBe(3)
    expect(said(lines)).not.toContain('exited')
  })

  test('an exit with status 0 is the program’s own decision, another one a crash', async () => {
    const { get, lines, pool } = open({ workers: 1 })
    await pool.ready()
    const pid = Number((await get('/')).text)
    expect((await get('/exit?code=0')).text).toBe('bye')
    await until(() => !alive(pid))
    expect((await get('/')).status).toBe(200)
    expect(said(lines)).not.toContain('exited')
    expect((await get('/exit?code=7')).text).toBe('bye')
    await until(() => said(lines).includes('exited with status 7'))
    expect((await get('/')).status).toBe(200)
  })

  test('inherits nothing but what it is given', async () => {
    const { get } = open({ env: { SETTING: 'given' }, cwd: folder })
    expect((await get('/env')).text).toBe(`given - ${folder}`)
  })

  test('says why when it does not start, and tries again with pauses', async () => {
    const { lines, pool } = open({ workers: 1, env: { FAIL: '1' } })
    await expect(pool.ready()).rejects.toMatchObject({
      message: expect.stringMatching(/exited with status 3; it said: cannot find what I need/) as string,
    })
    await until(() => said(lines).includes('the next try is in 250 ms'))
  })

  test('what all of them say at their start is told once, and then how often', async () => {
    const { lines, pool } = open({ workers: 4, env: { FAIL: '1' } })
    await expect(pool.ready()).rejects.toThrow('does not start')
    // One that is started at once in the place of another may still be among the first.
    await until(() => /the same [34] more times, by other workers/.test(said(lines)))
    expect(lines.filter(({ message }) => message === 'cannot find what I need')).toHaveLength(1)
  })

  test('says why when there is no such program', async () => {
    const { pool } = open({ command: join(folder, 'nothing') })
    await expect(pool.ready()).rejects.toMatchObject({ code: 'PROGRAM_FAILED' })
  })

  test('ondemand: none without requests, as many as wait, and none again after a while', async () => {
    const { get, pool } = open({ workers: { type: 'ondemand', max: 3, idleTimeout: 300 } })
    await pool.ready()
    const all = await Promise.all(Array.from({ length: 6 }, () => get('/sleep?ms=50')))
    const pids = [...new Set(all.map((each) => Number(each.text)))]
    expect(pids.length).toBeGreaterThan(1)
    expect(pids.length).toBeLessThanOrEqual(3)
    await until(() => pids.every((pid) => !alive(pid)), 8000)
    expect((await get('/')).status).toBe(200)
  })

  test.each<[string, Partial<ProgramPoolOptions>, RegExp]>([
    ['that exits at once', { env: { FAIL: '1' } }, /exited with status 3; it said: cannot find what I need/],
    ['that is not there', { command: '/nowhere/program' }, /nowhere/],
    ['that takes no connection', { command: 'sleep', args: ['60'], limits: { start: 200, queueTimeout: 60_000 } }, /took no connection/],
  ])('ondemand: a program %s fails those that wait at once, with the reason', async (_, options, reason) => {
    const { pool, lines } = open({ workers: { type: 'ondemand', max: 2 }, limits: { queueTimeout: 60_000 }, ...options })
    await pool.ready()
    const server = serveMemory(pool)
    // The second time they come amid the pause before the next try, and the third time perhaps after it.
    for (let time = 0; time < 3; time++) {
      const all = await Promise.all(Array.from({ length: 4 }, () => server.request({ target: '/' })))
      expect(all.map(({ status }) => status)).toEqual(Array(4).fill(503))
      expect(pool.pools!()[0]!.error).toMatch(reason)
      for (const { outcome } of all)
        expect(outcome).toMatchObject({ kind: 'failed', error: { message: expect.stringMatching(reason) as string } })
    }
    expect(said(lines)).toMatch(reason)
    await server.close()
  })

  test('ondemand: a program that is mended serves the next request that may try', async () => {
    const command = join(folder, 'mended')
    const { get } = open({ command, workers: { type: 'ondemand', max: 1 } })
    expect((await get('/')).status).toBe(503)
    symlinkSync(join(folder, 'program'), command)
    for (const end = performance.now() + 10_000; (await get('/')).status !== 200;) {
      if (performance.now() > end) throw new Error('it is never tried again')
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
  })

  test('dynamic: grows with its requests, up to its most, and says when it is there', async () => {
    const { get, lines, pool } = open({ workers: { type: 'dynamic', max: 4, minSpare: 1, maxSpare: 2, start: 1 } })
    await pool.ready()
    const all = await Promise.all(Array.from({ length: 16 }, () => get('/sleep?ms=100')))
    expect(all.every((each) => each.status === 200)).toBe(true)
    expect(new Set(all.map((each) => each.text)).size).toBe(4)
    expect(said(lines)).toContain('"shop" has reached its 4 processes')
  })

  test.each<[string, ProgramPoolOptions['workers']]>([
    ['none', 0],
    ['spares that contradict each other', { type: 'dynamic', max: 4, minSpare: 3, maxSpare: 2 }],
    ['more to spare than there may be', { type: 'dynamic', max: 4, minSpare: 1, maxSpare: 5 }],
  ])('workers: %s are refused', (_, workers) => {
    expect(() => programPool({ command: 'x', workers: workers! })).toThrowError(expect.objectContaining({ code: 'CONFIG' }) as Error)
  })

  test('leaves no process behind, however its own ends', async () => {
    const dist = new URL('../../dist/programs/index.js', import.meta.url).href
    const source = `import { programPool } from ${JSON.stringify(dist)}
const pool = programPool({ command: ${JSON.stringify(join(folder, 'program'))}, workers: 2, scheduling: 'normal' })
await pool.ready()
console.log('ready')
setInterval(() => {}, 1000)`
    const owner = spawn(process.execPath, ['--input-type=module', '-e', source], { stdio: ['ignore', 'pipe', 'inherit'] })
    await once(owner.stdout, 'data')
    const children = readFileSync(`/proc/${owner.pid}/task/${owner.pid}/children`, 'latin1').trim().split(' ').map(Number)
    const programs = children.filter((pid) => readFileSync(`/proc/${pid}/comm`, 'latin1').trim() === 'program')
    expect(programs).toHaveLength(2)
    owner.kill('SIGKILL')
    await until(() => programs.every((pid) => !alive(pid)))
  })

  test('leaves no file behind', async () => {
    const before = folders()
    const { get, pool } = open()
    await get('/')
    const own = folders().filter((name) => !before.includes(name))
    await pool.close(1000)
    expect(own.filter((name) => existsSync(join(tmpdir(), name)))).toEqual([])
  })
})

describe.skipIf(!hasPerl)('a pool of a Perl program', () => {
  everyProgram(() => ({ command: 'perl', args: [fixture('program.pl')] }))
})

describe('a pool of a TypeScript program', () => {
  everyProgram(() => ({ command: process.execPath, args: [new URL('../../test/fixtures/fastcgi/program.mjs', import.meta.url).pathname] }))

  test('remembers: the example’s guestbook', async () => {
    const command = new URL('../../examples/fastcgi/guestbook.fcgi', import.meta.url).pathname
    expect(describeProgram(command).problem).toBe(undefined)
    const { get } = open({ command, workers: 1 })
    const entry = { method: 'POST', headers: ['Content-Type', 'application/x-www-form-urlencoded'], body: 'text=%3Cb%3Ehello' }
    expect((await get('/', entry)).status).toBe(303)
    expect((await get('/')).text).toContain('<li>&#60;b&#62;hello</li>')
  })
})
