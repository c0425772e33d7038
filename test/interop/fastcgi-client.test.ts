// The FastCGI client against programs that were not written for it: php-fpm, php-cgi, C on libfcgi in all three roles, Perl, and what
// spawn-fcgi starts.

import type { ChildProcess } from 'node:child_process'
import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { Channel, FileSlice, collect, compose, getHeaders, streamOf, text } from '../../src/core/index.ts'
import type { Address, Application, Backend, ByteStream, GatewayResponse } from '../../src/core/index.ts'
import { Role, authorizer, fastcgi, filter, getValues } from '../../src/fastcgi/index.ts'
import type { FastCgiOptions } from '../../src/fastcgi/index.ts'
import { staticFiles } from '../../src/static/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import type { RequestParts } from '../../src/testing/index.ts'
import { has } from '../peers.ts'
import { standing } from '../scripted.ts'
import { BEHAVIOURS, FPM, Peers, freePort, pattern, stop } from './fastcgi-client-peers.ts'
import type { Behaviour } from './fastcgi-client-peers.ts'
import { openMatrix } from './matrix.ts'

const matrix = openMatrix({
  section: 'Our client in front of programs',
  peers: ['php-fpm', 'php-cgi', 'C on libfcgi', "Perl's FCGI", 'spawn-fcgi', 'C as Authorizer', 'C as Filter'],
  behaviours: BEHAVIOURS,
})
type Peer = Parameters<typeof matrix.lacks>[0]

const MiB = 1024 * 1024
const GiB = 1024 * MiB

const peers = new Peers()
const clients: Backend[] = []
afterAll(async () => {
  for (const client of clients) await client.close(0)
  await peers.close()
})

function connectTo(address: Address, options: Partial<FastCgiOptions> = {}): Backend {
  const made = fastcgi({ address, ...options })
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

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

const whole = async (response: GatewayResponse): Promise<unknown> => collect(response.body as ByteStream)

/** A program that runs, and how it is asked. */
interface Running {
  /** The whole way to it. */
  readonly app: Application
  readonly address: Address
  /** The target of one of its pages. */
  page(name: string, query?: string): string
  /** With other options. */
  with(options: Partial<FastCgiOptions>): Application
}

interface Kind {
  /** Of a page that is fine. */
  readonly status?: number
  readonly download?: number
  readonly md5?: boolean
  readonly stderr?: string
}

/** What every program must do; `running` is asked for when the tests run. */
function behaviours(
  peer: Peer,
  running: () => Running,
  { status = 200, download = 100 * MiB, md5: sums = false, stderr = 'first line\n' }: Kind = {},
): void {
  const proves = (behaviour: Behaviour, run: () => unknown): (() => Promise<void>) => matrix.proves(peer, behaviour, run)
  const get = (name: string, parts: RequestParts = {}, query?: string): Promise<GatewayResponse> =>
    Promise.resolve(running().app(makeRequest({ target: running().page(name, query), ...parts })))
  const isUp = async (): Promise<void> => expect((await get('cookies')).status).toBe(status)

  test(
    'HEAD has no body, and the connection goes on',
    proves('HEAD', async () => {
      expect(await get('cookies', { method: 'HEAD' })).toMatchObject({ status, body: null })
      await isUp()
    }),
  )

  test(
    `${download / MiB} MiB down, in flat memory`,
    proves('large download', async () => {
      const before = process.memoryUsage().arrayBuffers
      const response = await get('big', {}, `bytes=${download}`)
      const { length, peak } = await read(response.body as ByteStream)
      expect(length).toBe(download)
      // What was read and thrown away stays until the collector has been.
      expect(peak - before).toBeLessThan(72 * MiB)
    }),
    120_000,
  )

  test(
    'a slow reader stops the program, not the memory',
    proves('slow reader', async () => {
      const body = (await get('big', {}, `bytes=${20 * MiB}`)).body as Channel
      expect(await standing(() => body.buffered)).toBeLessThan(MiB)
      expect((await read(body)).length).toBe(20 * MiB)
    }),
  )

  test(
    'a client that leaves is noticed, and the next one is served',
    proves('client that leaves', async () => {
      const response = await get('loop')
      ;(response.body as ByteStream).cancel()
      await isUp()
    }),
  )

  test(
    'what is said on stderr',
    proves('standard error', async () => {
      const request = makeRequest({ target: running().page('stderr') })
      expect((await running().app(request)).status).toBe(status)
      expect(request.errorText).toContain(stderr)
    }),
  )

  test(
    '304 has no body',
    proves('304', async () => {
      const response = await get('not-modified')
      expect(response).toMatchObject({ status: 304, body: null })
      expect(response.headers).toContain('"a"')
      await isUp()
    }),
  )

  test(
    'a redirect is the client’s',
    proves('redirect', async () => {
      const response = await get('redirect')
      expect(response.status).toBe(302)
      expect(getHeaders(response.headers, 'location')).toEqual(['/elsewhere?a=b'])
      expect(response.internal).toBe(undefined)
    }),
  )

  test(
    '50 cookies stay 50',
    proves('50 cookies', async () => {
      expect(getHeaders((await get('cookies')).headers, 'set-cookie')).toHaveLength(50)
    }),
  )

  test(
    '64 KB of variables',
    proves('64 KB of variables', async () => {
      const headers = Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(1024)]))
      expect(await textOf(await get('headers', { headers }))).toBe(String(64 * 1024))
    }),
  )

  test(
    'a page that is shorter than it says is an error',
    proves('half an answer is an error', async () => {
      await expect(get('short')).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
      await isUp()
    }),
  )

  test(
    'connections are kept',
    proves('kept connections', async () => {
      const hosts = fastcgi({
        upstreams: [{ address: running().address }],
        connections: 1,
        keep: true,
        documentRoot: peers.www,
        role: roleOf(peer),
      })
      clients.push(hosts)
      const kept = around(peer, hosts)
      // A filter that reads its file: libfcgi closes the connection of one that does not.
      const page = running().page(peer === 'C as Filter' ? 'hello' : 'cookies')
      for (let i = 0; i < 20; i++) expect((await kept(makeRequest({ target: page }))).status).toBe(status)
      expect(hosts.status()).toMatchObject([{ requests: 20, failures: 0, connections: 1 }])
      await hosts.close()
    }),
  )

  test(
    'a page that takes too long is 504',
    proves('too slow is 504', async () => {
      const impatient = running().with({ limits: { between: 5, firstByte: 5 } })
      const slow = async (): Promise<unknown> => {
        const response = await impatient(makeRequest({ target: running().page('loop') }))
        return collect(response.body as ByteStream)
      }
      await expect(slow()).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
      await isUp()
    }),
  )

  if (peer === 'C as Authorizer') return

  test.each([0, 1, 5000, 65_528, 65_536, 1_000_000, 10 * MiB])(
    'POST of %i bytes',
    matrix.proves(peer, 'POST, up to 10 MiB', async (length: number) => {
      const body = pattern(length)
      const response = await get('echo', { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream' } })
      expect(await textOf(response)).toBe(`POST ${length}`)
      if (sums) expect(response.headers).toContain(md5(body))
    }),
  )

  test(
    'POST of a length that nobody knew',
    proves('POST, chunked', async () => {
      const body = pattern(300_000)
      const chunks = Array.from({ length: 30 }, (_, i) => body.subarray(i * 10_000, (i + 1) * 10_000))
      const response = await get('echo', { method: 'POST', body: chunks, headers: { 'Content-Type': 'application/octet-stream' } })
      expect(await textOf(response)).toBe('POST 300000')
      if (sums) expect(response.headers).toContain(md5(body))
    }),
  )

  test(
    'a body that the program does not read: the answer counts all the same',
    proves('body that nobody reads', async () => {
      expect((await get('ignore', { method: 'POST', body: pattern(3_000_000) })).status).toBe(413)
      await isUp()
    }),
  )
}

const roleOf = (peer: Peer): Role => (peer === 'C as Authorizer' ? Role.Authorizer : peer === 'C as Filter' ? Role.Filter : Role.Responder)

const behind: Application = (request) =>
  text(200, ['REMOTE_USER', 'AUTH_TYPE', 'HTTP_HOST', 'SEEN'].map((name) => request.variables.get(name) ?? '-').join(' '))

/** What stands around the program, by its role. */
function around(peer: Peer, backend: Backend): Application {
  if (peer === 'C as Authorizer') {
    return compose(behind, authorizer(backend))
  }
  if (peer === 'C as Filter') return compose(() => text(200, 'the file'), filter(backend))
  return backend
}

/** A describe block for one program: started at its beginning. */
function program(
  peer: Peer,
  start: (path: string) => Promise<ChildProcess>,
  kind: Kind & { readonly php?: boolean; readonly address?: () => Promise<Address> } = {},
): () => Running {
  let running!: Running
  beforeAll(async () => {
    const address = kind.address === undefined ? { path: peers.path('sock') } : await kind.address()
    await start('path' in address ? address.path : '')
    const options = {
      role: roleOf(peer),
      // One process, one connection at a time: a second waits until the first is closed, so none is kept for long.
      connections: kind.php === true ? 2 : 1,
      ...(kind.php === true ? { documentRoot: peers.www } : { idleTimeout: 50 }),
    }
    const opened = (more: Partial<FastCgiOptions>): Application => around(peer, connectTo(address, { ...options, ...more }))
    running = {
      app: opened({}),
      address,
      page: (name, query) => `/${name}${kind.php === true ? '.php' : ''}${query === undefined ? '' : `?${query}`}`,
      // A program with one process has to be left first.
      with: (more) => opened({ keep: false, ...more }),
    }
  })
  behaviours(peer, () => running, kind)
  return () => running
}

/** What becomes of a request whose program dies, and of the next one. */
function dies(peer: Peer, start: (path: string) => Promise<ChildProcess>): void {
  test(
    'death in the middle of an answer is 502, and so is nobody at all; the next one is found',
    matrix.proves(peer, 'death in the middle is an error', async () => {
      const path = peers.path('sock')
      const child = await start(path)
      const app = around(peer, connectTo({ path }, { role: roleOf(peer), connections: 1 }))
      const get = (target: string): Promise<GatewayResponse> => Promise.resolve(app(makeRequest({ target })))
      const exited = new Promise((resolve) => child.once('exit', resolve))
      await expect(get('/die')).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
      await exited
      await expect(get('/cookies')).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 502 })
      await rm(path, { force: true })
      const again = await start(path)
      expect(getHeaders((await get('/cookies')).headers, 'set-cookie')).toHaveLength(50)
      await stop(again)
    }),
  )
}

function hello(peer: Peer, running: () => Running): void {
  test(
    'GET, again and again',
    matrix.proves(peer, 'GET', async () => {
      for (let i = 0; i < 20; i++) {
        const response = await running().app(makeRequest({ target: running().page('hello') }))
        expect(response.status).toBe(200)
        expect(await textOf(response)).toBe('hello')
        expect(response.headers).toContain('Content-Length')
      }
    }),
  )
}

const CASES: readonly Behaviour[] = ['POST, up to 10 MiB', 'POST, chunked', 'body that nobody reads']
for (const behaviour of CASES) matrix.lacks('C as Authorizer', behaviour, 'an authorizer gets no body (FastCGI 1.0, 6.3)')
for (const peer of ['php-fpm', 'php-cgi', "Perl's FCGI", 'spawn-fcgi'] as const) {
  const why = peer === 'spawn-fcgi' ? 'it starts the program of the column C on libfcgi' : 'it plays the Responder only'
  for (const role of ['Authorizer', 'Filter'] as const) matrix.lacks(peer, role, why)
}
matrix.lacks('C on libfcgi', 'Authorizer', 'its other columns show it')
matrix.lacks('C on libfcgi', 'Filter', 'its other columns show it')
matrix.lacks('C as Authorizer', 'Filter', 'its other columns show it')
matrix.lacks('C as Filter', 'Authorizer', 'its other columns show it')
for (const peer of ['php-cgi', 'C on libfcgi', "Perl's FCGI", 'spawn-fcgi', 'C as Authorizer', 'C as Filter'] as const) {
  matrix.lacks(peer, 'REQUEST_BODY_FILE', 'php-fpm alone reads it')
}

/** @param start for a program of one process, which a kept connection would keep from answering another one. */
function values(peer: Peer, running: () => Running, start?: (path: string) => Promise<ChildProcess>): void {
  test(
    'values: it does not multiplex',
    matrix.proves(peer, 'GET_VALUES', async () => {
      const { address: first } = running()
      const address = start === undefined ? first : { path: peers.path('sock') }
      if ('path' in address) await start?.(address.path)
      expect((await getValues(address, 3000)).get('FCGI_MPXS_CONNS')).toBe('0')
      // Asked first, it gets one request at a time.
      const options = { role: roleOf(peer), multiplex: { ask: true }, connections: 1, documentRoot: peers.www }
      const app = around(peer, connectTo(address, options))
      const all = Array.from({ length: 3 }, async () => (await app(makeRequest({ target: running().page('cookies') }))).status)
      expect(new Set(await Promise.all(all)).size).toBe(1)
    }),
  )
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

describe.skipIf(!has(FPM))('php-fpm', () => {
  describe('on a unix socket', () => {
    const running = program('php-fpm', (path) => peers.fpm({ path }), { php: true, md5: true, download: GiB, stderr: 'first line' })
    hello('php-fpm', running)
    values('php-fpm', running)

    test(
      'a body in a file is read there: whether a form, as it comes, or not at all',
      matrix.proves('php-fpm', 'REQUEST_BODY_FILE', async () => {
        const app = running().with({ requestBodyFile: true, limits: { bodyMemory: 100_000 } })
        const post = (target: string, size: number, type: string): Promise<GatewayResponse> =>
          Promise.resolve(app(makeRequest({ target, method: 'POST', body: pattern(size), headers: { 'Content-Type': type } })))
        const large = pattern(5_000_000)
        expect(await textOf(await post('/body-file.php', 5_000_000, 'application/octet-stream'))).toBe(`file ${md5(large)}`)
        expect(await textOf(await post('/body-file.php', 50_000, 'application/octet-stream'))).toBe(`stdin ${md5(pattern(50_000))}`)
        expect(await textOf(await post('/body-file.php', 5_000_000, 'application/x-www-form-urlencoded'))).toBe(`file ${md5(large)}`)
        expect(await textOf(await post('/hello.php', 5_000_000, 'text/plain'))).toBe('hello')
      }),
    )

    test('a script that is not there is PHP’s 404', async () => {
      expect((await running().app(makeRequest({ target: '/missing.php' }))).status).toBe(404)
    })
  })

  describe('on TCP', () => {
    const address = { host: '127.0.0.1', port: 0 }
    const running = program('php-fpm', () => peers.fpm(address), {
      php: true,
      md5: true,
      stderr: 'first line',
      address: async () => {
        address.port = await freePort()
        return address
      },
    })
    hello('php-fpm', running)
  })

  describe.each(['unix', 'TCP'])('that loses its workers (%s)', (kind) => {
    let app: Backend
    let address: Address
    let master: ChildProcess
    beforeAll(async () => {
      address = kind === 'TCP' ? { host: '127.0.0.1', port: await freePort() } : { path: peers.path('dying.sock') }
      master = await peers.fpm(address)
      app = connectTo(address, { documentRoot: peers.www, connections: 2 })
    })

    test(
      'in the middle of an answer is an error, not a short page',
      matrix.proves('php-fpm', 'death in the middle is an error', async () => {
        const streaming = connectTo(address, { documentRoot: peers.www, hold: { bytes: 0, time: 0 } })
        const response = await streaming(makeRequest({ target: '/die.php' }))
        await expect(collect(response.body as ByteStream)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
        const patient = connectTo(address, { documentRoot: peers.www, hold: { bytes: 65_536, time: 10_000 } })
        await expect(patient(makeRequest({ target: '/die.php' }))).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
        expect(await textOf(await app(makeRequest({ target: '/hello.php' })))).toBe('hello')
      }),
    )

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
  const running = program('php-cgi', (path) => peers.phpCgi(path), { php: true, md5: true, stderr: 'first line' })
  hello('php-cgi', running)
  values('php-cgi', running)

  test(
    'a worker that dies in the middle of an answer',
    matrix.proves('php-cgi', 'death in the middle is an error', async () => {
      const dying = async (): Promise<unknown> => whole(await running().app(makeRequest({ target: '/die.php' })))
      await expect(dying()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
      expect(await textOf(await running().app(makeRequest({ target: '/hello.php' })))).toBe('hello')
    }),
  )
})

function hasPerlModule(): boolean {
  try {
    execFileSync('perl', ['-MFCGI', '-e', '1'], { stdio: 'ignore' })
    return true
  } catch {
    if (process.env['CI'] === 'true') throw new Error("missing in CI: Perl's FCGI")
    return false
  }
}

const canCompile = has('gcc') && existsSync('/usr/include/fcgiapp.h')

describe.skipIf(!canCompile)('a C program on libfcgi', () => {
  const running = program('C on libfcgi', (path) => peers.libfcgi(path))
  hello('C on libfcgi', running)
  dies('C on libfcgi', (path) => peers.libfcgi(path))
  values('C on libfcgi', running, (path) => peers.libfcgi(path))

  const alone = (options: Partial<FastCgiOptions>): Backend => connectTo(running().address, { connections: 1, keep: false, ...options })

  test('POST that streams', async () => {
    const chunks = Array.from({ length: 100 }, () => Buffer.alloc(50_000))
    const request = makeRequest({ target: '/echo', method: 'POST', body: streamOf(chunks), contentLength: 5_000_000 })
    expect(await textOf(await running().with({ body: 'stream' })(request))).toBe('POST 5000000')
  })

  test('64 KB of variables, one of them alone in a record', async () => {
    const request = makeRequest({ target: '/variables', headers: { 'X-Long': 'v'.repeat(65_000), 'X-Short': 'a' } })
    const got = await textOf(await running().app(request))
    expect(got).toContain(`HTTP_X_LONG=${'v'.repeat(65_000)}\n`)
    expect(got).toContain('HTTP_X_SHORT=a\n')
    expect(got).toContain('FCGI_ROLE=RESPONDER\n')
  })

  test('stderr, line by line', async () => {
    const request = makeRequest({ target: '/stderr' })
    expect(await textOf(await running().app(request))).toBe('ok')
    expect(request.errorText).toBe('first line\nsecond line\n')
  })

  test('an exit status is logged and does not change the answer', async () => {
    const warned: object[] = []
    const log = { debug() {}, info() {}, warn: (fields: object) => void warned.push(fields), error() {} }
    expect((await alone({ log })(makeRequest({ target: '/status?code=3' }))).status).toBe(200)
    expect(warned).toMatchObject([{ appStatus: 3, target: '/status?code=3' }])
  })
})

describe.skipIf(!canCompile)('a C program on libfcgi as Authorizer', () => {
  const running = program('C as Authorizer', (path) => peers.libfcgi(path), { status: 403 })
  dies('C as Authorizer', (path) => peers.libfcgi(path))
  values('C as Authorizer', running, (path) => peers.libfcgi(path))
  const ada = { Authorization: 'Basic YWRhOmxvdmU=' }

  test(
    'lets through whom it knows, and says who it is',
    matrix.proves('C as Authorizer', 'Authorizer', async () => {
      const response = await running().app(makeRequest({ target: '/hello', method: 'POST', body: 'body', headers: ada }))
      expect(await textOf(response)).toBe('ada Basic test.example /hello')
      expect(response.headers).not.toContain('X-Secret')
    }),
  )

  test(
    'refuses everybody else in its own words',
    matrix.proves('C as Authorizer', 'GET', async () => {
      const response = await running().app(makeRequest({ target: '/hello', headers: { 'Remote-User': 'ada', REMOTE_USER: 'ada' } }))
      expect(response).toMatchObject({ status: 401, reason: 'Who Are You' })
      expect(getHeaders(response.headers, 'www-authenticate')).toEqual(['Basic realm="here"'])
      expect(await textOf(response)).toBe('no')
    }),
  )
})

describe.skipIf(!canCompile)('a C program on libfcgi as Filter', () => {
  const running = program('C as Filter', (path) => peers.libfcgi(path))
  dies('C as Filter', (path) => peers.libfcgi(path))
  values('C as Filter', running, (path) => peers.libfcgi(path))

  test(
    'answers with what it makes of a file',
    matrix.proves('C as Filter', 'GET', async () => {
      expect(await textOf(await running().app(makeRequest({ target: '/hello' })))).toBe('GET 0 8 0\nTHE FILE')
    }),
  )

  test(
    'of any size, with the time of its change, after the body of the request',
    matrix.proves('C as Filter', 'Filter', async () => {
      for (const [name, size] of [
        ['hello', 10],
        ['large', 5_000_000],
      ] as const) {
        const root = peers.path(name)
        mkdirSync(root)
        writeFileSync(join(root, 'hello'), Buffer.alloc(size, 'abcdefghij'))
        const backend = connectTo(running().address, { role: Role.Filter, keep: false })
        const app = compose(staticFiles({ root }), filter(backend))
        const request = makeRequest({ target: '/hello', method: 'POST', body: pattern(100_000), headers: { Range: 'bytes=0-3' } })
        const response = await app(request)
        expect(response.status).toBe(200)
        const seconds = Math.floor(statSync(join(root, 'hello')).mtimeMs / 1000)
        const [first, ...rest] = (await textOf(response)).split('\n')
        expect(first).toBe(`POST 100000 ${size} ${seconds}`)
        expect(rest).toEqual(['ABCDEFGHIJ'.repeat(size / 10)])
        const missing = await app(makeRequest({ target: '/elsewhere' }))
        expect(missing.status).toBe(404)
      }
    }),
  )
})

describe.skipIf(!has('perl') || !hasPerlModule())("Perl's FCGI", () => {
  const running = program("Perl's FCGI", (path) => peers.perl(path))
  hello("Perl's FCGI", running)
  dies("Perl's FCGI", (path) => peers.perl(path))
  values("Perl's FCGI", running, (path) => peers.perl(path))
})

describe.skipIf(!has('spawn-fcgi') || !canCompile)('what spawn-fcgi starts', () => {
  const running = program('spawn-fcgi', (path) => peers.spawnFcgi(path))
  hello('spawn-fcgi', running)
  dies('spawn-fcgi', (path) => peers.spawnFcgi(path))
  values('spawn-fcgi', running, (path) => peers.spawnFcgi(path))
})

matrix.hold()
