// PHP without a PHP: requests, what goes wrong in an interpreter, and what a script must not reach.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, realpathSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { derive, lint } from '../../src/core/index.ts'
import { embeddedPhp } from '../../src/embedded/index.ts'
import { makeRequest, serveMemory } from '../../src/testing/index.ts'
import { until } from '../processes.ts'
import type { Backend } from '../../src/core/index.ts'
import type { MemoryServer } from '../../src/testing/index.ts'

const folder = realpathSync(mkdtempSync(join(tmpdir(), 'viaduct-embedded-test-')))
const root = join(folder, 'site')
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info: note, warn: note, error: note }

let php: Backend
let readOnly: Backend
let server: MemoryServer

const put = (path: string, content: string): void => {
  mkdirSync(join(root, path, '..'), { recursive: true })
  writeFileSync(join(root, path), content)
}

beforeAll(async () => {
  mkdirSync(root)
  writeFileSync(join(folder, 'outside.php'), '<?php echo "outside";')
  php = embeddedPhp({
    root,
    log,
    workers: 2,
    ini: { 'session.use_strict_mode': '1', precision: '9' },
    env: { SETTING: 'ü & "x"' },
    limits: { silence: 3000, memory: 256 * 1024 ** 2 },
  })
  readOnly = embeddedPhp({ root, log, workers: 1, files: 'read-only' })
  await Promise.all([php.ready(), readOnly.ready()])
  server = serveMemory(lint(php))
}, 60_000)

afterAll(async () => {
  await Promise.all([php?.close(1000), readOnly?.close(1000)])
  rmSync(folder, { recursive: true })
})

/** Runs a script that is made of this. */
async function run(code: string, more: { target?: string; method?: string; headers?: string[]; body?: string | Uint8Array } = {}) {
  put('x.php', `<?php ${code}`)
  const response = await server.request({ target: '/x.php', ...more })
  return {
    status: response.status,
    headers: response.headers,
    text: response.body.toString(),
    kind: response.outcome.kind,
    body: response.body,
  }
}

describe('a request', () => {
  test('has the variables that php-cgi would give it, byte for byte', async () => {
    const { text } = await run(
      `echo json_encode([$_GET, array_intersect_key($_SERVER, array_flip(['SCRIPT_NAME', 'SCRIPT_FILENAME', 'PATH_INFO', 'PHP_SELF', 'REQUEST_URI', 'DOCUMENT_ROOT', 'QUERY_STRING', 'REQUEST_METHOD'])),
        bin2hex($_SERVER['HTTP_X_BYTES']), getenv('SETTING'), $_SERVER['HTTP_PROXY'] ?? null, getenv('REMOTE_ADDR') !== false, getcwd(), PHP_SAPI, ini_get('precision')]);`,
      { target: '/x.php/a%20b?q=%C3%BC', headers: ['X-Bytes', '\xff\x80a', 'Proxy', 'evil'] },
    )
    expect(JSON.parse(text)).toEqual([
      { q: 'ü' },
      {
        SCRIPT_NAME: '/x.php',
        SCRIPT_FILENAME: join(root, 'x.php'),
        PATH_INFO: '/a b',
        PHP_SELF: '/x.php/a b',
        REQUEST_URI: '/x.php/a%20b?q=%C3%BC',
        DOCUMENT_ROOT: root,
        QUERY_STRING: 'q=%C3%BC',
        REQUEST_METHOD: 'GET',
      },
      'ff8061',
      'ü & "x"',
      null,
      true,
      root,
      'cgi-fcgi',
      '9',
    ])
  })

  test('has no variable by the beginning of another one (CVE-2016-5385)', async () => {
    const { text } = await run(
      `echo json_encode([getenv('HTTP_PROXY'), getenv('HTTP_'), getenv('HTTP_PROXY_X'), getenv('SETTING'), isset(getenv()['HTTP_PROXY'])]);`,
      { headers: ['Proxy-X', 'http://evil/'] },
    )
    expect(JSON.parse(text)).toEqual([false, false, 'http://evil/', 'ü & "x"', false])
  })

  test('is answered with status, headers and cookies as the script sets them', async () => {
    const { status, headers } = await run(`http_response_code(418); header('X-Quote: a"b\\\\c'); setcookie('a', '1'); setcookie('b', '2');`)
    expect(status).toBe(418)
    expect(headers).toContain('a"b\\c')
    expect(headers.filter((each) => /^[ab]=\d/.test(each))).toHaveLength(2)
    expect(await run(`header('Location: /elsewhere');`)).toMatchObject({ status: 302 })
    expect(await run(`header('Status: 404 Nowhere'); echo 'x';`)).toMatchObject({ status: 404 })
  })

  test('keeps a session, also with the other worker', async () => {
    const script = `session_start(); $_SESSION['n'] = ($_SESSION['n'] ?? 0) + 1; echo $_SESSION['n'];`
    const first = await run(script)
    const cookie = first.headers.find((each) => each.startsWith('PHPSESSID='))!.split(';')[0]!
    // Both at once: one waits for the lock of the other.
    const both = await Promise.all([run(script, { headers: ['Cookie', cookie] }), run(script, { headers: ['Cookie', cookie] })])
    expect([first.text, ...both.map((each) => each.text).sort()]).toEqual(['1', '2', '3'])
  })

  test.each([1000, 3_000_000])('brings a body of %i bytes', async (length) => {
    const body = Buffer.alloc(length, '0123456789abcdef\r\n\0')
    const { text } = await run(`echo md5(file_get_contents('php://input')), $_SERVER['CONTENT_LENGTH'];`, { method: 'POST', body })
    expect(text).toBe(createHash('md5').update(body).digest('hex') + length)
  })

  test('brings a file that can be moved to its place', async () => {
    const form = '--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\n\r\nthe file\r\n--b--\r\n'
    const { text } = await run(
      `echo json_encode([move_uploaded_file($_FILES['f']['tmp_name'], __DIR__ . '/moved.txt'), $_FILES['f']['size']]);`,
      {
        method: 'POST',
        headers: ['Content-Type', 'multipart/form-data; boundary=b'],
        body: form,
      },
    )
    expect([text, readFileSync(join(root, 'moved.txt'), 'utf8')]).toEqual(['[true,8]', 'the file'])
  })

  test('gets output when it is flushed, and stops a script that nobody reads any more', async () => {
    put(
      'stream.php',
      `<?php register_shutdown_function(fn () => error_log('aborted: ' . connection_aborted()));
      echo 'first'; ob_end_flush(); flush(); while (!file_exists(__DIR__ . '/go')) usleep(1000);
      for (;;) { echo str_repeat('x', 10000); flush(); }`,
    )
    const exchange = server.request({ target: '/stream.php', reader: 'held' })
    expect(await exchange.head).toBe(200)
    put('go', '')
    // It has filled what is held for a reader that does not read, and waits.
    expect(await run('echo "other";')).toMatchObject({ text: 'other' })
    lines.length = 0
    exchange.abort()
    expect((await exchange).outcome.kind).toBe('cut')
    await until(() => lines.includes('aborted: 1'))
  })

  test('to HEAD has no body, and 204 has none', async () => {
    expect(await run('echo "x";', { method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect(await run('http_response_code(204); echo "x";')).toMatchObject({ status: 204, text: '' })
  })

  test('has SQLite, and databases that two workers write at once', async () => {
    await run(`$db = new PDO('sqlite:' . __DIR__ . '/a.db'); $db->exec('create table t (n integer)');`)
    const insert = `$db = new PDO('sqlite:' . __DIR__ . '/a.db'); $db->setAttribute(PDO::ATTR_TIMEOUT, 10); for ($i = 0; $i < 8; $i++) $db->exec("insert into t values ($i)"); echo 'done';`
    put('insert.php', `<?php ${insert}`)
    const both = await Promise.all([server.request({ target: '/insert.php' }), server.request({ target: '/insert.php' })])
    expect(both.map((each) => each.body.toString())).toEqual(['done', 'done'])
    expect(await run(`echo (new PDO('sqlite:' . __DIR__ . '/a.db'))->query('select count(*) from t')->fetchColumn();`)).toMatchObject({
      text: '16',
    })
  })

  test('finds nothing of the one before it', async () => {
    const leave = `ini_set('precision', '3'); $GLOBALS['left'] = 1; define('LEFT', 1); putenv('LEFT=1'); chdir('/'); ob_start(); echo 'kept'; function left() {} set_error_handler(fn () => true); header('X-Left: 1');`
    for (let i = 0; i < 4; i++) await run(leave)
    const { text, headers } = await run(
      `echo json_encode([ini_get('precision'), isset($GLOBALS['left']), defined('LEFT'), getenv('LEFT'), getcwd(), ob_get_level(), function_exists('left'), $_POST]);`,
    )
    expect(JSON.parse(text)).toEqual(['9', false, false, false, root, 1, false, []])
    expect(headers).not.toContain('X-Left')
  })

  test('is answered like the one before it, thousands of times', async () => {
    put('same.php', '<?php echo getenv("REQUEST_METHOD");')
    const memory = serveMemory(readOnly)
    for (let i = 0; i < 300; i++) {
      const answers = await Promise.all(Array.from({ length: 10 }, () => memory.request({ target: '/same.php' })))
      expect(answers.every(({ status, body }) => status === 200 && body.toString() === 'GET')).toBe(true)
    }
  }, 30_000)

  test('tells warnings to the log, and not to the client', async () => {
    lines.length = 0
    expect(await run('echo $undefined, "shown";')).toMatchObject({ text: 'shown' })
    await until(() => lines.some((line) => line.includes('Undefined variable $undefined')))
  })
})

describe('when it goes wrong', () => {
  test.each([
    ['a loop without an end', 'while (true);', 504],
    ['a sleep without an end', 'sleep(1000);', 504],
    ['a crash of the interpreter', 'class A { function __toString() { return (string) $this; } } echo new A;', 502],
    ['more memory than the limit of the script', '$a = []; while (true) $a[] = str_repeat("x", 1000000);', 500],
    [
      'more memory than the interpreter may have',
      'ini_set("memory_limit", -1); $a = []; while (true) $a[] = str_repeat("x", 1000000);',
      500,
    ],
    ['an exception', 'throw new Exception("secret");', 500],
  ])(
    '%s costs its own request, and nobody else’s',
    async (_, code, status) => {
      put('bad.php', `<?php ${code}`)
      const started = performance.now()
      const [bad, good] = await Promise.all([server.request({ target: '/bad.php' }), run('echo "well";')])
      expect(good).toMatchObject({ status: 200, text: 'well' })
      expect([bad.status, bad.body.toString().includes('secret')]).toEqual([status, false])
      expect(performance.now() - started).toBeLessThan(10_000)
      // Both workers answer again.
      const after = await Promise.all([run('echo "well";'), server.request({ target: '/x.php' })])
      expect(after.map((each) => each.status)).toEqual([200, 200])
    },
    30_000,
  )
})

test('an interpreter that breaks again and again is replaced ever later, and the others are asked meanwhile', async () => {
  put('crash.php', '<?php class A { function __toString() { return (string) $this; } } echo new A;')
  put('well.php', '<?php echo "well";')
  const told: string[] = []
  const pool = embeddedPhp({ root, workers: 1, log: { ...log, error: (_, message) => void told.push(message) }, limits: { queue: 2 } })
  await pool.ready()
  const memory = serveMemory(pool)
  const answers: number[] = []
  for (let i = 0; i < 4; i++) answers.push((await memory.request({ target: '/crash.php' })).status)
  // While none is there, some wait, and the rest hear of it.
  const rest = await Promise.all(Array.from({ length: 4 }, () => memory.request({ target: '/well.php' })))
  expect(answers).toEqual([502, 502, 502, 502])
  expect(rest.map(({ status }) => status).sort()).toEqual([200, 200, 503, 503])
  expect(told.map((line) => /starting another one in (\d+) ms/.exec(line)?.[1])).toEqual(['0', '250', '500', '1000'])
  await pool.close(0)
}, 30_000)

test('an interpreter that cannot be made says why, and leaves nothing', async () => {
  put('x.php', '')
  const temporary = join(folder, 'temporary')
  mkdirSync(temporary)
  vi.stubEnv('TMPDIR', temporary)
  const pool = embeddedPhp({ root, workers: 2, log, limits: { memory: 1024 ** 2 } })
  await expect(pool.ready()).rejects.toThrow(/embedded: "php": PHP did not start: /)
  await expect(async () => pool(makeRequest({ target: '/x.php' }))).rejects.toMatchObject({ code: 'CLOSED', status: 503 })
  await pool.close(0)
  await until(() => readdirSync(temporary).filter((name) => name.startsWith('viaduct-embedded-')).length === 0)
  vi.unstubAllEnvs()
}, 30_000)

describe('a script', () => {
  test('is run only where it is one, and only in the folder', async () => {
    put('a.txt', '<?php echo "run";')
    expect((await server.request({ target: '/a.txt' })).status).toBe(404)
    expect((await server.request({ target: '/a.txt/x.php' })).status).toBe(404)
    for (const path of [join(folder, 'outside.php'), `${root}/../outside.php`, `${root}-else/x.php`, join(root, 'a.txt')]) {
      const named = serveMemory((request) => php(derive(request, { variables: { SCRIPT_FILENAME: path } })))
      expect((await named.request({ target: '/x.php' })).status, path).toBe(403)
    }
    symlinkSync(join(folder, 'outside.php'), join(root, 'link.php'))
    expect((await server.request({ target: '/link.php' })).status).toBe(404)
  })

  test('sees the files of the folder and no others', async () => {
    symlinkSync('/etc', join(root, 'etc'))
    symlinkSync('moved.txt', join(root, 'inside.txt'))
    const { text } = await run(`echo json_encode([
      @file_get_contents('/etc/hostname'), @file_get_contents(__DIR__ . '/etc/hostname'), @file_get_contents(__DIR__ . '/../outside.php'),
      @file_get_contents('/proc/self/environ'), @file_get_contents(__DIR__ . '/inside.txt'),
      @file_put_contents('/left', 'x'), @file_put_contents('/internal/shared/php.ini', 'x'), @chmod('/internal/shared/php.ini', 0777),
      array_slice(scandir(__DIR__), 0, 2) === ['.', '..'], @symlink('/etc', __DIR__ . '/made'), @file_put_contents(__DIR__ . '/written', 'x'), @rename(__DIR__ . '/written', '/elsewhere'),
    ]);`)
    expect(JSON.parse(text)).toEqual([false, false, false, false, 'the file', false, false, false, true, false, 1, false])
    expect([existsSync(join(root, 'made')), existsSync(join(root, 'written'))]).toEqual([false, true])
  })

  test('changes nothing in a folder that is read-only', async () => {
    put(
      'ro.php',
      `<?php echo json_encode([file_get_contents(__DIR__ . '/a.txt') !== false, @file_put_contents(__DIR__ . '/new', 'x'), @unlink(__DIR__ . '/a.txt'),
      @mkdir(__DIR__ . '/d'), @rename(__DIR__ . '/a.txt', __DIR__ . '/b.txt'), @touch(__DIR__ . '/a.txt'), @chmod(__DIR__ . '/a.txt', 0), @fopen(__DIR__ . '/a.txt', 'r+'),
      strlen(tempnam(sys_get_temp_dir(), 'x')) > 0]);`,
    )
    const response = await serveMemory(readOnly).request({ target: '/ro.php' })
    expect(JSON.parse(response.body.toString())).toEqual([true, false, false, false, false, false, false, false, true])
  })

  test('starts no programs, loads no code and opens no connections', async () => {
    const names = ['exec', 'system', 'passthru', 'shell_exec', 'popen', 'proc_open', 'dl', 'post_message_to_js', 'pcntl_fork']
    const { text } = await run(
      `echo json_encode([array_filter(${JSON.stringify(names)}, 'function_exists'), @fsockopen('127.0.0.1', 80), @file_get_contents('http://127.0.0.1/'), @mail('a@example.org', 's', 'm')]);`,
    )
    expect(JSON.parse(text)).toEqual([[], false, false, false])
  })
})
