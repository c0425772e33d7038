// A pool's access log and slow log.

import { closeSync, openSync, writeSync } from 'node:fs'
import type { PoolConfig } from './config/types.ts'
import type { Exchange } from './exchange.ts'
import type { Journal } from './journal.ts'
import { accessFormatter, isSuppressed } from './log/access-format.ts'
import type { AccessLine } from './log/access-format.ts'
import type { AccessRecord } from './log/access-types.ts'
import { slowEntry } from './log/lines.ts'
import type { MainLog } from './log/main-log.ts'
import { param } from './params.ts'

export class Records {
  readonly #config: PoolConfig
  readonly #main: Pick<MainLog, 'level'>
  readonly #journal: Journal
  readonly #format: ((record: AccessRecord) => AccessLine) | undefined
  readonly #files = new Map<string, number>()
  /** Lines of the access log that are written together, in the same turn of the event loop. */
  #lines = ''

  /** @param main for its level, by which times are written. */
  constructor(config: PoolConfig, main: Pick<MainLog, 'level'>, journal: Journal) {
    this.#main = main
    this.#config = config
    this.#journal = journal
    this.#format = isSet(config.accessLog) ? accessFormatter(config.accessFormat!) : undefined
    for (const path of [config.accessLog, config.slowlog]) if (isSet(path)) this.#files.set(path, openSync(path, 'a', 0o600))
  }

  access(exchange: Exchange): void {
    const format = this.#format
    if (format === undefined) return
    const record = recordOf(this.#config.name, exchange)
    if (isSuppressed(this.#config.accessSuppressPath, record)) return
    const { line, cut } = format(record)
    if (cut) this.#journal.write('notice', 'the log buffer is full. The access log request has been truncated.', 'fpm_log_write')
    if (line === '') return
    if (this.#lines === '') setImmediate(this.#writeLines)
    this.#lines += `${line}\n`
  }

  readonly #writeLines = (): void => {
    const lines = this.#lines
    this.#lines = ''
    if (lines !== '') this.#write(this.#config.accessLog!, Buffer.from(lines, 'latin1'))
  }

  slow(pid: number, exchange: Exchange): void {
    const { slowlog, name } = this.#config
    if (!isSet(slowlog)) return
    const time = performance.timeOrigin + performance.now()
    const entry = slowEntry({ time, level: this.#main.level, pool: name, pid, script: exchange.facts!.script, frames: [] })
    this.#write(slowlog, Buffer.from(entry, 'latin1'))
  }

  /** A log that cannot be written must not stop what it tells of. */
  #write(path: string, bytes: Uint8Array): void {
    try {
      writeSync(this.#files.get(path)!, bytes)
    } catch {
      // The disk is full.
    }
  }

  /** After logrotate has moved them (SIGUSR1). */
  reopen(): void {
    this.#writeLines()
    for (const [path, fd] of this.#files) {
      const again = openSync(path, 'a', 0o600)
      closeSync(fd)
      this.#files.set(path, again)
      const what = path === this.#config.slowlog ? 'slow' : 'access'
      this.#journal.write('notice', `${what} log file re-opened`, 'fpm_log_open')
    }
  }

  close(): void {
    this.#writeLines()
    for (const fd of this.#files.values()) closeSync(fd)
    this.#files.clear()
  }
}

function recordOf(pool: string, exchange: Exchange): AccessRecord {
  const facts = exchange.facts!
  const now = Date.now()
  const duration = exchange.duration(performance.now())
  return {
    pool,
    // What the manager answers by itself is its own work.
    pid: exchange.worker?.pid ?? process.pid,
    ppid: exchange.worker?.hand.crew.pid ?? process.ppid,
    method: facts.method,
    uri: facts.scriptName,
    query: facts.queryString,
    script: facts.script,
    user: facts.user,
    contentLength: facts.contentLength,
    remote: exchange.connection.remote,
    status: exchange.status,
    acceptedAt: exchange.takenTime || now,
    endedAt: exchange.endedTime || now,
    duration,
    cpuUser: exchange.cpuUser,
    cpuSystem: exchange.cpuSystem,
    cpuDuration: duration / 1e6,
    memory: 0,
    env: (name) => param(exchange.pairs, name),
    header: (name) => headerOf(exchange.head, name),
  }
}

/** A header of an answer, by its name as the script wrote it. */
function headerOf(head: string, name: string): string | undefined {
  for (const line of head.split('\r\n')) if (line.startsWith(`${name}:`)) return line.slice(name.length + 1).trim()
  return undefined
}

function isSet(text: string | undefined): text is string {
  return text !== undefined && text !== ''
}
