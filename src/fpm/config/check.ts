// What the values of a pool mean together: php-fpm's checks, in its order and with its words. Each is a function of what is set and of what
// the host can see; the first fault ends it.

import type { LogLevel, PoolConfig } from './types.ts'
import type { Draft } from './directives.ts'
import type { ConfigHost } from './host.ts'
import { systemError } from './host.ts'
import { fullPath } from './paths.ts'
import { isNetworkAddress } from './listen.ts'

/** What a check looks at, and changes: it fills in what is not set. */
export interface PoolCheck {
  readonly pool: Draft<PoolConfig>
  readonly host: ConfigHost
  /** `-p` */
  readonly prefix: string | undefined
  /** `-R` */
  readonly allowRoot: boolean
  /** Of the three known, only epoll tells each new connection once. */
  readonly edgeTriggered: boolean
}

interface Fault {
  readonly level: LogLevel
  readonly text: string
}

/** A fault that is the pool's is said with its name. */
const error = ({ pool }: PoolCheck, text: string): Fault => ({ level: 'error', text: `[pool ${pool.name}] ${text}` })
const alert = ({ pool }: PoolCheck, text: string): Fault => ({ level: 'alert', text: `[pool ${pool.name}] ${text}` })

type Check = (context: PoolCheck) => Fault | undefined

const prefix: Check = (context) => {
  const { pool, host } = context
  if (isSet(pool.prefix)) {
    pool.prefix = fullPath(pool.prefix, { prefixes: [context.prefix] })
    if (!host.isFolder(pool.prefix)) return error(context, `the prefix '${pool.prefix}' does not exist or is not a directory`)
  }
  return undefined
}

const user: Check = (context) =>
  context.pool.user === undefined && context.host.root && !context.allowRoot ? alert(context, 'user has not been defined') : undefined

const listen: Check = (context) => {
  const { pool } = context
  if (!isSet(pool.listen)) return alert(context, 'no listen address have been defined!')
  if (!isNetworkAddress(pool.listen)) pool.listen = complete(context, pool.listen)
  return undefined
}

const priority: Check = (context) =>
  outOfNice(context.pool.processPriority) ? error(context, 'process.priority must be included into [-19,20]') : undefined

/** Whether a nice value is none. */
export function outOfNice(value: number | undefined): boolean {
  return value !== undefined && (value < -19 || value > 20)
}

const manager: Check = (context) => {
  const { pool } = context
  if (pool.pm === undefined) return alert(context, 'the process manager is missing (static, dynamic or ondemand)')
  if (pool.pmMaxChildren < 1) return alert(context, 'pm.max_children must be a positive value')
  if (pool.pm === 'dynamic') return dynamic(context)
  return pool.pm === 'ondemand' ? ondemand(context) : undefined
}

function dynamic(context: PoolCheck): Fault | undefined {
  const { pool, host } = context
  const { pmMinSpareServers: min, pmMaxSpareServers: max, pmMaxChildren: children } = pool
  if (min <= 0) return alert(context, `pm.min_spare_servers(${min}) must be a positive value`)
  if (max <= 0) return alert(context, `pm.max_spare_servers(${max}) must be a positive value`)
  if (min > children || max > children) {
    return alert(
      context,
      `pm.min_spare_servers(${min}) and pm.max_spare_servers(${max}) cannot be greater than pm.max_children(${children})`,
    )
  }
  if (max < min) return alert(context, `pm.max_spare_servers(${max}) must not be less than pm.min_spare_servers(${min})`)
  const start = pool.pmStartServers
  if (start <= 0) {
    pool.pmStartServers = min + Math.trunc((max - min) / 2)
    const text = `[pool ${pool.name}] pm.start_servers is not set. It's been set to ${pool.pmStartServers}.`
    host.say({ level: 'notice', from: CHECKER, text })
  } else if (start < min || start > max) {
    return alert(
      context,
      `pm.start_servers(${start}) must not be less than pm.min_spare_servers(${min}) and not greater than pm.max_spare_servers(${max})`,
    )
  }
  return pool.pmMaxSpawnRate < 1 ? alert(context, 'pm.max_spawn_rate must be a positive value') : undefined
}

/** The least that ondemand takes, and what -1 means to it: as many as the system has. */
const BACKLOG = -1

function ondemand(context: PoolCheck): Fault | undefined {
  const { pool, host } = context
  if (!context.edgeTriggered) {
    return alert(context, 'ondemand process manager can ONLY be used when events.mechanism is either epoll (Linux) or kqueue (*BSD).')
  }
  if (pool.pmProcessIdleTimeout < 1) return alert(context, `pm.process_idle_timeout(${pool.pmProcessIdleTimeout}s) must be greater than 0s`)
  if (pool.listenBacklog < BACKLOG) {
    const text = `[pool ${pool.name}] listen.backlog(${pool.listenBacklog}) was too low for the ondemand process manager. I updated it for you to ${BACKLOG}.`
    host.say({ level: 'warning', from: CHECKER, text })
    pool.listenBacklog = BACKLOG
  }
  pool.pmStartServers = 0
  pool.pmMinSpareServers = 0
  pool.pmMaxSpareServers = 0
  return undefined
}

const pages: Check = (context) => {
  const { pool } = context
  if (pool.pmStatusListen !== undefined) pool.pmStatusPath ??= '/'
  if (isSet(pool.pmStatusPath)) {
    // On an address of its own the page may be the root.
    const shortest = pool.pmStatusListen !== undefined || pool.statusOf !== undefined ? 1 : 2
    const fault = page(context, 'status', pool.pmStatusPath, shortest)
    if (fault !== undefined) return fault
  }
  if (!isSet(pool.pingPath)) {
    pool.pingResponse = undefined
    return undefined
  }
  const fault = page(context, 'ping', pool.pingPath, 2)
  if (fault !== undefined) return fault
  pool.pingResponse ??= 'pong'
  return pool.pingResponse === '' ? error(context, `the ping response page '' is not long enough`) : undefined
}

function page(context: PoolCheck, what: 'status' | 'ping', path: string, shortest: number): Fault | undefined {
  if (!path.startsWith('/')) return error(context, `the ${what} path '${path}' must start with a '/'`)
  if (path.length < shortest) return error(context, `the ${what} path '${path}' is not long enough`)
  if (/^[A-Za-z0-9/_.~-]*$/.test(path)) return undefined
  return error(context, `the ${what} path '${path}' must contain only the following characters '[alphanum]/_-.~'`)
}

export const DEFAULT_FORMAT = '%R - %u %t "%m %r" %s'

const logs: Check = (context) => {
  const { pool, host } = context
  if (isSet(pool.accessLog)) {
    pool.accessLog = complete(context, pool.accessLog)
    pool.accessFormat ??= DEFAULT_FORMAT
  }
  if (isSet(pool.slowlog)) pool.slowlog = complete(context, pool.slowlog)
  const { requestSlowlogTimeout: slow, requestTerminateTimeout: end, requestSlowlogTraceDepth: depth } = pool
  if (slow !== 0) {
    if (!isSet(pool.slowlog)) return error(context, `'slowlog' must be specified for use with 'request_slowlog_timeout'`)
    try {
      host.touch(pool.slowlog)
    } catch (problem) {
      return { level: 'error', text: `Unable to create or open slowlog(${pool.slowlog}): ${systemError(problem)}` }
    }
    if (end !== 0 && slow > end) {
      return error(context, `'request_slowlog_timeout' (${slow}) can't be greater than 'request_terminate_timeout' (${end})`)
    }
  }
  if (depth === 0) pool.requestSlowlogTraceDepth = 20
  else if (!isSet(pool.slowlog)) return error(context, `'slowlog' must be specified for use with 'request_slowlog_trace_depth'`)
  else if (depth < 0) return error(context, `'request_slowlog_trace_depth' (${depth}) must be a positive value`)
  return undefined
}

const roots: Check = (context) => {
  const { pool, host } = context
  if (isSet(pool.chroot)) {
    const root = expandPrefix(context, pool.chroot)
    if (root !== undefined) pool.chroot = root
    else host.say({ level: 'error', from: 'fpm_evaluate_full_path', text: `'$prefix' must be use at the beginning of the value` })
    if (!pool.chroot.startsWith('/')) return error(context, `the chroot path '${pool.chroot}' must start with a '/'`)
    if (!host.isFolder(pool.chroot)) return error(context, `the chroot path '${pool.chroot}' does not exist or is not a directory`)
  }
  if (!isSet(pool.chdir)) return undefined
  pool.chdir = complete(context, pool.chdir)
  if (pool.chroot === undefined) {
    return host.isFolder(pool.chdir) ? undefined : error(context, `the chdir path '${pool.chdir}' does not exist or is not a directory`)
  }
  const whole = `${pool.chroot}/${pool.chdir}`
  if (host.isFolder(whole)) return undefined
  return error(
    context,
    `the chdir path '${pool.chdir}' within the chroot path '${pool.chroot}' ('${whole}') does not exist or is not a directory`,
  )
}

/** Of all directives only chroot knows `$prefix`; undefined when it is not at its beginning. */
function expandPrefix(context: PoolCheck, path: string): string | undefined {
  if (path.startsWith('/')) return path
  const at = path.indexOf('$prefix')
  if (at > 0) return undefined
  if (at < 0) return complete(context, path)
  const rest = path.slice('$prefix'.length)
  // As it is written, with its own slash: `/usr//lib`.
  const whole = fullPath('x', { prefixes: [context.pool.prefix, context.prefix] }).slice(0, -2)
  return rest === '' ? whole : `${whole}/${rest}`
}

/** Settings of PHP whose values are paths. */
const PATH_SETTINGS: ReadonlySet<string> = new Set([
  'error_log',
  'extension_dir',
  'mime_magic.magicfile',
  'sendmail_path',
  'session.cookie_path',
  'session_pgsql.sem_file_name',
  'soap.wsdl_cache_dir',
  'uploadprogress.file.filename_template',
  'xdebug.output_dir',
  'xdebug.profiler_output_dir',
  'xdebug.trace_output_dir',
  'xmms.path',
  'axis2.client_home',
  'blenc.key_file',
  'coin_acceptor.device',
])

const isPath = (name: string): boolean => PATH_SETTINGS.has(name.toLowerCase())

const settings: Check = (context) => {
  const { pool } = context
  pool.securityLimitExtensions ??= '.php .phar'
  if (pool.chroot !== undefined) return undefined
  pool.phpValues = pool.phpValues.map(([name, value]) => [name, isPath(name) ? complete(context, value) : value])
  pool.phpAdminValues = pool.phpAdminValues.map(([name, value]) => {
    const log = name.toLowerCase() === 'error_log' && value.toLowerCase() === 'syslog'
    return [name, isPath(name) && !log ? complete(context, value) : value]
  })
  return undefined
}

const CHECKS: readonly Check[] = [prefix, user, listen, priority, manager, pages, logs, roots, settings]
export const CHECKER = 'fpm_conf_process_all_pools'

/** Checks one pool and fills in what it leaves out. The first fault has been said when this is false. */
export function checkPool(context: PoolCheck): boolean {
  for (const check of CHECKS) {
    const fault = check(context)
    if (fault === undefined) continue
    context.host.say({ ...fault, from: CHECKER })
    return false
  }
  return true
}

function complete({ pool, prefix: global }: PoolCheck, path: string): string {
  return fullPath(path, { prefixes: [pool.prefix, global] })
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}
