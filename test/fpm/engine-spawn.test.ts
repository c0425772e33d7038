// `viaduct spawn` beside spawn-fcgi, and as the manager of a pool of a program that is not PHP.

import { execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parseSpawn } from '../../src/cli/spawn-options.ts'
import { MAIN, alive, until } from '../cli/program.ts'
import { has, which } from '../peers.ts'
import { ask, descendants, isRoot, makeFolder, open, variables } from './engine.ts'

type Kind = 'spawn-fcgi' | 'viaduct'
const kinds: Kind[] = ['spawn-fcgi', 'viaduct']
const main = process.env['VIADUCT_MAIN'] ?? MAIN
const command = (kind: Kind): [string, ...string[]] => (kind === 'viaduct' ? [process.execPath, main, 'spawn'] : [which('spawn-fcgi')!])

interface Run {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function run(kind: Kind, words: readonly string[]): Promise<Run> {
  const [file, ...args] = command(kind)
  return new Promise((resolve) => {
    execFile(file, [...args, ...words], { timeout: 10_000 }, (error, stdout, stderr) =>
      resolve({ code: error === null ? 0 : Number(error.code), stdout: stdout.replace(/\d+/g, 'N'), stderr }),
    )
  })
}

/** A program that leads a session, with its children: php-cgi's outlive their parent. */
const end = async (pid: number): Promise<void> => {
  if (alive(pid)) process.kill(-pid, 'SIGKILL')
  await until('it is gone', () => !alive(pid))
}

describe.skipIf(!has('php-cgi', 'spawn-fcgi'))('beside spawn-fcgi', () => {
  test('a program on a unix socket: same words, modes and owners, and it answers', async () => {
    const results = []
    for (const kind of kinds) {
      using folder = makeFolder()
      const socket = join(folder.path, 's')
      const user = isRoot ? ['-u', 'www-data', '-g', 'www-data', '-U', 'daemon', '-G', 'daemon', '-M', '0640'] : []
      writeFileSync(
        join(folder.path, 'a.php'),
        '<?php echo posix_geteuid() === fileowner(__FILE__) ? "same" : "other", getenv("PHP_FCGI_CHILDREN");',
      )
      const result = await run(kind, ['-s', socket, '-P', join(folder.path, 'pid'), '-C', '2', ...user, '--', which('php-cgi')!])
      const pid = Number(readFileSync(join(folder.path, 'pid'), 'utf8'))
      try {
        const { mode, uid, gid } = statSync(socket)
        const reply = await ask(socket, variables(join(folder.path, 'a.php')))
        results.push({ ...result, mode, uid, gid, body: reply.body })
      } finally {
        await end(pid)
      }
    }
    expect(results[1]).toEqual(results[0])
    expect(results[1]).toMatchObject({ code: 0, stdout: 'spawn-fcgi: child spawned successfully: PID: N\n' })
  })

  test('a program that ends at once is told of', async () => {
    using folder = makeFolder()
    const result = await run('viaduct', ['-s', join(folder.path, 's'), '--', '/bin/sh', '-c', 'exit 3'])
    expect(result).toMatchObject({ code: 1, stderr: 'spawn-fcgi: child exited with: 3\n' })
  })

  test('-n stays with the program, hands its signals on, and ends as it does', async () => {
    using folder = makeFolder()
    const socket = join(folder.path, 's')
    const [file, ...args] = command('viaduct')
    const child = spawn(file, [...args, '-n', '-s', socket, '--', which('php-cgi')!], { stdio: 'ignore' })
    const exited = new Promise((resolve) => child.once('exit', resolve))
    await until('the socket', () => existsSync(socket))
    writeFileSync(join(folder.path, 'a.php'), '<?php echo "here";')
    expect((await ask(socket, variables(join(folder.path, 'a.php')))).body).toBe('here')
    child.kill('SIGTERM')
    await exited
  })

  test('no socket, no program: a mistake', async () => {
    expect((await run('viaduct', ['--', 'x'])).code).toBe(2)
    expect((await run('viaduct', ['-s', '/tmp/x'])).code).toBe(2)
  })
})

describe('the words of spawn-fcgi', () => {
  test.each([
    [['-s', '/x', '--', 'app', '-p'], { listen: { path: '/x' }, program: ['app', '-p'], forks: 1, backlog: 1024 }],
    [['-p9000', '-a', '::1', '-F', '4', 'app'], { listen: { host: '::1', port: 9000 }, forks: 4, program: ['app'] }],
    [['-nS', '-s/x', '-M', '0600', '-f', 'app --x'], { stay: true, mode: 0o600, shell: true, program: ['app --x'] }],
  ])('%j', (words, options) => {
    expect(parseSpawn(words)).toMatchObject(options)
  })

  test.each([[['-s', '/x', '-p', '1', 'app']], [['-s', '/x']], [['-p', '0', 'app']], [['-M', '9', '-s', '/x', 'app']], [['-Z']], [['-s']]])(
    '%j is a mistake',
    (words) => {
      expect(() => parseSpawn(words)).toThrow()
    },
  )
})

const PROGRAM = `
import { serveFastCgi } from ${JSON.stringify(join(main, '../../fastcgi/index.js'))}
const server = await serveFastCgi((request) => {
  if (request.queryString === 'die') process.kill(process.pid, 'SIGSEGV')
  request.errors.write('complaint')
  return { status: 404, headers: ['X-Pid', String(process.pid)], body: 'No input file specified.\\n' }
})
process.on('SIGTERM', () => server.close().then(() => process.exit(0)))
`

test('a managed pool of a program that is not PHP: modes, status, limits, and its words unchanged', async () => {
  using folder = makeFolder()
  const file = (name: string): string => join(folder.path, name)
  writeFileSync(file('app.mjs'), PROGRAM)
  const user = isRoot ? 'user = root\n' : ''
  writeFileSync(
    file('app.conf'),
    `[global]\nerror_log = ${file('log')}\n[app]\n${user}listen = ${file('s')}\npm = ondemand\npm.max_children = 2\npm.max_requests = 3\npm.status_path = /status\n`,
  )
  const [node, ...args] = command('viaduct')
  const child = spawn(node, [...args, '-F', ...(isRoot ? ['-R'] : []), '-y', file('app.conf'), '--', process.execPath, file('app.mjs')], {
    stdio: 'ignore',
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  try {
    await until('it serves', () => existsSync(file('log')) && readFileSync(file('log'), 'utf8').includes('ready to handle connections'))
    const kept = open(file('s'))
    for (let i = 0; i < 4; i++) {
      const reply = await ask(file('s'), variables('/any/where.txt'), { socket: kept })
      expect(reply).toMatchObject({ status: 404, body: 'No input file specified.\n', stderr: 'complaint' })
    }
    kept.destroy()
    expect((await ask(file('s'), variables('/x', 'die'))).whole).toBe(false)
    await until('its end is told', () => /child \d+ exited on signal 11 \(SIGSEGV/.test(readFileSync(file('log'), 'utf8')))
    const status = JSON.parse((await ask(file('s'), { ...variables('', 'json'), SCRIPT_NAME: '/status' })).body) as object
    expect(status).toMatchObject({ pool: 'app', 'process manager': 'ondemand', 'accepted conn': 6 })
  } finally {
    child.kill('SIGTERM')
    await exited
  }
})

test('a managed pool that is killed leaves no program and no folder behind', async () => {
  using folder = makeFolder()
  const file = (name: string): string => join(folder.path, name)
  writeFileSync(file('app.mjs'), PROGRAM)
  mkdirSync(file('tmp'))
  const user = isRoot ? 'user = root\n' : ''
  writeFileSync(
    file('app.conf'),
    `[global]\nerror_log = ${file('log')}\n[app]\n${user}listen = ${file('s')}\npm = static\npm.max_children = 2\n`,
  )
  const [node, ...args] = command('viaduct')
  const child = spawn(node, [...args, '-F', ...(isRoot ? ['-R'] : []), '-y', file('app.conf'), '--', process.execPath, file('app.mjs')], {
    stdio: 'ignore',
    env: { ...process.env, TMPDIR: file('tmp') },
  })
  const exited = new Promise((resolve) => child.once('exit', resolve))
  try {
    await until('it serves', () => existsSync(file('log')) && readFileSync(file('log'), 'utf8').includes('ready to handle connections'))
    expect(readdirSync(file('tmp')).filter((name) => name.startsWith('viaduct-spawn-'))).toHaveLength(2)
    const family = descendants(child.pid!).filter((pid) => !readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('viaduct-guard'))
    for (const pid of [child.pid!, ...family.filter((each) => readFileSync(`/proc/${each}/cmdline`, 'latin1').includes('fpm-front'))])
      process.kill(pid, 'SIGKILL')
    await until('nobody is left', () => !family.some(alive))
    await until('the folder is gone', () => !readdirSync(file('tmp')).some((name) => name.startsWith('viaduct-spawn-')))
  } finally {
    child.kill('SIGKILL')
    await exited
  }
})
