// What is said of a configuration that cannot be used: all of it at once, each with its place.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { ConfigError, checkConfig, findConfig, loadConfig } from '../../src/config/index.ts'
import { CertificateFolder } from '../certificates.ts'
import { has } from '../peers.ts'

let folder = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-config-'))
  mkdirSync(join(folder, 'site'))
  writeFileSync(join(folder, 'note.txt'), 'text')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

async function mistakes(config: unknown): Promise<string[]> {
  const checked = await checkConfig(config, { folder })
  return 'problems' in checked ? checked.problems.map(({ at, message }) => `${at}: ${message}`) : []
}

/** A configuration without mistakes, but for what is in its place. */
const around = (members: object): object => ({
  applications: { a: { kind: 'static', root: 'site' } },
  sites: [{ routes: [{ application: 'a' }] }],
  ...members,
})
const route = (members: object): object => around({ sites: [{ routes: [members] }] })
const application = (members: object): object => around({ applications: { a: members } })

test('twenty mistakes are told together', async () => {
  const told = await mistakes({
    lisners: [],
    listeners: [
      '127.0.0.1:8080',
      { listen: '127.0.0.1:8080' },
      '/run/x.sock',
      { listen: 'unix:none/x.sock', mode: '99' },
      { listen: '8443', tls: { cert: 'none.crt', key: 'note.txt', minVersion: 'TLSv1', sni: [{ cert: 'note.txt' }] } },
      { listen: '8444', tls: { cert: 'none.crt', key: 'note.txt', names: ['https://a/'] } },
      { listen: '8081', protocol: 'fastcgi', redirect: 'https' },
      { listen: '8082', redirect: 'http' },
    ],
    applications: {
      blog: { kind: 'folder', root: 'nowhere' },
      shop: { kind: 'php', root: 'site', wrokers: 4, workers: 'lots', limits: { silence: 'long' } },
      old: { kind: 'cgi', root: 'site', script: 'note.txt' },
      api: { kind: 'fastcgi', address: 'nobody', variables: { QUERY_STRING: 'x' } },
      files: { kind: 'statik', root: 'site' },
      secret: { kind: 'folder', root: 'site', php: { env: { PASSWORD: { file: 'none' }, TOKEN: { env: 'VIADUCT_NOT_SET' } } } },
    },
    sites: [
      { hosts: ['example.org', 'http://x/'], routes: [{ path: 'blog', application: 'blogg' }] },
      { hosts: ['EXAMPLE.org.'], routes: [{ redirect: '//evil', respond: 404 }] },
    ],
    grace: -1,
    trustedProxies: { from: ['10.0.0.0/40'] },
  })
  expect(told).toEqual([
    'lisners: there is no such setting; did you mean "listeners"?',
    'listeners[1].listen: expected an address that no other listener has, got 127.0.0.1:8080, which is listeners[0]',
    'listeners[2]: expected an address: HOST:PORT, PORT, :PORT (every address) or unix:/path, got "/run/x.sock"; did you mean "unix:/run/x.sock"?',
    'listeners[3].mode: expected a file mode in octal, such as "0660", got "99"',
    'listeners[4].tls.minVersion: expected "TLSv1.2" or "TLSv1.3", got "TLSv1"; did you mean "TLSv1.2"?',
    'listeners[4].tls.sni[0].key: expected the path of a PEM file, got nothing',
    `listeners[5].tls.cert: the certificate ${folder}/none.crt does not exist`,
    `listeners[5].tls.key: the key ${folder}/note.txt is no PEM private key`,
    'listeners[5].tls.names[0]: expected a host name such as "example.org" or "*.example.org", got "https://a/"',
    'listeners[6].redirect: expected a listener of plain HTTP, got fastcgi',
    'listeners[7].redirect: expected "https", or with a port "https:443", got "http"',
    `applications.blog.root: expected a folder, got ${folder}/nowhere: it does not exist`,
    'applications.shop.wrokers: there is no such setting; did you mean "workers"?',
    'applications.shop.workers: expected a whole number from 1 to 10000, got "lots"',
    'applications.shop.limits.silence: expected a duration: seconds, or text such as "500ms", "30s" or "5m", got "long"',
    'applications.old: expected either "root" (a folder of programs) or "script" (one program), got both',
    'applications.api.address: expected an address such as "127.0.0.1:9000", "unix:/run/app.sock", "fastcgis://php:9001" or "fastcgi+srv://_fcgi._tcp.example.org", got "nobody"',
    'applications.api.variables.QUERY_STRING: expected a variable that no request decides, got QUERY_STRING, which the server computes',
    expect.stringMatching(
      /^applications\.files\.kind: expected an application of kind "folder", .* got "statik"; did you mean "static"\?$/,
    ),
    `applications.secret.php.env.PASSWORD: expected a file that can be read, got ${folder}/none, which cannot be read`,
    "applications.secret.php.env.TOKEN: expected a variable of Viaduct's own environment, got VIADUCT_NOT_SET, which is not set",
    'sites[0].hosts[1]: expected a host name without port, such as "example.org" or "*.example.org" (punycode for other letters), got "http://x/"',
    'sites[0].routes[0].path: expected a path such as "/about", "/blog/*", "/post/:id" or "*.php": it begins with "/", or is "*" and how a name ends, got "blog"',
    'sites[0].routes[0].application: expected an application (blog, shop, old, api, files, secret), got "blogg"; did you mean "blog"?',
    'sites[1].hosts[0]: expected a host that no other site has, got "EXAMPLE.org.", which is in sites[0].hosts[0]',
    'sites[1].routes[0]: expected one answer, got "redirect" and "respond"',
    'sites[1].routes[0].redirect: expected a path ("/new/{rest}") or a URL with a fixed host or {host} ("https://{host}{path}"), got "//evil"',
    'grace: expected a duration: seconds, or text such as "500ms", "30s" or "5m", got -1',
    'trustedProxies.from[0]: expected an address, a network such as "10.0.0.0/8", or "unix", got "10.0.0.0/40"',
  ])
})

test('what is wrong with one setting hides nothing that is wrong with others of the same application', async () => {
  const told = await mistakes({
    applications: {
      shop: { kind: 'wsgi', root: 'nowhere', workers: 'lots', sendfile: ['none'], env: { TOKEN: { file: 'none' } } },
      count: { kind: 'fcgi-program', command: './none', maxRequests: -1 },
      // Without the folder that is no text there is nothing to look at, and neither "root" nor "script" is not what is wrong.
      old: { kind: 'cgi', root: 7, env: { TOKEN: { file: 'none' } } },
      blog: { kind: 'php', root: 7, env: { TOKEN: { file: 'none' } } },
    },
    sites: [{ routes: [{ path: '/a/:id/:id', rewrite: '/{idd}', application: 'shop' }] }],
  })
  expect(told).toEqual([
    `applications.shop.root: expected a folder, got ${folder}/nowhere: it does not exist`,
    'applications.shop.workers: expected a number of processes, or { "policy", "max", ... }, got "lots"',
    `applications.shop.sendfile[0]: expected a folder, got ${folder}/none: it does not exist`,
    `applications.shop.env.TOKEN: expected a file that can be read, got ${folder}/none, which cannot be read`,
    `applications.count.command: expected a file, got ${folder}/none: it does not exist`,
    'applications.count.maxRequests: expected a whole number from 0, got -1',
    'applications.old.root: expected the path of a folder, got 7',
    `applications.old.env.TOKEN: expected a file that can be read, got ${folder}/none, which cannot be read`,
    'applications.blog.root: expected the path of a folder, got 7',
    'sites[0].routes[0].path: expected a path such as "/about", "/blog/*", "/post/:id" or "*.php": a name is there twice, got "/a/:id/:id"',
    'sites[0].routes[0].rewrite: expected placeholders that have a value here (path, rest, query, host, scheme, id), got {idd}; did you mean "id"?',
  ])
})

describe('a mistake', () => {
  test.each<[string, unknown, string]>([
    ['no object', [], ': expected an object: the configuration, got an empty list'],
    ['nothing', undefined, ': expected an object: the configuration, got nothing'],
    ['no sites', { applications: {} }, 'sites: expected a list of sites, got nothing'],
    ['no site', around({ sites: [] }), 'sites: expected a list of at least one site, got an empty list'],
    ['no address', around({ listeners: [] }), 'listeners: expected at least one address, got none'],
    [
      'an unknown member of a listener',
      around({ listeners: [{ listen: '80', protcol: 'http' }] }),
      'listeners[0].protcol: there is no such setting; did you mean "protocol"?',
    ],
    [
      'a wrong protocol',
      around({ listeners: [{ listen: '80', protocol: 'htp' }] }),
      'listeners[0].protocol: expected "http" or "fastcgi", got "htp"; did you mean "http"?',
    ],
    [
      'a port too large',
      around({ listeners: ['127.0.0.1:65536'] }),
      'listeners[0]: expected an address: HOST:PORT, PORT, :PORT (every address) or unix:/path, got "127.0.0.1:65536"',
    ],
    [
      'a mode of a port',
      around({ listeners: [{ listen: '80', mode: '0600' }] }),
      'listeners[0].mode: expected a unix socket beside it, got 127.0.0.1:80',
    ],
    [
      'web servers of HTTP',
      around({ listeners: [{ listen: '80', allow: ['10.0.0.1'] }] }),
      'listeners[0].allow: expected "protocol": "fastcgi" beside it, got http',
    ],
    [
      'a redirect to nowhere',
      around({ listeners: [{ listen: '80', redirect: 'https' }] }),
      'listeners[0].redirect: expected a listener with "tls" to lead to, or a port ("https:443"), got neither',
    ],
    [
      'a redirect to no port',
      around({ listeners: [{ listen: '80', redirect: 'https:0' }] }),
      'listeners[0].redirect: expected a port from 1 to 65535, got 0',
    ],
    [
      'no answer',
      route({ path: '/' }),
      'sites[0].routes[0]: expected an answer ("application", "redirect" or "respond") or a "rewrite", got neither',
    ],
    [
      'a placeholder nobody fills',
      route({ path: '/:id', rewrite: '/{idd}', application: 'a' }),
      'sites[0].routes[0].rewrite: expected placeholders that have a value here (path, rest, query, host, scheme, id), got {idd}; did you mean "id"?',
    ],
    [
      'a placeholder of one pattern of two',
      route({ path: ['/:a', '/x'], rewrite: '/{a}', application: 'a' }),
      'sites[0].routes[0].rewrite: expected placeholders that have a value here (path, rest, query, host, scheme), got {a}',
    ],
    [
      'a rewrite to no path',
      route({ rewrite: 'index.php', application: 'a' }),
      'sites[0].routes[0].rewrite: expected a path that begins with "/" or "{path}", got "index.php"',
    ],
    [
      'files of nobody',
      route({ tryFiles: ['{path}'], respond: 404 }),
      'sites[0].routes[0].tryFiles: expected an "application" beside it, whose files they are, got none',
    ],
    [
      'a method in small letters',
      route({ method: 'get', application: 'a' }),
      'sites[0].routes[0].method: expected a method in capital letters, got "get"',
    ],
    [
      'a host that a client decides',
      route({ path: '/:x', redirect: 'https://{x}/' }),
      'sites[0].routes[0].redirect: expected a path ("/new/{rest}") or a URL with a fixed host or {host} ("https://{host}{path}"), got "https://{x}/"',
    ],
    [
      'a line break in a field',
      route({ respond: { headers: { 'X-A': 'a\r\nSet-Cookie: b' } } }),
      String.raw`sites[0].routes[0].respond.headers.X-A: expected a text without line breaks, got "a\r\nSet-Cookie: b"`,
    ],
    [
      'a field of the server',
      route({ respond: { headers: { 'Transfer-Encoding': 'chunked' } } }),
      'sites[0].routes[0].respond.headers.Transfer-Encoding: expected a field that the server does not decide itself, got Transfer-Encoding',
    ],
    [
      'two sites for all',
      around({ sites: [{ routes: [] }, { routes: [] }] }),
      'sites[1]: expected "hosts": only one site may be without, got a second one, after sites[0]',
    ],
    [
      'a file as a folder',
      application({ kind: 'static', root: 'note.txt' }),
      'applications.a.root: expected a folder, got FOLDER/note.txt: it is not a folder',
    ],
    [
      'a folder as a file',
      application({ kind: 'cgi', script: 'site' }),
      'applications.a.script: expected a file, got FOLDER/site: it is not a file',
    ],
    [
      'no php-cgi',
      application({ kind: 'php', root: 'site', program: 'note.txt' }),
      expect.stringMatching(/^applications\.a: php: .*note\.txt is not a php-cgi/) as string,
    ],
    [
      'an interpreter for everything',
      application({ kind: 'cgi', root: 'site', interpreter: ['note.txt'] }),
      'applications.a.extensions: expected a list of suffixes: with an interpreter and without it, every file of the folder would be run, got nothing',
    ],
    [
      'a name that is none',
      around({ applications: { a: { kind: 'static', root: 'site' }, 'a b': { kind: 'static', root: 'site' } } }),
      'applications["a b"]: expected a name of letters, digits, "-", "_" and ".", got "a b"',
    ],
    [
      'a folder to send from that is not there',
      application({ kind: 'static', root: 'site', sendfile: ['x'] }),
      'applications.a.sendfile[0]: expected a folder, got FOLDER/x: it does not exist',
    ],
    [
      'a log in no folder',
      around({ logs: { access: 'none/access.log' } }),
      'logs.access: expected a file in a folder that is there, got FOLDER/none/access.log: of FOLDER/none, it does not exist',
    ],
    ['a limit nobody knows', around({ limits: { bodyy: 1 } }), 'limits.bodyy: there is no such setting; did you mean "body"?'],
    [
      'a size that is none',
      around({ limits: { body: '8 megabytes' } }),
      'limits.body: expected a size: bytes, or text such as "64K", "8M" or "1G", got "8 megabytes"',
    ],
  ])('%s is told', async (_, config, message) => {
    const expected = typeof message === 'string' ? message.replaceAll('FOLDER', folder) : message
    expect(await mistakes(config)).toEqual([expected])
  })

  test('never shows what may be a secret', async () => {
    const told = await mistakes(application({ kind: 'php', root: 'site', env: { PASSWORD: ['hunter2'], TOKEN: { value: 'hunter2' } } }))
    expect(told).toHaveLength(2)
    expect(told.join('\n')).not.toContain('hunter2')
  })
})

describe.skipIf(!has('openssl'))('a certificate', () => {
  let made: CertificateFolder
  beforeEach(() => void (made = new CertificateFolder()))
  afterEach(() => made.remove())

  test('and a key of another one, an unknown passphrase, and TLS where it cannot be are told together', async () => {
    const [one, two] = [made.make('one', ['one.example']), made.make('two', ['two.example'])]
    const told = await mistakes(
      around({
        listeners: [
          { listen: '8443', tls: { cert: one.cert, key: two.key, sni: [{ ...two, passphrase: { env: 'VIADUCT_NOT_SET' } }] } },
          { listen: 'unix:x.sock', tls: one },
          { listen: '9000', protocol: 'fastcgi', tls: two },
          { listen: '8444', tls: { ...one, ciphers: 'NONE' }, redirect: 'https' },
        ],
      }),
    )
    expect(told).toEqual([
      `listeners[0].tls.key: the key ${two.key} does not belong to the certificate ${one.cert}; a pair is made together`,
      'listeners[0].tls.sni[0].passphrase: the value of passphrase: VIADUCT_NOT_SET is not set in the environment of Viaduct',
      `listeners[1].tls: expected a host and port beside it, got unix:${folder}/x.sock`,
      'listeners[2].tls: expected "protocol": "http" beside it, got fastcgi',
      expect.stringMatching(/^listeners\[3\]\.tls\.ciphers: the ciphers "NONE" cannot be used \(/),
      'listeners[3].redirect: expected a listener of plain HTTP, got one with "tls"',
    ])
  })

  test('is told with its names and its end, and redirects lead to the https of the same host', async () => {
    const one = made.make('one', ['one.example', '*.one.example'])
    const tls = { ...one, watchInterval: '1s' }
    const checked = await checkConfig(
      around({
        listeners: [
          { listen: '127.0.0.2:8443', tls },
          { listen: '127.0.0.1:8443', tls },
          { listen: '127.0.0.1:80', redirect: 'https' },
          { listen: '127.0.0.3:80', redirect: 'https' },
          { listen: '127.0.0.4:80', redirect: 'https:444' },
        ],
      }),
      { folder },
    )
    if ('problems' in checked) throw new Error(JSON.stringify(checked.problems))
    const { listeners } = checked.plan
    expect(listeners[0]!.tls).toEqual({
      certificates: [{ ...one, facts: { names: ['one.example', '*.one.example'], from: expect.any(Number), until: expect.any(Number) } }],
      watchInterval: 1000,
    })
    expect(listeners.map(({ redirect }) => redirect)).toEqual([undefined, undefined, { listener: 1 }, { listener: 0 }, { port: 444 }])
  })
})

const file = (name: string, content: string): string => {
  writeFileSync(join(folder, name), content)
  return join(folder, name)
}
const reason = (path: string): Promise<string> =>
  loadConfig(path).then(
    () => 'loaded',
    (error: unknown) => {
      expect(error).toBeInstanceOf(ConfigError)
      return (error as ConfigError).message.replaceAll(folder, '')
    },
  )

describe('a file', () => {
  test('that is no JSON is told with the place', async () => {
    expect(await reason(file('a.json', '{\n  "sites": [\n    ,\n  ]\n}'))).toMatch(
      /^\/a\.json: a mistake\n {2}it is no JSON: expected a value, got "," in line 3, column 5$/,
    )
  })

  test.each([
    ['none.json', undefined, 'there is no such file'],
    ['a.yaml', 'sites:', 'expected a file that ends in .json, .mjs, .js or .ts'],
    ['a.mjs', 'export const x = 1', 'it exports nothing: export default defineConfig({ ... })'],
    ['b.mjs', 'throw new Error("it hurts")', 'it cannot be loaded: it hurts (/b.mjs:1)'],
    ['d.mjs', 'export default () => {\n  return nothing\n}', 'it cannot be loaded: nothing is not defined (/d.mjs:2)'],
    ['c.mjs', "import { defineConfig } from 'viaduct-none'", "it cannot be loaded: Cannot find package 'viaduct-none'"],
  ])('%s with %j: %s', async (name, content, message) => {
    const path = content === undefined ? join(folder, name) : file(name, content)
    expect(await reason(path)).toContain(`/${name}: a mistake\n  ${message}`)
  })

  const good = '{ applications: { a: { kind: "static", root: "site" } }, sites: [{ routes: [{ application: "a" }] }] }'
  test.each([
    ['a.mjs', `export default ${good}`],
    ['b.mjs', `export default async () => (${good})`],
    [
      'c.ts',
      `interface Named { readonly name: string }\nconst a: Named = { name: 'site' }\nexport default ${good.replace('"site"', 'a.name')}`,
    ],
    ['d.json', JSON.stringify(around({ $schema: './config.schema.json' }))],
  ])('%s is read', async (name, content) => {
    const { plan } = await loadConfig(file(name, content))
    expect(plan.applications['a']!.plan).toMatchObject({ root: join(folder, 'site') })
  })

  test('is found in a folder; two are a question', () => {
    expect(findConfig(folder)).toBeUndefined()
    file('viaduct.config.mjs', '')
    expect(findConfig(folder)).toBe(join(folder, 'viaduct.config.mjs'))
    file('viaduct.config.json', '')
    expect(() => findConfig(folder)).toThrow('there are 2 configurations')
  })
})

test('php-cgi that is not installed is told with the command that brings it', async () => {
  vi.stubEnv('PATH', '/nonexistent')
  expect(await mistakes(application({ kind: 'php', root: 'site', interpreter: 'native' }))).toEqual([
    expect.stringMatching(/^applications\.a\.program: expected php-cgi on PATH, or the path of one, got no php-cgi/),
  ])
})
