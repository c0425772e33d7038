// How a pool's php-cgi is started: as whom, where, with which environment, limits and settings. Each is set by a small tool that replaces
// itself with the next one, for Node's spawn knows none of them.
//
// php_value is a setting that a script may change (-d). php_admin_value is one that it may not: php-cgi has no such thing, but what a
// `[PATH=/folder]` section of a php.ini sets holds for all scripts below that folder, and ini_set() and .user.ini cannot change it. So there
// is a section for each folder that is in / when the pool is started, and a script elsewhere is refused.

import { chmodSync, chownSync, lstatSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { join, relative } from 'node:path'
import { GatewayError } from '../core/index.ts'
import { findProgram } from '../process/index.ts'
import { firstOfEach } from './config/pairs.ts'
import type { CoreLimit, PoolConfig } from './config/types.ts'
import type { Identity } from './user.ts'

export interface PhpProgram {
  /** Absolute path of a php-cgi. */
  readonly file: string
  /** What starts it, once everything else is set. */
  readonly by?: readonly string[]
  /** `8.2`, for the folder of its settings. */
  readonly version: string
  /** `-c`, `-n` and `-d` of the command line. */
  readonly iniArguments: readonly string[]
}

export interface PhpCommand {
  readonly command: readonly [string, ...string[]]
  /** The php-cgi among them. */
  readonly program: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly children: number
  /** Where scripts may be, each with a `/` at its end; undefined: anywhere. */
  readonly folders: ReadonlySet<string> | undefined
  /** What was written for it. */
  readonly folder: string | undefined
  /** Removes that. */
  remove(): void
}

/** Parked children beyond those that the pool may use: see leader.ts. */
const SPARE = 4

/** These are looked at when PHP starts, and never again; in a section they would be ignored. */
const AT_START = new Set(['extension', 'zend_extension', 'disable_functions', 'disable_classes'])

/** Throws CONFIG for what cannot be had here, and says what would help. */
export function phpCommand(config: PoolConfig, php: PhpProgram, identity: Identity | undefined, master: NodeJS.ProcessEnv): PhpCommand {
  const { folder, inside, scan, folders } = writeSettings(config, php, identity)
  const remove = (): void => {
    if (folder !== undefined) rmSync(folder, { recursive: true, force: true })
  }
  try {
    const chain = [...priority(config), ...limits(config), ...become(config, php.file, identity)]
    const values = firstOfEach(config.phpValues).flatMap(([name, value]) => ['-d', `${name}=${quoted(value)}`])
    const args = [...settingsFile(php), ...words(php, inside), ...values]
    return {
      command: [...chain, ...(php.by ?? []), php.file, ...args] as [string, ...string[]],
      program: php.file,
      cwd: cwdOf(config),
      env: phpEnvironment(config, environment(config, identity, master), scan),
      children: config.pmMaxChildren + SPARE,
      folders,
      folder,
      remove,
    }
  } catch (error) {
    remove()
    throw error
  }
}

/** The same for a FastCGI program that is not PHP: its file and its arguments. */
export function programCommand(
  config: PoolConfig,
  program: readonly [string, ...string[]],
  identity: Identity | undefined,
  master: NodeJS.ProcessEnv,
): Pick<PhpCommand, 'command' | 'cwd' | 'env'> {
  const [file, ...args] = program
  const path = findProgram(file, { path: master['PATH'] })
  if (path === undefined) {
    throw new GatewayError('CONFIG', { status: 500, message: `[pool ${config.name}] there is no program ${file} that we may execute` })
  }
  const env = environment(config, identity, master)
  if (config.clearEnv && master['PATH'] !== undefined) env['PATH'] ??= master['PATH']
  // Of TCP peers only: libfcgi would refuse ours, which come by a unix socket.
  delete env['FCGI_WEB_SERVER_ADDRS']
  return {
    command: [...priority(config), ...limits(config), ...become(config, path, identity), path, ...args] as [string, ...string[]],
    cwd: cwdOf(config),
    env,
  }
}

function cwdOf(config: PoolConfig): string {
  return config.chroot === undefined ? (config.chdir ?? process.cwd()) : '/'
}

// ---- settings

/** With -n php-cgi reads no other file either: without a php.ini, from a folder that has none, it reads ours. */
function words(php: PhpProgram, folder: string | undefined): readonly string[] {
  const { iniArguments: given } = php
  if (folder === undefined || !given.includes('-n')) return given
  return ['-c', folder, ...given.filter((word, at) => word !== '-n' && word !== '-c' && given[at - 1] !== '-c')]
}

/** php-fpm's own php.ini, where there is one beside php-cgi's: Debian keeps them apart. */
function settingsFile({ version, iniArguments }: PhpProgram): string[] {
  const file = `/etc/php/${version}/fpm/php.ini`
  return iniArguments.includes('-c') || iniArguments.includes('-n') || statSync(file, { throwIfNoEntry: false }) === undefined
    ? []
    : ['-c', file]
}

function writeSettings(
  config: PoolConfig,
  php: PhpProgram,
  identity: Identity | undefined,
): { folder: string | undefined; inside: string | undefined; scan: string | undefined; folders: ReadonlySet<string> | undefined } {
  const own = `/etc/php/${php.version}/fpm/conf.d`
  const usual = php.iniArguments.includes('-n')
    ? '/nonexistent'
    : statSync(own, { throwIfNoEntry: false })?.isDirectory() === true
      ? own
      : ''
  if (config.phpAdminValues.length === 0) {
    return { folder: undefined, inside: undefined, scan: usual === '' ? undefined : usual, folders: undefined }
  }
  const { text, folders } = adminSettings(config, topFolders(config.chroot ?? '/'))
  const folder = mkdtempSync(join(config.chroot === undefined ? tmpdir() : insideRoot(config.name, config.chroot), 'viaduct-fpm-ini-'))
  const inside = config.chroot === undefined ? folder : join('/', relative(config.chroot, folder))
  // The pool's user reads it and must not be able to change it.
  const file = join(folder, 'zz-php-admin-value.ini')
  writeFileSync(file, text, { mode: 0o640 })
  if (identity !== undefined) chownSync(file, 0, identity.gid)
  // PHP looks for files in it.
  chmodSync(folder, 0o755)
  return { folder, inside, scan: `${usual}:${inside}`, folders }
}

/** Where what php-cgi reads can be: it sees nothing outside its root, and its user must not be able to put something else there. */
function insideRoot(pool: string, root: string): string {
  const folder = join(root, 'tmp')
  const stat = lstatSync(folder, { throwIfNoEntry: false })
  if (stat?.isDirectory() === true && stat.uid === 0 && ((stat.mode & 0o1000) !== 0 || (stat.mode & 0o022) === 0)) return folder
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `[pool ${pool}] php_admin_value: with chroot it is kept in ${folder}, which must be a folder of root's with mode 1777 (or 755)`,
  })
}

/** A php.ini with a section for each folder. */
export function adminSettings(
  config: Pick<PoolConfig, 'name' | 'phpAdminValues'>,
  folders: readonly string[],
): { readonly text: string; readonly folders: ReadonlySet<string> } {
  const lines = firstOfEach(config.phpAdminValues).map(([name, value]) => {
    if (/[^A-Za-z0-9_.\-\\]/.test(name) || /[\n\r\0]/.test(value)) {
      throw new GatewayError('CONFIG', {
        status: 500,
        message: `[pool ${config.name}] php_admin_value[${name}] cannot be written into a php.ini`,
      })
    }
    return { name, line: `${name} = ${quoted(value)}\n` }
  })
  const all = lines.map(({ line }) => line).join('')
  const later = lines
    .filter(({ name }) => !AT_START.has(name))
    .map(({ line }) => line)
    .join('')
  const sections = folders.map((each) => `[PATH=${each}]\n${later}`).join('')
  return { text: all + sections, folders: new Set(folders.map((each) => `${each}/`)) }
}

/** Between quotes nothing means anything but the quote, the backslash and `${`. */
function quoted(value: string): string {
  if (/^-?\d+$/.test(value)) return value
  return `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('$', '\\$')}"`
}

function topFolders(root: string): string[] {
  return readdirSync(root, { withFileTypes: true })
    .filter((entry) => !entry.isFile() && /^[^\]"';\n]+$/.test(entry.name))
    .map((entry) => `/${entry.name}`)
    .toSorted()
}

// ---- who and where

function environment(config: PoolConfig, identity: Identity | undefined, master: NodeJS.ProcessEnv): Record<string, string> {
  const env: Record<string, string> = {}
  if (!config.clearEnv) for (const [name, value] of Object.entries(master)) if (value !== undefined) env[name] = value
  if (identity?.name !== undefined) env['USER'] = identity.name
  if (identity?.home !== undefined) env['HOME'] = identity.home
  for (const [name, value] of firstOfEach(config.env)) env[name] = value.startsWith('$') ? (master[value.slice(1)] ?? '') : value
  return env
}

function phpEnvironment(config: PoolConfig, env: Record<string, string>, scan: string | undefined): Record<string, string> {
  const { pmMaxChildren, pmMaxRequests } = config
  if (scan !== undefined) env['PHP_INI_SCAN_DIR'] = scan
  env['PHP_FCGI_CHILDREN'] = String(pmMaxChildren + SPARE)
  env['PHP_FCGI_MAX_REQUESTS'] = String(pmMaxRequests)
  return env
}

function priority({ processPriority, name }: PoolConfig): string[] {
  if (processPriority === undefined || process.geteuid?.() !== 0) return []
  const step = processPriority - getPriority()
  return step === 0 ? [] : [need('nice', name, 'process.priority'), '-n', String(step)]
}

function limits({ rlimitFiles, rlimitCore, name }: PoolConfig): string[] {
  const core = coreLimit(rlimitCore)
  if (rlimitFiles === 0 && core === undefined) return []
  const args = [need('prlimit', name, 'rlimit_files and rlimit_core')]
  if (rlimitFiles > 0) args.push(`--nofile=${rlimitFiles}:${rlimitFiles}`)
  if (core !== undefined) args.push(`--core=${core}:${core}`)
  return args
}

export function coreLimit(limit: CoreLimit): string | undefined {
  return limit === 0 ? undefined : String(limit)
}

function become(config: PoolConfig, file: string, identity: Identity | undefined): string[] {
  if (config.apparmorHat !== undefined && config.apparmorHat !== '') {
    // To run without what was asked to confine it would be worse than not to run.
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `[pool ${config.name}] apparmor_hat: a hat is put on by the process itself, and php-cgi has none; write a profile for ${file} in its place`,
    })
  }
  if (identity === undefined) return []
  const { uid, gid, name } = identity
  if (config.chroot === undefined) {
    const groups = name === undefined ? '--clear-groups' : '--init-groups'
    return [need('setpriv', config.name, 'user and group'), `--reuid=${name ?? uid}`, `--regid=${gid}`, groups]
  }
  // php-fpm enters the root after PHP has been loaded; php-cgi is loaded after.
  if (statSync(join(config.chroot, file), { throwIfNoEntry: false })?.isFile() !== true) {
    throw new GatewayError('CONFIG', {
      status: 500,
      message:
        `[pool ${config.name}] chroot: there is no ${join(config.chroot, file)}. Workers are started inside the root, so it must hold ` +
        `the program, its libraries, extensions and settings (ldd ${file} names the libraries), /dev/null, /usr/share/zoneinfo and a /tmp that ` +
        `everybody may write to; or leave chroot out`,
    })
  }
  const tool = need('chroot', config.name, 'chroot')
  return [tool, `--userspec=${uid}:${gid}`, `--groups=${identity.groups.join(',')}`, config.chroot]
}

function need(tool: string, pool: string, purpose: string): string {
  const path = findProgram(tool, { path: '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin' })
  if (path !== undefined) return path
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `[pool ${pool}] ${purpose} cannot be set, for the program ${tool} was not found`,
  })
}
