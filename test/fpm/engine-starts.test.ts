// How it starts, or why not, and reloads of every day: the same files to php-fpm and to `viaduct fpm`.

import { execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, statSync, writeFileSync } from 'node:fs'
import { Socket, createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Fpm, REAL, ask, configuration, freePort, isRoot, makeFolder, variables } from './engine.ts'
import type { Kind } from './engine.ts'

const SCRIPTS = { 'hello.php': '<?php echo "hello";', 'complain.php': '<?php error_log("complaint"); echo "x";' }
const POOL = 'pm = static\npm.max_children = 1'
const kinds: Kind[] = ['php-fpm', 'viaduct']

/** Without what is this run's. */
const plain = (fpm: Fpm, text: string): string[] =>
  text
    .replaceAll(fpm.folder, 'FOLDER')
    .split('\n')
    .map((line) => line.replace(/^\[.*?\] /, '').replace(/\b(pid|child|fd=) ?\d+/g, '$1 N'))

const REFUSED: [string, string][] = [
  ['a user that nobody is', 'user = nobodyatall'],
  ['a group that nobody is', 'group = nobodyatall'],
  ['an owner that nobody is', 'listen.owner = nobodyatall'],
  ['a group of the socket that nobody is', 'listen.group = nobodyatall'],
  ['an ACL with somebody who is not', 'listen.acl_users = root,nobodyatall'],
  ['an ACL with a group that is not', 'listen.acl_groups = nobodyatall'],
  ['a chroot that is not there', 'chroot = /nonexistent'],
  ['a folder that is not there', 'chdir = /nonexistent'],
  ['an access log that cannot be', 'access.log = /nonexistent/x.log'],
  ['a slow log that cannot be', 'slowlog = /nonexistent/x.log\nrequest_slowlog_timeout = 1'],
  ['a host that is not known', 'listen = none.invalid:9000'],
  ['a port that cannot be', 'listen = 127.0.0.1:99999'],
  ['an address that is not ours', 'listen = 192.0.2.1:9000'],
  ['a folder of the socket that is not there', 'listen = /nonexistent/x.sock'],
  ['a port that is taken', 'listen = 127.0.0.1:PORT'],
  ['a port that is taken on all addresses', 'listen = PORT'],
  ['a pool of the same address', '[two]\nuser = www-data\nlisten = FOLDER/www.sock\npm = ondemand\npm.max_children = 1'],
  ['files that no pattern finds', 'include = FOLDER/none/*.conf'],
  ['half a line', 'pm.max_children'],
  ['half a section', '[two'],
]

describe.skipIf(!has('php-cgi', REAL) || !isRoot)('starting', () => {
  test.each(REFUSED)('with %s: same words, same exit code', async (_, lines) => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise((resolve) => taken.once('listening', resolve))
    const port = String((taken.address() as AddressInfo).port)
    const results = []
    for (const kind of kinds) {
      await using fpm = Fpm.launch(kind, { pool: `${POOL}\n${lines.replace('PORT', port)}`, scripts: SCRIPTS })
      const { code } = await fpm.exited
      await fpm.closed
      results.push({ code, printed: plain(fpm, fpm.printed), log: plain(fpm, fpm.log) })
    }
    taken.close()
    expect(results[1]).toEqual(results[0])
    expect(results[0]!.code).toBe(78)
  })

  test('with a pid file that cannot be: same words, same exit code', async () => {
    const results = []
    for (const kind of kinds) {
      await using fpm = Fpm.launch(kind, { global: 'pid = /nonexistent/x.pid', pool: POOL, scripts: SCRIPTS })
      const { code } = await fpm.exited
      await fpm.closed
      results.push({ code, printed: plain(fpm, fpm.printed), log: plain(fpm, fpm.log) })
    }
    expect(results[1]).toEqual(results[0])
  })

  test('with an AppArmor hat, which php-cgi cannot put on: it is refused, and told why', async () => {
    await using fpm = Fpm.launch('viaduct', { pool: `${POOL}\napparmor_hat = www`, scripts: SCRIPTS })
    expect((await fpm.exited).code).toBe(78)
    expect(fpm.log).toContain('[pool www] apparmor_hat: a hat is put on by the process itself')
  })

  test("two with one pid file: it is the second one's, and goes with whoever goes first", async () => {
    const results = []
    for (const kind of kinds) {
      await using first = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      await using second = await Fpm.start(kind, { global: `pid = ${first.script('fpm.pid')}`, pool: POOL, scripts: SCRIPTS })
      const seen = [first.read('fpm.pid') === String(second.pid)]
      first.kill('SIGQUIT')
      await first.exited
      seen.push(first.read('fpm.pid') === '', (await second.ask('hello.php')).body === 'hello')
      second.kill('SIGQUIT')
      results.push({ seen, end: await second.exited })
    }
    expect(results[1]).toEqual(results[0])
  })

  test('as containers have it: logs on standard error, which are opened anew, and words of scripts as they are', async () => {
    const results = []
    for (const kind of kinds) {
      using pipe = makePipe()
      await using fpm = await Fpm.start(kind, {
        global: 'error_log = /proc/self/fd/2\nlog_limit = 8192',
        pool: `${POOL}\naccess.log = /proc/self/fd/2\naccess.format = "%R %m %r %s"\nclear_env = no\ncatch_workers_output = yes\ndecorate_workers_output = no`,
        scripts: SCRIPTS,
        stderr: pipe.end,
        also: pipe.text,
      })
      for (const when of ['before', 'after']) {
        await fpm.ask('complain.php', when)
        await fpm.said('NOTICE: PHP message: complaint', when === 'before' ? 1 : 2)
        await fpm.said('GET /complain.php 200', when === 'before' ? 1 : 2)
        if (when === 'after') break
        fpm.kill('SIGUSR1')
        await fpm.said('access log file re-opened')
        // php-fpm replaces its workers for that.
        await until('an answer', async () => (await ask(fpm.socket, { ...variables(''), SCRIPT_NAME: '/ping' })).whole)
      }
      const wanted = /complain|re-opened/
      results.push(
        plain(fpm, pipe.text())
          .filter((line) => wanted.test(line))
          .toSorted(),
      )
    }
    expect(results[1]).toEqual(results[0])
    expect(results[1]!.length).toBe(6)
  })

  test('twenty pools, each its own', async () => {
    const results = []
    for (const kind of kinds) {
      const names = Array.from({ length: 20 }, (_, i) => `site${i}`)
      const more = names.map(
        (name) => `[${name}]\nuser = www-data\nlisten = FOLDER/$pool.sock\npm = ondemand\npm.max_children = 2\nenv[POOL] = $pool\n`,
      )
      await using fpm = await Fpm.start(kind, { pool: POOL, more: more.join(''), scripts: { 'pool.php': '<?php echo getenv("POOL");' } })
      const answers = await Promise.all(names.map((name) => ask(fpm.script(`${name}.sock`), variables(fpm.script('pool.php')))))
      results.push(answers.map(({ status, body }) => [status, body]))
    }
    expect(results[1]).toEqual(results[0])
    expect(results[1]).toContainEqual([200, 'site19'])
  })

  test('a pool that has another name after a reload, and another one that is gone', async () => {
    const results = []
    for (const kind of kinds) {
      const gone = `[gone]\nuser = www-data\nlisten = FOLDER/gone.sock\n${POOL}`
      await using fpm = await Fpm.start(kind, { pool: POOL, more: gone, scripts: SCRIPTS })
      const { ino } = statSync(fpm.socket)
      writeFileSync(fpm.script('fpm.conf'), configuration(fpm.folder, { pool: POOL }).replace('[www]', '[other]'))
      fpm.kill('SIGUSR2')
      await fpm.said('ready to handle connections', 2)
      const name = await until('the new one', async () => {
        const { pool } = await fpm.status().catch(() => ({ pool: '' }))
        return pool === 'other' ? pool : undefined
      })
      await until('the old one is gone', async () => !(await ask(fpm.script('gone.sock'), variables(fpm.script('hello.php')))).whole)
      const lines = plain(fpm, fpm.log).filter((line) => /Reload|inherited|ERROR|WARNING/.test(line))
      results.push({ name, same: statSync(fpm.socket).ino === ino, body: (await fpm.ask('hello.php')).body, lines })
    }
    expect(results[1]).toEqual(results[0])
  })

  test('asked to reload twice at once, it has what is there at last', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: `${POOL}\nenv[A] = 0`, scripts: { 'a.php': '<?php echo getenv("A");' } })
    const port = await freePort()
    for (let i = 1; i <= 20; i++) {
      // A host's address takes a while to be known.
      const more = `[new]\nuser = www-data\nlisten = localhost:${port + (i % 2)}\npm = ondemand\npm.max_children = 1`
      writeFileSync(fpm.script('fpm.conf'), configuration(fpm.folder, { pool: `${POOL}\nenv[A] = ${i}`, more }))
      fpm.kill('SIGUSR2')
      await new Promise((resolve) => setTimeout(resolve, i % 5))
    }
    await until('the last one', async () => (await fpm.ask('a.php')).body === '20')
  })

  test('back to what was before, after a reload that did not come up', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    const before = fpm.read('fpm.conf')
    const broken = `${POOL}\nlisten = FOLDER/other.sock\nchroot = FOLDER`
    writeFileSync(fpm.script('fpm.conf'), configuration(fpm.folder, { pool: broken }))
    fpm.kill('SIGUSR2')
    await fpm.said('chroot: there is no')
    expect((await fpm.ask('hello.php')).body).toBe('hello')
    writeFileSync(fpm.script('fpm.conf'), before)
    fpm.kill('SIGUSR2')
    await fpm.said('ready to handle connections', 2)
    expect((await fpm.ask('hello.php')).body).toBe('hello')
    expect(fpm.log).not.toContain('Another FPM instance')
  })
})

/** A pipe as a shell makes it: those of Node are sockets, which /proc/self/fd cannot open. */
function makePipe(): { readonly end: number; text(): string; [Symbol.dispose](): void } {
  const folder = makeFolder()
  const path = join(folder.path, 'pipe')
  execFileSync('mkfifo', [path])
  const reader = new Socket({ fd: openSync(path, constants.O_RDONLY | constants.O_NONBLOCK), readable: true, writable: false })
  const end = openSync(path, constants.O_WRONLY)
  let text = ''
  reader.on('data', (chunk: Buffer) => (text += chunk.toString()))
  return {
    end,
    text: () => text,
    [Symbol.dispose]() {
      closeSync(end)
      reader.destroy()
      folder[Symbol.dispose]()
    },
  }
}
