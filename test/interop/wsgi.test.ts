// Python applications as people write them, through a socket: Flask, Django with its admin, and PEP 3333's own judge.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { basename, join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Log, Server } from '../../src/core/index.ts'
import { embeddedWsgi } from '../../src/embedded/index.ts'
import { serveHttp } from '../../src/http/index.ts'
import { wsgi, wsgiPool } from '../../src/wsgi/index.ts'
import type { WsgiPool, WsgiPoolOptions } from '../../src/wsgi/index.ts'
import { PYTHON, closeAll, fixture, open } from '../fixtures/wsgi/open.ts'
import { has, hasModules } from '../peers.ts'
import { until } from '../processes.ts'
import { raw } from '../http-raw.ts'
import { Browser, hiddenFields } from './peers/browser.ts'

interface Served {
  readonly port: number
  readonly server: Server
  readonly pool: WsgiPool
  readonly logged: string[]
  close(): Promise<void>
}

function serve(options: WsgiPoolOptions): Promise<Served> {
  return serveBy((log) => wsgiPool({ python: PYTHON, workers: 2, log, ...options }))
}

async function serveBy(make: (log: Log) => WsgiPool): Promise<Served> {
  const logged: string[] = []
  const line = (_: object, message: string): void => void logged.push(message)
  const log = { debug: line, info: line, warn: line, error: line }
  const pool = make(log)
  await pool.ready()
  const server = await serveHttp(pool, { log })
  const { address } = server
  return {
    port: 'port' in address ? address.port : 0,
    server,
    pool,
    logged,
    close: async () => {
      await server.close(1000)
      await pool.close(1000)
    },
  }
}

/** Everything that comes back until the server closes. */
async function ask(server: Server, method: string): Promise<string> {
  const client = await raw(server.address, `${method} / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n`)
  return client.closed
}

afterEach(closeAll)

describe.skipIf(!has('python3'))('wsgiref.validate', () => {
  test.each([
    ['/hello', 200],
    ['/environ?a=b', 200],
    ['/fields', 418],
    ['/slow', 200],
    ['/write', 200],
    ['/replaced', 503],
    ['/closing', 200],
    ['/errors', 200],
    ['/big?1000000', 200],
  ])('has nothing to say about %s', async (target, status) => {
    const { server, logged } = await open({ app: fixture('validated.py') })
    const response = await server.request({ target })
    expect([response.status, response.outcome.kind, response.errors.includes('Error')], response.errors).toEqual([status, 'sent', false])
    expect(logged()).not.toMatch(/AssertionError|Warning/)
  })

  test.each([10, 200_000])('has nothing to say about a body of %i bytes', async (length) => {
    const { server } = await open({ app: fixture('validated.py') })
    for (const how of ['pieces', 'lines', 'iterate']) {
      const response = await server.request({ method: 'POST', target: `/input?${how}`, body: 'x'.repeat(9) + '\n'.repeat(length - 9) })
      expect([response.status, response.body.toString().endsWith(`|${length}`)], response.errors).toEqual([200, true])
    }
  })
})

/** The application with Flask and what that needs beside it, as files: those of them that are Python. */
function vendored(folder: string): string {
  const code =
    'import flask, werkzeug, jinja2, click, itsdangerous, markupsafe as m; print(*(each.__path__[0] for each in (flask, werkzeug, jinja2, click, itsdangerous, m)))'
  for (const path of execFileSync(PYTHON, ['-c', code], { encoding: 'utf8' }).trim().split(' '))
    cpSync(path, join(folder, 'vendor', basename(path)), {
      recursive: true,
      dereference: true,
      filter: (file) => !/\.so$|__pycache__/.test(file),
    })
  cpSync(fixture('flask_site/app.py'), join(folder, 'app.py'))
  return join(folder, 'app.py')
}

describe.skipIf(!hasModules(PYTHON, 'flask')).each(['native', 'embedded'])('Flask, with the %s Python', (interpreter) => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-test-flask-'))
  let served: Served
  let browser: Browser
  beforeAll(async () => {
    const app = interpreter === 'native' ? fixture('flask_site/app.py') : vendored(folder)
    served = await serveBy((log) => {
      const options = { app, name: 'flask', log }
      return interpreter === 'native' ? wsgiPool({ ...options, python: PYTHON, workers: 2 }) : embeddedWsgi({ ...options, workers: 1 })
    })
    browser = new Browser(served.port)
  }, 60_000)
  afterAll(async () => {
    browser?.close()
    await served?.close()
    rmSync(folder, { recursive: true })
  })

  test('routes, and builds URLs that lead back', async () => {
    expect((await browser.get('/')).text).toBe('Hello from Flask')
    const page = await browser.get('/user/Agn%C3%A8s?q=1&q=%C3%A9')
    expect(JSON.parse(page.text)).toEqual({
      name: 'Agnès',
      url: `http://127.0.0.1:${served.port}/user/Agn%C3%A8s`,
      query: ['1', 'é'],
    })
    expect([(await browser.get('/nothing')).status, (await browser.get('/gone')).status]).toEqual([404, 410])
  })

  test('takes a form, redirects and remembers', async () => {
    expect((await browser.get('/form')).text).toBe('name is unknown')
    expect((await browser.post('/form', { name: 'Pont du Gard' })).text).toBe('name is Pont du Gard')
  })

  test.each([1000, 3_000_000])('takes an upload of %i bytes', async (length) => {
    const content = Buffer.alloc(length, '0123456789abcdef\r\n--')
    const page = await browser.upload('/upload', { note: 'ü' }, { file: { filename: 'a.bin', type: 'application/octet-stream', content } })
    expect(JSON.parse(page.text)).toEqual({ name: 'a.bin', digest: createHash('md5').update(content).digest('hex'), note: 'ü' })
  })

  test('streams with its request at hand', async () => {
    expect((await browser.get('/stream')).text).toBe('/stream 0\n/stream 1\n/stream 2\n')
    const client = await raw(served.server.address, 'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n')
    const first = await client.until('/stream 0\n')
    expect(first).not.toContain('/stream 1\n')
    await client[Symbol.asyncDispose]()
  })

  test('sends a file by wsgi.file_wrapper, and a part of it', async () => {
    const source = readFileSync(fixture('flask_site/app.py'))
    const page = await browser.get('/source')
    expect(page.body.equals(source)).toBe(true)
    expect(page.headers['etag']).toBeDefined()
    const client = await raw(served.server.address, 'GET /source HTTP/1.1\r\nHost: a\r\nRange: bytes=4-9\r\nConnection: close\r\n\r\n')
    expect(await client.closed).toMatch(/^HTTP\/1\.1 206 [^]*\r\n\r\n Flask$/)
  })

  test('shows an error page that tells nothing, and a log that tells all', async () => {
    const page = await browser.get('/error')
    expect([page.status, page.text.includes('secret')]).toEqual([500, false])
    await until(() => served.logged.some((line) => line.includes('RuntimeError: secret of the application')))
    expect(served.logged.join('\n')).toMatch(/app\.py", line \d+, in error/)
  })

  test('logs to the log', async () => {
    await browser.get('/log')
    await until(() => served.logged.some((line) => line.includes('a warning from Flask')))
  })

  test('answers HEAD with the length of GET, and OPTIONS with its methods', async () => {
    const head = await ask(served.server, 'HEAD')
    expect(head).toMatch(/\r\nContent-Length: 16\r\n/)
    expect(head.endsWith('\r\n\r\n')).toBe(true)
    expect(await ask(served.server, 'OPTIONS')).toMatch(/\r\nAllow: [^\r]*GET/)
  })
})

/**
 * The application with Bottle beside it, which is one file. Up to 0.12 it takes forms apart with a module that Python 3.13 is without:
 * then that lies there too, as the package `legacy-cgi` would bring it.
 */
function withBottle(folder: string): string {
  const code = 'import bottle, sys; print(*(m.__file__ for n, m in sys.modules.items() if n in ("bottle", "cgi")), sep="\\n")'
  for (const path of execFileSync(PYTHON, ['-W', 'ignore', '-c', code], { encoding: 'utf8' }).trim().split('\n'))
    cpSync(path, join(folder, 'vendor', basename(path)), { dereference: true })
  const forms = join(folder, 'vendor/cgi.py')
  // It refuses to be loaded where it is no part of the library any more; the package is without that line.
  if (existsSync(forms)) writeFileSync(forms, readFileSync(forms, 'utf8').replace(/^warnings\._deprecated\(.*$/m, ''))
  cpSync(fixture('bottle_site/app.py'), join(folder, 'app.py'))
  return join(folder, 'app.py')
}

test.skipIf(!hasModules(PYTHON, 'bottle'))(
  'Bottle makes the same pages with both Pythons',
  async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-test-bottle-'))
    const content = Buffer.alloc(300_000, '0123456789abcdef\r\n--')
    const pages = async (make: (log: Log) => WsgiPool): Promise<unknown[]> => {
      const served = await serveBy(make)
      const browser = new Browser(served.port)
      try {
        const told = []
        for (const path of [
          '/',
          '/user/Agn%C3%A8s?q=1&q=%C3%A9',
          '/form',
          '/source',
          '/stream',
          '/gone',
          '/teapot',
          '/nothing',
          '/error',
        ]) {
          const { status, headers, text } = await browser.get(path)
          told.push([path, status, headers['content-type'], headers['x-tea'], text.replaceAll(String(served.port), 'PORT')])
        }
        told.push((await browser.post('/form', { name: 'Pont du Gard é' })).text)
        const file = { filename: 'a.bin', type: 'application/octet-stream', content }
        told.push(JSON.parse((await browser.upload('/upload', { note: 'ü' }, { file })).text))
        await until(() => served.logged.some((line) => line.includes('secret of the application')))
        return told
      } finally {
        browser.close()
        await served.close()
      }
    }
    try {
      const app = withBottle(folder)
      const native = await pages((log) => wsgiPool({ app: fixture('bottle_site/app.py'), python: PYTHON, workers: 1, log, name: 'bottle' }))
      const embedded = await pages((log) => embeddedWsgi({ app, workers: 1, log, name: 'bottle' }))
      expect(native).toContainEqual({ name: 'a.bin', digest: createHash('md5').update(content).digest('hex'), note: 'ü' })
      expect(native).toContain('name is Pont du Gard é')
      expect(embedded).toEqual(native)
    } finally {
      rmSync(folder, { recursive: true })
    }
  },
  60_000,
)

describe.skipIf(!hasModules(PYTHON, 'django'))('Django', () => {
  const state = mkdtempSync(join(tmpdir(), 'viaduct-test-django-'))
  const site = fixture('django_site')
  let served: Served
  let browser: Browser

  beforeAll(async () => {
    const env = { ...process.env, SITE_STATE: state, DJANGO_SUPERUSER_PASSWORD: 'pont du gard', PYTHONDONTWRITEBYTECODE: '1' }
    const manage = (...args: string[]): Buffer => execFileSync(PYTHON, ['manage.py', ...args], { cwd: site, env })
    manage('migrate', '--verbosity', '0')
    manage('createsuperuser', '--noinput', '--username', 'agnes', '--email', 'agnes@example.org')
    served = await serve({ app: join(site, 'manage.py'), name: 'django', env: { SITE_STATE: state, PYTHONDONTWRITEBYTECODE: '1' } })
    browser = new Browser(served.port)
  })
  afterAll(async () => {
    browser?.close()
    await served?.close()
    rmSync(state, { recursive: true, force: true })
  })

  test('is found by its manage.py', async () => {
    expect((await browser.get('/')).text).toBe('Hello from Django')
    expect(served.logged.join('\n')).toContain('serves django mysite.settings')
    expect((await browser.get('/where/a%20b/%C3%A9?q=1')).text).toBe(
      `http://127.0.0.1:${served.port}/where/a%20b/%C3%A9?q=1 django_site /where/a b/é`,
    )
  })

  test('lets an administrator in, and nobody else', async () => {
    const form = await browser.get('/admin/')
    expect([form.path, form.text.includes('name="username"')]).toEqual(['/admin/login/?next=/admin/', true])
    const wrong = await browser.post('/admin/login/?next=/admin/', {
      ...hiddenFields(form.text, 'name="username"'),
      username: 'agnes',
      password: 'aqueduct',
    })
    expect(wrong.text).toContain('Please enter the correct username and password')
    const right = await browser.post('/admin/login/?next=/admin/', {
      ...hiddenFields(wrong.text, 'name="username"'),
      username: 'agnes',
      password: 'pont du gard',
    })
    expect([right.path, right.text.includes('Site administration')]).toEqual(['/admin/', true])
  })

  test('saves what its admin is given in SQLite', async () => {
    const form = await browser.get('/admin/auth/group/add/')
    const saved = await browser.post('/admin/auth/group/add/', {
      ...hiddenFields(form.text, 'name="name"'),
      name: 'Büilders',
      _save: 'Save',
    })
    expect(saved.text).toContain('was added successfully')
    expect((await browser.get('/admin/auth/group/')).text).toContain('Büilders')
  })

  test('refuses a form without its token', async () => {
    const stranger = new Browser(served.port)
    expect((await stranger.post('/admin/login/', { username: 'agnes', password: 'pont du gard' })).status).toBe(403)
    stranger.close()
  })

  test.each([1000, 5_000_000])('takes an upload of %i bytes', async (length) => {
    const content = Buffer.alloc(length, 'django')
    const page = await browser.upload('/upload', {}, { file: { filename: 'a.bin', type: 'text/plain', content } })
    expect(page.text).toBe(`a.bin ${length} ${createHash('md5').update(content).digest('hex')}`)
  })

  test('streams, and sends files', async () => {
    const rows = Array.from({ length: 1000 }, (_, i) => `row ${i}\n`).join('')
    expect((await browser.get('/stream')).text).toBe(rows)
    expect((await browser.get('/file')).body.equals(readFileSync(join(site, 'mysite/urls.py')))).toBe(true)
  })

  test('answers many at once, each its own', async () => {
    const pages = await Promise.all(Array.from({ length: 40 }, (_, i) => browser.get(`/where/${i}`)))
    expect(pages.map((page) => page.text.split(' ')[0])).toEqual(
      Array.from({ length: 40 }, (_, i) => `http://127.0.0.1:${served.port}/where/${i}`),
    )
  })
})

describe.skipIf(!has('python3'))('the first example', () => {
  test('says the same from Python as from TypeScript', async () => {
    const folder = new URL('../../examples/simple_app/', import.meta.url)
    const { application } = (await import(new URL('simple_app.ts', folder).href)) as { application: Parameters<typeof wsgi>[0] }
    const served = await serve({ app: new URL('wsgi.py', folder).pathname, workers: 1 })
    const own = await serveHttp(wsgi(application))
    try {
      const answers = []
      for (const server of [served.server, own]) {
        const client = await raw(server.address, 'GET /?x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
        answers.push((await client.closed).replace(/\r\nDate: [^\r]*/, ''))
      }
      expect(answers[0]).toContain('HELLO WORLD!\n')
      expect(answers[0]).toBe(answers[1])
    } finally {
      await own.close(100)
      await served.close()
    }
  })
})
