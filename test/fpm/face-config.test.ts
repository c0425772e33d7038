// Configuration files: for every directive good, bad and missing values, to Debian's php-fpm and to ours; both must say the same, line by line.

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ARRAYS, GLOBAL, POOL } from '../../src/fpm/config/directives.ts'
import { has } from '../peers.ts'
import { PHP_FPM, askOurs, askReal, differences } from './face.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'face-'))
  mkdirSync(join(folder, 'sub.d'))
  mkdirSync(join(folder, 'etc'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** A good pool, with more. DIR is the folder. */
const pool = (lines: string, name = 'www'): string =>
  `[${name}]\nuser = www-data\nlisten = DIR/${name}.sock\npm = static\npm.max_children = 2\n${lines}\n`
const whole = (global: string, lines = '', more = ''): string => `[global]\nerror_log = DIR/err.log\n${global}\n${pool(lines)}${more}`

interface Case {
  readonly text: string
  readonly files?: Readonly<Record<string, string>>
  readonly words?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Both are asked with -tt, unless something else is wanted. */
async function compare({ text, files = {}, words = [], env = {} }: Case, options: readonly string[] = ['-n', '-tt']): Promise<number> {
  const main = join(folder, 'main.conf')
  const place = (content: string): string => content.replaceAll('DIR', folder)
  writeFileSync(main, place(text))
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), place(content))
  try {
    const args = [...options, '-y', main, ...words.map(place)]
    const real = await askReal(args, folder, env)
    const ours = await askOurs(args, folder, env)
    expect(differences(ours, real)).toEqual([])
    return real.exit
  } finally {
    for (const name of Object.keys(files)) rmSync(join(folder, name))
  }
}

const NUMBERS = ['0', '7', '-3', '', '1.5', 'x', '99999999999']
const BOOLEANS = ['yes', 'off', '2', '"yes"', '']
const TIMES = ['0', '30', '2m', '-1', '', '5x', '9999999d']
const TEXTS = ['abc', '', 'rel/path', '"a b"', '$pool']

/** What each kind of value is tried with. */
const TRIED: Readonly<Record<string, readonly string[]>> = {
  number: NUMBERS,
  'number from -19 to 20': [...NUMBERS, '-19', '-20', '20', '21', '64'],
  'yes or no': BOOLEANS,
  'seconds; s, m, h or d may follow': TIMES,
  text: TEXTS,
  'alert, error, warning, notice or debug': ['alert', 'error', 'warning', 'WARN', 'notice', 'debug', '', 'info', '3'],
  'name of a syslog facility': ['DAEMON', 'local7', 'AuthPriv', 'uucp', '', 'LOCAL8', '24'],
  'number or unlimited': [...NUMBERS, 'unlimited', 'UNLIMITED'],
  'static, dynamic or ondemand': ['static', 'STATIC', 'dynamic', 'ondemand', '', 'other'],
}

/** One of each kind is tried with more. */
const MORE: readonly (readonly [string, readonly string[]])[] = [
  [
    'pm.max_requests',
    ['1', '-', '5x', '99999999999999999999', '-99999999999999999999', '"12"', '1|6', '7 & 3', '~5', '+3', '2147483648', ' 5 '],
  ],
  ['request_terminate_timeout', ['5s', '1h', '3d', 's', '5ms', 'abc5', '1.5m', '99999999999', '"7m"', '-2h', '5S']],
  [
    'clear_env',
    ['no', 'on', 'true', 'FALSE', 'None', 'null', '1', '0', 'x', '"on"', '"True"', '"off"', '"none"', '"NO"', '"0"', '"null"', 'yes x'],
  ],
  ['slowlog', ['/tmp', `'single $x'`, 'x$pool-$pool', 'yes', 'E_ALL', '${HOME}/x', '${NOPE}', 'a=b', 'x;y', '"x;y" ; z', 'a "b" c']],
]

const CASES: [string, Case][] = [
  // What a line is.
  ...[
    'nothing at all',
    'env[A] = a = b',
    'env[A] = = b',
    `env[A] = 'a'b 'c' d`,
    `env[A] = un'q`,
    `env[A] = 'un`,
    'env[A] = "un',
    'env[A] = "a\\"b\\\\c\\n" ; comment',
    'env[A] = a\\"b',
    'env[A] = ${HOME}x${NOPE}y',
    'env[A] = "${HOME}/x y"',
    'env[A] = ${X:-default}',
    'env[A] = ${X',
    'env[A] = ${}',
    'env[A] = "${X"',
    'env[A',
    'env[A]',
    'env[A] = (3',
    'env[A] = (3 | 4) & 5',
    'env[A] = !3',
    'env[A] = !0 | 6',
    'env[A] = )',
    'env[A] = a | ',
    'env[A] = E_ALL & ~E_NOTICE & ~E_DEPRECATED',
    'env[E_ALL] = E_ALLX',
    'env[A] = {x}',
    'env[A] = a[b]',
    'env[A] = <x>?*,:.+-/',
    'env[A] = 0x1f',
    'env[A] = -3.5e',
    'env[A] = no.',
    'env[A] = a  \t b \t ',
    'env[A] = a$',
    'env[A] = $x $y $',
    'env[$pool] = x',
    'env[${HOME}] = x',
    'env[ A ] = x',
    'yes = 3',
    'null',
    '= 3',
    '$a = 3',
    '{a} = 3',
    '"a" = 3',
    '(a) = 3',
    '# a comment of another kind',
    '#env = 3',
    '; a comment',
    '   ; a comment',
    '  PM.Max_Requests \t=\t 5',
    'Env[A] = b',
    'foo',
    'foo = 3',
    'listen.setfib = 3',
    'foo[a] = 3',
    'pm .max_requests = 3',
    '[www',
    '[www] foo = 3',
    '[www] pm.max_requests = 3',
    '[]',
    '[ ]',
    '["www"]',
    `['www']`,
    '[w"w"w]',
    '[w;w]',
    '[WWW]',
    '[${NAME}]',
    '[a${NAME}b c]',
    '[GLOBAL]\nlog_limit = 700',
    '\r\nenv[A] = b\r',
    'env[A] = b \r',
    'env[A] = é\u00a0€',
  ].map((line): [string, Case] => [`a line ${JSON.stringify(line)}`, { text: whole('', line), env: { NAME: 'www' } }]),
  ['a file without an end of line', { text: whole('').trimEnd() }],
  ['a file with nothing in it', { text: '' }],
  ['a file without pools', { text: '[global]\nerror_log = DIR/err.log\n' }],
  ['entries before any section are global', { text: `error_log = DIR/err.log\nlog_limit = 600\n${pool('')}` }],
  ['a later value counts', { text: whole('log_limit = 600\nlog_limit = 800', 'user = root\nuser = nobody\npm = dynamic\npm = static') }],
  ['sections may be interrupted', { text: whole('', 'slowlog = a', `${pool('', 'b')}[www]\nslowlog = b\n[global]\nlog_limit = 999`) }],
  // What is included.
  ['include of a file', { text: whole('include = DIR/more.inc'), files: { 'more.inc': 'log_limit = 777\n[x]\nuser = root\n' } }],
  [
    'include with a pattern',
    { text: whole('', '', 'include = DIR/sub.d/*.conf'), files: { 'sub.d/b.conf': pool('', 'b'), 'sub.d/a.conf': pool('', 'a') } },
  ],
  ['include in a pool', { text: whole('', 'include=DIR/more.inc\nrlimit_files = 9'), files: { 'more.inc': 'slowlog = inc\n' } }],
  ['include of what is refused', { text: whole('include = DIR/more.inc'), files: { 'more.inc': '\n\nfoo = 3\n' } }],
  ['include of what is no syntax', { text: whole('include = DIR/more.inc'), files: { 'more.inc': '\n\nlog_limit = (\n' } }],
  ['include of itself', { text: whole('include = DIR/main.conf') }],
  ...[
    '/nope/*.conf',
    '/nope/x.conf',
    'DIR/nope*',
    'DIR/[',
    'DIR',
    'DIR/sub.d',
    'DIR/main.conf/*',
    'nope.conf',
    'DIR/*/nope.conf',
    'DIR/*/nope/*',
    '/nope/*/x',
    '/nope/a/*',
    'DIR/sub.d/*',
    'DIR/{a,b}',
    '',
    '$pool',
  ].map((pattern): [string, Case] => [`include = ${pattern}`, { text: whole(`include = ${pattern}`) }]),
  [
    'two includes are two lines',
    {
      text: whole('include = DIR/sub.d/?.inc\ninclude = DIR/sub.d/[!a].inc'),
      files: { 'sub.d/a.inc': 'log_limit = 600', 'sub.d/b.inc': '' },
    },
  ],
  // What values mean together.
  ...[
    'user =',
    'user = 33\ngroup = 0',
    'user = nobodyhere',
    'group = nobodyhere',
    'listen.owner = nobodyhere',
    'listen.group = nobodyhere',
    'listen.owner = 12345\nlisten.group = 7',
    'listen =',
    'listen = 9001',
    'listen = a:b:c',
    'listen = rel.sock',
    'prefix = /nope',
    'prefix = DIR\nlisten = x.sock\nslowlog = y\nchdir = sub.d\nphp_value[error_log] = z\nphp_admin_value[error_log] = SYSLOG',
    'prefix = rel',
    'pm = dynamic',
    'pm = dynamic\npm.min_spare_servers = 1',
    'pm = dynamic\npm.min_spare_servers = 1\npm.max_spare_servers = 3',
    'pm = dynamic\npm.min_spare_servers = 2\npm.max_spare_servers = 1',
    'pm = dynamic\npm.max_children = 9\npm.min_spare_servers = 2\npm.max_spare_servers = 5',
    'pm = dynamic\npm.max_children = 9\npm.min_spare_servers = 2\npm.max_spare_servers = 5\npm.start_servers = 6',
    'pm = dynamic\npm.max_children = 9\npm.min_spare_servers = 2\npm.max_spare_servers = 5\npm.start_servers = 1',
    'pm = dynamic\npm.max_children = 9\npm.min_spare_servers = 2\npm.max_spare_servers = 5\npm.max_spawn_rate = 0',
    'pm = ondemand\npm.process_idle_timeout = 0',
    'pm = ondemand\nlisten.backlog = -5\npm.start_servers = 7',
    'pm.max_children = 0',
    'pm.status_path = status',
    'pm.status_path = /',
    'pm.status_path = /a b',
    'pm.status_path = /a/b-c_d.e~1',
    'pm.status_listen = 9001',
    'pm.status_listen = 9001\npm.status_path = /x',
    'pm.status_listen = 9001\npm.status_path = x',
    'pm.status_listen = DIR/www.sock',
    'pm.status_listen =',
    'ping.path = ping',
    'ping.path = /',
    'ping.path = /ü',
    'ping.path = /p',
    'ping.path = /p\nping.response =',
    'ping.path = /p\nping.response = "ok then"',
    'ping.response = ignored',
    'access.log = DIR/access.log\naccess.format = "%R %{x}C"',
    'request_slowlog_timeout = 5',
    'request_slowlog_timeout = 5\nslowlog = /nope/x',
    'request_slowlog_timeout = 5\nslowlog = DIR/slow\nrequest_terminate_timeout = 3',
    'request_slowlog_timeout = 5\nslowlog = DIR/slow\nrequest_terminate_timeout = 5',
    'request_slowlog_timeout = -5\nslowlog = DIR/slow',
    'request_slowlog_trace_depth = 5',
    'request_slowlog_trace_depth = -5\nslowlog = x',
    'request_slowlog_trace_depth = 5\nslowlog = x',
    'chroot = nope',
    'chroot = x$prefix',
    'chroot = $prefix',
    'chroot = $prefix/lib',
    'chroot = $prefixlib',
    'chroot = /tmp\nchdir = /nope',
    'chroot = /\nchdir = /tmp\nphp_value[error_log] = rel',
    'chdir = /nope',
    'chdir = $prefix/x',
    'php_value[error_log] = foo.log\nphp_admin_value[extension_dir] = x\nphp_value[Sendmail_Path] = y\nphp_value[memory_limit] = 1G',
    'php_value[a] = 1\nphp_flag[b] = on\nphp_value[a] = 2\nphp_admin_flag[c] = off\nphp_admin_value[d] = "x y"',
    'env[A] = 1\nenv[B] = 2\nenv[A] = 3\naccess.suppress_path[] = /1\naccess.suppress_path[] = /2',
    'security.limit_extensions =',
    'security.limit_extensions = .php .html',
  ].map((lines): [string, Case] => [`a pool with ${JSON.stringify(lines)}`, { text: whole('', lines) }]),
  ...[
    '%Z',
    '%{x',
    '%{x}',
    '%{}',
    '%{a}{b',
    '%{x}C',
    '%{total}C%{User}C%{SYSTEM}C',
    '%{x}d',
    '%{mili}d',
    '%{x}M',
    '%{Mega}M',
    '%e',
    '%{}e',
    '%o',
    '%{x}m',
    '%{x}%',
    '%{%H}t %{%H}T %{}t',
    '%{%H}tx %{y',
    '%',
    '%%%',
    '%E',
    '% ',
    '%{x} d',
    'é%%ü',
    `%{${'x'.repeat(200)}}e`,
    `%{${'x'.repeat(200)}}d`,
    'x'.repeat(2000),
  ].map((format): [string, Case] => [
    `access.format = ${JSON.stringify(format.slice(0, 50))}`,
    { text: whole('', `access.log = DIR/access.log\naccess.format = "${format}"`) },
  ]),
  ...[1000, 2000, 2005, 2010, 2100, 3000].map((length): [string, Case] => [
    `a value of ${length} bytes`,
    { text: whole('log_limit = 700', `env[A] = ${'x'.repeat(length)}`) },
  ]),
  ['two pools at one address', { text: whole('', '', pool('', 'b').replace('b.sock', 'www.sock')) }],
  ['two pools at one relative address', { text: whole('', 'listen = x.sock', pool('listen = /usr/x.sock', 'b')) }],
  ...['poll', 'SELECT', 'epoll', 'kqueue', 'port', '/dev/poll', ''].map((name): [string, Case] => [
    `events.mechanism = ${name}`,
    { text: whole(`events.mechanism = ${name}`, 'pm = ondemand') },
  ]),
  ['a watchdog', { text: whole('systemd_interval = 3'), env: { WATCHDOG_USEC: '30000000' } }],
  ['a watchdog of an odd time', { text: whole(''), env: { WATCHDOG_USEC: '12345678' } }],
  ['a watchdog that is too fast', { text: whole(''), env: { WATCHDOG_USEC: '1000000' } }],
  // What the command line adds.
  ['-p', { text: whole('pid = a.pid', 'slowlog = b\nprefix = sub.d\nlisten = c'), words: ['-p', 'DIR'] }],
  ['-p of nothing', { text: whole(''), words: ['-p', '/nope'] }],
  ['-g', { text: whole(''), words: ['-g', 'some.pid'] }],
  ['-g, which the file overrides', { text: whole('pid = a.pid'), words: ['-g', '/some.pid'] }],
  ['-F', { text: whole('daemonize = yes'), words: ['-F'] }],
  ['-D', { text: whole('daemonize = no'), words: ['-D'] }],
  ['-F -O', { text: whole(''), words: ['-FO'] }],
  ['-R without a user', { text: whole('').replace('user = www-data', ''), words: ['-R'] }],
  ['no user and no -R', { text: whole('').replace('user = www-data', '') }],
]

describe.skipIf(!has(PHP_FPM))('php-fpm and this say the same of', () => {
  describe.each(GLOBAL)('global $name', ({ name, kind }) => {
    // These files would be made where nobody wants them.
    const values =
      name === 'error_log' ? ['DIR/err.log', 'syslog', 'SysLog', '/nope/x', 'DIR', '"DIR/err.log"', '$pool'] : TRIED[kind.form]!
    test.each([...values, undefined])('= %j', async (value) => {
      await compare({ text: whole(value === undefined ? name : `${name} = ${value}`) })
    })
  })

  describe.each(POOL)('pool $name', ({ name, kind }) => {
    // Whose logs are opened for the test: in our folder.
    const values = name === 'access.log' ? ['DIR/access.log', 'DIR/$pool.log', '/nope/x', '', 'DIR'] : TRIED[kind.form]!
    test.each([...values, undefined])('= %j', async (value) => {
      await compare({ text: whole('', value === undefined ? name : `${name} = ${value}`) })
    })
  })

  describe.each(MORE)('pool %s', (name, values) => {
    test.each(values)('= %j', async (value) => {
      await compare({ text: whole('', `${name} = ${value}`) })
    })
  })

  describe.each(ARRAYS)('pool $name[]', ({ name }) => {
    test.each(['[a] = b', '[a] =', '[] = b', '[] = /b', '[a] = yes', '[a b] = "c;d"', '[a] = x$pool', '["q"] = $HOME'])(
      '%s',
      async (rest) => {
        await compare({ text: whole('', `${name}${rest}`) })
      },
    )
    test('among the global ones', async () => {
      expect(await compare({ text: whole(`${name}[a] = /b`) })).toBe(78)
    })
  })

  // As root; both would otherwise start.
  test
    .skipIf(process.geteuid?.() !== 0)
    .each([
      'user = root',
      'group = root',
      'user = 0',
      'user = 33\ngroup = 0',
      'user = 12345',
      'user = nobodyhere',
      'group = nobodyhere',
      'user =',
      'foo = 3',
    ])('a start with %j, which is refused', async (lines) => {
    expect(await compare({ text: whole('', lines) }, ['-n', '-F'])).toBe(78)
  })

  test.each<[string, Case]>(CASES)('%s', async (_, each) => {
    await compare(each)
  })
})
