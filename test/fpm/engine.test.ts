// The same configuration, requests and signals to Debian's php-fpm and to `viaduct fpm`: what both must do.

import { createHash, randomBytes } from 'node:crypto'
import { rmSync, statSync, writeFileSync } from 'node:fs'
import { execFileSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Fpm, REAL, ask, freePort, isRoot, makeFolder, open, variables } from './engine.ts'
import type { Kind, Reply } from './engine.ts'

const SCRIPTS = {
  'hello.php': '<?php echo "hello";',
  'said.php': '<?php http_response_code(404); header("X-One: 1"); error_log("complaint"); echo "not here";',
  'server.php':
    '<?php ksort($_SERVER); foreach (["REQUEST_TIME", "REQUEST_TIME_FLOAT"] as $k) unset($_SERVER[$k]); echo json_encode($_SERVER);',
  'body.php': '<?php $b = file_get_contents("php://input"); echo strlen($b), " ", md5($b), " ", $_SERVER["CONTENT_LENGTH"] ?? "none";',
  'who.php':
    '<?php echo json_encode([posix_getpwuid(posix_geteuid())["name"], posix_getgrgid(posix_getegid())["name"], getcwd(), getenv("ONE"), getenv("TWO"), getenv("SECRET"), getenv("USER"), getenv("HOME"), pcntl_get(), posix_getrlimit()["soft openfiles"]]); function pcntl_get() { return (int) explode(" ", file_get_contents("/proc/self/stat"))[18]; }',
  'ini.php':
    '<?php $r = []; foreach (["memory_limit", "display_errors", "precision", "sendmail_path"] as $k) { $r[] = ini_get($k); $r[] = ini_set($k, "7") === false ? "refused" : "changed"; $r[] = ini_get($k); } $r[] = function_exists("exec"); echo json_encode($r);',
  'dumpable.php':
    '<?php echo posix_getpwuid(fileowner("/proc/self/environ"))["name"], " ", @file_get_contents("/proc/self/environ") === false ? "no" : "yes";',
  'sleep.php': '<?php usleep((int) ($_GET["ms"] * 1000)); echo "slept ", getmypid();',
  'talk.php': '<?php file_put_contents("php://stderr", "one\\ntwo\\n"); echo "talked";',
  'big.php': '<?php for ($i = 0; $i < 200; $i++) echo str_repeat(chr(65 + $i % 26), 65536);',
  'photo.jpg': '<?php echo "executed";',
}
const STATIC = 'pm = static\npm.max_children = 2'
const kinds: Kind[] = ['php-fpm', 'viaduct']

const seen = ({ status, head, body, stderr, whole }: Reply): object => ({ status, head, body, stderr, whole })

async function both<T>(
  pool: string,
  what: (fpm: Fpm) => Promise<T>,
  more: { global?: string; more?: string; env?: Record<string, string> } = {},
): Promise<[T, T]> {
  const results: T[] = []
  for (const kind of kinds) {
    await using fpm = await Fpm.start(kind, { pool, scripts: SCRIPTS, ...more })
    results.push(await what(fpm))
  }
  return results as [T, T]
}

/** Without what is the folder of this test. */
const plain = (fpm: Fpm, text: string): string =>
  text.replaceAll(fpm.folder, 'FOLDER').replaceAll(fpm.folder.replaceAll('/', '\\/'), 'FOLDER')

describe.skipIf(!has('php-cgi', REAL))('beside php-fpm', () => {
  test('answers are the same, byte for byte, and so is the access log', async () => {
    const [real, ours] = await both(`${STATIC}\naccess.format = "%R %u %m %r%Q%q %s %f %l %n %{X-One}o %{REMOTE_ADDR}e"`, async (fpm) => {
      const replies: object[] = []
      const questions: [string, string][] = [
        ['hello.php', ''],
        ['hello.php', 'a=b&c'],
        ['said.php', ''],
        ['none.php', ''],
        ['photo.jpg', ''],
        ['photo.jpg/x.php', ''],
        ['hello.php/path/info', ''],
        ['none.txt', ''],
      ]
      for (const [script, query] of questions) replies.push(seen(await fpm.ask(script, query)))
      replies.push(seen(await ask(fpm.socket, { ...variables(''), SCRIPT_NAME: '/ping' })))
      replies.push(seen(await ask(fpm.socket, { ...variables(''), SCRIPT_NAME: '/nothing' })))
      await until('the access log', () => fpm.read('access.log').split('\n').length > 10)
      return { replies: JSON.parse(plain(fpm, JSON.stringify(replies))) as object, log: plain(fpm, fpm.read('access.log')) }
    })
    expect(ours).toEqual(real)
  })

  test('a script is told the same, but for what php-cgi needs itself', async () => {
    const [real, ours] = await both(STATIC, async (fpm) => {
      const params = {
        ...variables(fpm.script('server.php'), 'x=%20&y'),
        HTTP_HOST: 'example.org',
        HTTP_X_ODD_NAME: 'odd',
        SERVER_SOFTWARE: 'nginx/9',
        PATH_INFO: '',
        HTTPS: 'on',
        EMPTY: '',
        DOCUMENT_ROOT: fpm.folder,
      }
      return JSON.parse(plain(fpm, (await ask(fpm.socket, params)).body)) as Record<string, string>
    })
    for (const name of Object.keys(ours)) if (/^PHP_(FCGI_|INI_SCAN)/.test(name)) delete ours[name]
    expect(ours).toEqual(real)
  })

  test('Apache says a script with a proxy in front of it', async () => {
    const [real, ours] = await both(STATIC, async (fpm) => {
      const reply = await ask(fpm.socket, {
        ...variables(fpm.script('hello.php')),
        SCRIPT_FILENAME: `proxy:fcgi://localhost:9000${fpm.script('hello.php')}?a=/b`,
      })
      return seen(reply)
    })
    expect(ours).toEqual(real)
  })

  test.each([0, 1, 8191, 131_072, 131_073, 3_000_000])('a body of %i bytes', async (length) => {
    const body = randomBytes(length)
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    const reply = await fpm.ask('body.php', '', { body, variables: { REQUEST_METHOD: 'POST', CONTENT_TYPE: 'application/octet-stream' } })
    expect(reply.body).toBe(`${length} ${createHash('md5').update(body).digest('hex')} ${length}`)
  })

  test('a connection goes on after a large body', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    const socket = open(fpm.socket)
    for (let i = 0; i < 3; i++) {
      const body = Buffer.alloc(2_000_000)
      const reply = await fpm.ask('body.php', '', { socket, body, variables: { REQUEST_METHOD: 'POST' } })
      expect(reply.body).toMatch(/^2000000 /)
      expect((await fpm.ask('hello.php', '', { socket })).body).toBe('hello')
    }
    socket.destroy()
  })

  test('a body of a file of the web server (REQUEST_BODY_FILE)', async () => {
    const body = randomBytes(300_000)
    const [real, ours] = await both(STATIC, async (fpm) => {
      writeFileSync(join(fpm.folder, 'upload'), body, { mode: 0o644 })
      const more = {
        REQUEST_METHOD: 'POST',
        CONTENT_TYPE: 'application/octet-stream',
        CONTENT_LENGTH: String(body.length),
        REQUEST_BODY_FILE: join(fpm.folder, 'upload'),
      }
      return seen(await fpm.ask('body.php', '', { variables: more }))
    })
    expect(ours).toEqual(real)
    expect((ours as Reply).body).toContain(createHash('md5').update(body).digest('hex'))
  })

  test('a body that cannot be kept is answered with an error, and the connection goes on', async () => {
    using temporary = makeFolder()
    await using fpm = await Fpm.start('viaduct', { pool: STATIC, scripts: SCRIPTS, env: { TMPDIR: temporary.path } })
    rmSync(temporary.path, { recursive: true })
    const socket = open(fpm.socket)
    const reply = await fpm.ask('body.php', '', { socket, body: Buffer.alloc(3_000_000), variables: { REQUEST_METHOD: 'POST' } })
    expect(reply.status).toBe(507)
    await fpm.said('a request body cannot be kept')
    expect((await fpm.ask('hello.php', '', { socket })).body).toBe('hello')
    socket.destroy()
  })

  test('a large answer comes whole', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: STATIC, scripts: SCRIPTS })
    const reply = await fpm.ask('big.php')
    expect(reply).toMatchObject({ status: 200, whole: true })
    expect(reply.body.length).toBe(200 * 65_536)
  })

  test('what workers print is in the log, a line each', async () => {
    const [real, ours] = await both(`${STATIC}\ncatch_workers_output = yes`, async (fpm) => {
      await fpm.ask('talk.php')
      await fpm.said('said into stderr', 2)
      return fpm.log
        .split('\n')
        .filter((line) => line.includes('said into'))
        .map((line) => line.replace(/^\[.*?\]/, '').replace(/child \d+/, 'child N'))
    })
    expect(ours).toEqual(real)
  })

  test.skipIf(!isRoot)('a pool is who its configuration says, where and with what it says', async () => {
    const pool = `${STATIC}\nchdir = /usr\nenv[ONE] = 1\nenv[TWO] = $TWO_OF_MASTER\nprocess.priority = 5\nrlimit_files = 777`
    const [real, ours] = await both(pool, async (fpm) => JSON.parse(plain(fpm, (await fpm.ask('who.php')).body)) as unknown, {
      env: { TWO_OF_MASTER: '2', SECRET: 'x' },
    })
    expect(ours).toEqual(real)
    expect(ours).toEqual(['www-data', 'www-data', 'FOLDER', '1', '2', false, 'www-data', '/var/www', 5, 777])
  })

  test.skipIf(!isRoot)('process.dumpable: off by default, and whoever is not dumpable cannot be looked into by its own user', async () => {
    for (const [lines, dumpable] of [
      ['', false],
      ['process.dumpable = no', false],
      ['process.dumpable = yes', true],
    ] as const) {
      const [real, ours] = await both(`${STATIC}\n${lines}`, async (fpm) => (await fpm.ask('dumpable.php')).body)
      expect(ours).toBe(real)
      expect(ours).toBe(dumpable ? 'www-data yes' : 'root no')
    }
  })

  test('settings of a pool: a script may change php_value, and never php_admin_value', async () => {
    const pool = `${STATIC}
php_value[memory_limit] = 77M
php_flag[display_errors] = off
php_admin_value[precision] = 9
php_admin_value[sendmail_path] = "/bin/true -x 'a b' \\"c\\""
php_admin_value[disable_functions] = exec`
    const [real, ours] = await both(pool, async (fpm) => {
      const first = (await fpm.ask('ini.php')).body
      // What one request changed is not there for the next.
      expect((await fpm.ask('ini.php')).body).toBe(first)
      return JSON.parse(first) as unknown
    })
    // php-fpm says '0' where php-cgi keeps an empty value.
    expect(ours).toEqual(real)
  })

  test('nobody starves: idle connections hold no worker', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    const kept = Array.from({ length: 5 }, () => open(fpm.socket))
    for (const socket of kept) expect((await ask(fpm.socket, variables(fpm.script('hello.php')), { socket })).body).toBe('hello')
    // Each of them again, and one that is new.
    for (const socket of [...kept.toReversed(), open(fpm.socket)]) {
      expect((await ask(fpm.socket, variables(fpm.script('hello.php')), { socket, id: 7 })).body).toBe('hello')
      socket.destroy()
    }
  })

  test('slow uploads hold no worker either', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    const slow = open(fpm.socket)
    const { encodeRequest, Role, record, Type } = await import('../../src/fastcgi/index.ts')
    const params = { ...variables(fpm.script('body.php')), REQUEST_METHOD: 'POST', CONTENT_LENGTH: '10' }
    slow.write(
      encodeRequest(1, Role.Responder, true, (emit) => Object.entries(params).forEach(([name, value]) => emit(name, value))),
      'latin1',
    )
    slow.write(record(Type.Stdin, 1, 'half.'), 'latin1')
    expect((await fpm.ask('hello.php')).body).toBe('hello')
    const answered = new Promise<string>((resolve) => slow.on('data', (bytes) => resolve(bytes.toString('latin1'))))
    slow.write(record(Type.Stdin, 1, 'half.') + record(Type.Stdin, 1, ''), 'latin1')
    expect(await answered).toContain(`10 ${createHash('md5').update('half.half.').digest('hex')} 10`)
    slow.destroy()
  })

  test('status tells the true queue while every worker is busy', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: STATIC, scripts: SCRIPTS })
    const running = Array.from({ length: 5 }, () => fpm.ask('sleep.php', 'ms=400'))
    const full = await until('a queue', async () => {
      const status = await fpm.status()
      return status['listen queue'] === 3 ? status : undefined
    })
    expect(full).toMatchObject({ 'active processes': 2, 'idle processes': 0, 'total processes': 2 })
    await Promise.all(running)
    expect(await fpm.status()).toMatchObject({
      'active processes': 0,
      'idle processes': 2,
      'listen queue': 0,
      'max listen queue': 3,
      'max active processes': 2,
    })
  })

  test('a pool that only tells: pm.status_listen', async () => {
    const pool = `${STATIC}\npm.status_listen = FOLDER/status.sock`
    await using fpm = await Fpm.start('viaduct', { pool, scripts: SCRIPTS })
    await fpm.ask('hello.php')
    const reply = await ask(fpm.script('status.sock'), { ...variables('', 'json'), SCRIPT_NAME: '/status' })
    expect(JSON.parse(reply.body)).toMatchObject({ pool: 'www', 'accepted conn': 1 })
    expect(await ask(fpm.script('status.sock'), variables(fpm.script('hello.php')))).toMatchObject({ status: 403 })
  })

  test('a worker that has had its requests leaves, and another one comes', async () => {
    const [real, ours] = await both('pm = static\npm.max_children = 1\npm.max_requests = 3', async (fpm) => {
      for (let i = 0; i < 7; i++) expect((await fpm.ask('hello.php')).body).toBe('hello')
      await fpm.said('exited with code 0', 2)
      return fpm.log
        .split('\n')
        .filter((line) => line.includes('[pool www]'))
        .map((line) =>
          line
            .replace(/^\[.*?\]/, '')
            .replace(/child \d+/, 'child N')
            .replace(/[\d.]+ seconds/, 'T seconds'),
        )
        .slice(0, 4)
    })
    expect(ours).toEqual(real)
  })

  test('ondemand: none, then as many as are needed, up to its limit, which is told once', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = ondemand\npm.max_children = 2', scripts: SCRIPTS })
    expect((await fpm.status())['total processes']).toBe(0)
    const replies = await Promise.all(Array.from({ length: 4 }, () => fpm.ask('sleep.php', 'ms=200')))
    expect(replies.every((reply) => reply.body.startsWith('slept'))).toBe(true)
    expect(await fpm.status()).toMatchObject({ 'total processes': 2, 'max children reached': 1 })
    expect(fpm.log.match(/server reached max_children setting \(2\), consider raising it/g)?.length).toBe(1)
  })

  test('ondemand: whoever has nothing to do goes', async () => {
    await using fpm = await Fpm.start('viaduct', {
      pool: 'pm = ondemand\npm.max_children = 2\npm.process_idle_timeout = 1s',
      scripts: SCRIPTS,
    })
    expect((await fpm.ask('hello.php')).body).toBe('hello')
    expect((await fpm.status())['total processes']).toBe(1)
    await until('it is gone', async () => (await fpm.status())['total processes'] === 0)
    expect((await fpm.ask('hello.php')).body).toBe('hello')
  })

  test('dynamic: grows under load', async () => {
    const pool = 'pm = dynamic\npm.max_children = 4\npm.start_servers = 1\npm.min_spare_servers = 1\npm.max_spare_servers = 2'
    await using fpm = await Fpm.start('viaduct', { pool, scripts: SCRIPTS })
    expect((await fpm.status())['total processes']).toBe(1)
    const running = Array.from({ length: 2 }, () => fpm.ask('sleep.php', 'ms=2500'))
    await until('it has grown', async () => (await fpm.status())['total processes'] >= 2)
    expect((await Promise.all(running)).every((reply) => reply.whole)).toBe(true)
  })

  test('process.max holds for all pools together, and is told once', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 4', global: 'process.max = 3', scripts: SCRIPTS })
    expect((await fpm.status())['total processes']).toBe(3)
    expect(fpm.log.match(/The maximum number of processes has been reached/g)?.length).toBe(1)
  })

  test('TCP, and who may connect by it', async () => {
    const port = await freePort()
    const [real, ours] = await both(`${STATIC}\nlisten = 127.0.0.1:${port}\nlisten.allowed_clients = 127.0.0.1`, async (fpm) =>
      seen(await ask({ host: '127.0.0.1', port }, variables(fpm.script('hello.php')))),
    )
    expect(ours).toEqual(real)
    await using closed = await Fpm.start('viaduct', {
      pool: `${STATIC}\nlisten = [::1]:${port}\nlisten.allowed_clients = ::2,127.0.0.1`,
      scripts: SCRIPTS,
    })
    expect((await ask({ host: '::1', port }, variables(closed.script('hello.php')))).whole).toBe(false)
    await closed.said("Connection disallowed: IP address '::1' has been dropped.")
  })

  test.skipIf(!isRoot || !has('getfacl'))('sockets belong to whom the configuration says', async () => {
    for (const lines of [
      'listen.owner = www-data\nlisten.group = daemon\nlisten.mode = 0640',
      'listen.acl_users = www-data,daemon\nlisten.acl_groups = www-data',
    ]) {
      const [real, ours] = await both(`${STATIC}\n${lines}`, async (fpm) => ownership(fpm.socket))
      expect(ours).toEqual(real)
    }
  })

  test.skipIf(!isRoot)('a root without php-cgi is refused, and told what it needs', async () => {
    await using fpm = Fpm.launch('viaduct', { pool: `${STATIC}\nchroot = FOLDER\nchdir = /`, scripts: SCRIPTS })
    expect((await fpm.exited).code).toBe(78)
    expect(fpm.log + fpm.printed).toMatch(/chroot: there is no .*php-cgi.*Workers are started inside the root/)
  })
})

function ownership(path: string): string {
  const { uid, gid, mode } = statSync(path)
  return `${uid} ${gid} ${(mode & 0o777).toString(8)}\n${execFileSync('getfacl', ['-cp', path], { encoding: 'utf8' })}`
}
