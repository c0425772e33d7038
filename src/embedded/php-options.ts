// What an embedded PHP can be told, and what is assumed where nothing is.

import type { Log } from '../core/index.ts'
import type { PhpLimits } from '../php/index.ts'
import type { Guard } from '../process/index.ts'

/** What an embedded PHP can be told. */
export interface EmbeddedPhpOptions {
  /** The folder that scripts can see, and where they are: DOCUMENT_ROOT for requests that do not carry SCRIPT_FILENAME. */
  readonly root: string
  /** Whether scripts may change what is in it. Default `read-write`, as for a native PHP. */
  readonly files?: 'read-write' | 'read-only'
  /** For the log and for messages. Default `php`. */
  readonly name?: string
  /** Threads, each with an interpreter that serves one request at a time. Default 2. */
  readonly workers?: number
  /** php.ini settings, which a script's ini_set can change. */
  readonly ini?: Readonly<Record<string, string>>
  /** The interpreters' environment. Nothing of ours is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** Suffixes of files that may be run. Default `.php` and `.phar`. */
  readonly extensions?: readonly string[]
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<EmbeddedPhpLimits>
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Removes the folder for temporary files when this process is killed. Without one it stays behind then. */
  readonly guard?: Guard
}

/** Those of a pool of php-cgi, and one more. */
export interface EmbeddedPhpLimits extends PhpLimits {
  /** Bytes of one interpreter's memory, where a request body is too. Default 512 MiB, at most 2 GiB. */
  readonly memory: number
}

export const LIMITS: EmbeddedPhpLimits = {
  queue: 512,
  queueTimeout: 30_000,
  silence: 60_000,
  body: 128 * 1024 ** 2,
  bodyMemory: 2 * 1024 ** 2,
  holdBytes: 65_536,
  holdTime: 5,
  start: 30_000,
  slow: 0,
  memory: 512 * 1024 ** 2,
}

// php.ini-production, which is what distributions install, where it differs from what PHP has built in.
const PRODUCTION: Readonly<Record<string, string>> = {
  display_errors: '0',
  display_startup_errors: '0',
  log_errors: '1',
  error_reporting: '22527',
  // It says On, and distributions Off.
  expose_php: '0',
  output_buffering: '4096',
  register_argc_argv: '0',
  request_order: 'GP',
  variables_order: 'GPCS',
  short_open_tag: '0',
  'session.gc_divisor': '1000',
  'session.sid_length': '26',
  'session.sid_bits_per_character': '5',
  'zend.exception_ignore_args': '1',
}

/** What starts programs or loads code: there is nothing to start here, and asking would wait for ever. (mail() and sockets fail by themselves.) */
const ABSENT = ['exec', 'passthru', 'shell_exec', 'system', 'proc_open', 'popen', 'pcntl_exec', 'dl', 'post_message_to_js']

/** The file that the interpreter reads at its start. */
export function iniFile(places: { temporary: string; sessions: string }, given: Readonly<Record<string, string>> = {}): string {
  const settings: Record<string, string> = {
    ...PRODUCTION,
    memory_limit: '128M',
    'date.timezone': 'UTC',
    sys_temp_dir: places.temporary,
    upload_tmp_dir: places.temporary,
    'session.save_path': places.sessions,
    allow_url_fopen: '0',
    'opcache.enable': '1',
    'opcache.jit': '0',
    'opcache.memory_consumption': '64',
    // What was changed is seen with the next request.
    'opcache.revalidate_freq': '0',
    ...given,
  }
  const disabled = [...ABSENT, ...(given['disable_functions'] ?? '').split(',').map((name) => name.trim())]
  settings['disable_functions'] = disabled.filter((name) => name !== '').join(',')
  return Object.entries(settings)
    .map(([name, value]) => `${name}=${quoted(value)}\n`)
    .join('')
}

/** As PHP's ini reader takes it for one text, whatever is in it. */
function quoted(value: string): string {
  return /^[\w.,/-]*$/.test(value) ? value : `"${value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('$', '\\$')}"`
}
