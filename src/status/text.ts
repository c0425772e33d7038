// A report as a table for people: in a terminal and at the end of curl.

import type { Interpreter, WorkerStatus } from '../core/index.ts'
import type { ReportedPool, StatusReport } from './report.ts'

/** How parts of the text are made to stand out. */
export interface Paint {
  readonly bold: (text: string) => string
  readonly dim: (text: string) => string
  readonly green: (text: string) => string
  readonly yellow: (text: string) => string
  readonly red: (text: string) => string
}

const same = (text: string): string => text

/** Not at all. */
export const PLAIN: Paint = { bold: same, dim: same, green: same, yellow: same, red: same }

interface Cell {
  readonly text: string
  readonly paint?: (text: string) => string
  readonly right?: boolean
}

const HEAD = ['pool', 'kind', 'interpreter', 'workers', 'busy', 'most', 'waiting', 'requests', 'slow', 'timeouts', 'crashes', 'refused']

/** Every line ends with a line break. */
export function statusText({ version, pid, started, now, pools }: StatusReport, paint: Paint = PLAIN): string {
  const about = `${paint.bold('Viaduct')} ${version}, pid ${pid}, up ${span(now - started)}\n`
  if (pools.length === 0) return `${about}\nno pool has been started\n`
  const rows = pools.map((pool) => poolRow(pool, paint))
  const head = HEAD.map((text, i) => ({ text, paint: paint.bold, right: i > 2 }))
  let text = `${about}\n${table([head, ...rows])}`
  const down = pools.filter(({ error }) => error !== undefined)
  if (down.length > 0)
    text += `\n${paint.red('does not start')}\n${table(down.map((pool) => [{ text: `  ${nameOf(pool)}` }, { text: pool.error! }]))}`
  for (const pool of pools) {
    if (pool.processes === undefined || pool.processes.length === 0) continue
    text += `\n${paint.bold(nameOf(pool))} ${paint.dim(kindOf(pool))}\n${table(pool.processes.map((each) => workerRow(each, now, paint)))}`
  }
  return text
}

/** What an application calls itself, and which of its pools this is. */
export function nameOf({ application, name }: ReportedPool): string {
  return application === undefined || application === name ? name : `${application}: ${name}`
}

function kindOf({ kind, interpreter }: ReportedPool): string {
  return interpreter.mode === 'embedded' ? `${kind}, embedded` : kind
}

/** `php-cgi 8.2.31`, `python 3.13 embedded`. */
export function interpreterText({ mode, name, version }: Interpreter): string {
  const short = name.slice(name.lastIndexOf('/') + 1)
  return [short, version, mode === 'embedded' ? 'embedded' : undefined].filter((part) => part !== undefined).join(' ')
}

function count(value: number, paint?: (text: string) => string): Cell {
  return { text: String(value), right: true, ...(value > 0 && paint !== undefined && { paint }) }
}

function poolRow(pool: ReportedPool, paint: Paint): Cell[] {
  const { workers, queue, failures } = pool
  return [
    { text: nameOf(pool) },
    { text: pool.kind },
    { text: interpreterText(pool.interpreter), paint: paint.dim },
    count(workers.total),
    count(workers.busy, workers.busy === workers.total ? paint.yellow : paint.green),
    count(workers.maxBusy),
    count(queue.waiting, paint.yellow),
    count(pool.requests),
    count(pool.slow, paint.yellow),
    count(failures.timeouts, paint.red),
    count(failures.crashes, paint.red),
    count(failures.refused, paint.red),
  ]
}

function workerRow(worker: WorkerStatus, now: number, paint: Paint): Cell[] {
  const { id, type, thread, state, started, requests, current } = worker
  const who = `${type === 'thread' ? 'thread ' : ''}${id === 0 ? '-' : id}${thread === undefined ? '' : `/${thread}`}`
  const colour = { idle: paint.dim, busy: paint.green, starting: paint.yellow }[state]
  return [
    { text: `  ${who}` },
    { text: state, paint: colour },
    { text: `${requests} request${requests === 1 ? ' ' : 's'}`, right: true },
    { text: `up ${span(now - started)}`, paint: paint.dim },
    { text: current === undefined ? '' : `${seconds(current.seconds)}  ${current.method} ${current.target}` },
  ]
}

/** Columns as wide as their widest cell; nothing follows the last text of a line. */
function table(rows: readonly (readonly Cell[])[]): string {
  const widths: number[] = []
  for (const row of rows) for (const [i, { text }] of row.entries()) widths[i] = Math.max(widths[i] ?? 0, text.length)
  return rows
    .map(
      (row) =>
        `${row.map((cell, i) => padded(cell, i === row.length - 1 && cell.right !== true ? 0 : widths[i]!)).join('  ')}`.trimEnd() + '\n',
    )
    .join('')
}

function padded({ text, paint = same, right = false }: Cell, width: number): string {
  const space = ' '.repeat(Math.max(0, width - text.length))
  return right ? space + paint(text) : paint(text) + space
}

function seconds(value: number): string {
  return `${value.toFixed(1)} s`
}

/** `42 s`, `3 min`, `5 h 12 min`, `4 d 3 h`. */
export function span(milliseconds: number): string {
  const total = Math.max(0, Math.floor(milliseconds / 1000))
  const [days, hours, minutes] = [Math.floor(total / 86_400), Math.floor(total / 3600) % 24, Math.floor(total / 60) % 60]
  if (days > 0) return `${days} d ${hours} h`
  if (hours > 0) return `${hours} h ${minutes} min`
  return minutes > 0 ? `${minutes} min` : `${total} s`
}
