import { describe, expect, test } from 'vitest'
import type { ServerPlan } from '../config/index.ts'
import { parse, parsePath } from './arguments.ts'
import { SERVE, serveOptions } from './serve-options.ts'
import { folderConfig } from './source.ts'
import { parsePlace, placeIn } from './status-place.ts'

const configOf = (line: string): ReturnType<typeof folderConfig> =>
  folderConfig(serveOptions(parse(line.split(' ').filter(Boolean), SERVE.options), {}).folder)

describe('a folder', () => {
  test('has a status where it is asked for, in front of everything else', () => {
    const { applications, sites } = configOf('--status /server/status')
    expect(applications['status']).toEqual({ kind: 'status' })
    expect(sites).toEqual([{ routes: [{ path: '/server/status', application: 'status' }, { application: 'site' }] }])
  })

  test('has none by itself, and no limits', () => {
    const { applications, sites } = configOf('')
    expect(Object.keys(applications)).toEqual(['site'])
    expect(applications['site']).toEqual({ kind: 'folder', root: process.cwd() })
    expect(sites).toEqual([{ routes: [{ application: 'site' }] }])
  })

  test.each<[string, object]>([
    ['--slow 0.5', { php: { limits: { slow: '500ms' } }, cgi: { limits: { slow: '500ms' } }, wsgi: { limits: { slow: '500ms' } } }],
    [
      '--timeout 90',
      { php: { limits: { silence: '90s' } }, cgi: { limits: { firstByte: '90s', idle: '90s' } }, fcgi: { limits: { silence: '90s' } } },
    ],
    ['--timeout 400', { cgi: { limits: { firstByte: '400s', idle: '400s', time: '400s' } } }],
    [
      '--timeout 9 --slow 2 -w 3',
      { php: { workers: 3, limits: { silence: '9s', slow: '2s' } }, cgi: { limits: { firstByte: '9s', idle: '9s', slow: '2s' } } },
    ],
  ])('with %s has these limits in each kind of pool', (line, expected) => {
    expect(configOf(line).applications['site']).toMatchObject(expected)
  })

  test.each(['status', '/', '//x', '/x/', '/a/../b', '/a/./b', '/.', '/..', '/x?y', '/*', '/:a', '/ü', ''])(
    '"%s" is no path of a status',
    (text) => {
      expect(() => parsePath(text, '--status')).toThrow('--status: expected a path such as /status')
    },
  )
  test.each(['/status', '/server/status', '/a-b_c.d~e'])('"%s" is one', (text) => {
    expect(parsePath(text, '--status')).toBe(text)
  })
})

const http = (listen: object, more: object = {}): object => ({ protocol: 'http', listen, ...more })
const site = (routes: readonly object[], hosts?: readonly string[]): object => ({ routes, ...(hosts !== undefined && { hosts }) })
const plan = (listeners: readonly object[], sites: readonly object[]): ServerPlan =>
  ({ applications: { s: { kind: 'status' }, blog: { kind: 'php' } }, listeners, sites }) as unknown as ServerPlan
const ROUTE = { path: '/status', application: 's' }
const TCP = http({ host: '127.0.0.1', port: 80 })

describe('the place of a status', () => {
  test.each([
    ['http://127.0.0.1:8080/x', { to: { host: '127.0.0.1', port: 8080 }, tls: false, host: '127.0.0.1:8080', path: '/x' }],
    ['127.0.0.1:8080', { to: { host: '127.0.0.1', port: 8080 }, tls: false, host: '127.0.0.1:8080', path: '/status' }],
    ['http://[::1]:81/', { to: { host: '::1', port: 81 }, tls: false, host: '[::1]:81', path: '/' }],
    ['https://example.org/s', { to: { host: 'example.org', port: 443 }, tls: true, host: 'example.org', path: '/s' }],
    ['unix:/run/a.sock', { to: { path: '/run/a.sock' }, tls: false, host: 'localhost', path: '/status' }],
    ['unix:/run/a.sock:/s', { to: { path: '/run/a.sock' }, tls: false, host: 'localhost', path: '/s' }],
  ])('%s', (text, place) => {
    expect(parsePlace(text, '/status')).toEqual(place)
  })

  test.each(['ftp://x/', 'http://', 'unix:run', 'unix:', 'a b'])('"%s" is none', (text) => {
    expect(() => parsePlace(text, '/status')).toThrow('expected')
  })

  test.each<[string, ServerPlan, object | RegExp]>([
    [
      'a route',
      plan([TCP], [site([{ application: 'blog' }, ROUTE])]),
      { to: { host: '127.0.0.1', port: 80 }, tls: false, host: 'localhost', path: '/status' },
    ],
    ['one of several paths', plan([TCP], [site([{ path: ['*.x', '/a/*'], application: 's' }])]), { path: '/a/' }],
    ['a site of a name', plan([TCP], [site([{ application: 'blog' }]), site([ROUTE], ['*.a.org', 'b.org'])]), { host: 'b.org' }],
    ['every address', plan([http({ host: '*', port: 80 })], [site([ROUTE])]), { to: { host: '127.0.0.1', port: 80 } }],
    ['every address of IPv6', plan([http({ host: '::', port: 80 })], [site([ROUTE])]), { to: { host: '::1', port: 80 } }],
    [
      'https',
      plan(
        [http({ host: '127.0.0.1', port: 80 }, { redirect: { port: 443 } }), http({ host: '127.0.0.1', port: 443 }, { tls: {} })],
        [site([ROUTE])],
      ),
      { tls: true },
    ],
    [
      'a unix socket',
      plan([{ protocol: 'fastcgi', listen: { path: '/f' } }, http({ path: '/h' })], [site([ROUTE])]),
      { to: { path: '/h' } },
    ],
    ['no listener of HTTP', plan([{ protocol: 'fastcgi', listen: { path: '/f' } }], [site([ROUTE])]), /no listener of HTTP/],
    ['no fixed port', plan([http({ host: '127.0.0.1', port: 0 })], [site([ROUTE])]), /with a fixed port/],
    ['no route', plan([TCP], [site([{ application: 'blog' }])]), /no route with a fixed path/],
    ['no fixed path', plan([TCP], [site([{ path: '/:any/status', application: 's' }])]), /no route with a fixed path/],
    ['no status', { ...plan([TCP], []), applications: {} }, /no application of kind "status"/],
  ])('in a configuration with %s', (_, given, expected) => {
    const found = placeIn(given)
    if (expected instanceof RegExp) expect(found).toMatch(expected)
    else expect(found).toMatchObject(expected)
  })
})
