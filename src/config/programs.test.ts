// Applications of each kind that has programs of its own: built from a configuration, asked, told about.

import { execFileSync } from 'node:child_process'
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { has } from '../../test/peers.ts'
import { serveMemory } from '../testing/index.ts'
import { ConfigError, buildServer, explainRequest, loadConfig } from './index.ts'
import type { Config, Loaded, SiteContext } from './index.ts'
import type { Backend } from '../core/index.ts'

let folder = ''
const open: Backend[] = []
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info() {}, warn: note, error: note }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-programs-'))
  lines.length = 0
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((site) => site.close(0)))
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string, mode = 0o644): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content)
  chmodSync(join(folder, path), mode)
}

type Application = Config['applications'][string]
const load = (app: Application): Promise<Loaded> =>
  loadConfig(join(folder, 'viaduct.config.json'), {
    applications: { app },
    sites: [{ routes: [{ path: '/at/*', application: 'app' }, { respond: { body: 'others' } }] }],
  })

async function build(app: Application, context: Partial<SiteContext> = {}): Promise<Backend> {
  const { plan } = await load(app)
  const server = await buildServer(plan, { log, ...context })
  open.push(server)
  await server.ready()
  return server
}

type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]
async function ask(server: Backend, target: string, init: Init = {}): Promise<[status: number, body: string]> {
  const { status, body } = await serveMemory(server).request({ target, ...init })
  return [status, body.toString()]
}

async function mistakes(app: unknown): Promise<string[]> {
  try {
    // As a file: what is known already is not asked for its shape.
    put('viaduct.config.json', JSON.stringify({ applications: { app }, sites: [{ routes: [{ application: 'app' }] }] }))
    await loadConfig(join(folder, 'viaduct.config.json'))
    return []
  } catch (error) {
    return (error as ConfigError).problems.map(({ at, message }) => `${at.replace('applications.app', '')}: ${message}`)
  }
}

const APP = `import os
def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    told = [environ[name] for name in ("SCRIPT_NAME", "PATH_INFO", "QUERY_STRING")] + [os.environ.get("TOKEN", "-"), os.getcwd()]
    return ["|".join(told).encode() + environ["wsgi.input"].read()]
`

describe.skipIf(!has('python3'))('wsgi', () => {
  test('answers every path that comes to it, in its own folder and environment', async () => {
    put('site/app.py', APP)
    put('token', 'hunter2\n')
    const server = await build({ kind: 'wsgi', root: 'site', env: { TOKEN: { file: 'token' } } })
    expect(await ask(server, '/at/a%20b?c=d', { method: 'POST', body: ' and a body' })).toEqual([
      200,
      `/at|/a b|c=d|hunter2|${folder}/site and a body`,
    ])
    expect((await ask(server, '/at/app.py'))[1]).toContain('|/app.py|')
    expect(await ask(server, '/other')).toEqual([200, 'others'])
    expect(lines).toEqual([])
  })

  test.each(['app.py', 'app', 'app:application', 'app:make()'])('loads %s', async (app) => {
    put('site/app.py', `${APP}\ndef make():\n    return application\n`)
    expect((await ask(await build({ kind: 'wsgi', root: 'site', app, workers: 1 }), '/at/x'))[0]).toBe(200)
  })

  test('is told with its Python, its file and its workers', async () => {
    put('site/wsgi.py', APP)
    const { plan } = await load({ kind: 'wsgi', root: 'site', workers: 3 })
    expect(plan.applications['app']!.entries).toEqual([
      {
        path: join(folder, 'site'),
        kind: 'wsgi',
        file: 'wsgi.py',
        interpreter: 'python3',
        version: expect.any(String) as string,
        workers: 3,
      },
    ])
    expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
  })

  test('takes the virtual environment of its folder, or the one that is named', async () => {
    put('site/app.py', APP)
    const python = execFileSync('python3', ['-c', 'import sys; print(sys.executable)'], { encoding: 'utf8' }).trim()
    for (const [venv, settings] of [
      ['site/.venv', {}],
      ['other', { venv: 'other' }],
    ] as const) {
      put(`${venv}/bin/python`, `#!/bin/sh\nexec ${python} "$@"\n`, 0o755)
      const { plan } = await load({ kind: 'wsgi', root: 'site', ...settings })
      expect(plan.applications['app']!.plan).toMatchObject({ python: join(folder, venv, 'bin/python') })
      rmSync(join(folder, venv), { recursive: true })
    }
  })

  test('that cannot be loaded costs its own requests, says why in the log, and works once it is mended', async () => {
    put('site/app.py', 'import no_such_module\ndef app(): pass\n')
    const server = await build({ kind: 'wsgi', root: 'site', workers: 1 })
    const [status, body] = await ask(server, '/at/x')
    expect([status, body.includes('no_such_module')]).toEqual([503, false])
    expect(lines.join('\n')).toContain(
      `app.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module' (${folder}/site/app.py:1)`,
    )
    expect(await ask(server, '/other')).toEqual([200, 'others'])
    put('site/app.py', APP)
    await vi.waitFor(async () => expect((await ask(server, '/at/x'))[0]).toBe(200), { timeout: 10_000, interval: 100 })
  })

  test('that cannot be loaded is a reason not to come up where a front goes on', async () => {
    put('site/app.py', 'app = 1 / 0\n')
    await expect(build({ kind: 'wsgi', root: 'site', workers: 1 }, { strict: true })).rejects.toThrow('ZeroDivisionError')
  })

  test('is explained with the variables it would get, secrets masked, and nothing run', async () => {
    put('site/app.py', 'app = print("loaded", file=open("loaded", "w"))\n')
    const { plan } = await load({ kind: 'wsgi', root: 'site', env: { TOKEN: 'hunter2' } })
    const { answer, application } = await explainRequest(plan, { url: '/at/x?y', headers: ['X-A', 'b'] })
    expect(application).toEqual({ name: 'app', kind: 'wsgi' })
    expect(answer).toMatchObject({ what: 'a Python application, in a worker of the pool', program: join(folder, 'site/app.py') })
    expect(answer.variables).toEqual(
      expect.arrayContaining([
        ['SCRIPT_NAME', '/at'],
        ['PATH_INFO', '/x'],
        ['HTTP_X_A', 'b'],
        ['TOKEN', '***'],
      ]),
    )
    expect(lines).toEqual([])
  })

  test.each<[string, object, string[]]>([
    ['no folder', { root: 'none' }, ['.root: expected a folder, got FOLDER/none: it does not exist']],
    [
      'no application',
      { root: 'empty' },
      ['.app: expected an application: none of the files of the folder is known to be one, got nothing'],
    ],
    [
      'no file',
      { root: 'site', app: 'x.py' },
      [
        '.app: expected a file of the folder, a module, "module:callable" or "module:factory()", got "x.py": there is no file FOLDER/site/x.py',
      ],
    ],
    [
      'no name',
      { root: 'site', app: 'a b' },
      [
        '.app: expected a file of the folder, a module, "module:callable" or "module:factory()", got "a b": expected a file, a module, or module:callable',
      ],
    ],
    ['no Python', { root: 'site', python: 'no-python' }, ['.python: expected a Python 3: a path, or a name on PATH, got no-python']],
    ['another program', { root: 'site', python: '/bin/sh' }, ['.python: expected a Python 3: a path, or a name on PATH, got /bin/sh']],
    [
      'no environment',
      { root: 'site', venv: 'empty' },
      ['.venv: expected a virtual environment, got FOLDER/empty, which has no bin/python that runs'],
    ],
    [
      'two of them',
      { root: 'site', venv: 'empty', python: 'python3' },
      [
        ': expected one of "python" and "venv", got both',
        '.venv: expected a virtual environment, got FOLDER/empty, which has no bin/python that runs',
      ],
    ],
    [
      'much',
      { root: 'site', workers: 0, threads: 'x', limits: { silence: 'x' }, env: { QUERY_STRING: 'x' } },
      [
        '.workers: expected a whole number from 1 to 10000, got 0',
        '.threads: expected a whole number from 1 to 1000, got "x"',
        '.limits.silence: expected a duration: seconds, or text such as "500ms", "30s" or "5m", got "x"',
        '.env.QUERY_STRING: expected a variable that no request decides, got QUERY_STRING, which the server computes',
      ],
    ],
  ])('with %s is a mistake', async (_, settings, told) => {
    put('site/app.py', APP)
    put('empty/note.txt', '')
    expect((await mistakes({ kind: 'wsgi', ...settings })).map((each) => each.replaceAll(folder, 'FOLDER')).sort()).toEqual(told.sort())
  })
})

const hasFcgiPerl = (): boolean => {
  try {
    execFileSync('perl', ['-MFCGI', '-e', '1'], { stdio: 'ignore' })
    return true
  } catch {
    return has('perl-with-FCGI')
  }
}

const PERL = `#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
while ($request->Accept() >= 0) {
    local $/;
    my $body = <STDIN> // '';
    print "Content-Type: text/plain\\r\\n\\r\\n", join '|', @ENV{qw(SCRIPT_NAME PATH_INFO QUERY_STRING)}, $ENV{TOKEN} // '-', $$, "@ARGV", $body;
}
`

describe.skipIf(!has('perl') || !hasFcgiPerl())('fcgi-program', () => {
  test('answers every path that comes to it', async () => {
    put('bin/app', PERL, 0o755)
    const server = await build({ kind: 'fcgi-program', command: 'bin/app', args: ['one', 'two'], workers: 1 })
    const [status, body] = await ask(server, '/at/a%20b?c', { method: 'POST', body: 'body' })
    expect([status, body]).toEqual([200, expect.stringMatching(/^\/at\|\/a b\|c\|-\|\d+\|one two\|body$/) as string])
  })

  test('starts a process when one is wanted, and replaces it after so many requests', async () => {
    put('app.pl', PERL)
    const app: Application = {
      kind: 'fcgi-program',
      command: 'perl',
      args: ['app.pl'],
      workers: { policy: 'ondemand', max: 1 },
      maxRequests: 2,
    }
    expect((await load(app)).plan.applications['app']!.entries).toMatchObject([{ kind: 'fcgi', workers: 1, upTo: true }])
    const server = await build(app)
    const pids: string[] = []
    for (let i = 0; i < 4; i++) pids.push((await ask(server, '/at/x'))[1].split('|')[4]!)
    expect(pids[0]).toBe(pids[1])
    expect(pids[2]).toBe(pids[3])
    expect(pids[0]).not.toBe(pids[2])
  })

  test('that does not start costs its own requests, and works once it is mended', async () => {
    put('app', '#!/bin/sh\necho "no license" >&2\nexit 3\n', 0o755)
    const server = await build({ kind: 'fcgi-program', command: './app', workers: 1 })
    expect((await ask(server, '/at/x'))[0]).toBeGreaterThanOrEqual(500)
    expect(lines.join('\n')).toMatch(/status 3/)
    expect(await ask(server, '/other')).toEqual([200, 'others'])
    put('app', PERL, 0o755)
    await vi.waitFor(async () => expect((await ask(server, '/at/x'))[0]).toBe(200), { timeout: 10_000, interval: 100 })
  })

  test('is explained with its variables, and nothing is run', async () => {
    put('bin/app', '#!/bin/sh\ntouch started\n', 0o755)
    const { plan } = await load({ kind: 'fcgi-program', command: 'bin/app', env: { TOKEN: 'x' } })
    const { answer } = await explainRequest(plan, { url: '/at/x' })
    expect(answer).toMatchObject({ what: 'a FastCGI program, in a process of its pool', program: join(folder, 'bin/app') })
    expect(answer.variables).toEqual(
      expect.arrayContaining([
        ['PATH_INFO', '/x'],
        ['TOKEN', '***'],
      ]),
    )
  })
})

test.each<[string, object, string[]]>([
  ['no program', { command: 'none' }, ['.command: expected a program on PATH, or the path of one, got "none"']],
  ['no file', { command: './none' }, ['.command: expected a file, got FOLDER/none: it does not exist']],
  [
    'no execute bit',
    { command: './text' },
    ['.command: expected a program that can be run, got FOLDER/text is not executable; run chmod +x on it'],
  ],
  [
    'no interpreter',
    { command: './script' },
    [
      '.command: expected a program that can be run, got one whose interpreter no-such-interpreter is missing: there is no no-such-interpreter on PATH (PATH); the first line of FOLDER/script asks for it',
    ],
  ],
  ['no folder', { command: 'sh', cwd: 'none' }, ['.cwd: expected a folder, got FOLDER/none: it does not exist']],
  [
    'contradicting workers',
    { command: 'sh', workers: { policy: 'static', max: 3, start: 1 } },
    ['.workers.start: expected "policy": "dynamic" beside it, got static'],
  ],
  [
    'an unknown policy',
    { command: 'sh', workers: { policy: 'dynamc', max: 3 } },
    ['.workers.policy: expected "static", "dynamic" or "ondemand", got "dynamc"; did you mean "dynamic"?'],
  ],
  [
    'a word for a number',
    { command: 'sh', workers: 'many' },
    ['.workers: expected a number of processes, or { "policy", "max", ... }, got "many"'],
  ],
])('a FastCGI program with %s is a mistake', async (_, settings, told) => {
  put('text', 'text')
  put('script', '#!/usr/bin/env no-such-interpreter\n', 0o755)
  expect(
    (await mistakes({ kind: 'fcgi-program', ...settings })).map((each) =>
      each.replaceAll(folder, 'FOLDER').replace(/PATH \([^)]*\)/, 'PATH (PATH)'),
    ),
  ).toEqual(told)
})

describe('node', () => {
  test('answers every path that comes to it, by the export that is named', async () => {
    put(
      'app.mjs',
      'export default (request) => ({ status: 200, headers: [], body: request.scriptName + request.pathInfo })\nexport const other = () => ({ status: 204, headers: [], body: null })\n',
    )
    expect(await ask(await build({ kind: 'node', file: 'app.mjs' }), '/at/a')).toEqual([200, '/at/a'])
    expect((await ask(await build({ kind: 'node', file: 'app.mjs', export: 'other' }), '/at/a'))[0]).toBe(204)
  })

  test('may be a function in the shape of WSGI', async () => {
    put(
      'app.mjs',
      `export const kind = 'wsgi'\nexport default (environ, start) => { start('200 OK', []); return [Buffer.from(environ.PATH_INFO)] }\n`,
    )
    expect(await ask(await build({ kind: 'node', file: 'app.mjs' }), '/at/a')).toEqual([200, '/a'])
  })

  test('that cannot be loaded costs its own requests, and says why in the log', async () => {
    put('app.mjs', 'import "no-such-package"\nexport default () => {}\n')
    const server = await build({ kind: 'node', file: 'app.mjs' })
    expect((await ask(server, '/at/a'))[0]).toBe(500)
    expect(lines.join('\n')).toMatch(/app\.mjs could not be loaded.*no-such-package.*SIGHUP reads it again/)
    expect(await ask(server, '/other')).toEqual([200, 'others'])
    put('other.mjs', 'export const x = 1\n')
    expect((await ask(await build({ kind: 'node', file: 'other.mjs', export: 'y' }), '/at/a'))[0]).toBe(500)
    expect(lines.join('\n')).toContain('other.mjs has no export "y"; it has x')
  })

  test('is explained without being loaded', async () => {
    put('app.mjs', 'throw new Error("loaded")\n')
    const { plan } = await load({ kind: 'node', file: 'app.mjs' })
    expect((await explainRequest(plan, { url: '/at/x' })).answer).toMatchObject({ program: join(folder, 'app.mjs') })
  })

  test.each([
    ['none.mjs', '.file: expected a file, got FOLDER/none.mjs: it does not exist'],
    ['app.py', '.file: expected a file that ends in .js, .mjs or .cjs, got FOLDER/app.py'],
  ])('%s is none', async (file, told) => {
    put('app.py', '')
    expect((await mistakes({ kind: 'node', file })).map((each) => each.replaceAll(folder, 'FOLDER'))).toEqual([told])
  })
})
