import { spawnSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { GatewayError, backend, cascade, compose, lint, mount } from '../core/index.ts'
import type { Backend, PoolStatus } from '../core/index.ts'
import { router } from '../middleware/index.ts'
import { serveMemory } from '../testing/index.ts'
import { FORMATS, render, statusPage, statusText } from './index.ts'
import type { StatusPageOptions, StatusReport } from './index.ts'
import { span } from './text.ts'

const POOL: PoolStatus = {
  application: 'shop',
  name: 'shop',
  kind: 'php',
  interpreter: { mode: 'native', name: 'php-cgi', version: '8.2.36' },
  started: 1_000_000,
  workers: { total: 4, idle: 2, busy: 1, maxBusy: 3 },
  queue: { waiting: 5, maxWaiting: 6, limit: 512 },
  requests: 70,
  failures: { timeouts: 8, crashes: 9, refused: 10 },
  restarts: 11,
  slow: 12,
  processes: [
    { id: 101, type: 'process', state: 'idle', started: 1_000_000, requests: 1 },
    {
      id: 102,
      type: 'process',
      state: 'busy',
      started: 1_000_000,
      requests: 69,
      current: { method: 'GET', target: '/a?<script>&"', seconds: 1.25 },
    },
    { id: 0, type: 'process', state: 'starting', started: 1_060_000, requests: 0 },
  ],
}
const PYTHON: PoolStatus = {
  ...POOL,
  application: 'site',
  name: '/py "a"\\b/app.py',
  kind: 'wsgi',
  interpreter: { mode: 'embedded', name: 'python', version: '3.13' },
  processes: [{ id: 3, type: 'thread', thread: 2, state: 'idle', started: 1_000_000, requests: 0 }],
}
const REPORT: StatusReport = { version: '1.2.3', pid: 99, started: 940_000, now: 1_060_000, pools: [POOL, PYTHON] }

describe('a report', () => {
  test('as text is a table, with the workers below it', () => {
    expect(statusText(REPORT)).toBe(
      `Viaduct 1.2.3, pid 99, up 2 min

pool                    kind  interpreter           workers  busy  most  waiting  requests  slow  timeouts  crashes  refused
shop                    php   php-cgi 8.2.36              4     1     3        5        70    12         8        9       10
site: /py "a"\\b/app.py  wsgi  python 3.13 embedded        4     1     3        5        70    12         8        9       10

shop php
  101  idle       1 request   up 1 min
  102  busy      69 requests  up 1 min  1.3 s  GET /a?<script>&"
  -    starting   0 requests  up 0 s

site: /py "a"\\b/app.py wsgi, embedded
  thread 3/2  idle  0 requests  up 1 min
`,
    )
  })

  test('tells why a pool does not start', () => {
    const down = { ...POOL, error: 'exited with status 3; it said: <b>no</b>' }
    const report = { ...REPORT, pools: [down, PYTHON] }
    expect(statusText(report)).toContain('\ndoes not start\n  shop  exited with status 3; it said: <b>no</b>\n\nshop php\n')
    expect(statusText(REPORT)).not.toContain('does not start')
    expect(render(report, 'html').body).toContain(
      '<td>shop</td><td class="t">exited with status 3; it said: &#60;b&#62;no&#60;/b&#62;</td>',
    )
    expect(render(report, 'openmetrics').body).toContain(
      'viaduct_pool_up{app="shop",pool="shop",kind="php"} 0\nviaduct_pool_up{app="site",pool="/py \\"a\\"\\\\b/app.py",kind="wsgi"} 1\n',
    )
  })

  test('without a pool says so', () => {
    expect(statusText({ ...REPORT, pools: [] })).toContain('no pool has been started')
  })

  test('as JSON is what it is', () => {
    const { headers, body } = render(REPORT, 'json')
    expect(headers).toEqual(['Content-Type', 'application/json'])
    expect(JSON.parse(body)).toEqual(REPORT)
  })

  test('as HTML holds nothing of what a client sent but its text, and a policy by which nothing runs', () => {
    const { headers, body } = render(REPORT, 'html')
    expect(body).toContain('<td class="t">/a?&#60;script&#62;&#38;&#34;</td>')
    expect(body).not.toContain('<script')
    expect(body).toContain('<td>site: /py &#34;a&#34;\\b/app.py</td>')
    expect(headers.join(' ')).toContain("Content-Security-Policy default-src 'none'; style-src 'sha256-")
  })

  test('as OpenMetrics has counters whose families have no suffix, and an end', () => {
    const { headers, body } = render(REPORT, 'openmetrics')
    expect(headers).toEqual(['Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8'])
    expect(body).toContain('# TYPE viaduct_requests counter\nviaduct_requests_total{app="shop",pool="shop",kind="php"} 70\n')
    expect(body).toContain('# TYPE viaduct_build info\nviaduct_build_info{version="1.2.3"} 1\n')
    expect(body).toContain('viaduct_workers{app="shop",pool="shop",kind="php",state="starting"} 1\n')
    expect(body).toContain('viaduct_failures_total{app="shop",pool="shop",kind="php",cause="timeout"} 8\n')
    expect(body).toContain('{app="site",pool="/py \\"a\\"\\\\b/app.py",kind="wsgi"}')
    expect(body).toContain('# UNIT viaduct_pool_start_time_seconds seconds\n')
    expect(body.endsWith('\n# EOF\n')).toBe(true)
  })

  test('as metrics has no sample twice', () => {
    const samples = render(REPORT, 'openmetrics')
      .body.split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
    const names = samples.map((line) => line.slice(0, line.lastIndexOf(' ')))
    expect(new Set(names).size).toBe(names.length)
    expect(samples.every((line) => /^viaduct_[a-z_]+(\{.*\})? \d+(\.\d+)?$/.test(line))).toBe(true)
  })

  test.skipIf(!has('promtool'))('as metrics of the format that promtool reads passes its check', () => {
    const { status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], {
      input: render(REPORT, 'prometheus').body,
      encoding: 'utf8',
    })
    expect({ status, stdout, stderr }).toEqual({ status: 0, stdout: '', stderr: '' })
  })

  test.each([
    [-1, '0 s'],
    [59_999, '59 s'],
    [60_000, '1 min'],
    [3_599_999, '59 min'],
    [3_600_000, '1 h 0 min'],
    [86_399_999, '23 h 59 min'],
    [86_400_000, '1 d 0 h'],
  ])('%i ms are %s', (milliseconds, text) => {
    expect(span(milliseconds)).toBe(text)
  })
})

const LOCAL = { address: '127.0.0.1', port: 1 }

interface Asked {
  readonly target?: string
  readonly headers?: Record<string, string>
  readonly remote?: { address: string; port: number }
  readonly method?: string
}

async function ask({ target = '/', headers = {}, remote = LOCAL, method = 'GET' }: Asked, options: StatusPageOptions = {}) {
  const server = serveMemory(statusPage(() => [POOL], options))
  const response = await server.request({ target, method, remote, headers: { Host: 'localhost:8080', ...headers } })
  const field = (name: string): string | undefined =>
    response.headers[response.headers.findIndex((each, i) => i % 2 === 0 && each === name) + 1]
  return { status: response.status, type: field('Content-Type'), cache: field('Cache-Control'), text: response.body.toString() }
}

const PROMETHEUS =
  'application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'
const BROWSER = 'text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8'

const from = (address: string, headers: Record<string, string> = {}): Asked => ({ remote: { address, port: 1 }, headers })

describe('a status page', () => {
  test.each([
    ['/', {}, 'text/plain; charset=utf-8'],
    ['/', { Accept: '*/*' }, 'text/plain; charset=utf-8'],
    ['/', { Accept: BROWSER }, 'text/html; charset=utf-8'],
    ['/', { Accept: 'application/json' }, 'application/json'],
    ['/', { Accept: 'application/json;q=0.1, text/html;q=0.9' }, 'text/html; charset=utf-8'],
    ['/', { Accept: 'text/html;q=0' }, 'text/plain; charset=utf-8'],
    ['/', { Accept: PROMETHEUS }, 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
    ['/', { Accept: 'text/plain;version=0.0.4;q=0.5' }, 'text/plain; version=0.0.4; charset=utf-8'],
    ['/?json', { Accept: BROWSER }, 'application/json'],
    ['/?html&full', {}, 'text/html; charset=utf-8'],
    ['/?openmetrics', {}, 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
    ['/?prometheus', {}, 'text/plain; version=0.0.4; charset=utf-8'],
    ['/?text', { Accept: BROWSER }, 'text/plain; charset=utf-8'],
    ['/?constructor', {}, 'text/plain; charset=utf-8'],
  ])('%s with %j is %s', async (target, headers, type) => {
    expect(await ask({ target, headers })).toMatchObject({ status: 200, type, cache: 'no-store' })
  })

  test.each(FORMATS)('as %s tells of workers and their requests only when it is asked', async (format) => {
    const brief = await ask({ target: `/?${format}` })
    const full = await ask({ target: `/?${format}&full` })
    expect(brief.text).not.toContain('/a?')
    if (format === 'text' || format === 'html' || format === 'json') expect(full.text).toContain('/a?')
    else expect(full.text).not.toContain('/a?')
  })

  test('answers HEAD, and nothing but GET beside it', async () => {
    expect(await ask({ method: 'HEAD' })).toMatchObject({ status: 200, text: '' })
    expect(await ask({ method: 'POST' })).toMatchObject({ status: 405 })
  })

  const listed: StatusPageOptions = { allow: ['10.0.0.0/8', '2001:db8::1', 'unix'], hosts: ['example.org', '*.example.net'] }
  test.each<[string, Asked, StatusPageOptions, 200 | 403]>([
    ['this machine', from('127.0.0.1'), {}, 200],
    ['another address of it', from('127.1.2.3'), {}, 200],
    ['IPv6 of it', from('::1'), {}, 200],
    ['IPv4 of it in IPv6', from('::ffff:127.0.0.1'), {}, 200],
    ['somebody else', from('192.0.2.1'), {}, 403],
    ['somebody else by IPv6', from('2001:db8::1'), {}, 403],
    ['a unix socket', from(''), {}, 403],
    ['a listed network', from('10.1.2.3'), listed, 200],
    ['next to a listed network', from('11.0.0.1'), listed, 403],
    ['a listed address', from('2001:db8::1'), listed, 200],
    ['next to a listed address', from('2001:db8::2'), listed, 403],
    ['a listed unix socket', from(''), listed, 200],
    ['a proxy here that nobody knows of', from('127.0.0.1', { 'X-Forwarded-For': '127.0.0.1' }), {}, 403],
    ['another one', from('127.0.0.1', { Forwarded: 'for=127.0.0.1' }), {}, 403],
    ['one more', from('127.0.0.1', { 'X-Real-IP': '127.0.0.1' }), {}, 403],
    ['a cache here', from('127.0.0.1', { Via: '1.1 cache' }), {}, 403],
    ['a page of a stranger (DNS rebinding)', from('127.0.0.1', { Host: 'evil.example:8080' }), {}, 403],
    ['a name that only begins like ours', from('127.0.0.1', { Host: 'localhost.evil.example' }), listed, 403],
    ['a name that looks like an address', from('127.0.0.1', { Host: '127.0.0.1.evil.example' }), {}, 403],
    ['our address', from('127.0.0.1', { Host: '127.0.0.1:8080' }), {}, 200],
    ['our address of IPv6', from('127.0.0.1', { Host: '[::1]:8080' }), {}, 200],
    ['a name of a site', from('127.0.0.1', { Host: 'example.org' }), listed, 200],
    ['a name below one', from('127.0.0.1', { Host: 'a.example.net' }), listed, 200],
    ['a listed address, by any name', from('10.0.0.1', { Host: 'any.example' }), listed, 200],
  ])('asked from %s', async (_, asked, options, status) => {
    const answer = await ask({ ...asked, target: '/?json' }, options)
    expect(answer.status).toBe(status)
    if (status === 403) expect(answer.text).toBe('The status is not for everybody.\n')
  })

  test('refuses to be made for what is no network', () => {
    expect(() => statusPage(() => [], { allow: ['everybody'] })).toThrowError(GatewayError)
  })
})

const pool = (name: string): Backend => backend(() => ({ status: 200, headers: [], body: null }), { pools: () => [{ ...POOL, name }] })
const names = (made: Backend): string[] | undefined => made.pools?.().map((each) => each.name)

describe('the pools of a backend', () => {
  test.each<[string, () => Backend, readonly string[]]>([
    ['itself', () => pool('a'), ['a']],
    ['compose', () => compose(pool('a'), (next) => (request) => next(request)), ['a']],
    ['mount, each once', () => ((a) => mount({ '/': a, '/x': pool('b'), '/y': a }))(pool('a')), ['b', 'a']],
    ['cascade', () => cascade(pool('a'), () => ({ status: 404, headers: [], body: null }), pool('b')), ['a', 'b']],
    ['router', () => router([{ answer: pool('a') }, { answer: pool('b') }]), ['a', 'b']],
    ['lint', () => lint(pool('a')), ['a']],
    ['all of them at once', () => compose(mount({ '/': cascade(pool('a'), pool('b')) })), ['a', 'b']],
  ])('are reached through %s', (_, make, expected) => {
    expect(names(make())?.toSorted()).toEqual([...expected].toSorted())
  })

  test('are none where it can have none', () => {
    expect(backend(() => ({ status: 200, headers: [], body: null }), {}).pools).toBeUndefined()
  })
})
