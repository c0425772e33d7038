// Programs and files that were made for php-fpm, as they are, with it and with `viaduct fpm`: logrotate, promtool, readers of the status
// page, and Debian's unit with one line changed.

import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { MAIN, alive, until } from '../cli/program.ts'
import { has, which } from '../peers.ts'
import { Fpm, REAL, ask, isRoot, makeFolder, variables } from './engine.ts'
import type { Kind } from './engine.ts'
import { listenForNotices } from './notify.ts'

const SCRIPTS = { 'hello.php': '<?php echo "hello";', 'sleep.php': '<?php usleep(300000); echo "slept";' }
const POOL = 'pm = dynamic\npm.max_children = 4\npm.start_servers = 2\npm.min_spare_servers = 1\npm.max_spare_servers = 3'
const kinds: Kind[] = ['php-fpm', 'viaduct']
const ROTATE = '/etc/logrotate.d/php8.2-fpm'
const REOPEN = '/usr/lib/php/php8.2-fpm-reopenlogs'
const UNIT = '/lib/systemd/system/php8.2-fpm.service'

describe.skipIf(!has('php-cgi', REAL))('tools that were made for php-fpm', () => {
  test.skipIf(!isRoot || !has('logrotate') || !existsSync(ROTATE))(
    "logrotate with Debian's own configuration: no line is lost, and none is in two files",
    async () => {
      for (const kind of kinds) {
        await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
        writeFileSync(fpm.script('reopen'), readFileSync(REOPEN, 'utf8').replace(/^CONFFILE=.*$/m, `CONFFILE=${fpm.script('fpm.conf')}`), {
          mode: 0o755,
        })
        const text = readFileSync(ROTATE, 'utf8')
          .replaceAll(REOPEN, fpm.script('reopen'))
          .replace('/var/log/php8.2-fpm.log', `${fpm.folder}/*.log`)
        writeFileSync(fpm.script('rotate.conf'), text.replace('{', '{\n\tsharedscripts'), { mode: 0o644 })
        for (let round = 1; round <= 2; round++) {
          for (let i = 0; i < 3; i++) expect((await fpm.ask('hello.php', `${round}-${i}`)).body).toBe('hello')
          await until('the access log', () => fpm.read('access.log').includes('GET /hello.php'))
          execFileSync(which('logrotate')!, ['-f', '-s', fpm.script('state'), fpm.script('rotate.conf')], { stdio: 'pipe' })
          await fpm.said('error log file re-opened')
          await fpm.said('access log file re-opened')
          await until('it writes to the new one', async () => {
            await fpm.ask('hello.php')
            return fpm.read('access.log').includes('GET /hello.php')
          })
        }
        // delaycompress: the last one is as it was, the one before is not.
        expect(existsSync(fpm.script('access.log.1')), kind).toBe(true)
        expect(existsSync(fpm.script('access.log.2.gz'))).toBe(true)
        const first = execFileSync('gunzip', ['-c', fpm.script('access.log.2.gz')], { encoding: 'utf8' })
        expect(first.match(/GET \/hello\.php/g)?.length).toBe(3)
        expect(execFileSync('gunzip', ['-c', fpm.script('error.log.2.gz')], { encoding: 'utf8' })).toContain('ready to handle connections')
      }
    },
  )

  test.skipIf(!has('promtool'))('promtool says the same of both pages of metrics', async () => {
    const said = []
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      await fpm.ask('hello.php')
      const { head, body } = await ask(fpm.socket, { ...variables('', 'openmetrics'), SCRIPT_NAME: '/status' })
      expect(body).toMatch(/^phpfpm_up 1\n/m)
      const { status, stdout, stderr } = spawnSync(which('promtool')!, ['check', 'metrics'], { input: body, encoding: 'utf8' })
      said.push({ type: /^content-type:.*$/im.exec(head)?.[0].toLowerCase(), status, stdout, stderr })
    }
    expect(said[1]).toEqual(said[0])
    // It can be read; what promtool would rather have is php-fpm's way to name things.
    expect(said[1]!.stderr).not.toContain('error while linting')
  })

  test('readers of the status page find every field, with a value of its kind', async () => {
    const found = []
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool: POOL, scripts: SCRIPTS })
      await fpm.ask('hello.php')
      const text = (await ask(fpm.socket, { ...variables('', ''), SCRIPT_NAME: '/status' })).body
      const json = JSON.parse((await ask(fpm.socket, { ...variables('', 'json&full'), SCRIPT_NAME: '/status' })).body) as Fields
      found.push({ plugin: pluginReads(text), collector: collectorReads(text), exporter: exporterReads(json) })
    }
    expect(found[1]).toEqual(found[0])
    expect(found[1]!.exporter).toHaveLength(14 + 1 + 13)
  })

  test.skipIf(!isRoot || !has('perl') || !existsSync(UNIT))(
    "Debian's unit with its ExecStart changed starts, reloads and stops",
    async () => {
      for (const kind of kinds) {
        using folder = makeFolder()
        const unit = readFileSync(UNIT, 'utf8')
        expect(unit).toContain('Type=notify')
        const start = unit.replace(
          '/usr/sbin/php-fpm8.2 ',
          kind === 'php-fpm' ? `${which(REAL)} ` : `${process.execPath} ${process.env['VIADUCT_MAIN'] ?? MAIN} fpm `,
        )
        expect(start.split('\n').filter((each, at) => each !== unit.split('\n')[at]).length).toBe(kind === 'php-fpm' ? 0 : 1)
        debianFiles(folder.path)
        writeFileSync(join(folder.path, 'index.php'), '<?php echo "hello";')
        const notify = join(folder.path, 'notify')
        using manager = await listenForNotices(notify)
        // What systemd does with it: no shell, words at spaces, nothing of our environment.
        const [file, ...words] = line(start, 'ExecStart').replaceAll('/etc/php/8.2/fpm/', `${folder.path}/`).split(' ')
        const env = { PATH: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', NOTIFY_SOCKET: notify, INVOCATION_ID: '1' }
        const main = spawn(file!, words, { cwd: '/', env, stdio: ['ignore', 'ignore', 'ignore'] })
        const exited = new Promise<number | null>((resolve) => main.once('exit', resolve))
        try {
          await manager.heard('READY=1')
          const socket = join(folder.path, 'php8.2-fpm.sock')
          const params = variables(join(folder.path, 'index.php'))
          expect((await ask(socket, params)).body, kind).toBe('hello')
          expect(Number(readFileSync(join(folder.path, 'php8.2-fpm.pid'), 'utf8'))).toBe(main.pid)
          const reload = line(unit, 'ExecReload').replace('$MAINPID', String(main.pid)).split(' ')
          execFileSync(reload[0]!, reload.slice(1))
          // php-fpm says it only if its own clock comes by meanwhile.
          if (kind === 'viaduct') await manager.heard('RELOADING=1')
          const log = (): string => readFileSync(join(folder.path, 'php8.2-fpm.log'), 'utf8')
          await until('it is reloaded', () => (log().match(/ready to handle connections/g) ?? []).length === 2)
          expect((await ask(socket, params)).body).toBe('hello')
          expect(alive(main.pid!)).toBe(true)
          // KillSignal= is not set: SIGTERM.
          main.kill('SIGTERM')
          expect(await exited).toBe(0)
          if (kind === 'viaduct') await manager.heard('STOPPING=1')
          expect(log()).toContain('exiting, bye-bye!')
        } finally {
          main.kill('SIGKILL')
          await exited
        }
      }
    },
  )
})

type Fields = Readonly<Record<string, unknown>>

/** As check_phpfpm_status and its kin read the text: one expression for each number. */
function pluginReads(text: string): Fields {
  const number = (name: string): boolean => Number.isInteger(Number(new RegExp(`${name}:\\s*([0-9]+)`).exec(text)?.[1]))
  return {
    pool: /pool:\s*(\S+)/.exec(text)?.[1],
    manager: /process manager:\s*(\S+)/.exec(text)?.[1],
    start: /start time:\s*\d\d\/\w{3}\/\d{4}:\d\d:\d\d:\d\d [+-]\d{4}/.test(text),
    ...Object.fromEntries(
      ['idle processes', 'active processes', 'total processes', 'accepted conn', 'max active processes'].map((name) => [
        name,
        number(name),
      ]),
    ),
    ...Object.fromEntries(
      ['listen queue', 'max listen queue', 'listen queue len', 'max children reached', 'slow requests'].map((name) => [name, number(name)]),
    ),
  }
}

/** As collectors (Telegraf, collectd) read it: a name up to the first colon, and a value. */
function collectorReads(text: string): readonly string[] {
  return text
    .split('\n')
    .filter((each) => each.includes(':'))
    .map((each) => {
      const colon = each.indexOf(':')
      const value = each.slice(colon + 1).trim()
      return `${each.slice(0, colon)} ${/^\d+$/.test(value) ? 'number' : 'text'}`
    })
}

/** As the exporters read `?json&full`: into fields that have types. */
function exporterReads(json: Fields): readonly string[] {
  const processes = json['processes'] as readonly Fields[]
  const typed = (fields: Fields): string[] =>
    Object.entries(fields).map(([name, value]) => `${name} ${Array.isArray(value) ? 'list' : typeof value}`)
  return [...typed(json), ...typed(processes[0]!)]
}

function line(unit: string, name: string): string {
  return new RegExp(`^${name}=(.*)$`, 'm').exec(unit)![1]!
}

/** Debian's own configuration, in a folder. */
function debianFiles(folder: string): void {
  const moved = (text: string): string =>
    text.replaceAll('/etc/php/8.2/fpm/', `${folder}/`).replaceAll('/run/php/', `${folder}/`).replaceAll('/var/log/', `${folder}/`)
  mkdirSync(join(folder, 'pool.d'))
  writeFileSync(join(folder, 'php-fpm.conf'), moved(readFileSync('/etc/php/8.2/fpm/php-fpm.conf', 'utf8')))
  writeFileSync(join(folder, 'pool.d', 'www.conf'), moved(readFileSync('/etc/php/8.2/fpm/pool.d/www.conf', 'utf8')))
}
