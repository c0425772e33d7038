// Log lines for people: short, one line each, the time first.

import { visible } from '../process/index.ts'
import type { Colours } from './colours.ts'

type Entry = Readonly<Record<string, unknown>>

/** Makes `12:03:04 warn php[1234] message key=value` of a line of pino's JSON. */
export function lineFormatter(colours: Colours): (line: string) => string {
  return (line) => prettyLine(JSON.parse(line) as Entry, colours) + '\n'
}

const OWN_KEYS = new Set(['time', 'level', 'msg', 'application', 'pid', 'err', 'error'])

function prettyLine(entry: Entry, c: Colours): string {
  const level = String(entry['level'])
  const parts = [c.dim(clock(entry['time']))]
  if (level === 'error') parts.push(c.red(level))
  else if (level === 'warn') parts.push(c.yellow(level))
  else if (level === 'debug') parts.push(c.dim(level))
  const application = entry['application']
  if (application !== undefined)
    parts.push(c.cyan(visible(String(application)) + (entry['pid'] === undefined ? '' : `[${String(entry['pid'])}]`)))
  parts.push(visible(String(entry['msg'] ?? '')))
  const error = entry['err'] ?? entry['error']
  if (error !== undefined) parts.push(errorText(error).split('\n').map(visible).join('\n'))
  const rest = Object.entries(entry).filter(([key, value]) => !OWN_KEYS.has(key) && value !== undefined)
  if (application === undefined && entry['pid'] !== undefined) rest.push(['pid', entry['pid']])
  if (rest.length > 0)
    parts.push(c.dim(rest.map(([key, value]) => `${key}=${visible(typeof value === 'string' ? value : JSON.stringify(value))}`).join(' ')))
  return parts.join(' ')
}

function errorText(error: unknown): string {
  if (typeof error !== 'object' || error === null) return String(error)
  const { stack, message } = error as { stack?: string; message?: string }
  return stack ?? message ?? JSON.stringify(error)
}

function clock(time: unknown): string {
  return new Date(typeof time === 'string' || typeof time === 'number' ? time : Date.now()).toTimeString().slice(0, 8)
}

/** Makes `12:03:04 200 GET /index.php 1.2 kB 3 ms` of an access log entry. */
export function accessFormatter(c: Colours): (entry: object) => string {
  return (entry) => prettyAccess(entry as Entry, c) + '\n'
}

function prettyAccess(entry: Entry, c: Colours): string {
  const status = Number(entry['status'] ?? 0)
  const colour = status >= 500 || status === 0 ? c.red : status >= 400 ? c.yellow : status >= 300 ? c.cyan : c.green
  const parts = [c.dim(clock(entry['time'])), colour(String(status)), visible(`${String(entry['method'])} ${String(entry['target'])}`)]
  const facts = []
  if (typeof entry['bytes'] === 'number') facts.push(humanBytes(entry['bytes']))
  if (typeof entry['duration'] === 'number') facts.push(humanTime(entry['duration']))
  if (entry['outcome'] !== undefined && entry['outcome'] !== 'sent') facts.push(String(entry['outcome']))
  if (facts.length > 0) parts.push(c.dim(facts.join(' ')))
  return parts.join(' ')
}

/** Three digits at most: `999 B`, `1.2 kB`, `34 MB`. */
export function humanBytes(bytes: number): string {
  const units = ['B', 'kB', 'MB', 'GB', 'TB']
  let value = bytes
  let unit = 0
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit > 0 && value < 9.95 ? value.toFixed(1) : value.toFixed(0)} ${units[unit]!}`
}

export function humanTime(milliseconds: number): string {
  if (milliseconds < 1) return '<1 ms'
  return milliseconds < 999.5 ? `${milliseconds.toFixed(0)} ms` : `${(milliseconds / 1000).toFixed(1)} s`
}
