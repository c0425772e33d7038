// The demo that `npm start` serves: every link leads to a page, every form is answered, nothing that is sent comes back unescaped.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { brotliDecompressSync, gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildSite, describeFolder } from '../../src/config/index.ts'
import { serveHttp } from '../../src/http/index.ts'
import { has } from '../peers.ts'
import type { Backend, Server } from '../../src/core/index.ts'
import type { SitePlan } from '../../src/config/index.ts'

const root = fileURLToPath(new URL('../../examples/site', import.meta.url))
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info() {}, warn: note, error: note }

let plan: SitePlan
let site: Backend
let server: Server
let base: string

beforeAll(async () => {
  plan = await describeFolder(root, { workers: 2 })
  site = await buildSite(plan, { log })
  await site.ready()
  server = await serveHttp(site, { log })
  if (!('port' in server.address)) throw new Error('no port')
  base = `http://127.0.0.1:${server.address.port}`
})

afterAll(async () => {
  await server?.close(0)
  await site?.close(0)
})

const decode = (text: string): string =>
  text.replace(
    /&(amp|lt|gt|quot|larr|#39|#x27|apos);/g,
    (_, name: string) => ({ amp: '&', lt: '<', gt: '>', quot: '"', larr: '←' })[name] ?? "'",
  )

/** What lies outside of the part that shows a page's own source. */
const visible = (html: string): string => html.replace(/<details>.*<\/details>/s, '')

/** The value beside a name in a table. */
const cell = (html: string, name: string): string | undefined => {
  const found = html.split('<tr>').find((row) => row.startsWith(`<th>${name}</th>`))
  return found === undefined ? undefined : decode(/<td>(.*?)<\/td>/s.exec(found)![1]!)
}

const counts = (text: string): unknown[] => [cell(text, 'Visits by the cookie'), cell(text, 'Visits by the session')]

async function get(path: string, init: RequestInit = {}): Promise<{ status: number; headers: Headers; text: string }> {
  const response = await fetch(base + path, { redirect: 'manual', ...init })
  return { status: response.status, headers: response.headers, text: await response.text() }
}

test('every link of every page leads somewhere, and back', async () => {
  const seen = new Map<string, string>()
  const waiting = ['/']
  while (waiting.length > 0) {
    const path = waiting.pop()!
    if (seen.has(path)) continue
    const { status, headers, text } = await get(path)
    const missing = text.includes('is not installed here</h1>')
    expect(status, path).toBe(missing ? 500 : 200)
    expect(headers.get('content-type'), path).not.toBeNull()
    seen.set(path, text)
    if (!headers.get('content-type')!.startsWith('text/html')) continue
    expect(text, path).toMatch(/<title>.+<\/title>/)
    expect(text.trimEnd(), path).toMatch(/<\/html>$/)
    for (const [, link] of visible(text).matchAll(/ (?:href|src|action)="([^"]*)"/g)) {
      const url = new URL(decode(link!), base + path)
      expect(url.origin, `${link} on ${path}`).toBe(base)
      waiting.push(url.pathname + url.search)
    }
    if (path !== '/' && !missing) expect(text, path).toContain('<a class="back" href="/">')
  }
  expect(seen.size).toBeGreaterThan(25)
  expect(lines).toEqual([])
}, 60_000)

test('the table names every kind, and nothing that is here as missing', () => {
  expect(plan.entries[0]).toEqual({ path: '/', kind: 'static' })
  const php = plan.entries.find((entry) => entry.kind === 'php')
  expect(php).toMatchObject({ path: '*.php', version: expect.stringMatching(/^\d+\.\d+/) as string, workers: 2 })
  if (has('python3', 'perl')) {
    expect(plan.entries.filter((entry) => entry.kind === 'cgi')).toEqual([
      { path: '*.cgi', kind: 'cgi', interpreter: 'sh' },
      { path: '/cgi-bin/', kind: 'cgi', interpreter: 'node, perl, python3, sh' },
    ])
  }
  expect(plan.entries.find((entry) => entry.kind === 'fcgi')).toMatchObject({ path: '/counter.fcgi', interpreter: 'sh', upTo: true })
  expect(plan.entries.find((entry) => entry.kind === 'node')).toMatchObject({ path: '/node/', file: 'app.mjs', interpreter: 'node' })
  expect(plan.entries.find((entry) => entry.kind === 'wsgi')).toMatchObject({ path: '/python/', file: 'app.py', workers: 2 })
  expect(structuredClone(plan)).toEqual(plan)
})

describe('files', () => {
  test('come with a tag that is answered by 304, and in parts', async () => {
    const whole = await get('/static/')
    expect((await get('/static/', { headers: { 'If-None-Match': whole.headers.get('etag')! } })).status).toBe(304)
    const part = await get('/static/', { headers: { Range: 'bytes=0-14' } })
    expect([part.status, part.text]).toEqual([206, '<!doctype html>'])
    expect((await get('/static')).headers.get('location')).toBe('/static/')
  })

  test('come precompressed where the client takes that, and say the same', async () => {
    const text = readFileSync(`${root}/static/primes.txt`)
    expect(brotliDecompressSync(readFileSync(`${root}/static/primes.txt.br`)).equals(text)).toBe(true)
    expect(gunzipSync(readFileSync(`${root}/static/primes.txt.gz`)).equals(text)).toBe(true)
    for (const coding of ['br', 'gzip']) {
      const got = await get('/static/primes.txt', { headers: { 'Accept-Encoding': coding } })
      expect([got.headers.get('content-encoding'), got.headers.get('vary'), got.text]).toEqual([coding, 'Accept-Encoding', text.toString()])
    }
    expect((await get('/static/primes.txt', { headers: { 'Accept-Encoding': 'identity' } })).headers.get('content-encoding')).toBeNull()
  })
})

const NAME = `Zoë <b>"'&amp;`
const MESSAGE = '</textarea><script>alert(1)</script>'
const UPLOAD = Buffer.from('<script>alert(2)</script>\r\n--not a boundary\0\xff', 'latin1')

describe.each([
  ['PHP', '/php/form.php', '/php/upload.php', 'php-cgi'],
  ['Python', '/cgi-bin/form.py', '/cgi-bin/upload.py', 'python3'],
])('%s', (_, form, upload, program) => {
  test.skipIf(!has(program))('takes its form by GET and by POST', async () => {
    const fields = new URLSearchParams({ name: NAME, message: MESSAGE })
    for (const [path, init] of [
      [`${form}?${fields}`, {}],
      [form, { method: 'POST', body: fields }],
    ] as const) {
      const { status, text } = await get(path, init)
      expect(status).toBe(200)
      expect([cell(text, 'name'), cell(text, 'message')]).toEqual([NAME, MESSAGE])
      expect(visible(text)).not.toContain('<script>')
      expect(cell(text, 'CONTENT_LENGTH')).toBe('method' in init ? String(fields.toString().length) : 'none')
    }
  })

  test.skipIf(!has(program))('says what arrived with a file', async () => {
    const body = new FormData()
    body.set('file', new Blob([UPLOAD], { type: 'text/plain' }), 'a <b> & "c".txt')
    const { text } = await get(upload, { method: 'POST', body })
    expect(cell(text, 'Bytes')).toBe(String(UPLOAD.length))
    expect(cell(text, 'SHA-256')).toBe(createHash('sha256').update(UPLOAD).digest('hex'))
    expect(cell(text, 'Name')).toMatch(/^a <b> & (?:"|%22)c(?:"|%22)\.txt$/)
    expect(visible(text)).not.toContain('<script>')
    const none = new FormData()
    none.set('file', new Blob([]), '')
    expect((await get(upload, { method: 'POST', body: none })).text).toContain('No file was chosen.')
  })
})

describe.skipIf(!has('php-cgi'))('PHP', () => {
  test('counts visits in a cookie and in a session, and forgets them', async () => {
    const jar = new Map<string, string>()
    const visit = async (init: RequestInit = {}): Promise<{ status: number; text: string }> => {
      const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
      const got = await get('/php/session.php', { ...init, headers: { Cookie: cookie } })
      for (const line of got.headers.getSetCookie()) {
        const [, name, value] = /^([^=]+)=([^;]*)/.exec(line)!
        if (value === '' || value === 'deleted') jar.delete(name!)
        else jar.set(name!, value!)
      }
      return got
    }
    for (const count of ['1', '2', '3']) expect(counts((await visit()).text)).toEqual([count, count])
    expect((await visit({ method: 'POST' })).status).toBe(303)
    expect(jar.size).toBe(0)
    expect(counts((await visit()).text)).toEqual(['1', '1'])
  })

  test('is told its path in three parts that agree', async () => {
    const { text } = await get('/php/path.php/caf%C3%A9/a%20b?x')
    expect(['REQUEST_URI', 'SCRIPT_NAME', 'PATH_INFO', 'PATH_TRANSLATED'].map((name) => cell(text, name))).toEqual([
      '/php/path.php/caf%C3%A9/a%20b?x',
      '/php/path.php',
      '/café/a b',
      `${root}/café/a b`,
    ])
  })

  test('answers for paths that name no file, by the nearest index.php', async () => {
    const { status, text } = await get('/app/some/page?q=1')
    expect(status).toBe(200)
    expect([cell(text, 'REQUEST_URI'), cell(text, 'SCRIPT_NAME'), cell(text, 'Parts of the path')]).toEqual([
      '/app/some/page?q=1',
      '/app/index.php',
      'some / page',
    ])
    expect((await get('/nothing/here')).status).toBe(404)
  })
})

describe('CGI', () => {
  test('is told its path, also by way of a local redirect', async () => {
    const direct = await get('/cgi-bin/path.sh/caf%C3%A9/a%20b')
    expect([cell(direct.text, 'SCRIPT_NAME'), cell(direct.text, 'PATH_INFO')]).toEqual(['/cgi-bin/path.sh', '/café/a b'])
    const sent = await get('/cgi-bin/elsewhere.sh', { method: 'POST', body: 'x' })
    expect([sent.status, cell(sent.text, 'PATH_INFO')]).toEqual([200, '/sent/here/by/elsewhere.sh'])
  })

  test('is sent as it is written', async () => {
    const response = await fetch(`${base}/cgi-bin/stream.sh`)
    const arrived: number[] = []
    for await (const chunk of response.body!) if (Buffer.from(chunk).includes('<th>Line')) arrived.push(performance.now())
    expect(arrived.length).toBeGreaterThanOrEqual(4)
    expect(arrived.at(-1)! - arrived[0]!).toBeGreaterThan(1000)
  })

  test('escapes what a client sent', async () => {
    const { text } = await get('/cgi-bin/hello.sh?<script>', { headers: { 'X-Test': '<script>"&' } })
    expect(visible(text)).toContain('HTTP_X_TEST=&lt;script&gt;&quot;&amp;')
    expect(visible(text)).not.toContain('<script>')
  })
})

describe.skipIf(!has('python3'))('Python', () => {
  test('is an application that stays, and sees its mount, its path and its query', async () => {
    const pages: string[] = []
    for (let i = 0; i < 8; i++) pages.push((await get('/python/?a=%3Cb%3E')).text)
    expect(['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING'].map((name) => cell(pages[0]!, name))).toEqual(['/python', '/', 'a=%3Cb%3E'])
    const processes = new Set(pages.map((page) => cell(page, 'Process')))
    expect(processes.size).toBeLessThanOrEqual(2)
    expect(Math.max(...pages.map((page) => Number(cell(page, 'Pages it has made'))))).toBeGreaterThanOrEqual(4)
  })

  test('has the first application of PEP 3333, and a middleware around it', async () => {
    expect(await get('/python/hello')).toMatchObject({ status: 200, text: 'Hello world!\n' })
    expect(await get('/python/loud')).toMatchObject({ status: 200, text: 'HELLO WORLD!\n' })
    expect(await get('/python/app.py')).toMatchObject({ status: 404, text: 'There is nothing here.\n' })
    expect((await get('/python')).headers.get('location')).toBe('/python/')
  })

  test('escapes what a client sent', async () => {
    const { text } = await get('/python/?x', { headers: { 'X-Test': '<script>"&' } })
    expect(cell(text, 'HTTP_X_TEST')).toBe('<script>"&')
    expect(visible(text)).not.toContain('<script>')
  })
})

describe('a FastCGI program', () => {
  test('remembers what it has answered, and is told its path', async () => {
    const pages: string[] = []
    for (let i = 0; i < 3; i++) pages.push((await get('/counter.fcgi/a%20b?<x>')).text)
    expect(new Set(pages.map((page) => cell(page, 'Process'))).size).toBe(1)
    const answered = pages.map((page) => Number(cell(page, 'Requests it has answered')))
    expect([answered[1]! - answered[0]!, answered[2]! - answered[1]!]).toEqual([1, 1])
    expect(['SCRIPT_NAME', 'PATH_INFO'].map((name) => cell(pages[0]!, name))).toEqual(['/counter.fcgi', '/a b'])
    expect(visible(pages[0]!)).not.toContain('<x>')
  })

  test('shows its source on its page, and nowhere else', async () => {
    expect((await get('/.counter.mjs')).status).toBe(404)
    expect((await get('/counter.fcgi')).text).toContain('serveFastCgi')
  })
})

describe('JavaScript', () => {
  test('runs in this process, and is told where it is', async () => {
    const { text } = await get('/node/?<x>', { headers: { 'X-Test': '<script>' } })
    expect([cell(text, 'Process'), cell(text, 'x-test')]).toEqual([String(process.pid), '<script>'])
    expect(visible(text)).not.toContain('<script>')
    expect((await get('/node/app.mjs')).status).toBe(404)
  })

  test('streams', async () => {
    const response = await fetch(`${base}/node/ticks`)
    let pieces = 0
    for await (const _ of response.body!) pieces++
    expect(pieces).toBeGreaterThanOrEqual(3)
  })
})

test('sources, dotfiles and what is not there have a page of their own, and it tells nothing', async () => {
  for (const path of ['/cgi-bin/hello.sh~', '/.htaccess', '/php/lib/', '/nothing', '/php%2Finfo.php', '/cgi-bin/']) {
    const { status, text } = await get(path, { headers: { Accept: 'text/html' } })
    expect([path, status]).toEqual([path, 404])
    expect(text).toContain('<h1>Not Found</h1>')
  }
})
