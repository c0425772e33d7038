// A report as a page. What clients have sent is in it, so every text is escaped, and nothing in it could run (CVE-2026-6735).

import { createHash } from 'node:crypto'
import { escapeHtml } from '../core/index.ts'
import type { WorkerStatus } from '../core/index.ts'
import type { StatusReport } from './report.ts'
import { interpreterText, nameOf, span } from './text.ts'

const STYLE =
  'body{font:15px/1.5 system-ui,sans-serif;margin:2rem;color:#222;background:#fff}table{border-collapse:collapse;margin:1rem 0}' +
  'th,td{padding:.25rem .75rem;border-bottom:1px solid #ddd;text-align:left;vertical-align:top}td.n{text-align:right;font-variant-numeric:tabular-nums}' +
  'td.t{word-break:break-all}.busy{color:#06752d}.starting{color:#8a5a00}' +
  '@media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}th,td{border-color:#444}.busy{color:#6fd08c}.starting{color:#e0b060}}'

/** Nothing is loaded, and nothing but this style is applied. */
export const POLICY: string = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(STYLE).digest('base64')}'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'`

const HEAD = [
  'pool',
  'kind',
  'interpreter',
  'workers',
  'idle',
  'busy',
  'most busy',
  'waiting',
  'most waiting',
  'may wait',
  'requests',
  'slow',
  'timeouts',
  'crashes',
  'refused',
  'restarts',
  'up',
]

export function statusHtml({ version, pid, started, now, pools }: StatusReport): string {
  const rows = pools.map((pool) => {
    const { workers, queue, failures } = pool
    const counts = [
      [workers.total, workers.idle, workers.busy, workers.maxBusy],
      [queue.waiting, queue.maxWaiting, queue.limit],
      [pool.requests, pool.slow, failures.timeouts, failures.crashes, failures.refused, pool.restarts],
    ].flat()
    const texts = [nameOf(pool), pool.kind, interpreterText(pool.interpreter)]
    return row([...texts.map((each) => cell(each)), ...counts.map(number), cell(span(now - pool.started))])
  })
  let page =
    `<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>Status</title><style>${STYLE}</style></head><body>\n` +
    `<h1>Status</h1>\n<p>Viaduct ${escapeHtml(version)}, pid ${pid}, up ${span(now - started)}</p>\n` +
    `<table>\n${head(HEAD)}${rows.join('')}</table>\n`
  const down = pools.filter(({ error }) => error !== undefined)
  if (down.length > 0)
    page += `<h2>Does not start</h2>\n<table>\n${down.map((pool) => row([cell(nameOf(pool)), cell(pool.error!, 't')])).join('')}</table>\n`
  for (const pool of pools) {
    if (pool.processes === undefined || pool.processes.length === 0) continue
    page += `<h2>${escapeHtml(nameOf(pool))}, ${escapeHtml(pool.kind)}</h2>\n<table>\n${head(WORKER)}${pool.processes.map((each) => workerRow(each, now)).join('')}</table>\n`
  }
  return `${page}</body></html>\n`
}

const WORKER = ['worker', 'state', 'requests', 'up', 'seconds', 'method', 'target']

function workerRow({ id, type, thread, state, started, requests, current }: WorkerStatus, now: number): string {
  const who = `${type} ${id}${thread === undefined ? '' : `, thread ${thread}`}`
  const request = current === undefined ? ['', '', ''] : [current.seconds.toFixed(1), current.method, current.target]
  const [time = '', method = '', target = ''] = request
  return row([cell(who), cell(state, state), number(requests), cell(span(now - started)), cell(time, 'n'), cell(method), cell(target, 't')])
}

const head = (names: readonly string[]): string => `<tr>${names.map((name) => `<th>${name}</th>`).join('')}</tr>\n`
const row = (cells: readonly string[]): string => `<tr>${cells.join('')}</tr>\n`
const number = (value: number): string => cell(String(value), 'n')
const cell = (text: string, kind?: string): string => `<td${kind === undefined ? '' : ` class="${kind}"`}>${escapeHtml(text)}</td>`
