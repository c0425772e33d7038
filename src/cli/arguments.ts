// The command line of one command: pure, so that every mistake is a table row in a test.
//
// node:util parseArgs finds the tokens; the errors are ours, because they should name the nearest thing that exists.

import { resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { ListenSpec } from '../runtime/index.ts'
import { nearest } from '../core/index.ts'

/** A mistake in the command line: exit code 2. The message says what was expected. */
export class UsageError extends Error {
  override readonly name = 'UsageError'
}

/** One option: its value's name in the help (none: a switch), what it does, and a short form. */
export interface OptionSpec {
  readonly value?: string
  /** What the value is one of. */
  readonly choices?: readonly string[]
  readonly help: string
  readonly short?: string
  /** May be given more than once. */
  readonly many?: boolean
}
export type OptionTable = Readonly<Record<string, OptionSpec>>

export interface Parsed {
  /** Values by option name, in the order they were given; a switch has one empty string. */
  readonly values: ReadonlyMap<string, readonly string[]>
  readonly rest: readonly string[]
}

/** Splits `args` by `table`. Throws UsageError for an unknown option, a missing or unwanted value, a repeat. */
export function parse(args: readonly string[], table: OptionTable): Parsed {
  const options: Record<string, { type: 'string' | 'boolean'; short?: string; multiple: true }> = {}
  for (const [name, spec] of Object.entries(table)) {
    options[name] = {
      type: spec.value === undefined ? 'boolean' : 'string',
      multiple: true,
      ...(spec.short !== undefined && { short: spec.short }),
    }
  }
  const { tokens } = parseArgs({ args: [...args], options, strict: false, tokens: true, allowPositionals: true })
  const values = new Map<string, string[]>()
  const rest: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') rest.push(token.value)
    if (token.kind !== 'option') continue
    const spec = Object.hasOwn(table, token.name) ? table[token.name] : undefined
    if (spec === undefined) throw new UsageError(unknownOption(token.rawName, table))
    if (spec.value === undefined && token.value !== undefined) throw new UsageError(`${token.rawName} takes no value`)
    // Without "=", a following option was swallowed: `--listen --workers 4`.
    const missing =
      spec.value !== undefined && (token.value === undefined || token.value === '' || (!token.inlineValue && /^--?[a-z]/.test(token.value)))
    if (missing) throw new UsageError(`${token.rawName} needs a value: ${token.rawName} ${spec.value}`)
    const known = values.get(token.name)
    if (known === undefined) values.set(token.name, [token.value ?? ''])
    else if (spec.many === true) known.push(token.value ?? '')
    else if (spec.value !== undefined) throw new UsageError(`${token.rawName} was given twice`)
  }
  return { values, rest }
}

function unknownOption(given: string, table: OptionTable): string {
  const hint = nearest(given.replace(/^-+/, ''), Object.keys(table))
  return `unknown option ${given}${hint === undefined ? '' : `; did you mean --${hint}?`}`
}

export const DEFAULT_HOST = '127.0.0.1'
export const DEFAULT_PORT = 8080

const LISTEN_FORMS = 'HOST:PORT, PORT, :PORT (every address) or unix:/path'

/** `HOST:PORT`, `PORT` (on `host`), `:PORT` and `*:PORT` (every address), `[IPV6]:PORT`, `unix:/path`. Throws UsageError, which names `option`. */
export function parseListen(text: string, host: string = DEFAULT_HOST, option: string = '--listen'): ListenSpec {
  if (text.startsWith('unix:')) {
    const path = text.slice('unix:'.length)
    if (path === '' || path.includes('\0')) throw new UsageError(`${option} ${text}: a path is missing; expected ${LISTEN_FORMS}`)
    return { path: resolve(path) }
  }
  const match = /^(?:(\[[0-9A-Fa-f:.]+\]|[^:[\]/\s]*):)?(\d+)$/.exec(text)
  if (match === null) {
    const hint = text.startsWith('/') ? `; did you mean unix:${text}?` : ''
    throw new UsageError(`${option} ${text}: expected ${LISTEN_FORMS}${hint}`)
  }
  const port = parsePort(match[2]!, `${option} ${text}`)
  const given = match[1]
  if (given === undefined) return { host, port }
  return { host: given === '' ? '*' : given.replace(/^\[(.*)\]$/, '$1'), port }
}

/** 0 to 65535; 0 lets the system choose. */
export function parsePort(text: string, where: string): number {
  const port = /^\d{1,5}$/.test(text) ? Number(text) : NaN
  if (!(port <= 65_535)) throw new UsageError(`${where}: a port is a number from 0 to 65535, got "${text}"`)
  return port
}

const UNITS: Readonly<Record<string, number>> = { '': 1, k: 1024, m: 1024 ** 2, g: 1024 ** 3 }

/** Bytes: `500`, `64K`, `8M`, `1G` (powers of 1024; `B` and `iB` may follow). */
export function parseSize(text: string, where: string): number {
  const match = /^(\d+(?:\.\d+)?)\s*([kmg]?)(?:i?b)?$/i.exec(text)
  const bytes = match === null ? NaN : Math.floor(Number(match[1]) * UNITS[match[2]!.toLowerCase()]!)
  if (!Number.isSafeInteger(bytes)) throw new UsageError(`${where}: expected a size such as 64K, 8M or 1G, got "${text}"`)
  return bytes
}

/** Seconds, as milliseconds: `30`, `0.5`. */
export function parseSeconds(text: string, where: string): number {
  const milliseconds = /^\d+(\.\d+)?$/.test(text) ? Math.round(Number(text) * 1000) : NaN
  // setTimeout takes no more than 31 bits and would fire at once.
  if (!(milliseconds <= 2 ** 31 - 1)) throw new UsageError(`${where}: expected seconds such as 30 or 0.5, got "${text}"`)
  return milliseconds
}

/** A path of URLs that stands for itself: `/status`. */
export function parsePath(text: string, where: string): string {
  if (!/^\/[A-Za-z0-9._~/-]+$/.test(text) || text.endsWith('/') || /\/(?:\.{0,2})(?:\/|$)/.test(text))
    throw new UsageError(`${where}: expected a path such as /status, got "${text}"`)
  return text
}

export function parseWhole(text: string, least: number, where: string): number {
  const value = /^\d{1,9}$/.test(text) ? Number(text) : NaN
  if (!(value >= least)) throw new UsageError(`${where}: expected a whole number from ${least}, got "${text}"`)
  return value
}

export function parseChoice<T extends string>(text: string, choices: readonly T[], where: string): T {
  const found = choices.find((choice) => choice === text)
  if (found === undefined) throw new UsageError(`${where}: expected ${choices.slice(0, -1).join(', ')} or ${choices.at(-1)}, got "${text}"`)
  return found
}
