// The same programs behind Viaduct and behind the servers people know them from: they must be told the same.
// And Viaduct behind one of those, as a reverse proxy shows it to the world.

import { randomBytes } from 'node:crypto'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { Browser } from './peers/browser.ts'
import {
  findPhpFpm,
  lighttpdPhp,
  startApache,
  startFcgiwrap,
  startLighttpd,
  startNginx,
  startPhpFpm,
  temporaryFolder,
} from './peers/index.ts'
import type { Peer } from './peers/index.ts'
import { serveFolder } from './peers/viaduct.ts'
import type { Viaduct } from './peers/viaduct.ts'

const MiB = 1024 ** 2

/** What every server has to tell alike; where they listen and what they are called differs. */
const TOLD = (
  'REQUEST_METHOD REQUEST_URI QUERY_STRING SCRIPT_NAME SCRIPT_FILENAME DOCUMENT_ROOT CONTENT_TYPE CONTENT_LENGTH GATEWAY_INTERFACE ' +
  'SERVER_PROTOCOL REMOTE_ADDR HTTP_X_TEST HTTP_COOKIE HTTP_ACCEPT_LANGUAGE HTTP_PROXY BODY'
).split(' ')

const PHP = `<?php
$told = [];
foreach ($_SERVER as $name => $value) { if (is_string($value)) { $told[$name] = $value; } }
$told['BODY'] = file_get_contents('php://input');
echo json_encode($told);`

const CGI = `#!/bin/sh
printf 'Content-Type: text/plain\\n\\n'
env
[ -n "$CONTENT_LENGTH" ] && printf 'BODY=' && head -c "$CONTENT_LENGTH"
echo`

interface Ask {
  readonly method: string
  readonly path: string
  readonly headers: Readonly<Record<string, string>>
  readonly body?: string
}

const COMMON = { 'X-Test': 'a b', Cookie: 'one=1; two=2', 'Accept-Language': 'fr', Proxy: 'http://evil.example/' }

const questions = (path: string): [string, Ask][] => [
  ['GET', { method: 'GET', path, headers: COMMON }],
  ['GET with a query', { method: 'GET', path: `${path}?a=1&b=%20x+y&c`, headers: COMMON }],
  ['DELETE', { method: 'DELETE', path, headers: COMMON }],
  [
    'POST',
    { method: 'POST', path: `${path}?q=1`, headers: { ...COMMON, 'Content-Type': 'text/plain; charset=utf-8' }, body: 'hällo = wörld' },
  ],
]

function ask(port: number, { method, path, headers, body }: Ask): Promise<{ status: number; text: string }> {
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'Content-Length': String(Buffer.byteLength(body)) }
    const sent = request({ host: '127.0.0.1', port, method, path, headers: { ...headers, ...length }, agent: false }, (response) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.once('end', () => resolve({ status: response.statusCode ?? 0, text }))
      response.once('error', reject)
    })
    sent.once('error', reject)
    sent.end(body)
  })
}

/** An absent variable and an empty one mean the same (RFC 3875, 4.1), and so does a length of 0, which lighttpd says where there is no body. */
function told(variables: Readonly<Record<string, string>>): Record<string, string> {
  const known = variables['CONTENT_LENGTH'] === '0' ? { ...variables, CONTENT_LENGTH: '' } : variables
  return Object.fromEntries(TOLD.map((name) => [name, known[name] ?? '']))
}

const fromPhp = (text: string): Record<string, string> => told(JSON.parse(text) as Record<string, string>)
const fromEnv = (text: string): Record<string, string> =>
  told(Object.fromEntries(text.split('\n').map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)])))

// php-fpm carries its version in its name.
const fpmThere = findPhpFpm() !== undefined || has('php-fpm')

describe.skipIf(!has('php-cgi', 'nginx', 'lighttpd', 'apache2', 'fcgiwrap') || !fpmThere)('beside other servers', () => {
  const temporary = temporaryFolder('viaduct-peers-')
  const site = join(temporary.path, 'site')
  const peers: Peer[] = []
  const ports = new Map<string, number>()
  let server: Viaduct
  let proxy = 0

  const keep = <P extends Peer>(peer: P): P => {
    peers.push(peer)
    return peer
  }

  beforeAll(async () => {
    mkdirSync(join(site, 'cgi-bin'), { recursive: true })
    writeFileSync(join(site, 'told.php'), PHP)
    writeFileSync(join(site, 'cgi-bin/told'), CGI)
    chmodSync(join(site, 'cgi-bin/told'), 0o755)
    writeFileSync(join(site, 'large.bin'), randomBytes(3 * MiB))
    writeFileSync(join(site, 'up.php'), `<?php echo strlen(file_get_contents('php://input'));`)
    server = await serveFolder(site, { args: ['--workers', '2'] })
    const folder = temporary.path
    const fpm = keep(await startPhpFpm({ folder, workers: 1 }))
    const wrap = keep(await startFcgiwrap({ folder, children: 1 }))
    const params = 'include /etc/nginx/fastcgi.conf; fastcgi_param HTTP_PROXY "";'
    const nginx = keep(
      await startNginx({
        folder,
        server: `root ${site};
          location ~ \\.php$ { ${params} fastcgi_pass unix:${fpm.address.path}; }
          location /cgi-bin/ { ${params} fastcgi_pass unix:${wrap.address.path}; }`,
      }),
    )
    const lighttpd = keep(
      await startLighttpd({
        folder,
        documentRoot: site,
        modules: ['mod_fastcgi', 'mod_cgi'],
        config: `${lighttpdPhp(folder, 1)}\n$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }`,
      }),
    )
    const apache = keep(
      await startApache({
        folder,
        documentRoot: site,
        modules: ['cgid'],
        config: `ScriptSock ${join(folder, 'cgid.sock')}\n<Directory "${site}/cgi-bin">\n  Options ExecCGI\n  SetHandler cgi-script\n</Directory>`,
      }),
    )
    const outside = keep(
      await startNginx({
        folder,
        name: 'proxy',
        server: `client_max_body_size 0; location / { proxy_pass http://127.0.0.1:${server.port}; proxy_http_version 1.1; proxy_set_header Connection ""; }`,
      }),
    )
    for (const [name, peer] of Object.entries({ nginx, lighttpd, apache })) ports.set(name, peer.address.port)
    proxy = outside.address.port
  })

  afterAll(async () => {
    await server?.stop()
    for (const peer of peers.toReversed()) await peer.stop()
    temporary.remove()
  })

  test.each(questions('/told.php'))('PHP is told the same by nginx and lighttpd: %s', async (_, question) => {
    const ours = await ask(server.port, question)
    expect(ours.status).toBe(200)
    for (const name of ['nginx', 'lighttpd']) {
      const theirs = await ask(ports.get(name)!, question)
      expect(fromPhp(ours.text), name).toEqual(fromPhp(theirs.text))
    }
  })

  test.each(questions('/cgi-bin/told'))('a CGI program is told the same by Apache, lighttpd and fcgiwrap: %s', async (_, question) => {
    const ours = await ask(server.port, question)
    expect(ours.status).toBe(200)
    for (const name of ['apache', 'lighttpd', 'nginx']) {
      const theirs = await ask(ports.get(name)!, question)
      expect(fromEnv(ours.text), name).toEqual(fromEnv(theirs.text))
    }
  })

  test('behind nginx as a proxy, pages, files and uploads go through', async () => {
    const browser = new Browser(proxy)
    const [direct, through] = [await ask(server.port, { method: 'GET', path: '/large.bin', headers: {} }), await browser.get('/large.bin')]
    expect([through.status, through.text === direct.text]).toEqual([200, true])

    const file = { filename: 'x.bin', type: 'application/octet-stream', content: randomBytes(2 * MiB) }
    expect((await browser.upload('/up.php', {}, { file })).status).toBe(200)
    const posted = await ask(proxy, { method: 'PUT', path: '/up.php', headers: {}, body: 'x'.repeat(2 * MiB) })
    expect(posted).toEqual({ status: 200, text: String(2 * MiB) })
    browser.close()
  })
})
