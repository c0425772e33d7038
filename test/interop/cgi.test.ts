// CGI programs in five languages, git-http-backend and our own serveCgi, each through a real HTTP door; the same programs
// under Apache and lighttpd, whose answers ours must equal.

import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { cgi } from '../../src/cgi/index.ts'
import { derive, mount } from '../../src/core/index.ts'
import type { Application, Backend, Server } from '../../src/core/index.ts'
import { serveHttp } from '../../src/http/index.ts'
import { openSpawner } from '../../src/process/index.ts'
import type { Spawner } from '../../src/process/index.ts'
import { has, which } from '../peers.ts'
import { startApache, startLighttpd, temporaryFolder } from './peers/index.ts'

const run = promisify(execFile)
const fixtures = fileURLToPath(new URL('../fixtures/cgi', import.meta.url))
const temporary = temporaryFolder('viaduct-cgi-')
const bin = join(temporary.path, 'cgi-bin')

let spawner: Spawner
beforeAll(async () => {
  chmodSync(temporary.path, 0o755)
  mkdirSync(bin)
  for (const name of ['echo.sh', 'echo.py', 'echo.pl', 'echo.php']) copyFileSync(join(fixtures, name), join(bin, name))
  if (has('cc')) execFileSync('cc', ['-O1', '-o', join(bin, 'echo.c.cgi'), join(fixtures, 'echo.c')])
  writeFileSync(join(bin, 'child.sh'), `#!/bin/sh\nexec ${process.execPath} ${join(fixtures, 'child.mjs')}\n`, { mode: 0o755 })
  spawner = openSpawner()
  await spawner.ready()
})
afterAll(async () => {
  await spawner.close()
  temporary.remove()
})

interface Door {
  readonly url: string
  close(): Promise<void>
}

async function viaduct(application: Application): Promise<Door> {
  const server: Server = await serveHttp(application)
  const { port } = server.address as { port: number }
  return { url: `http://127.0.0.1:${port}`, close: () => server.close(0) }
}

/** Every file of the folder by its name: what a site does with more care. */
function folder(): Application {
  const host = cgi({ spawner, documentRoot: temporary.path })
  return mount({
    '/cgi-bin': (request) => {
      const [, name = ''] = request.pathInfo.split('/')
      return host(
        derive(request, {
          scriptName: `${request.scriptName}/${name}`,
          pathInfo: request.pathInfo.slice(name.length + 1),
          rawPathInfo: request.rawPathInfo.slice(name.length + 1),
          variables: { SCRIPT_FILENAME: join(bin, basename(name)) },
        }),
      )
    },
  })
}

const doors: [string, boolean, () => Promise<Door>][] = [
  ['Viaduct', true, () => viaduct(folder())],
  [
    'lighttpd',
    has('lighttpd'),
    async () => {
      const peer = await startLighttpd({
        folder: temporary.path,
        documentRoot: temporary.path,
        modules: ['mod_cgi'],
        config: '$HTTP["url"] =~ "^/cgi-bin/" { cgi.assign = ("" => "") }',
      })
      return { url: `http://127.0.0.1:${peer.address.port}`, close: () => peer.stop() }
    },
  ],
  [
    'Apache',
    has('apache2'),
    async () => {
      const config = `ScriptSock ${join(temporary.path, 'cgid.sock')}\n<Directory "${bin}">\n  Options ExecCGI\n  SetHandler cgi-script\n</Directory>`
      const peer = await startApache({ folder: temporary.path, documentRoot: temporary.path, modules: ['cgid'], config })
      return { url: `http://127.0.0.1:${peer.address.port}`, close: () => peer.stop() }
    },
  ],
]

const programs: [string, string, boolean][] = [
  ['C', 'echo.c.cgi', has('cc')],
  ['Shell', 'echo.sh', true],
  ['Python', 'echo.py', has('python3')],
  ['Perl', 'echo.pl', has('perl')],
]

describe.each(doors)('behind %s', (server, there, open) => {
  describe.skipIf(!there)('a program', () => {
    let door: Door
    beforeAll(async () => {
      door = await open()
    })
    afterAll(() => door?.close())

    describe.each(programs)('in %s', (language, name, available) => {
      test.skipIf(!available)('is told the request and answers', async () => {
        const answer = await fetch(`${door.url}/cgi-bin/${name}/a%20b/c?x=1&y=%20`, { headers: { 'X-A': 'one' } })
        expect(answer.status).toBe(201)
        // The others say what they always say.
        if (server === 'Viaduct') expect(answer.statusText).toBe(`Made In ${language}`)
        expect(answer.headers.get('content-type')).toBe('text/plain')
        // lighttpd says 0 where there is no body.
        expect((await answer.text()).replace('|0|', '|-|')).toBe('GET|x=1&y=%20|-|-|/a b/c|one\n')
      })

      test.skipIf(!available)('gets its body byte for byte', async () => {
        // Apache writes the whole of it before it reads: a program that answers meanwhile would wait for ever.
        const length = server === 'Apache' ? 30_000 : 300_000
        const body = Buffer.alloc(length, 'abc\r\n\0\xff', 'latin1')
        const answer = await fetch(`${door.url}/cgi-bin/${name}`, { method: 'POST', headers: { 'Content-Type': 'a/b' }, body })
        const bytes = Buffer.from(await answer.arrayBuffer())
        const end = bytes.indexOf('\n') + 1
        expect(bytes.toString('latin1', 0, end)).toBe(`POST||${length}|a/b|-|-\n`)
        expect(bytes.subarray(end).equals(body)).toBe(true)
      })

      test.skipIf(!available)('answers HEAD without a body', async () => {
        const answer = await fetch(`${door.url}/cgi-bin/${name}`, { method: 'HEAD' })
        expect(answer.status).toBe(201)
        expect(await answer.text()).toBe('')
      })
    })
  })
})

describe.each(doors.filter(([name]) => name !== 'Apache'))('a program made with serveCgi behind %s', (_, there, open) => {
  let door: Door | undefined
  beforeAll(async () => {
    if (there) door = await open()
  })
  afterAll(() => door?.close())

  test.skipIf(!there)('reads the request and answers', async () => {
    const answer = await fetch(`${door!.url}/cgi-bin/child.sh/a%20b?c=d`, { headers: { 'X-A': '1' } })
    expect(answer.status).toBe(200)
    expect(await answer.json()).toMatchObject({
      method: 'GET',
      pathInfo: '/a b',
      queryString: 'c=d',
      scriptName: '/cgi-bin/child.sh',
      headers: { xa: '1' },
    })
  })

  test.skipIf(!there)('gives back a body of 1 MB', async () => {
    const body = Buffer.alloc(1_000_000, 'xyz')
    const answer = await fetch(`${door!.url}/cgi-bin/child.sh/echo`, { method: 'POST', body })
    expect(Buffer.from(await answer.arrayBuffer()).equals(body)).toBe(true)
  })

  test.skipIf(!there)('streams 3 MB', async () => {
    expect((await (await fetch(`${door!.url}/cgi-bin/child.sh/stream`)).arrayBuffer()).byteLength).toBe(3_000_000)
  })
})

describe.skipIf(!has('php-cgi'))('php-cgi as a plain CGI program', () => {
  let door: Door
  let host: Backend
  beforeAll(async () => {
    host = cgi({ spawner, script: join(bin, 'echo.php'), interpreter: [which('php-cgi')!], documentRoot: bin })
    await host.ready()
    door = await viaduct(mount({ '/echo.php': host }))
  })
  afterAll(async () => {
    await door.close()
    await host.close(0)
  })

  test('runs the script that the server chose, and reads its body', async () => {
    const answer = await fetch(`${door.url}/echo.php/a%20b?x=1`, {
      method: 'POST',
      headers: { 'X-A': 'one', 'Content-Type': 'a/b' },
      body: 'hello',
    })
    expect(answer.status).toBe(201)
    expect(await answer.text()).toBe('POST|x=1|5|a/b|/a b|one\nhello')
  })

  test.each(['?-s', '?-d+allow_url_include%3d1', '?%ADs', '?%C2%AD-s'])(
    'never takes %s for options (CVE-2012-1823, CVE-2024-4577)',
    async (query) => {
      const answer = await fetch(`${door.url}/echo.php${query}`)
      expect(answer.status).toBe(201)
      expect(await answer.text()).toBe(`GET|${query.slice(1)}|-|-|-|-\n`)
    },
  )

  test('hears nothing of a Proxy header (CVE-2016-5385)', async () => {
    writeFileSync(join(bin, 'proxy.php'), '<?php var_dump(getenv("HTTP_PROXY"));')
    const other = cgi({ spawner, script: join(bin, 'proxy.php'), interpreter: [which('php-cgi')!] })
    const there = await viaduct(other)
    const { stdout } = await run('curl', ['-s', '-H', 'Proxy: http://evil.example/', '-H', 'PROXY: x', `${there.url}/`])
    expect(stdout).toBe('bool(false)\n')
    await there.close()
    await other.close(0)
  })
})

const gitBackend = has('git') ? join(execFileSync('git', ['--exec-path'], { encoding: 'utf8' }).trim(), 'git-http-backend') : ''

describe.skipIf(!existsSync(gitBackend))('git-http-backend', () => {
  let door: Door
  let host: Backend
  const at = (name: string): string => join(temporary.path, name)
  const env = {
    PATH: process.env['PATH'],
    HOME: temporary.path,
    GIT_CONFIG_NOSYSTEM: '1',
    GIT_TERMINAL_PROMPT: '0',
    GIT_AUTHOR_NAME: 'Test',
    GIT_AUTHOR_EMAIL: 'test@example.org',
    GIT_COMMITTER_NAME: 'Test',
    GIT_COMMITTER_EMAIL: 'test@example.org',
  }
  const git = async (where: string, ...args: string[]): Promise<string> => (await run('git', args, { cwd: where, env })).stdout

  beforeAll(async () => {
    mkdirSync(at('repositories'))
    await git(temporary.path, 'init', '-q', '--bare', '-b', 'main', 'repositories/small.git')
    await git(at('repositories/small.git'), 'config', 'http.receivepack', 'true')
    host = cgi({
      spawner,
      script: gitBackend,
      env: { GIT_PROJECT_ROOT: at('repositories'), GIT_HTTP_EXPORT_ALL: '1', HOME: temporary.path },
    })
    door = await viaduct(mount({ '/git': host }))
  })
  afterAll(async () => {
    await door.close()
    await host.close(0)
  })

  test('takes a push, whole or chunked, and gives a clone', async () => {
    await git(temporary.path, 'clone', '-q', `${door.url}/git/small.git`, 'one')
    writeFileSync(at('one/a.txt'), 'a\n'.repeat(1000))
    await git(at('one'), 'add', '.')
    await git(at('one'), 'commit', '-qm', 'first')
    await git(at('one'), 'push', '-q', 'origin', 'HEAD:main')
    // More than the buffer goes in chunks, without a length, compressed.
    writeFileSync(at('one/b.txt'), Array.from({ length: 50_000 }, (_, i) => `${i * 7919} line\n`).join(''))
    await git(at('one'), 'add', '.')
    await git(at('one'), 'commit', '-qm', 'second')
    await git(at('one'), '-c', 'http.postBuffer=1000', 'push', '-q', 'origin', 'HEAD:main')
    await git(temporary.path, 'clone', '-q', `${door.url}/git/small.git`, 'two')
    expect(await git(at('two'), 'log', '--format=%s')).toBe('second\nfirst\n')
    expect(readFileSync(at('two/b.txt'), 'utf8')).toBe(readFileSync(at('one/b.txt'), 'utf8'))
    await git(at('two'), 'fsck', '--strict')
  })

  test('says that a repository is not there', async () => {
    expect((await fetch(`${door.url}/git/none.git/info/refs?service=git-upload-pack`)).status).toBe(404)
  })
})
