// Where log lines go: the log itself to standard error, the access log to standard output or a file.

import { closeSync, openSync } from 'node:fs'
import { pino } from 'pino'
import type { Log } from '../core/index.ts'
import { coloursOf } from './colours.ts'
import { accessFormatter, lineFormatter } from './pretty.ts'
import { combined } from '../middleware/index.ts'
import type { AccessRecord } from '../middleware/index.ts'
import { Sink } from './sink.ts'

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
/** Of lines. */
export const FORMATS = ['pretty', 'json'] as const
export type Level = (typeof LEVELS)[number]
export type Format = 'pretty' | 'json'

/** Plain data: it travels from the supervisor to its fronts. */
export interface LogOptions {
  readonly level: Level
  /** Without it: pretty on a terminal, JSON elsewhere, each stream by itself. */
  readonly format?: Format
  /** `-` is standard output, `off` is no access log, everything else is a file. */
  readonly access: string
  /** Of the access log. Without it: `format`; in a file JSON. */
  readonly accessFormat?: Format | 'combined'
}

/** The fields of one access line, as the middleware gives them. */
export type AccessLine = object

export interface Logs {
  readonly log: Log
  /** undefined: off. */
  readonly access: ((line: AccessLine) => void) | undefined
  /** Opens the access log's file anew, after it was renamed. */
  reopen(): void
  /** Everything that was said is written; nothing is written later. */
  close(): Promise<void>
}

/** Characters of access log that leave together. */
const BATCH = 16 * 1024

/** Throws the system's error where the access log's file cannot be opened. */
export function openLogs(options: LogOptions): Logs {
  const stderr = new Sink(2, { batch: 0 })
  const access = accessSink(options.access)
  const log = pino(
    {
      level: options.level,
      base: null,
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    formatFor(options.format, 2) === 'pretty' ? prettyTo(stderr) : stderr,
  )
  return {
    log: log as unknown as Log,
    access:
      access &&
      accessWriter(access, options.accessFormat ?? (options.access === '-' ? formatFor(options.format, 1) : (options.format ?? 'json'))),
    reopen: () => access?.reopen(),
    close: async () => {
      await Promise.all([stderr.end(), access?.end()])
    },
  }
}

function accessSink(where: string): Sink | undefined {
  if (where === 'off') return undefined
  if (where !== '-') return new Sink(where, { batch: BATCH })
  // Somebody is looking.
  return new Sink(1, { batch: process.stdout.isTTY ? 0 : BATCH })
}

/** What a stream gets when nobody asked for a format. */
export function formatFor(format: Format | undefined, fd: 1 | 2): Format {
  return format ?? ((fd === 1 ? process.stdout : process.stderr).isTTY ? 'pretty' : 'json')
}

/** Throws the system's error where an access log cannot be written to `file`. */
export function checkAccessFile(file: string): void {
  if (file !== '-' && file !== 'off') closeSync(openSync(file, 'a', 0o640))
}

function prettyTo(to: Sink): { write(line: string): void } {
  const format = lineFormatter(coloursOf(process.stderr))
  return { write: (line) => to.write(format(line)) }
}

function accessWriter(to: Sink, format: Format | 'combined'): (line: AccessLine) => void {
  if (format === 'combined') return (line) => to.write(`${combined(line as AccessRecord)}\n`)
  if (format === 'json') return (line) => to.write(`${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`)
  const pretty = accessFormatter(coloursOf(process.stdout))
  return (line) => to.write(pretty(line))
}
