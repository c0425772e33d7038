import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { has } from '../../../test/peers.ts'
import type { GlobalConfig, LogLevel } from '../config/types.ts'
import { isLogged, logLine, slowEntry } from './lines.ts'
import { MainLog, usesErrorLog } from './main-log.ts'
import { openSyslog } from './syslog.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'log-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const texts = (content: string): string[] => [...content.matchAll(/: (\w+)\n/g)].map(([, text]) => text!)
const time = new Date(2026, 10, 22, 15, 0, 0).getTime() + 0.123
const config = (errorLog: string, logLevel?: LogLevel): GlobalConfig =>
  ({ errorLog, logLevel, logLimit: 1024, syslogIdent: 'php-fpm', syslogFacility: 24 }) as GlobalConfig

describe('a line', () => {
  test.each<[LogLevel, LogLevel, string]>([
    ['notice', 'notice', '[22-Nov-2026 15:00:00] NOTICE: text\n'],
    ['warning', 'error', '[22-Nov-2026 15:00:00] WARNING: text\n'],
    ['alert', 'debug', '[22-Nov-2026 15:00:00.000123] ALERT: pid 5, here(), line 0: text\n'],
  ])('of level %s in a log at %s', (level, at, line) => {
    expect(logLine({ level, from: 'here', text: 'text' }, 1024, { level: at, time, pid: 5 })).toBe(line)
  })

  test('for syslog has no time', () => {
    const message = { level: 'error', from: 'here', text: 'text' } as const
    expect(logLine(message, 1024, { level: 'notice', time, pid: 5, syslog: true })).toBe('[ERROR] text\n')
    expect(logLine(message, 1024, { level: 'debug', time, pid: 5, syslog: true })).toBe('[ERROR] here(), line 0: text\n')
  })

  test.each([
    [2015, 2047],
    [2016, 2048],
    [2017, 1024],
    [5000, 1024],
  ])('of %i bytes of text has %i with its end', (length, expected) => {
    const line = logLine({ level: 'notice', from: '', text: 'x'.repeat(length) }, 1024, { level: 'notice', time, pid: 5 })
    expect(line.length).toBe(expected)
    expect(line.endsWith(expected === 1024 ? 'x...\n' : 'x\n')).toBe(true)
  })

  test('is one line, whatever a client asked for (CVE-2024-9026)', () => {
    const text = 'request: "GET /a\n[22-Nov-2026 15:00:00] NOTICE: forged\r\x1b[2J"'
    expect(logLine({ level: 'warning', from: '', text }, 1024, { level: 'notice', time, pid: 5 })).toBe(
      '[22-Nov-2026 15:00:00] WARNING: request: "GET /a\\x0a[22-Nov-2026 15:00:00] NOTICE: forged\\x0d\\x1b[2J"\n',
    )
  })

  test('is written when it is important enough', () => {
    const levels = ['debug', 'notice', 'warning', 'error', 'alert'] as const
    expect(levels.filter((level) => isLogged(level, 'warning'))).toEqual(['warning', 'error', 'alert'])
  })
})

test('an entry of the slow log without frames is its head', () => {
  const entry = { time, level: 'notice', pool: 'www', pid: 7, script: '/x.php', frames: [] } as const
  expect(slowEntry(entry)).toBe('\n[22-Nov-2026 15:00:00]  [pool www] pid 7\nscript_filename = /x.php\n')
})

describe('the log', () => {
  test('is on standard error, then also in its file, then only there; and follows what logrotate does', () => {
    let stderr = ''
    const path = join(folder, 'main.log')
    const log = new MainLog((text) => (stderr += String(text)))
    const say = (text: string, level: LogLevel = 'notice'): void => log.say({ level, from: 'x', text })
    say('first')
    log.configure(config(path), true)
    say('second')
    say('quiet', 'debug')
    log.launched()
    say('third')
    log.write('raw: said\n')
    renameSync(path, `${path}.1`)
    say('fourth')
    log.reopen()
    say('fifth')
    log.close()
    expect(texts(stderr)).toEqual(['first', 'second'])
    expect(texts(readFileSync(`${path}.1`, 'utf8'))).toEqual(['second', 'third', 'said', 'fourth'])
    expect(texts(readFileSync(path, 'utf8'))).toEqual(['fifth'])
  })

  test('goes to another file after a reload, and stays where it was when that cannot be', () => {
    const [one, two] = [join(folder, 'one.log'), join(folder, 'two.log')]
    const log = new MainLog(() => {})
    log.configure(config(one, 'debug'), true)
    expect(() => log.configure(config(join(folder, 'none/x.log')), true)).toThrow('ENOENT')
    log.say({ level: 'debug', from: 'x', text: 'first' })
    log.configure(config(two), true)
    log.say({ level: 'debug', from: 'x', text: 'quiet' })
    log.say({ level: 'notice', from: 'x', text: 'second' })
    log.close()
    expect([texts(readFileSync(one, 'utf8')), texts(readFileSync(two, 'utf8'))]).toEqual([['first'], ['second']])
  })

  test('of somebody who looks at the foreground is standard error, and its file is made', () => {
    let stderr = ''
    const path = join(folder, 'unused.log')
    const log = new MainLog((text) => (stderr += String(text)))
    log.configure(config(path, 'error'), false)
    log.launched()
    log.say({ level: 'error', from: 'x', text: 'here' })
    log.say({ level: 'warning', from: 'x', text: 'not here' })
    log.close()
    expect(stderr).toMatch(/\] ERROR: here\n$/)
    expect(existsSync(path)).toBe(true)
  })

  test.each([
    [true, true, true, true],
    [true, false, false, true],
    [false, true, false, false],
    [false, false, false, true],
    [false, false, true, false],
  ])('of daemonize %s, a terminal %s and -O %s is used: %s', (daemonize, terminal, forceStderr, used) => {
    expect(usesErrorLog({ daemonize, terminal, forceStderr })).toBe(used)
  })
})

describe.skipIf(!has('logger', 'python3'))('syslog', () => {
  test('gets whole lines with our name, our process and the priority of the log', async () => {
    const socket = join(folder, 'dev-log')
    const script = `import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.bind(${JSON.stringify(socket)})\nprint('bound', flush=True)\nfor _ in range(2): print(s.recv(4096).decode(), flush=True)`
    const listener = spawn('python3', ['-c', script], { stdio: ['ignore', 'pipe', 'ignore'] })
    try {
      const lines = createInterface(listener.stdout)[Symbol.asyncIterator]()
      expect((await lines.next()).value).toBe('bound')
      const syslog = openSyslog({ ident: 'php-fpm', facility: 128, level: 'warning', pid: 4242, socket })
      syslog.write('[WARNING] one\n[WARNING] two\n')
      syslog.close()
      let text = ''
      while (!text.includes('two')) text += `${(await lines.next()).value}\n`
      // 16 * 8 + 4: local0.warning.
      expect(text.match(/^<132>/gm)).toHaveLength(2)
      expect(text).toMatch(/php-fpm\[4242\]: \[WARNING\] one\n/)
    } finally {
      listener.kill('SIGKILL')
      await once(listener, 'close')
    }
  })
})

test('an entry of the slow log names a script in one line (CVE-2024-9026)', () => {
  const entry = { time, level: 'notice', pool: 'www', pid: 7, script: '/a\n\n[22-Nov-2026 15:00:00]  [pool x] pid 1', frames: [] } as const
  expect(slowEntry(entry).split('\n')[2]).toBe('script_filename = /a\\x0a\\x0a[22-Nov-2026 15:00:00]  [pool x] pid 1')
})
