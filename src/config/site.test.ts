import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { getHeader, mount } from '../core/index.ts'
import { openSpawner } from '../process/index.ts'
import { serveMemory } from '../testing/index.ts'
import { buildSite, describeFolder } from './index.ts'
import type { Backend } from '../core/index.ts'
import type { AccessRecord } from '../middleware/index.ts'
import type { DescribeOptions, SiteContext } from './index.ts'

let folder: string
const open: Backend[] = []
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info() {}, warn: note, error: note }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-site-'))
  lines.length = 0
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((site) => site.close(0)))
  rmSync(folder, { recursive: true })
})

const put = (path: string, content: string, mode = 0o644): void => {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
  chmodSync(join(folder, path), mode)
}
const SH = '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$SCRIPT_NAME|$PATH_INFO|$(cat)"\n'

async function build(options: DescribeOptions = {}, context: Partial<SiteContext> = {}): Promise<Backend> {
  const site = await buildSite(await describeFolder(folder, { workers: 1, ...options }), { log, ...context })
  open.push(site)
  await site.ready()
  return site
}
type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]
const ask = async (
  site: Backend,
  target: string,
  init: Init = {},
): Promise<{ status: number; text: string; location: string | undefined; headers: readonly string[] }> => {
  const { status, body, headers } = await serveMemory(site).request({ target, ...init })
  const at = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'location')
  return { status, text: body.toString(), location: at === -1 ? undefined : headers[at + 1], headers }
}

describe('a site', () => {
  test('serves files, programs and redirects, each by what is in the folder', async () => {
    put('index.html', 'top')
    put('cgi-bin/echo', SH, 0o755)
    put('sub/a.txt', 'a')
    const site = await build()
    expect(await ask(site, '/')).toMatchObject({ status: 200, text: 'top' })
    expect(await ask(site, '/sub?q')).toMatchObject({ status: 301, location: '/sub/?q' })
    expect(await ask(site, '/cgi-bin/echo/a%20b')).toMatchObject({ status: 200, text: '/cgi-bin/echo|/a b|' })
    expect(await ask(site, '/cgi-bin/echo', { method: 'POST', body: 'data' })).toMatchObject({ text: '/cgi-bin/echo||data' })
    expect(await ask(site, '/sub/')).toMatchObject({ status: 404, text: expect.stringMatching(/^404 Not Found\n/) as string })
    expect(lines).toEqual([])
  })

  test('sees what comes later, also the first program and the first script', async () => {
    const site = await build()
    put('later.cgi', SH, 0o755)
    expect(await ask(site, '/later.cgi')).toMatchObject({ status: 200, text: '/later.cgi||' })
    if (!has('php-cgi')) return
    put('later.php', '<?= "php", 1 + 1;')
    expect(await ask(site, '/later.php')).toMatchObject({ status: 200, text: 'php2' })
  })

  test('explains itself with status 500 where an interpreter is missing, and all else works', async () => {
    put('x.php', '<?php')
    put('cgi-bin/x', '#!/usr/bin/env no-such-interpreter\n', 0o755)
    put('index.html', 'top')
    const site = await build({ path: '/nonexistent', php: { interpreter: 'native' } })
    for (const [path, what] of [
      ['/x.php', 'php-cgi'],
      ['/cgi-bin/x', 'no-such-interpreter'],
    ] as const) {
      const { status, text, headers } = await ask(site, path)
      expect(status).toBe(500)
      expect(getHeader(headers, 'cache-control')).toBe('no-store')
      expect(text).toContain(`<h1>${what} is not installed here</h1>`)
      expect(await ask(site, path, { method: 'HEAD' })).toMatchObject({ status: 500, text: '' })
      expect(lines.at(-1)).toContain(`${path} cannot be run: ${what} is missing: there is no ${what} on PATH (/nonexistent)`)
    }
    expect(await ask(site, '/')).toMatchObject({ text: 'top' })
  })

  test('names folders of the machine on that page only to who is at it, and a package only where one is known', async () => {
    put('cgi-bin/x', '#!/usr/bin/env no-such-interpreter\n', 0o755)
    const site = await build({ path: '/nonexistent' })
    const of = async (address: string, ...headers: string[]): Promise<string> =>
      (await ask(site, '/cgi-bin/x', { headers: ['Host', 'localhost', ...headers], remote: { address, port: 1 } })).text
    const here = await of('127.0.0.1')
    expect(here).toContain(
      `<p>There is no no-such-interpreter on PATH (/nonexistent); the first line of ${folder}/cgi-bin/x asks for it.</p>`,
    )
    expect(here).not.toContain('This brings it')
    for (const page of [await of('192.0.2.1'), await of('127.0.0.1', 'X-Forwarded-For', '192.0.2.1')]) {
      expect(page).toContain('no-such-interpreter is not installed here')
      expect(page).not.toContain('nonexistent')
      expect(page).not.toContain(folder)
    }
  })

  test('says in the log how a program without the execute bit is made one, once a look', async () => {
    put('cgi-bin/a b', SH)
    const site = await build()
    for (let i = 0; i < 3; i++) expect(await ask(site, '/cgi-bin/a%20b/rest')).toMatchObject({ status: 403 })
    expect(lines).toEqual([`site: '${folder}/cgi-bin/a b': it is not executable; if it is a program: chmod +x '${folder}/cgi-bin/a b'`])
  })

  test('follows local redirects of its programs, and no more than ten', async () => {
    put('cgi-bin/to', '#!/bin/sh\nprintf "Location: $QUERY_STRING\\n\\n"\n', 0o755)
    put('a.txt', 'a')
    const site = await build()
    expect(await ask(site, '/cgi-bin/to?/a.txt', { method: 'POST', body: 'x' })).toMatchObject({ status: 200, text: 'a' })
    expect(await ask(site, '/cgi-bin/to?/.env')).toMatchObject({ status: 404 })
    put('loop.cgi', '#!/bin/sh\nprintf "Location: /loop.cgi\\n\\n"\n', 0o755)
    expect(await ask(site, '/loop.cgi')).toMatchObject({ status: 500 })
    expect(lines).toEqual([expect.stringContaining('more than 10 times')])
  })

  test('works below a mount as well', async () => {
    put('sub/index.html', 'sub')
    put('x.cgi', SH, 0o755)
    const site = await build()
    const mounted = mount({ '/app': site })
    expect(await ask(mounted, '/app')).toMatchObject({ status: 301, location: '/app/' })
    expect(await ask(mounted, '/app/sub')).toMatchObject({ status: 301, location: '/app/sub/' })
    expect(await ask(mounted, '/app/sub/')).toMatchObject({ text: 'sub' })
    expect(await ask(mounted, '/app/x.cgi/i')).toMatchObject({ text: '/app/x.cgi|/i|' })
  })

  test('answers a small file at once, and gives the access log a record of it', async () => {
    put('a.txt', 'a')
    const records: AccessRecord[] = []
    const site = await build({}, { access: (record) => records.push(record) })
    await ask(site, '/a.txt')
    await ask(site, '/nothing')
    expect(records.map(({ target, status, bytes }) => [target, status, bytes])).toEqual([
      ['/a.txt', 200, 1],
      ['/nothing', 404, expect.any(Number)],
    ])
  })

  test('refuses bodies over the limit of its plan', async () => {
    put('x.cgi', SH, 0o755)
    const site = await build({ maxBody: 3 })
    expect(await ask(site, '/x.cgi', { method: 'POST', body: 'abc' })).toMatchObject({ status: 200 })
    expect(await ask(site, '/x.cgi', { method: 'POST', body: 'abcd' })).toMatchObject({ status: 413 })
    expect(await ask(site, '/x.cgi', { method: 'POST', body: [Buffer.from('ab'), Buffer.from('cd')] })).toMatchObject({ status: 413 })
  })

  test('runs its programs by the spawner it is given, and leaves that open', async () => {
    put('x.cgi', SH, 0o755)
    await using spawner = openSpawner({ log, helpers: 1 })
    const site = await build({}, { spawner: () => spawner })
    expect(await ask(site, '/x.cgi')).toMatchObject({ status: 200 })
    await site.close(0)
    expect(spawner.up).toBe(true)
  })

  test('is closed with all it started, and starts nothing afterwards', async () => {
    const site = await build()
    put('x.cgi', SH, 0o755)
    await site.close(0)
    expect(await ask(site, '/x.cgi')).toMatchObject({ status: 503 })
  })

  test('answers OPTIONS for the server as a whole', async () => {
    const site = await build()
    expect(await ask(site, '*', { method: 'OPTIONS' })).toMatchObject({ status: 204 })
  })
})

describe.skipIf(!has('php-cgi'))('a site with PHP', () => {
  test('runs scripts, folders and paths that name nothing by the nearest index.php', async () => {
    const told = '<?php foreach (["SCRIPT_NAME", "PATH_INFO", "REQUEST_URI"] as $n) echo $_SERVER[$n] ?? "-", "|"; echo __FILE__;'
    put('index.php', told)
    put('sub/a.php', told)
    put('sub/index.html', 'html')
    const site = await build()
    expect((await ask(site, '/')).text).toBe(`/index.php|-|/|${folder}/index.php`)
    expect((await ask(site, '/sub/a.php/b/c?d')).text).toBe(`/sub/a.php|/b/c|/sub/a.php/b/c?d|${folder}/sub/a.php`)
    expect((await ask(site, '/sub/nothing?x=%2F')).text).toBe(`/index.php|-|/sub/nothing?x=%2F|${folder}/index.php`)
    expect((await ask(site, '/sub/')).text).toBe('html')
    expect((await ask(site, '/sub%2Fa.php')).status).toBe(404)
  })
})
