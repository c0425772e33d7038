import { describe, expect, test } from 'vitest'
import type { ConfigHost } from './host.ts'
import type { Invocation } from './invocation.ts'
import { initializationFailed, loadConfig, testConfig } from './load.ts'
import { checkStart } from './start.ts'
import type { FpmConfig } from './types.ts'
import { parseCommandLine } from '../options.ts'

/** A machine made of text: its files, and what is said on it. */
class Machine implements ConfigHost {
  root = true
  readonly said: string[] = []
  readonly #files: Readonly<Record<string, string>>
  readonly #variables: Readonly<Record<string, string>>

  constructor(files: Readonly<Record<string, string>>, variables: Readonly<Record<string, string>> = {}) {
    this.#files = files
    this.#variables = variables
  }

  read(path: string): string {
    const text = this.#files[path]
    if (text === undefined) throw Object.assign(new Error(path), { code: 'ENOENT', errno: -2 })
    return text
  }
  glob(pattern: string): readonly string[] | 'nothing' {
    const found = Object.keys(this.#files).filter((path) => path.startsWith(pattern.replace('*', '')))
    return found.length === 0 ? 'nothing' : found
  }
  isFolder = (path: string): boolean => path.endsWith('folder')
  touch(path: string): void {
    this.said.push(`touch ${path}`)
  }
  variable = (name: string): string | undefined => this.#variables[name]
  hasUser = (name: string): boolean => name === 'user'
  hasGroup = (name: string): boolean => name === 'group'
  openErrorLog = ({ errorLog }: { errorLog: string }): void => void this.said.push(`log ${errorLog}`)
  say = ({ level, text }: { level: string; text: string }): void => void this.said.push(`${level}: ${text}`)
  print = (text: string): void => void this.said.push(text)
}

const POOL = '[www]\nuser=user\nlisten=/s\npm=static\npm.max_children=1\n'
const load = (machine: Machine, words: string[] = []): FpmConfig | undefined => {
  const invocation: Invocation = parseCommandLine(words)
  return loadConfig(invocation, { host: machine, defaultFile: '/etc/fpm.conf' })
}

describe('a configuration', () => {
  test('has every default', () => {
    const machine = new Machine({ '/etc/fpm.conf': POOL })
    const { file, global, pools } = load(machine)!
    expect(file).toBe('/etc/fpm.conf')
    expect(global).toMatchObject({
      pid: undefined,
      errorLog: '/var/log/php-fpm.log',
      syslogIdent: 'php-fpm',
      syslogFacility: 24,
      logLevel: undefined,
      logLimit: 1024,
      logBuffering: true,
      daemonize: true,
      eventsMechanism: 'epoll',
      systemdInterval: 10,
      systemdWatchdog: false,
      rlimitCore: 0,
    })
    expect(pools).toHaveLength(1)
    expect(pools[0]).toMatchObject({
      name: 'www',
      pm: 'static',
      pmMaxSpawnRate: 32,
      pmProcessIdleTimeout: 10,
      listenBacklog: -1,
      requestSlowlogTraceDepth: 20,
      securityLimitExtensions: '.php .phar',
      clearEnv: true,
      decorateWorkersOutput: true,
      statusOf: undefined,
      env: [],
    })
    expect(machine.said).toEqual(['log /var/log/php-fpm.log'])
  })

  test('has times in seconds, paths whole and lists in their order', () => {
    const lines =
      'request_terminate_timeout=2m\nslowlog=s.log\nenv[A]=$pool\nenv[B]=${X}\nphp_flag[c]=on\nphp_admin_value[d]=e\nrlimit_core=unlimited\n'
    const { pools } = load(new Machine({ '/etc/fpm.conf': POOL + lines }, { X: 'y' }), ['-p', '/a/folder', '-y', '/etc/fpm.conf'])!
    expect(pools[0]).toMatchObject({
      requestTerminateTimeout: 120,
      slowlog: '/a/folder/s.log',
      env: [
        ['A', 'www'],
        ['B', 'y'],
      ],
      phpValues: [['c', '1']],
      phpAdminValues: [['d', 'e']],
      rlimitCore: 'unlimited',
    })
  })

  test('has a pool for pm.status_listen, which is like the other in who may connect, and is not shown', () => {
    const machine = new Machine({ '/etc/fpm.conf': `${POOL}pm.status_listen=9001\nlisten.mode=0600\nlisten.allowed_clients=::1\n` })
    const config = load(machine)!
    expect(config.pools.map(({ name, statusOf }) => [name, statusOf])).toEqual([
      ['www', undefined],
      ['www_status', 'www'],
    ])
    const status = {
      listen: '9001',
      listenMode: '0600',
      listenAllowedClients: '::1',
      pm: 'ondemand',
      pmMaxChildren: 2,
      pmStatusPath: '/',
      user: 'user',
    }
    expect(config.pools[1]).toMatchObject(status)
    expect(testConfig(config, 2, machine)).toBe(true)
    expect(machine.said).not.toContain('notice: [www_status]')
    expect(machine.said).toContain('notice: [www]')
  })

  test('of a watchdog reports twice as often', () => {
    const { global } = load(new Machine({ '/etc/fpm.conf': POOL }, { WATCHDOG_USEC: '3500000' }))!
    expect(global).toMatchObject({ systemdWatchdog: true, systemdInterval: 1.75 })
  })

  test('that is refused says where, and what came of it', () => {
    const machine = new Machine({ '/etc/fpm.conf': 'include=/etc/pool.d/*\n', '/etc/pool.d/a': '[a]\n\nfoo=1\n' })
    expect(load(machine)).toBeUndefined()
    initializationFailed(machine)
    expect(machine.said).toEqual([
      `error: [/etc/pool.d/a:3] unknown entry 'foo'`,
      'error: Unable to include /etc/pool.d/a from /etc/fpm.conf at line 1',
      `error: failed to load configuration file '/etc/fpm.conf'`,
      'error: FPM initialization failed',
    ])
  })

  // php-fpm counts on from the included file.
  test('has the right line also after an include', () => {
    const machine = new Machine({ '/etc/fpm.conf': 'include=/etc/more\nfoo=1\n', '/etc/more': '\n\n\n\n\n' })
    expect(load(machine)).toBeUndefined()
    expect(machine.said[0]).toBe(`error: [/etc/fpm.conf:2] unknown entry 'foo'`)
  })

  test('that has a name in it twice does not go round for ever', () => {
    const { pools } = load(new Machine({ '/etc/fpm.conf': POOL.replace('www', 'a$poolb') + 'slowlog=/$pool\n' }))!
    expect(pools[0]!.slowlog).toBe('/a$poolb')
  })
})

const ignored = (subject: string): string => `notice: ${subject} directive is ignored when FPM is not running as root`

test('what only root can do is said to be ignored, at the start', () => {
  const machine = new Machine({ '/etc/fpm.conf': `process.priority=3\n${POOL}group=group\nchroot=/a/folder\nprocess.priority=5\n` })
  machine.root = false
  const config = load(machine)!
  machine.said.length = 0
  expect(checkStart(config, machine, false)).toBe(true)
  expect(machine.said).toEqual([
    ignored(`'process.priority'`),
    ignored(`[pool www] 'user'`),
    ignored(`[pool www] 'group'`),
    ignored(`[pool www] 'chroot'`),
    ignored(`[pool www] 'process.priority'`),
  ])
})
