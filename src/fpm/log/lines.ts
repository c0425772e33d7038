// The lines of php-fpm's main log, and the heads of its slow log: pure text.

import type { LogLevel, Message } from '../config/types.ts'
import { escapeControls } from './escape.ts'
import { strftime } from './strftime.ts'

const RANK: Readonly<Record<LogLevel, number>> = { debug: 1, notice: 2, warning: 3, error: 4, alert: 5 }

/** Whether a message of this level is written when the log is at that one. */
export function isLogged(level: LogLevel, at: LogLevel): boolean {
  return RANK[level] >= RANK[at]
}

export interface LineContext {
  /** What the log is at. */
  readonly level: LogLevel
  /** Unix milliseconds, with their fractions. */
  readonly time: number
  readonly pid: number
  /** syslog has times of its own. */
  readonly syslog?: boolean
}

/** What stands before the text: `[22-Nov-2026 15:00:00] NOTICE: `; at level debug also microseconds, the process and where it was said. */
export function lineHead(level: LogLevel, from: string, { level: at, time, pid, syslog }: LineContext): string {
  const name = level.toUpperCase()
  // There are no C lines to be named; who parses the line finds a number where php-fpm has one.
  const place = at === 'debug' ? `${from}(), line 0: ` : ''
  if (syslog === true) return `[${name}] ${place}`
  return `${lineTime(time, at)}${name}: ${at === 'debug' ? `pid ${pid}, ${place}` : ''}`
}

/** `[22-Nov-2026 15:00:00] `, with microseconds at level debug. */
export function lineTime(time: number, at: LogLevel): string {
  const micro = at === 'debug' ? `.${String(Math.floor((time * 1000) % 1e6)).padStart(6, '0')}` : ''
  return `[${strftime('%d-%b-%Y %H:%M:%S', time)}${micro}] `
}

/** php-fpm formats a message into so many bytes. */
const LINE = 2048

/**
 * A whole line, with its line break: there is none in the text, which may name what a client asked for, but at its very end, where
 * php-fpm has some empty lines. One that does not fit is cut, and ends with `...`.
 */
export function logLine(message: Message, limit: number, context: LineContext): string {
  const { text } = message
  const said = text.endsWith('\n') ? `${escapeControls(text.slice(0, -1))}\n` : escapeControls(text)
  const line = lineHead(message.level, message.from, context) + said
  if (Buffer.byteLength(line) < LINE) return `${line}\n`
  const room = Math.min(limit, LINE) - 4
  return `${Buffer.from(line).subarray(0, room).toString('utf8')}...\n`
}

/** One frame of a trace, innermost first. */
export interface SlowFrame {
  readonly address: bigint
  readonly call: string
  readonly file: string
  readonly line: number
}

export interface SlowEntry {
  readonly time: number
  /** What the main log is at. */
  readonly level: LogLevel
  readonly pool: string
  readonly pid: number
  readonly script: string
  readonly frames: readonly SlowFrame[]
}

/** One entry of the slow log. Without frames it is its head alone. */
export function slowEntry({ time, level, pool, pid, script, frames }: SlowEntry): string {
  const lines = frames.map((frame) => `[0x${frame.address.toString(16).padStart(16, '0')}] ${frame.call}() ${frame.file}:${frame.line}\n`)
  return `\n${lineTime(time, level)} [pool ${pool}] pid ${pid}\nscript_filename = ${escapeControls(script)}\n${lines.join('')}`
}
