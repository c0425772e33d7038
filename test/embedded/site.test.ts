// The first command of the README on a machine that has Node and nothing else to run programs with: no PHP, no Python, no Perl.

import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { until } from '../processes.ts'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'

const root = fileURLToPath(new URL('../../examples/site', import.meta.url))
const folder = mkdtempSync(join(tmpdir(), 'viaduct-bare-'))
const temporary = join(folder, 'tmp')
let server: Viaduct

/** Of all that a system has, Node. A shell is where `#!/bin/sh` names it, and it looks in /usr/bin by itself. */
function bare(): string {
  const bin = join(folder, 'bin')
  mkdirSync(bin)
  symlinkSync(process.execPath, join(bin, 'node'))
  return bin
}

beforeAll(async () => {
  mkdirSync(temporary)
  server = await serveFolder(root, { env: { PATH: bare(), TMPDIR: temporary } })
}, 60_000)

afterAll(async () => {
  await server?.stop()
  rmSync(folder, { recursive: true })
})

async function get(path: string): Promise<{ status: number; type: string; text: string }> {
  const response = await fetch(`http://127.0.0.1:${server.port}${path}`, { redirect: 'manual' })
  return { status: response.status, type: response.headers.get('content-type') ?? '', text: await response.text() }
}

test('every link of the demo is answered', async () => {
  const seen = new Map<string, string>()
  const waiting = ['/']
  for (let path = waiting.pop(); path !== undefined; path = waiting.pop()) {
    if (seen.has(path)) continue
    const { status, type, text } = await get(path)
    expect(status, path).toBe(text.includes('is not installed here</h1>') ? 500 : 200)
    seen.set(path, text)
    if (!type.startsWith('text/html')) continue
    for (const [, link] of text.replace(/<details>.*<\/details>/s, '').matchAll(/ (?:href|src|action)="([^"]*)"/g)) {
      const url = new URL(link!.replaceAll('&amp;', '&'), `http://127.0.0.1:${server.port}${path}`)
      waiting.push(url.pathname + url.search)
    }
  }
  expect(seen.size).toBeGreaterThan(30)
  // Perl and Python as CGI programs are processes: they need their interpreters, and their pages say so.
  const missing = [...seen]
    .filter(([, text]) => text.includes('is not installed here</h1>'))
    .map(([path]) => path.replace(/[?].*|(?<=\.p[ly])\/.*/, ''))
  expect([...new Set(missing)].filter((path) => !/^\/cgi-bin\/.*\.(?:pl|py)$/.test(path))).toEqual([])
}, 60_000)

test('the table says which interpreters are embedded, and the log what was loaded', () => {
  const line = server
    .log()
    .split('\n')
    .find((each) => each.includes('"viaduct serves"'))!
  const { serves } = JSON.parse(line) as { serves: { kind: string; note?: string; missing?: object }[] }
  for (const kind of ['php', 'wsgi'])
    expect(
      serves.find((entry) => entry.kind === kind),
      kind,
    ).toMatchObject({ note: 'embedded', workers: 2 })
  expect(server.log()).toContain('embedded: loading Python 3.13 (WebAssembly) ...')
})

test('programs in JavaScript need nothing: as CGI, as a FastCGI program, as an application', async () => {
  expect((await get('/cgi-bin/variables.mjs?a=%3Cb%3E')).text).toContain('<tr><th>QUERY_STRING</th><td>a=%3Cb%3E</td></tr>')
  expect([(await get('/counter.fcgi')).status, (await get('/node/')).status]).toEqual([200, 200])
})

test('PHP makes its pages, and takes an upload; so does Python', async () => {
  expect((await get('/php/info.php')).text).toContain('8.3.')
  expect((await get('/app/any/path')).status).toBe(200)
  expect((await get('/python/')).text).toContain('A Python application')
  const form = new FormData()
  form.append('file', new Blob(['the content']), 'a <b>.txt')
  const response = await fetch(`http://127.0.0.1:${server.port}/php/upload.php`, { method: 'POST', body: form })
  expect([response.status, (await response.text()).includes('a &lt;b&gt;.txt')]).toEqual([200, true])
})

function left(): string[] {
  return readdirSync(temporary).filter((name) => name.startsWith('viaduct-embedded-'))
}

// The last: it takes the server away.
test('what was made for the interpreters is gone with a server that is killed', async () => {
  expect(left()).toHaveLength(2)
  server.signalGroup('SIGKILL')
  await until(() => left().length === 0)
})
