// The FastCGI client against programs that were not written for it: php-fpm, php-cgi, and C on libfcgi.

import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Channel, FileSlice, collect, getHeaders, streamOf } from '../../src/core/index.ts'
import type { Address, Backend, ByteStream, GatewayResponse } from '../../src/core/index.ts'
import { fastcgi, getValues } from '../../src/fastcgi/index.ts'
import type { FastCgiOptions } from '../../src/fastcgi/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import type { RequestParts } from '../../src/testing/index.ts'
import { has, which } from '../peers.ts'
import { standing } from '../scripted.ts'

const FPM = ['php-fpm', 'php-fpm8.5', 'php-fpm8.4', 'php-fpm8.3', 'php-fpm8.2', 'php-fpm8.1'].find((each) => which(each)) ?? 'php-fpm'
const MiB = 1024 * 1024

const scripts: Readonly<Record<string, string>> = {
  'hello.php': `<?php echo 'hello';`,
  'echo.php': `<?php $in = file_get_contents('php://input'); header('X-Md5: ' . md5($in)); echo $_SERVER['REQUEST_METHOD'], ' ', strlen($in);`,
  'big.php': `<?php
    header('Content-Type: application/octet-stream');
    $block = str_repeat('x', 65536);
    for ($left = (int) $_GET['bytes']; $left > 0; $left -= 65536) echo $left < 65536 ? substr($block, 0, $left) : $block;`,
  'stderr.php': `<?php error_log('said on stderr'); echo 'ok';`,
  'not-modified.php': `<?php http_response_code(304); header('ETag: "a"'); echo 'a body that must not be';`,
  'redirect.php': `<?php header('Location: /elsewhere?a=b');`,
  'cookies.php': `<?php for ($i = 0; $i < 50; $i++) setcookie("name$i", "value $i"); echo 'ok';`,
  'variables.php': `<?php $n = 0; foreach ($_SERVER as $k => $v) if (str_starts_with($k, 'HTTP_X_')) $n += strlen($v); echo $n;`,
  'die.php': `<?php echo str_repeat('x', 1000); ob_flush(); flush(); posix_kill(getmypid(), 9);`,
  'short.php': `<?php header('Content-Length: 1000'); echo 'short';`,
  'sleep.php': `<?php usleep((int) $_GET['ms'] * 1000); echo 'slept';`,
  'loop.php': `<?php ignore_user_abort(false); for ($i = 0; $i < 1000; $i++) { echo str_repeat('y', 1000); @ob_flush(); flush(); usleep(10000); }`,
  'pid.php': `<?php echo getmypid();`,
}

let folder: string
const children: ChildProcess[] = []
const clients: Backend[] = []

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'viaduct-interop-'))
  await mkdir(join(folder, 'www'))
  for (const [name, text] of Object.entries(scripts)) await writeFile(join(folder, 'www', name), text)
})

afterAll(async () => {
  for (const client of clients) await client.close(0)
  await Promise.all(children.map(stop))
  await rm(folder, { recursive: true, force: true })
})

function start(command: string, args: readonly string[], env: Readonly<Record<string, string>> = {}): ChildProcess {
  const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'], env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin', ...env } })
  child.stderr?.resume()
  children.push(child)
  return child
}

async function stop(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return
  const exited = new Promise((resolve) => child.once('exit', resolve))
  child.kill('SIGTERM')
  const timer = setTimeout(() => child.kill('SIGKILL'), 3000)
  await exited
  clearTimeout(timer)
}

/** Resolves when somebody listens there. */
async function listening(address: Address): Promise<void> {
  for (const deadline = performance.now() + 10_000; ;) {
    const there = await new Promise((resolve) => {
      const socket = connect(address)
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false))
      socket.once('connect', () => socket.destroy())
    })
    if (there === true) return
    if (performance.now() > deadline) throw new Error(`nobody listens at ${JSON.stringify(address)}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function connectTo(address: Address, options: Partial<FastCgiOptions> = {}): Backend {
  const made = fastcgi({ address, documentRoot: join(folder, 'www'), connections: 2, ...options })
  clients.push(made)
  return made
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  if (body instanceof FileSlice) throw new Error('a file from an application')
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body)).toString('latin1')
}

/** Reads to the end at the stream's pace; the largest amount of memory outside V8's heap meanwhile. */
async function read(body: ByteStream): Promise<{ length: number; peak: number }> {
  let length = 0
  let peak = 0
  for await (const chunk of body) {
    if (length >> 20 !== (length + chunk.length) >> 20) peak = Math.max(peak, process.memoryUsage().arrayBuffers)
    length += chunk.length
  }
  return { length, peak }
}

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 255
  return bytes
}

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

/** What every PHP must do; `app` is opened by the describe block around it. */
function phpTests(app: () => Backend): void {
  const get = (target: string, parts: RequestParts = {}): Promise<GatewayResponse> =>
    Promise.resolve(app()(makeRequest({ target, ...parts })))

  test('GET, again and again', async () => {
    for (let i = 0; i < 20; i++) {
      const response = await get('/hello.php')
      expect(response.status).toBe(200)
      expect(await textOf(response)).toBe('hello')
      expect(response.headers).toContain('Content-Length')
    }
  })

  test('HEAD has no body, and the connection goes on', async () => {
    const response = await get('/hello.php', { method: 'HEAD' })
    expect(response).toMatchObject({ status: 200, body: null })
    expect(await textOf(await get('/hello.php'))).toBe('hello')
  })

  test.each([0, 1, 5000, 65_528, 65_536, 1_000_000, 10 * MiB])('POST of %i bytes', async (length) => {
    const body = pattern(length)
    const response = await get('/echo.php', { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream' } })
    expect(await textOf(response)).toBe(`POST ${length}`)
    expect(response.headers).toContain(md5(body))
  })

  test('POST of a length that nobody knew', async () => {
    const body = pattern(300_000)
    const chunks = Array.from({ length: 30 }, (_, i) => body.subarray(i * 10_000, (i + 1) * 10_000))
    const response = await get('/echo.php', { method: 'POST', body: chunks, headers: { 'Content-Type': 'application/octet-stream' } })
    expect(await textOf(response)).toBe('POST 300000')
    expect(response.headers).toContain(md5(body))
  })

  test('a body that the script does not read', async () => {
    expect(await textOf(await get('/hello.php', { method: 'POST', body: pattern(3_000_000) }))).toBe('hello')
    expect(await textOf(await get('/hello.php'))).toBe('hello')
  })

  test('100 MB down, in flat memory', async () => {
    const before = process.memoryUsage().arrayBuffers
    const response = await get(`/big.php?bytes=${100 * MiB}`)
    const { length, peak } = await read(response.body as ByteStream)
    expect(length).toBe(100 * MiB)
    expect(peak - before).toBeLessThan(48 * MiB)
  })

  test('a slow reader stops the script, not the memory', async () => {
    const response = await get(`/big.php?bytes=${20 * MiB}`)
    const body = response.body as Channel
    expect(await standing(() => body.buffered)).toBeLessThan(MiB)
    expect((await read(body)).length).toBe(20 * MiB)
  })

  test('what is said on stderr', async () => {
    const request = makeRequest({ target: '/stderr.php' })
    expect(await textOf(await app()(request))).toBe('ok')
    expect(request.errorText).toContain('said on stderr')
  })

  test('304 has no body', async () => {
    const response = await get('/not-modified.php')
    expect(response).toMatchObject({ status: 304, body: null })
    expect(response.headers).toContain('"a"')
  })

  test('a redirect is the client’s', async () => {
    const response = await get('/redirect.php')
    expect(response.status).toBe(302)
    expect(getHeaders(response.headers, 'location')).toEqual(['/elsewhere?a=b'])
    expect(response.internal).toBe(undefined)
  })

  test('50 cookies stay 50', async () => {
    const response = await get('/cookies.php')
    expect(getHeaders(response.headers, 'set-cookie')).toHaveLength(50)
  })

  test('64 KB of variables', async () => {
    const headers = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(1024)]))
    expect(await textOf(await get('/variables.php', { headers }))).toBe(String(64 * 1024))
  })

  test('a script that is not there is PHP’s 404', async () => {
    expect((await get('/missing.php')).status).toBe(404)
  })

  test('a page that is shorter than it says is an error', async () => {
    await expect(get('/short.php')).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
  })

  test('a script that takes too long is 504', async () => {
    const impatient = connectTo(addressOf(app()), { limits: { firstByte: 100 } })
    await expect(impatient(makeRequest({ target: '/sleep.php?ms=600' }))).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
  })

  test('a client that leaves is noticed, and the next one is served', async () => {
    const response = await get('/loop.php')
    ;(response.body as ByteStream).cancel()
    expect(await textOf(await get('/hello.php'))).toBe('hello')
  })

  test('values: it does not multiplex', async () => {
    expect((await getValues(addressOf(app()), 3000)).get('FCGI_MPXS_CONNS')).toBe('0')
  })
}

/** Blocks until the kernel has closed what a killed process had open. */
function waitForDeath(pid: number): void {
  const clock = new Int32Array(new SharedArrayBuffer(4))
  for (let i = 0; i < 5000; i++) {
    try {
      if (readFileSync(`/proc/${pid}/stat`, 'latin1').includes(') Z')) return
    } catch {
      // Reaped already.
      return
    }
    Atomics.wait(clock, 0, 0, 1)
  }
}

const addresses = new WeakMap<Backend, Address>()
const addressOf = (app: Backend): Address => addresses.get(app)!

/** A php-fpm of our own, and a client of it. */
async function fpm(listen: string, address: Address): Promise<{ app: Backend; master: ChildProcess }> {
  const file = join(folder, `fpm-${Math.random().toString(36).slice(2)}.conf`)
  const root = process.getuid?.() === 0
  const user = root ? 'user = root\ngroup = root\n' : ''
  await writeFile(
    file,
    `[global]\nerror_log = ${join(folder, 'fpm.log')}\ndaemonize = no\nprocess_control_timeout = 5s\n[www]\nlisten = ${listen}\n${user}pm = static\npm.max_children = 4\n`,
  )
  const master = start(FPM, ['-F', ...(root ? ['-R'] : []), '-y', file, '-d', 'post_max_size=64M'])
  await listening(address)
  const app = connectTo(address)
  addresses.set(app, address)
  return { app, master }
}

describe.skipIf(!has(FPM))('php-fpm', () => {
  describe('on a unix socket', () => {
    let app: Backend
    beforeAll(async () => {
      const path = join(folder, 'fpm.sock')
      app = (await fpm(path, { path })).app
    })
    phpTests(() => app)
  })

  describe('on TCP', () => {
    let app: Backend
    beforeAll(async () => {
      const port = await freePort()
      app = (await fpm(`127.0.0.1:${port}`, { host: '127.0.0.1', port })).app
    })
    phpTests(() => app)
  })

  describe.each(['unix', 'TCP'])('that loses its workers (%s)', (kind) => {
    let app: Backend
    let master: ChildProcess
    beforeAll(async () => {
      const port = kind === 'TCP' ? await freePort() : 0
      const path = join(folder, 'fpm-dying.sock')
      const made = kind === 'TCP' ? await fpm(`127.0.0.1:${port}`, { host: '127.0.0.1', port }) : await fpm(path, { path })
      app = made.app
      master = made.master
    })

    test('in the middle of an answer is an error, not a short page', async () => {
      const streaming = connectTo(addressOf(app), { hold: { bytes: 0, time: 0 } })
      const response = await streaming(makeRequest({ target: '/die.php' }))
      await expect(collect(response.body as ByteStream)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
      const patient = connectTo(addressOf(app), { hold: { bytes: 65_536, time: 10_000 } })
      await expect(patient(makeRequest({ target: '/die.php' }))).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
      expect(await textOf(await app(makeRequest({ target: '/hello.php' })))).toBe('hello')
    })

    test('between two requests costs a GET nothing', async () => {
      for (let round = 0; round < 5; round++) {
        const pid = Number(await textOf(await app(makeRequest({ target: '/pid.php' }))))
        process.kill(pid, 'SIGKILL')
        // Without letting our own loop hear of it.
        waitForDeath(pid)
        expect(await textOf(await app(makeRequest({ target: '/hello.php' })))).toBe('hello')
      }
    })

    test('all of them, by a reload, costs no GET', async () => {
      const state = { over: false }
      const failed: unknown[] = []
      const load = async (): Promise<void> => {
        while (!state.over) {
          try {
            expect(await textOf(await app(makeRequest({ target: '/hello.php' })))).toBe('hello')
          } catch (error) {
            failed.push(error)
          }
          await new Promise((resolve) => setTimeout(resolve, 5))
        }
      }
      const loads = [load(), load()]
      const before = await textOf(await app(makeRequest({ target: '/pid.php' })))
      master.kill('SIGUSR2')
      await expect.poll(async () => textOf(await app(makeRequest({ target: '/pid.php' }))), { timeout: 10_000 }).not.toBe(before)
      state.over = true
      await Promise.all(loads)
      expect(failed).toEqual([])
    })
  })
})

describe.skipIf(!has('php-cgi'))('php-cgi -b', () => {
  let app: Backend
  beforeAll(async () => {
    const path = join(folder, 'cgi.sock')
    start('php-cgi', ['-d', 'post_max_size=64M', '-b', path], { PHP_FCGI_CHILDREN: '4', PHP_FCGI_MAX_REQUESTS: '0' })
    await listening({ path })
    app = connectTo({ path })
    addresses.set(app, { path })
  })
  phpTests(() => app)
})

describe.skipIf(!has('gcc') || !existsSync('/usr/include/fcgiapp.h'))('a C program on libfcgi', () => {
  let path: string
  let app: Backend
  let child: ChildProcess

  async function run(): Promise<void> {
    child = start(join(folder, 'responder'), [path])
    await listening({ path })
  }

  beforeAll(async () => {
    execFileSync('gcc', [
      '-O1',
      '-o',
      join(folder, 'responder'),
      new URL('../fixtures/fastcgi/responder.c', import.meta.url).pathname,
      '-lfcgi',
    ])
    path = join(folder, 'c.sock')
    await run()
    // One process, one connection at a time: a second would wait until the first is closed.
    app = fastcgi({ address: { path }, connections: 1 })
    clients.push(app)
  })

  const get = (target: string, parts: RequestParts = {}): Promise<GatewayResponse> =>
    Promise.resolve(app(makeRequest({ target, ...parts })))

  test('GET and HEAD, on one connection', async () => {
    for (let i = 0; i < 20; i++) {
      expect(await textOf(await get('/'))).toBe('hello')
      expect((await get('/', { method: 'HEAD' })).body).toBe(null)
    }
  })

  test.each([0, 1, 65_535, 10 * MiB])('POST of %i bytes', async (length) => {
    expect(await textOf(await get('/echo', { method: 'POST', body: pattern(length) }))).toBe(`POST ${length}`)
  })

  test('POST that streams', async () => {
    const streaming = fastcgi({ address: { path }, connections: 1, body: 'stream' })
    await app.close()
    const chunks = Array.from({ length: 100 }, () => Buffer.alloc(50_000))
    const response = await streaming(makeRequest({ target: '/echo', method: 'POST', body: streamOf(chunks), contentLength: 5_000_000 }))
    expect(await textOf(response)).toBe('POST 5000000')
    await streaming.close()
    app = fastcgi({ address: { path }, connections: 1 })
    clients.push(app)
  })

  test('a body it does not read: the answer counts all the same', async () => {
    expect((await get('/ignore', { method: 'POST', body: pattern(100_000) })).status).toBe(413)
    expect(await textOf(await get('/'))).toBe('hello')
  })

  test('100 MB down, in flat memory', async () => {
    const before = process.memoryUsage().arrayBuffers
    const response = await get(`/big?bytes=${100 * MiB}`)
    const { length, peak } = await read(response.body as ByteStream)
    expect(length).toBe(100 * MiB)
    expect(peak - before).toBeLessThan(48 * MiB)
  })

  test('64 KB of variables, one of them alone in a record', async () => {
    const text = await textOf(await get('/variables', { headers: { 'X-Long': 'v'.repeat(65_000), 'X-Short': 'a' } }))
    expect(text).toContain(`HTTP_X_LONG=${'v'.repeat(65_000)}\n`)
    expect(text).toContain('HTTP_X_SHORT=a\n')
    expect(text).toContain('FCGI_ROLE=RESPONDER\n')
  })

  test('stderr, line by line', async () => {
    const request = makeRequest({ target: '/stderr' })
    expect(await textOf(await app(request))).toBe('ok')
    expect(request.errorText).toBe('first line\nsecond line\n')
  })

  test('an exit status is logged and does not change the answer', async () => {
    const warned: object[] = []
    const log = { debug() {}, info() {}, warn: (fields: object) => void warned.push(fields), error() {} }
    await app.close()
    const logging = fastcgi({ address: { path }, connections: 1, log })
    expect((await logging(makeRequest({ target: '/status?code=3' }))).status).toBe(200)
    await logging.close()
    expect(warned).toMatchObject([{ appStatus: 3, target: '/status?code=3' }])
    app = fastcgi({ address: { path }, connections: 1 })
    clients.push(app)
  })

  test('a page shorter than it says is an error', async () => {
    await expect(get('/short')).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(await textOf(await get('/'))).toBe('hello')
  })

  test('that dies in the middle of an answer is 502, and so is nobody at all; the next one is found', async () => {
    const exited = new Promise((resolve) => child.once('exit', resolve))
    await expect(get('/die')).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
    await exited
    await expect(get('/')).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 502 })
    await rm(path, { force: true })
    await run()
    expect(await textOf(await get('/'))).toBe('hello')
  })
})
