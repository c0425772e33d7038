import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../../test/peers.ts'
import { launch } from './launch.ts'
import type { LaunchOptions } from './launch.ts'
import { findProgram } from './tools.ts'

const env = { PATH: '/usr/bin:/bin' }
const folder = mkdtempSync(join(tmpdir(), 'viaduct-launch-'))
afterAll(() => rmSync(folder, { recursive: true }))

/** What a shell script says, started with these options. */
async function said(script: string, options: Partial<LaunchOptions> = {}): Promise<string> {
  const child = launch('sh', ['-c', script], { cwd: '/', env, stdio: ['ignore', 'pipe', 'inherit'], ...options })
  let text = ''
  child.stdout!.setEncoding('utf8').on('data', (chunk: string) => void (text += chunk))
  await Promise.all([once(child.stdout as Readable, 'end'), child.exited])
  return text.trim()
}

describe('a launched program', () => {
  test('leads its own process group and session, and reads nothing', async () => {
    const child = launch('sh', ['-c', 'read -r line; echo "$? $(cut -d" " -f5,6 /proc/$$/stat)"'], {
      cwd: '/',
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [text] = (await once(child.stdout!.setEncoding('utf8'), 'data')) as [string]
    expect(text.trim()).toBe(`1 ${child.pid} ${child.pid}`)
    await child.exited
  })

  test('has the environment it was given and nothing of ours', async () => {
    process.env['VIADUCT_SECRET'] = 'x'
    try {
      expect((await said('env')).split('\n').filter((line) => !/^(PWD|_|OLDPWD|SHLVL)=/.test(line))).toEqual([`PATH=${env.PATH}`])
    } finally {
      delete process.env['VIADUCT_SECRET']
    }
  })

  test('is in the folder it was given', async () => {
    expect(await said('pwd', { cwd: folder })).toBe(folder)
  })

  test.each([
    ['exit 3', { code: 3, signal: null }],
    ['kill -9 $$', { code: null, signal: 'SIGKILL' }],
    ['kill -11 $$', { code: null, signal: 'SIGSEGV' }],
  ])('that does `%s` tells so', async (script, exit) => {
    const limits = has('prlimit') ? { limits: { core: 0 } } : {}
    const child = launch('sh', ['-c', script], { cwd: '/', env, stdio: 'ignore', scheduling: 'batch', ...limits })
    expect(await child.exited).toEqual(exit)
  })
})

describe('what is refused', () => {
  const plain = join(folder, 'plain')
  writeFileSync(plain, 'not a program', { mode: 0o644 })

  test.each([
    ['a name that is not on PATH', 'no-such-program', '/', 'no such program'],
    ['a path that is not there', '/no/such/program', '/', 'no such program'],
    ['a file without the execute bit', plain, '/', 'no such program'],
    ['a folder', folder, '/', 'no such program'],
    ['an empty name', '', '/', 'no such program'],
    ['a name with a NUL', 'sh\0', '/', 'no such program'],
    ['a working folder that is not there', 'sh', '/no/such/folder', '/no/such/folder'],
  ])('%s', (_, command, cwd, text) => {
    expect(() => launch(command, [], { cwd, env })).toThrow(
      expect.objectContaining({ code: 'PROGRAM_FAILED', status: 503, message: expect.stringContaining(text) }),
    )
  })

  test('a user that does not exist', () => {
    expect(() => launch('sh', [], { cwd: '/', env, user: 'no-such-user' })).toThrow(
      expect.objectContaining({ code: 'CONFIG', message: expect.stringContaining('no-such-user') }),
    )
  })

  test.each(['-x', 'a b', '--help', '', 'a\nb'])('%j as the name of a user', (user) => {
    expect(() => launch('sh', [], { cwd: '/', env, user })).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })
})

describe('a program is found', () => {
  test.each([
    ['by its name on PATH', 'sh', { path: '/nowhere:/bin' }, '/bin/sh'],
    ['by its path', '/bin/sh', { path: '' }, '/bin/sh'],
    ['from the working folder when it has a slash', './sh', { cwd: '/bin' }, '/bin/sh'],
    ['never in the working folder by name alone', 'sh', { path: ':.no', cwd: '/bin' }, undefined],
  ])('%s', (_, name, options, file) => {
    expect(findProgram(name, options)).toBe(file)
  })
})

describe.skipIf(!has('prlimit'))('limits', () => {
  test('hold for the program', async () => {
    expect(await said('ulimit -n; ulimit -c; ulimit -v', { limits: { nofile: 64, core: 0, as: 1 << 30 } })).toBe('64\n0\n1048576')
  })
})

describe.skipIf(!has('chrt'))('scheduling', () => {
  test('batch is had, inherited, and told', async () => {
    const child = launch('sh', ['-c', 'sh -c "chrt -p \\$\\$"'], {
      cwd: '/',
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
      scheduling: 'batch',
    })
    const [text] = (await once(child.stdout!.setEncoding('utf8'), 'data')) as [string]
    expect(text).toContain('SCHED_BATCH')
    expect(child).toMatchObject({ scheduling: 'batch', lack: undefined })
    await child.exited
  })

  test('is left alone unless wished for', async () => {
    expect(await said('chrt -p $$')).toContain('SCHED_OTHER')
  })
})

test('nice is added to ours', async () => {
  const ours = Number(/^\S+ \(.*\) (.*)$/s.exec(readFileSync('/proc/self/stat', 'utf8'))![1]!.split(' ')[16])
  expect(await said('nice', { nice: 3 })).toBe(String(Math.min(19, ours + 3)))
})

describe.skipIf(process.getuid?.() !== 0 || !has('setpriv'))('a user', () => {
  // Groups that a program must not inherit from us.
  const ours = process.getgroups?.() ?? []
  beforeAll(() => process.setgroups?.([4, 42]))
  afterAll(() => process.setgroups?.(ours))

  test.each([
    ['has its own groups and none of ours', { user: 'nobody' }, '65534 65534 65534'],
    ['has another group besides its own when told so', { user: 'nobody', group: 'daemon' }, '65534 1 1 65534'],
    ['without an entry is given by numbers', { user: 54_321, group: 54_322 }, '54321 54322 54322'],
    ['may stay the same while the group changes', { group: 'daemon' }, '0 1 1'],
  ])('%s', async (_, options, ids) => {
    expect(await said('echo $(id -u) $(id -g) $(id -G)', options)).toBe(ids)
  })

  test('without an entry and without a group is refused', () => {
    expect(() => launch('sh', [], { cwd: '/', env, user: 54_321 })).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })

  test('keeps higher limits that only we could give', async () => {
    expect(await said('id -un; ulimit -Hn', { user: 'nobody', limits: { nofile: 2048 } })).toBe('nobody\n2048')
  })
})
