// Pages and logs of a running php-fpm, and what ours makes of the same facts: byte for byte.

import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { WorkerOutput, accessFormatter, isSuppressed, pingPage, slowEntry, statusPage } from '../../src/fpm/index.ts'
import type { AccessRecord, Page, ProcessStatus, StatusModel } from '../../src/fpm/index.ts'
import { has, which } from '../peers.ts'
import { PHP_FPM } from './face.ts'
import { ask, poll, startReal } from './php-fpm.ts'
import type { Answer, Real } from './php-fpm.ts'

/** Every code of access.format by itself. The first are those from which the facts of a request are taken. */
const FACTS = ['%{micro}d', '%M', '%p', '%P', '%{%s}t', '%{%s}T']
const FORMATS: readonly string[] = [
  ...(
    '%% %C %{user}C %{system}C %{Total}C %d %{seconds}d %{milliseconds}d %{milli}d %{mili}d %{MICRO}d ' +
    '%{microseconds}d %{miliseconds}d %{HTTP_X_TEST}e %{NOTHING}e %f %l %m %M %{bytes}M %{kilo}M %{kilobytes}M ' +
    '%{mega}M %{megabytes}M %n %{X-Out}o %{x-out}o %{X-None}o %{X-Ou}o %p %P %q %Q %r %R %s %t %T ' +
    '%{%Y-%m-%dT%H:%M:%S%z}t %{%s}T %{}t %u %r%Q%q %{a}{HTTP_X_TEST}e %'
  ).split(' '),
  'plain text',
  '[%u] "%m %r%Q%q" %s %%',
  // In pieces: php-fpm writes beyond its 128 bytes for longer ones.
  ...'a A b B c C d D e F g G h H I j k l m M n p P r R S T u U V w W x X y Y z Z'.split(' ').map((letter) => `%{<%${letter}>}t`),
  '%{%-d %_d %05d %^a %#Z %E}t',
  '%{%5Y|%_5m|%^B|%-H%%}T',
]

const pool = (name: string, more: string): string =>
  `[${name}]\nuser = www-data\nlisten = DIR/${name}.sock\nlisten.mode = 0666\npm = static\npm.max_children = 1\n${more}\n`

const CONFIG =
  `[global]\nerror_log = DIR/err.log\nlog_limit = 600\n` +
  pool('www', 'pm.status_path = /status\npm.max_children = 2\nping.path = /ping\nping.response = "a pong"') +
  // One process writes all lines, a request for each.
  FORMATS.map((format, i) =>
    pool(`f${i}`, `pm = ondemand\naccess.log = DIR/access.${i}.log\naccess.format = '${FACTS.join(' ')} ${format}'`),
  ).join('') +
  pool(
    'quiet',
    'access.log = DIR/quiet.log\naccess.format = "%{HTTP_X_TEST}e %s"\naccess.suppress_path[] = /a\naccess.suppress_path[] = /b.php',
  ) +
  pool('talk', 'catch_workers_output = yes') +
  pool('plain', 'catch_workers_output = yes\ndecorate_workers_output = no') +
  pool('slow', 'slowlog = DIR/slow.log\nrequest_slowlog_timeout = 1s')

const SCRIPTS = {
  'page.php': `<?php header('X-Out: out "there"'); http_response_code(203); usleep(2000);`,
  'talk.php': `<?php $out = fopen('php://stderr', 'w'); fwrite($out, file_get_contents('php://input')); $out = null;`,
  'code.php': `<?php http_response_code((int) $_SERVER['HTTP_X_CODE']);`,
  'sleep.php': `<?php usleep(1600000);`,
}

const page = (method: string, folder: string, more: Record<string, string> = {}): Record<string, string> => ({
  REQUEST_METHOD: method,
  SCRIPT_NAME: '/page.php',
  SCRIPT_FILENAME: `${folder}/page.php`,
  REQUEST_URI: '/page.php?a=b',
  QUERY_STRING: 'a=b&c="<d>',
  HTTP_X_TEST: 'x "test"',
  // jo"e with a password.
  HTTP_AUTHORIZATION: `Basic ${Buffer.from('jo"e<:secret').toString('base64')}`,
  ...more,
})

const skip = !has(PHP_FPM)
let real: Real
beforeAll(async () => {
  if (!skip) real = await startReal(CONFIG, SCRIPTS)
})
afterAll(async () => await real?.[Symbol.asyncDispose]())

const status = (method: string, query: string): Promise<Answer> =>
  ask(`${real.folder}/www.sock`, {
    REQUEST_METHOD: method,
    SCRIPT_NAME: '/status',
    SCRIPT_FILENAME: '/status',
    REQUEST_URI: '/status',
    QUERY_STRING: query,
  })

const headOf = ({ headers }: Page): string =>
  headers
    .map((each, i) => (i % 2 === 0 ? each : `: ${each}\r\n`))
    .join('')
    .trimEnd()

const or = (text: string): string => (text === '-' ? '' : text)

/** The facts of a page, read back from it as JSON or, where that cannot be, as text. */
function modelOf(fields: Record<string, string | number>, processes: Record<string, string | number>[]): StatusModel {
  const number = (name: string): number => Number(fields[name])
  const startTime = time(fields['start time']!)
  return {
    pool: String(fields['pool']),
    processManager: fields['process manager'] as 'static',
    startTime,
    now: startTime + number('start since'),
    acceptedConn: number('accepted conn'),
    listenQueue: number('listen queue'),
    maxListenQueue: number('max listen queue'),
    listenQueueLen: number('listen queue len'),
    idleProcesses: number('idle processes'),
    activeProcesses: number('active processes'),
    maxActiveProcesses: number('max active processes'),
    maxChildrenReached: number('max children reached'),
    slowRequests: number('slow requests'),
    processes: processes.map((each): ProcessStatus => {
      const bytes = (name: string): string => Buffer.from(String(each[name])).toString('latin1')
      const [uri, ...query] = bytes('request uri').split('?')
      return {
        pid: Number(each['pid']),
        state: each['state'] as 'Idle',
        startTime: time(each['start time']!),
        requests: Number(each['requests']),
        requestDuration: Number(each['request duration']),
        requestMethod: or(bytes('request method')),
        requestUri: or(uri!),
        queryString: query.join('?'),
        contentLength: Number(each['content length']),
        user: or(bytes('user')),
        script: or(bytes('script')),
        lastRequestCpu: Number(each['last request cpu']),
        lastRequestMemory: Number(each['last request memory']),
      }
    }),
  }
}

/** `22/Nov/2026:15:00:00 +0000` or unix seconds. */
function time(value: string | number): number {
  if (/^\d+$/.test(String(value))) return Number(value)
  const [, day, month, year, clock, zone] = /^(\d+)\/(\w+)\/(\d+):(\S+) (\S+)$/.exec(String(value))!
  return Date.parse(`${day} ${month} ${year} ${clock} ${zone}`) / 1000
}

function unescape(text: string): string {
  return text.replaceAll('&lt;', '<').replaceAll('&gt;', '>').replaceAll('&quot;', '"').replaceAll('&amp;', '&')
}

function pairs(text: string, pattern: RegExp): Record<string, string> {
  const found = [...text.matchAll(pattern)]
  return Object.fromEntries(found.map(([, name, value]) => [name!.toLowerCase().replaceAll('-', ' '), unescape(value!)]))
}

/** Reads any of the five formats. Numbers of a format that has not all are 0. */
function read(body: string, format: string): StatusModel {
  if (format === 'json') {
    const { processes = [], ...fields } = JSON.parse(body) as Record<string, string | number> & {
      processes?: Record<string, string | number>[]
    }
    return modelOf(fields, processes)
  }
  if (format === 'xml') {
    const [head, tail = ''] = body.split('<processes>')
    const element = /<([\w-]+)>([^<]*)<\/\1>/g
    return modelOf(
      pairs(head!, element),
      [...tail.matchAll(/<process>(.*)<\/process>/g)].map(([, each]) => pairs(each!, element)),
    )
  }
  if (format === 'html') {
    const [head, tail = ''] = body.split('<table border="1">')
    const rows = tail.split('<tr>').slice(1)
    const cells = (row: string, tag: string): string[] =>
      [...row.matchAll(new RegExp(`<${tag}>([^<]*)</${tag}>`, 'g'))].map(([, cell]) => unescape(cell!))
    const names = cells(rows[0] ?? '', 'th')
    return modelOf(
      pairs(head!, /<th>([^<]*)<\/th><td>([^<]*)</g),
      rows.slice(1).map((row) => Object.fromEntries(cells(row, 'td').map((cell, i) => [names[i]!, cell]))),
    )
  }
  const [head, ...blocks] = body.split(/^\*{24}\n/m)
  const line = /^([\w ]+): +(.*)$/gm
  return modelOf(
    pairs(head!, line),
    blocks.map((block) => pairs(block, line)),
  )
}

describe.skipIf(skip)('the status page', () => {
  // A request that leaves something to escape.
  beforeAll(async () => {
    const params = page('PO<S"', real.folder, { SCRIPT_NAME: `/a<&>"'/é.php`, REQUEST_URI: `/a<&>"'/é.php` })
    for (let i = 0; i < 2; i++) await ask(`${real.folder}/www.sock`, params)
  })

  test.each(['', 'html', 'xml', 'json'].flatMap((format) => [format, `${format}&full`, `full=1&${format}=`, `y=1&${format}&htmlx`]))(
    'of the query "%s" is the same, byte for byte',
    async (query) => {
      const format = /html(?!x)|xml|json/.exec(query)?.[0] ?? 'text'
      const answer = await status('GET', query)
      const ours = statusPage(read(answer.body.toString(), format), 'GET', query)
      expect(Buffer.from(ours.body).toString()).toBe(answer.body.toString())
      expect(headOf(ours)).toBe(answer.head)
    },
  )

  test.each(['openmetrics', 'openmetrics&full', 'full&openmetrics=1'])('of the query "%s" is the same, byte for byte', async (query) => {
    const { body, head } = await status('GET', query)
    const value = (name: string): number => Number(new RegExp(`^phpfpm_${name} (\\d+)$`, 'm').exec(body.toString())![1])
    const ours = statusPage(
      {
        ...read((await status('GET', 'json')).body.toString(), 'json'),
        startTime: 0,
        now: value('start_since'),
        acceptedConn: value('accepted_connections'),
        idleProcesses: value('idle_processes'),
        activeProcesses: value('active_processes'),
        maxActiveProcesses: value('max_active_processes'),
      },
      'GET',
      query,
    )
    expect(Buffer.from(ours.body).toString()).toBe(body.toString())
    expect(headOf(ours)).toBe(head)
  })

  test.each(['', 'html', 'json', 'openmetrics', 'full'])('has no body for HEAD and the query "%s", and the same head', async (query) => {
    const answer = await status('HEAD', query)
    const ours = statusPage(read((await status('GET', 'json')).body.toString(), 'json'), 'HEAD', query)
    expect([headOf(ours), ours.body.length]).toEqual([answer.head, answer.body.length])
  })

  test.each(['GET', 'HEAD', 'POST'])('and the ping are the same for %s', async (method) => {
    const params = { REQUEST_METHOD: method, SCRIPT_NAME: '/ping', SCRIPT_FILENAME: '/ping', REQUEST_URI: '/ping' }
    const answer = await ask(`${real.folder}/www.sock`, params)
    const ours = pingPage('a pong', method)
    expect([headOf(ours), Buffer.from(ours.body).toString()]).toEqual([answer.head, answer.body.toString()])
  })

  test.each([
    // Names are decoded before they are compared.
    ['full[]=1', 2],
    ['%66ull', 2],
    ['+full', 2],
    ['FULL', 0],
    ['fu=1', 2],
    ['fullx', 0],
    ['[full', 0],
    ['=full', 0],
    ['a&full', 2],
    ['full&full[]=1', 2],
  ])('of the query "%s" has %i processes', async (query, count) => {
    const answer = (await status('GET', query)).body.toString()
    expect(answer.split('\npid:').length - 1).toBe(count)
    const model = { ...read((await status('GET', 'json&full')).body.toString(), 'json') }
    expect(
      Buffer.from(statusPage(model, 'GET', query).body)
        .toString()
        .split('\npid:').length - 1,
    ).toBe(count)
  })
})

describe.skipIf(skip)('the status page', () => {
  test.each(['x=1', 'h', 'j&f', 'ope', 'htmlx', 'x&h', 'j&x', '%6a', 'HTML'])('has the same type for the query "%s"', async (query) => {
    const model = read((await status('GET', 'json')).body.toString(), 'json')
    expect(headOf(statusPage(model, 'GET', query))).toBe((await status('GET', query)).head)
  })
})

describe.skipIf(!has('promtool'))('openmetrics', () => {
  test('are metrics to promtool', () => {
    const model = modelOf({ pool: 'a"b\\c', 'process manager': 'dynamic', 'start time': 1 }, [])
    const { body } = statusPage(model, 'GET', 'openmetrics')
    // It reads the older text format, which has no end mark.
    const checked = spawnSync(which('promtool')!, ['check', 'metrics'], { input: Buffer.from(body).toString().replace('# EOF\n', '') })
    // 3: it would name counters otherwise; anything else is a mistake in the format.
    expect([checked.status, checked.stderr.toString().replace(/^.*"_total" suffix.*\n/gm, '')]).toEqual([3, ''])
  })
})

describe.skipIf(skip)('the access log', () => {
  test.each(FORMATS.map((format, i) => [format, i] as const))('of the format %j is the same', async (format, i) => {
    await ask(`${real.folder}/f${i}.sock`, page('POST', real.folder, { CONTENT_LENGTH: '4' }), 'body')
    await poll(() => real.file(`access.${i}.log`).endsWith('\n'))
    const line = real.file(`access.${i}.log`).slice(0, -1)
    const [duration, memory, pid, ppid, accepted, ended] = line.split(' ').map(Number) as [number, number, number, number, number, number]
    const record: AccessRecord = {
      pool: `f${i}`,
      pid,
      ppid,
      method: 'POST',
      uri: '/page.php',
      query: 'a=b&c="<d>',
      script: `${real.folder}/page.php`,
      user: 'jo"e<',
      contentLength: 4,
      remote: undefined,
      status: 203,
      acceptedAt: accepted * 1000,
      endedAt: ended * 1000,
      duration,
      cpuUser: 0,
      cpuSystem: 0,
      cpuDuration: duration / 1e6,
      memory,
      env: (name) => page('POST', real.folder)[name],
      header: (name) => (name === 'X-Out' ? 'out "there"' : undefined),
    }
    expect(accessFormatter(`${FACTS.join(' ')} ${format}`)(record)).toEqual({ line, cut: false })
  })
})

describe.skipIf(skip)('the access log', () => {
  test('leaves out the same requests of access.suppress_path', async () => {
    const requests = [
      ['/a', 'GET', '', '200', ''],
      ['/a', 'HEAD', '', '204', ''],
      ['/b.php', 'GET', '', '299', ''],
      ['/a', 'GET', '', '301', ''],
      ['/a', 'GET', '', '404', ''],
      ['/a', 'GET', '', '500', ''],
      ['/a', 'POST', '', '200', ''],
      ['/a', 'GET', 'x=1', '200', ''],
      ['/a', 'GET', '', '200', 'body'],
      ['/a/', 'GET', '', '200', ''],
      ['/A', 'GET', '', '200', ''],
      ['/c', 'GET', '', '200', ''],
    ] as const
    const expected: string[] = []
    for (const [i, [uri, method, query, code, body]] of requests.entries()) {
      const more = { SCRIPT_NAME: uri, REQUEST_URI: uri, QUERY_STRING: query, HTTP_X_TEST: String(i), HTTP_X_CODE: code }
      const params = { ...page(method, real.folder, more), SCRIPT_FILENAME: `${real.folder}/code.php` }
      await ask(`${real.folder}/quiet.sock`, { ...params, CONTENT_LENGTH: String(body.length) }, body)
      const record = { method, uri, query, status: Number(code), contentLength: body.length }
      if (!isSuppressed(['/a', '/b.php'], record)) expected.push(`${i} ${code}`)
    }
    const last = { ...page('GET', real.folder, { HTTP_X_TEST: 'last', HTTP_X_CODE: '200' }), SCRIPT_FILENAME: `${real.folder}/code.php` }
    await ask(`${real.folder}/quiet.sock`, last)
    await poll(() => real.file('quiet.log').includes('last'))
    expect(expected).toEqual(real.file('quiet.log').trimEnd().split('\n').slice(0, -1))
  })
})

describe.skipIf(skip)('what a worker says', () => {
  test.each<[string, string]>([
    ['a line', 'hello\n'],
    ['lines, and empty ones', 'one\n\n\ntwo\n'],
    ['no end of line', 'a\nhalf'],
    ['quotes and tabs', '\t"x" \\ y\n'],
    ['more than log_limit', `${'0123456789'.repeat(170)}\nend\n`],
    ['just log_limit, and around it', [525, 526, 527, 528, 529, 530, 531, 532, 533].map((n) => `${'x'.repeat(n)}\n`).join('')],
    ['text that is not ASCII', 'é€😀\n'],
  ])('(%s) is the same in the log', async (_, said) => {
    for (const [name, decorate] of [
      ['talk', true],
      ['plain', false],
    ] as const) {
      const before = real.file('err.log').length
      const params = {
        SCRIPT_FILENAME: `${real.folder}/talk.php`,
        SCRIPT_NAME: '/talk.php',
        REQUEST_METHOD: 'POST',
        CONTENT_TYPE: 'text/plain',
      }
      await ask(
        `${real.folder}/${name}.sock`,
        { ...params, CONTENT_LENGTH: String(Buffer.byteLength(said)) },
        Buffer.from(said).toString('latin1'),
      )
      // With the end of its request a line ends, too.
      const content = said.replaceAll('\n', '')
      const logged = (): string => real.file('err.log').slice(before)
      await poll(() => logged().endsWith('\n') && logged().replaceAll(/^\[.*?said into stderr: "|"?$|\n/gm, '').length >= content.length)
      const [, head, pid] = /^(\[[^\]]*\] WARNING: )\[pool talk\] child (\d+)/.exec(logged()) ?? [
        '',
        '[22-Nov-2026 15:00:00] WARNING: ',
        '1',
      ]
      let ours = ''
      const write = (bytes: Uint8Array): void => void (ours += Buffer.from(bytes).toString())
      const output = new WorkerOutput({ pool: name, pid: Number(pid), decorate, buffering: true, limit: 600, head: () => head!, write })
      output.push('stderr', Buffer.from(said))
      output.endLine()
      expect(ours.split('\n')).toEqual(
        logged()
          .replaceAll(/^\[[^\]]*\] WARNING: /gm, head!)
          .split('\n'),
      )
    }
  })
})

describe.skipIf(skip)('the slow log', () => {
  test('is the same, in head and frames', async () => {
    await ask(`${real.folder}/slow.sock`, {
      SCRIPT_FILENAME: `${real.folder}/sleep.php`,
      SCRIPT_NAME: '/sleep.php',
      REQUEST_URI: '/sleep.php',
    })
    await poll(() => real.file('slow.log').split('\n').length >= 5)
    const text = real.file('slow.log')
    const [, stamp, pid, script, address] = /^\n\[([^\]]*)\] {2}\[pool slow\] pid (\d+)\nscript_filename = (.*)\n\[0x([0-9a-f]+)\]/.exec(
      text,
    )!
    const frame = { address: BigInt(`0x${address}`), call: 'usleep', file: script!, line: 1 }
    const entry = {
      time: Date.parse(stamp!.replaceAll('-', ' ')),
      level: 'notice',
      pool: 'slow',
      pid: Number(pid),
      script: script!,
      frames: [frame],
    } as const
    expect(slowEntry(entry)).toBe(text)
  })
})
