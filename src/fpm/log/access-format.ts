// access.format: read once into a list of parts, then filled in for each request.
//
// What clients say is made visible before it is written (a line break in a path would be a line of the log); the format itself is not.

import type { ByteString } from '../../core/index.ts'
import { toByteString } from '../../core/index.ts'
import { escapeControls } from './escape.ts'
import type { AccessRecord } from './access-types.ts'
import { CLF_TIME, strftime } from './strftime.ts'

/** One code: what its modifier may be, and what it stands for. */
interface Code {
  /** Of the words between braces; `name` and `time` take any. */
  readonly modifiers: 'none' | 'name' | 'time' | readonly string[]
  /** What is said of another modifier, before the code's own letter. */
  readonly complaint: string
  readonly value: (record: AccessRecord, modifier: string) => string
}

const plain = (value: (record: AccessRecord) => string): Code => ({ modifiers: 'none', complaint: '', value })
const or = (text: string): string => (text === '' ? '-' : text)

// Most lines of a busy server are of the second of the line before.
let known = { format: '', second: -1, text: '' }

function clock(format: string, time: number): string {
  const second = Math.floor(time / 1000)
  if (known.second !== second || known.format !== format) {
    known = { format, second, text: strftime(format === '' ? CLF_TIME : format, second * 1000) }
  }
  return known.text
}

const CODES: Readonly<Record<string, Code>> = {
  '%': plain(() => '%'),
  C: {
    modifiers: ['total', 'user', 'system'],
    complaint: `only 'total', 'user' or 'system' are allowed as a modifier for`,
    value: ({ cpuUser, cpuSystem, cpuDuration }, modifier) => {
      const used = modifier === 'user' ? cpuUser : modifier === 'system' ? cpuSystem : cpuUser + cpuSystem
      return (cpuDuration > 0 ? (used / cpuDuration) * 100 : 0).toFixed(2)
    },
  },
  d: {
    modifiers: ['seconds', 'milliseconds', 'milli', 'miliseconds', 'mili', 'microseconds', 'micro'],
    complaint: `only 'seconds', 'milli', 'milliseconds', 'micro' or 'microseconds' are allowed as a modifier for`,
    value: ({ duration }, modifier) => {
      if (modifier.startsWith('micro')) return String(Math.round(duration))
      return (duration / (modifier.startsWith('mil') ? 1e3 : 1e6)).toFixed(3)
    },
  },
  e: {
    modifiers: 'name',
    complaint: 'the name of the environment variable must be set between embraces for',
    value: (record, name) => record.env(name) ?? '-',
  },
  f: plain(({ script }) => or(script)),
  l: plain(({ contentLength }) => String(contentLength)),
  m: plain(({ method }) => or(method)),
  M: {
    modifiers: ['bytes', 'kilobytes', 'kilo', 'megabytes', 'mega'],
    complaint: `only 'bytes', 'kilo', 'kilobytes', 'mega' or 'megabytes' are allowed as a modifier for`,
    value: ({ memory }, modifier) =>
      String(Math.floor(modifier.startsWith('k') ? memory / 1024 : modifier.startsWith('m') ? memory / 1_048_576 : memory)),
  },
  n: plain(({ pool }) => or(pool)),
  o: {
    modifiers: 'name',
    complaint: 'the name of the header must be set between embraces for',
    value: (record, name) => or(record.header(name) ?? ''),
  },
  p: plain(({ pid }) => String(pid)),
  P: plain(({ ppid }) => String(ppid)),
  q: plain(({ query }) => query),
  Q: plain(({ query }) => (query === '' ? '' : '?')),
  r: plain(({ uri }) => uri),
  R: plain(({ remote }) => remote ?? '-'),
  s: plain(({ status }) => String(status)),
  t: { modifiers: 'time', complaint: '', value: ({ acceptedAt }, format) => clock(format, acceptedAt) },
  T: { modifiers: 'time', complaint: '', value: ({ endedAt }, format) => clock(format, endedAt) },
  u: plain(({ user }) => user),
}

/** Characters of a modifier that are looked at. */
const MODIFIER_LENGTH = 128

type Part = string | { readonly code: Code; readonly modifier: string }

/** The parts of a format, or what php-fpm warns of. */
function parse(format: string): readonly Part[] | { readonly fault: string } {
  const parts: Part[] = []
  for (let i = 0; i < format.length; i++) {
    if (format[i] !== '%') {
      const before = parts.at(-1)
      if (typeof before === 'string') parts[parts.length - 1] = before + format[i]!
      else parts.push(format[i]!)
      continue
    }
    i++
    let modifier = ''
    while (format[i] === '{') {
      const end = format.indexOf('}', i)
      if (end < 0 || end === format.length - 1) return { fault: 'missing closing embrace in the access.format' }
      modifier = format.slice(i + 1, end).slice(0, MODIFIER_LENGTH)
      i = end + 1
    }
    // A lone % at the end is nothing.
    if (i >= format.length) break
    const letter = format[i]!
    const code = Object.hasOwn(CODES, letter) ? CODES[letter] : undefined
    if (code === undefined) return { fault: `Invalid token in the access.format (%${letter})` }
    const fault = modifierFault(code, letter, modifier)
    if (fault !== undefined) return { fault }
    parts.push({ code, modifier: code.modifiers === 'name' || code.modifiers === 'time' ? modifier : modifier.toLowerCase() })
  }
  return parts
}

function modifierFault({ modifiers, complaint }: Code, letter: string, modifier: string): string | undefined {
  if (modifiers === 'name') return modifier === '' ? `${complaint} %${letter}` : undefined
  if (modifier === '' || modifiers === 'time') return undefined
  if (modifiers === 'none') return `embrace is not allowed for modifier %${letter}`
  return modifiers.includes(modifier.toLowerCase()) ? undefined : `${complaint} %${letter} ('${modifier}')`
}

/** What is wrong with a format, in php-fpm's words; undefined when it is good. */
export function accessFormatFault(format: string): string | undefined {
  const parsed = parse(format)
  return 'fault' in parsed ? parsed.fault : undefined
}

/** Bytes of a line. php-fpm has 1024, and cuts a path at 127 and a query at 511 before that; here all of them are written as far as this. */
export const ACCESS_LINE = 8192

export interface AccessLine {
  /** Without its line break; '' is not written. */
  readonly line: ByteString
  /** It was longer than `ACCESS_LINE`: to be said in the main log, at level notice. */
  readonly cut: boolean
}

/** A function that makes the line of a request. The format has been checked: throws an Error for a bad one. */
export function accessFormatter(format: string): (record: AccessRecord) => AccessLine {
  const parts = parse(toByteString(format))
  if ('fault' in parts) throw new Error(parts.fault)
  return (record) => {
    let line = ''
    for (const part of parts) {
      if (typeof part === 'string') line += part
      // A time is in the operator's words.
      else if (part.code.modifiers === 'time') line += part.code.value(record, part.modifier)
      else line += escapeControls(part.code.value(record, part.modifier))
    }
    return line.length <= ACCESS_LINE ? { line, cut: false } : { line: line.slice(0, ACCESS_LINE), cut: true }
  }
}

/** Whether a request is one that `access.suppress_path[]` keeps out of the log: a GET or HEAD of exactly that path that went well and was cheap. */
export function isSuppressed(
  paths: readonly string[],
  record: Pick<AccessRecord, 'method' | 'uri' | 'query' | 'status'> & { contentLength: number },
): boolean {
  if (paths.length === 0 || record.contentLength > 0) return false
  if (record.method !== 'GET' && record.method !== 'HEAD') return false
  return record.status >= 200 && record.status < 300 && record.query === '' && paths.includes(record.uri)
}
