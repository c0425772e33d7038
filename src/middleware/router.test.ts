import { describe, expect, test } from 'vitest'
import { backend, text } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { compilePattern, compileRedirect, compileRewrite, compileTemplate, router } from './index.ts'
import type { Application, GatewayRequest } from '../core/index.ts'
import type { RouteRule } from './index.ts'

const tell: Application = (request: GatewayRequest) =>
  text(200, [request.scriptName, request.pathInfo, request.rawPathInfo, request.queryString, request.target].join(' | '))

type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]
async function ask(rules: RouteRule[], target: string, init: Init = {}): Promise<string> {
  const { status, body, headers } = await serveMemory(router(rules)).request({ target, ...init })
  const at = headers.findIndex((name, i) => i % 2 === 0 && (name === 'Location' || name === 'Allow'))
  return at === -1 ? (status === 200 ? body.toString() : String(status)) : `${status} ${headers[at + 1]!}`
}
const paths = (...texts: string[]): Pick<RouteRule, 'paths'> => ({ paths: texts.map(compilePattern) })
const to =
  (name: string): Application =>
  () =>
    text(200, name)

const rewrite = (path: string, template: string, more: Partial<RouteRule> = {}): RouteRule[] => [
  { ...paths(path), rewrite: compileRewrite(template), answer: tell, ...more },
  { answer: to('below') },
]
const rule = (path: string, template: string): RouteRule[] => [{ ...paths(path), answer: compileRedirect(template, 301) as Application }]

describe('rules', () => {
  const rules: RouteRule[] = [
    { ...paths('/a', '/b/*'), answer: to('first') },
    { ...paths('/b/c'), answer: to('never') },
    { ...paths('/form'), methods: ['POST'], answer: to('post') },
    { ...paths('/form'), methods: ['GET'], answer: to('get') },
  ]
  test.each([
    ['GET', '/a', 'first'],
    ['GET', '/b/c', 'first'],
    ['POST', '/form', 'post'],
    ['GET', '/form', 'get'],
    ['HEAD', '/form', ''],
    ['PUT', '/form', '405 POST, GET, HEAD'],
    ['GET', '/x', '404'],
  ])('%s %s: %s', async (method, target, answer) => {
    expect(await ask(rules, target, { method })).toBe(answer)
  })

  test('see what a client meant, whatever it was written as', async () => {
    const guarded: RouteRule[] = [{ ...paths('/admin/*'), answer: to('guarded') }, { answer: to('open') }]
    for (const target of ['/admin', '//admin/x', '/x/../admin/', '/%61dmin', '/admin%2Fx', '/./admin', '/x/%2e%2e/admin']) {
      expect(await ask(guarded, target), target).toBe('guarded')
    }
    expect(await ask(guarded, '/administrator')).toBe('open')
  })

  test('close each of their applications once', async () => {
    let closed = 0
    const owned = backend(to('x'), { close: () => Promise.resolve(void closed++) })
    const made = router([{ ...paths('/a'), answer: owned }, { answer: owned }])
    await made.close()
    await made.close()
    expect(closed).toBe(1)
  })
})

describe('a mount', () => {
  const rules: RouteRule[] = [
    { ...paths('/app/*'), mount: true, answer: tell },
    { ...paths('/whole/*'), answer: tell },
  ]
  test.each([
    ['/app/x%20y?q', '/app | /x y | /x%20y | q | /app/x%20y?q'],
    ['/app', '/app |  |  |  | /app'],
    ['/%61pp/a%2Fb', '/app | /a/b | /a%2Fb |  | /%61pp/a%2Fb'],
    ['/whole/x', ' | /whole/x | /whole/x |  | /whole/x'],
  ])('%s: %s', async (target, answer) => {
    expect(await ask(rules, target)).toBe(answer)
  })
})

describe('a rewrite', () => {
  test.each<[string, string, string, string]>([
    ['/*', '/index.php', '/a/b?c', ' | /index.php | /index.php | c | /a/b?c'],
    ['/*', '/index.php{path}', '/a/b', ' | /index.php/a/b | /index.php/a/b |  | /a/b'],
    ['/old/*', '/new/{rest}', '/old/a/b', ' | /new/a/b | /new/a/b |  | /old/a/b'],
    ['/old/*', '/new/{rest}', '/old', ' | /new/ | /new/ |  | /old'],
    ['/post/:id', '/show.php?id={id}', '/post/7?x=1', ' | /show.php | /show.php | id=7 | /post/7?x=1'],
    ['/post/:id', '/show.php?id={id}&{query}', '/post/a%26b%3D?x=1', ' | /show.php | /show.php | id=a%26b%3D&x=1 | /post/a%26b%3D?x=1'],
    // What it makes is read as if a client had sent it.
    ['/p/:a/:b', '/x/{a}{b}/y', '/p/./z', 'below'],
    ['/p/:a', '/x/{a}/y', '/p/%20', ' | /x/ /y | /x/%20/y |  | /p/%20'],
    // Its own path could be read in two ways, and the new one would no longer show it.
    ['/old/*', '/new/{rest}', '/old/a%2Fb', 'below'],
    ['/old/*', '/new/{rest}', '/old/a%5Cb', 'below'],
    ['/old/*', '/new/{rest}', '/old/%252e%252e/b', 'below'],
    ['/old/*', '/fixed', '/old/a%2Fb', ' | /fixed | /fixed |  | /old/a%2Fb'],
  ])('of %s to %s: %s', async (path, template, target, answer) => {
    expect(await ask(rewrite(path, template), target)).toBe(answer)
  })

  test('in a mount is a path below it', async () => {
    expect(await ask(rewrite('/blog/*', '/index.php{path}', { mount: true }), '/blog/a')).toBe(
      '/blog | /index.php/a | /index.php/a |  | /blog/a',
    )
  })

  test('without an answer goes on below, and never round in circles', async () => {
    const rules: RouteRule[] = [
      { ...paths('/a'), rewrite: compileRewrite('/b') },
      { ...paths('/b'), rewrite: compileRewrite('/a') },
      { ...paths('/a'), answer: tell },
    ]
    expect(await ask(rules, '/a')).toBe(' | /a | /a |  | /a')
    expect(await ask(rules, '/b')).toBe(' | /a | /a |  | /b')
  })

  test('cannot be given a path above the root', async () => {
    // Dots come from names that are next to each other, never from a path.
    const rules: RouteRule[] = [{ ...paths('/p/*'), rewrite: compileRewrite('/a/.{rest}'), answer: tell }, { answer: to('below') }]
    expect(await ask(rules, '/p/./x')).toBe(' | /a/.x | /a/.x |  | /p/./x')
    expect(await ask(rules, '/p/')).toBe(' | /a/ | /a/ |  | /p/')
  })
})

describe('tryFiles', () => {
  const files = new Set(['/a.txt', '/b/index.html', '/c/'])
  const rules: RouteRule[] = [
    {
      tryFiles: {
        candidates: ['{path}', '{path}/index.html', '{path}/'].map(compileTemplate),
        exists: (path, folder) => folder === path.endsWith('/') && files.has(path),
      },
      answer: tell,
    },
    { answer: to('below') },
  ]
  test.each([
    ['/a.txt', ' | /a.txt | /a.txt |  | /a.txt'],
    ['/b', ' | /b/index.html | /b/index.html |  | /b'],
    ['/b/', ' | /b/index.html | /b/index.html |  | /b/'],
    ['/c', ' | /c/ | /c/ |  | /c'],
    ['/d', 'below'],
    ['/a%2Etxt', ' | /a.txt | /a%2Etxt |  | /a%2Etxt'],
    ['/b%2Findex.html', 'below'],
  ])('%s: %s', async (target, answer) => {
    expect(await ask(rules, target)).toBe(answer)
  })
})

describe('a redirect', () => {
  test.each<[string, string, string, string]>([
    ['/*', 'https://{host}{path}', '/a%20b?c=d', '301 https://example.org/a%20b?c=d'],
    ['/old/*', '/new/{rest}', '/old/x', '301 /new/x'],
    ['/post/:id', '/show?id={id}', '/post/a%26b?x', '301 /show?id=a%26b'],
    ['/go/*', '{path}', '//evil.test/x', '404'],
    // No other host comes out of a path.
    ['/*', '{path}', '//evil.test/x', '301 /evil.test/x'],
    ['/*', '/{path}', '/evil.test', '301 /evil.test'],
    ['/go/*', '/{rest}', '/go//evil.test', '301 /evil.test'],
    ['/go/*', '/{rest}', '/go/%5Cevil.test', '404'],
    ['/go/*', '/{rest}', '/go/%2Fevil.test', '404'],
  ])('of %s to %s: %s', async (path, template, target, answer) => {
    expect(await ask(rule(path, template), target, { headers: ['Host', 'Example.org:8080'] })).toBe(answer)
  })
})
