// What belongs to the machine and not to a test: syslog, Debian's own paths, roots. Each of both gets a mount namespace in which /dev, /run
// and /var/log are the test's.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { chmodSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MAIN, alive, until } from '../cli/program.ts'
import { has, which } from '../peers.ts'
import { Fpm, REAL, ask, isRoot, makeFolder, variables } from './engine.ts'
import type { Kind } from './engine.ts'
import { listenForNotices } from './notify.ts'

const kinds: Kind[] = ['php-fpm', 'viaduct']
const POOL = 'pm = static\npm.max_children = 1'
const DEBIAN = '/etc/php/8.2/fpm/php-fpm.conf'
/** Containers may not let root have namespaces. */
const canMount = isRoot && spawnSync('unshare', ['-m', 'mount', '-t', 'tmpfs', 'none', '/mnt'], { stdio: 'ignore' }).status === 0

/** Words that run the words behind them in a mount namespace, once this has been done there. */
const inNamespace = (script: string): string[] => [which('unshare')!, '-m', 'sh', '-ec', `${script}\nexec "$@"`, 'sh']
const programOf = (kind: Kind): string[] =>
  kind === 'php-fpm' ? [which(REAL)!] : [process.execPath, process.env['VIADUCT_MAIN'] ?? MAIN, 'fpm']

describe.skipIf(!has('php-cgi', REAL, 'unshare', 'perl') || !canMount)('on a machine of its own', () => {
  test.each([
    ['', '<29>', 'php-fpm'],
    ['syslog.ident = site\nsyslog.facility = LOCAL3', '<157>', 'site'],
    ['syslog.ident = "a b"\nsyslog.facility = mail\nlog_level = debug', '<23>', 'a b'],
  ])('error_log = syslog, %j: messages are the same', async (lines, priority, ident) => {
    const results = []
    for (const kind of kinds) {
      using dev = makeFolder()
      for (const name of ['null', 'zero', 'random', 'urandom']) writeFileSync(join(dev.path, name), '')
      using syslog = await listenForNotices(join(dev.path, 'log'))
      const mounts = `for n in null zero random urandom; do mount --bind /dev/$n ${dev.path}/$n; done; mount --rbind ${dev.path} /dev`
      await using fpm = Fpm.launch(kind, {
        global: `error_log = syslog\n${lines}`,
        pool: `${POOL}\npm.max_requests = 1`,
        scripts: { 'hello.php': '<?php echo "hello";' },
        wrap: inNamespace(mounts),
      })
      await until('an answer', async () => (await fpm.ask('hello.php')).body === 'hello')
      fpm.kill('SIGQUIT')
      await fpm.exited
      await syslog.heard(/bye-bye/)
      const wanted = /running|ready|monitor|exited|Finishing|bye-bye/
      results.push(
        syslog
          .text()
          .split('\n')
          .filter((line) => wanted.test(line) && !/SIG|status/.test(line))
          .map((line) =>
            line
              .replace(/> *\w{3} [ \d]\d [\d:]{8} /, '> ')
              .replace(/\[\d+\]/, '[N]')
              .replace(/pid \d+/, 'pid N')
              .replace(/line \d+/, 'line N')
              .replace(/child \d+/, 'child N')
              .replace(/\d+\.\d+ seconds/, 'T seconds'),
          )
          .filter((line) => !line.includes('exited with code 0') && !line.includes('fpm_pctl()')),
      )
      expect(syslog.text()).toContain(`[${fpm.pid}]: `)
    }
    expect(results[1]!.slice(0, 2)).toEqual(results[0]!.slice(0, 2))
    expect(results[1]!.at(-1)).toEqual(results[0]!.at(-1))
    expect(results[1]![0]!.startsWith(`${priority} ${ident}[N]: [NOTICE]`)).toBe(true)
  })

  test("Debian's files as they are: paths, users, rights, pid file, logrotate's script", async () => {
    const results = []
    for (const kind of kinds) {
      using folder = makeFolder()
      for (const name of ['log', 'site']) mkdirSync(join(folder.path, name))
      writeFileSync(join(folder.path, 'site', 'index.php'), '<?php echo posix_getpwuid(posix_geteuid())["name"];')
      const wrap = inNamespace(`mount -t tmpfs none /run; mkdir /run/php; mount --bind ${folder.path}/log /var/log`)
      const [file, ...words] = [...wrap, ...programOf(kind), '--nodaemonize', '--fpm-config', DEBIAN]
      const main = spawn(file!, words, { stdio: 'ignore' })
      const exited = new Promise((resolve) => main.once('exit', (code, signal) => resolve({ code, signal })))
      const run = `/proc/${main.pid}/root/run/php`
      try {
        const log = (name = 'php8.2-fpm.log'): string => {
          try {
            return readFileSync(join(folder.path, 'log', name), 'utf8')
          } catch {
            return ''
          }
        }
        await until('it serves', () => log().includes('ready to handle connections'))
        const socket = `${run}/php8.2-fpm.sock`
        const params = variables(join(folder.path, 'site', 'index.php'))
        const { status, body, stderr } = await ask(socket, params)
        const [pid] = [Number(readFileSync(`${run}/php8.2-fpm.pid`, 'utf8'))]
        const rights = execFileSync(
          'stat',
          ['-c', '%U %G %a', socket, `${run}/php8.2-fpm.pid`, join(folder.path, 'log', 'php8.2-fpm.log')],
          {
            encoding: 'utf8',
          },
        )
        // postrotate, after logrotate has moved the file.
        execFileSync('mv', [join(folder.path, 'log', 'php8.2-fpm.log'), join(folder.path, 'log', 'php8.2-fpm.log.1')])
        execFileSync('nsenter', ['-t', String(main.pid), '-m', '/usr/lib/php/php8.2-fpm-reopenlogs'])
        await until('the new log', () => log().includes('error log file re-opened'))
        main.kill('SIGUSR2')
        await until('it is reloaded', () => log().includes('ready to handle connections'))
        const again = (await ask(socket, params)).body
        main.kill('SIGQUIT')
        const lines = (name: string): string[] =>
          log(name)
            .split('\n')
            .map((line) => line.replace(/^\[.*?\] /, '').replace(/\d+/g, 'N'))
        results.push({ status, body, stderr, own: pid === main.pid, rights, again, exited: await exited, old: lines('php8.2-fpm.log.1') })
        expect(lines('php8.2-fpm.log').at(-2)).toBe('NOTICE: exiting, bye-bye!')
      } finally {
        main.kill('SIGTERM')
        await exited
        await until('it is gone', () => !alive(main.pid!))
      }
    }
    expect(results[1]).toEqual(results[0])
    expect(results[1]).toMatchObject({ status: 200, body: 'www-data', again: 'www-data' })
  })

  test('chroot, where the root holds what php-cgi needs: paths are those of the root, and nothing else is there', async () => {
    const facts =
      '<?php echo json_encode([getcwd(), __FILE__, is_dir("/home"), is_dir("/site"), ini_get("memory_limit"), ini_set("memory_limit", "1G"), posix_geteuid(), posix_getgroups(), getenv("A")]);'
    const results = []
    for (const kind of kinds) {
      using root = makeFolder()
      for (const name of ['usr', 'etc', 'dev', 'tmp', 'site']) mkdirSync(join(root.path, name))
      chmodSync(join(root.path, 'tmp'), 0o1777)
      for (const name of ['bin', 'lib', 'lib64']) symlinkSync(`usr/${name}`, join(root.path, name))
      writeFileSync(join(root.path, 'site', 'facts.php'), facts)
      writeFileSync(join(root.path, 'site', 'photo.jpg'), facts)
      const mounts = `for n in usr etc dev; do mount --rbind /$n ${root.path}/$n; done`
      await using fpm = await Fpm.start(kind, {
        pool: `${POOL}\nchroot = ${root.path}\nchdir = /site\nenv[A] = b\nphp_admin_value[memory_limit] = 33M\naccess.format = "%m %r %s %f"`,
        wrap: inNamespace(mounts),
      })
      const seen = []
      for (const path of ['/site/facts.php', '/site/facts.php/more', '/site/none.php', '/site/photo.jpg', `${root.path}/site/facts.php`]) {
        seen.push(await ask(fpm.socket, variables(path)))
      }
      await until('the access log', () => fpm.read('access.log').split('\n').length > 5)
      results.push(JSON.parse(JSON.stringify([seen, fpm.read('access.log')]).replaceAll(root.path, 'ROOT')))
    }
    expect(results[1]).toEqual(results[0])
    expect(JSON.stringify(results[1])).toContain('33M')
  })
})
