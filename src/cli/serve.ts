// `viaduct serve`: a folder, with no configuration at all. This is the supervisor's process: it never serves itself.

import { statSync } from 'node:fs'
import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { VERSION } from '../core/index.ts'
import type { Address } from '../core/index.ts'
import { ListenError, supervise } from '../runtime/index.ts'
import type { ListenSpec } from '../runtime/index.ts'
import {
  DEFAULT_HOST,
  DEFAULT_PORT,
  UsageError,
  parseChoice,
  parseListen,
  parsePort,
  parseSeconds,
  parseSize,
  parseWhole,
} from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { blame } from './blame.ts'
import { coloursOf } from './colours.ts'
import type { CommandHelp } from './help.ts'
import { LEVELS, checkAccessFile, formatFor, openLogs } from './log.ts'
import type { LogOptions } from './log.ts'
import type { FrontReport, SiteSpec } from './site.ts'
import { addressText, banner } from './table.ts'

/** Milliseconds. */
const DEFAULT_GRACE = 30_000
/** A PHP leader with a cold disk takes seconds; a front that takes longer than this will not come. */
const START_TIMEOUT = 60_000

export const SERVE: CommandHelp = {
  name: 'serve',
  usage: '[folder] [options]',
  summary: 'Serve a folder: files, PHP, CGI programs',
  about: [
    'Serves a folder, this one if none is named, with no configuration:',
    '',
    '  ordinary files          as they are: types, ETag, ranges, .br and .gz beside them',
    '  *.php                   by a pool of php-cgi workers; index.php answers for a folder',
    '                          and for every path that names no file',
    '  cgi-bin/ and *.cgi      a program for each request, if it has the execute bit',
    '',
    'Dotfiles and program sources are never sent.',
  ].join('\n'),
  options: {
    listen: {
      value: 'ADDRESS',
      many: true,
      short: 'l',
      help: `Where to listen; may be given several times (default ${DEFAULT_HOST}:${DEFAULT_PORT})\nHOST:PORT, PORT, :PORT (every address) or unix:/path`,
    },
    workers: { value: 'N', short: 'w', help: 'PHP workers (default 2 a core, at least 4)' },
    'php-cgi': { value: 'PATH', help: 'The php-cgi to use, rather than the one on PATH' },
    'max-body': { value: 'SIZE', help: 'Largest request body: 500K, 8M, 1G' },
    grace: { value: 'SECONDS', help: `What requests get to finish at the end or on reload (default ${DEFAULT_GRACE / 1000})` },
    'access-log': { value: 'FILE', help: 'A file, - for standard output (default) or off' },
    'log-level': { value: 'LEVEL', help: `${LEVELS.join(', ')} (default info)` },
    'log-format': { value: 'FORMAT', help: 'pretty or json (default: pretty on a terminal, json elsewhere)' },
    'pid-file': { value: 'FILE', help: 'Write the pid there while it runs' },
    help: { short: 'h', help: 'This help' },
  },
  examples: [
    ['viaduct serve', 'this folder at http://127.0.0.1:8080/'],
    ['viaduct serve ./site --listen 3000', 'another folder, another port'],
    ['viaduct serve --listen :80', 'for the whole network'],
    ['viaduct serve --listen unix:/run/site.sock', 'behind nginx: proxy_pass http://unix:/run/site.sock'],
    ['viaduct serve --access-log /var/log/site.log', 'log lines as JSON'],
  ],
  environment: [
    ['HOST, PORT', 'where to listen when no --listen is given'],
    ['NO_COLOR', 'no colours'],
  ],
  signals: [
    ['INT, TERM, QUIT', 'finish what runs, then exit 0; INT or TERM again: at once'],
    ['HUP, USR2', 'start anew with the same sockets: no request is lost;\nthe HUP of a terminal that is closed stops it'],
    ['USR1', 'open the access log anew, after it was renamed'],
  ],
}

const asIs = (text: string): string => text

interface ServeOptions {
  readonly folder: string
  readonly listen: readonly ListenSpec[]
  readonly grace: number
  readonly pidFile: string | undefined
  readonly log: LogOptions
  readonly site: SiteSpec
}

/** What the command line and the environment say. Throws UsageError. */
export function serveOptions(parsed: Parsed, env: NodeJS.ProcessEnv): ServeOptions {
  const [folder = '.', extra] = parsed.rest
  if (extra !== undefined) throw new UsageError(`one folder is served, got "${folder}" and "${extra}"`)
  const value = <T>(name: string, read: (text: string, where: string) => T): T | undefined => {
    const text = parsed.values.get(name)?.[0]
    return text === undefined ? undefined : read(text, `--${name}`)
  }
  const format = value('log-format', (text, where) => parseChoice(text, ['pretty', 'json'] as const, where))
  const access = value('access-log', asIs) ?? '-'
  const log: LogOptions = {
    level: value('log-level', (text, where) => parseChoice(text, LEVELS, where)) ?? 'info',
    ...(format !== undefined && { format }),
    access: access === '-' || access === 'off' ? access : resolve(access),
  }
  const workers = value('workers', (text, where) => parseWhole(text, 1, where))
  const phpCgi = value('php-cgi', asIs)
  const maxBody = value('max-body', parseSize)
  const pidFile = value('pid-file', asIs)
  const root = resolve(folder)
  return {
    folder: root,
    listen: listenOptions(parsed.values.get('listen'), env),
    grace: value('grace', parseSeconds) ?? DEFAULT_GRACE,
    pidFile: pidFile === undefined ? undefined : resolve(pidFile),
    log,
    site: {
      folder: root,
      log,
      ...(workers !== undefined && { workers }),
      ...(phpCgi !== undefined && { phpCgi }),
      ...(maxBody !== undefined && { maxBody }),
    },
  }
}

function listenOptions(given: readonly string[] | undefined, env: NodeJS.ProcessEnv): ListenSpec[] {
  const host = env['HOST'] === undefined || env['HOST'] === '' ? DEFAULT_HOST : env['HOST']
  if (given !== undefined) return given.map((text) => parseListen(text, host))
  const port = env['PORT'] === undefined || env['PORT'] === '' ? DEFAULT_PORT : parsePort(env['PORT'], 'PORT in the environment')
  return [{ host, port }]
}

/** Runs until it is told to stop; resolves with the exit code. */
export async function serve(parsed: Parsed, earlySignals: () => NodeJS.Signals[]): Promise<number> {
  const options = serveOptions(parsed, process.env)
  const problem = checkFolder(options.folder) ?? checkAccess(options.log.access)
  if (problem !== undefined) return fail(problem)
  const logs = openLogs({ ...options.log, access: 'off' })
  try {
    return await supervise({
      listen: options.listen,
      frontEntry: fileURLToPath(new URL('./front.js', import.meta.url)),
      spec: options.site,
      log: logs.log,
      startTimeout: START_TIMEOUT,
      drainTimeout: options.grace,
      ...(options.pidFile !== undefined && { pidFile: options.pidFile }),
      earlySignals,
      onReady: ({ generation, addresses, report }) => {
        if (generation === 1) announce(options, addresses, report as FrontReport, logs.log)
      },
    })
  } catch (error) {
    if (!(error instanceof ListenError)) throw error
    return fail(`${error.message.replace(/^runtime: /, '')}${blame(error)}`)
  } finally {
    await logs.close()
  }
}

type Log = ReturnType<typeof openLogs>['log']

function announce(options: ServeOptions, addresses: readonly Address[], report: FrontReport, log: Log): void {
  if (formatFor(options.log.format, 2) === 'pretty') {
    const text = banner({ version: VERSION, folder: options.folder, entries: report.entries, addresses }, coloursOf(process.stderr))
    process.stderr.write(`${text}\n\n`)
    return
  }
  log.info({ version: VERSION, folder: options.folder, addresses: addresses.map(addressText), serves: report.entries }, 'viaduct serves')
}

function checkFolder(folder: string): string | undefined {
  const found = statSync(folder, { throwIfNoEntry: false })
  if (found === undefined) return `serve: there is no folder ${folder}`
  return found.isDirectory() ? undefined : `serve: ${folder} is not a folder; name the folder that holds it`
}

function checkAccess(file: string): string | undefined {
  try {
    checkAccessFile(file)
    return undefined
  } catch (error) {
    return `serve: the access log cannot be written: ${(error as Error).message}`
  }
}

function fail(message: string): number {
  process.stderr.write(`viaduct: ${message}\n`)
  return 1
}
