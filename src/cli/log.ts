// Where log lines go: the log itself to standard error, the access log to standard output or a file.
//
// Written asynchronously, so that a slow reader of a pipe does not hold up requests; bounded, so that a stuck one does not
// fill the memory; flushed every second and before an orderly end.

import { closeSync, openSync, writeSync } from 'node:fs'
import { pino } from 'pino'
import type { Log } from '../core/index.ts'
import { accessFormatter, lineFormatter } from './pretty.ts'
import { coloursOf } from './colours.ts'

export const LEVELS = ['debug', 'info', 'warn', 'error'] as const
export type Level = (typeof LEVELS)[number]
export type Format = 'pretty' | 'json'

/** Plain data: it travels from the supervisor to its fronts. */
export interface LogOptions {
  readonly level: Level
  /** Without it: pretty on a terminal, JSON elsewhere, each stream by itself. */
  readonly format?: Format
  /** `-` is standard output, `off` is no access log, everything else is a file. */
  readonly access: string
}

/** The fields of one access line, as the middleware gives them, with a time. */
export type AccessLine = object

export interface Logs {
  readonly log: Log
  /** undefined: off. */
  readonly access: ((line: AccessLine) => void) | undefined
  /** Opens the access log's file anew, after it was renamed. */
  reopen(): void
  /** Everything that was said is written, for the end of a process that cannot wait. */
  flush(): void
  /** Everything that was said is written; nothing is written later. */
  close(): Promise<void>
}

/** Bytes that may wait for a reader who does not read; later lines are lost. */
const BACKLOG = 16 * 1024 * 1024
/** Bytes of access log that leave together. */
const BATCH = 8 * 1024

type Destination = ReturnType<typeof pino.destination>

export function openLogs(options: LogOptions): Logs {
  const stderr = destination(2, 0)
  const log = pino(
    { level: options.level, base: null, timestamp: pino.stdTimeFunctions.isoTime, formatters: { level: (label) => ({ level: label }) } },
    formatFor(options.format, 2) === 'pretty' ? prettyTo(stderr) : stderr,
  )
  const file =
    options.access === 'off'
      ? undefined
      : destination(options.access === '-' ? 1 : options.access, options.access === '-' && process.stdout.isTTY ? 0 : BATCH)
  const all = file === undefined ? [stderr] : [stderr, file]
  return {
    log: log as unknown as Log,
    access: file && accessWriter(file, options.access === '-' ? formatFor(options.format, 1) : (options.format ?? 'json')),
    reopen: () => {
      if (file !== undefined && options.access !== '-') file.reopen()
    },
    flush: () => {
      for (const each of all) tryFlush(each)
    },
    close: async () => {
      await Promise.all(all.map((each) => end(each)))
    },
  }
}

/** What a stream gets when nobody asked for a format. */
export function formatFor(format: Format | undefined, fd: 1 | 2): Format {
  return format ?? ((fd === 1 ? process.stdout : process.stderr).isTTY ? 'pretty' : 'json')
}

/** Whether an access log can be written to `file`: throws the system's error otherwise. */
export function checkAccessFile(file: string): void {
  if (file !== '-' && file !== 'off') closeSync(openSync(file, 'a', 0o640))
}

function destination(dest: number | string, minLength: number): Destination {
  const opened = pino.destination({
    dest,
    minLength,
    sync: false,
    maxLength: BACKLOG,
    mode: 0o640,
    ...(minLength > 0 && { periodicFlush: 1000 }),
  })
  let told = false
  // A full disk or a vanished terminal must not end the server.
  opened.on('error', (error: Error) => {
    if (told) return
    told = true
    try {
      writeSync(2, `viaduct: a log cannot be written: ${error.message}\n`)
    } catch {
      // Standard error is what cannot be written: there is nobody left to tell.
    }
  })
  return opened
}

function tryFlush(each: Destination): void {
  try {
    each.flushSync()
  } catch {
    // Not opened yet or broken: its error event has told what there is to tell.
  }
}

/** Waits for a write under way, too, which a flush does not. */
function end(each: Destination): Promise<void> {
  return new Promise((done) => {
    // A reader that does not read any more must not keep the process.
    const timer = setTimeout(done, 1000)
    each.once('close', () => {
      clearTimeout(timer)
      done()
    })
    each.end()
  })
}

function prettyTo(to: Destination): { write(line: string): void } {
  const format = lineFormatter(coloursOf(process.stderr))
  return { write: (line) => void to.write(format(line)) }
}

function accessWriter(to: Destination, format: Format): (line: AccessLine) => void {
  if (format === 'json') return (line) => void to.write(`${JSON.stringify({ time: new Date().toISOString(), ...line })}\n`)
  const pretty = accessFormatter(coloursOf(process.stdout))
  return (line) => void to.write(pretty(line))
}
