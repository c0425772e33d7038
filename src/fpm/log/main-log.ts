// php-fpm's main log: where its lines go, from the first one on standard error to the file, standard error or syslog of the configuration.

import { closeSync, openSync, writeSync } from 'node:fs'
import type { GlobalConfig, LogLevel, Message } from '../config/types.ts'
import { isLogged, lineHead, logLine } from './lines.ts'
import { openSyslog } from './syslog.ts'
import type { Syslog } from './syslog.ts'

/**
 * Whether the log of the configuration is used: in the background always, in the foreground when nobody looks at standard error
 * (systemd, a container) and -O does not say otherwise.
 */
export function usesErrorLog(options: { readonly daemonize: boolean; readonly terminal: boolean; readonly forceStderr: boolean }): boolean {
  return options.daemonize || (!options.terminal && !options.forceStderr)
}

const STDERR = 2

export class MainLog {
  readonly #stderr: (text: string | Uint8Array) => void
  readonly #pid: number
  #level: LogLevel = 'notice'
  #limit = 1024
  #path: string | undefined
  #fd: number | undefined
  #syslog: Syslog | undefined
  #launched = false

  /** `stderr` is where lines go until there is a configuration. `pid`: of whom it is the log. */
  constructor(stderr: (text: string | Uint8Array) => void = (text) => put(STDERR, text), pid: number = process.pid) {
    this.#stderr = stderr
    this.#pid = pid
  }

  get level(): LogLevel {
    return this.#level
  }

  /** Bytes of a line of what workers say. */
  get limit(): number {
    return this.#limit
  }

  /**
   * Takes what the configuration says, also another time, after a reload. `used`: see usesErrorLog; without it the file is made, and standard
   * error written. Throws what the system says, and then goes on as before.
   */
  configure(global: GlobalConfig, used: boolean): void {
    const level = global.logLevel ?? 'notice'
    const toSyslog = global.errorLog.toLowerCase() === 'syslog'
    const fd = toSyslog ? undefined : openSync(global.errorLog, 'a', 0o600)
    this.close()
    this.#level = level
    this.#limit = global.logLimit
    if (used && toSyslog) {
      this.#syslog = openSyslog({ ident: global.syslogIdent, facility: global.syslogFacility, level, pid: this.#pid })
    } else if (used) {
      this.#fd = fd
      this.#path = global.errorLog
    } else if (fd !== undefined) closeSync(fd)
  }

  /** Everything runs: from now on lines do not go to standard error as well. */
  launched(): void {
    this.#launched = true
  }

  say(message: Message): void {
    if (!isLogged(message.level, this.#level)) return
    const context = { level: this.#level, time: performance.timeOrigin + performance.now(), pid: this.#pid }
    const syslog = this.#syslog
    if (syslog === undefined) return this.write(logLine(message, this.#limit, context), message.level)
    const line = logLine(message, this.#limit, { ...context, syslog: true })
    syslog.write(line)
    if (this.#alsoStderr(message.level)) this.#stderr(line)
  }

  /** Text with its line breaks, as it is: what workers said. */
  write(text: string | Uint8Array, level: LogLevel = 'warning'): void {
    if (this.#syslog !== undefined) this.#syslog.write(text)
    else if (this.#fd === undefined) this.#stderr(text)
    else put(this.#fd, text)
    if (this.#fd !== undefined && this.#alsoStderr(level)) this.#stderr(text)
  }

  /** What stands before a line of this level that is written now. */
  head(level: LogLevel, from: string): string {
    const time = performance.timeOrigin + performance.now()
    return lineHead(level, from, { level: this.#level, time, pid: this.#pid, syslog: this.#syslog !== undefined })
  }

  /** After logrotate has moved the file (SIGUSR1). The old one is written until the new one is open. Throws what the system says. */
  reopen(): void {
    if (this.#path === undefined) return
    const fd = openSync(this.#path, 'a', 0o600)
    closeSync(this.#fd!)
    this.#fd = fd
  }

  close(): void {
    if (this.#fd !== undefined) closeSync(this.#fd)
    this.#fd = undefined
    this.#path = undefined
    this.#syslog?.close()
    this.#syslog = undefined
  }

  #alsoStderr(level: LogLevel): boolean {
    return !this.#launched && isLogged(level, 'notice')
  }
}

/** A log that cannot be written must not stop what it tells of: the disk may be full, the terminal gone. */
function put(fd: number, text: string | Uint8Array): void {
  const bytes = typeof text === 'string' ? Buffer.from(text) : text
  try {
    let written = 0
    while (written < bytes.length) written += writeSync(fd, bytes, written)
  } catch {
    // Nobody is left to be told.
  }
}
