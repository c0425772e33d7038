// Every directive of php-fpm 8.2, in the order in which `-tt` shows them: reading, defaults, showing and the documentation come from here.

import type { GlobalConfig, PoolConfig } from './types.ts'
import { bareTime, boolean, core, facility, integer, level, manager, priority, string, time } from './values.ts'
import type { Kind } from './values.ts'

/** A section while it is read: what must be set may still be missing. */
export type Draft<C> = { -readonly [K in keyof C]: C[K] extends string ? C[K] | undefined : C[K] }

export interface Directive<C> {
  readonly name: string
  readonly key: keyof C
  /** Its values are those of the member: `row` makes sure. */
  readonly kind: Kind<unknown>
  readonly initial: unknown
  /** For the documentation. */
  readonly about: string
}

type Row<C> = <K extends keyof C>(name: string, key: K, kind: Kind<Draft<C>[K]>, initial: Draft<C>[K], about: string) => Directive<C>

function row<C>(): Row<C> {
  // A kind is both reader and shower, so it is neither wider nor narrower than its values; the table is where it is checked.
  return (name, key, kind, initial, about) => ({ name, key, kind: kind as unknown as Kind<unknown>, initial, about })
}

const global = row<GlobalConfig>()

export const GLOBAL: readonly Directive<GlobalConfig>[] = [
  global('pid', 'pid', string, undefined, 'file of the process id'),
  global('error_log', 'errorLog', string, undefined, 'main log: a path or `syslog`; default `log/php-fpm.log`'),
  global('syslog.ident', 'syslogIdent', string, undefined, 'default `php-fpm`'),
  global('syslog.facility', 'syslogFacility', facility, 24, 'default `DAEMON`'),
  global('log_buffering', 'logBuffering', boolean, true, 'one write for each line of what workers say'),
  global('log_level', 'logLevel', level, undefined, 'default `notice`'),
  global('log_limit', 'logLimit', integer, 1024, 'bytes of a line, from 512'),
  global('emergency_restart_interval', 'emergencyRestartInterval', time, 0, 'the time in which workers that crash are counted'),
  global('emergency_restart_threshold', 'emergencyRestartThreshold', integer, 0, 'crashes in that time that restart everything; 0: never'),
  global('process_control_timeout', 'processControlTimeout', time, 0, 'how long workers have to obey a signal'),
  global('process.max', 'processMax', integer, 0, 'workers of all pools; 0: no limit'),
  global('process.priority', 'processPriority', priority, undefined, 'nice value of the master'),
  global('daemonize', 'daemonize', boolean, true, 'go to the background'),
  global('rlimit_files', 'rlimitFiles', integer, 0, 'open files of the master'),
  global('rlimit_core', 'rlimitCore', core, 0, 'core file of the master'),
  global('events.mechanism', 'eventsMechanism', string, undefined, 'epoll, poll or select'),
  global('systemd_interval', 'systemdInterval', time, -1, 'seconds between two reports to systemd; default 10'),
]

const pool = row<PoolConfig>()

export const POOL: readonly Directive<PoolConfig>[] = [
  pool('prefix', 'prefix', string, undefined, 'where its relative paths begin'),
  pool('user', 'user', string, undefined, 'user of its workers, needed when the master is root'),
  pool('group', 'group', string, undefined, 'default: the group of the user'),
  pool('listen', 'listen', string, undefined, '`ip:port`, `[v6]:port`, `port` or a path'),
  pool('listen.backlog', 'listenBacklog', integer, -1, 'connections that the system lets wait'),
  pool('listen.acl_users', 'listenAclUsers', string, undefined, 'users that may connect; owner and group are then ignored'),
  pool('listen.acl_groups', 'listenAclGroups', string, undefined, 'groups that may connect'),
  pool('listen.owner', 'listenOwner', string, undefined, 'owner of the socket'),
  pool('listen.group', 'listenGroup', string, undefined, 'group of the socket'),
  pool('listen.mode', 'listenMode', string, undefined, 'mode of the socket; default `0660`'),
  pool('listen.allowed_clients', 'listenAllowedClients', string, undefined, 'addresses that may connect over TCP'),
  pool('process.priority', 'processPriority', priority, undefined, 'nice value of the workers'),
  pool('process.dumpable', 'processDumpable', boolean, false, 'whether workers may be traced and dumped'),
  pool('pm', 'pm', manager, undefined, 'how the number of workers is decided'),
  pool('pm.max_children', 'pmMaxChildren', integer, 0, 'workers at most'),
  pool('pm.start_servers', 'pmStartServers', integer, 0, 'workers at the start (dynamic)'),
  pool('pm.min_spare_servers', 'pmMinSpareServers', integer, 0, 'idle workers at least (dynamic)'),
  pool('pm.max_spare_servers', 'pmMaxSpareServers', integer, 0, 'idle workers at most (dynamic)'),
  pool('pm.max_spawn_rate', 'pmMaxSpawnRate', integer, 32, 'workers started at once at most (dynamic)'),
  pool('pm.process_idle_timeout', 'pmProcessIdleTimeout', bareTime, 10, 'how long a worker may be idle (ondemand)'),
  pool('pm.max_requests', 'pmMaxRequests', integer, 0, 'requests of a worker before it is replaced; 0: no limit'),
  pool('pm.status_path', 'pmStatusPath', string, undefined, 'path of the status page'),
  pool('pm.status_listen', 'pmStatusListen', string, undefined, 'an address of its own for the status page'),
  pool('ping.path', 'pingPath', string, undefined, 'path of the ping'),
  pool('ping.response', 'pingResponse', string, undefined, 'default `pong`'),
  pool('access.log', 'accessLog', string, undefined, 'path of the access log'),
  pool('access.format', 'accessFormat', string, undefined, 'default `%R - %u %t "%m %r" %s`'),
  pool('slowlog', 'slowlog', string, undefined, 'path of the log of slow requests'),
  pool('request_slowlog_timeout', 'requestSlowlogTimeout', time, 0, 'when a request is slow'),
  pool('request_slowlog_trace_depth', 'requestSlowlogTraceDepth', integer, 0, 'frames of a trace; default 20'),
  pool('request_terminate_timeout', 'requestTerminateTimeout', time, 0, 'when a worker is killed'),
  pool(
    'request_terminate_timeout_track_finished',
    'requestTerminateTimeoutTrackFinished',
    boolean,
    false,
    'also after the response is over',
  ),
  pool('rlimit_files', 'rlimitFiles', integer, 0, 'open files of a worker'),
  pool('rlimit_core', 'rlimitCore', core, 0, 'core file of a worker'),
  pool('chroot', 'chroot', string, undefined, 'root of the workers'),
  pool('chdir', 'chdir', string, undefined, 'folder of the workers'),
  pool('catch_workers_output', 'catchWorkersOutput', boolean, false, 'what workers print goes to the main log'),
  pool('decorate_workers_output', 'decorateWorkersOutput', boolean, true, 'with the pool and the child before it'),
  pool('clear_env', 'clearEnv', boolean, true, 'workers get no environment but `env[...]`'),
  pool('security.limit_extensions', 'securityLimitExtensions', string, undefined, 'endings of what may be run; default `.php .phar`'),
  pool('apparmor_hat', 'apparmorHat', string, undefined, 'AppArmor hat of the workers'),
]

/** Not shown by `-tt`, as php-fpm does not. */
export const HIDDEN: ReadonlySet<string> = new Set(['apparmor_hat'])

/** Directives with a key in brackets. */
export interface ArrayDirective {
  readonly name: string
  readonly key: 'accessSuppressPath' | 'env' | 'phpValues' | 'phpAdminValues'
  /** A flag is shown and passed on as `1` or `0`. */
  readonly flag: boolean
  readonly about: string
}

export const ARRAYS: readonly ArrayDirective[] = [
  { name: 'access.suppress_path', key: 'accessSuppressPath', flag: false, about: 'paths whose requests are not logged' },
  { name: 'env', key: 'env', flag: false, about: 'environment of the workers; `$NAME` is taken from the master' },
  { name: 'php_value', key: 'phpValues', flag: false, about: 'a php.ini setting that scripts may change' },
  { name: 'php_flag', key: 'phpValues', flag: true, about: 'the same, yes or no' },
  { name: 'php_admin_value', key: 'phpAdminValues', flag: false, about: 'a php.ini setting that scripts cannot change' },
  { name: 'php_admin_flag', key: 'phpAdminValues', flag: true, about: 'the same, yes or no' },
]

/** A section with nothing set. */
export function draft<C>(directives: readonly Directive<C>[]): Draft<C> {
  return Object.fromEntries(directives.map(({ key, initial }) => [key, initial])) as Draft<C>
}
