// What scripts do every day, by php-fpm and by `viaduct fpm`: how they end, what they say, what they may, and what they are given. The same
// lines, files and requests go to both; answers, what the web server's log gets, and what the main log gets must be the same.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Fpm, REAL, isRoot } from './engine.ts'
import type { AskOptions, Kind } from './engine.ts'

const kinds: Kind[] = ['php-fpm', 'viaduct']

interface Row {
  readonly query?: string
  readonly more?: (fpm: Fpm) => AskOptions
}
type Rows = Readonly<Record<string, readonly [script: string, row?: Row]>>

interface Group {
  readonly title: string
  readonly global?: string
  readonly pool?: string
  readonly env?: Readonly<Record<string, string>>
  readonly rows: Rows
  /** Lines of the main log that belong to it. */
  readonly told?: RegExp
}

const parameters = (values: Readonly<Record<string, string>>): Row => ({ more: () => ({ variables: values }) })
const sent = (type: string, body: string): Row => ({
  more: () => ({ variables: { REQUEST_METHOD: 'POST', CONTENT_TYPE: type }, body: Buffer.from(body) }),
})
const FORM = 'application/x-www-form-urlencoded'

/** What PHP makes of where a script is. */
const PATHS = `$names = ["PATH_INFO", "ORIG_PATH_INFO", "PATH_TRANSLATED", "SCRIPT_NAME", "SCRIPT_FILENAME", "PHP_SELF", "ORIG_SCRIPT_NAME",
  "ORIG_SCRIPT_FILENAME", "ORIG_PATH_TRANSLATED", "DOCUMENT_ROOT"]; echo json_encode(array_intersect_key($_SERVER, array_flip($names)), JSON_UNESCAPED_SLASHES);`
const placed = (values: (folder: string, script: string) => Readonly<Record<string, string>>): Row => ({
  more: (fpm) => ({ variables: { DOCUMENT_ROOT: fpm.folder, ...values(fpm.folder, fpm.script('at.php')) } }),
})

const ERRORS: Rows = {
  'exit(255)': ['echo "before"; exit(255);'],
  'a fatal error': ['echo "before "; nobody();'],
  'a fatal error before anything was written': ['nobody();'],
  'an exception of two lines': ['throw new Exception("one\\ntwo");'],
  'a syntax error': ['if ('],
  warnings: ['echo $none; trigger_error("own", E_USER_WARNING); echo "after";'],
  max_execution_time: ['set_time_limit(1); while (true);'],
  memory_limit: ['ini_set("memory_limit", "32M"); $s = str_repeat("x", 64 << 20); echo strlen($s);'],
  'a destructor that fails': ['class A { function __destruct() { throw new Exception("late"); } } $a = new A; echo "x";'],
  'a header that is too late': ['ob_start(); echo "a"; ob_end_flush(); flush(); header("X-Late: 1"); echo "b";'],
  'a file that cannot be had': ['include "none.php"; echo "after"; require "none.php";'],
}

const GROUPS: Group[] = [
  {
    title: 'ends and answers',
    rows: {
      'exit with words': ['exit("words");'],
      'nothing at all': [''],
      'status 204': ['http_response_code(204);'],
      'shutdown functions': ['register_shutdown_function(function () { echo " shut"; }); echo "open"; exit(3);'],
      'a header of many bytes': ['header("X-Long: " . str_repeat("x", 60000)); echo "long";'],
      'headers of more than a record': ['for ($i = 0; $i < 40; $i++) header("X-Long-$i: " . str_repeat("y", 3000)); echo "long";'],
      'a redirect': ['header("Location: /elsewhere"); exit;'],
      'a status line': ['header("HTTP/1.1 418 I am a teapot"); header("Content-Type: text/plain"); echo "t";'],
      'a status header': ['header("Status: 299 Odd"); echo "t";'],
      'no type': ['ini_set("default_mimetype", ""); echo "x";'],
      cookies: ['setcookie("a", "b c", 0, "/"); setcookie("d", "e"); echo "x";'],
      HEAD: ['header("X-A: b"); echo "not seen";', parameters({ REQUEST_METHOD: 'HEAD' })],
      'one complaint': ['error_log("one"); echo "x";'],
      'a complaint of two lines': ['error_log("one\\ntwo"); echo "x";'],
      'a complaint with odd bytes': ['error_log("with \\"quotes\\" and \\xe4"); echo "x";'],
      'php://output': ['file_put_contents("php://output", "here");'],
    },
  },
  {
    title: 'what they are given',
    pool: 'env[A] = $OF_MASTER\nenv[B] = $OF_NOBODY\nenv[C] = "x$OF_MASTER"\nenv[D] = d\nenv[PATH] = /usr/bin:/bin\nphp_value[register_argc_argv] = 1',
    env: { OF_MASTER: 'seen' },
    rows: {
      environment: [
        'echo json_encode([getenv("A"), getenv("B"), getenv("C"), $_SERVER["D"] ?? null, $_ENV, getenv("PATH"), getenv("HOME"), getenv("USER")]);',
      ],
      'a parameter of many bytes': [
        'echo strlen($_SERVER["HTTP_X_LONG"]), md5($_SERVER["HTTP_X_LONG"]);',
        parameters({ HTTP_X_LONG: 'z'.repeat(40_000) }),
      ],
      'parameters of more than a record': [
        'echo count(array_filter(array_keys($_SERVER), fn($k) => str_starts_with($k, "HTTP_X_")));',
        parameters(Object.fromEntries(Array.from({ length: 100 }, (_, i) => [`HTTP_X_${i}`, 'z'.repeat(1000)]))),
      ],
      PATH_INFO: [PATHS, placed((_, script) => ({ PATH_INFO: '/a/b', SCRIPT_FILENAME: script, SCRIPT_NAME: '/at.php' }))],
      'PATH_INFO that PHP finds': [
        PATHS,
        placed((_, script) => ({ PATH_INFO: '', SCRIPT_FILENAME: `${script}/a/b`, SCRIPT_NAME: '/at.php/a/b' })),
      ],
      'PATH_INFO that is not said': [PATHS, placed((_, script) => ({ SCRIPT_FILENAME: `${script}/a/b`, SCRIPT_NAME: '/at.php/a/b' }))],
      PATH_TRANSLATED: [
        PATHS,
        placed((folder, script) => ({ PATH_INFO: '/a', PATH_TRANSLATED: `${folder}/a`, SCRIPT_FILENAME: script, SCRIPT_NAME: '/at.php' })),
      ],
      'no SCRIPT_FILENAME, but where it is': [
        PATHS,
        placed((folder, script) => ({ SCRIPT_FILENAME: '', PATH_TRANSLATED: script, SCRIPT_NAME: `${folder}/at.php` })),
      ],
      'who asks': [
        'echo json_encode(array_intersect_key($_SERVER, array_flip(["PHP_AUTH_USER", "PHP_AUTH_PW", "AUTH_TYPE", "REMOTE_USER", "PHP_AUTH_DIGEST", "HTTP_AUTHORIZATION"])));',
        parameters({ HTTP_AUTHORIZATION: `Basic ${Buffer.from('me:secret').toString('base64')}`, AUTH_TYPE: 'Basic', REMOTE_USER: 'me' }),
      ],
      'words of a query': ['echo json_encode([$_SERVER["argv"] ?? null, $_SERVER["argc"] ?? null, $argv ?? null]);', { query: 'a+b+c' }],
      'a query that looks like options': [
        'echo json_encode([$_GET, ini_get("auto_prepend_file")]);',
        { query: '-d+auto_prepend_file=/etc/passwd' },
      ],
      'a query that looks like -s': ['echo "run";', { query: '-s' }],
      'all header fields': [
        'echo json_encode(getallheaders());',
        parameters({ HTTP_HOST: 'example.org', HTTP_X_A_B: 'c', CONTENT_TYPE: 'text/plain' }),
      ],
      'a form': ['echo json_encode([$_POST, file_get_contents("php://input")]);', sent(FORM, 'a=1&b[]=2&b[]=3')],
      'a body that is not read': ['echo "done";', sent('application/octet-stream', 'x'.repeat(200_000))],
      'files that are uploaded': [
        'foreach ($_FILES as &$f) { $f["is"] = is_uploaded_file($f["tmp_name"]); $f["md5"] = md5_file($f["tmp_name"]); unset($f["tmp_name"]); } echo json_encode([$_FILES, $_POST]);',
        sent(
          'multipart/form-data; boundary=XX',
          `--XX\r\nContent-Disposition: form-data; name="t"\r\n\r\ntext\r\n--XX\r\nContent-Disposition: form-data; name="f"; filename="a.txt"\r\nContent-Type: text/plain\r\n\r\n${'line\n'.repeat(50_000)}\r\n--XX--\r\n`,
        ),
      ],
      'who they are': ['echo json_encode([posix_getuid(), posix_geteuid(), posix_getgid(), posix_getgroups(), umask()]);'],
      'a session': [
        'session_save_path("/tmp"); for ($i = 0; $i < 2; $i++) { session_start(); $_SESSION["n"] = ($_SESSION["n"] ?? 0) + 1; session_write_close(); } session_start(); session_destroy(); echo json_encode($_SESSION);',
        parameters({ HTTP_COOKIE: `PHPSESSID=abcdefghijklmnop${process.pid}` }),
      ],
      'the connection': ['echo connection_status(), " ", ignore_user_abort(), " ", json_encode(headers_list());'],
    },
  },
  {
    title: 'what they may not',
    pool: `php_admin_value[disable_functions] = exec,system
php_admin_value[open_basedir] = FOLDER:/tmp
php_admin_value[post_max_size] = 1K
php_admin_value[memory_limit] = 32M
php_admin_flag[allow_url_fopen] = off
php_admin_flag[log_errors] = on`,
    rows: {
      disable_functions: [
        'echo json_encode([function_exists("exec"), function_exists("passthru"), ini_get("disable_functions")]); system("id");',
      ],
      open_basedir: ['echo json_encode([@file_get_contents("/etc/hostname"), ini_set("open_basedir", "/"), is_dir(__DIR__)]);'],
      memory_limit: ['echo json_encode([ini_set("memory_limit", "1G"), ini_get("memory_limit")]); str_repeat("x", 64 << 20);'],
      post_max_size: ['echo json_encode([$_POST, strlen(file_get_contents("php://input"))]);', sent(FORM, `a=${'1'.repeat(5000)}`)],
      allow_url_fopen: [
        'echo json_encode([ini_get("allow_url_fopen"), ini_set("allow_url_fopen", "1")]); file_get_contents("http://127.0.0.1:1/");',
      ],
    },
  },
  { title: 'mistakes that are shown', pool: 'php_value[display_errors] = 1\nphp_value[log_errors] = 0', rows: ERRORS },
  {
    title: 'mistakes that are logged, to the main log as well',
    pool: 'php_value[display_errors] = 0\nphp_value[log_errors] = 1\ncatch_workers_output = yes',
    rows: ERRORS,
    told: /said into/,
  },
  {
    title: 'mistakes that are logged, at another level',
    global: 'log_level = warning',
    pool: 'php_value[log_errors] = 1\ncatch_workers_output = yes',
    rows: ERRORS,
    told: /said into/,
  },
  {
    title: 'mistakes that are logged, as a container has it',
    pool: 'php_value[log_errors] = 1\ncatch_workers_output = yes\ndecorate_workers_output = no',
    rows: ERRORS,
    told: /^(?!\[)/,
  },
  {
    title: 'mistakes in a file of their own',
    pool: 'php_value[log_errors] = 1\nphp_admin_value[error_log] = FOLDER/php.log\ncatch_workers_output = yes',
    rows: {
      ...ERRORS,
      'what that file has': ['usleep(1000); echo preg_replace("/^\\\\[.*?\\\\] /m", "", file_get_contents(__DIR__ . "/php.log"));'],
    },
  },
  {
    title: 'words without a request of the web server',
    pool: 'catch_workers_output = yes',
    rows: {
      'a line on stderr': ['file_put_contents("php://stderr", "to the log\\n"); echo defined("STDERR") ? "yes" : "no";'],
      'a line without its end': ['file_put_contents("php://stderr", "unfinished"); echo "x";'],
      'a line on stdout': ['file_put_contents("php://stdout", "to nowhere\\n"); echo "x";'],
      'a line of a program': ['passthru("echo from below >&2; echo seen");'],
      'a line of PHP and one of its own': ['file_put_contents("php://stderr", "first\\n"); flush(); error_log("second");'],
    },
    told: /said into/,
  },
]

describe.skipIf(!has('php-cgi', REAL) || !isRoot).each(GROUPS)('scripts: $title', ({ global = '', pool = '', env = {}, rows, told }) => {
  const names = Object.keys(rows)
  const fileOf = (name: string): string =>
    name.startsWith('PATH') || name.startsWith('no SCRIPT') ? 'at.php' : `${names.indexOf(name)}.php`
  const running: Fpm[] = []

  beforeAll(async () => {
    const scripts = Object.fromEntries(names.map((name) => [fileOf(name), `<?php ${rows[name]![0]}`]))
    for (const kind of kinds) running.push(await start(kind, { global, env, scripts, pool: `pm = static\npm.max_children = 1\n${pool}` }))
  })
  afterAll(async () => {
    for (const each of running) await each[Symbol.asyncDispose]()
  })

  test.each(names)('%s', async (name) => {
    const [, row] = rows[name]!
    const seen = []
    for (const fpm of running) seen.push(comparable(fpm, await fpm.ask(fileOf(name), row?.query, row?.more?.(fpm))))
    expect(seen[1]).toEqual(seen[0])
  })

  if (told === undefined) return
  test('and what the main log has of all that', async () => {
    const [real, ours] = running as [Fpm, Fpm]
    await until('as many lines', () => linesOf(ours, told).length >= linesOf(real, told).length).catch(() => {})
    expect(linesOf(ours, told)).toEqual(linesOf(real, told))
    expect(linesOf(real, told).length).toBeGreaterThan(3)
  })
})

test.skipIf(!has('php-cgi'))('a script has nothing open but itself and its connection', async () => {
  const look = 'foreach (scandir("/proc/self/fd") as $f) if ($f > 2) echo @readlink("/proc/self/fd/$f"), "\\n";'
  const pool = 'pm = static\npm.max_children = 3\nprocess.dumpable = yes'
  await using fpm = await Fpm.start('viaduct', { pool, scripts: { 'open.php': `<?php ${look}` } })
  await fpm.ask('open.php')
  const open = (await fpm.ask('open.php')).body.split('\n')
  expect(open.filter((each) => each.includes(fpm.folder))).toEqual([fpm.script('open.php')])
  expect(open.filter((each) => each.startsWith('socket:')).length).toBe(1)
})

test.skipIf(!has('php-cgi'))('a complaint of many bytes is one, and whole', async () => {
  const scripts = { 'long.php': '<?php error_log(str_repeat("a", 100000)); error_log("PHP too"); echo "x";' }
  await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1\ncatch_workers_output = yes', scripts })
  expect((await fpm.ask('long.php')).stderr).toBe(`PHP message: ${'a'.repeat(100_000)}\nPHP too`)
  const said = (): string => [...fpm.log.matchAll(/said into stderr: "(.*)"$/gm)].map(([, text]) => text).join('')
  await until('all of it', () => said().endsWith('PHP too'))
  expect(said()).toBe(`NOTICE: PHP message: ${'a'.repeat(100_000)}PHP too`)
})

async function start(
  kind: Kind,
  options: { global: string; pool: string; env: Readonly<Record<string, string>>; scripts: Readonly<Record<string, string>> },
): Promise<Fpm> {
  const fpm = Fpm.launch(kind, options)
  await until('its socket', async () => (await fpm.ask('0.php')).whole)
  return fpm
}

function linesOf(fpm: Fpm, told: RegExp): string[] {
  return (comparable(fpm, fpm.log) as string)
    .split('\n')
    .filter((line) => told.test(line))
    .map((line) => line.replace(/^\[.*?\]/, '').replace(/child \d+/, 'child N'))
}

/** Without what is this run's. */
function comparable(fpm: Fpm, value: unknown): unknown {
  return JSON.parse(JSON.stringify(value).replaceAll(fpm.folder, 'FOLDER').replaceAll(fpm.folder.replaceAll('/', '\\\\/'), 'FOLDER'))
}
