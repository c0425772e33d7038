// What a loaded php-fpm configuration is, as plain data: paths are complete, defaults are filled in, and what php-fpm refuses is refused.
//
// A member has its directive's name in camel case: `pm.max_children` is `pmMaxChildren`. Times are whole seconds, as php-fpm has them.
// A string that is not set is undefined; one that was set to nothing is '' and mostly means the same.

export type ProcessManager = 'static' | 'dynamic' | 'ondemand'

/** From the least to the most important. */
export type LogLevel = 'debug' | 'notice' | 'warning' | 'error' | 'alert'

/** `unlimited` is php-fpm's -1. */
export type CoreLimit = number | 'unlimited'

/** A name and its value. */
export type Pair = readonly [name: string, value: string]

/** `[global]`. */
export interface GlobalConfig {
  readonly pid: string | undefined
  /** A complete path, or `syslog`. */
  readonly errorLog: string
  readonly syslogIdent: string
  /** The number syslog(3) has for it, shifted as in `LOG_DAEMON`: 24. */
  readonly syslogFacility: number
  readonly logBuffering: boolean
  /** undefined: not set, which is `notice`. */
  readonly logLevel: LogLevel | undefined
  /** Bytes of a line, from 512. */
  readonly logLimit: number
  /** 0: never. */
  readonly emergencyRestartThreshold: number
  readonly emergencyRestartInterval: number
  /** 0: none of their signals is followed by a stronger one. */
  readonly processControlTimeout: number
  /** Workers of all pools; 0: no limit. */
  readonly processMax: number
  /** -19 to 20; undefined: left as it is. */
  readonly processPriority: number | undefined
  readonly daemonize: boolean
  /** Open files; 0: left as it is. */
  readonly rlimitFiles: number
  /** Bytes of a core file; 0: left as it is. */
  readonly rlimitCore: CoreLimit
  /** Checked and shown; the event loop here is Node's. */
  readonly eventsMechanism: string
  /** Seconds between two reports to systemd, not always whole; 0: none. */
  readonly systemdInterval: number
  /** systemd wants to be told that all is well (`WATCHDOG_USEC`): its reports say so. */
  readonly systemdWatchdog: boolean
}

/** A section that is not `[global]`. */
export interface PoolConfig {
  readonly name: string
  readonly prefix: string | undefined
  readonly user: string | undefined
  readonly group: string | undefined
  /** A complete path, a port, or `host:port` as written; `parseListenAddress` reads it. */
  readonly listen: string
  readonly listenBacklog: number
  readonly listenAclUsers: string | undefined
  readonly listenAclGroups: string | undefined
  readonly listenOwner: string | undefined
  readonly listenGroup: string | undefined
  /** Octal digits. */
  readonly listenMode: string | undefined
  /** Addresses with commas between them. */
  readonly listenAllowedClients: string | undefined
  /** -19 to 20; undefined: left as it is. */
  readonly processPriority: number | undefined
  readonly processDumpable: boolean
  readonly pm: ProcessManager
  readonly pmMaxChildren: number
  /** Only of `dynamic`, as the two spares. */
  readonly pmStartServers: number
  readonly pmMinSpareServers: number
  readonly pmMaxSpareServers: number
  readonly pmMaxSpawnRate: number
  readonly pmProcessIdleTimeout: number
  /** 0: a worker is not replaced for the number of its requests. */
  readonly pmMaxRequests: number
  readonly pmStatusPath: string | undefined
  readonly pmStatusListen: string | undefined
  readonly pingPath: string | undefined
  /** Set when `pingPath` is. */
  readonly pingResponse: string | undefined
  readonly accessLog: string | undefined
  /** Set when `accessLog` is. */
  readonly accessFormat: string | undefined
  /** In the order of the files. */
  readonly accessSuppressPath: readonly string[]
  readonly slowlog: string | undefined
  /** 0: off, as the next two. */
  readonly requestSlowlogTimeout: number
  readonly requestSlowlogTraceDepth: number
  readonly requestTerminateTimeout: number
  readonly requestTerminateTimeoutTrackFinished: boolean
  readonly rlimitFiles: number
  readonly rlimitCore: CoreLimit
  readonly chroot: string | undefined
  readonly chdir: string | undefined
  readonly catchWorkersOutput: boolean
  readonly decorateWorkersOutput: boolean
  readonly clearEnv: boolean
  /** As written, with spaces between them; '' allows every script. */
  readonly securityLimitExtensions: string
  readonly apparmorHat: string | undefined
  /** `env[...]` in the order of the files; a value `$NAME` is to be taken from the master's environment. */
  readonly env: readonly Pair[]
  /** `php_value[...]` and `php_flag[...]` (as `1` and `0`) in the order of the files. */
  readonly phpValues: readonly Pair[]
  /** `php_admin_value[...]` and `php_admin_flag[...]`. */
  readonly phpAdminValues: readonly Pair[]
  /** Set on the pool that php-fpm makes of `pm.status_listen`: the pool whose status it tells. It runs no scripts and is not dumped. */
  readonly statusOf: string | undefined
}

/** Everything that one start reads. */
export interface FpmConfig {
  /** The main file. */
  readonly file: string
  readonly global: GlobalConfig
  /** In the order of their first mention; a status pool follows the last. */
  readonly pools: readonly PoolConfig[]
}

/** A line for the main log. What is refused ends with an `error` or `alert`. */
export interface Message {
  readonly level: LogLevel
  /** Without its time and level. */
  readonly text: string
  /** What php-fpm shows at level debug, before the text. */
  readonly from: string
}
