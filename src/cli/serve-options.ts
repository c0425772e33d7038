// The command line of `viaduct serve`: what its options mean.

import { resolve } from 'node:path'
import type { ListenSpec } from '../runtime/index.ts'
import {
  DEFAULT_HOST,
  DEFAULT_PORT,
  UsageError,
  parseChoice,
  parseListen,
  parsePath,
  parsePort,
  parseSeconds,
  parseSize,
  parseWhole,
} from './arguments.ts'
import type { Parsed } from './arguments.ts'
import type { CommandHelp } from './help.ts'
import { FORMATS, LEVELS } from './log.ts'
import type { LogOptions } from './log.ts'
import type { FolderOptions } from './source.ts'

/** Milliseconds. */
const DEFAULT_GRACE = 30_000
export const SERVE: CommandHelp = {
  name: 'serve',
  usage: '[folder | -c FILE] [options]',
  summary: 'Serve a folder: files, PHP, Python, JavaScript, CGI and FastCGI programs; or a configuration',
  about: [
    'Serves a folder, this one if none is named, with no configuration:',
    '',
    '  ordinary files          as they are: types, ETag, ranges, .br and .gz beside them',
    '  *.php                   by a pool of php-cgi workers; index.php answers for a folder',
    '                          and for every path that names no file',
    '  cgi-bin/ and *.cgi      a program for each request, if it has the execute bit',
    '  *.fcgi                  a pool of that FastCGI program, if it has the execute bit',
    '  wsgi.py, app.py,        a pool of Python workers for the whole folder, with the venv in it;',
    '  manage.py ...           none of its files is sent (docs/python.md)',
    '  app.mjs, app.js         a JavaScript app for the whole folder (docs/node-apps.md)',
    '',
    'Dotfiles and program sources are never sent.',
    '',
    'With -c it serves what a configuration file says: several sites, applications and routes',
    '(docs/configuration.md). Without a folder and without -c, the viaduct.config.json, .mjs or .ts',
    'of this folder is such a file, if there is one; "viaduct serve ." serves the folder nonetheless.',
  ].join('\n'),
  options: {
    config: { value: 'FILE', short: 'c', help: 'Serve what this configuration says' },
    listen: {
      value: 'ADDRESS',
      many: true,
      short: 'l',
      help: `Where to listen; may be given several times (default ${DEFAULT_HOST}:${DEFAULT_PORT})\nHOST:PORT, PORT, :PORT (every address) or unix:/path`,
    },
    'tls-cert': { value: 'FILE', help: 'Serve https with this certificate, a PEM file;\na new one is used as soon as it is there' },
    'tls-key': { value: 'FILE', help: 'Its private key, a PEM file' },
    'redirect-http': { value: 'ADDRESS', many: true, help: 'Listen there for plain HTTP too, and send clients to https' },
    workers: { value: 'N', short: 'w', help: 'PHP workers (default 2 a core, at least 4)' },
    'php-cgi': { value: 'FILE', help: 'The php-cgi to use, rather than the one on PATH' },
    'max-body': { value: 'SIZE', help: 'Largest request body: 500K, 8M, 1G' },
    timeout: { value: 'SECONDS', help: 'How long a program may be silent (default 60): then it is ended, with 504' },
    grace: { value: 'SECONDS', help: `What requests get to finish at the end or on reload (default ${DEFAULT_GRACE / 1000})` },
    slow: { value: 'SECONDS', help: 'Name a request in the log that runs longer, while it runs' },
    status: { value: 'PATH', help: 'Show there how its pools are doing, to this machine only (docs/status.md)' },
    'access-log': { value: 'FILE', help: 'A file, - for standard output (default) or off' },
    'log-level': { value: 'LEVEL', choices: LEVELS, help: `${LEVELS.join(', ')} (default info)` },
    'log-format': { value: 'FORMAT', choices: FORMATS, help: 'pretty or json (default: pretty on a terminal, json elsewhere)' },
    'pid-file': { value: 'FILE', help: 'Write the pid there while it runs' },
    'print-config': { help: 'Print the configuration that serves this folder in the same way, and exit' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct serve', 'this folder at http://127.0.0.1:8080/'],
    ['viaduct serve ./site --listen 3000', 'another folder, another port'],
    ['viaduct serve --listen :80', 'for the whole network'],
    ['viaduct serve --listen unix:/run/site.sock', 'behind nginx: proxy_pass http://unix:/run/site.sock'],
    ['viaduct serve --tls-cert site.crt --tls-key site.key', 'https://127.0.0.1:8080/'],
    ['viaduct serve --access-log /var/log/site.log', 'log lines as JSON'],
    ['viaduct serve ./site --print-config', 'the same as a configuration, to begin with'],
    ['viaduct serve -c viaduct.config.json', 'what a configuration says'],
  ],
  environment: [
    ['HOST, PORT', 'where to listen when no --listen is given'],
    ['NO_COLOR', 'no colours'],
  ],
  signals: [
    ['INT, TERM, QUIT', 'finish what runs, then exit 0; INT or TERM again: at once'],
    [
      'HUP, USR2',
      'start anew with the same sockets, and read the configuration again: no request is lost;\nwhat does not come up is given up, and the old one goes on;\nthe HUP of a terminal that is closed stops it',
    ],
    ['USR1', 'open the access log anew, after it was renamed'],
  ],
}

const asIs = (text: string): string => text

export interface ServeOptions {
  /** -c. */
  readonly config: string | undefined
  /** A folder was named: no configuration is looked for. */
  readonly named: boolean
  /** What serves a folder. */
  readonly folder: FolderOptions
  /** What the command line says beside: it counts more than a configuration. */
  readonly given: {
    readonly listen?: readonly ListenSpec[]
    readonly grace?: number
    readonly pidFile?: string
    readonly log: Partial<LogOptions>
    /** Options that a configuration has no place for. */
    readonly folderOnly: readonly string[]
  }
  readonly printConfig: boolean
}

const FOLDER_ONLY = ['tls-cert', 'tls-key', 'redirect-http', 'workers', 'php-cgi', 'max-body', 'timeout', 'slow', 'status', 'print-config']

/** What the command line and the environment say. Throws UsageError. */
export function serveOptions(parsed: Parsed, env: NodeJS.ProcessEnv): ServeOptions {
  const [folder = '.', extra] = parsed.rest
  if (extra !== undefined) throw new UsageError(`one folder is served, got "${folder}" and "${extra}"`)
  const value = <T>(name: string, read: (text: string, where: string) => T): T | undefined => {
    const text = parsed.values.get(name)?.[0]
    return text === undefined ? undefined : read(text, `--${name}`)
  }
  const config = value('config', asIs)
  if (config !== undefined && parsed.rest.length > 0)
    throw new UsageError(`a configuration or a folder is served, got ${config} and ${folder}`)
  const log = logOptions(value)
  const [workers, phpCgi, maxBody] = [
    value('workers', (text, where) => parseWhole(text, 1, where)),
    value('php-cgi', asIs),
    value('max-body', parseSize),
  ]
  const [status, slow] = [value('status', parsePath), value('slow', parseSeconds)]
  const [timeout, grace, pidFile] = [value('timeout', parseSeconds), value('grace', parseSeconds), value('pid-file', asIs)]
  const pid = pidFile === undefined ? {} : { pidFile: resolve(pidFile) }
  const listens = parsed.values.has('listen')
  const listen = listenOptions(parsed.values.get('listen'), env)
  const secure = tlsOptions(value, listen, parsed.values.get('redirect-http'))
  return {
    config: config === undefined ? undefined : resolve(config),
    named: parsed.rest.length > 0,
    folder: {
      folder: resolve(folder),
      listen,
      grace: grace ?? DEFAULT_GRACE,
      log: { level: 'info', access: '-', ...log },
      ...pid,
      ...secure,
      ...(workers !== undefined && { workers }),
      ...(phpCgi !== undefined && { phpCgi }),
      ...(maxBody !== undefined && { maxBody }),
      ...(timeout !== undefined && { timeout }),
      ...(status !== undefined && { status }),
      ...(slow !== undefined && { slow }),
    },
    given: {
      log,
      ...(listens && { listen }),
      ...(grace !== undefined && { grace }),
      ...pid,
      folderOnly: FOLDER_ONLY.filter((name) => parsed.values.has(name)),
    },
    printConfig: parsed.values.has('print-config'),
  }
}

type Value = <T>(name: string, read: (text: string, where: string) => T) => T | undefined

function logOptions(value: Value): Partial<LogOptions> {
  const level = value('log-level', (text, where) => parseChoice(text, LEVELS, where))
  const format = value('log-format', (text, where) => parseChoice(text, FORMATS, where))
  const access = value('access-log', (text) => (text === '-' || text === 'off' ? text : resolve(text)))
  return { ...(level !== undefined && { level }), ...(format !== undefined && { format }), ...(access !== undefined && { access }) }
}

function tlsOptions(
  value: Value,
  listen: readonly ListenSpec[],
  redirect: readonly string[] | undefined,
): Pick<FolderOptions, 'tls' | 'redirect'> {
  const [cert, key] = [value('tls-cert', (text) => resolve(text)), value('tls-key', (text) => resolve(text))]
  if (cert === undefined && key === undefined) {
    if (redirect !== undefined) throw new UsageError('--redirect-http leads to https: --tls-cert and --tls-key are missing')
    return {}
  }
  if (cert === undefined || key === undefined)
    throw new UsageError(`--tls-${cert === undefined ? 'key' : 'cert'} needs --tls-${cert === undefined ? 'cert' : 'key'} beside it`)
  if (!listen.some((each) => 'port' in each)) throw new UsageError('--tls-cert is for addresses with a port, and --listen names none')
  return {
    tls: { cert, key },
    ...(redirect !== undefined && { redirect: redirect.map((text) => parseListen(text, DEFAULT_HOST, '--redirect-http')) }),
  }
}

function listenOptions(given: readonly string[] | undefined, env: NodeJS.ProcessEnv): ListenSpec[] {
  const host = env['HOST'] === undefined || env['HOST'] === '' ? DEFAULT_HOST : env['HOST']
  if (given !== undefined) return given.map((text) => parseListen(text, host))
  const port = env['PORT'] === undefined || env['PORT'] === '' ? DEFAULT_PORT : parsePort(env['PORT'], 'PORT in the environment')
  return [{ host, port }]
}
