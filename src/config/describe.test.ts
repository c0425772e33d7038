import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { describeFolder } from './describe.ts'
import { interpreterOf, missing, shellWord } from './interpreter.ts'
import type { SitePlan } from './describe.ts'

let folder: string
let root: string
let bin: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-plan-'))
  root = join(folder, 'site')
  bin = join(folder, 'bin')
  mkdirSync(root)
  mkdirSync(bin)
})
afterEach(() => {
  rmSync(folder, { recursive: true })
})

const put = (path: string, content = '', mode = 0o644): void => {
  mkdirSync(dirname(join(root, path)), { recursive: true })
  writeFileSync(join(root, path), content)
  chmodSync(join(root, path), mode)
}
const program = (name: string, script = ''): void => writeFileSync(join(bin, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 })
const php = (version: string, kind = 'cgi-fcgi'): void => program('php-cgi', `echo 'PHP ${version} (${kind}) (built: today)'`)
const plan = (options = {}): Promise<SitePlan> => describeFolder(root, { path: bin, ...options })

describe('the plan of a folder', () => {
  test('with nothing but files is one line', async () => {
    put('index.html')
    put('a/b/c.txt')
    expect((await plan()).entries).toEqual([{ path: '/', kind: 'static' }])
    expect((await plan()).settings.cgi.start).toBe(false)
  })

  test('with PHP names the interpreter, its version and its workers', async () => {
    put('deep/er/x.php')
    php('8.4.1')
    const { entries, settings } = await plan({ workers: 3 })
    expect(entries[1]).toEqual({ path: '*.php', kind: 'php', interpreter: 'php-cgi', version: '8.4.1', workers: 3 })
    expect(settings.php).toEqual({ file: join(bin, 'php-cgi'), version: '8.4.1', workers: 3, start: true })
  })

  test('without PHP files starts no pool, but could', async () => {
    php('8.4.1')
    const { entries, settings } = await plan()
    expect(entries).toHaveLength(1)
    expect(settings.php).toMatchObject({ start: false })
  })

  test('with PHP files and no php-cgi says which command brings it', async () => {
    put('x.php')
    program('apt-get')
    const { entries, settings } = await plan({ php: { interpreter: 'native' } })
    const lack = { what: 'php-cgi', command: 'apt-get install php-cgi', why: `there is no php-cgi on PATH (${bin})` }
    expect(entries[1]).toEqual({ path: '*.php', kind: 'php', missing: lack })
    expect(settings.php).toEqual({ missing: lack })
  })

  test('with PHP files and no php-cgi takes the embedded one, and with both the one that is asked for', async () => {
    put('x.php')
    const embedded = { path: '*.php', kind: 'php', interpreter: 'php', version: '8.3', note: 'embedded', workers: 2 }
    const { entries, settings } = await plan()
    expect(entries[1]).toEqual(embedded)
    expect(settings.php).toEqual({ embedded: '8.3', root, workers: 2, start: true })
    php('8.4.1')
    expect((await plan()).entries[1]).toMatchObject({ interpreter: 'php-cgi', version: '8.4.1' })
    expect((await plan({ php: { interpreter: 'embedded' } })).entries[1]).toEqual(embedded)
  })

  test('refuses a php-cgi that is none', async () => {
    put('x.php')
    php('8.4.1', 'cli')
    await expect(plan()).rejects.toMatchObject({ code: 'CONFIG' })
  })

  test('names the interpreters of programs by place, and what is missing by program', async () => {
    program('apt-get')
    program('frob')
    put('cgi-bin/a', '#!/bin/sh\n', 0o755)
    put('cgi-bin/b', '#!/usr/bin/env frob\n', 0o755)
    put('cgi-bin/c', '\x7fELF', 0o755)
    put('cgi-bin/d', '#!/usr/bin/env -S nothere -x\n', 0o755)
    put(`cgi-bin/it's.sh`, '#!/bin/sh\n')
    put('cgi-bin/data.json', '{}')
    put('sub/cgi-bin/deep/e', '#!/bin/sh\n', 0o755)
    put('x.cgi', '#!/bin/sh\n', 0o755)
    const { entries, settings } = await plan()
    expect(settings.cgi).toEqual({ start: true, path: bin })
    expect(new Set(entries.slice(1))).toEqual(
      new Set([
        { path: '/cgi-bin/', kind: 'cgi', interpreter: 'frob, programs, sh' },
        { path: '/sub/cgi-bin/', kind: 'cgi', interpreter: 'sh' },
        { path: '*.cgi', kind: 'cgi', interpreter: 'sh' },
        {
          path: '/cgi-bin/d',
          kind: 'cgi',
          interpreter: 'nothere',
          missing: { what: 'nothere', why: `there is no nothere on PATH (${bin}); the first line of ${root}/cgi-bin/d asks for it` },
        },
        {
          path: `/cgi-bin/it's.sh`,
          kind: 'cgi',
          missing: { what: `the execute bit of /cgi-bin/it's.sh`, command: `chmod +x '${root}/cgi-bin/it'\\''s.sh'` },
        },
      ]),
    )
  })

  test('is plain data', async () => {
    put('x.php')
    const made = await plan({ maxBody: 5 })
    expect(JSON.parse(JSON.stringify(made))).toEqual(made)
    expect(made.root).toBe(root)
  })

  test('looks into no dot folder, no node_modules and through no link', async () => {
    put('.hidden/x.php')
    put('node_modules/m/x.php')
    mkdirSync(join(folder, 'other'))
    writeFileSync(join(folder, 'other', 'x.php'), '')
    symlinkSync('../other', join(root, 'link'))
    symlinkSync('.', join(root, 'loop'))
    php('8.4.1')
    expect((await plan()).settings.php).toMatchObject({ start: false })
  })

  test('ends its walk at its limits, and then takes it that there may be PHP', async () => {
    for (let i = 0; i < 10; i++) put(`${i}.txt`)
    put('a/b/c/d.txt')
    php('8.4.1')
    expect((await plan({ walk: { names: 5 } })).settings.php).toMatchObject({ start: true })
    expect((await plan({ walk: { depth: 2 } })).settings.php).toMatchObject({ start: true })
    expect((await plan({ walk: { names: 14, depth: 4 } })).settings.php).toMatchObject({ start: false })
    rmSync(join(bin, 'php-cgi'))
    expect((await plan({ walk: { names: 5 }, php: { interpreter: 'native' } })).entries).toHaveLength(1)
  })

  test('of what is no folder cannot be made', async () => {
    await expect(describeFolder(join(root, 'nothing'))).rejects.toMatchObject({ code: 'CONFIG' })
  })
})

test.each<[string, string | undefined, boolean]>([
  ['#!/bin/sh\n', 'sh', true],
  ['#! /bin/sh -e\n', 'sh', true],
  ['#!/bin/sh', 'sh', true],
  ['#!/bin/sh\r\n', 'sh', true],
  ['#!/usr/bin/env frob\n', 'frob', true],
  ['#!/usr/bin/env -S A=1 frob -x\n', 'frob', true],
  ['#!/usr/bin/env nothere\n', 'nothere', false],
  ['#!/nothere/python9\n', 'python9', false],
  ['#!\n', undefined, false],
  ['#!/usr/bin/env\n', undefined, false],
  ['\x7fELF', undefined, false],
  ['', undefined, false],
  [`#!${'/x'.repeat(500)}\n`, 'x', false],
])('a script that begins %j asks for %s', async (text, name, found) => {
  program('frob')
  put('script', text)
  const interpreter = await interpreterOf(join(root, 'script'), bin)
  expect(interpreter?.name).toBe(name)
  expect(interpreter?.file !== undefined).toBe(found)
})

test('a program that cannot be read asks for nothing that is known', async () => {
  expect(await interpreterOf(join(root, 'nothing'), bin)).toBeUndefined()
})

const there = (name: string): string => `there is no ${name} that can be run`

describe('of a program that is not there', () => {
  test.each<[string, string, string | undefined, string]>([
    ['node', 'node', 'nodejs|node', 'there is no node on PATH (BIN)'],
    ['php-cgi', 'php-cgi', 'php.*', 'there is no php-cgi on PATH (BIN)'],
    // Nobody knows a package of that name, and what somebody else called so would be installed.
    ['frobnicate', 'frobnicate', undefined, 'there is no frobnicate on PATH (BIN)'],
    ['constructor', 'constructor', undefined, 'there is no constructor on PATH (BIN)'],
    ['x; rm -rf /', 'x; rm -rf /', undefined, there('x; rm -rf /')],
    ['/usr/bin/ruby-of-nobody', 'ruby-of-nobody', undefined, there('/usr/bin/ruby-of-nobody')],
    ['/usr/bin/guile', 'guile', 'guile.*', there('/usr/bin/guile')],
    // No package puts it there.
    ['/opt/mine/bin/perl', '/opt/mine/bin/perl', undefined, there('/opt/mine/bin/perl')],
    ['/opt/mine/bin/lua', '/opt/mine/bin/lua', undefined, `${there('/opt/mine/bin/lua')}; there is BIN/lua`],
  ])('%s is told as %s, and with the package %s', (asked, what, name, why) => {
    program('pacman')
    program('lua')
    const told = missing(asked, bin)
    expect(told).toMatchObject({ what, why: why.replace('BIN', bin) })
    // Which manager it is depends on the machine.
    if (name === undefined) expect(told.command).toBeUndefined()
    else expect(told.command).toMatch(new RegExp(`^[a-z-]+ (?:install|add|-S) (?:${name})$`))
  })

  test('the place of its name is told', () => {
    expect(missing('frob', bin, 'the first line of /srv/x.pl').why).toBe(
      `there is no frob on PATH (${bin}); the first line of /srv/x.pl asks for it`,
    )
  })
})

test('a path is one word for a shell', () => {
  expect(shellWord('/srv/a-b_c.txt')).toBe('/srv/a-b_c.txt')
  expect(shellWord(`/a b/$(x)'s`)).toBe(`'/a b/$(x)'\\''s'`)
})
