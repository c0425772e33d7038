// Which folders of a site are applications, and what that means for every path in and around them.

import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { getHeader, mount } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { findPython } from '../wsgi/index.ts'
import { buildSite, describeFolder, explainRequest, loadConfig } from './index.ts'
import type { Backend } from '../core/index.ts'
import type { DescribeOptions, PlanEntry, SitePlan } from './index.ts'

let folder = ''
const open: Backend[] = []
const lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log = { debug() {}, info() {}, warn: note, error: note }

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-apps-'))
  lines.length = 0
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((site) => site.close(0)))
  rmSync(folder, { recursive: true })
})

function put(path: string, content: string = '', mode = 0o644): void {
  mkdirSync(dirname(join(folder, path)), { recursive: true })
  writeFileSync(join(folder, path), content, { mode })
}

async function build(options: DescribeOptions = {}): Promise<Backend> {
  const site = await buildSite(await describeFolder(folder, options), { log })
  open.push(site)
  await site.ready()
  return site
}

type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]
async function ask(site: Backend, target: string, init: Init = {}): Promise<[status: number, body: string]> {
  const { status, body, headers } = await serveMemory(site).request({ target, ...init })
  const at = headers.findIndex((name, i) => i % 2 === 0 && name.toLowerCase() === 'location')
  return [status, at === -1 ? body.toString() : headers[at + 1]!]
}

/** Where no interpreter from npm stands in for one that is missing. */
const NATIVE: DescribeOptions = { wsgi: { interpreter: 'native' } }

/** Mounts by path, and lines about files that are none. */
async function found(options: DescribeOptions = {}): Promise<string[]> {
  const { mounts, entries } = await describeFolder(folder, { path: '/nonexistent', ...NATIVE, ...options })
  return [
    ...mounts.map(({ path, kind }) => `${kind} ${path}`),
    ...entries.filter((each) => each.note !== undefined && each.interpreter === undefined).map((each) => `${each.path}: ${each.note}`),
  ]
}

const APP = `def application(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return ["|".join([environ["SCRIPT_NAME"], environ["PATH_INFO"], environ["QUERY_STRING"]]).encode() + environ["wsgi.input"].read()]
`
const row = (plan: SitePlan): PlanEntry | undefined => plan.entries.find((entry) => entry.path === '/at/')
const NODE = 'export default (request) => ({ status: 200, headers: [], body: `${request.scriptName}|${request.pathInfo}` })\n'

describe('an application is', () => {
  test.each<[string, string, string]>([
    ['wsgi.py', '', 'wsgi /at'],
    ['passenger_wsgi.py', '', 'wsgi /at'],
    ['application.py', 'def application(environ, start_response): pass', 'wsgi /at'],
    ['app.py', 'from flask import Flask\napp = Flask(__name__)', 'wsgi /at'],
    ['app.py', 'def create_app():\n    pass', 'wsgi /at'],
    ['manage.py', 'os.environ.setdefault("DJANGO_SETTINGS_MODULE", "site.settings")', 'wsgi /at'],
    ['app.mjs', NODE, 'node /at'],
    ['app.mjs', 'const app = {}\nexport { app as default }', 'node /at'],
    ['app.mjs', 'const a={};export{a as b,a as default};', 'node /at'],
  ])('a folder with %s that says %j', async (name, content, what) => {
    put(`at/${name}`, content)
    expect(await found()).toEqual([what])
  })

  test.each<[string, string, string[]]>([
    ['app.py', 'print("a script")', ['/at/app.py: not run: it has none of application, app, create_app, make_app']],
    ['application.py', 'import sys', ['/at/application.py: not run: it has none of application, app, create_app, make_app']],
    ['manage.py', 'print("stock")', ['/at/manage.py: not run: it names no DJANGO_SETTINGS_MODULE']],
    ['app.mjs', 'document.title = "browser"', ['/at/app.mjs: a file like others: it has no default export']],
    ['app.js', 'module.exports = () => {}', []],
    ['app.ts', NODE, []],
    ['main.py', APP, []],
  ])('no folder with %s that says %j', async (name, content, told) => {
    put(`at/${name}`, content)
    expect(await found()).toEqual(told)
  })

  test('app.js only where it is no script for browsers: a package.json beside it, and no index', async () => {
    put('at/app.js', 'const x = 1\nmodule.exports = x\n')
    put('at/package.json', '{}')
    expect(await found()).toEqual(['node /at'])
    put('at/index.html')
    expect(await found()).toEqual([])
    rmSync(join(folder, 'at/index.html'))
    put('at/app.js', 'document.title = 1\n')
    expect(await found()).toEqual(['/at/app.js: a file like others: it has no default export'])
  })

  test('the folder itself, and at any depth, but not below another, nor where packages are', async () => {
    for (const path of [
      'a/b/c/wsgi.py',
      'a/b/c/sub/wsgi.py',
      '.hidden/wsgi.py',
      'node_modules/x/app.mjs',
      'lib/site-packages/django/wsgi.py',
    ])
      put(path, path.endsWith('.mjs') ? NODE : '')
    put('python/pyvenv.cfg')
    put('python/lib/wsgi.py')
    expect(await found()).toEqual(['wsgi /a/b/c'])
    put('wsgi.py')
    expect(await found()).toEqual(['wsgi '])
    expect((await describeFolder(folder, { path: '/nonexistent', ...NATIVE })).entries.map((each) => each.path)).toEqual(['/'])
  })

  test('sought within limits, and the table says where they were reached', async () => {
    put('a/b/c/wsgi.py')
    expect(await found({ walk: { depth: 2 } })).toEqual(['/: too much to look at all of it: applications deeper in it are not found'])
    expect(await found({ walk: { depth: 4 } })).toEqual(['wsgi /a/b/c'])
  })

  test('none that a link only leads to', async () => {
    put('elsewhere.txt', APP)
    put('at/note.txt')
    symlinkSync('../elsewhere.txt', join(folder, 'at/wsgi.py'))
    symlinkSync('../elsewhere.txt', join(folder, 'at/app.mjs'))
    expect(await found()).toEqual([])
    put('at/app.py', 'print(1)')
    expect(await found()).toEqual(['/at/app.py: not run: it has none of application, app, create_app, make_app'])
  })

  test('Python by an interpreter that is there', async () => {
    put('at/wsgi.py')
    put('bin/apt-get', '#!/bin/sh\n', 0o755)
    const { entries } = await describeFolder(folder, { path: join(folder, 'bin'), ...NATIVE })
    expect(entries).toContainEqual({
      path: '/at/',
      kind: 'wsgi',
      file: 'wsgi.py',
      missing: {
        what: 'python3',
        command: 'apt-get install python3',
        why: `there is no python3 on PATH (${join(folder, 'bin')})`,
      },
    } satisfies PlanEntry)
  })
})

describe.skipIf(!has('python3'))('a folder with Python in it', () => {
  test('gives the application every path below its own, and its sources to nobody', async () => {
    put('index.html', 'top')
    put('shop/app.py', APP)
    put('shop/templates/secret.txt', 'secret')
    put('shop/venv/pyvenv.cfg', 'secret')
    put('shop2/file.txt', 'file')
    const site = await build()
    expect(await ask(site, '/shop/')).toEqual([200, '/shop|/|'])
    expect(await ask(site, '/shop/a%20b?c')).toEqual([200, '/shop|/a b|c'])
    expect(await ask(site, '/shop/x', { method: 'POST', body: 'body' })).toEqual([200, '/shop|/x|body'])
    for (const path of ['/app.py', '/templates/secret.txt', '/venv/pyvenv.cfg', '/.env']) {
      expect(await ask(site, `/shop${path}`)).toEqual([200, `/shop|${path}|`])
    }
    expect(await ask(site, '/shop?q')).toEqual([301, '/shop/?q'])
    expect(await ask(site, '/shop', { method: 'POST', body: 'x' })).toEqual([308, '/shop/'])
    expect(await ask(site, '/shop2/file.txt')).toEqual([200, 'file'])
    expect(await ask(site, '/')).toEqual([200, 'top'])
    expect(lines).toEqual([])
  })

  test('may be one, and be mounted itself', async () => {
    put('wsgi.py', APP)
    const site = await build()
    expect(await ask(site, '/')).toEqual([200, '|/|'])
    expect(await ask(mount({ '/all': site }), '/all/x')).toEqual([200, '/all|/x|'])
    expect(await ask(mount({ '/all': site }), '/all')).toEqual([301, '/all/'])
    expect((await ask(site, '*', { method: 'OPTIONS' }))[0]).toBe(204)
  })

  test('goes on when one of them cannot be loaded', async () => {
    put('good/app.py', APP)
    put('bad/app.py', 'import no_such_module\napp = 1\n')
    const site = await build()
    expect(await ask(site, '/good/')).toEqual([200, '/good|/|'])
    expect((await ask(site, '/bad/'))[0]).toBe(503)
    expect(lines.join('\n')).toContain(`bad/app.py cannot be loaded: ModuleNotFoundError: No module named 'no_such_module'`)
  })

  test('is not shadowed by an app.py that is no application', async () => {
    put('index.html', 'top')
    put('app.py', 'print("a script")\n')
    put('venv/pyvenv.cfg')
    put('venv/lib/notes.txt', 'secret')
    put('lib/site-packages/notes.txt', 'secret')
    put('venvs/venv/notes.txt', 'served')
    const site = await build()
    expect(await ask(site, '/')).toEqual([200, 'top'])
    for (const path of ['/app.py', '/venv/lib/notes.txt', '/venv/pyvenv.cfg', '/lib/site-packages/notes.txt'])
      expect((await ask(site, path))[0]).toBe(404)
    expect(await ask(site, '/venvs/venv/notes.txt')).toEqual([200, 'served'])
  })

  test('runs it by the virtual environment beside it', async () => {
    put('shop/app.py', APP)
    put('shop/.venv/bin/python', '#!/bin/sh\nexec python3 "$@"\n', 0o755)
    const { entries, mounts } = await describeFolder(folder)
    expect(entries[1]).toMatchObject({ path: '/shop/', kind: 'wsgi', file: 'app.py', interpreter: 'python of .venv', workers: 2 })
    expect(mounts[0]!.plan).toMatchObject({ python: join(folder, 'shop/.venv/bin/python'), folder: join(folder, 'shop') })
  })

  test('shows it to no link from elsewhere', async () => {
    put('shop/app.py', APP)
    put('shop/notes.txt', 'secret')
    symlinkSync('shop', join(folder, 'link'))
    symlinkSync('shop/notes.txt', join(folder, 'notes.txt'))
    const site = await build()
    for (const path of ['/link/notes.txt', '/notes.txt', '/link/app.py']) expect((await ask(site, path))[0]).toBe(404)
  })
})

test('a page explains itself where Python is missing', async () => {
  put('shop/app.py', APP)
  const [status, body] = await ask(await build({ path: '/nonexistent', ...NATIVE }), '/shop/x')
  expect([status, body.includes('<h1>python3 is not installed here</h1>'), body.includes('<code>/shop/x</code>')]).toEqual([
    500,
    true,
    true,
  ])
})

describe('a folder with JavaScript in it', () => {
  test('runs it in process, and sends none of its files', async () => {
    put('at/app.mjs', NODE)
    put('at/lib.mjs', 'secret')
    const site = await build()
    expect(await ask(site, '/at/lib.mjs')).toEqual([200, '/at|/lib.mjs'])
    expect((await ask(site, '/at'))[0]).toBe(301)
  })

  test.skipIf(!has('python3'))('tells of a virtual environment whose Python is gone', async () => {
    put('at/app.py', APP)
    mkdirSync(join(folder, 'at/.venv/bin'), { recursive: true })
    symlinkSync('/nonexistent/python3', join(folder, 'at/.venv/bin/python'))
    put('at/.venv/pyvenv.cfg')
    expect(row(await describeFolder(folder))).toMatchObject({ interpreter: 'python3', note: '(not of .venv, whose bin/python is gone)' })
    const python = findPython(folder)
    expect(row(await describeFolder(folder, { wsgi: { python, version: '3.11.2' } }))).not.toHaveProperty('note')
  })

  test('tells of an app.js that was meant to be one, and of none that is for browsers', async () => {
    put('server/app.js', "require('express')().listen(3000)")
    put('server/package.json', '{}')
    put('browser/app.js', 'document.title = 1')
    put('browser/package.json', '{}')
    put('browser/index.html', '')
    expect(await found()).toEqual([
      '/server/app.js: not run, and not sent: it has no default export, and is for Node, for it calls require',
    ])
  })

  const CAUSE = 'it has no default export, and is for Node, for'
  test.each<[string, string, string | undefined, string[]?]>([
    ['app.mjs', '// x\nimport { a,\n  b } from "node:fs"\n', `${CAUSE} it imports node:fs`],
    ['app.mjs', "'use strict';import http from 'http'", `${CAUSE} it imports http`],
    ['app.mjs', 'import "fs/promises"', `${CAUSE} it imports fs/promises`, ['index.html']],
    ['app.mjs', 'import express from "express"\nexpress().listen(3000)', `${CAUSE} it imports express, a package`],
    ['app.mjs', 'export * from "@scope/name"', `${CAUSE} it imports @scope/name, a package`],
    ['app.mjs', '#!/usr/bin/env node\n', `${CAUSE} it begins with #!`],
    ['app.js', 'const express = require("express")', `${CAUSE} it calls require`, ['package.json']],
    ['app.js', 'let { a, b } = require ("x")', `${CAUSE} it calls require`, ['package.json']],
    // What browsers run.
    ['app.mjs', 'import { html } from "lit"', undefined, ['index.html']],
    ['app.mjs', 'import a from "./a.mjs"; import "/b.mjs"; import c from "https://example.org/c.mjs"\nexport const d = 1', undefined],
    ['app.mjs', '// import fs from "fs"\nconst text = \'import "fs"\'', undefined],
    ['app.mjs', 'const text = "node:fs"; export { text }', undefined],
    ['app.js', 'const express = require("express")', undefined],
    ['app.js', 'const express = require("express")', undefined, ['package.json', 'index.html']],
    ['app.js', '!function (f) { typeof require === "function" ? f(require("x")) : f(x) }()', undefined, ['package.json']],
    ['other.mjs', 'import fs from "node:fs"', undefined],
  ])('%s with %j is refused: %s', async (name, source, reason, beside = []) => {
    for (const each of beside) put(`at/${each}`, '{}')
    const site = await build()
    put(`at/${name}`, source)
    const [status, body] = await ask(site, `/at/${name}`)
    expect([status, body === source]).toEqual(reason === undefined ? [200, true] : [403, false])
    if (reason === undefined) return
    expect(lines).toEqual([`site: ${folder}/at/${name}: the source of a program is not sent: ${reason}`])
    expect(await found()).toEqual([`/at/${name}: not run, and not sent: ${reason}`])
  })

  test('a long file that begins like one is looked through at once', async () => {
    put('at/app.mjs', `${'import '.repeat(10_000)}${'\n'.repeat(50_000)}`)
    const begun = performance.now()
    expect((await ask(await build(), '/at/app.mjs'))[0]).toBe(200)
    expect(performance.now() - begun).toBeLessThan(1000)
  })

  test('tells in the table what else in the folder is not run', async () => {
    put('two/app.py', APP)
    put('two/app.mjs', NODE)
    put('two/index.php', '<?php')
    put('one/app.mjs', NODE)
    put('one/app.js', 'document.title = 1')
    expect(await found()).toEqual([
      'node /one',
      'wsgi /two',
      '/two/app.mjs: not run: app.py beside it is the application',
      '/two/index.php: not run: app.py beside it is the application',
    ])
  })

  test('does not send the source of one that came later, and says what to do', async () => {
    const site = await build()
    put('at/app.mjs', NODE)
    put('js/app.js', 'document.title = 1')
    put('cjs/app.js', 'module.exports = 1')
    put('cjs/package.json', '{}')
    expect((await ask(site, '/at/app.mjs'))[0]).toBe(404)
    expect((await ask(site, '/cjs/app.js'))[0]).toBe(404)
    expect(await ask(site, '/js/app.js')).toEqual([200, 'document.title = 1'])
  })

  test('goes on when one of them cannot be loaded', async () => {
    put('at/app.mjs', 'export default nothing\n')
    put('index.html', 'top')
    const site = await build()
    expect((await ask(site, '/at/'))[0]).toBe(500)
    expect(await ask(site, '/')).toEqual([200, 'top'])
    expect(lines.join('\n')).toContain('nothing is not defined')
  })
})

const FCGI = `#!/usr/bin/perl
use FCGI;
my $request = FCGI::Request();
my $count = 0;
while ($request->Accept() >= 0) {
    local $/;
    my $body = <STDIN> // '';
    print "Content-Type: text/plain\\r\\n\\r\\n", join '|', @ENV{qw(SCRIPT_NAME PATH_INFO SCRIPT_FILENAME)}, ++$count, $body;
}
`

describe('a folder with FastCGI programs', () => {
  test.skipIf(!has('perl'))('keeps one that was there and one that came later, each with its own state', async () => {
    put('a.fcgi', FCGI, 0o755)
    const site = await build({ fcgi: { workers: 1 } })
    put('cgi-bin/b.fcgi', FCGI, 0o755)
    for (const count of ['1', '2', '3']) {
      expect(await ask(site, '/a.fcgi/x/y', { method: 'POST', body: 'body' })).toEqual([200, `/a.fcgi|/x/y|${folder}/a.fcgi|${count}|body`])
      expect(await ask(site, '/cgi-bin/b.fcgi')).toEqual([200, `/cgi-bin/b.fcgi||${folder}/cgi-bin/b.fcgi|${count}|`])
    }
    expect(await ask(mount({ '/at': site }), '/at/a.fcgi/x')).toEqual([200, `/at/a.fcgi|/x|${folder}/a.fcgi|4|`])
  })

  test('tells in the table what they are, and what is missing', async () => {
    put('a.fcgi', '#!/bin/sh\n', 0o755)
    put('b.fcgi', '#!/usr/bin/env no-such-interpreter\n', 0o755)
    put('c.fcgi', '#!/bin/sh\n')
    const { entries, settings } = await describeFolder(folder, { path: '/bin', fcgi: { workers: { policy: 'ondemand', max: 3 } } })
    expect(entries.slice(1)).toEqual([
      { path: '/a.fcgi', kind: 'fcgi', interpreter: 'sh', workers: 3, upTo: true },
      expect.objectContaining({
        path: '/b.fcgi',
        kind: 'fcgi',
        missing: expect.objectContaining({ what: 'no-such-interpreter' }) as unknown,
      }),
      expect.objectContaining({ path: '/c.fcgi', missing: { what: 'the execute bit of /c.fcgi', command: `chmod +x ${folder}/c.fcgi` } }),
    ])
    expect(settings.cgi.start).toBe(false)
    // What cannot be started is not: its page says what is missing, and no reload is refused for it.
    expect(settings.started).toEqual(['/a.fcgi'])
  })

  test('says of one that exits at its start that it does not start, in the log, to the client and in the status', async () => {
    put('a.fcgi', '#!/bin/sh\necho "no database" >&2\nexit 3\n', 0o755)
    const site = await build()
    const { status, headers, body } = await serveMemory(site).request({ target: '/a.fcgi' })
    expect([status, getHeader(headers, 'retry-after')]).toEqual([503, '1'])
    expect(body.toString()).toBe(
      '503 Service Unavailable\nThe application behind this page does not start. The log of the server knows why.\n',
    )
    const reason = /^programs: ".*a\.fcgi" does not start: .*exited with status 3; it said: no database$/
    expect(lines.at(-1)).toMatch(reason)
    expect(site.pools!()).toEqual([
      expect.objectContaining({ kind: 'fcgi-program', name: `${folder}/a.fcgi`, error: expect.stringMatching(reason) as string }),
    ])
  })

  test('explains where the interpreter is missing, and refuses what is not executable', async () => {
    put('b.fcgi', '#!/usr/bin/env no-such-interpreter\n', 0o755)
    put('c.fcgi', '#!/bin/sh\n')
    const site = await build()
    expect(await ask(site, '/b.fcgi/x')).toEqual([500, expect.stringContaining('no-such-interpreter is not installed here') as string])
    expect((await ask(site, '/c.fcgi'))[0]).toBe(403)
  })
})

const explained = async (url: string): Promise<unknown> => {
  const { plan } = await loadConfig(join(folder, 'viaduct.config.json'), {
    applications: { site: { kind: 'folder', root: '.', wsgi: { env: { TOKEN: 'x' } }, fcgi: { env: { TOKEN: 'x' } } } },
    sites: [{ routes: [{ application: 'site' }] }],
  })
  return (await explainRequest(plan, { url })).answer
}

describe('explain', () => {
  test('tells of each kind what it would get, and runs none', async () => {
    put('shop/app.py', APP)
    put('at/app.mjs', NODE)
    put('a.fcgi', '#!/bin/sh\ntouch started\n', 0o755)
    expect(await explained('/shop/x')).toMatchObject({
      what: 'a Python application, in a worker of its pool',
      program: join(folder, 'shop/app.py'),
      variables: expect.arrayContaining([
        ['SCRIPT_NAME', '/shop'],
        ['PATH_INFO', '/x'],
      ]) as unknown,
    })
    expect(await explained('/shop')).toMatchObject({ what: expect.stringContaining('redirect') as string })
    expect(await explained('/at/x')).toMatchObject({
      what: 'a JavaScript application, in the process that serves',
      program: join(folder, 'at/app.mjs'),
    })
    expect(await explained('/a.fcgi/x')).toMatchObject({
      what: 'a FastCGI program, in a process of its pool',
      program: join(folder, 'a.fcgi'),
      variables: expect.arrayContaining([
        ['SCRIPT_NAME', '/a.fcgi'],
        ['PATH_INFO', '/x'],
        ['TOKEN', '***'],
      ]) as unknown,
    })
  })
})

test('the plan of all this is plain data', async () => {
  put('shop/app.py', APP)
  put('at/app.mjs', NODE)
  put('a.fcgi', '#!/bin/sh\n', 0o755)
  const plan: SitePlan = await describeFolder(folder)
  expect(JSON.parse(JSON.stringify(plan))).toEqual(plan)
})
