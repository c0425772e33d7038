// What is served: a configuration file, or a folder, which is the same as the configuration that its options make.

import { describeListen } from '../runtime/index.ts'
import type { Config } from '../config/index.ts'
import type { ListenSpec } from '../runtime/index.ts'
import type { LogOptions } from './log.ts'

export interface FolderOptions {
  /** Absolute. */
  readonly folder: string
  readonly listen: readonly ListenSpec[]
  /** Absolute paths of PEM files: https at every address with a port. */
  readonly tls?: { readonly cert: string; readonly key: string }
  /** Plain HTTP that leads to https. */
  readonly redirect?: readonly ListenSpec[]
  /** Milliseconds. */
  readonly grace: number
  readonly log: LogOptions
  readonly pidFile?: string
  readonly workers?: number
  readonly phpCgi?: string
  /** Bytes. */
  readonly maxBody?: number
  /** Milliseconds that a program may be silent. */
  readonly timeout?: number
  /** Milliseconds after which a request that runs is named in the log. */
  readonly slow?: number
  /** The path of the status. */
  readonly status?: string
}

/** CGI programs may run this long in all, unless they may be silent for longer. Milliseconds; the default of `time`. */
const TOTAL = 300_000

/** The configuration that serves a folder as `viaduct serve FOLDER` does: `--print-config` shows it. */
export function folderConfig(options: FolderOptions): Config {
  const { folder, grace, log, pidFile, workers, phpCgi, maxBody, timeout, slow, status } = options
  const silence = timeout === undefined ? {} : { silence: durationText(timeout) }
  const late = slow === undefined ? {} : { slow: durationText(slow) }
  const pool = limitsOf({ ...silence, ...late })
  const php = { ...(phpCgi !== undefined && { program: phpCgi }), ...(workers !== undefined && { workers }), ...pool }
  const cgi = limitsOf({ ...(timeout !== undefined && cgiSilence(timeout)), ...late })
  return {
    listeners: listenersOf(options),
    applications: {
      site: {
        kind: 'folder',
        root: folder,
        ...(Object.keys(php).length > 0 && { php }),
        ...('limits' in pool && { cgi, wsgi: pool, fcgi: pool }),
      },
      ...(status !== undefined && { status: { kind: 'status' as const } }),
    },
    sites: [{ routes: [...(status === undefined ? [] : [{ path: status, application: 'status' }]), { application: 'site' }] }],
    ...(maxBody !== undefined && { limits: { body: maxBody } }),
    logs: log,
    grace: durationText(grace),
    ...(pidFile !== undefined && { pidFile }),
  }
}

/** None where nothing is said: the configuration shows what was. */
function limitsOf(limits: Readonly<Record<string, string>>): { readonly limits?: Readonly<Record<string, string>> } {
  return Object.keys(limits).length === 0 ? {} : { limits }
}

function cgiSilence(timeout: number): Record<string, string> {
  const silence = durationText(timeout)
  return { firstByte: silence, idle: silence, ...(timeout > TOTAL && { time: silence }) }
}

function listenersOf({ listen, tls, redirect = [] }: FolderOptions): NonNullable<Config['listeners']> {
  return [
    ...listen.map((each) => (tls !== undefined && 'port' in each ? { listen: describeListen(each), tls } : describeListen(each))),
    ...redirect.map((each) => ({ listen: describeListen(each), redirect: 'https' })),
  ]
}

function durationText(milliseconds: number): string {
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`
}
