// Status and ping pages, byte for byte php-fpm 8.2's: headers, order, spaces and slips (openmetrics has one TYPE before its HELP).
//
// What clients said is in them, so every text is escaped for its format; where php-fpm leaves a control character as it is, this does not.

import type { ByteString, HeaderList } from '../../core/index.ts'
import { fromByteString, toByteString } from '../../core/index.ts'
import { escapeControls } from '../log/escape.ts'
import { CLF_TIME, strftime } from '../log/strftime.ts'
import type { ProcessStatus, StatusModel } from './types.ts'

export interface Page {
  readonly status: 200
  readonly headers: HeaderList
  readonly body: Uint8Array
}

export type StatusFormat = 'text' | 'html' | 'xml' | 'json' | 'openmetrics'

/** No cache keeps these pages. */
const FRESH = ['Expires', 'Thu, 01 Jan 1970 00:00:00 GMT', 'Cache-Control', 'no-cache, no-store, must-revalidate, max-age=0']

/** In this order they are looked for in the query. */
const FORMATS: readonly Exclude<StatusFormat, 'text'>[] = ['html', 'xml', 'json', 'openmetrics']

/** PHP adds the character set to what is text, and writes the name of the header like this when it does. */
const TYPES: Readonly<Record<StatusFormat, HeaderList>> = {
  text: ['Content-type', 'text/plain;charset=UTF-8'],
  html: ['Content-type', 'text/html;charset=UTF-8'],
  xml: ['Content-type', 'text/xml;charset=UTF-8'],
  json: ['Content-Type', 'application/json'],
  openmetrics: ['Content-Type', 'application/openmetrics-text; version=1.0.0; charset=utf-8'],
}

/** What a HEAD is told: PHP has not come to the format when it sends this. */
const HEAD_TYPE: HeaderList = ['Content-type', 'text/html; charset=UTF-8']

/** The format and whether processes are wanted: `?json&full`. php-fpm compares as many letters as the query has: `?j&f` is the same. */
export function statusQuery(query: ByteString): { readonly format: StatusFormat; readonly full: boolean } {
  const keys = query.split('&').map((pair) => decodeKey(pair.split('=', 1)[0]!).split('[', 1)[0]!)
  const asked = (word: string): boolean => keys.some((key) => key !== '' && word.startsWith(key))
  return { format: FORMATS.find(asked) ?? 'text', full: asked('full') }
}

function decodeKey(text: string): string {
  return text
    .replaceAll('+', ' ')
    .replace(/%([0-9a-f]{2})/gi, (_, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)))
    .trimStart()
}

/** The answer to a request for `pm.status_path`. */
export function statusPage(model: StatusModel, method: string, query: ByteString): Page {
  const { format, full } = statusQuery(query)
  if (method === 'HEAD') return { status: 200, headers: [...FRESH, ...HEAD_TYPE], body: new Uint8Array() }
  return { status: 200, headers: [...FRESH, ...TYPES[format]], body: Buffer.from(RENDER[format](model, full), 'latin1') }
}

/** The answer to a request for `ping.path`. */
export function pingPage(response: string, method: string): Page {
  const body = method === 'HEAD' ? new Uint8Array() : Buffer.from(response)
  return { status: 200, headers: [...TYPES.text, ...FRESH], body }
}

type Value = string | number

/** The fields of a pool. Only times depend on the format. */
function poolFields(model: StatusModel, time: (seconds: number) => Value): [string, Value][] {
  return [
    ['pool', toByteString(model.pool)],
    ['process manager', model.processManager],
    ['start time', time(model.startTime)],
    ['start since', model.now - model.startTime],
    ['accepted conn', model.acceptedConn],
    ['listen queue', model.listenQueue],
    ['max listen queue', model.maxListenQueue],
    ['listen queue len', model.listenQueueLen],
    ['idle processes', model.idleProcesses],
    ['active processes', model.activeProcesses],
    ['total processes', model.idleProcesses + model.activeProcesses],
    ['max active processes', model.maxActiveProcesses],
    ['max children reached', model.maxChildrenReached],
    ['slow requests', model.slowRequests],
  ]
}

/** Numbers of a request are shown when it is over. */
class Decimal {
  readonly text: string
  constructor(value: number) {
    this.text = value.toFixed(2)
  }
}

type Field = readonly [name: string, value: Value | Decimal]

function processFields(process: ProcessStatus, now: number, time: (seconds: number) => Value): Field[] {
  const idle = process.state === 'Idle'
  const query = process.queryString === '' ? '' : `?${process.queryString}`
  return [
    ['pid', process.pid],
    ['state', process.state],
    ['start time', time(process.startTime)],
    ['start since', now - process.startTime],
    ['requests', process.requests],
    ['request duration', process.requestDuration],
    ['request method', or(process.requestMethod)],
    ['request uri', or(process.requestUri) + query],
    ['content length', process.contentLength],
    ['user', or(process.user)],
    ['script', or(process.script)],
    ['last request cpu', new Decimal(idle ? process.lastRequestCpu : 0)],
    ['last request memory', idle ? process.lastRequestMemory : 0],
  ]
}

const or = (text: string): string => (text === '' ? '-' : text)
const clf = (seconds: number): string => strftime(CLF_TIME, seconds * 1000)
const seconds = (value: number): number => value

/** A value for a format that writes numbers as they are. */
function shown(value: Value | Decimal, escape: (text: ByteString) => ByteString): string {
  return value instanceof Decimal ? value.text : typeof value === 'number' ? String(value) : escape(value)
}

type Renderer = (model: StatusModel, full: boolean) => ByteString

const line = ([name, value]: Field): string =>
  `${`${name === 'request uri' ? 'request URI' : name}:`.padEnd(22)}${shown(value, escapeControls)}\n`

const text: Renderer = (model, full) => {
  let page = poolFields(model, clf).map(line).join('')
  if (full) for (const each of model.processes) page += `\n${'*'.repeat(24)}\n${processFields(each, model.now, clf).map(line).join('')}`
  return page
}

const MARKUP: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;' }

/** For the content of elements. XML has no way to say most control characters. */
function markup(bytes: ByteString): ByteString {
  return escapeControls(bytes).replace(/[&<>"]/g, (char) => MARKUP[char]!)
}

const cell = ([, value]: Field): string => `<td>${shown(value, markup)}</td>`

const html: Renderer = (model, full) => {
  const rows = poolFields(model, clf).map((field) => `<tr><th>${field[0]}</th>${cell(field)}</tr>\n`)
  let page =
    '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-strict.dtd">\n' +
    '<html xmlns="http://www.w3.org/1999/xhtml" xml:lang="en" lang="en">\n' +
    `<head><title>PHP-FPM Status Page</title></head>\n<body>\n<table>\n${rows.join('')}</table>\n`
  if (!full) return `${page}</body></html>`
  page += `<table border="1">\n<tr>${NAMES.map((name) => `<th>${name}</th>`).join('')}</tr>\n`
  for (const each of model.processes) page += `<tr>${processFields(each, model.now, clf).map(cell).join('')}</tr>\n`
  return `${page}</table></body></html>`
}

/** The names of a process's fields, of which there need not be one. */
const NAMES: readonly string[] = processFields(
  {
    pid: 0,
    state: 'Idle',
    startTime: 0,
    requests: 0,
    requestDuration: 0,
    requestMethod: '',
    requestUri: '',
    queryString: '',
    contentLength: 0,
    user: '',
    script: '',
    lastRequestCpu: 0,
    lastRequestMemory: 0,
  },
  0,
  seconds,
).map(([name]) => name)

function element([name, value]: Field): string {
  const tag = name.replaceAll(' ', '-')
  return `<${tag}>${shown(value, markup)}</${tag}>`
}

const xml: Renderer = (model, full) => {
  const fields = poolFields(model, seconds).map((field) => `${element(field)}\n`)
  let page = `<?xml version="1.0" ?>\n<status>\n${fields.join('')}`
  if (!full) return `${page}</status>`
  page += '<processes>\n'
  for (const each of model.processes) page += `<process>${processFields(each, model.now, seconds).map(element).join('')}</process>\n`
  return `${page}</processes>\n</status>`
}

/** As PHP's json_encode: slashes escaped, and everything that is not ASCII as `\u00e9`. */
function jsonText(bytes: ByteString): string {
  const quoted = JSON.stringify(fromByteString(bytes))
  const ascii = quoted.replace(/[\x7f-\uffff]/g, (char) =>
    char === '\x7f' ? char : `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return ascii.replaceAll('/', '\\/')
}

const member = ([name, value]: Field): string => `"${name}":${shown(value, jsonText)}`

const json: Renderer = (model, full) => {
  const page = poolFields(model, seconds).map(member).join(',')
  if (!full) return `{${page}}`
  const processes = model.processes.map((each) => `{${processFields(each, model.now, seconds).map(member).join(',')}}`)
  return `{${page}, "processes":[${processes.join(',')}]}`
}

/** Name, type and help of each metric. */
const METRICS: readonly (readonly [name: string, field: string, type: 'gauge' | 'counter', help: string])[] = [
  ['start_since', 'start since', 'counter', 'The number of seconds since FPM has started.'],
  ['accepted_connections', 'accepted conn', 'counter', 'The number of requests accepted by the pool.'],
  ['listen_queue', 'listen queue', 'gauge', 'The number of requests in the queue of pending connections.'],
  [
    'max_listen_queue',
    'max listen queue',
    'counter',
    'The maximum number of requests in the queue of pending connections since FPM has started.',
  ],
  ['listen_queue_length', 'listen queue len', 'gauge', 'The size of the socket queue of pending connections.'],
  ['idle_processes', 'idle processes', 'gauge', 'The number of idle processes.'],
  ['active_processes', 'active processes', 'gauge', 'The number of active processes.'],
  ['total_processes', 'total processes', 'gauge', 'The number of idle + active processes.'],
  ['max_active_processes', 'max active processes', 'counter', 'The maximum number of active processes since FPM has started.'],
  [
    'max_children_reached',
    'max children reached',
    'counter',
    `The number of times, the process limit has been reached, when pm tries to start more children (works only for pm 'dynamic' and 'ondemand').`,
  ],
  ['slow_requests', 'slow requests', 'counter', `The number of requests that exceeded your 'request_slowlog_timeout' value.`],
]

const openmetrics: Renderer = (model) => {
  const values = new Map(poolFields(model, seconds))
  // In help texts backslashes and line breaks are escaped (OpenMetrics 1.0, "ABNF").
  const pool = escapeControls(toByteString(model.pool).replaceAll('\\', '\\\\'))
  let page = `# HELP phpfpm_up Could pool ${pool} using a ${model.processManager} PM on PHP-FPM be reached?\n# TYPE phpfpm_up gauge\nphpfpm_up 1\n`
  for (const [name, field, type, help] of METRICS) {
    const lines = [`# HELP phpfpm_${name} ${help}\n`, `# TYPE phpfpm_${name} ${type}\n`]
    if (name === 'listen_queue_length') lines.reverse()
    page += `${lines.join('')}phpfpm_${name} ${values.get(field)}\n`
  }
  return `${page}# EOF\n`
}

const RENDER: Readonly<Record<StatusFormat, Renderer>> = { text, html, xml, json, openmetrics }
