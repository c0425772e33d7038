// What went wrong in other servers, asked of a site of ours over a real socket. One test for each advisory, by its number.

import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { buildSite, describeFolder } from '../src/config/index.ts'
import { serveHttp } from '../src/http/index.ts'
import { has } from './peers.ts'
import type { Backend, Server } from '../src/core/index.ts'

const PHP = has('php-cgi')
let folder: string
let root: string
let site: Backend
let server: Server
let port: number
const lines: string[] = []

const put = (path: string, content: string | Buffer, mode = 0o644): void => {
  const file = join(root, path)
  mkdirSync(dirname(file), { recursive: true })
  writeFileSync(file, content)
  chmodSync(file, mode)
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-security-'))
  root = join(folder, 'site')
  put('cgi-bin/env', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\necho "argc=$#"\nenv\n', 0o755)
  put('cgi-bin/say', '#!/bin/sh\ncat\n', 0o755)
  put(
    'env.php',
    '<?php echo "argc=", $argc ?? 0, "\\n"; foreach ($_SERVER + getenv() as $k => $v) if (is_string($v)) echo "$k=$v\\n"; // SECRET',
  )
  put('cgi-bin/who', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n"\nid -u\n', 0o755)
  put('cgi-bin/mark', `#!/bin/sh\ntouch ${folder}/mark\nprintf "Content-Type: text/plain\\n\\n"\n`, 0o755)
  put(
    'state.php',
    `<?php $found = [$_SESSION ?? null, $GLOBALS['left'] ?? null, getenv('LEFT'), defined('LEFT'), session_id(), ini_get('precision')];
    echo json_encode(['pid' => getmypid(), 'found' => $found]);
    ini_set('session.save_path', __DIR__); ini_set('session.use_cookies', '0'); ini_set('precision', '3');
    session_start(); $_SESSION['user'] = $GLOBALS['left'] = 'SECRET'; putenv('LEFT=SECRET'); define('LEFT', 'SECRET');`,
  )
  put('upload.jpg', '<?php echo "EXECUTED"; // SECRET')
  put('evil.txt', '<?php echo "EXECUTED";')
  put('config.php.bak', 'SECRET')
  put('.env', 'SECRET')
  put('.git/config', 'SECRET')
  put('php.ini', 'SECRET')
  put('public.txt', 'public')
  writeFileSync(join(folder, 'outside.txt'), 'SECRET')
  writeFileSync(join(folder, 'outside.php'), '<?php echo "EXECUTED SECRET";')
  symlinkSync('../outside.txt', join(root, 'link.txt'))
  symlinkSync('../outside.php', join(root, 'link.php'))
  symlinkSync('..', join(root, 'up'))
  symlinkSync('upload.jpg', join(root, 'image.php'))
  symlinkSync('env.php', join(root, 'source.txt'))
  put('shop/app.mjs', "export default (request) => ({ status: 200, headers: [], body: 'application' }) // SECRET")
  put('shop/settings.txt', 'SECRET')
  symlinkSync('shop/settings.txt', join(root, 'settings.txt'))
  symlinkSync('shop', join(root, 'store'))
  const log = {
    debug() {},
    info() {},
    warn: (_: object, message: string) => void lines.push(message),
    error: (_: object, message: string) => void lines.push(message),
  }
  site = await buildSite(await describeFolder(root, { workers: 1 }), { log })
  await site.ready()
  server = await serveHttp(site, { log })
  if (!('port' in server.address)) throw new Error('no port')
  port = server.address.port
})

afterAll(async () => {
  await server?.close(0)
  await site?.close(0)
  rmSync(folder, { recursive: true })
})

/** The bytes as they are, and all that comes back. Whoever writes to it is cut off after the answer. */
function raw(bytes: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(port, '127.0.0.1', () => socket.write(bytes, 'latin1'))
    socket.setEncoding('latin1')
    socket.on('data', (chunk: string) => (text += chunk))
    socket.on('end', () => resolve(text))
    socket.on('error', reject)
  })
}

function unchunked(text: string): string {
  let out = ''
  for (let at = 0; ;) {
    const end = text.indexOf('\r\n', at)
    const length = Number.parseInt(text.slice(at, end), 16)
    if (end === -1 || !(length > 0)) return out
    out += text.slice(end + 2, end + 2 + length)
    at = end + 4 + length
  }
}

async function get(target: string, headers: readonly string[] = [], body = ''): Promise<{ status: number; head: string; body: string }> {
  const method = body === '' ? 'GET' : 'POST'
  const length = body === '' ? [] : [`Content-Length: ${body.length}`]
  const text = await raw(
    [`${method} ${target} HTTP/1.1`, 'Host: test.example', 'Connection: close', ...length, ...headers, '', body].join('\r\n'),
  )
  const end = text.indexOf('\r\n\r\n')
  const rest = text.slice(end + 4)
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]),
    head: text.slice(0, end),
    body: /^transfer-encoding: chunked$/im.test(text.slice(0, end)) ? unchunked(rest) : rest,
  }
}

/** Both kinds of programs that print their variables. */
const programs = ['/cgi-bin/env', ...(PHP ? ['/env.php'] : [])]

describe.each(programs)('a client of %s', (program) => {
  test.each(['-s', '-d+allow_url_include%3d1+-d+auto_prepend_file%3dphp://input', '%ADs', '%C2%ADs', 'a+b', '-T+9999999'])(
    'cannot make arguments of the query %s (CVE-2012-1823, CVE-2024-4577)',
    async (query) => {
      const { status, body } = await get(`${program}?${query}`)
      expect(status).toBe(200)
      expect(body).toMatch(/^argc=[01]\n/)
      expect(body).not.toContain('SECRET')
      expect(body).toContain(`QUERY_STRING=${query}\n`)
    },
  )

  test('cannot make a variable without HTTP_ in front (CVE-2024-8927, CVE-2016-5385, caddy#7934, gunicorn#2799, frankenphp#2460)', async () => {
    const { body } = await get(program, [
      'Redirect-Status: 0',
      'Redirect_Status: 0',
      'Proxy: http://evil/',
      'PHP-Value: auto_prepend_file=/etc/passwd',
      'PHP_ADMIN_VALUE: auto_prepend_file=/etc/passwd',
      'Script-Filename: /etc/passwd',
      'Document-Root: /',
      'Path: /evil',
      'LD-Preload: /evil.so',
      'Remote_User: admin',
      'Content_Length: 5',
    ])
    const names = new Map(
      body
        .split('\n')
        .flatMap((line) => (line.includes('=') ? [[line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]] : [])),
    )
    expect(names.get('REDIRECT_STATUS')).toBe('200')
    expect(names.get('SCRIPT_FILENAME')).toBe(root + program)
    expect(names.get('DOCUMENT_ROOT')).toBe(root)
    expect(names.get('PATH')).not.toBe('/evil')
    for (const name of [
      'HTTP_PROXY',
      'PHP_VALUE',
      'PHP_ADMIN_VALUE',
      'LD_PRELOAD',
      'REMOTE_USER',
      'HTTP_REMOTE_USER',
      'HTTP_PHP_ADMIN_VALUE',
      'CONTENT_LENGTH',
    ]) {
      expect([name, names.get(name)]).toEqual([name, undefined])
    }
    // What has a hyphen is an ordinary header.
    expect(names.get('HTTP_PHP_VALUE')).toBe('auto_prepend_file=/etc/passwd')
  })

  test('gets no variable of the server itself', async () => {
    process.env['VIADUCT_TEST_SECRET'] = 'SECRET'
    const { body } = await get(program)
    delete process.env['VIADUCT_TEST_SECRET']
    expect(body).not.toContain('SECRET')
  })

  test('reaches no shell (CVE-2025-58098)', async () => {
    const mark = join(folder, 'mark')
    await get(`${program}?$(touch${'${IFS}'}${mark});\`touch%20${mark}\`|touch%20${mark}`, ['User-Agent: () { :;}; /bin/touch ' + mark])
    expect(existsSync(mark)).toBe(false)
  })

  test('that leaves in the middle of its upload keeps no place of those who come (CVE-2022-41556)', async () => {
    const head = `POST ${program} HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`
    const half = (): Promise<void> =>
      new Promise((resolve) => {
        const socket = connect(port, '127.0.0.1', () => socket.end(head))
        socket.on('error', () => {})
        socket.on('close', () => resolve())
        socket.resume()
      })
    // More than there are workers of PHP, or places for programs.
    await Promise.all(Array.from({ length: 40 }, half))
    expect((await get(program)).status).toBe(200)
  })

  test('sees script, path info and file agree, whatever it asks (CVE-2019-11043, CVE-2026-129538)', async () => {
    for (const [rest, info] of [
      ['', undefined],
      ['/', '/'],
      ['/x', '/x'],
      ['/x//y/../z', '/x/z'],
      ['/env.php/env', '/env.php/env'],
      ['/%25', '/%'],
    ] as const) {
      const { body } = await get(program + rest)
      const value = (name: string): string | undefined => new RegExp(`^${name}=(.*)$`, 'm').exec(body)?.[1]
      expect([rest, value('SCRIPT_NAME'), value('PATH_INFO'), value('SCRIPT_FILENAME')]).toEqual([rest, program, info, root + program])
    }
  })

  test.each(['%0a', '%0D', '%00', '%1f', '%7f'])('cannot put the byte %s into a path (CVE-2019-11043, caddy#4614)', async (byte) => {
    for (const target of [`${program}${byte}`, `${program}/a${byte}b`, `/a${byte}${program}`])
      expect([target, (await get(target)).status]).toEqual([target, 400])
  })

  test.each(['%2F', '%2f', '%5C', '%5c'])('cannot hide a slash as %s (CVE-2024-38473, CVE-2024-38474)', async (slash) => {
    for (const target of [`${program}/a${slash}b`, program.replace(/(?!^)\/|$/, slash), `${program}${slash}..${slash}..`]) {
      expect([400, 404], target).toContain((await get(target)).status)
    }
  })
})

test('nothing in a request says who a program runs as (CVE-2025-66200)', async () => {
  for (const target of ['/cgi-bin/who', '/cgi-bin/who/~nobody', '/cgi-bin/who?~nobody']) {
    const { body } = await get(target, [
      'User: nobody',
      'Remote-User: nobody',
      'X-Suexec-User: nobody',
      'Authorization: Basic bm9ib2R5Og==',
    ])
    expect(body.trim()).toBe(String(process.getuid?.()))
  }
})

describe('a coding', () => {
  test.each([
    ['beside a length', 'Content-Length: 4\r\nTransfer-Encoding: chunked'],
    ['with a space before its colon', 'Content-Length: 4\r\nTransfer-Encoding : chunked'],
    ['that nobody knows', 'Content-Length: 4\r\nTransfer-Encoding: xchunked'],
    ['after a control character', 'Content-Length: 4\r\nTransfer-Encoding: \x0bchunked'],
    ['and another one', 'Transfer-Encoding: chunked\r\nTransfer-Encoding: identity'],
  ])('%s hides no second request in the first (CVE-2024-1135, CVE-2024-6827, gunicorn#3364)', async (_, fields) => {
    const second = 'GET /cgi-bin/mark HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    const answers = await raw(`POST /cgi-bin/say HTTP/1.1\r\nHost: a\r\n${fields}\r\n\r\n0\r\n\r\n${second}`)
    expect(answers).toMatch(/^HTTP\/1\.1 (?:400|501) /)
    expect(answers.split('HTTP/1.1 ')).toHaveLength(2)
    expect(existsSync(join(folder, 'mark'))).toBe(false)
  })
})

interface State {
  readonly pid: number
  readonly found: readonly unknown[]
}

const state = async (): Promise<State> => JSON.parse((await get('/state.php')).body) as State

/** Memory that a process can write to, and others too: device and inode of each mapping. */
const shared = (pid: number | 'self'): string[] =>
  readFileSync(`/proc/${pid}/maps`, 'latin1')
    .split('\n')
    .map((line) => line.split(/ +/))
    .filter(([, permissions]) => permissions?.startsWith('rw') === true && permissions.endsWith('s'))
    .map(([, , , device, inode]) => `${device} ${inode}`)

describe.skipIf(!PHP)('a worker of PHP', () => {
  test('keeps nothing of one request for the next (GHSA-r3xh-3r3w-47gp)', async () => {
    const [first, second] = [await state(), await state()]
    expect(second.pid).toBe(first.pid)
    expect(second.found).toEqual(first.found)
    expect(second.found.slice(0, 5)).toEqual([null, null, false, false, ''])
  })

  test('shares no memory with the manager (CVE-2021-21703, CVE-2026-129291)', async () => {
    const { pid } = await state()
    const leader = Number(/^PPid:\s+(\d+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
    const ours = new Set(shared('self'))
    for (const each of [pid, leader]) expect(shared(each).filter((mapping) => ours.has(mapping))).toEqual([])
  })
})

describe('what is not served', () => {
  test.each([
    '/.env',
    '/%2eenv',
    '/.git/config',
    '/php.ini',
    '/config.php.bak',
    '/link.txt',
    '/up/outside.txt',
    '/source.txt',
    '/link.php',
    '/image.php',
    '/upload.jpg/x.php',
    '/upload.jpg/.php',
    '/upload.jpg%00.php',
    '/evil.txt/x.PHP',
    '/../outside.txt',
    '/%2e%2e/outside.txt',
    '/..%2foutside.txt',
    '/public.txt/../../outside.txt',
    '/..%5coutside.txt',
    '/%252e%252e/outside.txt',
    '/%c0%ae%c0%ae/outside.txt',
    '/public.txt%20',
    '/public.txt.',
    '/public.txt::$DATA',
    '/cgi-bin/',
  ])('%s', async (target) => {
    const { status, body } = await get(target)
    expect([400, 404]).toContain(status)
    expect(body).not.toMatch(/SECRET|EXECUTED|public/)
  })

  // What an application is made of is its own: no path, however it is written, makes a file of it.
  test.each([
    '/shop/app.mjs',
    '/shop/settings.txt',
    '//shop/settings.txt',
    '/shop//settings.txt',
    '/%73hop/settings.txt',
    '/shop%2fsettings.txt',
    '/shop/./settings.txt',
    '/x/../shop/settings.txt',
    '/%2e/shop/settings.txt',
    '/settings.txt',
    '/settings.txt/',
    '/store/settings.txt',
    '/store/app.mjs',
    '/SHOP/settings.txt',
  ])('%s, of an application in the folder', async (target) => {
    const { status, body } = await get(target)
    expect([200, 400, 404]).toContain(status)
    expect(body).not.toContain('SECRET')
    if (status === 200) expect(body).toBe('application')
  })

  test('nothing runs because its name folds to other lengths (CVE-2026-27590, CVE-2026-45062, GHSA-m675-2p33-xv9g, GHSA-g966-83w7-6w38)', async () => {
    for (const letter of ['\u0130', '\u212a', '\ufb03', '\u1e9e', '\u023a']) {
      const name = `${letter}${letter}.txt`
      put(name, '<?php echo "EXECUTED";')
      for (const rest of ['', '.php', '/.php', '/x.php', '.PHP', `/${letter}.php`]) {
        const { body } = await get(`/${encodeURIComponent(name)}${encodeURI(rest)}`)
        expect(body, name + rest).not.toBe('EXECUTED')
      }
    }
  })

  test('a text that is uploaded as one is sent as one', async () => {
    expect(await get('/evil.txt')).toMatchObject({
      status: 200,
      body: '<?php echo "EXECUTED";',
      head: expect.stringContaining('Content-Type: text/plain; charset=utf-8') as string,
    })
  })
})

const say = (text: string): Promise<{ status: number; head: string; body: string }> => get('/cgi-bin/say', [], text)

describe('what a program says', () => {
  test('about the connection is not passed on (CVE-2023-38709, CVE-2024-24795)', async () => {
    const { status, head, body } = await say(
      'Content-Type: text/plain\nTransfer-Encoding: chunked\nConnection: upgrade\nUpgrade: x\nKeep-Alive: 5\n\nbody',
    )
    expect([status, body.includes('body')]).toEqual([200, true])
    expect(head).not.toMatch(/^(?:upgrade|keep-alive):|connection: upgrade/im)
  })

  test.each([
    ['a bare CR', 'Content-Type: text/plain\nX: a\rSet-Cookie: b=1\n\n'],
    ['a NUL', 'Content-Type: text/plain\nX: a\0b\n\n'],
    ['a second status', 'Status: 200\nStatus: 500\n\n'],
    ['a second length', 'Content-Type: text/plain\nContent-Length: 1\nContent-Length: 2\n\nab'],
    ['no header at all', '\n\nbody'],
    ['a name that is none', 'Content Type: text/plain\n\nbody'],
  ])('with %s is refused (CVE-2022-37436, CVE-2024-42516, CVE-2026-63718)', async (_, text) => {
    const { status, head } = await say(text)
    expect(status).toBe(502)
    expect(head).not.toMatch(/set-cookie/i)
  })

  test('cannot name a file or a handler (CVE-2024-38476, CVE-2024-39884)', async () => {
    for (const field of ['X-Sendfile', 'X-Accel-Redirect', 'X-Lighttpd-Send-File']) {
      const { body } = await say(`Content-Type: application/x-httpd-php\n${field}: ${folder}/outside.txt\n\nbody`)
      expect(body).not.toContain('SECRET')
      expect(body).toContain('body')
    }
  })

  test('as a local redirect stays in the site and its rules', async () => {
    expect((await say('Location: /public.txt\n\n')).body).toBe('public')
    for (const location of ['/.env', '/link.txt', '/source.txt', '/cgi-bin%2fenv']) {
      const { status, body } = await say(`Location: ${location}\n\n`)
      expect([location, status, body.includes('SECRET')]).toEqual([location, 404, false])
    }
    // Another host, by RFC 3986, 4.2: the client's to follow.
    expect((await say('Location: //evil.example/x\n\n')).status).toBe(302)
  })
})

test('a page about an error tells nothing that was sent, nor why', async () => {
  const { status, body } = await get('/<script>alert(1)</script>?<script>', ['Accept: text/html'])
  expect(status).toBe(404)
  expect(body).not.toMatch(/<script|alert/)
  put('cgi-bin/broken', '#!/no/such/interpreter\n', 0o755)
  const missing = await get('/cgi-bin/broken/<script>alert(1)</script>')
  expect(missing.body).not.toContain('<script')
  put('cgi-bin/fails', '#!/bin/sh\necho SECRET >&2\nexit 3\n', 0o755)
  const fails = await get('/cgi-bin/fails')
  expect([fails.status >= 500, fails.body.includes('SECRET')]).toEqual([true, false])
  expect(lines.join('\n')).toContain('SECRET')
})
