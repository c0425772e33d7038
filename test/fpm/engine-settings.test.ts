// PHP_VALUE and PHP_ADMIN_VALUE, settings that a web server sends with a request: beside php-fpm, each time by a worker that has had no
// others, for there they stay.

import { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { describe, expect, test } from 'vitest'
import { has } from '../peers.ts'
import { Fpm, REAL, ask, leadersOf, variables } from './engine.ts'
import type { Kind } from './engine.ts'

const SETTINGS = [
  'memory_limit',
  'upload_max_filesize',
  'precision',
  'short_open_tag',
  'expose_php',
  'include_path',
  'error_prepend_string',
  'error_append_string',
  'error_reporting',
  'default_charset',
  'disable_functions',
]
const SCRIPTS = {
  'ini.php': `<?php $r = [];
foreach (${JSON.stringify(SETTINGS)} as $k) { $v = ini_get($k); $c = ini_set($k, $k === 'memory_limit' ? '99M' : '5') === false ? 'kept' : 'changed'; $r[$k] = "$v $c"; }
echo json_encode([$r, function_exists('exec'), $_SERVER['PHP_VALUE'] ?? null, $_SERVER['PHP_ADMIN_VALUE'] ?? null]);`,
  'pid.php': '<?php echo getmypid(), " ", ini_get("memory_limit");',
  'sleep.php': '<?php usleep(400000); echo ini_get("memory_limit");',
  'prepended.php': '<?php echo "first ";',
  'form.php': '<?php echo strlen($_POST["a"] ?? "");',
}
const POOL = 'pm = static\npm.max_children = 1\npm.max_requests = 1\nphp_admin_value[precision] = 9\nphp_value[memory_limit] = 77M'
const kinds: Kind[] = ['php-fpm', 'viaduct']

describe.skipIf(!has('php-cgi', REAL))('settings of a request', () => {
  test.each<Record<string, string>>([
    { PHP_VALUE: 'memory_limit=55M' },
    { PHP_VALUE: 'memory_limit=55M\nupload_max_filesize=3M\nexpose_php=1' },
    { PHP_ADMIN_VALUE: 'memory_limit = "66M"\nshort_open_tag=on ; comment\ndisable_functions=exec' },
    { PHP_VALUE: 'memory_limit=55M\ninclude_path=/a', PHP_ADMIN_VALUE: 'memory_limit=66M' },
    // The pool's own, which stays as locked as it was.
    { PHP_VALUE: 'precision=4' },
    { PHP_ADMIN_VALUE: 'precision=4' },
    { PHP_VALUE: 'memory_limit=33M\nmemory_limit=44M' },
    { PHP_VALUE: 'error_reporting=E_ALL & ~E_NOTICE\ndefault_charset=' },
    { PHP_VALUE: '[section]\nmemory_limit=33M' },
    { PHP_VALUE: 'memory_limit' },
    { PHP_VALUE: 'memory_limit[]=12M\ninclude_path=/b' },
    { PHP_VALUE: 'memory_limit=31M\nnot ( valid\ninclude_path=/never' },
    { PHP_VALUE: 'include_path=/a;memory_limit=12M' },
    { PHP_VALUE: '' },
    { PHP_FLAG: 'expose_php=on', PHP_ADMIN_FLAG: 'expose_php=on' },
    // What looks like another line, or the end of a value, is neither.
    { PHP_VALUE: `error_prepend_string='a" b $c \${d} \\'\nerror_append_string="x \\" memory_limit=1M ' y"` },
    { PHP_ADMIN_VALUE: `error_prepend_string='"; memory_limit=1M ; "'\ninclude_path="/a]:[PATH=/x]"` },
    { PHP_VALUE: 'error_prepend_string="one\nmemory_limit=1M"' },
    { PHP_VALUE: `error_prepend_string="${Buffer.from('grün').toString('latin1')}"` },
  ])('%j', async (params) => {
    const results = []
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      const { status, body, stderr } = await fpm.ask('ini.php', '', { variables: params })
      results.push({ status, body: JSON.parse(body) as unknown, stderr })
    }
    expect(results[1]).toEqual(results[0])
  })

  test('code and limits of uploads can be set so, too', async () => {
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
      const PHP_VALUE = `auto_prepend_file=${fpm.script('prepended.php')}`
      expect((await fpm.ask('pid.php', '', { variables: { PHP_VALUE } })).body, kind).toMatch(/^first \d+ /)
      const body = Buffer.from(`a=${'x'.repeat(2_000_000)}`)
      const form = { REQUEST_METHOD: 'POST', CONTENT_TYPE: 'application/x-www-form-urlencoded' }
      expect((await fpm.ask('form.php', '', { body, variables: { ...form, PHP_ADMIN_VALUE: 'post_max_size=3M' } })).body).toMatch(
        /2000000$/,
      )
      expect((await fpm.ask('form.php', '', { body, variables: { ...form, PHP_ADMIN_VALUE: 'post_max_size=1M' } })).body).toMatch(/0$/)
    }
  })

  test('a request without them has none, whoever asked before', async () => {
    const pool = 'pm = static\npm.max_children = 1\nphp_value[memory_limit] = 77M'
    // There they stay with the worker, for whoever comes next.
    for (const [kind, next] of [
      ['php-fpm', '55M'],
      ['viaduct', '77M'],
    ] as const) {
      await using fpm = await Fpm.start(kind, { pool, scripts: SCRIPTS })
      expect((await fpm.ask('pid.php', '', { variables: { PHP_VALUE: 'memory_limit=55M' } })).body, kind).toMatch(/ 55M$/)
      expect((await fpm.ask('pid.php')).body, kind).toMatch(new RegExp(` ${next}$`))
    }
  })

  test('the same ones share workers, whom the status page tells of', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 2', scripts: SCRIPTS })
    const with55 = { variables: { PHP_VALUE: 'memory_limit=55M' } }
    const first = (await fpm.ask('pid.php', '', with55)).body
    expect((await fpm.ask('pid.php', '', with55)).body).toBe(first)
    expect(await fpm.status()).toMatchObject({ 'total processes': 3, 'idle processes': 3, 'accepted conn': 3 })
    expect(leadersOf(fpm.pid).length).toBe(2)
    const replies = await Promise.all(Array.from({ length: 4 }, () => fpm.ask('sleep.php', '', with55)))
    expect(replies.map(({ body }) => body)).toEqual(['55M', '55M', '55M', '55M'])
  })

  test('more sets than there may be: the one that was not used for the longest goes', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    for (let i = 0; i < 18; i++) {
      expect((await fpm.ask('pid.php', '', { variables: { PHP_VALUE: `memory_limit=${30 + i}M` } })).body).toMatch(
        new RegExp(` ${30 + i}M$`),
      )
    }
    expect(leadersOf(fpm.pid).length).toBeLessThanOrEqual(17)
  })

  test('over TCP only from known peers: whoever else connects gets nothing run', async () => {
    const port = await freePort()
    const params = { PHP_VALUE: 'memory_limit=55M' }
    for (const [more, status] of [
      ['', 403],
      ['listen.allowed_clients = 127.0.0.1', 200],
    ] as const) {
      await using fpm = await Fpm.start('viaduct', {
        pool: `pm = static\npm.max_children = 1\nlisten = 127.0.0.1:${port}\n${more}`,
        scripts: SCRIPTS,
      })
      const reply = await ask({ host: '127.0.0.1', port }, { ...variables(fpm.script('pid.php')), ...params })
      expect(reply.status).toBe(status)
      if (status === 403) await fpm.said('PHP_VALUE and PHP_ADMIN_VALUE are taken from known peers only: set listen.allowed_clients')
      expect((await ask({ host: '127.0.0.1', port }, variables(fpm.script('pid.php')))).status).toBe(200)
    }
  })

  test('settings that cannot be had are an error, and nothing runs', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: 'pm = static\npm.max_children = 1', scripts: SCRIPTS })
    const params = { PHP_ADMIN_VALUE: 'open_basedir="/a\n/b"' }
    expect(await fpm.ask('pid.php', '', { variables: params })).toMatchObject({
      status: 500,
      stderr: expect.stringContaining('open_basedir') as string,
    })
  })
})

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}
