// Starting, stopping, reloading and what is told of it: `viaduct fpm` beside php-fpm where both must do the same.

import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync, readdirSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MAIN, alive, until } from '../cli/program.ts'
import { has } from '../peers.ts'
import { Fpm, REAL, ask, configuration, descendants, isRoot, leadersOf, makeFolder, open, variables } from './engine.ts'
import type { Kind } from './engine.ts'
import { listenForNotices } from './notify.ts'

const SCRIPTS = {
  'hello.php': '<?php echo "hello";',
  'sleep.php': '<?php usleep((int) ($_GET["ms"] * 1000)); echo "slept";',
  'env.php': '<?php echo getenv("WHICH");',
}
const POOL = 'pm = static\npm.max_children = 2'
const kinds: Kind[] = ['php-fpm', 'viaduct']

/** Lines of a log without what differs from run to run. */
const lines = (fpm: Fpm): string[] =>
  fpm.log
    .split('\n')
    .filter(Boolean)
    .map((line) =>
      line
        .replace(/^\[.*?\]/, '')
        .replace(/\d+/g, 'N')
        .replaceAll(fpm.folder.replace(/\d+/g, 'N'), 'FOLDER'),
    )

describe.skipIf(!has('php-cgi', REAL))('the life of a manager', () => {
  test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)(
    '%s ends it: same lines, same exit code, no socket, no pid file, nobody left',
    async (signal) => {
      const results = []
      for (const kind of kinds) {
        await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
        expect(readFileSync(fpm.script('fpm.pid'), 'utf8')).toBe(String(fpm.pid))
        expect((await fpm.ask('hello.php')).body).toBe('hello')
        const family = descendants(fpm.pid)
        fpm.kill(signal)
        const { code } = await fpm.exited
        await until('nobody is left', () => !family.some(alive))
        results.push({ code, pid: existsSync(fpm.script('fpm.pid')), socket: existsSync(fpm.socket), lines: lines(fpm) })
      }
      expect(results[1]).toEqual(results[0])
      expect(results[1]).toMatchObject({ code: 0, pid: false })
    },
  )

  test('QUIT lets requests finish within process_control_timeout, and takes no new ones', async () => {
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS, global: 'process_control_timeout = 10s' })
      const running = fpm.ask('sleep.php', 'ms=700')
      await until('it runs', async () => (await fpm.status())['active processes'] >= (kind === 'viaduct' ? 1 : 2))
      fpm.kill('SIGQUIT')
      expect(await running, kind).toMatchObject({ body: 'slept', whole: true })
      expect(await fpm.exited, kind).toEqual({ code: 0, signal: null })
    }
  })

  test('TERM cuts what runs', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    const running = fpm.ask('sleep.php', 'ms=20000')
    await until('it runs', async () => (await fpm.status())['active processes'] === 1)
    const begun = performance.now()
    fpm.kill('SIGTERM')
    expect((await running).whole).toBe(false)
    expect(await fpm.exited).toEqual({ code: 0, signal: null })
    expect(performance.now() - begun).toBeLessThan(3000)
  })

  test('USR1 opens the logs anew: what is said before goes to the old files, and after to the new', async () => {
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      await fpm.ask('hello.php')
      await until('the access log', () => fpm.read('access.log') !== '')
      renameSync(fpm.script('access.log'), fpm.script('access.log.1'))
      renameSync(fpm.script('error.log'), fpm.script('error.log.1'))
      fpm.kill('SIGUSR1')
      await fpm.said('error log file re-opened')
      await fpm.said('access log file re-opened')
      // php-fpm replaces its workers for that, and says so.
      await until('an answer in the new log', async () => {
        await fpm.ask('hello.php')
        return fpm.read('access.log').includes('GET /hello.php')
      })
      expect(fpm.read('access.log.1'), kind).toContain('hello')
      expect(fpm.read('error.log.1')).toContain('ready to handle connections')
    }
  })

  test('USR2 reads the configuration anew, keeps sockets and requests, and loses none', async () => {
    const options = { pool: `${POOL}\nenv[WHICH] = old`, scripts: SCRIPTS }
    await using fpm = await Fpm.start('viaduct', options)
    expect((await fpm.ask('env.php')).body).toBe('old')
    const running = fpm.ask('sleep.php', 'ms=1500')
    let failed = 0
    const stop = new AbortController()
    const clients = Array.from({ length: 3 }, async () => {
      while (!stop.signal.aborted) {
        const reply = await fpm.ask('hello.php')
        if (reply.body !== 'hello') failed++
      }
    })
    writeFileSync(
      fpm.script('fpm.conf'),
      configuration(fpm.folder, { pool: `${POOL}\nenv[WHICH] = new`, more: `[two]\nuser = www-data\nlisten = FOLDER/two.sock\n${POOL}` }),
    )
    fpm.kill('SIGUSR2')
    await fpm.said('Reloading in progress ...')
    await fpm.said(`using inherited socket fd=`)
    await fpm.said('ready to handle connections', 2)
    // The old one takes what comes until it hears of it.
    await until('the new one', async () => (await fpm.ask('env.php')).body === 'new')
    expect((await ask(fpm.script('two.sock'), variables(fpm.script('hello.php')))).body).toBe('hello')
    stop.abort()
    await Promise.all(clients)
    expect(failed).toBe(0)
    expect((await running).body).toBe('slept')
    await until('the old pool is gone', () => leadersOf(fpm.pid).length === 2)
  })

  test('a configuration that is refused changes nothing', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    writeFileSync(fpm.script('fpm.conf'), configuration(fpm.folder, { pool: 'pm = lots' }))
    fpm.kill('SIGUSR2')
    await fpm.said('the configuration is refused; what was loaded before goes on')
    expect(fpm.log).toContain('invalid process manager (static, dynamic or ondemand)')
    expect((await fpm.ask('hello.php')).body).toBe('hello')
  })

  test('a reload that cannot have all of its sockets keeps none of the new ones', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    const pools = (name: string): string => `[${name}]\nlisten = ${fpm.script(`${name}.sock`)}\nuser = www-data\n${POOL}\n`
    const more = pools('two') + pools('none/three')
    writeFileSync(fpm.script('fpm.conf'), configuration(fpm.folder, { pool: POOL, more }))
    fpm.kill('SIGUSR2')
    await fpm.said('; what was loaded before goes on')
    expect(fpm.log).toContain('No such file or directory')
    expect(existsSync(fpm.script('two.sock'))).toBe(false)
    expect((await fpm.ask('hello.php')).body).toBe('hello')
  })

  test.skipIf(!isRoot)('a pool that cannot be had leaves no settings of the others behind', async () => {
    using temporary = makeFolder()
    const more = `[two]\nlisten = ${temporary.path}/two.sock\nuser = www-data\nchroot = ${temporary.path}\n${POOL}\n`
    await using fpm = Fpm.launch('viaduct', {
      pool: `${POOL}\nphp_admin_value[memory_limit] = 64M`,
      more,
      env: { TMPDIR: temporary.path },
    })
    expect((await fpm.exited).code).not.toBe(0)
    expect(fpm.log + fpm.printed).toContain('[pool two] chroot: there is no')
    expect(readdirSync(temporary.path)).toEqual([])
  })

  test('the serving process is killed: another one takes over, on the same sockets', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    const front = descendants(fpm.pid).find((pid) => readFileSync(`/proc/${pid}/cmdline`, 'latin1').includes('fpm-front'))!
    process.kill(front, 'SIGKILL')
    expect((await fpm.ask('hello.php')).body).toBe('hello')
    await until('its workers are gone', () => leadersOf(fpm.pid).length === 1)
  })

  test.each([
    ['a folder that is not there', 'listen = /nonexistent/x.sock', 'unable to bind listening socket for address'],
    ['an address that another program has', 'listen = FOLDER/www.sock', 'Another FPM instance seems to already listen on'],
  ])('%s: same words, same exit code', async (_, line, words) => {
    const results = []
    for (const kind of kinds) {
      await using first = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      await using fpm = Fpm.launch(kind, { pool: `${POOL}\n${line.replace('FOLDER', first.folder)}`, scripts: SCRIPTS })
      const { code } = await fpm.exited
      await until('its last words', () => fpm.log.includes('FPM initialization failed'))
      results.push({ code, lines: lines(fpm).map((each) => each.replaceAll(first.folder.replace(/\d+/g, 'N'), 'FIRST')) })
    }
    expect(results[1]).toEqual(results[0])
    expect(results[1]!.lines.join('\n')).toContain(words)
  })

  test('php-cgi that does not start: an error with its words, and exit code 78', async () => {
    using folder = makeFolder()
    const fake = join(folder.path, 'php-cgi')
    writeFileSync(fake, '#!/bin/sh\n[ "$1" = -v ] && echo "PHP 8.2.0 (cgi-fcgi)" && exit 0\necho "no library" >&2\nexit 3\n', {
      mode: 0o755,
    })
    await using fpm = Fpm.launch('viaduct', { pool: POOL, words: ['--php-cgi', fake] })
    expect((await fpm.exited).code).toBe(78)
    expect(fpm.log + fpm.printed).toMatch(
      /no child of \/.*php-cgi \(pid \d+\) took a connection: it exited with status 3; it said: no library/,
    )
    expect(existsSync(fpm.socket)).toBe(false)
  })

  test('as a daemon: it returns when everything runs, and the pid file tells who', async () => {
    for (const kind of kinds) {
      using folder = makeFolder()
      writeFileSync(join(folder.path, 'fpm.conf'), configuration(folder.path, { pool: POOL }))
      writeFileSync(join(folder.path, 'hello.php'), SCRIPTS['hello.php'])
      const words = ['-D', '-y', join(folder.path, 'fpm.conf')]
      if (kind === 'php-fpm') execFileSync('/usr/sbin/php-fpm8.2', words, { stdio: 'ignore' })
      else execFileSync(process.execPath, [process.env['VIADUCT_MAIN'] ?? MAIN, 'fpm', ...words], { stdio: 'ignore' })
      // php-fpm returns a little earlier.
      const pid = Number(
        await until('the pid file', () => existsSync(join(folder.path, 'fpm.pid')) && readFileSync(join(folder.path, 'fpm.pid'), 'utf8')),
      )
      try {
        expect((await ask(join(folder.path, 'www.sock'), variables(join(folder.path, 'hello.php')))).body, kind).toBe('hello')
        process.kill(pid, 'SIGQUIT')
        await until('it is gone', () => !alive(pid))
        expect(readFileSync(join(folder.path, 'error.log'), 'utf8')).toContain('exiting, bye-bye!')
      } finally {
        if (alive(pid)) process.kill(pid, 'SIGKILL')
      }
    }
  })

  test.skipIf(!has('perl'))('a service manager is told (sd_notify)', async () => {
    for (const kind of kinds) {
      using folder = makeFolder()
      const path = join(folder.path, 'notify')
      using manager = await listenForNotices(path)
      await using fpm = await Fpm.start(kind, {
        pool: POOL,
        scripts: SCRIPTS,
        global: 'systemd_interval = 1s',
        env: { NOTIFY_SOCKET: path },
      })
      const first = ['READY=1', 'STATUS=Ready to handle connections', `MAINPID=${fpm.pid}`]
      for (const line of first) await manager.heard(line)
      await fpm.ask('hello.php')
      await manager.heard(/STATUS=Processes active: 0, idle: 2, Requests: 1, slow: 0, Traffic: \d+(?:\.\d+)?req\/sec/)
      fpm.kill('SIGQUIT')
      if (kind === 'viaduct') await manager.heard('STOPPING=1')
      await fpm.exited
    }
  })

  test('kept connections of a web server move to the next generation', async () => {
    await using fpm = await Fpm.start('viaduct', { pool: POOL, scripts: SCRIPTS })
    const kept = open(fpm.socket)
    const params = variables(fpm.script('hello.php'))
    expect((await ask(fpm.socket, params, { socket: kept })).body).toBe('hello')
    const closed = new Promise((resolve) => kept.once('close', resolve))
    fpm.kill('SIGUSR2')
    await closed
    expect((await ask(fpm.socket, params)).body).toBe('hello')
  })
})
