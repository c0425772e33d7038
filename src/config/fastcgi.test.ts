import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { collect, text } from '../core/index.ts'
import { allow, deny, serveFastCgi } from '../fastcgi/index.ts'
import { serveMemory } from '../testing/index.ts'
import { buildServer, explainRequest, loadConfig } from './index.ts'
import type { Backend, Server } from '../core/index.ts'
import type { FastCgiRoles } from '../fastcgi/index.ts'
import type { Config } from './index.ts'

let folder = ''
const open: (Backend | Server)[] = []
const silent = { debug() {}, info() {}, warn() {}, error() {} }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-config-'))
})
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each.close(0)
  rmSync(folder, { recursive: true })
})

async function application(name: string, played: FastCgiRoles): Promise<string> {
  const path = join(folder, `${name}.sock`)
  open.push(await serveFastCgi(played, { listen: { path }, mount: '/' }))
  return `unix:${path}`
}

const config = (applications: unknown, routes: unknown): Config => ({ applications, sites: [{ routes }] }) as Config
const load = (given: Config): ReturnType<typeof loadConfig> => {
  const file = join(folder, 'viaduct.config.json')
  writeFileSync(file, JSON.stringify(given))
  return loadConfig(file)
}

async function build(given: Config): Promise<(target: string, headers?: Record<string, string>) => Promise<string>> {
  const server = await buildServer((await load(given)).plan, { log: silent })
  open.push(server)
  await server.ready()
  return async (target, headers = {}) => {
    const { status, body } = await serveMemory(server).request({ target, headers })
    return `${status} ${body.toString()}`
  }
}

async function roles(): Promise<Config> {
  mkdirSync(join(folder, 'www'))
  writeFileSync(join(folder, 'www', 'page.html'), 'the page')
  const address = await application('roles', {
    authorizer: (request) =>
      request.headers.get('x-who') === 'ada' ? allow({ REMOTE_USER: 'ada' }) : deny(text(401, 'who are you?', ['WWW-Authenticate', 'x'])),
    filter: async (request) => text(200, (await collect(request.filterData.body)).toString().toUpperCase()),
    responder: (request) => text(200, `hello ${request.variables.get('REMOTE_USER') ?? 'nobody'}`),
  })
  return config(
    {
      app: { kind: 'fastcgi', address },
      guard: { kind: 'fastcgi', address, role: 'authorizer' },
      upper: { kind: 'fastcgi', address, role: 'filter' },
      files: { kind: 'static', root: 'www' },
    },
    [
      { path: '/app', application: 'app', mount: false, authorizer: 'guard' },
      { path: '/files/*', application: 'files', authorizer: 'guard', filter: 'upper' },
      { path: '/open/*', application: 'files', filter: 'upper' },
    ],
  )
}

describe('several hosts', () => {
  test('take turns by their weights', async () => {
    const a = await application('a', { responder: () => text(200, 'a') })
    const b = await application('b', { responder: () => text(200, 'b') })
    const app = { kind: 'fastcgi', upstreams: [{ address: a, weight: 2 }, b], multiplex: { ask: true, requests: 4, memory: '64K' } }
    const ask = await build(config({ app }, [{ application: 'app' }]))
    const all: string[] = []
    for (let i = 0; i < 6; i++) all.push(await ask('/'))
    expect(all.filter((each) => each === '200 a')).toHaveLength(4)
  })

  test('that cannot be reached are passed over, and every member is understood', async () => {
    const b = await application('b', { responder: () => text(200, 'b') })
    const app = {
      kind: 'fastcgi',
      upstreams: ['unix:/nonexistent/viaduct.sock', { address: b, backup: true, connections: 2 }],
      balance: { cookie: 'sid' },
      health: {
        failures: 1,
        window: '5s',
        ejection: 1,
        longest: '1m',
        slowStart: '2s',
        check: { path: '/ping', status: [200, 299], interval: '100ms', timeout: '50ms', rise: 1, fall: 9 },
      },
      retries: 3,
      limits: { response: '1M', total: '5s' },
    }
    const ask = await build(config({ app }, [{ application: 'app' }]))
    for (let i = 0; i < 3; i++) expect(await ask('/')).toBe('200 b')
  })

  test.each<[string, object, string]>([
    ['neither address nor upstreams', {}, 'either "address" or "upstreams"'],
    ['both', { address: '/a', upstreams: ['/b'] }, 'either "address" or "upstreams"'],
    ['an address that is none', { upstreams: [{ address: 'nowhere' }] }, 'upstreams[0].address'],
    ['an address that is none, in text', { upstreams: ['/a', 'http://b'] }, 'upstreams[1]'],
    ['no hosts', { upstreams: [] }, 'at least one host'],
    ['a balance that is none', { address: '/a', balance: 'random' }, 'two-choices'],
    ['a balance of one host', { address: '/a', balance: 'first' }, '"upstreams" in place of "address"'],
    ['the health of one host', { address: 'fastcgi://a:1', health: { failures: 1 } }, '"upstreams" in place of "address"'],
    ['a certificate without its key', { address: 'fastcgis://a:1', tls: { cert: 'package.json' } }, '"cert" and "key" together'],
    ['an authority that is not there', { address: 'fastcgis://a:1', tls: { ca: 'missing.pem' } }, 'tls.ca'],
    ['too many requests on a connection', { address: '/a', multiplex: { requests: 70_000 } }, 'multiplex'],
  ])('with %s are refused', async (_, members, word) => {
    await expect(load(config({ app: { kind: 'fastcgi', ...members } }, [{ application: 'app' }]))).rejects.toThrow(word)
  })
})

describe('roles', () => {
  test('an authorizer decides who gets to an application, and says who it is', async () => {
    const ask = await build(await roles())
    expect(await ask('/app', { 'X-Who': 'ada' })).toBe('200 hello ada')
    expect(await ask('/app', { 'Remote-User': 'ada' })).toBe('401 who are you?')
  })

  test('a filter answers with what it makes of a file that may be seen', async () => {
    const ask = await build(await roles())
    expect(await ask('/open/page.html', { Range: 'bytes=0-1' })).toBe('200 THE PAGE')
    expect(await ask('/files/page.html', { 'X-Who': 'ada' })).toBe('200 THE PAGE')
    expect(await ask('/files/page.html')).toBe('401 who are you?')
    expect(await ask('/open/missing.html')).toContain('404')
  })

  test('are told by explain', async () => {
    const { steps, application: answers } = await explainRequest((await load(await roles())).plan, { url: '/files/page.html' })
    expect(steps.map((step) => step.why).join('\n')).toMatch(/asks "guard" first[^]*"upper" answers/)
    expect(answers).toMatchObject({ name: 'files' })
  })

  test.each<[string, object, string]>([
    ['an authorizer that does not exist', { application: 'files', authorizer: 'nobody' }, 'authorizer'],
    ['an authorizer of another role', { application: 'files', authorizer: 'upper' }, '"role": "authorizer"'],
    ['a filter that is no FastCGI application', { application: 'files', filter: 'files' }, '"role": "filter"'],
    ['an authorizer as the answer', { application: 'guard' }, 'an application that answers'],
    ['an authorizer of a redirect', { redirect: '/', authorizer: 'guard' }, 'an "application" beside it'],
  ])('%s is refused', async (_, route, word) => {
    const given = await roles()
    await expect(load({ ...given, sites: [{ routes: [route] }] } as Config)).rejects.toThrow(word)
  })
})
