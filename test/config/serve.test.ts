// A configuration behind real processes: the same site by folder and by file, reloads under load, files that are broken meanwhile.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { fastcgi } from '../../src/fastcgi/index.ts'
import { serveMemory } from '../../src/testing/index.ts'
import { Clients, MAIN, Program, ask, until } from '../cli/program.ts'
import { backlogOf } from '../backlog.ts'
import { has } from '../peers.ts'

let folder = ''
let programs: Program[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-config-'))
  put('site/index.html', 'hello')
  put('site/sub/a.txt', 'text')
  put('site/cgi-bin/env', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$SCRIPT_NAME|$PATH_INFO|$QUERY_STRING|$(cat)"\n', 0o755)
})
afterEach(async () => {
  for (const program of programs) await program.end()
  programs = []
  rmSync(folder, { recursive: true, force: true })
})

function put(path: string, content: string, mode = 0o644): void {
  mkdirSync(join(folder, path, '..'), { recursive: true })
  writeFileSync(join(folder, path), content, { mode })
}

function viaduct(...args: string[]): Program {
  const program = new Program([MAIN, ...args], { NO_COLOR: '1', SECRET_OF_TEST: 'hunter2' }, folder)
  programs.push(program)
  return program
}

async function said(...args: string[]): Promise<{ code: number | null; out: string; err: string }> {
  const program = viaduct(...args)
  const { code } = await program.exited
  return { code, out: program.out, err: program.err }
}

async function serving(...args: string[]): Promise<{ program: Program; url: string }> {
  const program = viaduct('serve', ...args)
  return { program, url: (await program.said(/(http:\/\/[^/"]+)\//))[1]! }
}

/** The processes that serve. */
function fronts(program: Program): number[] {
  return program.family().filter((pid) => {
    try {
      return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('front.js')
    } catch {
      // It has gone since it was listed.
      return false
    }
  })
}

const config = (body: string, more: object = {}): string =>
  JSON.stringify({ listeners: ['127.0.0.1:0'], applications: {}, sites: [{ routes: [{ respond: { body } }] }], ...more })

/** A JavaScript application that says so. */
const saying = (body: string): string => `export default (req, res) => res.end(${JSON.stringify(body)})\n`

describe('a folder and the configuration that --print-config shows', () => {
  test('answer alike', async () => {
    put('site/x.php', '<?php echo $_SERVER["SCRIPT_NAME"], "|", $_SERVER["PATH_INFO"] ?? "", "|", $_SERVER["DOCUMENT_ROOT"];')
    put('site/blog/index.php', '<?php http_response_code(201); echo $_SERVER["REQUEST_URI"];')
    put('site/.env', 'secret')
    put('site/api/app.mjs', 'export default (req, res) => res.end(`${req.baseUrl}|${req.url}`)')
    put('site/py/app.py', 'def app(environ, start):\n    start("200 OK", [])\n    return [environ["PATH_INFO"].encode()]\n')
    put('site/tools/app.py', 'print(1)\n')
    const options = ['site', '--listen', '127.0.0.1:0', '--workers', '1', '--max-body', '1K', '--timeout', '20', '--access-log', 'off']
    const printed = await said('serve', ...options, '--print-config')
    expect(printed).toMatchObject({ code: 0, err: '' })
    put('printed.json', printed.out)
    const [byFolder, byFile] = await Promise.all([serving(...options), serving('-c', 'printed.json')])
    const targets = [
      '/',
      '/sub',
      '/sub/',
      '/sub/a.txt',
      '/sub/b.txt',
      '/cgi-bin/env/a%20b?c=d',
      '/cgi-bin/',
      '/.env',
      '/sub%2Fa.txt',
      '/none',
      '/api',
      '/api/a%20b?c',
      '/api/app.mjs',
      '/tools/app.py',
      '/py/x',
    ]
    if (has('php-cgi')) targets.push('/x.php', '/x.php/a?b', '/blog/', '/blog/2026/x?y', '/x.phpx')
    for (const target of targets) {
      const [one, other] = await Promise.all([ask(byFolder.url, target), ask(byFile.url, target)])
      const { date: _, 'x-powered-by': __, ...headers } = one.headers
      expect(other, target).toMatchObject({ status: one.status, body: one.body, headers })
    }
  })

  test('an option that only a folder has is refused with a file', async () => {
    put('viaduct.config.json', config('x'))
    expect(await said('serve', '-c', 'viaduct.config.json', '--workers', '2')).toEqual({
      code: 2,
      out: '',
      err: 'viaduct: serve: --workers is for a folder; with -c the configuration says it\nMore: viaduct serve --help\n',
    })
    expect((await said('serve', '--print-config')).err).toContain('to serve its folder as it is: viaduct serve .')
    expect((await said('serve', '.', '--print-config')).code).toBe(0)
  })
})

describe('a configuration file', () => {
  test('is found in the folder; its secrets reach the program and nothing else', async () => {
    put('token', 'from a file\n')
    put(
      'viaduct.config.json',
      config('', {
        listeners: ['127.0.0.1:0', 'unix:./x.sock'],
        applications: { bin: { kind: 'cgi', root: 'site/cgi-bin', env: { A: { env: 'SECRET_OF_TEST' }, B: { file: 'token' } } } },
        sites: [{ routes: [{ path: '/bin/*', application: 'bin' }] }],
      }),
    )
    put('site/cgi-bin/secrets', '#!/bin/sh\nprintf "Content-Type: text/plain\\n\\n$A, $B, $SECRET_OF_TEST"\n', 0o755)
    const { program, url } = await serving()
    expect(await ask(url, '/bin/secrets')).toMatchObject({ status: 200, body: 'hunter2, from a file, ' })
    expect(await ask({ socketPath: join(folder, 'x.sock') }, '/bin/env/x')).toMatchObject({ status: 200, body: '/bin/env|/x||' })
    const told = await said('explain', '/bin/secrets')
    expect(told.out).toContain('A=*** (variable SECRET_OF_TEST)')
    expect(told.out).toContain(`B=*** (file ${folder}/token)`)
    const checked = await said('check', '--json')
    for (const text of [told.out, checked.out, program.out, program.err]) expect(text).not.toMatch(/hunter2|from a file/)
  })

  test('makes of Viaduct the FastCGI application of another web server', async () => {
    put(
      'viaduct.config.json',
      config('', {
        listeners: ['127.0.0.1:0', { listen: 'unix:./f.sock', protocol: 'fastcgi', mode: '0600', backlog: 77 }],
        applications: { site: { kind: 'folder', root: 'site' } },
        sites: [{ hosts: ['example.org'], routes: [{ application: 'site' }] }],
      }),
    )
    await serving()
    expect(statSync(join(folder, 'f.sock')).mode & 0o777).toBe(0o600)
    if (has('ss')) expect(backlogOf(join(folder, 'f.sock'))).toBe(77)
    await using server = fastcgi({ address: `unix:${folder}/f.sock`, documentRoot: '/elsewhere' })
    const front = serveMemory(server)
    const headers = ['Host', 'example.org']
    expect((await front.request({ target: '/cgi-bin/env/a?b', headers })).body.toString()).toBe('/cgi-bin/env|/a|b|')
    expect((await front.request({ target: '/sub/a.txt', headers })).body.toString()).toBe('text')
    expect((await front.request({ target: '/', headers: ['Host', 'other.test'] })).status).toBe(421)
  })

  test('with mistakes ends with all of them, and nothing listens', async () => {
    put('viaduct.config.json', config('x', { grace: 'long', pidfile: 'x' }))
    expect(await said('serve')).toEqual({
      code: 1,
      out: '',
      err:
        `viaduct: ${folder}/viaduct.config.json: 2 mistakes\n` +
        '  line 1, grace: expected a duration: seconds, or text such as "500ms", "30s" or "5m", got "long"\n' +
        '  line 1, pidfile: there is no such setting; did you mean "pidFile"?\n',
    })
  })

  test('writes its access log as Apache does', async () => {
    put('viaduct.config.json', config('x', { logs: { access: 'access.log', accessFormat: 'combined' } }))
    const { program, url } = await serving()
    await ask(url, '/a"b')
    program.kill('SIGTERM')
    await program.exited
    expect(readFileSync(join(folder, 'access.log'), 'utf8')).toMatch(/^127\.0\.0\.1 - - \[.*\] "GET \/a\\x22b HTTP\/1\.1" 200 1 "-" "-"\n$/)
  })
})

describe('a reload', () => {
  test('under load reads the file again, and no request fails', async () => {
    put('viaduct.config.json', config('first'))
    const { program, url } = await serving()
    const clients = new Clients(url, '/', { kept: 4, fresh: 4 })
    await until('load', () => clients.answered > 100)
    for (const [generation, body] of [
      [2, 'second'],
      [3, 'third'],
    ] as const) {
      put('viaduct.config.json', config(body))
      program.kill('SIGHUP')
      await program.said(new RegExp(`generation ${generation} is ready`))
      await until('the new answer', () => clients.bodies.has(body))
    }
    await clients.stop()
    expect(clients.failures).toEqual([])
    expect((await ask(url, '/')).body).toBe('third')
  })

  test('of a broken file is refused under load, with its mistakes in the log, and the old one goes on', async () => {
    put('viaduct.config.json', config('first'))
    const { program, url } = await serving()
    const clients = new Clients(url, '/', { kept: 4, fresh: 4 })
    await until('load', () => clients.answered > 100)
    put('viaduct.config.json', config('second', { grace: 'long' }))
    program.kill('SIGHUP')
    await program.said(/generation 1 goes on/)
    const { answered } = clients
    await until('load', () => clients.answered > answered + 100)
    await clients.stop()
    expect(clients.failures).toEqual([])
    expect([...clients.bodies]).toEqual(['first'])
    const line = program.err.split('\n').find((each) => each.includes('goes on'))!
    expect((JSON.parse(line) as { msg: string }).msg).toContain('viaduct.config.json: a mistake\n  line 1, grace: expected a duration')
    // What is mended is taken.
    put('viaduct.config.json', config('third'))
    program.kill('SIGHUP')
    await until('the third', async () => (await ask(url, '/')).body === 'third')
  })

  test('is refused for what works and would not come up, and not for what does not work as it is', async () => {
    put('a.mjs', saying('a 1'))
    put('b.mjs', 'throw new Error("not yet")\n')
    put('c.mjs', 'throw new Error("nor this")\n')
    const applications = Object.fromEntries(['a', 'b', 'c'].map((name) => [name, { kind: 'node', file: `${name}.mjs` }]))
    const sites = [{ routes: ['a', 'b', 'c'].map((name) => ({ path: `/${name}/*`, application: name })) }]
    put('viaduct.config.json', config('', { applications, sites }))
    const { program, url } = await serving()
    expect(program.err + program.out).toContain('"down":["b","c"]')
    // One of two is mended, and the other is no reason to wait for it.
    put('b.mjs', saying('b 1'))
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    await until('b', async () => (await ask(url, '/b/')).body === 'b 1')
    expect(await ask(url, '/c/')).toMatchObject({ status: 500 })
    // Both work now, and go on if they would not.
    put('b.mjs', 'throw new Error("broken again")\n')
    program.kill('SIGHUP')
    await program.said(/broken again \(.*b\.mjs:1\).*generation 2 goes on/)
    expect(await ask(url, '/b/')).toMatchObject({ body: 'b 1' })
  })

  test.skipIf(!has('python3'))('is refused for an application that was mended since the start', async () => {
    const good = 'def app(environ, start):\n    start("200 OK", [])\n    return [b"works"]\n'
    put('py/app.py', 'import no_such_module\napp = 1\n')
    const applications = { shop: { kind: 'wsgi', root: 'py', workers: 1 } }
    put('viaduct.config.json', config('', { applications, sites: [{ routes: [{ application: 'shop' }] }] }))
    const { program, url } = await serving()
    expect(await ask(url, '/')).toMatchObject({ status: 503 })
    put('py/app.py', good)
    await until('the mended one', async () => (await ask(url, '/')).body === 'works')
    put('py/app.py', 'import no_such_module\napp = 1\n')
    program.kill('SIGHUP')
    await program.said(/no_such_module.*generation 1 goes on/)
    expect(await ask(url, '/')).toMatchObject({ body: 'works' })
  })

  test('that would need other sockets is refused', async () => {
    put('viaduct.config.json', config('first'))
    const { program } = await serving()
    put('viaduct.config.json', config('second', { listeners: ['127.0.0.1:0', 'unix:x.sock'] }))
    program.kill('SIGHUP')
    await program.said(/sockets are held over a reload: stop and start to change them.*generation 1 goes on/)
  })

  test('does not happen by a crash: a front that is alone uses what served last, and says so', async () => {
    put('viaduct.config.json', config('first'))
    const { program, url } = await serving()
    put('viaduct.config.json', config('second'))
    program.kill('SIGHUP')
    await program.said(/generation 2 is ready/)
    const front = await until('the old front to go', () => (fronts(program).length === 1 ? fronts(program)[0] : undefined))
    put('viaduct.config.json', '{')
    process.kill(front, 'SIGKILL')
    await program.said(/the configuration cannot be used, and the last one that could goes on/)
    const answer = await until('an answer', () => ask(url, '/').catch(() => undefined))
    expect(answer.body).toBe('second')
  })
})

describe('check', () => {
  test('of what is right says what it is made of', async () => {
    put(
      'viaduct.config.json',
      config('', {
        listeners: ['127.0.0.1:8080'],
        applications: { site: { kind: 'folder', root: 'site' }, spare: { kind: 'static', root: 'site/sub' } },
        sites: [{ hosts: ['example.org'], routes: [{ application: 'site' }, { path: '/x', respond: 404 }] }],
      }),
    )
    const { code, out } = await said('check')
    expect(code).toBe(0)
    for (const text of [
      'no mistake found',
      'example.org',
      'every path -> site',
      'site: /cgi-bin/',
      'spare: no route leads to it',
      'routes[0] answers everything',
    ]) {
      expect(out).toContain(text)
    }
    const json = JSON.parse((await said('check', '--json')).out) as object
    expect(json).toMatchObject({
      ok: true,
      file: join(folder, 'viaduct.config.json'),
      listeners: [{ listen: '127.0.0.1:8080', protocol: 'http' }],
      problems: [],
    })
  })

  test('of a folder tells what is missing, and exits with 1 then', async () => {
    expect((await said('check', 'site')).code).toBe(0)
    put('site/cgi-bin/x', '#!/usr/bin/env no-such-interpreter\n', 0o755)
    const { code, out } = await said('check', 'site')
    expect(code).toBe(1)
    expect(out).toContain('no-such-interpreter is missing')
    expect(JSON.parse((await said('check', 'site', '--json')).out)).toMatchObject({
      ok: false,
      problems: [{ message: 'no-such-interpreter is missing' }],
    })
  })

  test('of mistakes is the report, for people and for programs', async () => {
    put('a.json', config('x', { grace: [] }))
    expect(await said('check', '-c', 'a.json')).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringContaining('a.json: a mistake\n  line 1, grace: ') as string,
    })
    for (const command of [['check'], ['explain', '/x']]) {
      expect(await said(...command, 'none')).toMatchObject({
        code: 1,
        err: `viaduct: ${folder}/none: a mistake\n  there is no such folder\n`,
      })
      const no = 'it is not a folder; name a configuration with -c'
      expect(await said(...command, 'a.json')).toMatchObject({ code: 1, err: `viaduct: ${folder}/a.json: a mistake\n  ${no}\n` })
    }
    const { code, out } = await said('check', '-c', 'a.json', '--json')
    expect({ code, ...(JSON.parse(out) as object) }).toMatchObject({ code: 1, ok: false, problems: [{ at: 'grace', line: 1 }] })
  })
})

describe('the command line', () => {
  test.each([
    [['explain'], 'viaduct: explain: a URL is missing: viaduct explain /index.php\nMore: viaduct explain --help\n'],
    [['explain', '/', '-X', 'a b'], 'viaduct: explain: --method: "a b" is no method\nMore: viaduct explain --help\n'],
    [['explain', '/', '-H', 'x'], 'viaduct: explain: --header: expected "Name: value", got "x"\nMore: viaduct explain --help\n'],
    [['explain', 'http://[x/'], 'viaduct: explain: "http://[x/" is no URL and no path\nMore: viaduct explain --help\n'],
    [['check', 'a', 'b'], 'viaduct: check: one folder at a time, got "a" and "b"\nMore: viaduct check --help\n'],
    [['check', 'a', '-c', 'b'], 'viaduct: check: a configuration or a folder, got b and a\nMore: viaduct check --help\n'],
  ])('%j is a mistake: %s', async (args, err) => {
    expect(await said(...args)).toEqual({ code: 2, out: '', err })
  })

  test.each(['check', 'explain'])('%s --help teaches with examples', async (command) => {
    const { code, out, err } = await said(command, '--help')
    expect({ code, err }).toEqual({ code: 0, err: '' })
    expect(out).toContain('Examples\n')
    expect(Math.max(...out.split('\n').map((line) => line.length))).toBeLessThanOrEqual(110)
  })

  test('explain of a folder needs no configuration, and --json is for programs', async () => {
    const { code, out } = await said('explain', '/cgi-bin/env/a?b', 'site', '--json', '-X', 'POST', '-H', 'X-A: b')
    expect(code).toBe(0)
    expect(JSON.parse(out)).toMatchObject({
      method: 'POST',
      application: { name: 'site', kind: 'folder' },
      answer: { program: join(folder, 'site/cgi-bin/env'), variables: expect.arrayContaining([['HTTP_X_A', 'b']]) as unknown },
    })
  })
})
