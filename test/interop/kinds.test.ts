// Every kind of program behind one configuration and one `viaduct serve`: Flask, Django with its admin, C on libfcgi, express, fastify
// and hono; asked directly, and through nginx by FastCGI. And what happens when one of them dies, hangs, prints, or cannot be loaded.

import { execFileSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WebSocket } from 'ws'
import { MAIN, Program, alive, ask, until } from '../cli/program.ts'
import { PYTHON, fixture as python } from '../fixtures/wsgi/open.ts'
import { has, hasModules } from '../peers.ts'
import { Browser, hiddenFields } from './peers/browser.ts'
import { startNginx } from './peers/index.ts'
import type { Config } from '../../src/config/index.ts'
import type { Peer } from './peers/index.ts'

const fixture = (name: string): string => fileURLToPath(new URL(`../fixtures/${name}`, import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'viaduct-kinds-'))
const config = (name: string, value: Config): string => {
  writeFileSync(join(folder, name), JSON.stringify(value))
  return join(folder, name)
}

const hasC = has('gcc') && existsSync('/usr/include/fcgiapp.h')
const available = hasC && has('nginx') && hasModules(PYTHON, 'flask', 'django')

const opened: Program[] = []
afterAll(async () => {
  for (const program of opened) await program.end()
  rmSync(folder, { recursive: true, force: true })
})

/** `viaduct serve -c`, and the port of its HTTP listener. */
async function serve(file: string): Promise<{ program: Program; port: number; url: string }> {
  const program = new Program([MAIN, 'serve', '-c', file], { NO_COLOR: '1' }, folder)
  opened.push(program)
  const [, url] = await program.said(/(http:\/\/[^/"]+)\//)
  return { program, port: Number(new URL(url!).port), url: url! }
}

/** What the command line says of the configuration. */
const said = (...args: string[]): string =>
  execFileSync(process.execPath, [MAIN, ...args, '-c', join(folder, 'all.json')], {
    encoding: 'utf8',
    env: { NO_COLOR: '1', PATH: process.env['PATH'] },
  })

/** A program that leaves no compiled Python in the repository. */
const CLEAN = { PYTHONDONTWRITEBYTECODE: '1' }
if (hasC) execFileSync('gcc', ['-O1', '-o', join(folder, 'program'), fixture('fastcgi/program.c'), '-lfcgi'])

describe.skipIf(!available)('one configuration', () => {
  const ports: Record<string, number> = {}
  const browsers: Record<string, Browser> = {}
  let program: Program
  let nginx: Peer
  const state = join(folder, 'state')

  beforeAll(async () => {
    execFileSync('mkdir', [state])
    const site = python('django_site')
    const env = { ...process.env, ...CLEAN, SITE_STATE: state, DJANGO_SUPERUSER_PASSWORD: 'pont du gard' }
    for (const command of ['migrate --verbosity 0', 'collectstatic --noinput --verbosity 0'])
      execFileSync(PYTHON, ['manage.py', ...command.split(' ')], { cwd: site, env })
    execFileSync(PYTHON, ['manage.py', 'createsuperuser', '--noinput', '--username', 'agnes', '--email', 'agnes@example.org'], {
      cwd: site,
      env,
    })
    const file = config('all.json', {
      listeners: ['127.0.0.1:0', { listen: 'unix:fastcgi.sock', protocol: 'fastcgi' }],
      applications: {
        flask: { kind: 'wsgi', root: python('flask_site'), python: PYTHON, env: CLEAN },
        django: { kind: 'wsgi', root: site, app: 'manage.py', python: PYTHON, env: { ...CLEAN, SITE_STATE: state } },
        assets: { kind: 'static', root: join(state, 'static') },
        c: { kind: 'fcgi-program', command: './program', workers: { policy: 'dynamic', max: 4 }, maxRequests: 100 },
        express: { kind: 'node', file: fixture('kinds/express.mjs') },
        fastify: { kind: 'node', file: fixture('kinds/fastify.mjs') },
        hono: { kind: 'node', file: fixture('kinds/hono.mjs') },
        socket: { kind: 'node', file: fixture('kinds/socket.mjs') },
      },
      sites: [
        {
          routes: [
            { path: '/static/*', application: 'assets' },
            ...['flask', 'c', 'express', 'fastify', 'hono', 'socket'].map((name) => ({ path: `/${name}/*`, application: name })),
            { application: 'django' },
          ],
        },
      ],
    })
    const served = await serve(file)
    program = served.program
    nginx = await startNginx({
      folder,
      server: `client_max_body_size 64m; location / { include /etc/nginx/fastcgi_params; fastcgi_pass unix:${join(folder, 'fastcgi.sock')}; }`,
    })
    ports['directly'] = served.port
    ports['through nginx'] = nginx.address.port!
    for (const [name, port] of Object.entries(ports)) browsers[name] = new Browser(port)
  })
  afterAll(async () => {
    for (const browser of Object.values(browsers)) browser.close()
    await nginx?.stop()
  })

  test('is checked, and tells of each program what runs it', () => {
    const out = said('check')
    for (const line of [
      /flask: .*Python app\.py +python3 3\.\d.* 2 workers/,
      /django: .*Python manage\.py/,
      /c: .*FastCGI +program +up to 4 workers/,
      /hono: .*JavaScript +node \d/,
    ])
      expect(out).toMatch(line)
  })

  test('explains a URL with its program and what it would get', () => {
    expect(said('explain', '/admin/?x')).toMatch(
      /django \(wsgi\)[^]*manage\.py[^]*PATH_INFO=\/admin\/[^]*QUERY_STRING=x[^]*SITE_STATE=\*\*\*/,
    )
    expect(said('explain', '/c/x')).toMatch(/c \(fcgi-program\)[^]*SCRIPT_NAME=\/c\n[^]*PATH_INFO=\/x\n/)
    expect(said('explain', '/hono/x')).toMatch(/hono \(node\)[^]*hono\.mjs/)
  })

  describe.each(['directly', 'through nginx'])('%s', (way) => {
    const browser = (): Browser => browsers[way]!

    test('serves Flask: pages, a form, a session, an upload, a stream', async () => {
      expect((await browser().get('/flask/')).text).toBe('Hello from Flask')
      expect(JSON.parse((await browser().get('/flask/user/Agn%C3%A8s?q=%C3%A9')).text)).toEqual({
        name: 'Agnès',
        query: ['é'],
        url: expect.stringMatching(/^http:\/\/127\.0\.0\.1(?::\d+)?\/flask\/user\/Agn%C3%A8s$/) as string,
      })
      expect((await browser().post('/flask/form', { name: 'Pont du Gard' })).text).toBe('name is Pont du Gard')
      const content = Buffer.alloc(3_000_000, 'flask')
      const sent = await browser().upload('/flask/upload', { note: 'ü' }, { file: { filename: 'a.bin', type: 'a/b', content } })
      expect(JSON.parse(sent.text)).toEqual({ name: 'a.bin', note: 'ü', digest: createHash('md5').update(content).digest('hex') })
      expect((await browser().get('/flask/stream')).text).toBe('/stream 0\n/stream 1\n/stream 2\n')
    })

    test("lets an administrator into Django's admin, saves what he enters, and dresses it", async () => {
      const form = await browser().get('/admin/')
      expect(form.path).toBe('/admin/login/?next=/admin/')
      const credentials = { ...hiddenFields(form.text, 'name="username"'), username: 'agnes', password: 'pont du gard' }
      expect((await browser().post('/admin/login/', { ...credentials, csrfmiddlewaretoken: 'x' })).status).toBe(403)
      const inside = await browser().post('/admin/login/?next=/admin/', credentials)
      expect([inside.path, inside.text.includes('Site administration')]).toEqual(['/admin/', true])
      const [, css] = /<link rel="stylesheet"[^>]* href="([^"]+base\.css)"/.exec(inside.text)!
      const sheet = await browser().get(css!)
      expect([css, sheet.status, sheet.headers['content-type'], sheet.headers['etag'] !== undefined]).toEqual([
        '/static/admin/css/base.css',
        200,
        'text/css; charset=utf-8',
        true,
      ])
      expect(sheet.body.equals(readFileSync(join(state, css!)))).toBe(true)
      const add = await browser().get('/admin/auth/group/add/')
      const name = `Büilders ${way}`
      const saved = await browser().post('/admin/auth/group/add/', { ...hiddenFields(add.text, 'name="name"'), name, _save: 'Save' })
      expect(saved.text).toContain('was added successfully')
      expect((await browser().get('/admin/auth/group/')).text).toContain(name)
    })

    test('gives Django an upload and takes a stream and a file from it', async () => {
      const content = Buffer.alloc(5_000_000, 'django')
      const page = await browser().upload('/upload', {}, { file: { filename: 'a.bin', type: 'text/plain', content } })
      expect(page.text).toBe(`a.bin ${content.length} ${createHash('md5').update(content).digest('hex')}`)
      expect((await browser().get('/stream')).text.split('\n')).toHaveLength(1001)
      expect((await browser().get('/file')).body.equals(readFileSync(python('django_site/mysite/urls.py')))).toBe(true)
      // nginx's own fastcgi_params say the host without its port.
      expect((await browser().get('/where/a%20b/%C3%A9?q=1')).text.replace(/:\d+\//, '/')).toBe(
        'http://127.0.0.1/where/a%20b/%C3%A9?q=1 django_site /where/a b/é',
      )
    })

    test('serves C on libfcgi', async () => {
      expect((await browser().get('/c/status')).status).toBe(418)
      expect((await browser().post('/c/echo', { a: 'b'.repeat(100_000) })).text).toBe('POST 100002')
      expect((await browser().get('/c/env')).text).toBe(`- - ${folder}`)
    })

    test('serves express', async () => {
      expect(JSON.parse((await browser().get('/express/')).text)).toMatchObject({ url: '/express/', ip: '127.0.0.1' })
      const page = await browser().post('/express/form', { name: 'a b' })
      expect([page.path, page.text]).toEqual(['/express/hello/a%20b', 'express greets a b'])
      expect(await browser().get('/express/error')).toMatchObject({ status: 500, text: 'express says no' })
    })

    test('serves fastify', async () => {
      expect(JSON.parse((await browser().get('/fastify/plugin?a=1')).text)).toEqual({ framework: 'fastify', query: { a: '1' } })
      const response = await fetch(`http://127.0.0.1:${ports[way]}/fastify/sum`, {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: '{"numbers":[1,2,39]}',
      })
      expect(await response.json()).toEqual({ sum: 42 })
    })

    test('serves hono', async () => {
      const page = await browser().get('/hono/some/where')
      expect([page.text, page.headers['x-framework']]).toEqual(['/some/where', 'hono'])
      expect((await browser().get('/hono/stream')).text).toBe('one\ntwo\nthree\n')
      const file = { filename: 'a.bin', type: 'a/b', content: Buffer.alloc(200_000) }
      expect(JSON.parse((await browser().upload('/hono/upload', {}, { file })).text)).toEqual({ name: 'a.bin', size: 200_000 })
    })
  })

  test('passes WebSockets through', async () => {
    const socket = new WebSocket(`ws://127.0.0.1:${ports['directly']}/socket/chat`)
    const [hello] = (await once(socket, 'message')) as [Buffer]
    expect(String(hello)).toBe('at /chat')
    socket.send('é')
    expect(String(((await once(socket, 'message')) as [Buffer])[0])).toBe('é')
    socket.close()
    await once(socket, 'close')
    expect((await browsers['directly']!.get('/socket/')).text).toBe('plain')
  })

  test('loses no request when it is reloaded, and leaves nothing behind', async () => {
    const urls = ['/flask/', '/c/', '/hono/x', '/']
    const load = { asking: true, answered: 0, failures: [] as unknown[] }
    const clients = urls.map(async (path) => {
      while (load.asking) {
        const answer = await ask(`http://127.0.0.1:${ports['directly']}`, path).catch((error: unknown) => ({ status: 0, error }))
        if (answer.status === 200) load.answered++
        else load.failures.push(answer)
      }
    })
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    const { answered } = load
    await until('more answers', () => load.answered > answered + 20)
    load.asking = false
    await Promise.all(clients)
    expect(load.failures).toEqual([])
    program.family()
    program.kill('SIGTERM')
    expect((await program.exited).code).toBe(0)
    await until('an end of all processes', () => program.survivors().filter(alive).length === 0)
  })
})

describe.skipIf(!hasC || !has('python3'))('faults', () => {
  let url = ''
  let program: Program
  beforeAll(async () => {
    const limits = { silence: '700ms' }
    const file = config('faults.json', {
      listeners: ['127.0.0.1:0'],
      applications: {
        python: { kind: 'wsgi', root: python('.'), app: 'pep.py', python: PYTHON, workers: 2, env: CLEAN, limits },
        c: { kind: 'fcgi-program', command: join(folder, 'program'), workers: 2, limits },
        broken: { kind: 'wsgi', root: python('.'), app: 'broken_import.py', python: PYTHON, env: CLEAN },
        gone: { kind: 'fcgi-program', command: join(folder, 'program'), env: { FAIL: '1' } },
        node: { kind: 'node', file: fixture('kinds/express.mjs') },
      },
      sites: [{ routes: ['python', 'c', 'broken', 'gone', 'node'].map((name) => ({ path: `/${name}/*`, application: name })) }],
      grace: '2s',
    })
    ;({ program, url } = await serve(file))
  })

  const status = async (path: string): Promise<number> => (await ask(url, path)).status

  /** That many ask for something that works, while one asks for what does not. */
  async function beside(path: string, good: string): Promise<{ bad: number; good: Set<number>; took: number }> {
    const began = performance.now()
    const [bad, ...others] = await Promise.all([status(path), ...Array.from({ length: 20 }, () => status(good))])
    return { bad, good: new Set(others), took: performance.now() - began }
  }

  test.each([
    ['Python', '/python/kill?9', '/python/hello', /died during a request/],
    ['C', '/c/die', '/c/', /exited with SIGKILL during a request/],
  ])('%s: a process that is killed amid a request costs that one, with 502', async (_, bad, good, line) => {
    expect(await beside(bad, good)).toMatchObject({ bad: 502, good: new Set([200]) })
    await program.said(line)
    expect(await status(good)).toBe(200)
  })

  test.each([
    ['Python', '/python/loop', '/python/hello'],
    ['C', '/c/sleep?ms=60000', '/c/'],
  ])('%s: one that hangs is ended in time, with 504', async (_, bad, good) => {
    const { took, ...statuses } = await beside(bad, good)
    expect(statuses).toEqual({ bad: 504, good: new Set([200]) })
    expect(took).toBeLessThan(5000)
    await program.said(/said nothing for 700 ms and is killed/)
    expect(await status(good)).toBe(200)
  })

  test('what an application prints is a line of the log, and never a part of its answer', async () => {
    const answer = await ask(url, '/python/errors')
    expect([answer.status, answer.body]).toEqual([200, 'logged'])
    for (const line of ['a print', 'to descriptor 1', 'from a child', 'to stderr']) await program.said(new RegExp(line))
    expect((await ask(url, '/c/stderr')).body).toBe('ok')
    for (const line of ['by the protocol', 'by descriptor 2']) await program.said(new RegExp(line))
  })

  test('an application that cannot be loaded says why in the log, and everything else is served', async () => {
    const { status: code, body } = await ask(url, '/broken/')
    expect([code, body.includes('no_such_module')]).toEqual([503, false])
    await program.said(
      /broken_import\.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module' \(.*broken_import\.py:3\)/,
    )
    expect(await status('/gone/')).toBeGreaterThanOrEqual(500)
    await program.said(/cannot find what I need/)
    expect(await status('/python/hello')).toBe(200)
  })

  test('what a JavaScript application lets go uncaught costs its own request', async () => {
    const [bad, good] = await Promise.all([status('/node/later'), status('/node/hello/x')])
    expect([bad, good]).toEqual([500, 200])
    await program.said(/let an error go uncaught: .*uncaught in express/)
  })

  test('a reload goes through with what could not be loaded before either', async () => {
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    expect([await status('/python/hello'), await status('/broken/')]).toEqual([200, 503])
  })
})
