import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { compose } from '../core/index.ts'
import type { Backend, Log } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { phpPool } from './pool.ts'
import type { PhpPoolOptions } from './options.ts'

let root = ''
beforeAll(() => {
  root = mkdtempSync(join(tmpdir(), 'viaduct-test-php-'))
  const scripts: Record<string, string> = {
    'hello.php': 'hello <?= getmypid() ?>',
    'index.php': 'index',
    'vars.php': '<?php header("Content-Type: application/json"); echo json_encode($_SERVER);',
    'body.php': '<?php echo md5(file_get_contents("php://input")), " ", $_SERVER["CONTENT_LENGTH"] ?? "none";',
    'sleep.php': '<?php if (isset($_GET["file"])) touch($_GET["file"]); usleep((int) ($_GET["ms"] ?? 200) * 1000); echo getmypid();',
    'loop.php': '<?php set_time_limit(0); while (true) {}',
    'half.php': '<?php echo str_repeat("x", 100000); flush(); posix_kill(getmypid(), 9);',
    'die.php': '<?php posix_kill(getmypid(), (int) ($_GET["signal"] ?? 9)); sleep(5);',
    'log.php': '<?php error_log("a line for the log"); echo "ok";',
    'drip.php':
      '<?php ignore_user_abort(($_GET["ignore"] ?? "") === "1"); for ($i = 0; $i < 200; $i++) { echo str_repeat("d", 4096); ob_flush(); flush(); usleep(5000); file_put_contents($_GET["file"], $i); }',
    'big.php': '<?php for ($i = 0; $i < 320; $i++) { echo str_repeat("b", 32768); }',
    'status.php':
      '<?php http_response_code(418); header("X-A: 1"); header("Set-Cookie: a=1"); header("Set-Cookie: b=2", false); echo "teapot";',
    'cache.php':
      '<?php $all = opcache_get_status(false); echo getmypid(), " ", $all["opcache_statistics"]["misses"], " ", $all["opcache_statistics"]["num_cached_scripts"];',
    'cookie.php':
      '<?php session_save_path(sys_get_temp_dir()); session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; echo $_SESSION["n"];',
  }
  for (const [name, source] of Object.entries(scripts)) writeFileSync(join(root, name), source)
  writeFileSync(join(root, 'photo.jpg'), '<?php echo "never"; ?>')
  writeFileSync(join(root, 'source.txt'), '<?php echo "never"; ?>')
  mkdirSync(join(root, 'sub.php'))
  writeFileSync(join(root, 'sub.php', 'inner.php'), 'inner <?= $_SERVER["PATH_INFO"] ?? "" ?>')
  symlinkSync('/etc/hostname', join(root, 'outside.php'))
})
afterAll(() => rmSync(root, { recursive: true, force: true }))

const pools: Backend[] = []
afterEach(async () => {
  for (const pool of pools.splice(0)) await pool.close(2000)
})

interface Line {
  readonly fields: Record<string, unknown>
  readonly message: string
}

async function open(options: PhpPoolOptions = {}): Promise<{ server: ReturnType<typeof serveMemory>; lines: Line[]; pool: Backend }> {
  const lines: Line[] = []
  const write = (fields: object, message: string): void => void lines.push({ fields: fields as Record<string, unknown>, message })
  const log: Log = { debug: write, info: write, warn: write, error: write }
  const pool = compose(phpPool({ root, workers: 2, log, ...options }))
  pools.push(pool)
  await pool.ready()
  return { server: serveMemory(pool), lines, pool }
}

async function until(what: string, check: () => boolean, deadline = 5000): Promise<void> {
  for (const end = performance.now() + deadline; !check();) {
    if (performance.now() > end) throw new Error(`waited ${deadline} ms in vain until ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

describe.skipIf(!has('php-cgi'))('a PHP pool', () => {
  test('runs a script and keeps its workers from request to request', async () => {
    const { server } = await open()
    const pids = new Set<string>()
    for (let i = 0; i < 10; i++) {
      const response = await server.request({ target: '/hello.php' })
      expect(response.status).toBe(200)
      pids.add(response.body.toString())
    }
    // Idle workers are taken last in, first out: one stays warm.
    expect(pids.size).toBe(1)
  })

  test('gives its worker back when a request has a variable that no record can carry', async () => {
    const { server, pool } = await open({ workers: 1 })
    const wide = { target: '/hello.php', headers: ['Host', 'a', 'X-Wide', 'x'.repeat(70_000)] }
    const refused = await Promise.all([server.request(wide), server.request(wide)])
    expect(refused.map(({ status }) => status)).toEqual([431, 431])
    expect(pool.pools?.()[0]?.workers).toMatchObject({ idle: 1, busy: 0 })
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('tells the script who it is, so that PHP has nothing to correct', async () => {
    const { server } = await open()
    const response = await server.request({
      target: '/vars.php/more/path%20x?a=1&b',
      headers: ['Host', 'example.org', 'X-Thing', 'y', 'Proxy', 'evil'],
    })
    expect(JSON.parse(response.body.toString())).toMatchObject({
      SCRIPT_NAME: '/vars.php',
      PATH_INFO: '/more/path x',
      SCRIPT_FILENAME: join(root, 'vars.php'),
      DOCUMENT_ROOT: root,
      QUERY_STRING: 'a=1&b',
      REQUEST_URI: '/vars.php/more/path%20x?a=1&b',
      PHP_SELF: '/vars.php/more/path x',
      SERVER_NAME: 'example.org',
      HTTP_X_THING: 'y',
      GATEWAY_INTERFACE: 'CGI/1.1',
    })
    expect(JSON.parse(response.body.toString())).not.toHaveProperty('HTTP_PROXY')
  })

  test.each([
    ['an index in a folder', '/', 200, 'index'],
    ['a script in a folder that looks like a script', '/sub.php/inner.php/rest', 200, 'inner /rest'],
    ['an image with a script name behind it', '/photo.jpg/x.php', 404, ''],
    ['a file of another kind', '/source.txt', 404, ''],
    ['a link that leads out of the root', '/outside.php', 404, ''],
    ['what is not there', '/nothing.php', 404, ''],
    ['an encoded slash', '/sub.php%2Finner.php', 404, ''],
  ])('%s', async (_, target, status, body) => {
    const { server } = await open({ workers: 1 })
    const response = await server.request({ target })
    expect([response.status, response.body.toString()]).toEqual([status, body])
  })

  test('refuses a script whose name does not end in an allowed suffix, whoever sent it', async () => {
    const { server } = await open({ workers: 1, extensions: ['.phtml'] })
    expect((await server.request({ target: '/hello.php' })).status).toBe(404)
  })

  test('passes status, repeated headers and cookies through', async () => {
    const { server } = await open()
    const response = await server.request({ target: '/status.php' })
    expect(response.status).toBe(418)
    expect(response.headers.filter((_, i) => i % 2 === 1 && response.headers[i - 1] === 'Set-Cookie')).toEqual(['a=1', 'b=2'])
  })

  test.each([
    ['small', 10],
    ['one of many records', 200_000],
    ['one that goes to a file', 6_000_000],
  ])('gives a %s body to the script whole', async (_, length) => {
    const { createHash } = await import('node:crypto')
    const { server } = await open({ workers: 1 })
    const body = Buffer.alloc(length, 'abcdefghijklmnopqrstuvwxyz')
    const digest = createHash('md5').update(body).digest('hex')
    const known = await server.request({ method: 'POST', target: '/body.php', body })
    expect(known.body.toString()).toBe(`${digest} ${length}`)
    // Of unknown length, in pieces: the script is told the length all the same.
    const pieces = [body.subarray(0, length / 3), body.subarray(length / 3)]
    const unknown = await server.request({ method: 'POST', target: '/body.php', body: pieces })
    expect(unknown.body.toString()).toBe(`${digest} ${length}`)
  })

  test('streams a large page', async () => {
    const { server } = await open({ workers: 1 })
    expect((await server.request({ target: '/big.php' })).body.length).toBe(320 * 32768)
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('answers HEAD without a body and goes on', async () => {
    const { server } = await open({ workers: 1 })
    const head = await server.request({ method: 'HEAD', target: '/big.php' })
    expect([head.status, head.body.length]).toEqual([200, 0])
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('serves as many at once as it has workers, and the others in turn', async () => {
    const { server } = await open({ workers: 2 })
    const responses = await Promise.all(Array.from({ length: 6 }, () => server.request({ target: '/sleep.php?ms=50' })))
    expect(responses.map((each) => each.status)).toEqual([200, 200, 200, 200, 200, 200])
    expect(new Set(responses.map((each) => each.body.toString())).size).toBe(2)
  })

  test('refuses at once when the queue is full', async () => {
    const { server } = await open({ workers: 1, limits: { queue: 1 } })
    const responses = await Promise.all(Array.from({ length: 4 }, () => server.request({ target: '/sleep.php?ms=300' })))
    expect(responses.map((each) => each.status).sort()).toEqual([200, 200, 503, 503])
    expect(responses.find((each) => each.status === 503)?.headers).toContain('Retry-After')
  })

  test.each([9, 11])('a worker that dies of signal %i costs one request', async (signal) => {
    const { server, lines } = await open({ workers: 2 })
    const [dead, other] = await Promise.all([
      server.request({ target: `/die.php?signal=${signal}` }),
      server.request({ target: '/sleep.php?ms=100' }),
    ])
    expect([dead.status, other.status]).toEqual([502, 200])
    expect(lines.some((line) => line.message.includes('died during a request'))).toBe(true)
    const after = await Promise.all(Array.from({ length: 4 }, () => server.request({ target: '/sleep.php?ms=30' })))
    expect(after.map((each) => each.status)).toEqual([200, 200, 200, 200])
    expect(new Set(after.map((each) => each.body.toString())).size).toBe(2)
  })

  test('a page cut in the middle is an error, not a short page', async () => {
    const { server } = await open({ workers: 1 })
    const response = await server.request({ target: '/half.php' })
    expect(response.outcome.kind).toBe('failed')
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('a script that never answers is killed in time', async () => {
    const { server } = await open({ workers: 1, limits: { silence: 300 } })
    const started = performance.now()
    expect((await server.request({ target: '/loop.php' })).status).toBe(504)
    expect(performance.now() - started).toBeLessThan(3000)
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test.each([
    ['ends at its next output', '', (count: number) => count < 199],
    ['runs to its end when it asked for that', '&ignore=1', (count: number) => count === 199],
  ])('a script whose client has left %s, and its worker comes back', async (_, query, check) => {
    const { server, pool } = await open({ workers: 1 })
    const file = join(root, `drip${query.length}.txt`)
    const running = server.request({ target: `/drip.php?file=${encodeURIComponent(file)}${query}` })
    await until('the page has begun', () => running.received() > 10_000)
    running.abort()
    expect((await running).outcome.kind).toBe('cut')
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
    expect(check(Number(readFileSync(file, 'utf8')))).toBe(true)
    await pool.close(1000)
  })

  test('what a script logs is attributed to the pool and its pid', async () => {
    const { server, lines } = await open({ workers: 1, name: 'blog' })
    await server.request({ target: '/log.php' })
    const line = lines.find((each) => each.message.includes('a line for the log'))
    expect(line?.fields).toMatchObject({ app: 'blog' })
    expect(Number(line?.fields['pid'])).toBeGreaterThan(1)
  })

  test('a dead leader is replaced', async () => {
    const { server, lines } = await open({ workers: 2 })
    const pid = Number((await server.request({ target: '/sleep.php?ms=1' })).body.toString())
    const leader = Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1])
    process.kill(leader, 'SIGKILL')
    await until('the leader is missed', () => lines.some((line) => line.message.includes('the leader exited')))
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('a worker that was answering when its leader died is the last of it to go', async () => {
    const { server, lines } = await open({ workers: 2 })
    const busy = server.request({ target: '/sleep.php?ms=400' })
    const idle = Number((await server.request({ target: '/sleep.php?ms=1' })).body.toString())
    process.kill(Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${idle}/status`, 'utf8'))?.[1]), 'SIGKILL')
    await until('the leader is missed', () => lines.some((line) => line.message.includes('the leader exited')))
    const answer = await busy
    expect(answer.status).toBe(200)
    await until('both are gone', () => !alive(idle) && !alive(Number(answer.body.toString())))
    expect((await server.request({ target: '/hello.php' })).status).toBe(200)
  })

  test('an idle worker that is killed is replaced before anybody notices', async () => {
    const { server } = await open({ workers: 1 })
    for (let i = 0; i < 5; i++) {
      const response = await server.request({ target: '/sleep.php?ms=1' })
      expect(response.status).toBe(200)
      const pid = Number(response.body.toString())
      process.kill(pid, 'SIGKILL')
      await until('it is dead', () => !alive(pid))
    }
  })

  test('is replaced after maxRequests under load, without a request lost, a gap, or a crash to tell of', async () => {
    const { server, lines } = await open({ workers: 2, maxRequests: 5 })
    const pids = new Set<number>()
    const client = async (): Promise<void> => {
      for (let i = 0; i < 2000 && pids.size < 12; i++) {
        const response = await server.request({ target: '/sleep.php?ms=1' })
        expect(response.status).toBe(200)
        pids.add(Number(response.body.toString()))
      }
    }
    await Promise.all(Array.from({ length: 4 }, client))
    expect(pids.size).toBeGreaterThanOrEqual(12)
    expect(lines).toEqual([])
    // All that were replaced have ended: two work, and one waits to take the next place.
    await until('only three are left', () => [...pids].filter(alive).length <= 3)
    const both = await Promise.all([1, 2].map(() => server.request({ target: '/sleep.php?ms=50' })))
    expect(new Set(both.map((each) => each.body.toString())).size).toBe(2)
  })

  test('the one that takes its place is there before it goes', async () => {
    const { server } = await open({ workers: 1, maxRequests: 1 })
    const first = Number((await server.request({ target: '/hello.php' })).body.toString().slice(6))
    const leader = /^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${first}/status`, 'utf8'))![1]!
    const children = readFileSync(`/proc/${leader}/task/${leader}/children`, 'latin1').trim().split(' ').map(Number)
    expect(children).toHaveLength(2)
    await until('it has gone', () => !alive(first))
    const second = Number((await server.request({ target: '/hello.php' })).body.toString().slice(6))
    expect(children).toContain(second)
  })

  test('a new worker finds what the ones before it have compiled', async () => {
    const { server } = await open({ workers: 1, maxRequests: 3, ini: { 'opcache.enable': '1', 'opcache.file_update_protection': '0' } })
    const answers: string[][] = []
    // A new one comes when it is forked, whatever is asked meanwhile.
    for (let i = 0; i < 2000 && new Set(answers.map(([pid]) => pid)).size < 4; i++) {
      answers.push((await server.request({ target: '/cache.php' })).body.toString().split(' '))
    }
    expect(new Set(answers.map(([pid]) => pid)).size).toBe(4)
    // Compiled once, by the first.
    expect(answers.at(-1)!.slice(1)).toEqual(answers[1]!.slice(1))
    expect(Number(answers[1]![2])).toBeGreaterThan(0)
  })

  test('one that is killed amid its last request is replaced once', async () => {
    const { server } = await open({ workers: 2, maxRequests: 2 })
    for (let i = 0; i < 6; i++) expect((await server.request({ target: '/die.php' })).status).toBe(502)
    const all = await Promise.all(Array.from({ length: 8 }, () => server.request({ target: '/sleep.php?ms=20' })))
    expect(all.map((each) => each.status)).toEqual(Array(8).fill(200))
  })

  test('close waits for what runs and leaves nothing behind', async () => {
    const { server, pool } = await open({ workers: 2 })
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('viaduct-php-'))
    expect(before.length).toBeGreaterThan(0)
    const file = join(root, 'started.txt')
    const running = server.request({ target: `/sleep.php?ms=200&file=${encodeURIComponent(file)}` })
    await until('the script runs', () => existsSync(file))
    await pool.close(2000)
    const response = await running
    expect(response.status).toBe(200)
    await until('the worker is gone', () => !alive(Number(response.body.toString())))
    expect((await server.request({ target: '/hello.php' })).status).toBe(503)
  })

  test('says why when PHP does not start', async () => {
    const pool = phpPool({ root, phpCgi: '/bin/false', workers: 1 })
    await expect(pool.ready()).rejects.toThrow(/\/bin\/false.*exited with status 1/)
    const none = phpPool({ root, phpCgi: '/nowhere/php-cgi', workers: 1, scheduling: 'normal' })
    await expect(none.ready()).rejects.toThrow(/nowhere/)
  })

  test('keeps a session from request to request', async () => {
    const { server } = await open()
    const first = await server.request({ target: '/cookie.php' })
    const cookie = first.headers[first.headers.indexOf('Set-Cookie') + 1]!.split(';')[0]!
    expect((await server.request({ target: '/cookie.php', headers: ['Cookie', cookie] })).body.toString()).toBe('2')
  })
})
