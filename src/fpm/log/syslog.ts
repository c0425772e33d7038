// The main log in syslog. Node has no datagram sockets in the file system, so logger(1) writes for us: one process, a line at a time.

import { spawn } from 'node:child_process'
import { FACILITIES } from '../config/values.ts'
import type { LogLevel } from '../config/types.ts'

export interface Syslog {
  /** Whole lines. */
  write(lines: string | Uint8Array): void
  /** Ends when what was written is. */
  close(): void
}

export interface SyslogOptions {
  readonly ident: string
  readonly facility: number
  /** All lines have the priority of what the log is at, as in php-fpm. */
  readonly level: LogLevel
  readonly pid: number
  /** For tests: another socket than the system's. */
  readonly socket?: string
}

/** Bytes that may wait for logger. A syslog that stands still must not fill our memory. */
const WAITING = 1024 * 1024

const PRIORITIES: Readonly<Record<LogLevel, string>> = {
  debug: 'debug',
  notice: 'notice',
  warning: 'warning',
  error: 'err',
  alert: 'alert',
}

export function openSyslog({ ident, facility, level, pid, socket }: SyslogOptions): Syslog {
  const name =
    Object.entries(FACILITIES)
      .find(([, number]) => number === facility)?.[0]
      .toLowerCase() ?? 'daemon'
  const args = ['--tag', ident, `--id=${pid}`, '--priority', `${name}.${PRIORITIES[level]}`]
  if (socket !== undefined) args.push('--socket', socket)
  const child = spawn('logger', args, { stdio: ['pipe', 'ignore', 'ignore'], detached: true })
  child.unref()
  // Without logger, or without a syslog, the lines are lost, as they are in php-fpm.
  child.on('error', () => child.stdin.destroy())
  child.stdin.on('error', () => child.stdin.destroy())
  return {
    write(lines) {
      if (child.stdin.writable && child.stdin.writableLength < WAITING) child.stdin.write(lines)
    },
    close: () => child.stdin.end(),
  }
}
