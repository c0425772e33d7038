// What a pool's env[], php_value[] and php_admin_value[] are to its scripts, whatever they hold: beside php-fpm.

import { execFile, spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { MAIN, alive } from '../cli/program.ts'
import { has, which } from '../peers.ts'
import { Fpm, REAL } from './engine.ts'
import type { Kind } from './engine.ts'
import { poll } from './php-fpm.ts'

const kinds: Kind[] = ['php-fpm', 'viaduct']

function command(kind: Kind, words: readonly string[]): { program: string; args: string[] } {
  if (kind === 'php-fpm') return { program: which(REAL)!, args: [...words] }
  return { program: process.execPath, args: [process.env['VIADUCT_MAIN'] ?? MAIN, 'fpm', ...words] }
}

const SETTINGS: readonly (readonly [name: string, written: string])[] = [
  ['user_agent', '"a;b c=d"'],
  ['from', `"a \\"q\\" 'x' \\\\ $y \${HOME}"`],
  ['date.timezone', 'Europe/Berlin'],
  ['include_path', '".:/usr/share/php"'],
  ['arg_separator.output', '"&amp;"'],
  ['unserialize_callback_func', '"yes"'],
  ['highlight.string', '"#ab(c)|!~"'],
  ['highlight.html', '"none"'],
  ['highlight.keyword', '""'],
  ['error_reporting', 'E_ALL & ~E_NOTICE'],
  ['default_charset', 'x$pool-$pool'],
  ['error_prepend_string', '" <é> "'],
]

describe.skipIf(!has('php-cgi', REAL))('beside php-fpm', () => {
  test.each(['php_value', 'php_admin_value'])('%s is to scripts what was written, and of two the first', async (directive) => {
    const script = `<?php echo json_encode(array_map('ini_get', ${JSON.stringify(SETTINGS.map(([name]) => name))}));`
    const lines = [...SETTINGS, ['from', 'another'] as const].map(([name, written]) => `${directive}[${name}] = ${written}`)
    const told: string[] = []
    for (const kind of kinds) {
      const pool = `pm = static\npm.max_children = 1\n${lines.join('\n')}`
      await using fpm = await Fpm.start(kind, { pool, scripts: { 'ini.php': script }, words: ['-n'] })
      told.push((await fpm.ask('ini.php')).body)
    }
    expect(told[1]).toBe(told[0])
    expect(told[0]).toContain('a;b c=d')
  })

  test('env[] is to scripts what was written, and of two the first', async () => {
    const pool = 'pm = static\npm.max_children = 1\nenv[A] = 1\nenv[A] = 2\nenv[B] = $ONE\nenv[C] = $NONE\nenv[D] = "x;y $ONE"\nenv[E] = $'
    const script = `<?php echo json_encode(array_map('getenv', ['A', 'B', 'C', 'D', 'E', 'ONE']));`
    const told: string[] = []
    for (const kind of kinds) {
      await using fpm = await Fpm.start(kind, { pool, scripts: { 'env.php': script }, env: { ONE: 'one' } })
      told.push((await fpm.ask('env.php')).body)
    }
    expect(told[1]).toBe(told[0])
  })

  test('a daemon has the same lines in its log, each once', async () => {
    const logs: string[][] = []
    for (const kind of kinds) {
      const folder = mkdtempSync(join(tmpdir(), 'fpm-'))
      const file = (name: string): string => join(folder, name)
      const [global, pool] = [
        `pid = ${file('pid')}\nerror_log = ${file('log')}\nprocess.max = 5`,
        `user = nobody\nlisten = ${file('s')}\npm = dynamic\npm.max_children = 2\npm.min_spare_servers = 1\npm.max_spare_servers = 2`,
      ]
      writeFileSync(file('conf'), `[global]\n${global}\n[www]\n${pool}\n`)
      const words = ['-n', '-y', file('conf')]
      const { program, args } = command(kind, words)
      await promisify(execFile)(program, args, { timeout: 20_000 })
      const log = (): string => readFileSync(file('log'), 'utf8')
      const pid = Number(readFileSync(file('pid'), 'utf8'))
      try {
        await poll(() => log().includes('systemd monitor'))
        process.kill(pid, 'SIGTERM')
        await poll(() => !alive(pid))
      } finally {
        // php-fpm would leave its children behind, were it killed.
        if (alive(pid)) process.kill(pid, 'SIGTERM')
      }
      logs.push(
        log()
          .replaceAll(/^\[[^\]]*\]/gm, '')
          .replaceAll(String(pid), 'PID')
          .split('\n'),
      )
      rmSync(folder, { recursive: true, force: true })
    }
    expect(logs[1]).toEqual(logs[0])
  })

  test.each([
    ['an address that cannot be', 'user = nobody\nlisten = /nope/s'],
    ['a user that it may not have', 'user = root\nlisten = FOLDER/s'],
    ['a directive that there is not', 'user = nobody\nlisten = FOLDER/s\nfoo = 3'],
  ])('a daemon that cannot start, for %s, says the same to who started it and in its log', async (_, lines) => {
    const told: object[] = []
    for (const kind of kinds) {
      const folder = mkdtempSync(join(tmpdir(), 'fpm-'))
      const pool = lines.replace('FOLDER', folder)
      writeFileSync(join(folder, 'conf'), `[global]\nerror_log = ${folder}/log\n[www]\n${pool}\npm = static\npm.max_children = 1\n`)
      const { program, args } = command(kind, ['-n', '-y', join(folder, 'conf')])
      const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', timeout: 20_000 })
      const same = (text: string): string => text.replaceAll(/^\[[^\]]*\] /gm, '').replaceAll(folder, 'FOLDER')
      const log = existsSync(join(folder, 'log')) ? same(readFileSync(join(folder, 'log'), 'utf8')) : undefined
      told.push({ status, stdout, stderr: same(stderr), log })
      rmSync(folder, { recursive: true, force: true })
    }
    expect(told[1]).toEqual(told[0])
  })
})
