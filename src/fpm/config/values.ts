// How php-fpm reads the value of each kind of directive, and how `-tt` shows it. Its words for what it refuses are kept.

import type { CoreLimit, LogLevel, ProcessManager } from './types.ts'
import { atoi } from './statements.ts'

/** A value, or what is wrong with it. */
export type Read<T> = { readonly value: T } | { readonly refused: string }

/** Reading and showing of one kind of value. */
export interface Kind<T> {
  /** For the documentation: what may be written. */
  readonly form: string
  readonly read: (text: string) => Read<T>
  readonly show: (value: T) => string
}

const NUMBER = 'is not a valid number (greater or equal than zero)'

function readInteger(text: string): Read<number> {
  return /^-?\d*$/.test(text) ? { value: atoi(text) } : { refused: NUMBER }
}

export const integer: Kind<number> = { form: 'number', read: readInteger, show: String }

/** 64 is php-fpm's own sign for "not set". */
export const priority: Kind<number | undefined> = {
  form: 'number from -19 to 20',
  read: (text) => {
    const read = readInteger(text)
    return 'value' in read && read.value === 64 ? { value: undefined } : read
  },
  show: (value) => (value === undefined ? 'undefined' : String(value)),
}

const YES: ReadonlySet<string> = new Set(['1', 'on', 'yes', 'true'])
const NO: ReadonlySet<string> = new Set(['', '0', 'off', 'no', 'none', 'false'])

/** The scanner has already made `1` and nothing of such words, but not when they were quoted. */
export const boolean: Kind<boolean> = {
  form: 'yes or no',
  read: (text) => (YES.has(text) ? { value: true } : NO.has(text) ? { value: false } : { refused: 'invalid boolean value' }),
  show: (value) => (value ? 'yes' : 'no'),
}

const UNITS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

function readTime(text: string): Read<number> {
  if (text === '') return { refused: 'invalid time value' }
  const suffix = text.at(-1)!
  const unit = UNITS[suffix]
  if (unit !== undefined) return { value: Math.imul(unit, atoi(text.slice(0, -1))) }
  return suffix >= '0' && suffix <= '9' ? { value: atoi(text) } : { refused: 'unknown suffix used in time value' }
}

/** Whole seconds. */
export const time: Kind<number> = { form: 'seconds; s, m, h or d may follow', read: readTime, show: (value) => `${value}s` }
/** One of them is shown without its unit. */
export const bareTime: Kind<number> = { ...time, show: String }

/** `$pool` is replaced by whoever knows the pool. */
export const string: Kind<string | undefined> = {
  form: 'text',
  read: (text) => ({ value: text }),
  show: (value) => value ?? 'undefined',
}

const LEVELS: Readonly<Record<string, LogLevel>> = {
  debug: 'debug',
  notice: 'notice',
  warning: 'warning',
  warn: 'warning',
  error: 'error',
  alert: 'alert',
}

/** Not set it is shown as php-fpm shows it. */
export const level: Kind<LogLevel | undefined> = {
  form: 'alert, error, warning, notice or debug',
  read: (text) => {
    const value = LEVELS[text.toLowerCase()]
    return value === undefined ? { refused: `invalid value for 'log_level'` } : { value }
  },
  show: (value) => (value === undefined ? 'unknown value' : value.toUpperCase()),
}

/** syslog(3)'s numbers, times eight as in its header. */
export const FACILITIES: Readonly<Record<string, number>> = {
  KERN: 0,
  USER: 8,
  MAIL: 16,
  DAEMON: 24,
  AUTH: 32,
  SYSLOG: 40,
  LPR: 48,
  NEWS: 56,
  UUCP: 64,
  CRON: 72,
  AUTHPRIV: 80,
  FTP: 88,
  LOCAL0: 128,
  LOCAL1: 136,
  LOCAL2: 144,
  LOCAL3: 152,
  LOCAL4: 160,
  LOCAL5: 168,
  LOCAL6: 176,
  LOCAL7: 184,
}

export const facility: Kind<number> = {
  form: 'name of a syslog facility',
  read: (text) => {
    const value = FACILITIES[text.toUpperCase()]
    return value === undefined ? { refused: 'invalid value' } : { value }
  },
  show: String,
}

export const core: Kind<CoreLimit> = {
  form: 'number or unlimited',
  read: (text) => {
    if (text.toLowerCase() === 'unlimited') return { value: 'unlimited' }
    const read = readInteger(text)
    return 'value' in read && read.value < 0 ? { refused: `must be greater than zero or 'unlimited'` } : read
  },
  show: (value) => (value === 'unlimited' ? '-1' : String(value)),
}

const MANAGERS: readonly ProcessManager[] = ['static', 'dynamic', 'ondemand']

export const manager: Kind<ProcessManager | undefined> = {
  form: 'static, dynamic or ondemand',
  read: (text) => {
    const value = MANAGERS.find((each) => each === text.toLowerCase())
    return value === undefined ? { refused: 'invalid process manager (static, dynamic or ondemand)' } : { value }
  },
  show: (value) => value ?? 'static',
}
