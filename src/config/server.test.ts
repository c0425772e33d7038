import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { text } from '../core/index.ts'
import { serveFastCgi } from '../fastcgi/index.ts'
import { serveMemory } from '../testing/index.ts'
import { buildServer, explainRequest, loadConfig } from './index.ts'
import type { Config, Explanation } from './index.ts'
import type { Backend, GatewayRequest } from '../core/index.ts'

let folder = ''
const open: Backend[] = []
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info() {}, warn: note, error: note }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-server-'))
  lines.length = 0
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((site) => site.close(0)))
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string, mode = 0o644): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
  chmodSync(join(folder, path), mode)
}
const SH = '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n%s" "$SCRIPT_NAME|$PATH_INFO|$QUERY_STRING|$REQUEST_URI"\n'
const file = (): string => join(folder, 'viaduct.config.json')

async function build(config: Config): Promise<Backend> {
  const server = await buildServer((await loadConfig(file(), config)).plan, { log })
  open.push(server)
  await server.ready()
  return server
}
type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]
async function ask(
  server: Backend,
  target: string,
  init: Init = {},
): Promise<{ status: number; body: string; headers: readonly string[] }> {
  const { status, body, headers } = await serveMemory(server).request({ target, ...init })
  return { status, body: body.toString(), headers }
}
const explained = async (config: Config, url: string, more: object = {}): Promise<Explanation> =>
  explainRequest((await loadConfig(file(), config)).plan, { url, ...more })
const routed = (applications: Config['applications'], routes: Config['sites'][0]['routes'], more: Partial<Config> = {}): Config => ({
  applications,
  sites: [{ routes }],
  ...more,
})

const tellPath = (request: GatewayRequest): ReturnType<typeof text> =>
  text(200, [request.scriptName, request.pathInfo, request.variables.get('APP_MODE'), request.remote.address].join('|'))
const site = (body: string, ...hosts: string[]): Config['sites'][0] => ({
  ...(hosts.length > 0 && { hosts }),
  routes: [{ respond: { body } }],
})
const behind = (more: Partial<Config>): Config => routed({ app: { kind: 'cgi', script: 'app' } }, [{ application: 'app' }], more)

describe('applications by kind', () => {
  test('programs of a folder, each by its name, and nothing else of it', async () => {
    put('bin/where', SH, 0o755)
    put('bin/sub/deep', SH, 0o755)
    put('bin/notes.txt', 'text')
    const server = await build(routed({ bin: { kind: 'cgi', root: 'bin' } }, [{ path: '/run/*', application: 'bin' }]))
    expect(await ask(server, '/run/where/a%20b?c')).toMatchObject({ body: '/run/where|/a b|c|/run/where/a%20b?c' })
    expect(await ask(server, '/run/sub/deep')).toMatchObject({ body: '/run/sub/deep|||/run/sub/deep' })
    expect(await ask(server, '/run/notes.txt')).toMatchObject({ status: 403 })
    expect(await ask(server, '/run/../bin/where')).toMatchObject({ status: 404 })
    expect(await ask(server, '/run')).toMatchObject({ status: 301 })
    expect(lines).toEqual([expect.stringContaining('notes.txt: it is not executable')])
  })

  test('scripts of an interpreter, by suffix, without an execute bit', async () => {
    put('old/a.sh', SH)
    put('old/data', 'text')
    const server = await build(
      routed({ old: { kind: 'cgi', root: 'old', interpreter: ['/bin/sh'], extensions: ['.sh'], index: ['a.sh'] } }, [
        { application: 'old' },
      ]),
    )
    expect(await ask(server, '/a.sh/x')).toMatchObject({ body: '/a.sh|/x||/a.sh/x' })
    expect(await ask(server, '/')).toMatchObject({ body: '/a.sh|||/' })
    expect(await ask(server, '/data')).toMatchObject({ status: 404 })
  })

  test('one program that answers everything', async () => {
    put('app', SH, 0o755)
    const config = routed({ app: { kind: 'cgi', script: 'app' } }, [{ path: '/app/*', application: 'app' }])
    expect(await ask(await build(config), '/app/x/y?z')).toMatchObject({ body: '/app|/x/y|z|/app/x/y?z' })
    expect((await explained(config, '/app/x/y?z')).answer.variables).toContainEqual(['SCRIPT_FILENAME', join(folder, 'app')])
  })

  test('files, and none that is hidden or a source', async () => {
    put('pub/a.txt', 'a')
    put('pub/.env', 'secret')
    put('pub/x.php', '<?php')
    const server = await build(routed({ pub: { kind: 'static', root: 'pub' } }, [{ path: '/s/*', application: 'pub' }]))
    expect(await ask(server, '/s/a.txt')).toMatchObject({ status: 200, body: 'a' })
    for (const path of ['/s/.env', '/s/x.php', '/s/../pub/a.txt', '/s/%2e%2e/viaduct.config.json', '/a.txt']) {
      expect(await ask(server, path), path).toMatchObject({ status: 404 })
    }
  })

  test('a FastCGI application that runs already', async () => {
    await using upstream = await serveFastCgi(tellPath, { listen: { path: join(folder, 'app.sock') }, log })
    expect(upstream.address).toEqual({ path: join(folder, 'app.sock') })
    const config = routed({ app: { kind: 'fastcgi', address: `unix:${folder}/app.sock`, variables: { APP_MODE: 'test' } } }, [
      { path: '/app/*', application: 'app' },
    ])
    expect(await ask(await build(config), '/app/x')).toMatchObject({ status: 200, body: '/app|/x|test|192.0.2.1' })
    expect((await explained(config, '/app/x')).answer).toMatchObject({ program: `unix:${folder}/app.sock` })
  })
})

describe.skipIf(!has('php-cgi'))('PHP', () => {
  const TELL = '<?php echo $_SERVER["SCRIPT_NAME"], "|", $_SERVER["PATH_INFO"] ?? "", "|", $_SERVER["REQUEST_URI"], "|", getenv("TOKEN");'

  test('behind files and a front controller', async () => {
    put('public/index.php', TELL)
    put('public/app.css', 'css')
    put('public/admin/tool.php', TELL)
    put('token', 'hunter2\n')
    const config = routed(
      {
        files: { kind: 'static', root: 'public' },
        php: { kind: 'php', root: 'public', workers: 1, env: { TOKEN: { file: 'token' } }, ini: { display_errors: '0' } },
      },
      [
        { tryFiles: ['{path}'], application: 'files' },
        { tryFiles: ['{path}'], application: 'php' },
        { rewrite: '/index.php', application: 'php' },
      ],
    )
    const server = await build(config)
    expect(await ask(server, '/app.css')).toMatchObject({ body: 'css' })
    expect(await ask(server, '/')).toMatchObject({ body: '/index.php||/|hunter2' })
    expect(await ask(server, '/blog/post?x')).toMatchObject({ body: '/index.php||/blog/post?x|hunter2' })
    expect(await ask(server, '/admin/tool.php')).toMatchObject({ body: '/admin/tool.php||/admin/tool.php|hunter2' })
    expect(await ask(server, '/.env')).toMatchObject({ body: '/index.php||/.env|hunter2' })
    const { answer, steps } = await explained(config, '/blog/post?x')
    expect(steps.map(({ taken }) => taken)).toEqual([true, true, false, false, true])
    expect(answer.variables).toEqual(
      expect.arrayContaining([
        ['SCRIPT_NAME', '/index.php'],
        ['SCRIPT_FILENAME', join(folder, 'public/index.php')],
        ['REQUEST_URI', '/blog/post?x'],
        ['TOKEN', `*** (file ${folder}/token)`],
      ]),
    )
    expect(answer.variables!.some(([name]) => name === 'PATH_INFO')).toBe(false)
  })

  test('with X-Sendfile sends files of the allowed folders, and of no others', async () => {
    put('public/index.php', '<?php header("X-Sendfile: " . $_GET["f"]); header("Content-Type: text/x-sent"); echo "not this";')
    put('private/a.txt', 'private')
    put('secret.txt', 'secret')
    symlinkSync(join(folder, 'secret.txt'), join(folder, 'private/link.txt'))
    put('private/.hidden', 'hidden')
    const server = await build(
      routed({ php: { kind: 'php', root: 'public', workers: 1, sendfile: ['private'] } }, [{ rewrite: '/index.php', application: 'php' }]),
    )
    const sent = await ask(server, `/?f=${folder}/private/a.txt`)
    expect(sent).toMatchObject({ status: 200, body: 'private' })
    expect(sent.headers.join()).toContain('text/x-sent')
    for (const path of ['secret.txt', 'private/../secret.txt', 'private/link.txt', 'private/.hidden', 'private', '']) {
      const { status, body, headers } = await ask(server, `/?f=${folder}/${path}`)
      expect(status, path).toBeGreaterThanOrEqual(400)
      expect(body, path).not.toMatch(/secret|hidden|not this/)
      expect(headers.join(), path).not.toContain(folder)
    }
  })
})

describe('sites', () => {
  const config: Config = { applications: {}, sites: [site('one', 'example.org'), site('wild', '*.example.org'), site('other')] }
  test.each([
    ['example.org', 'one'],
    ['EXAMPLE.ORG.:8080', 'one'],
    ['a.b.example.org', 'wild'],
    ['example.org.evil.test', 'other'],
  ])('of host %s: %s', async (host, body) => {
    expect(await ask(await build(config), '/', { headers: ['Host', host] })).toMatchObject({ status: 200, body })
    expect((await explained(config, `http://${host}/`)).steps.find(({ at, taken }) => taken && at.startsWith('sites'))?.why).toContain(
      body === 'other' ? 'every host that no other site has' : 'example.org',
    )
  })

  test('are closed with all that they started', async () => {
    put('app', SH, 0o755)
    const server = await build(routed({ app: { kind: 'cgi', script: 'app' } }, [{ application: 'app' }]))
    expect(await ask(server, '/')).toMatchObject({ status: 200 })
    await server.close(0)
    expect(await ask(server, '/')).toMatchObject({ status: 503 })
  })

  test('a local redirect of a program stays within them, and their loops end', async () => {
    put('bin/to', '#!/bin/sh\nprintf "Location: $QUERY_STRING\\n\\n"\n', 0o755)
    const server = await build(
      routed({ bin: { kind: 'cgi', root: 'bin' } }, [
        { path: '/bin/*', application: 'bin' },
        { path: '/there', respond: { body: 'there' } },
      ]),
    )
    put('bin/loop', '#!/bin/sh\nprintf "Location: /bin/loop\\n\\n"\n', 0o755)
    expect(await ask(server, '/bin/to?/there')).toMatchObject({ status: 200, body: 'there' })
    expect(await ask(server, '/bin/loop')).toMatchObject({ status: 500 })
    expect(lines).toEqual([expect.stringContaining('more than 10 times')])
  })

  test('limits hold for every application', async () => {
    const server = await build({ ...config, limits: { body: '1K' } })
    expect(await ask(server, '/', { method: 'POST', body: 'x'.repeat(1024) })).toMatchObject({ status: 200 })
    expect(await ask(server, '/', { method: 'POST', body: 'x'.repeat(1025) })).toMatchObject({ status: 413 })
  })
})

describe('trusted proxies', () => {
  beforeEach(() =>
    put(
      'app',
      '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$REMOTE_ADDR|$REQUEST_SCHEME|$HTTPS|$SERVER_PORT|$HTTP_X_FORWARDED_FOR"\n',
      0o755,
    ),
  )
  const headers = ['Host', 'example.org', 'X-Forwarded-For', '203.0.113.9', 'X-Forwarded-Proto', 'https']

  test('are nobody unless the configuration says so', async () => {
    expect(await ask(await build(behind({})), '/', { headers })).toMatchObject({ body: '192.0.2.1|http||80|203.0.113.9' })
  })

  test('say who the client is; nobody else does', async () => {
    const server = await build(behind({ trustedProxies: { from: ['192.0.2.0/24', 'unix'] } }))
    expect(await ask(server, '/', { headers })).toMatchObject({ body: '203.0.113.9|https|on|443|203.0.113.9' })
    expect(await ask(server, '/', { headers, remote: { address: '::ffff:192.0.2.7', port: 1 } })).toMatchObject({
      body: expect.stringContaining('203.0.113.9|https') as string,
    })
    expect(await ask(server, '/', { headers, remote: { address: '198.51.100.1', port: 1 } })).toMatchObject({
      body: '198.51.100.1|http||80|',
    })
  })

  test('are told by explain', async () => {
    const plan = behind({ trustedProxies: { from: ['10.0.0.0/8'] } })
    expect((await explained(plan, '/', { headers, from: '10.0.0.1' })).steps[1]).toEqual({
      at: 'trustedProxies',
      taken: true,
      why: '10.0.0.1 is trusted: the client is 203.0.113.9, by https',
    })
    expect((await explained(plan, '/', { headers, from: '11.0.0.1' })).steps[1]).toMatchObject({ taken: false })
  })
})

describe('explain', () => {
  const config: Config = {
    listeners: ['127.0.0.1:8080', ':9090'],
    applications: { site: { kind: 'folder', root: 'site' } },
    sites: [
      {
        routes: [
          { path: '/form', method: 'POST', application: 'site' },
          { path: '/old/*', redirect: { to: '/new/{rest}', status: 301 } },
          { path: '/gone', respond: 410 },
          { path: '/blog/:id', rewrite: '/show.cgi?id={id}', application: 'site' },
          { path: ['/sub/*', '/*.txt', '/x.cgi', '/%'], application: 'site', mount: false },
        ],
      },
    ],
  }
  beforeEach(() => {
    put('site/show.cgi', SH, 0o755)
    put('site/x.cgi', SH)
    put('site/a.txt', 'a')
    put('site/sub/b.txt', 'b')
  })

  test.each<[string, object, string]>([
    ['/form', {}, 'status 405'],
    ['/old/a/b?c', {}, 'status 301, a redirect to /new/a/b?c'],
    ['/gone', {}, 'status 410'],
    ['/blog/7', {}, 'a CGI program, started for this request'],
    ['/a.txt', {}, 'a file'],
    ['/sub', {}, 'a redirect to the same path with a slash at the end'],
    ['/sub/c', {}, 'status 404'],
    ['/x.cgi', {}, 'status 403'],
    ['/blog/a%2Fb', {}, 'status 404'],
    ['/../etc/passwd', {}, 'status 400'],
    ['/nothing', {}, 'status 404'],
  ])('of %s %j: %s', async (url, more, what) => {
    const told = await explained(config, url, more)
    expect(told.answer.what).toBe(what)
    // And so it is.
    const { status } = await ask(await build(config), url)
    const expected = /status (\d+)/.exec(what)?.[1]
    if (expected !== undefined) expect(status).toBe(Number(expected))
    else expect([200, 301]).toContain(status)
  })

  test('tells the variables that the program then gets', async () => {
    put('site/show.cgi', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"; env\n', 0o755)
    const init = {
      headers: ['Host', 'localhost:9090', 'Proxy', 'evil', 'X-A_B', 'c', 'X-D', 'e'],
      remote: { address: '127.0.0.1', port: 50_000 },
      local: { address: '127.0.0.1', port: 9090 },
    }
    const { body } = await ask(await build(config), '/blog/7', init)
    const real = new Map(
      body
        .trimEnd()
        .split('\n')
        .map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)] as const),
    )
    const told = new Map(
      (await explained(config, 'http://localhost:9090/blog/7', { headers: ['Proxy', 'evil', 'X-A_B', 'c', 'X-D', 'e'] })).answer.variables,
    )
    // What a shell adds to its environment by itself.
    for (const name of ['PWD', 'SHLVL', '_', 'OLDPWD']) real.delete(name)
    expect(Object.fromEntries(told)).toEqual(Object.fromEntries(real))
    expect(told.get('QUERY_STRING')).toBe('id=7')
  })

  test.each([
    ['http://localhost:9090/blog/7', '9090', 'localhost:9090', 'it has the port of the URL'],
    ['http://localhost:9999/blog/7', '9999', 'localhost:9999', 'the first one, as if it had port 9999, which none has'],
    ['http://user@localhost:80/blog/7', '80', 'localhost', 'the first one, as if it had port 80, which none has'],
    ['http://[::1]:9999/blog/7', '9999', '[::1]:9999', 'the first one, as if it had port 9999, which none has'],
    // What is in front of the listener is not known: the port is its own.
    ['http://localhost/blog/7?at=a:1', '8080', 'localhost', 'the first one, for none has the port of the URL'],
    ['/blog/7', '8080', 'localhost', 'the first one, for none has the port of the URL'],
  ])('of %s the port is %s', async (url, port, host, why) => {
    put('site/show.cgi', '#!/bin/sh\n', 0o755)
    const { steps, answer } = await explained(config, url)
    expect(steps[0]!.why).toContain(`http: ${why}`)
    expect(answer.variables).toContainEqual(['SERVER_PORT', port])
    expect(answer.variables).toContainEqual(['HTTP_HOST', host])
  })

  test('says which listener, site and route it was, and which not', async () => {
    expect((await explained(config, 'http://localhost:9090/gone')).steps).toEqual([
      { at: 'listeners[1]', taken: true, why: '*:9090, http: it has the port of the URL' },
      { at: 'sites[0]', taken: true, why: 'host "localhost" is for every host that no other site has' },
      { at: 'sites[0].routes[0]', taken: false, why: 'the path /gone is not /form' },
      { at: 'sites[0].routes[1]', taken: false, why: 'the path /gone is not /old/*' },
      { at: 'sites[0].routes[2]', taken: true, why: 'the path /gone is /gone' },
    ])
  })
})
