// The FastCGI door behind web servers that were not written for it: nginx, Apache's mod_proxy_fcgi and mod_fcgid, lighttpd, Caddy, HAProxy,
// cgi-fcgi, and a client in C for the roles that hardly any web server asks for.

import { execFile, spawn, type ChildProcess, type StdioOptions } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { collect, text } from '../../src/core/index.ts'
import * as core from '../../src/core/index.ts'
import type { Address, Application } from '../../src/core/index.ts'
import { RecordDecoder, Type, allow, deny, fastcgi, serveFastCgi } from '../../src/fastcgi/index.ts'
import type { FastCgiServer, FastCgiServerOptions, Filter } from '../../src/fastcgi/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import { everything, gatekeeper } from '../fixtures/fastcgi/everything.mjs'
import { has } from '../peers.ts'
import {
  BEHAVIOURS,
  BEHIND,
  MiB,
  apache,
  apacheAuthorizer,
  ask,
  at,
  caddy,
  fcgid,
  fcgidAuthorizer,
  fixture,
  haproxy,
  lighttpd,
  listens,
  lighttpdAuthorizer,
  logsOf,
  nginx,
} from './fastcgi-server-fronts.ts'
import type { Asked, Behaviour, Front, Got, WebServerPeer } from './fastcgi-server-fronts.ts'
import { openMatrix } from './matrix.ts'
import { freePort, startLighttpd, temporaryFolder } from './peers/index.ts'

const matrix = openMatrix({
  section: 'Our server behind web servers',
  peers: ['nginx', 'Apache mod_proxy_fcgi', 'Apache mod_fcgid', 'lighttpd', 'Caddy', 'HAProxy', 'cgi-fcgi', 'C on fastcgi.h'],
  behaviours: BEHAVIOURS,
})
type Peer = Parameters<typeof matrix.lacks>[0]

const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')

function pattern(length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let i = 0; i < length; i++) bytes[i] = (i * 31 + (i >> 8)) & 255
  return bytes
}

const folder = temporaryFolder('viaduct-server-')
afterAll(() => folder.remove())

// ---- the application

interface Heard {
  outcomes(): string[]
  aborted(): string[]
  clear(): void
}

/** What became of the requests, from the application in this process. */
function hearing(): Heard & { readonly hear: (kind: 'outcome' | 'aborted', what: string) => void } {
  const lists: Record<'outcome' | 'aborted', string[]> = { outcome: [], aborted: [] }
  return {
    hear: (kind, what) => void lists[kind].push(what),
    outcomes: () => lists.outcome,
    aborted: () => lists.aborted,
    clear: () => {
      lists.outcome = []
      lists.aborted = []
    },
  }
}

const here = hearing()
afterEach(() => here.clear())
const application: Application = everything({ ...core, md5 }, here.hear)

const PRIVATE = '/private/who'
const authorizer = gatekeeper({ ...core, allow, deny })
const asAda = { Authorization: `Basic ${Buffer.from('ada:x').toString('base64')}`, 'Variable-AUTH_LEVEL': '9', 'Auth-Level': '9' }

/** The same, from a file to which the programs of a web server write. */
function heardIn(file: string): Heard {
  const of = (kind: string): string[] =>
    readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith(`${kind} `))
      .map((line) => line.slice(kind.length + 1))
  return { outcomes: () => of('outcome'), aborted: () => of('aborted'), clear: () => writeFileSync(file, '') }
}

// ---- what every web server must get

const silent = { debug() {}, info() {}, warn() {}, error() {} }

function behind(column: Peer, front: Front, options: Partial<FastCgiServerOptions> = {}, heardFile?: string): void {
  let server: FastCgiServer | undefined
  let peer: WebServerPeer
  let heard: Heard = here

  beforeAll(async () => {
    const path = join(folder.path, `${front.name}.sock`)
    if (heardFile === undefined)
      server = await serveFastCgi(application, { mount: '/', log: silent, listen: { path, mode: 0o666 }, ...options })
    peer = await front.start(folder.path, server?.address)
    if (heardFile !== undefined) heard = heardIn(heardFile)
  })
  afterAll(async () => {
    await peer.stop()
    await server?.close(1000)
  })
  afterEach(() => heard.clear())
  const get = (path: string, asked?: Asked): Promise<Got> => ask(peer.address.port, path, asked)
  // A program may tell of the request before only after that test has ended: it was sent.
  const outcome = (kind: string): Promise<void> =>
    expect
      .poll(() => (kind === 'sent' ? heard.outcomes().slice(-1) : heard.outcomes().filter((each) => each !== 'sent')), { timeout: 5000 })
      .toEqual([kind])
  for (const [behaviour, reason] of Object.entries(front.lacks ?? {})) matrix.lacks(column, behaviour as Behaviour, reason)
  /** A test of this behaviour, unless the web server lacks it. */
  const proves = (behaviour: Behaviour, title: string, body: () => Promise<void>): void => {
    if (front.lacks?.[behaviour] === undefined) test(title, matrix.proves(column, behaviour, body))
  }

  proves('GET', 'GET, again and again', async () => {
    for (let i = 0; i < 30; i++) {
      const got = await get('/')
      expect(got).toMatchObject({ status: 200, whole: true })
      if (front.noLength !== true) expect(got.headers['content-length']).toBe('5')
      expect(got.body.toString()).toBe('hello')
    }
    await expect.poll(() => heard.outcomes(), { timeout: 5000 }).toHaveLength(30)
    expect(heard.outcomes().every((each) => each === 'sent')).toBe(true)
  })

  proves('HEAD', 'HEAD', async () => {
    const got = await get('/', { method: 'HEAD' })
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(got.body).toHaveLength(0)
    expect((await get('/')).body.toString()).toBe('hello')
  })

  proves('facts of the request', 'what it says about the request', async () => {
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

  for (const length of [0, 1, 5000, 65_528, 65_536, 1_000_000, 10 * MiB]) {
    proves('POST, up to 10 MiB', `POST of ${length} bytes`, async () => {
      const body = pattern(length)
      const got = await get('/echo', { method: 'POST', body, headers: { 'Content-Type': 'application/octet-stream' } })
      expect(got.body.toString()).toBe(`POST ${length} ${md5(body)}`)
    })
  }

  proves('POST, chunked', 'POST of a length that nobody knew', async () => {
    const body = pattern(300_000)
    const got = await get('/echo', { method: 'POST', body, chunked: true, headers: { 'Content-Type': 'application/octet-stream' } })
    expect(got.body.toString()).toBe(`POST 300000 ${md5(body)}`)
  })

  proves('body that nobody reads', 'a body that the application does not read', async () => {
    expect((await get('/', { method: 'POST', body: pattern(3 * MiB) })).status).toBe(200)
    expect((await get('/')).body.toString()).toBe('hello')
  })

  const large = front.download ?? 64 * MiB
  proves('large download', `${large / MiB} MiB`, async () => {
    expect(await get(`/sized?bytes=${large}`, { count: true })).toMatchObject({ status: 200, whole: true, received: large })
  })

  for (const path of ['/big', '/sized']) {
    proves('slow reader', `20 MiB of ${path} with a slow reader`, async () => {
      const got = await get(`${path}?bytes=${20 * MiB}`, { pause: 200 })
      expect(got).toMatchObject({ status: 200, whole: true })
      expect(got.body).toHaveLength(20 * MiB)
      const block = pattern(65_536)
      for (let from = 0; from < got.body.length; from += block.length)
        expect(got.body.compare(block, 0, 65_536, from, from + 65_536)).toBe(0)
      if (front.hurries !== true) await outcome('sent')
    })
  }

  proves('304 and 204', '304 and 204', async () => {
    expect(await get('/not-modified')).toMatchObject({ status: 304, whole: true, headers: { etag: '"a"' } })
    expect(await get('/empty')).toMatchObject({ status: 204, whole: true })
  })

  proves('redirect', 'a redirect', async () => {
    const { status, headers } = await get('/redirect')
    expect(status).toBe(302)
    expect(headers.location).toMatch(/\/elsewhere\?a=b$/)
  })

  proves('50 cookies', '50 cookies stay 50', async () => {
    expect((await get('/cookies')).headers['set-cookie']).toHaveLength(50)
  })

  proves('64 KB of variables', '64 KB of variables', async () => {
    const headers = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(7900)]))
    expect((await get('/variables', { headers })).body.toString()).toBe('63200')
  })

  proves('standard error', 'what is said on stderr is in its log', async () => {
    expect((await get('/stderr')).body.toString()).toBe('ok')
    await expect.poll(() => logsOf(folder.path, front.name)).toContain('said on stderr')
  })

  proves('failure before the head', 'an application that fails before its head is 500, without a word about why', async () => {
    const got = await get('/throws')
    expect(got).toMatchObject({ status: 500, whole: true })
    expect(got.body.toString()).not.toContain('secret')
    await outcome('failed')
    expect((await get('/')).body.toString()).toBe('hello')
  })

  proves('half an answer is never whole', 'an answer that breaks off is never whole', async () => {
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

  proves('client that leaves', 'a client that leaves is heard of, and the next one is served', async () => {
    await get('/ticking', { leaveAfter: 2000 })
    await outcome('cut')
    expect(heard.aborted()).toEqual(['/ticking'])
    expect((await get('/')).body.toString()).toBe('hello')
  })

  proves('many at once', 'many at once', async () => {
    const all = await Promise.all(
      Array.from({ length: front.together ?? 40 }, (_, i) => get(i % 2 === 0 ? '/slow' : `/sized?bytes=${i * 10_000}`)),
    )
    for (const [i, got] of all.entries()) expect(got.body.length, String(i)).toBe(i % 2 === 0 ? 5 : i * 10_000)
  })
}

/** Stands between a web server and the application: counts connections, and what the web server says on them. */
async function counting(
  server: FastCgiServer,
): Promise<{ address: Address; connections: number; begun: number; asked: number; close(): void }> {
  const counts = { connections: 0, begun: 0, asked: 0 }
  const between = createServer((socket) => {
    counts.connections++
    const decoder = new RecordDecoder({
      data() {},
      end() {},
      record: (type) => {
        if (type === Type.BeginRequest) counts.begun++
        else if (type === Type.GetValues) counts.asked++
      },
    })
    const { address } = server
    const onwards = 'path' in address ? connect(address.path) : connect(address.port, address.host)
    socket.on('data', (bytes: Buffer) => decoder.push(bytes))
    socket.pipe(onwards).pipe(socket)
    for (const each of [socket, onwards]) each.on('error', () => {})
  })
  await new Promise<void>((resolve) => between.listen(0, '127.0.0.1', resolve))
  const { port } = between.address() as { port: number }
  return Object.assign(counts, { address: { host: '127.0.0.1', port }, close: () => void between.close() })
}

function keeps(column: Peer, front: Front): void {
  test(
    'keeps connections from one request to the next',
    matrix.proves(column, 'kept connections', async () => {
      await using server = await serveFastCgi(application, { mount: '/', log: silent, listen: { port: 0 } })
      const between = await counting(server)
      const peer = await front.start(folder.path, between.address)
      try {
        for (let i = 0; i < 20; i++) expect((await ask(peer.address.port, '/')).body.toString()).toBe('hello')
        expect(between.begun).toBe(20)
        // One a process or thread of the web server.
        expect(between.connections).toBeLessThan(10)
      } finally {
        await peer.stop()
        between.close()
      }
    }),
  )
}

const ANY_END = 'it takes any end for the end: only a Content-Length tells'
const NO_FILTER = 'no web server but viaduct asks for a Filter'
const NO_AUTHORIZER = 'it asks for Responders only'
const ONE = 'it has one request at a time on a connection'
const NO_VALUES = 'it never asks for values'
const NO_START = 'it starts no programs'

function lacking(column: Peer, lacks: Partial<Record<Behaviour, string>>): void {
  for (const [behaviour, reason] of Object.entries(lacks)) matrix.lacks(column, behaviour as Behaviour, reason)
}

lacking('nginx', {
  'many requests on a connection': ONE,
  GET_VALUES: NO_VALUES,
  'starts the program': NO_START,
  Authorizer: NO_AUTHORIZER,
  Filter: NO_FILTER,
})
describe.skipIf(!has('nginx'))('nginx', () => {
  describe('with a connection a request', () => {
    behind('nginx', nginx('nginx', ''))
  })
  const kept = nginx('nginx-kept', 'fastcgi_keep_conn on;', 'keepalive 4;')
  describe('with kept connections', () => {
    behind('nginx', kept)
  })
  keeps('nginx', { ...kept, name: 'nginx-few' })
  describe('without buffering, by TCP', () => {
    const unbuffered = 'fastcgi_buffering off; fastcgi_request_buffering off; fastcgi_keep_conn on;'
    behind('nginx', nginx('nginx-stream', unbuffered, 'keepalive 4;', { download: 1024 * MiB }), {
      listen: { port: 0 },
      allow: ['127.0.0.1'],
    })
  })
})

lacking('Apache mod_proxy_fcgi', {
  'many requests on a connection': ONE,
  GET_VALUES: NO_VALUES,
  'starts the program': NO_START,
  Filter: NO_FILTER,
})
describe.skipIf(!has('apache2'))('Apache, mod_proxy_fcgi', () => {
  describe('with a connection a request', () => {
    behind('Apache mod_proxy_fcgi', apache('apache', ''))
  })
  const kept = apache('apache-kept', 'enablereuse=on max=20')
  describe('with kept connections, by TCP', () => {
    behind('Apache mod_proxy_fcgi', kept, { listen: { port: 0 } })
  })
  keeps('Apache mod_proxy_fcgi', { ...kept, name: 'apache-few' })

  test(
    'asks an Authorizer, through mod_authnz_fcgi',
    matrix.proves('Apache mod_proxy_fcgi', 'Authorizer', async () => {
      await using server = await serveFastCgi({ responder: application, authorizer }, { mount: '/', log: silent, listen: { port: 0 } })
      const peer = await apacheAuthorizer('apache-authorizer').start(folder.path, server.address)
      try {
        const denied = await ask(peer.address.port, PRIVATE)
        expect(denied).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Basic realm="test"' } })
        expect((await ask(peer.address.port, PRIVATE, { headers: asAda })).body.toString()).toBe('ada 2')
        expect((await ask(peer.address.port, '/')).body.toString()).toBe('hello')
      } finally {
        await peer.stop()
      }
    }),
  )
})

lacking('Apache mod_fcgid', {
  'many requests on a connection': ONE,
  GET_VALUES: NO_VALUES,
  'kept connections': 'it opens a connection a request',
  Filter: NO_FILTER,
})
describe.skipIf(!has('apache2') || !existsSync('/usr/lib/apache2/modules/mod_fcgid.so'))('Apache, mod_fcgid', () => {
  const heard = join(folder.path, 'fcgid-heard')
  behind(
    'Apache mod_fcgid',
    fcgid('fcgid', BEHIND, heard, '', { together: 8, lacks: { 'half an answer is never whole': ANY_END } }),
    {},
    heard,
  )

  test(
    'asks an Authorizer',
    matrix.proves('Apache mod_fcgid', 'Authorizer', async () => {
      const peer = await fcgidAuthorizer('fcgid-authorizer', BEHIND, heard).start(folder.path, undefined)
      try {
        expect(await ask(peer.address.port, PRIVATE)).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Basic realm="test"' } })
        const headers = { 'X-Ticket': 'ada', 'Variable-AUTH_LEVEL': '9', 'Auth-Level': '9' }
        expect((await ask(peer.address.port, PRIVATE, { headers })).body.toString()).toBe('ada 2')
      } finally {
        await peer.stop()
      }
    }),
  )

  // It can do nothing else: every test above was one of this.
  test(
    'starts the program',
    matrix.proves('Apache mod_fcgid', 'starts the program', () => expect(existsSync(heard)).toBe(true)),
  )
})

lacking('lighttpd', {
  'many requests on a connection': ONE,
  GET_VALUES: NO_VALUES,
  'kept connections': 'it opens a connection a request',
  Filter: NO_FILTER,
})
describe.skipIf(!has('lighttpd'))('lighttpd', () => {
  describe('by a unix socket', () => {
    behind(
      'lighttpd',
      lighttpd('lighttpd', 0, {
        'half an answer is never whole': 'while it collects an answer it takes any end for the end: only a Content-Length tells',
        'client that leaves': 'while it collects an answer the client gets nothing to leave from',
      }),
    )
  })
  describe('streaming, by TCP', () => {
    const lacks = { 'POST, chunked': 'without a length it asks for one: 411' }
    behind('lighttpd', lighttpd('lighttpd-stream', 1, lacks, { download: 1024 * MiB }), { listen: { port: 0 } })
  })

  test(
    'asks an Authorizer',
    matrix.proves('lighttpd', 'Authorizer', async () => {
      const path = join(folder.path, 'authorizer.sock')
      await using server = await serveFastCgi({ responder: application, authorizer }, { mount: '/', log: silent, listen: { path } })
      const peer = await lighttpdAuthorizer('lighttpd-authorizer').start(folder.path, server.address)
      try {
        const denied = await ask(peer.address.port, PRIVATE)
        expect(denied).toMatchObject({ status: 401, headers: { 'www-authenticate': 'Basic realm="test"' } })
        expect(denied.body.toString()).toBe('who are you?')
        expect((await ask(peer.address.port, PRIVATE, { headers: asAda })).body.toString()).toBe('ada 2')
        expect((await ask(peer.address.port, '/')).body.toString()).toBe('hello')
      } finally {
        await peer.stop()
      }
    }),
  )

  test(
    'starts the program',
    matrix.proves('lighttpd', 'starts the program', async () => {
      const program = fixture('program.mjs')
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
    }),
  )
})

lacking('Caddy', {
  'many requests on a connection': ONE,
  GET_VALUES: NO_VALUES,
  'kept connections': 'it opens a connection a request',
  'starts the program': NO_START,
  Authorizer: NO_AUTHORIZER,
  Filter: NO_FILTER,
})
describe.skipIf(!has('caddy'))('Caddy', () => {
  describe('by a unix socket', () => {
    behind(
      'Caddy',
      caddy('caddy', {
        lacks: {
          'standard error': 'version 2.6 takes it and logs nothing of it, with capture_stderr too',
          'half an answer is never whole': ANY_END,
        },
      }),
    )
  })
})

lacking('HAProxy', { 'starts the program': NO_START, Authorizer: NO_AUTHORIZER, Filter: NO_FILTER })
describe.skipIf(!has('haproxy'))('HAProxy', () => {
  const lacks = {
    'POST, chunked': 'a body without a length has to fit into its buffer, of 16 KiB',
    '64 KB of variables': 'a request has to fit into its buffer, of 16 KiB',
  }
  const shared = 'option keep-conn\n  option mpxs-conns\n  option get-values\n  option max-reqs 100'
  describe('with a connection a request', () => {
    behind('HAProxy', haproxy('haproxy', 'no option keep-conn', { lacks }))
  })
  describe('multiplexing', () => {
    behind('HAProxy', haproxy('haproxy-mpx', shared, { lacks }))
  })
  keeps('HAProxy', haproxy('haproxy-kept', 'option keep-conn'))

  // Only for those: with such a buffer it writes records of bodies that are longer than it says.
  test(
    '64 KB of variables, with a larger buffer',
    matrix.proves('HAProxy', '64 KB of variables', async () => {
      await using server = await serveFastCgi(application, { mount: '/', log: silent, listen: { port: 0 } })
      const peer = await haproxy('haproxy-large', shared, {}, 131_072).start(folder.path, server.address)
      try {
        const headers = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`X-Header-${i}`, 'v'.repeat(7900)]))
        expect((await ask(peer.address.port, '/variables', { headers })).body.toString()).toBe('63200')
      } finally {
        await peer.stop()
      }
    }),
  )

  // Then it has a length. A larger one it refuses itself, with 400.
  test(
    'POST of a length that nobody knew, which fits into its buffer',
    matrix.proves('HAProxy', 'POST, chunked', async () => {
      await using server = await serveFastCgi(application, { mount: '/', log: silent, listen: { port: 0 } })
      const peer = await haproxy('haproxy-chunked', shared, {}, undefined, 'option http-buffer-request').start(folder.path, server.address)
      try {
        const body = pattern(10_000)
        const got = await ask(peer.address.port, '/echo', { method: 'POST', body, chunked: true })
        expect(got.body.toString()).toBe(`POST 10000 ${md5(body)}`)
      } finally {
        await peer.stop()
      }
    }),
  )

  const few = async (check: (between: Awaited<ReturnType<typeof counting>>) => void, name: string): Promise<void> => {
    await using server = await serveFastCgi(application, { mount: '/', log: silent, listen: { port: 0 } })
    const between = await counting(server)
    const peer = await haproxy(name, shared).start(folder.path, between.address)
    try {
      // The first one brings the answer to GET_VALUES, after which it knows.
      await ask(peer.address.port, '/')
      const all = await Promise.all(Array.from({ length: 50 }, () => ask(peer.address.port, '/slow')))
      expect(all.map((each) => each.body.toString())).toEqual(Array.from({ length: 50 }, () => 'slept'))
      check(between)
    } finally {
      await peer.stop()
      between.close()
    }
  }
  test(
    'puts many requests on few connections',
    matrix.proves('HAProxy', 'many requests on a connection', () =>
      few(({ connections }) => expect(connections).toBeLessThan(10), 'haproxy-few'),
    ),
  )
  test(
    'asks for values first',
    matrix.proves('HAProxy', 'GET_VALUES', () => few(({ asked }) => expect(asked).toBeGreaterThan(0), 'haproxy-values')),
  )
})

// ---- programs that ask, without a web server

interface Ran {
  readonly code: number | null
  readonly stdout: Buffer
  readonly stderr: string
}

/** Runs a program to its end; `slow` reads its output late. */
async function run(
  command: string,
  args: readonly string[],
  env: Record<string, string>,
  stdin: Uint8Array = Buffer.alloc(0),
  slow = 0,
): Promise<Ran> {
  const child = spawn(command, args, { env: { REQUEST_METHOD: 'GET', ...env }, stdio: ['pipe', 'pipe', 'pipe'] })
  const stdout: Buffer[] = []
  let stderr = ''
  const closed = once(child, 'close')
  child.stderr.on('data', (bytes) => (stderr += String(bytes)))
  child.stdin.on('error', () => {})
  child.stdin.end(stdin)
  if (slow > 0) await new Promise((resolve) => setTimeout(resolve, slow))
  child.stdout.on('data', (bytes: Buffer) => stdout.push(bytes))
  const [code] = (await closed) as [number | null]
  return { code, stdout: Buffer.concat(stdout), stderr }
}

const proves = (column: Peer, behaviour: Behaviour, title: string, body: () => unknown): void =>
  test(title, matrix.proves(column, behaviour, body))
const outcome = (kind: string): Promise<void> => expect.poll(() => here.outcomes(), { timeout: 5000 }).toEqual([kind])
const bodyOf = (out: Buffer): Buffer => out.subarray(out.indexOf('\r\n\r\n') + 4)

const EACH = 'it is started for one request'
lacking('cgi-fcgi', {
  'POST, chunked': 'a CGI program gets no body without a length',
  'kept connections': EACH,
  'many requests on a connection': EACH,
  GET_VALUES: NO_VALUES,
  Authorizer: NO_AUTHORIZER,
  Filter: NO_FILTER,
})
describe.skipIf(!has('cgi-fcgi'))('cgi-fcgi', () => {
  const path = join(folder.path, 'cgi-fcgi.sock')
  let server: FastCgiServer
  beforeAll(async () => {
    server = await serveFastCgi(application, { mount: '/', log: silent, listen: { path } })
  })
  afterAll(() => server.close(1000))
  const get = (pathInfo: string, env: Record<string, string> = {}, stdin?: Uint8Array, slow?: number): Promise<Ran> =>
    run('cgi-fcgi', ['-bind', '-connect', path], { PATH_INFO: pathInfo, SCRIPT_NAME: '', ...env }, stdin, slow)

  proves('cgi-fcgi', 'GET', 'GET, by a unix socket and by TCP', async () => {
    expect((await get('/')).stdout.toString()).toMatch(/^Status: 200 OK\r\n[^]*\r\n\r\nhello$/)
    await using tcp = await serveFastCgi(application, { listen: { port: 0 }, allow: ['127.0.0.0/8'] })
    const { stdout } = await run('cgi-fcgi', ['-bind', '-connect', at(tcp.address)], { PATH_INFO: '/facts', SCRIPT_NAME: '/app' })
    expect(stdout.toString()).toContain('"scriptName":"/app","pathInfo":"/facts"')
  })
  proves('cgi-fcgi', 'HEAD', 'HEAD', async () =>
    expect((await get('/', { REQUEST_METHOD: 'HEAD' })).stdout.toString()).toMatch(/Content-Length: 5\r\n\r\n$/),
  )
  proves('cgi-fcgi', 'facts of the request', 'what it says about the request', async () => {
    const { stdout } = await get('/facts', { QUERY_STRING: 'a=b', REQUEST_URI: '/facts?a=b', HTTP_HOST: 'a', REMOTE_ADDR: '192.0.2.1' })
    expect(JSON.parse(bodyOf(stdout).toString())).toMatchObject({
      target: '/facts?a=b',
      queryString: 'a=b',
      HTTP_HOST: 'a',
      remote: '192.0.2.1',
    })
  })
  proves('cgi-fcgi', 'POST, up to 10 MiB', 'POST', async () => {
    for (const length of [0, 1, 65_536, 10 * MiB]) {
      const body = pattern(length)
      const { stdout } = await get('/echo', { REQUEST_METHOD: 'POST', CONTENT_LENGTH: String(length) }, body)
      expect(bodyOf(stdout).toString()).toBe(`POST ${length} ${md5(body)}`)
    }
  })
  proves('cgi-fcgi', 'body that nobody reads', 'a body that nobody reads', async () => {
    const { stdout } = await get('/', { REQUEST_METHOD: 'POST', CONTENT_LENGTH: String(3 * MiB) }, pattern(3 * MiB))
    expect(bodyOf(stdout).toString()).toBe('hello')
  })
  proves('cgi-fcgi', 'large download', '64 MiB', async () =>
    expect(bodyOf((await get('/sized', { QUERY_STRING: `bytes=${64 * MiB}` })).stdout)).toHaveLength(64 * MiB),
  )
  proves('cgi-fcgi', 'slow reader', 'a slow reader', async () => {
    const { stdout } = await get('/big', { QUERY_STRING: `bytes=${20 * MiB}` }, undefined, 200)
    expect(bodyOf(stdout)).toHaveLength(20 * MiB)
    await outcome('sent')
  })
  proves('cgi-fcgi', '304 and 204', '304 and 204', async () => {
    expect((await get('/not-modified')).stdout.toString()).toBe('Status: 304 Not Modified\r\nETag: "a"\r\n\r\n')
    expect((await get('/empty')).stdout.toString()).toBe('Status: 204 No Content\r\n\r\n')
  })
  proves('cgi-fcgi', 'redirect', 'a redirect', async () =>
    expect((await get('/redirect')).stdout.toString()).toMatch(/^Status: 302 Found\r\n[^]*ocation: \/elsewhere\?a=b\r\n/),
  )
  proves('cgi-fcgi', '50 cookies', '50 cookies', async () =>
    expect((await get('/cookies')).stdout.toString().match(/^Set-Cookie: /gm)).toHaveLength(50),
  )
  proves('cgi-fcgi', '64 KB of variables', '64 KB of variables', async () => {
    const env = Object.fromEntries(Array.from({ length: 8 }, (_, i) => [`HTTP_X_${i}`, 'v'.repeat(8000)]))
    expect(bodyOf((await get('/variables', env)).stdout).toString()).toBe('64000')
  })
  proves('cgi-fcgi', 'standard error', 'STDERR', async () => expect((await get('/stderr')).stderr).toBe('said on stderr é\n'))
  proves('cgi-fcgi', 'failure before the head', 'a failure before the head', async () => {
    const { code, stdout } = await get('/throws')
    expect(stdout.toString()).toMatch(/^Status: 500 /)
    expect(code).toBe(1)
  })
  proves('cgi-fcgi', 'half an answer is never whole', 'half an answer', async () => {
    const { code } = await get('/broken')
    expect(code).not.toBe(0)
    await outcome('failed')
  })
  proves('cgi-fcgi', 'client that leaves', 'a client that leaves', async () => {
    const child = spawn('cgi-fcgi', ['-bind', '-connect', path], {
      env: { REQUEST_METHOD: 'GET', SCRIPT_NAME: '', PATH_INFO: '/ticking' },
      stdio: ['ignore', 'pipe', 'ignore'],
    })
    await once(child.stdout, 'data')
    child.kill('SIGKILL')
    await outcome('cut')
    expect(here.aborted()).toEqual(['/ticking'])
  })
  proves('cgi-fcgi', 'many at once', 'many at once', async () => {
    const all = await Promise.all(Array.from({ length: 10 }, () => get('/slow')))
    expect(all.map(({ stdout }) => bodyOf(stdout).toString())).toEqual(Array.from({ length: 10 }, () => 'slept'))
  })
  proves('cgi-fcgi', 'starts the program', 'starts the program', async () => {
    const started = join(folder.path, 'cgi-fcgi-started.sock')
    // It stays, for others to be asked by: so its pid has to be found out by asking.
    await promisify(execFile)(
      'sh',
      ['-c', `exec "$@" </dev/null >/dev/null 2>&1`, 'sh', 'cgi-fcgi', '-start', '-connect', started, fixture('program.sh'), '1'],
      {
        env: { PATH: process.env['PATH'], NODE: process.execPath },
      },
    )
    await using client = fastcgi({ address: { path: started } })
    const pid = Number((await client(makeRequest({ target: '/' }))).body)
    expect(pid).toBeGreaterThan(1)
    process.kill(pid, 'SIGTERM')
  })
})

const OTHER = 'it was written for the roles that hardly any web server asks for'
lacking('C on fastcgi.h', Object.fromEntries(BEHAVIOURS.map((behaviour) => [behaviour, OTHER])))
describe.skipIf(!has('gcc'))('a client in C', () => {
  const path = join(folder.path, 'c.sock')
  const program = join(folder.path, 'client')
  let server: FastCgiServer
  let calls = 0
  const filter: Filter = async (request) => {
    calls++
    if (request.queryString === 'cached') return text(200, `as of ${request.filterData.lastModified}`)
    const asked = (await collect(request.body)).toString()
    const file = (await collect(request.filterData.body)).toString()
    request.errors.write(`filtered ${request.filterData.length}\n`)
    return text(200, asked + file.toUpperCase())
  }
  beforeAll(async () => {
    await promisify(execFile)('gcc', ['-O1', '-o', program, fixture('client.c')])
    server = await serveFastCgi({ responder: application, authorizer, filter }, { mount: '/', log: silent, listen: { path } })
  })
  afterAll(() => server.close(1000))
  const RESPONDER = '1'
  const AUTHORIZER = '2'
  const FILTER = '3'
  const get = (role: string, env: Record<string, string> = {}, stdin?: Uint8Array, file?: string): Promise<Ran> =>
    run(program, [path, role, ...(file === undefined ? [] : [file])], { SCRIPT_NAME: '', PATH_INFO: '/', ...env }, stdin)

  proves('C on fastcgi.h', 'GET', 'a Responder', async () => {
    const { code, stdout } = await get(RESPONDER)
    expect(stdout.toString()).toBe('Status: 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n\r\nhello')
    expect(code).toBe(0)
  })
  proves('C on fastcgi.h', 'POST, up to 10 MiB', 'a body', async () => {
    const body = pattern(10 * MiB)
    const { stdout } = await get(RESPONDER, { REQUEST_METHOD: 'POST', PATH_INFO: '/echo', CONTENT_LENGTH: String(body.length) }, body)
    expect(bodyOf(stdout).toString()).toBe(`POST ${body.length} ${md5(body)}`)
  })
  proves('C on fastcgi.h', 'POST, chunked', 'a body without a length', async () => {
    const body = pattern(300_000)
    const { stdout } = await get(RESPONDER, { REQUEST_METHOD: 'POST', PATH_INFO: '/echo' }, body)
    expect(bodyOf(stdout).toString()).toBe(`POST 300000 ${md5(body)}`)
  })
  proves('C on fastcgi.h', 'half an answer is never whole', 'half an answer', async () =>
    expect((await get(RESPONDER, { PATH_INFO: '/broken' })).code).toBe(92),
  )

  // FastCGI 1.0, 6.3: neither SCRIPT_NAME nor PATH_INFO.
  const who = { REQUEST_URI: '/private/who', PATH_INFO: '' }
  proves('C on fastcgi.h', 'Authorizer', 'an Authorizer that allows', async () => {
    const { code, stdout } = await get(AUTHORIZER, { ...who, HTTP_AUTHORIZATION: asAda.Authorization })
    expect(stdout.toString()).toBe('Status: 200 OK\r\nVariable-REMOTE_USER: ada\r\nVariable-AUTH_LEVEL: 2\r\n\r\n')
    expect(code).toBe(0)
  })
  proves('C on fastcgi.h', 'Authorizer', 'an Authorizer that denies', async () => {
    const { stdout } = await get(AUTHORIZER, who)
    expect(stdout.toString()).toMatch(/^Status: 401 Unauthorized\r\n[^]*WWW-Authenticate: Basic realm="test"\r\n[^]*\r\n\r\nwho are you\?$/)
  })

  const file = join(folder.path, 'file.txt')
  proves('C on fastcgi.h', 'Filter', 'a Filter of a file', async () => {
    writeFileSync(file, 'a file\n')
    const { code, stdout, stderr } = await get(FILTER, { CONTENT_LENGTH: '4' }, Buffer.from('and '), file)
    expect(bodyOf(stdout).toString()).toBe('and A FILE\n')
    expect(stderr).toBe('filtered 7\nDATA 7\n')
    expect(code).toBe(0)
  })
  proves('C on fastcgi.h', 'Filter', 'a Filter that answers from its cache before the file is sent', async () => {
    writeFileSync(file, Buffer.alloc(64 * MiB, 'x'))
    const { stdout, stderr } = await get(FILTER, { QUERY_STRING: 'cached' }, undefined, file)
    expect(bodyOf(stdout).toString()).toMatch(/^as of \d{10}$/)
    expect(Number(/DATA (\d+)/.exec(stderr)?.[1])).toBeLessThan(16 * MiB)
  })
  proves('C on fastcgi.h', 'Filter', 'a Filter of a file that has changed meanwhile', async () => {
    writeFileSync(file, 'short')
    for (const length of ['4', '6']) {
      const { stdout } = await get(FILTER, { FCGI_DATA_LENGTH: length }, undefined, file)
      expect(stdout.toString()).toMatch(/^Status: 502 /)
    }
    expect(calls).toBeGreaterThan(2)
  })
})

// ---- programs that are started

const answers = async (path: string): Promise<void> => {
  await listens({ path })
  await using client = fastcgi({ address: { path } })
  const response = await client(makeRequest({ target: '/echo', method: 'POST', body: pattern(100_000) }))
  expect(Buffer.from(response.body as Uint8Array).toString()).toBe('POST 100000')
}

const stops = async (child: ChildProcess): Promise<void> => {
  const gone = once(child, 'exit')
  child.kill('SIGTERM')
  expect(await gone).toEqual([0, null])
}

describe('a program that inherits its listening socket', () => {
  const program = fixture('program.mjs')

  test.skipIf(!has('spawn-fcgi'))('from spawn-fcgi', async () => {
    const path = join(folder.path, 'spawned.sock')
    const child = spawn('spawn-fcgi', ['-n', '-s', path, '--', process.execPath, program], { stdio: 'ignore' })
    try {
      await answers(path)
    } finally {
      await stops(child)
    }
  })

  test.skipIf(!has('spawn-fcgi')).each([
    ['127.0.0.1', undefined, true],
    ['127.0.0.1', '192.0.2.1, 127.0.0.1', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['::1', '::1', true],
    ['::1', '127.0.0.1,1::1', false],
  ])('from spawn-fcgi, at %s with FCGI_WEB_SERVER_ADDRS %j: %s', async (host, allowed, taken) => {
    const port = await freePort(host)
    const env = { PATH: process.env['PATH'], ...(allowed !== undefined && { FCGI_WEB_SERVER_ADDRS: allowed }) }
    const child = spawn('spawn-fcgi', ['-n', '-a', host, '-p', String(port), '--', process.execPath, program], { stdio: 'ignore', env })
    try {
      await listens({ host, port })
      await using client = fastcgi({ address: { host, port } })
      const response = Promise.resolve(client(makeRequest({ target: '/' })))
      if (taken) expect((await response).status).toBe(200)
      else await expect(response).rejects.toMatchObject({ status: 502 })
    } finally {
      await stops(child)
    }
  })

  test.skipIf(!has('systemd-socket-activate'))('from systemd', async () => {
    const path = join(folder.path, 'systemd.sock')
    const child = spawn('systemd-socket-activate', ['-l', path, process.execPath, program], { stdio: ['ignore', 'ignore', 'ignore'] })
    try {
      await answers(path)
    } finally {
      await stops(child)
    }
  })

  test.skipIf(!has('systemd-socket-activate'))('asks which, if systemd has several', async () => {
    const paths = ['one', 'two'].map((name) => join(folder.path, `systemd-${name}.sock`))
    const args = [...paths.flatMap((path) => ['-l', path]), '--fdname=one:two', process.execPath, program]
    const child = spawn('systemd-socket-activate', args, { stdio: ['ignore', 'ignore', 'pipe'] })
    let said = ''
    child.stderr.on('data', (chunk) => (said += String(chunk)))
    const closed = once(child, 'close')
    await expect.poll(() => paths.every((path) => existsSync(path)), { timeout: 5000 }).toBe(true)
    // It starts the program at the first connection.
    const socket = connect(paths[0]!)
    socket.on('error', () => {})
    expect(await closed).toEqual([1, null])
    socket.destroy()
    expect(said).toContain('systemd gave 2 sockets (one:two)')
  })

  test('is a CGI program too, where it has none', async () => {
    const env = {
      GATEWAY_INTERFACE: 'CGI/1.1',
      REQUEST_METHOD: 'POST',
      SCRIPT_NAME: '',
      PATH_INFO: '/echo',
      CONTENT_LENGTH: '5',
      SERVER_PROTOCOL: 'HTTP/1.1',
    }
    const { code, stdout } = await run(process.execPath, [BEHIND], env, Buffer.from('hello'))
    expect(stdout.toString()).toMatch(/^Status: 200 OK\r\n/)
    expect(bodyOf(stdout).toString()).toBe(`POST 5 ${md5(Buffer.from('hello'))}`)
    expect(code).toBe(0)
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

matrix.hold()
