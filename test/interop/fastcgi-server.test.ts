// The FastCGI door behind web servers that were not written for it: nginx, Apache's mod_proxy_fcgi, lighttpd, HAProxy, cgi-fcgi.

import { execFile, spawn, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import { request as httpRequest, type IncomingMessage } from 'node:http'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { collect, empty, redirect, streamOf, text, variable } from '../../src/core/index.ts'
import type { Application, GatewayRequest, GatewayResponse, Outcome, Server } from '../../src/core/index.ts'
import { fastcgi, serveFastCgi } from '../../src/fastcgi/index.ts'
import type { FastCgiServerOptions } from '../../src/fastcgi/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import { has } from '../peers.ts'
import { startApache, startHaproxy, startLighttpd, startNginx, temporaryFolder } from './peers/index.ts'

const MiB = 1024 ** 2
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 255
  return bytes
}

const folder = temporaryFolder('viaduct-server-')
afterAll(() => folder.remove())

// ---- the application

interface Seen {
  readonly requests: GatewayRequest[]
  readonly outcomes: Outcome[]
  readonly aborted: string[]
}
const seen: Seen = { requests: [], outcomes: [], aborted: [] }
afterEach(() => {
  for (const list of Object.values(seen) as unknown[][]) list.length = 0
})

function* blocks(total: number): Generator<Uint8Array> {
  const block = pattern(65_536)
  for (let left = total; left > 0; left -= block.length) yield left < block.length ? block.subarray(0, left) : block
}

async function* ticking(): AsyncGenerator<Uint8Array> {
  for (let i = 0; i < 10_000; i++) {
    yield Buffer.alloc(1000, 'y')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('half')
  await new Promise((resolve) => setTimeout(resolve, 50))
  throw new Error('a secret detail')
}

const application: Application = async (request) => {
  seen.requests.push(request)
  request.onFinish((outcome) => void seen.outcomes.push(outcome))
  request.signal.addEventListener('abort', () => void seen.aborted.push(request.pathInfo))
  return answer(request)
}

async function answer(request: GatewayRequest): Promise<GatewayResponse> {
  const bytes = Number(/bytes=(\d+)/.exec(request.queryString)?.[1] ?? 0)
  switch (request.pathInfo) {
    case '/echo': {
      const body = await collect(request.body)
      return text(200, `${request.method} ${body.length} ${md5(body)}`)
    }
    case '/big':
      return { status: 200, headers: ['Content-Type', 'application/octet-stream'], body: streamOf(blocks(bytes)) }
    case '/sized':
      return {
        status: 200,
        headers: ['Content-Type', 'application/octet-stream', 'Content-Length', String(bytes)],
        body: streamOf(blocks(bytes)),
      }
    case '/stderr':
      request.errors.write('said on stderr é\n')
      return text(200, 'ok')
    case '/not-modified':
      return empty(304, ['ETag', '"a"'])
    case '/empty':
      return empty(204)
    case '/redirect':
      return redirect(302, '/elsewhere?a=b')
    case '/cookies':
      return text(200, 'ok', Array.from({ length: 50 }, (_, i) => ['Set-Cookie', `name${i}=value ${i}; Path=/`]).flat())
    case '/variables':
      return text(200, String(request.headers.list.filter((each, i) => i % 2 === 1 && each.startsWith('vvvv')).join('').length))
    case '/ticking':
      return { status: 200, headers: ['Content-Type', 'text/plain'], body: streamOf(ticking()) }
    case '/broken':
      return { status: 200, headers: ['Content-Type', 'text/plain'], body: streamOf(breaking()) }
    case '/short':
      return { status: 200, headers: ['Content-Type', 'text/plain', 'Content-Length', '1000'], body: streamOf([Buffer.from('short')]) }
    case '/throws':
      throw new Error('a secret detail')
    case '/facts': {
      const { method, target, scriptName, pathInfo, rawPathInfo, queryString, protocol, scheme, remote } = request
      const facts = { method, target, scriptName, pathInfo, rawPathInfo, queryString, protocol, scheme, remote: remote.address }
      const names = ['HTTP_PROXY', 'HTTP_HOST', 'HTTP_X_ONE', 'PHP_VALUE', 'SCRIPT_FILENAME', 'SERVER_NAME']
      return text(200, JSON.stringify({ ...facts, ...Object.fromEntries(names.map((name) => [name, variable(request, name)])) }))
    }
    case '/slow':
      await new Promise((resolve) => setTimeout(resolve, 200))
      return text(200, 'slept')
    default:
      return text(200, 'hello')
  }
}

// ---- the client

interface Got {
  readonly status: number
  readonly headers: IncomingMessage['headers']
  readonly body: Buffer
  readonly whole: boolean
}

interface Asked {
  readonly method?: string
  readonly headers?: Record<string, string>
  readonly body?: Buffer
  readonly chunked?: boolean
  readonly pause?: number
  readonly leaveAfter?: number
}

function ask(port: number, path: string, asked: Asked = {}): Promise<Got> {
  return new Promise((resolve, reject) => {
    const { method = 'GET', headers = {}, body, chunked = false } = asked
    const length = body === undefined || chunked ? {} : { 'Content-Length': String(body.length) }
    const outgoing = httpRequest({ host: '127.0.0.1', port, path, method, headers: { ...headers, ...length }, agent: false })
    outgoing.once('error', reject)
    outgoing.once('response', (incoming) => {
      const pieces: Buffer[] = []
      let received = 0
      incoming.on('data', (chunk: Buffer) => {
        pieces.push(chunk)
        received += chunk.length
        if (asked.pause !== undefined && pieces.length === 1) {
          incoming.pause()
          setTimeout(() => incoming.resume(), asked.pause)
        }
        if (asked.leaveAfter !== undefined && received >= asked.leaveAfter) outgoing.destroy()
      })
      incoming.on('error', () => {})
      incoming.on('close', () =>
        resolve({ status: incoming.statusCode!, headers: incoming.headers, body: Buffer.concat(pieces), whole: incoming.complete }),
      )
    })
    if (chunked && body !== undefined) for (let at = 0; at < body.length; at += 10_000) outgoing.write(body.subarray(at, at + 10_000))
    outgoing.end(chunked ? undefined : body)
  })
}

// ---- what every web server must get

type PortPeer = Awaited<ReturnType<typeof startNginx>>

interface Front {
  /** `address` is the application's. */
  start(address: { readonly path: string } | { readonly host: string; readonly port: number }): Promise<PortPeer>
  /** What it cannot do, and why. */
  readonly lacks?: Readonly<Record<string, string>>
}

const outcome = (kind: string): Promise<void> =>
  expect.poll(() => seen.outcomes.map((each) => each.kind), { timeout: 5000 }).toEqual([kind])

function behind(name: string, front: Front, options: Partial<FastCgiServerOptions> = {}): void {
  let server: Server
  let peer: PortPeer

  beforeAll(async () => {
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const path = join(folder.path, `${name}.sock`)
    server = await serveFastCgi(application, { mount: '/', log, listen: { path, mode: 0o666 }, ...options })
    peer = await front.start(server.address)
  })
  afterAll(async () => {
    await peer.stop()
    await server.close(1000)
  })
  const get = (path: string, asked?: Asked): Promise<Got> => ask(peer.address.port, path, asked)
  const not = (what: string): boolean => front.lacks?.[what] !== undefined

  test('GET, again and again', async () => {
    for (let i = 0; i < 30; i++) {
      const got = await get('/')
      expect(got).toMatchObject({ status: 200, whole: true })
      if (!not('length')) expect(got.headers['content-length']).toBe('5')
      expect(got.body.toString()).toBe('hello')
    }
    await expect.poll(() => seen.outcomes).toHaveLength(30)
    expect(seen.outcomes.every((each) => each.kind === 'sent')).toBe(true)
  })

  test('HEAD', async () => {
    const got = await get('/', { method: 'HEAD' })
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(got.body).toHaveLength(0)
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test('what it says about the request', async () => {
    const got = await get('/facts?a=b%20c', { headers: { 'X-One': '1', Proxy: 'http://evil.example', Host: 'test.example' } })
    expect(JSON.parse(got.body.toString())).toMatchObject({
      method: 'GET',
      target: '/facts?a=b%20c',
      scriptName: '',
      pathInfo: '/facts',
      rawPathInfo: '/facts',
      queryString: 'a=b%20c',
      protocol: 'HTTP/1.1',
      scheme: 'http',
      remote: '127.0.0.1',
      HTTP_HOST: 'test.example',
      HTTP_X_ONE: '1',
      SERVER_NAME: 'test.example',
    })
    expect(got.body.toString()).not.toMatch(/evil|PHP_VALUE|SCRIPT_FILENAME/)
  })

  test.each([0, 1, 5000, 65_528, 65_536, 1_000_000, 10 * MiB])('POST of %i bytes', async (length) => {
    const body = pattern(length)
    const got = await get('/echo', { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream' } })
    expect(got.body.toString()).toBe(`POST ${length} ${md5(body)}`)
  })

  test.skipIf(not('chunked'))('POST of a length that nobody knew', async () => {
    const body = pattern(300_000)
    const got = await get('/echo', { method: 'POST', body, chunked: true, headers: { 'Content-Type': 'application/octet-stream' } })
    expect(got.body.toString()).toBe(`POST 300000 ${md5(body)}`)
  })

  test('a body that the application does not read', async () => {
    expect((await get('/', { method: 'POST', body: pattern(3 * MiB) })).status).toBe(200)
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test.each(['/big', '/sized'])('50 MiB of %s with a slow reader', async (path) => {
    const got = await get(`${path}?bytes=${50 * MiB}`, { pause: 200 })
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(got.body).toHaveLength(50 * MiB)
    expect(md5(got.body)).toBe(md5(Buffer.concat([...blocks(50 * MiB)])))
    if (!not('staying')) await outcome('sent')
  })

  test('304, 204 and a redirect', async () => {
    expect(await get('/not-modified')).toMatchObject({ status: 304, whole: true, headers: { etag: '"a"' } })
    expect(await get('/empty')).toMatchObject({ status: 204, whole: true })
    expect(await get('/redirect')).toMatchObject({
      status: 302,
      headers: { location: expect.stringMatching(/\/elsewhere\?a=b$/) as string },
    })
  })

  test('50 cookies stay 50', async () => {
    expect((await get('/cookies')).headers['set-cookie']).toHaveLength(50)
  })

  test('large variables', async () => {
    const headers = Object.fromEntries(Array.from({ length: 4 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(1500)]))
    expect((await get('/variables', { headers })).body.toString()).toBe('6000')
  })

  test.skipIf(not('stderr'))('what is said on stderr is in its log', async () => {
    expect((await get('/stderr')).body.toString()).toBe('ok')
    const { readFileSync } = await import('node:fs')
    await expect
      .poll(() => ['.log', '-error.log', '.out', '-out.log'].map((end) => readSafely(readFileSync, join(folder.path, name + end))).join(''))
      .toContain('said on stderr')
  })

  test('an application that fails before its head is 500, without a word about why', async () => {
    const got = await get('/throws')
    expect(got).toMatchObject({ status: 500, whole: true })
    expect(got.body.toString()).not.toContain('secret')
    await outcome('failed')
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test.skipIf(not('broken'))('an answer that breaks off is never whole', async () => {
    const got = await get('/broken').catch(() => undefined)
    if (got !== undefined && got.status < 500) expect(got.whole).toBe(false)
    expect(got?.body.toString() ?? '').not.toContain('secret')
    await outcome('failed')
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test('an answer that is shorter than it says is never whole', async () => {
    const got = await get('/short').catch(() => undefined)
    if (got !== undefined && got.status < 500) expect(got.whole).toBe(false)
    await outcome('failed')
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test.skipIf(not('leaving'))('a client that leaves is heard of, and the next one is served', async () => {
    await get('/ticking', { leaveAfter: 2000 })
    await outcome('cut')
    expect(seen.aborted).toEqual(['/ticking'])
    expect((await get('/')).body.toString()).toBe('hello')
  })

  test('many at once', async () => {
    const all = await Promise.all(Array.from({ length: 40 }, (_, i) => get(i % 2 === 0 ? '/slow' : `/sized?bytes=${i * 10_000}`)))
    for (const [i, got] of all.entries()) expect(got.body.length, String(i)).toBe(i % 2 === 0 ? 5 : i * 10_000)
  })
}

function readSafely(read: (path: string, encoding: 'utf8') => string, path: string): string {
  try {
    return read(path, 'utf8')
  } catch {
    // Not every server has each of them.
    return ''
  }
}

const at = (address: { readonly path: string } | { readonly host: string; readonly port: number }, scheme = 'unix:'): string =>
  'path' in address ? scheme + address.path : `${address.host}:${address.port}`

const nginx = (name: string, location: string, http = ''): Front => ({
  start: (address) =>
    startNginx({
      folder: folder.path,
      name,
      http: `upstream app { server ${at(address)}; ${http} }`,
      server: `client_max_body_size 64m; location / { include /etc/nginx/fastcgi_params; fastcgi_pass app; ${location} }`,
    }),
})

describe.skipIf(!has('nginx'))('nginx', () => {
  describe('with a connection a request', () => {
    behind('nginx', nginx('nginx', ''))
  })
  describe('with kept connections', () => {
    behind('nginx-kept', nginx('nginx-kept', 'fastcgi_keep_conn on;', 'keepalive 4;'))
  })
  describe('without buffering, by TCP', () => {
    const unbuffered = nginx('nginx-stream', 'fastcgi_buffering off; fastcgi_request_buffering off; fastcgi_keep_conn on;', 'keepalive 4;')
    behind('nginx-stream', unbuffered, { listen: { port: 0 }, allow: ['127.0.0.1'] })
  })
})

const apache = (name: string, options: string): Front => ({
  lacks: { length: 'it sends what comes from FastCGI chunked' },
  start: (address) =>
    startApache({
      folder: folder.path,
      documentRoot: folder.path,
      name,
      modules: ['proxy', 'proxy_fcgi'],
      config: `ProxyPass "/" "${'path' in address ? `unix:${address.path}|fcgi://app/` : `fcgi://${at(address)}/`}" ${options}`,
    }),
})

describe.skipIf(!has('apache2'))('Apache, mod_proxy_fcgi', () => {
  describe('with a connection a request', () => {
    behind('apache', apache('apache', ''))
  })
  describe('with kept connections, by TCP', () => {
    behind('apache-kept', apache('apache-kept', 'enablereuse=on max=20'), { listen: { port: 0 } })
  })
})

const lighttpd = (name: string, stream: number, lacks: Front['lacks'] = {}): Front => ({
  lacks,
  start: (address) =>
    startLighttpd({
      folder: folder.path,
      documentRoot: folder.path,
      name,
      modules: ['mod_fastcgi'],
      config: `fastcgi.server = ("/" => ((${'path' in address ? `"socket" => "${address.path}"` : `"host" => "${address.host}", "port" => ${address.port}`},
"check-local" => "disable", "fix-root-scriptname" => "enable")))
server.stream-request-body = ${stream}
server.stream-response-body = ${stream}`,
    }),
})

describe.skipIf(!has('lighttpd'))('lighttpd', () => {
  describe('by a unix socket', () => {
    behind(
      'lighttpd',
      lighttpd('lighttpd', 0, {
        broken: 'while it collects an answer it takes any end for the end: only a Content-Length tells',
        leaving: 'while it collects an answer the client gets nothing to leave from',
      }),
    )
  })
  describe('streaming, by TCP', () => {
    behind('lighttpd-stream', lighttpd('lighttpd-stream', 1, { chunked: 'without a length it asks for one: 411' }), { listen: { port: 0 } })
  })
})

const haproxy = (name: string, app: string, server: string): Front => ({
  lacks: { chunked: 'it refuses a body without a length', staying: 'it leaves once it has every promised byte' },
  start: (address) =>
    startHaproxy({
      folder: folder.path,
      name,
      frontend: 'default_backend app',
      config: `fcgi-app app
docroot /
log-stderr global
${app}
backend app
http-reuse always
use-fcgi-app app
server app ${at(address, 'unix@')} proto fcgi ${server}`,
    }),
})

describe.skipIf(!has('haproxy'))('HAProxy', () => {
  const shared = 'option keep-conn\n  option mpxs-conns\n  option get-values\n  option max-reqs 100'
  describe('with a connection a request', () => {
    behind('haproxy', haproxy('haproxy', 'no option keep-conn', ''))
  })
  describe('multiplexing', () => {
    behind('haproxy-mpx', haproxy('haproxy-mpx', shared, ''))
  })

  test('puts many requests on few connections', async () => {
    await using server = await serveFastCgi(application, { mount: '/', listen: { port: 0 } })
    let connections = 0
    const between = createServer((socket) => {
      connections++
      const onwards = connect(server.address as { host: string; port: number })
      socket.pipe(onwards).pipe(socket)
      for (const each of [socket, onwards]) each.on('error', () => {})
    })
    await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
    const { port } = between.address() as { port: number }
    const peer = await haproxy('haproxy-few', shared, '').start({ host: '127.0.0.1', port })
    try {
      // The first one brings the answer to GET_VALUES, after which it knows.
      await ask(peer.address.port, '/')
      const all = await Promise.all(Array.from({ length: 50 }, () => ask(peer.address.port, '/slow')))
      expect(all.map((each) => each.body.toString())).toEqual(Array.from({ length: 50 }, () => 'slept'))
      expect(connections).toBeLessThan(10)
    } finally {
      await peer.stop()
      between.close()
    }
  })
})

const run = async (address: string, env: Record<string, string>): Promise<string> =>
  (await promisify(execFile)('cgi-fcgi', ['-bind', '-connect', address], { env: { REQUEST_METHOD: 'GET', ...env } })).stdout

describe.skipIf(!has('cgi-fcgi'))('cgi-fcgi', () => {
  test('by a unix socket and by TCP', async () => {
    const path = join(folder.path, 'cgi-fcgi.sock')
    await using server = await serveFastCgi(application, { listen: { path } })
    expect(server.address).toEqual({ path })
    expect(await run(path, {})).toMatch(/^Status: 200 OK\r\n[^]*\r\n\r\nhello$/)
    await using tcp = await serveFastCgi(application, { listen: { port: 0 }, allow: ['127.0.0.0/8'] })
    expect(await run(`127.0.0.1:${(tcp.address as { port: number }).port}`, { PATH_INFO: '/facts', SCRIPT_NAME: '/app' })).toContain(
      '"scriptName":"/app","pathInfo":"/facts"',
    )
  })
})

describe('a program that inherits its listening socket', () => {
  const program = new URL('../fixtures/fastcgi/program.mjs', import.meta.url).pathname

  test.skipIf(!has('spawn-fcgi'))('from spawn-fcgi', async () => {
    const path = join(folder.path, 'spawned.sock')
    const child = spawn('spawn-fcgi', ['-n', '-s', path, '--', process.execPath, program], { stdio: 'ignore' })
    try {
      await expect.poll(() => existsSync(path), { timeout: 5000 }).toBe(true)
      await using client = fastcgi({ address: { path } })
      const response = await client(makeRequest({ target: '/echo', method: 'POST', body: pattern(100_000) }))
      expect(Buffer.from(response.body as Uint8Array).toString()).toBe('POST 100000')
    } finally {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      expect(await gone).toEqual([0, null])
    }
  })

  test.skipIf(!has('lighttpd'))('from lighttpd', async () => {
    const peer = await startLighttpd({
      folder: folder.path,
      documentRoot: folder.path,
      name: 'lighttpd-spawning',
      modules: ['mod_fastcgi'],
      config: `fastcgi.server = ("/" => (("bin-path" => "${process.execPath} ${program}", "socket" => "${join(folder.path, 'spawning')}",
  "max-procs" => 1, "check-local" => "disable", "fix-root-scriptname" => "enable")))`,
    })
    try {
      const pid = (await ask(peer.address.port, '/')).body.toString()
      expect(pid).toMatch(/^\d+$/)
      expect((await ask(peer.address.port, '/')).body.toString()).toBe(pid)
    } finally {
      await peer.stop()
    }
  })

  test.each<[string, StdioOptions, Record<string, string>]>([
    ['a file', ['ignore', 'pipe', 'pipe'], {}],
    ['a pipe', ['pipe', 'pipe', 'pipe'], {}],
    ['a CGI request', ['pipe', 'pipe', 'pipe'], { GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'GET' }],
  ])('is told that %s is none, and what to do', async (_, stdio, env) => {
    const child = spawn(process.execPath, [program], { stdio, env })
    let said = ''
    child.stderr?.on('data', (chunk) => (said += String(chunk)))
    expect(await once(child, 'close')).toEqual([1, null])
    expect(said).toContain('standard input is no listening socket')
    expect(said).toContain('serveCgi')
  })
})
