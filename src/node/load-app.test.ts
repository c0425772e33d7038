import { mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { text, type Log } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { loadApp } from './index.ts'

let folder: string
let number = 0
const said: string[] = []
const say = (_: object, message: string): void => void said.push(message)
const log: Log = { debug() {}, info() {}, warn: say, error: say }

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-node-'))
  symlinkSync(new URL('../../node_modules', import.meta.url).pathname, join(folder, 'node_modules'))
})
afterAll(() => rmSync(folder, { recursive: true }))

function put(code: string, extension: string = 'mjs'): string {
  const file = join(folder, `app${++number}.${extension}`)
  writeFileSync(file, code)
  return file
}

async function answer(code: string, extension?: string): Promise<string> {
  const application = await loadApp(put(code, extension), { log })
  await application.ready()
  const server = serveMemory(application)
  const { status, body } = await server.request({ target: '/x' })
  await server.close()
  await application.close()
  return `${status} ${body.toString()}`
}

describe('an app file', () => {
  test.each<[string, string, string?]>([
    ['an Application', `export default (request) => ({ status: 200, headers: [], body: request.pathInfo })`],
    ['an async Application', `export default async (request) => ({ status: 200, headers: [], body: request.pathInfo })`],
    ['an object with fetch', `export default { fetch: (request) => new Response(new URL(request.url).pathname) }`],
    ['a function of a Request', `export const kind = 'fetch'\nexport default (request) => new Response(new URL(request.url).pathname)`],
    ['a Node listener', `export default (req, res) => res.end(req.url)`],
    ['a Node listener of one parameter', `export const kind = 'node'\nexport default (...all) => all[1].end(all[0].url)`],
    ['a server', `import { createServer } from 'node:http'\nexport default createServer((req, res) => res.end(req.url))`],
    ['an express app', `import express from 'express'\nexport default express().use((req, res) => res.send(req.url))`],
    ['a fastify app', `import fastify from 'fastify'\nconst app = fastify()\napp.get('/x', (r) => r.url)\nexport default app`],
    ['a hono app', `import { Hono } from 'hono'\nconst app = new Hono()\napp.get('/x', (c) => c.text(c.req.path))\nexport default app`],
    ['a CommonJS listener', `module.exports = (req, res) => res.end(req.url)`, 'cjs'],
    ['compiled CommonJS', `exports.__esModule = true\nexports.default = (req, res) => res.end(req.url)`, 'cjs'],
  ])('can be %s', async (_, code, extension) => {
    expect(await answer(code, extension)).toBe('200 /x')
  })

  test.each<[string, string, string]>([
    ['has no default export', `export const app = 1`, 'has no default export; export the app'],
    ['exports what is no app', `export default { a: 1 }`, 'is none of: a function, an object with a fetch function'],
    [
      'names a kind that there is not',
      `export const kind = 'rack'\nexport default () => {}`,
      'expected one of application, fetch, node, wsgi',
    ],
    ['cannot be read by node', `const a = 1\nexport default ((`, 'could not be loaded: '],
    ['throws', `\n\nthrow new Error('at the start')`, 'could not be loaded: at the start (FILE:3)'],
    [
      'imports what is not there',
      `import 'no-such-package'`,
      `could not be loaded: Cannot find package 'no-such-package' imported from FILE`,
    ],
    [
      'listens by itself',
      `import { createServer } from 'node:http'\nconst s = createServer()\ns.listen(0)\ns.unref()\nexport default s`,
      'listens by itself',
    ],
    ['is a WSGI function where nobody runs those', `export const kind = 'wsgi'\nexport default () => {}`, 'is a WSGI function'],
  ])('that %s is refused', async (_, code, message) => {
    const file = put(code)
    const error = loadApp(file, { log })
    await expect(error).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringContaining(message.replace('FILE', file)) as string })
  })

  test.each([
    `export const kind = 'wsgi'\nexport default function app() {}`,
    `export default function app(environ, start_response) {}`,
    `export default function* (environ, startResponse) {}`,
    `export default async (environ, startResponse) => []`,
    `const app = (environ) => []\nexport { app as default }`,
  ])('hands a WSGI function to whoever runs those: %j', async (code) => {
    const seen: unknown[] = []
    const wsgi = (callable: unknown): (() => ReturnType<typeof text>) => {
      seen.push(callable)
      return () => text(200, 'wrapped')
    }
    const application = await loadApp(put(code), { log, wsgi })
    const server = serveMemory(application)
    expect((await server.request()).body.toString()).toBe('wrapped')
    expect(seen).toEqual([expect.any(Function)])
    await server.close()
    await application.close()
  })

  test('is told that it returned a Response where it must not', async () => {
    const application = await loadApp(put(`export default () => new Response('x')`), { log })
    const server = serveMemory(application)
    const { status, errors } = await server.request()
    expect([status, errors]).toEqual([500, expect.stringContaining(`write \`export const kind = 'fetch'\``)])
    await server.close()
    await application.close()
  })
})
