import {
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readlinkSync,
  renameSync,
  rmSync,
  symlinkSync,
  unlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { execFileSync } from 'node:child_process'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { FileSlice, collect, discard, getHeader } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { staticFiles } from './static.ts'
import type { GatewayResponse } from '../core/index.ts'
import type { StaticOptions } from './static.ts'

let folder: string
let root: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-static-'))
  root = join(folder, 'root')
  mkdirSync(root)
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

const put = (path: string, content: string | Buffer = path, time?: number): void => {
  const file = join(root, path)
  mkdirSync(join(file, '..'), { recursive: true })
  writeFileSync(file, content)
  if (time !== undefined) utimesSync(file, time, time)
}

type Init = Parameters<typeof makeRequest>[0]
interface Got {
  status: number
  headers: Record<string, string>
  body: Buffer
}

async function read(response: GatewayResponse): Promise<Got> {
  const { body } = response
  const headers: Record<string, string> = {}
  for (let i = 0; i < response.headers.length; i += 2) headers[response.headers[i]!.toLowerCase()] = response.headers[i + 1]!
  const bytes =
    body === null || typeof body === 'string' || body instanceof Uint8Array
      ? Buffer.from(body ?? '')
      : await collect(body instanceof FileSlice ? body.stream() : body)
  if (response.status !== 304 && headers['content-length'] !== undefined && body !== null)
    expect(bytes).toHaveLength(Number(headers['content-length']))
  return { status: response.status, headers, body: bytes }
}

const site = (options: Partial<StaticOptions> = {}): ((target: string, init?: Init) => Promise<Got>) => {
  const files = staticFiles({ root, ...options })
  return async (target, init = {}) => read(await files(makeRequest({ target, ...init })))
}

/** Descriptors of this process that lead below the folder. */
function openFiles(): string[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`)
      return target.startsWith(folder) ? [target] : []
    } catch {
      // Closed since the listing.
      return []
    }
  })
}

describe('a file', () => {
  test('comes with its type, length, date and tag', async () => {
    put('a.html', '<p>é', 1_700_000_000)
    const { status, headers, body } = await site()('/a.html')
    expect({ status, body: body.toString() }).toEqual({ status: 200, body: '<p>é' })
    expect(headers).toEqual({
      'content-type': 'text/html; charset=utf-8',
      'last-modified': new Date(1_700_000_000_000).toUTCString(),
      etag: expect.stringMatching(/^"[0-9a-z]+-[0-9a-z]+"$/) as string,
      'accept-ranges': 'bytes',
      'content-length': '5',
    })
  })

  test.each([
    ['a.css', 'text/css; charset=utf-8'],
    ['a.js', 'text/javascript; charset=utf-8'],
    ['a.json', 'application/json'],
    ['a.svg', 'image/svg+xml'],
    ['a.PNG', 'image/png'],
    ['a', 'application/octet-stream'],
    ['a.unknown', 'application/octet-stream'],
  ])('%s is %s', async (name, type) => {
    put(name)
    expect((await site()(`/${name}`)).headers['content-type']).toBe(type)
  })

  test.each([0, 1, 65_536, 65_537, 600_000])('of %i bytes comes whole, by GET and HEAD, in parts and as unchanged', async (size) => {
    const content = Buffer.from(Array.from({ length: size }, (_, i) => i % 251))
    put('f.bin', content, 1_700_000_000)
    const get = site()
    for (let i = 0; i < 2; i++) {
      const whole = await get('/f.bin')
      expect(whole.status).toBe(200)
      expect(whole.body.equals(content)).toBe(true)
      const head = await get('/f.bin', { method: 'HEAD' })
      expect(head).toEqual({ status: 200, headers: whole.headers, body: Buffer.alloc(0) })
      expect((await get('/f.bin', { headers: { 'If-None-Match': whole.headers['etag']! } })).status).toBe(304)
      expect((await get('/f.bin', { headers: { 'If-Match': '"x"' } })).status).toBe(412)
      const beyond = await get('/f.bin', { headers: { Range: `bytes=${size}-` } })
      expect([beyond.status, beyond.headers['content-range']]).toEqual([416, `bytes */${size}`])
      if (size === 0) continue
      const last = await get('/f.bin', { headers: { Range: 'bytes=-1' } })
      expect([last.status, last.headers['content-range'], last.body]).toEqual([
        206,
        `bytes ${size - 1}-${size - 1}/${size}`,
        content.subarray(-1),
      ])
    }
    await vi.waitFor(() => expect(openFiles()).toEqual([]))
  })

  test.each([200, 300_000])('of %i bytes comes in several parts', async (size) => {
    const content = Buffer.from(Array.from({ length: size }, (_, i) => 97 + (i % 26)))
    put('f.txt', content)
    const { status, headers, body } = await site()('/f.txt', { headers: { Range: `bytes=0-4,10-14,-3` } })
    const [, boundary] = /^multipart\/byteranges; boundary=([0-9a-f]{24})$/.exec(headers['content-type']!)!
    expect(status).toBe(206)
    const part = (start: number, end: number): string =>
      `--${boundary}\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Range: bytes ${start}-${end}/${size}\r\n\r\n${content.subarray(start, end + 1).toString()}\r\n`
    expect(body.toString()).toBe(`${part(0, 4)}${part(10, 14)}${part(size - 3, size - 1)}--${boundary}--\r\n`)
    await vi.waitFor(() => expect(openFiles()).toEqual([]))
  })

  test('leaves no descriptor open when nobody wants its body', async () => {
    put('f.bin', Buffer.alloc(300_000))
    const files = staticFiles({ root, large: 0 })
    for (const Range of ['bytes=0-', 'bytes=0-1,5-6']) {
      const response = await files(makeRequest({ target: '/f.bin', headers: { Range } }))
      expect(openFiles()).toHaveLength(1)
      discard(response)
      await vi.waitFor(() => expect(openFiles()).toEqual([]))
    }
    // Cut in the middle of the parts.
    const response = await files(makeRequest({ target: '/f.bin', headers: { Range: 'bytes=0-200000,290000-' } }))
    for await (const _ of response.body as AsyncIterable<Uint8Array>) break
    discard(response)
    await vi.waitFor(() => expect(openFiles()).toEqual([]))
  })

  test.each([
    ['OPTIONS', 204],
    ['POST', 405],
    ['PUT', 405],
    ['DELETE', 405],
    ['TRACE', 405],
  ])('%s is answered %i with Allow', async (method, status) => {
    put('small.txt')
    put('large.bin', Buffer.alloc(100_000))
    for (const path of ['/small.txt', '/large.bin']) {
      const got = await site()(path, { method })
      expect([got.status, got.headers['allow']]).toEqual([status, 'GET, HEAD, OPTIONS'])
    }
    expect((await site()('/nothing', { method })).status).toBe(404)
  })

  test('is found by the bytes of its name, whether they are UTF-8 or not', async () => {
    put('grün ☃.txt', 'snow')
    writeFileSync(Buffer.concat([Buffer.from(`${root}/`), Buffer.from([0xfc, 0x2e, 0x74, 0x78, 0x74])]), 'latin')
    const get = site()
    expect((await get('/gr%C3%BCn%20%E2%98%83.txt')).body.toString()).toBe('snow')
    expect((await get('/%FC.txt')).body.toString()).toBe('latin')
    expect((await get('/gr%FCn%20%E2%98%83.txt')).status).toBe(404)
  })
})

describe('a folder', () => {
  test('is shown by its index, and asked for with a slash', async () => {
    put('index.html', 'top')
    put('sub/index.html', 'sub')
    mkdirSync(join(root, 'empty'))
    const get = site()
    expect((await get('/')).body.toString()).toBe('top')
    expect((await get('/sub/')).body.toString()).toBe('sub')
    const moved = await get('/sub?a=1&b=%2F')
    expect([moved.status, moved.headers['location']]).toEqual([301, '/sub/?a=1&b=%2F'])
    expect((await get('/empty/')).status).toBe(404)
    expect((await get('/empty')).headers['location']).toBe('/empty/')
    expect((await get('/index.html/')).status).toBe(404)
    expect((await get('/sub', { method: 'POST' })).status).toBe(308)
  })

  test('below a mount is redirected with it, and every odd byte encoded', async () => {
    mkdirSync(join(root, 'a b"<ü'))
    const get = site()
    const moved = await get('/docs/a%20b%22%3C%C3%BC', { scriptName: '/docs' })
    expect([moved.status, moved.headers['location']]).toEqual([301, '/docs/a%20b%22%3C%C3%BC/'])
    expect((await get('/docs', { scriptName: '/docs' })).headers['location']).toBe('/docs/')
  })

  test('a redirect never leads to another host', async () => {
    mkdirSync(join(root, 'evil.example'))
    const moved = await site()('//evil.example')
    expect([moved.status, moved.headers['location']]).toEqual([301, '/evil.example/'])
  })

  test('may have other names for its index', async () => {
    put('b.htm', 'b')
    expect((await site({ index: ['a.htm', 'b.htm'] })('/')).body.toString()).toBe('b')
  })
})

describe('what is not served', () => {
  test.each([
    '/.env',
    '/.git/config',
    '/sub/.htaccess',
    '/a.php',
    '/A.PHP',
    '/a.py',
    '/a.cgi',
    '/a.fcgi',
    '/a.sh',
    '/php.ini',
    '/viaduct.config.json',
    '/a.php~',
    '/a.php.bak',
  ])('%s', async (path) => {
    put(path, 'secret')
    const got = await site()(path)
    expect([got.status, got.body.length]).toEqual([404, 0])
  })

  test('nor by an encoded slash, a backslash or a NUL', async () => {
    put('sub/a.txt')
    put('sub\\a.txt')
    const get = site()
    // Known to the cache first: the look-up must not go round the check.
    expect((await get('/sub/a.txt')).status).toBe(200)
    expect((await get('/sub%2Fa.txt')).status).toBe(404)
    expect((await get('/sub%2fa.txt')).status).toBe(404)
    expect((await get('/sub%5Ca.txt')).status).toBe(404)
    expect((await get('/sub/a.txt', { pathInfo: '/sub/a.txt\0.html' })).status).toBe(404)
  })

  test('a link out of the root, unless the operator allows it', async () => {
    writeFileSync(join(folder, 'secret.txt'), 'secret')
    mkdirSync(join(folder, 'rootlike'))
    writeFileSync(join(folder, 'rootlike', 'a.txt'), 'neighbour')
    put('inside.txt', 'inside')
    symlinkSync('../secret.txt', join(root, 'out.txt'))
    symlinkSync('../rootlike', join(root, 'like'))
    symlinkSync('inside.txt', join(root, 'in.txt'))
    symlinkSync(folder, join(root, 'up'))
    symlinkSync('loop.txt', join(root, 'loop.txt'))
    const get = site()
    expect((await get('/in.txt')).body.toString()).toBe('inside')
    for (const path of ['/out.txt', '/like/a.txt', '/up/secret.txt', '/loop.txt']) expect((await get(path)).status, path).toBe(404)
    const open = site({ symlinks: true })
    expect((await open('/out.txt')).body.toString()).toBe('secret')
  })

  test('a link within the root to what is never served', async () => {
    put('config.php', 'secret')
    put('.git/config', 'secret')
    symlinkSync('config.php', join(root, 'notes.txt'))
    symlinkSync('.git', join(root, 'git'))
    writeFileSync(join(folder, 'x.php'), 'secret')
    symlinkSync('../x.php', join(root, 'x.txt'))
    for (const symlinks of [false, true]) {
      for (const path of ['/notes.txt', '/git/config', '/x.txt']) expect((await site({ symlinks })(path)).status, path).toBe(404)
    }
  })

  test('what is no regular file', async () => {
    execFileSync('mkfifo', [join(root, 'pipe.txt')])
    expect((await site()('/pipe.txt')).status).toBe(404)
  })

  test('a root that is no folder is refused at once', () => {
    put('file.txt')
    expect(() => staticFiles({ root: join(root, 'file.txt') })).toThrow(/is not a folder/)
    expect(() => staticFiles({ root: join(root, 'nothing') })).toThrow(/cannot be opened/)
  })
})

describe('a precompressed form', () => {
  const gzip = { headers: { 'Accept-Encoding': 'gzip' } }
  const both = { headers: { 'Accept-Encoding': 'gzip, br' } }

  test('is sent to those who take it, with its own tag, and everybody is told that it varies', async () => {
    put('a.css', 'plain', 1000)
    put('a.css.gz', 'zipped', 1000)
    put('a.css.br', 'brotli', 2000)
    const get = site()
    const plain = await get('/a.css')
    const zipped = await get('/a.css', gzip)
    const brotli = await get('/a.css', both)
    expect([plain, zipped, brotli].map((got) => [got.body.toString(), got.headers['content-encoding'], got.headers['vary']])).toEqual([
      ['plain', undefined, 'Accept-Encoding'],
      ['zipped', 'gzip', 'Accept-Encoding'],
      ['brotli', 'br', 'Accept-Encoding'],
    ])
    expect(brotli.headers['content-type']).toBe('text/css; charset=utf-8')
    expect(new Set([plain, zipped, brotli].map((got) => got.headers['etag'])).size).toBe(3)
    const same = await get('/a.css', { headers: { 'Accept-Encoding': 'br', 'If-None-Match': brotli.headers['etag']! } })
    expect([same.status, same.headers['vary']]).toEqual([304, 'Accept-Encoding'])
    expect((await get('/a.css', { headers: { 'If-None-Match': brotli.headers['etag']! } })).status).toBe(200)
  })

  test('of a large file is opened in its stead', async () => {
    put('a.js', Buffer.alloc(100_000, 'a'), 1000)
    put('a.js.gz', Buffer.alloc(90_000, 'z'), 1000)
    const get = site()
    expect((await get('/a.js', gzip)).body.toString('latin1', 0, 1)).toBe('z')
    expect((await get('/a.js')).body.toString('latin1', 0, 1)).toBe('a')
  })

  test('that is older than the file is not used', async () => {
    put('a.css', 'plain', 2000)
    put('a.css.gz', 'zipped', 1999)
    const got = await site()('/a.css', gzip)
    expect([got.body.toString(), got.headers['vary']]).toEqual(['plain', undefined])
  })

  test('that is a link out of the root is not used', async () => {
    writeFileSync(join(folder, 'secret'), 'secret')
    put('a.css', 'plain', 1000)
    symlinkSync('../secret', join(root, 'a.css.gz'))
    expect((await site()('/a.css', gzip)).body.toString()).toBe('plain')
  })
})

describe('the memory of small files', () => {
  test('answers at once within its age, with the same object', async () => {
    put('a.txt', 'a')
    let now = 0
    const files = staticFiles({ root, clock: () => now })
    const first = files(makeRequest({ target: '/a.txt' }))
    expect(first).toBeInstanceOf(Promise)
    const again = files(makeRequest({ target: '/a.txt' }))
    await first
    await again
    const hit = files(makeRequest({ target: '/a.txt' }))
    expect(hit).not.toBeInstanceOf(Promise)
    expect(hit).toBe(await first)
    now = 999
    expect(files(makeRequest({ target: '/a.txt' }))).toBe(hit)
    now = 1000
    const checked = files(makeRequest({ target: '/a.txt' }))
    expect(checked).toBeInstanceOf(Promise)
    expect(await checked).toBe(hit)
  })

  test('answers a folder by its index at once as well', async () => {
    put('index.html', 'top')
    const files = staticFiles({ root, clock: () => 0 })
    await files(makeRequest({ target: '/' }))
    expect(files(makeRequest({ target: '/' }))).not.toBeInstanceOf(Promise)
  })

  test.each<[string, () => void, string]>([
    ['rewritten', () => put('a.txt', 'bb', 2000), 'bb'],
    ['rewritten with the same size', () => put('a.txt', 'b', 2000), 'b'],
    [
      'replaced by one of the same size and time',
      () => {
        put('new', 'b', 1000)
        renameSync(join(root, 'new'), join(root, 'a.txt'))
      },
      'b',
    ],
    ['gone', () => unlinkSync(join(root, 'a.txt')), ''],
    ['given a precompressed form', () => put('a.txt.gz', 'z', 2000), 'z'],
  ])('notices after its age that a file was %s', async (_, change, expected) => {
    put('a.txt', 'a', 1000)
    let now = 0
    const get = site({ clock: () => now })
    const init = { headers: { 'Accept-Encoding': 'gzip' } }
    expect((await get('/a.txt', init)).body.toString()).toBe('a')
    change()
    expect((await get('/a.txt', init)).body.toString()).toBe('a')
    now = 1000
    expect((await get('/a.txt', init)).body.toString()).toBe(expected)
  })

  test('notices that a link now leads out of the root', async () => {
    put('a.txt', 'a')
    writeFileSync(join(folder, 'secret.txt'), 's')
    symlinkSync('a.txt', join(root, 'link.txt'))
    let now = 0
    const get = site({ clock: () => now })
    expect((await get('/link.txt')).status).toBe(200)
    unlinkSync(join(root, 'link.txt'))
    symlinkSync('../secret.txt', join(root, 'link.txt'))
    now = 1000
    expect((await get('/link.txt')).status).toBe(404)
  })

  test('with an age of 0 asks the disk for every request', async () => {
    put('a.txt', 'a', 1000)
    const get = site({ age: 0 })
    expect((await get('/a.txt')).body.toString()).toBe('a')
    put('a.txt', 'b', 2000)
    expect((await get('/a.txt')).body.toString()).toBe('b')
  })

  test('keeps to its bounds, and forgets the oldest first', async () => {
    for (const name of ['a', 'b', 'c']) put(name, name.repeat(100))
    for (const bounds of [{ entries: 2 }, { bytes: 250 }]) {
      const files = staticFiles({ root, clock: () => 0, ...bounds })
      for (const name of ['a', 'b', 'c']) await files(makeRequest({ target: `/${name}` }))
      const known = ['a', 'b', 'c'].map((name) => !(files(makeRequest({ target: `/${name}` })) instanceof Promise))
      expect(known).toEqual([false, true, true])
    }
  })

  test('tells what it had before while a file is being replaced, never half of it', async () => {
    put('a.txt', 'a'.repeat(1000))
    const get = site({ age: 0 })
    const etags = new Map<string, string>()
    for (let i = 0; i < 50; i++) {
      const letter = String.fromCharCode(97 + (i % 26))
      put('new', letter.repeat(1000 + i), 1000 + i)
      renameSync(join(root, 'new'), join(root, 'a.txt'))
      const got = await get('/a.txt')
      const text = got.body.toString()
      expect(new Set(text).size).toBe(1)
      expect(etags.get(got.headers['etag']!) ?? text).toBe(text)
      etags.set(got.headers['etag']!, text)
    }
  })
})

test('a response is a value: nobody finds another body behind the same tag', async () => {
  put('a.txt', 'one', 1000)
  const files = staticFiles({ root, age: 0 })
  const first = await files(makeRequest({ target: '/a.txt' }))
  put('a.txt', 'two', 2000)
  const second = await files(makeRequest({ target: '/a.txt' }))
  expect(Buffer.from(first.body as Uint8Array).toString()).toBe('one')
  expect(getHeader(first.headers, 'etag')).not.toBe(getHeader(second.headers, 'etag'))
})
