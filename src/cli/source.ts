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
  /** The path of the status. */
  readonly status?: string
}

/** CGI programs may run this long in all, unless they may be silent for longer. Milliseconds; the default of `time`. */
const TOTAL = 300_000

/** The configuration that serves a folder as `viaduct serve FOLDER` does: `--print-config` shows it. */
export function folderConfig(options: FolderOptions): Config {
  const { folder, grace, log, pidFile, workers, phpCgi, maxBody, timeout, status } = options
  const php = {
    ...(phpCgi !== undefined && { program: phpCgi }),
    ...(workers !== undefined && { workers }),
    ...(timeout !== undefined && { limits: { silence: durationText(timeout) } }),
  }
  const silence = timeout === undefined ? undefined : durationText(timeout)
  const cgi = silence === undefined ? {} : { limits: { firstByte: silence, idle: silence, ...(timeout! > TOTAL && { time: silence }) } }
  const pool = silence === undefined ? {} : { limits: { silence } }
  return {
    listeners: listenersOf(options),
    applications: {
      site: {
        kind: 'folder',
        root: folder,
        ...(Object.keys(php).length > 0 && { php }),
        ...(silence !== undefined && { cgi, wsgi: pool, fcgi: pool }),
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

function listenersOf({ listen, tls, redirect = [] }: FolderOptions): NonNullable<Config['listeners']> {
  return [
    ...listen.map((each) => (tls !== undefined && 'port' in each ? { listen: describeListen(each), tls } : describeListen(each))),
    ...redirect.map((each) => ({ listen: describeListen(each), redirect: 'https' })),
  ]
}

function durationText(milliseconds: number): string {
  return milliseconds % 1000 === 0 ? `${milliseconds / 1000}s` : `${milliseconds}ms`
}
