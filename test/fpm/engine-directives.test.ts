// What each directive does, by php-fpm and by `viaduct fpm`: the same lines to both, and the same is seen of both. That they are read alike
// is face-config.test.ts's business.

import { execFileSync } from 'node:child_process'
import { readFileSync, readlinkSync, statSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { ARRAYS, GLOBAL, POOL } from '../../src/fpm/config/directives.ts'
import { until } from '../cli/program.ts'
import { has, which } from '../peers.ts'
import { Fpm, REAL, ask, descendants, freePort, isRoot, variables, workersOf } from './engine.ts'
import type { Kind } from './engine.ts'

const SCRIPTS = {
  'hello.php': '<?php echo "hello";',
  'hello.inc': '<?php echo "included";',
  'facts.php':
    '<?php $l = posix_getrlimit(); echo json_encode([decoct(umask()), $l["soft core"], $l["soft openfiles"], getenv("SEEN"), getenv("ONE"), $_SERVER["ONE"] ?? null, (int) explode(" ", file_get_contents("/proc/self/stat"))[18]]);',
  'talk.php': '<?php file_put_contents("php://stderr", str_repeat("x", 700) . "\\nlast\\n"); echo "talked";',
  'sleep.php': '<?php usleep(20000000);',
  'slow.php': '<?php usleep(1600000); echo "slow";',
  'short.php': '<?php usleep(200000); echo "short";',
  'env.php': '<?php echo getenv("FCGI_WEB_SERVER_ADDRS");',
  'flags.php':
    '<?php foreach (["short_open_tag", "html_errors", "precision", "serialize_precision"] as $k) $all[] = [ini_get($k), ini_set($k, "1"), ini_get($k)]; echo json_encode($all);',
  'crash.php': '<?php posix_kill(getmypid(), 11); sleep(5);',
}

interface Row {
  /** The directives that it shows. */
  readonly of: readonly string[]
  readonly global?: string
  readonly pool?: string
  readonly more?: string
  readonly env?: Readonly<Record<string, string>>
  see(fpm: Fpm): Promise<unknown> | unknown
}

const STATIC = 'pm = static\npm.max_children = 2'
const facts = async (fpm: Fpm): Promise<string> => (await fpm.ask('facts.php')).body
const page = async (fpm: Fpm, path: string): Promise<string> => {
  const { head, body } = await ask(fpm.socket, { ...variables(''), SCRIPT_NAME: path })
  return `${head}\n\n${body}`.replace(/^X-Powered-By.*\r\n/m, '')
}
/** Processes that may have requests. */
const processes = async (fpm: Fpm): Promise<number> =>
  fpm.kind === 'php-fpm' ? descendants(fpm.pid).length : (await fpm.status())['total processes']
/** What the log says of these, without what differs from run to run. */
const told = async (fpm: Fpm, pattern: RegExp, count = 1): Promise<string[]> => {
  await fpm.said(pattern, count)
  return fpm.log
    .split('\n')
    .filter((line) => pattern.test(line))
    .map((line) =>
      line
        .replace(/^\[.*?\] /, '')
        .replace(/child \d+/, 'child N')
        .replaceAll(fpm.folder, 'FOLDER')
        .replace(/\d+\.\d{6} sec/g, 'T sec'),
    )
}
/** When each child was started, in milliseconds of the day, as the log has it at level debug. */
const started = (fpm: Fpm): number[] =>
  [...fpm.log.matchAll(/ (\d\d):(\d\d):(\d\d\.\d{6})\].*\[pool www\] child \d+ started/g)].map(
    ([, hours, minutes, seconds]) => (Number(hours) * 3600 + Number(minutes) * 60 + Number(seconds)) * 1000,
  )
/** How many came together. */
const bursts = (times: readonly number[]): number[] => {
  const counts: number[] = []
  times.forEach((time, i) => {
    if (i > 0 && time - times[i - 1]! < 400) counts[counts.length - 1]!++
    else counts.push(1)
  })
  return counts
}
const limitsOf = (pid: number): string[] =>
  readFileSync(`/proc/${pid}/limits`, 'utf8')
    .split('\n')
    .filter((line) => /^Max (open|core)/.test(line))
const niceOf = (pid: number): string | undefined => readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')[16]

/** In the column of what was sent. */
const queueLimit = (fpm: Fpm): string | undefined =>
  has('ss') ? execFileSync(which('ss')!, ['-lxnH', 'src', fpm.socket], { encoding: 'utf8' }).trim().split(/\s+/)[3] : 'unknown'

const ROWS: Row[] = [
  { of: ['rlimit_core', 'clear_env', 'env'], pool: 'rlimit_core = 4096\nenv[ONE] = 1', env: { SEEN: 'yes' }, see: facts },
  { of: ['clear_env'], pool: 'clear_env = no', env: { SEEN: 'yes' }, see: facts },
  { of: ['rlimit_files'], pool: 'rlimit_files = 600', see: facts },
  {
    of: ['rlimit_files', 'rlimit_core'],
    global: 'rlimit_files = 900\nrlimit_core = 8192',
    see: async (fpm) => [limitsOf(fpm.pid), await facts(fpm)],
  },
  { of: ['process.priority'], global: 'process.priority = 3', see: async (fpm) => [niceOf(fpm.pid), await facts(fpm)] },
  {
    of: ['process.priority'],
    global: 'process.priority = 3',
    pool: 'process.priority = 7',
    see: async (fpm) => [niceOf(fpm.pid), await facts(fpm)],
  },
  {
    of: ['chdir'],
    pool: 'chdir = /usr/share',
    see: (fpm) => readlinkSync(`/proc/${(fpm.kind === 'php-fpm' ? descendants(fpm.pid) : workersOf(fpm.pid))[0]}/cwd`),
  },
  {
    of: ['security.limit_extensions'],
    pool: 'security.limit_extensions = .inc',
    see: async (fpm) => [await fpm.ask('hello.inc'), await fpm.ask('hello.php')],
  },
  { of: ['security.limit_extensions'], pool: 'security.limit_extensions =', see: (fpm) => fpm.ask('hello.inc') },
  { of: ['ping.path', 'ping.response'], pool: 'ping.path = /alive\nping.response = "I am"', see: (fpm) => page(fpm, '/alive') },
  { of: ['pm.status_path'], pool: 'pm.status_path = /elsewhere', see: async (fpm) => (await page(fpm, '/elsewhere')).replace(/:.*/g, '') },
  {
    of: ['pm.status_listen'],
    pool: 'pm.status_listen = FOLDER/status.sock',
    see: async (fpm) => {
      await fpm.ask('hello.php')
      const { head, body } = await ask(fpm.script('status.sock'), { ...variables('', 'json'), SCRIPT_NAME: '/status' })
      const status = JSON.parse(body) as Record<string, unknown>
      return [
        head.replace(/^X-Powered-By.*\r\n/m, ''),
        status['pool'],
        status['process manager'],
        status['accepted conn'],
        status['total processes'],
      ]
    },
  },
  {
    of: ['access.log', 'access.format', 'access.suppress_path'],
    pool: 'access.format = "%m %r %s"\naccess.suppress_path[] = /hello.php',
    see: async (fpm) => {
      await fpm.ask('hello.php')
      await fpm.ask('hello.php', 'x')
      await page(fpm, '/ping')
      await until('the access log', () => fpm.read('access.log').includes('/ping'))
      return fpm.read('access.log')
    },
  },
  {
    of: ['prefix', 'listen'],
    pool: 'prefix = FOLDER\nlisten = near.sock',
    see: async (fpm) => (await ask(fpm.script('near.sock'), variables(fpm.script('hello.php')))).body,
  },
  {
    of: ['log_level'],
    global: 'log_level = error',
    pool: 'pm.max_requests = 1',
    see: async (fpm) => [await fpm.ask('hello.php'), fpm.log],
  },
  {
    of: ['catch_workers_output', 'log_limit'],
    global: 'log_limit = 512',
    pool: 'catch_workers_output = yes',
    see: async (fpm) => [await fpm.ask('talk.php'), await told(fpm, /said into stderr/, 3)],
  },
  {
    of: ['decorate_workers_output'],
    pool: 'catch_workers_output = yes\ndecorate_workers_output = no',
    see: async (fpm) => [await fpm.ask('talk.php'), await told(fpm, /^(?:x{700}|last)$/m, 2)],
  },
  {
    of: ['log_buffering'],
    global: 'log_buffering = no',
    pool: 'catch_workers_output = yes',
    see: async (fpm) => [await fpm.ask('talk.php'), await told(fpm, /said into stderr: "last"/)],
  },
  { of: ['pm', 'pm.max_children'], pool: 'pm.max_children = 3', see: processes },
  {
    of: ['pm', 'pm.start_servers', 'pm.min_spare_servers', 'pm.max_spare_servers'],
    pool: 'pm = dynamic\npm.max_children = 9\npm.start_servers = 4\npm.min_spare_servers = 2\npm.max_spare_servers = 5',
    see: processes,
  },
  {
    of: ['pm.start_servers'],
    pool: 'pm = dynamic\npm.max_children = 9\npm.min_spare_servers = 2\npm.max_spare_servers = 5',
    see: processes,
  },
  { of: ['pm'], pool: 'pm = ondemand', see: processes },
  {
    of: ['pm.process_idle_timeout'],
    pool: 'pm = ondemand\npm.process_idle_timeout = 1s',
    see: async (fpm) => [await fpm.ask('hello.php'), await processes(fpm), await until('nobody', async () => (await processes(fpm)) === 0)],
  },
  {
    of: ['process.max'],
    global: 'process.max = 3',
    pool: 'pm.max_children = 5',
    see: async (fpm) => [await told(fpm, /maximum number of processes/), await processes(fpm)],
  },
  {
    of: ['request_terminate_timeout'],
    pool: 'request_terminate_timeout = 1s',
    see: async (fpm) => {
      const { whole } = await fpm.ask('sleep.php')
      await fpm.said(/child \d+ exited on signal/)
      return [whole, await told(fpm, /execution timed out/)]
    },
  },
  {
    of: ['emergency_restart_threshold', 'emergency_restart_interval'],
    global: 'emergency_restart_threshold = 2\nemergency_restart_interval = 1m',
    see: async (fpm) => {
      for (let i = 0; i < 2; i++) await fpm.ask('crash.php')
      const words = await told(fpm, /failed processes threshold/)
      await until('an answer', async () => (await fpm.ask('hello.php')).body === 'hello')
      return [words, (await told(fpm, /exited on signal 11/, 2)).map((line) => line.replace(/\(.*?\) after .*/, ''))]
    },
  },
  {
    of: ['listen.mode', 'listen.owner', 'listen.group'],
    pool: 'listen.owner = www-data\nlisten.group = daemon\nlisten.mode = 0620',
    see: (fpm) => {
      const { uid, gid, mode } = statSync(fpm.socket)
      return [uid, gid, mode & 0o777]
    },
  },
  {
    of: ['slowlog', 'request_slowlog_timeout', 'request_slowlog_trace_depth'],
    pool: 'request_slowlog_timeout = 1s\nrequest_slowlog_trace_depth = 3\nslowlog = FOLDER/$pool.slow',
    see: async (fpm) => {
      await fpm.ask('slow.php', 'a=b')
      await fpm.ask('hello.php')
      const words = await told(fpm, /executing too slow/)
      const head = /^\n\[\d\d-\w{3}-\d{4} [\d:]{8}\] {2}\[pool www\] pid (\d+)\nscript_filename = (.*)\n/.exec(fpm.read('www.slow'))
      const { processes: all, 'slow requests': count } = await fpm.status()
      return [words, head?.[2], all.some(({ pid }) => pid === Number(head?.[1])), count]
    },
  },
  {
    of: ['slowlog', 'request_slowlog_timeout', 'request_terminate_timeout'],
    pool: 'request_slowlog_timeout = 1s\nrequest_terminate_timeout = 2s\nslowlog = FOLDER/$pool.slow',
    see: async (fpm) => {
      const { whole } = await fpm.ask('sleep.php')
      await until('the new child', () => /exited on signal[^]*child \d+ started/.test(fpm.log))
      return [whole, await told(fpm, /executing too slow|execution timed out/, 2), (await fpm.status())['slow requests']]
    },
  },
  {
    of: ['pm.max_spawn_rate'],
    global: 'log_level = debug',
    pool: 'pm = dynamic\npm.max_children = 20\npm.start_servers = 6\npm.min_spare_servers = 6\npm.max_spare_servers = 19\npm.max_spawn_rate = 2',
    // Six at work: none is idle, so six are started, each second twice as many as before, but never more than the rate.
    see: async (fpm) => {
      for (let i = 0; i < 6; i++) void fpm.ask('sleep.php')
      await until('as many again', () => started(fpm).length >= 12)
      return bursts(started(fpm))
    },
  },
  { of: ['systemd_interval'], global: 'systemd_interval = 7', see: (fpm) => told(fpm, /systemd monitor interval/) },
  {
    of: ['systemd_interval'],
    global: 'systemd_interval = 0',
    see: (fpm) => told(fpm, /systemd monitor/),
  },
  { of: ['events.mechanism'], global: 'events.mechanism = poll', see: (fpm) => fpm.ask('hello.php') },
  {
    of: ['listen', 'listen.allowed_clients'],
    pool: 'listen = 127.0.0.1:PORT\nlisten.allowed_clients = 192.0.2.1,::1',
    see: (fpm) => ask({ host: '127.0.0.1', port: PORT }, variables(fpm.script('hello.php'))),
  },
  {
    of: ['listen.allowed_clients'],
    pool: 'listen = 127.0.0.1:PORT\nlisten.allowed_clients = 192.0.2.1,127.0.0.1',
    see: (fpm) => ask({ host: '127.0.0.1', port: PORT }, variables(fpm.script('env.php'))),
  },
  {
    of: ['php_flag', 'php_admin_flag', 'php_value', 'php_admin_value'],
    pool: 'php_flag[short_open_tag] = on\nphp_admin_flag[html_errors] = no\nphp_value[precision] = 5\nphp_admin_value[serialize_precision] = 7',
    see: (fpm) => fpm.ask('flags.php'),
  },
  {
    of: ['process.max'],
    global: 'process.max = 3',
    pool: 'pm.max_children = 2',
    more: '[two]\nuser = www-data\nlisten = FOLDER/two.sock\nlisten.mode = 0666\npm.status_path = /status\npm = ondemand\npm.max_children = 4\n',
    see: async (fpm) => {
      const two = (): Promise<{ body: string }> => ask(fpm.script('two.sock'), variables(fpm.script('short.php')))
      const answers = await Promise.all(Array.from({ length: 3 }, two))
      const { body } = await ask(fpm.script('two.sock'), { ...variables('', 'json'), SCRIPT_NAME: '/status' })
      return [answers.map((each) => each.body), JSON.parse(body)['max active processes']]
    },
  },
  { of: ['listen.backlog'], pool: 'listen.backlog = 37', see: queueLimit },
  { of: ['listen.backlog'], see: queueLimit },
  { of: ['listen.backlog'], pool: 'listen.backlog = -1', see: queueLimit },
]

/** Shown elsewhere, or not to be compared, and why. */
const ELSEWHERE: Readonly<Record<string, string>> = {
  'syslog.ident': 'engine-machine.test.ts',
  'syslog.facility': 'engine-machine.test.ts',
  chroot: 'engine-machine.test.ts; engine.test.ts where the root has no php-cgi',
  apparmor_hat: 'engine-starts.test.ts: refused, for only the process itself can put one on',
  pid: 'engine-life.test.ts',
  error_log: 'every test reads it; engine-life.test.ts opens it anew',
  process_control_timeout: 'engine-life.test.ts',
  daemonize: 'engine-life.test.ts',
  user: 'engine.test.ts',
  group: 'engine.test.ts',
  'listen.acl_users': 'engine.test.ts',
  'listen.acl_groups': 'engine.test.ts',
  'process.dumpable': 'engine.test.ts',
  'pm.max_requests': 'engine.test.ts',
  request_terminate_timeout_track_finished: 'php-cgi has no fastcgi_finish_request()',
}

const PORT = await freePort()

describe.skipIf(!has('php-cgi', REAL) || !isRoot)('what a directive does', () => {
  test.each(ROWS.map((row) => [[row.global, row.pool].filter(Boolean).join('; ').replaceAll('\n', '; '), row] as const))(
    '%s',
    async (_, row) => {
      const seen = []
      for (const kind of ['php-fpm', 'viaduct'] as Kind[]) {
        await using fpm = await start(kind, row)
        seen.push(JSON.parse((JSON.stringify(await row.see(fpm)) ?? 'null').replaceAll(fpm.folder, 'FOLDER')))
      }
      expect(seen[1]).toEqual(seen[0])
    },
  )

  test('each one is shown here, or it is said where, or why not', () => {
    const names = [...GLOBAL, ...POOL].map(({ name }) => name).concat(ARRAYS.map(({ name }) => name))
    const shown = new Set(ROWS.flatMap(({ of }) => of))
    expect([...new Set(names)].filter((name) => !shown.has(name) && ELSEWHERE[name] === undefined)).toEqual([])
    expect([...shown, ...Object.keys(ELSEWHERE)].filter((name) => !names.includes(name))).toEqual([])
  })
})

async function start(kind: Kind, { global = '', pool: lines = '', more = '', env = {} }: Row): Promise<Fpm> {
  const pool = lines.replace('PORT', String(PORT))
  const options = { global, pool: `${STATIC}\n${pool}`, more, scripts: SCRIPTS, env }
  if (global.includes('debug') || !global.includes('log_level')) return Fpm.start(kind, options)
  const fpm = Fpm.launch(kind, options)
  await until('its socket', async () => (await fpm.ask('hello.php')).body === 'hello')
  return fpm
}
