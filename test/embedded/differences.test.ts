// What docs/embedded.md says of the differences between the two kinds of PHP, told by both; and what must be no difference.

import { mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { embeddedPhp } from '../../src/embedded/index.ts'
import { phpPool } from '../../src/php/index.ts'
import { serveMemory } from '../../src/testing/index.ts'
import { has } from '../peers.ts'
import type { Backend } from '../../src/core/index.ts'

const guide = readFileSync(new URL('../../docs/embedded.md', import.meta.url), 'utf8')
const root = realpathSync(mkdtempSync(join(tmpdir(), 'viaduct-embedded-test-')))
let native: Backend
let embedded: Backend

beforeAll(async () => {
  if (!has('php-cgi')) return
  const limits = { silence: 5000 }
  native = phpPool({ root, workers: 1, limits })
  embedded = embeddedPhp({ root, workers: 1, limits })
  await Promise.all([native.ready(), embedded.ready()])
}, 60_000)

afterAll(async () => {
  await Promise.all([native?.close(0), embedded?.close(0)])
  rmSync(root, { recursive: true })
})

interface Sent {
  readonly method?: string
  readonly headers?: readonly string[]
  readonly body?: string
}

async function both(code: string, sent: Sent = {}): Promise<{ status: number; headers: readonly string[]; text: string }[]> {
  writeFileSync(join(root, 'x.php'), `<?php ${code}`)
  const request = { target: '/x.php?a=1', ...sent, headers: [...(sent.headers ?? [])] }
  return Promise.all(
    [native, embedded].map(async (pool) => {
      const { status, headers, body } = await serveMemory(pool).request(request)
      return { status, headers, text: body.toString('latin1') }
    }),
  )
}

/** Whatever their order and their case. */
function sorted(list: readonly string[]): string[] {
  return Array.from({ length: list.length / 2 }, (_, i) => `${list[2 * i]!.toLowerCase()}: ${list[2 * i + 1]}`)
    .filter((line) => !/^content-length:|^date:/.test(line))
    .sort()
}

/** Row of the table; script; what it says natively, and embedded. A number is a status. */
const differences: readonly [row: string, code: string, native: string | number, embedded: string | number][] = [
  ['programs', `echo json_encode([function_exists('exec'), function_exists('proc_open')]);`, '[true,true]', '[false,false]'],
  ['extensions and C modules', `echo json_encode(extension_loaded('posix'));`, 'true', 'false'],
  ['PHP: `max_execution_time`', `set_time_limit(1); while (true);`, 500, 504],
  ['PHP: `getallheaders()`', `echo json_encode(function_exists('getallheaders'));`, 'true', 'false'],
  ['PHP: `setlocale`', `echo json_encode(setlocale(LC_ALL, 'xx_XX.UTF-8'));`, 'false', '"xx_XX.UTF-8"'],
  ["PHP: `$_SERVER['argv']`", `echo json_encode($_SERVER['argv'] ?? null);`, 'null', '"a=1"'],
  ['PHP: php.ini', `echo ini_get('allow_url_fopen');`, '1', '0'],
]

describe.skipIf(!has('php-cgi'))('a native PHP and an embedded one', () => {
  test.each(differences)(
    'differ in what the guide says: %s',
    async (row, code, natively, elsewhere) => {
      expect(guide).toContain(`\n| ${row}`)
      const told = await both(code)
      expect(told.map(({ status, text }) => (status === 200 ? text : status))).toEqual([natively, elsewhere])
    },
    20_000,
  )

  test('differ in what ob_gzhandler does, and not in zlib.output_compression', async () => {
    expect(guide).toContain('\n| PHP: `ob_gzhandler`')
    const taking = { headers: ['Accept-Encoding', 'gzip'] }
    const codings = async (code: string): Promise<boolean[]> => (await both(code, taking)).map(({ headers }) => headers.includes('gzip'))
    expect(await codings(`ob_start('ob_gzhandler'); echo str_repeat('gz', 1000);`)).toEqual([true, false])
    expect(await codings(`ini_set('zlib.output_compression', '1'); echo str_repeat('gz', 1000);`)).toEqual([true, true])
  })

  const form = '--b\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/x\r\n\r\nthe file\r\n--b--\r\n'
  const multipart = { method: 'POST', headers: ['Content-Type', 'multipart/form-data; boundary=b'], body: form }
  const json = { method: 'POST', headers: ['Content-Type', 'application/json'], body: '{"a":"ü"}' }
  test.each<[what: string, code: string, sent?: Sent]>([
    ['a body read twice', `echo file_get_contents('php://input'), file_get_contents('php://input');`, json],
    ['a body of PUT', `echo file_get_contents('php://input'), json_encode($_POST);`, { ...json, method: 'PUT' }],
    ['a file', `unset($_FILES['f']['tmp_name']); echo json_encode([$_FILES, $_POST]);`, multipart],
    [
      'cookies',
      `setcookie('a', 'ü b', ['samesite' => 'Lax']); setrawcookie('b', 'c'); echo json_encode($_COOKIE);`,
      { headers: ['Cookie', 'x=%C3%BC; y'] },
    ],
    ['a redirect', `header('Location: /there', true, 303);`],
    ['304', `header('ETag: "x"'); http_response_code(304);`],
    ['HEAD', `header('X-A: 1'); echo 'x';`, { method: 'HEAD' }],
    ['a header twice', `header('X-A: 1'); header('X-A: 2', false); header_remove('X-B');`],
    ['an exception', `throw new Exception('secret');`],
    ['exit', `echo 'before'; exit(3);`],
    ['sleep', `$t = microtime(true); sleep(1); usleep(1000); echo round(microtime(true) - $t);`],
    [
      'time zones',
      `date_default_timezone_set('Europe/Berlin'); echo date('c T', 1700000000), (new DateTime('2026-07-01', new DateTimeZone('America/New_York')))->format('c T');`,
    ],
    ['what a locale says', `echo json_encode(localeconv()), number_format(1234.5, 2), strtoupper('aä');`],
    ['compression', `echo gzdecode(gzencode('zip')), bin2hex(gzcompress('zip')), crc32('zip');`],
    [
      'letters',
      `echo mb_strtoupper('äöü'), iconv('UTF-8', 'ISO-8859-1', 'ä'), mb_substr('aäb', 1, 1), preg_match('/\\p{Lu}/u', 'Ä'), strlen(utf8_decode('ä'));`,
    ],
    [
      'passwords',
      `echo json_encode([password_verify('x', '$2y$04$abcdefghijklmnopqrstuuFzQdUgC0.WTmrRtbdmPSmYJ5r4mJ1ly'), crypt('x', '$6$salt$'), hash('sha256', 'x')]);`,
    ],
    [
      'SQLite',
      `$d = new PDO('sqlite::memory:'); $d->exec('create table t (a)'); $d->exec("insert into t values ('ü')"); echo json_encode($d->query('select a, upper(a), length(a) from t')->fetchAll(PDO::FETCH_NUM));`,
    ],
    ['pictures', `$i = imagecreatetruecolor(3, 3); ob_start(); imagepng($i); echo bin2hex(substr(ob_get_clean(), 0, 8));`],
    [
      'settings',
      `foreach (['post_max_size', 'upload_max_filesize', 'memory_limit', 'output_buffering', 'display_errors', 'error_reporting', 'default_charset', 'session.sid_length', 'expose_php', 'request_order', 'variables_order'] as $n) echo $n, '=', ini_get($n) ?: '0', ' ';`,
    ],
    ['what it calls itself', `echo PHP_SAPI, PHP_INT_SIZE, PHP_OS, DIRECTORY_SEPARATOR, getcwd() === __DIR__, connection_status();`],
  ])('do not differ in %s', async (_, code, sent) => {
    const [natively, elsewhere] = await both(code, sent)
    expect({ ...elsewhere, headers: sorted(elsewhere!.headers) }).toEqual({ ...natively, headers: sorted(natively!.headers) })
  })
})
