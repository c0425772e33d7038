// From a command line to a configuration: files are read, checked as a whole, and each pool is; every line on the way goes to the host.

import type { FpmConfig, GlobalConfig, PoolConfig } from './types.ts'
import type { Invocation } from './invocation.ts'
import type { ConfigHost } from './host.ts'
import { systemError } from './host.ts'
import type { Draft } from './directives.ts'
import { POOL, draft } from './directives.ts'
import { CHECKER, checkPool, outOfNice } from './check.ts'
import { ConfigReader, Refused } from './read.ts'
import { STATE_FOLDER, fullPath } from './paths.ts'
import { accessFormatFault } from '../log/access-format.ts'
import { showConfig } from './show.ts'

export interface LoadOptions {
  readonly host: ConfigHost
  /** The file without `-y` and `-p`: `/etc/php/8.2/fpm/php-fpm.conf`. */
  readonly defaultFile: string
}

/** Least bytes of a line of the log. */
const LEAST_LIMIT = 512
const MECHANISMS = ['epoll', 'poll', 'select']

/** Reads and checks. undefined: refused, and the reasons are in the log but for the last line, which is `initializationFailed`. */
export function loadConfig(invocation: Invocation, { host, defaultFile }: LoadOptions): FpmConfig | undefined {
  const { prefix } = invocation
  if (isSet(prefix) && !host.isFolder(prefix)) {
    host.say({ level: 'error', from: MAIN, text: `the global prefix '${prefix}' does not exist or is not a directory` })
    return undefined
  }
  const file = isSet(invocation.config) ? invocation.config : isSet(prefix) ? `${prefix}/etc/php-fpm.conf` : defaultFile
  const reader = new ConfigReader(host, prefix)
  if (isSet(invocation.pid)) reader.sections.global.pid = invocation.pid
  try {
    reader.load(file)
  } catch (error) {
    if (!(error instanceof Refused)) throw error
    host.say({ level: 'error', from: MAIN, text: `failed to load configuration file '${file}'` })
    return undefined
  }
  const { global, pools } = reader.sections
  if (!checkGlobal(global, invocation, host) || !checkPools(global, pools, invocation, host)) {
    host.say({ level: 'error', from: MAIN, text: 'failed to post process the configuration' })
    return undefined
  }
  return { file, global: global as GlobalConfig, pools: pools as PoolConfig[] }
}

const MAIN = 'fpm_conf_init_main'
const POST = 'fpm_conf_post_process'

/** `-t` and `-tt`: what a configuration that was loaded is tested for, and shown as. False: refused. */
export function testConfig(config: FpmConfig, times: number, host: ConfigHost): boolean {
  for (const pool of config.pools) if (!checkNames(pool, host)) return false
  if (times > 1) for (const text of showConfig(config)) host.say({ level: 'notice', from: 'fpm_conf_dump', text })
  // With the line break that php-fpm has here.
  host.say({ level: 'notice', from: MAIN, text: `configuration file ${config.file} test is successful\n` })
  return true
}

/** The last line of whatever could not be started; the exit code is then `EXIT_CONFIG`. */
export function initializationFailed(host: ConfigHost): void {
  host.say({ level: 'error', from: 'fpm_init', text: 'FPM initialization failed' })
}

function checkGlobal(global: Draft<GlobalConfig>, invocation: Invocation, host: ConfigHost): boolean {
  const refuse = (text: string, from: string = POST): false => {
    host.say({ level: 'error', from, text })
    return false
  }
  const state = { prefixes: [invocation.prefix], fallback: STATE_FOLDER }
  if (global.pid !== undefined) global.pid = fullPath(global.pid, state)
  if (invocation.daemonize !== undefined) global.daemonize = invocation.daemonize
  if (global.logLimit < LEAST_LIMIT) return refuse(`log_limit must be greater than ${LEAST_LIMIT}`)
  if (global.processMax < 0) return refuse(`process_max can't be negative`)
  if (outOfNice(global.processPriority)) return refuse('process.priority must be included into [-19,20]')
  global.errorLog ??= 'log/php-fpm.log'
  systemd(global, host)
  global.syslogIdent ??= 'php-fpm'
  if (global.errorLog.toLowerCase() !== 'syslog') global.errorLog = fullPath(global.errorLog, state)
  try {
    host.openErrorLog(global as GlobalConfig)
  } catch (error) {
    return refuse(`failed to open error_log (${global.errorLog}): ${systemError(error)}`, 'fpm_stdio_open_error_log')
  }
  const mechanism = MECHANISMS.find((each) => each === (global.eventsMechanism ?? 'epoll').toLowerCase())
  if (mechanism === undefined)
    return refuse(`event mechanism '${global.eventsMechanism}' is not available on this system`, 'fpm_event_pre_init')
  global.eventsMechanism = mechanism
  return true
}

/** A watchdog wants twice as many reports as it waits for. */
function systemd(global: Draft<GlobalConfig>, host: ConfigHost): void {
  const watchdog = Number.parseInt(host.variable('WATCHDOG_USEC') ?? '', 10) || 0
  const interval = Math.trunc(watchdog / 2000)
  global.systemdWatchdog = interval > 1000
  if (global.systemdWatchdog) {
    const from = 'fpm_systemd_conf'
    if (global.systemdInterval > 0) host.say({ level: 'warning', from, text: 'systemd_interval option ignored' })
    // C's %.3g
    host.say({ level: 'notice', from, text: `systemd watchdog configured to ${Number((interval / 1000).toPrecision(3))}sec` })
    global.systemdInterval = interval / 1000
  } else if (global.systemdInterval < 0) global.systemdInterval = 10
  // php-fpm has milliseconds in 32 bits.
  else global.systemdInterval = Math.trunc(Math.imul(global.systemdInterval, 1000) / 1000)
}

function checkPools(global: Draft<GlobalConfig>, pools: Draft<PoolConfig>[], invocation: Invocation, host: ConfigHost): boolean {
  const refuse = (text: string, from: string = CHECKER): false => {
    host.say({ level: 'error', from, text })
    return false
  }
  if (pools.length === 0) return refuse('No pool defined. at least one pool section must be specified in config file')
  const common = { host, prefix: invocation.prefix, allowRoot: invocation.allowRoot, edgeTriggered: global.eventsMechanism === 'epoll' }
  // Status pools are added at the end while this goes on, and are checked in their turn.
  for (const pool of pools) {
    if (!checkPool({ pool, ...common })) return false
    if (pool.pmStatusListen !== undefined && pool.statusOf === undefined) pools.push(statusPool(pool))
  }
  for (const pool of pools) {
    const other = pools.find((each) => each !== pool && each.listen === pool.listen)
    if (other !== undefined) {
      return refuse(`[pool ${other.name}] unable to set listen address as it's already used in another pool '${pool.name}'`)
    }
  }
  for (const pool of pools) {
    if (pool.accessLog === undefined) continue
    try {
      host.touch(pool.accessLog)
    } catch (error) {
      return refuse(`failed to open access log (${pool.accessLog}): ${systemError(error)}`, 'fpm_log_open')
    }
  }
  for (const pool of pools) {
    if (!isSet(pool.accessLog)) continue
    const fault = accessFormatFault(pool.accessFormat!)
    if (fault === undefined) continue
    host.say({ level: 'warning', from: 'fpm_log_write', text: fault })
    return refuse(`[pool ${pool.name}] wrong format for access.format '${pool.accessFormat}'`, POST)
  }
  return true
}

/** The pool that listens at `pm.status_listen`: the same people may connect, and its two workers only tell. */
function statusPool(pool: Draft<PoolConfig>): Draft<PoolConfig> {
  return {
    ...draft(POOL),
    name: `${pool.name}_status`,
    statusOf: pool.name,
    listen: pool.pmStatusListen,
    listenAclGroups: pool.listenAclGroups,
    listenAclUsers: pool.listenAclUsers,
    listenAllowedClients: pool.listenAllowedClients,
    listenGroup: pool.listenGroup,
    listenOwner: pool.listenOwner,
    listenMode: pool.listenMode,
    user: pool.user,
    group: pool.group,
    pmStatusPath: pool.pmStatusPath,
    pm: 'ondemand',
    pmMaxChildren: 2,
    accessSuppressPath: [],
    env: [],
    phpValues: [],
    phpAdminValues: [],
  }
}

/** The names of users and groups must be known. The last two lines end as php-fpm's do, though nothing of the system failed. */
function checkNames(pool: PoolConfig, host: ConfigHost): boolean {
  const names = [
    [pool.user, 'uid for user', host.hasUser, ''],
    [pool.group, 'gid for group', host.hasGroup, ''],
    [pool.listenOwner, 'uid for user', host.hasUser, ': Success (0)'],
    [pool.listenGroup, 'gid for group', host.hasGroup, ': Success (0)'],
  ] as const
  for (const [name, what, has, end] of names) {
    if (name === undefined || /^\d*$/.test(name) || has(name)) continue
    host.say({ level: 'error', from: 'fpm_unix_test_config', text: `[pool ${pool.name}] cannot get ${what} '${name}'${end}` })
    return false
  }
  return true
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}
