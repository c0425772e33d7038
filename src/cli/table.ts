// What is said once, when the server is up: what is served, what is missing, where it is.

import { describeListen } from '../runtime/index.ts'
import type { PlanEntry } from '../config/index.ts'
import type { Address } from '../core/index.ts'
import type { Protocol } from './site.ts'
import type { Colours } from './colours.ts'

const KINDS: Readonly<Record<string, string>> = {
  static: 'files',
  php: 'PHP',
  cgi: 'CGI',
  wsgi: 'Python',
  fcgi: 'FastCGI',
  node: 'JavaScript',
  status: 'status page',
}

/** Columns are as wide as their widest cell; a column nobody fills is left out. */
export function table(entries: readonly PlanEntry[], c: Colours): string {
  const cells = entries.map((row) => [
    row.path,
    [KINDS[row.kind] ?? row.kind, row.file].filter((part) => part !== undefined).join(' '),
    row.missing === undefined
      ? [row.interpreter, row.version, row.interpreter && row.note].filter((part) => part !== undefined).join(' ')
      : `${row.missing.what} is missing`,
    lastCell(row),
  ])
  const widths = cells.reduce((widest, line) => line.map((cell, i) => Math.max(cell.length, widest[i] ?? 0)), [] as number[])
  const paint = [c.bold, (text: string) => text, c.dim, c.dim]
  return cells
    .map((line, i) => {
      const missing = entries[i]!.missing !== undefined
      const painted = line
        .map((cell, column) => ({ cell, pad: widths[column] === 0 ? -1 : widths[column]! - cell.length, column }))
        .filter(({ pad }) => pad >= 0)
      return `  ${painted.map(({ cell, pad, column }) => (missing && column === 2 ? c.yellow : paint[column]!)(cell) + ' '.repeat(pad)).join('   ')}`.trimEnd()
    })
    .join('\n')
}

/** How many workers there are, or what is to be known of what nothing runs. */
function lastCell({ interpreter, workers, upTo, missing, note }: PlanEntry): string {
  if (missing !== undefined) return ''
  if (workers === undefined) return interpreter === undefined ? (note ?? '') : ''
  return `${upTo === true ? 'up to ' : ''}${workers} worker${workers === 1 ? '' : 's'}`
}

/** The command that would bring each missing thing, or where it was looked for; each once. */
export function remedies(entries: readonly PlanEntry[], c: Colours): string {
  const seen = new Map<string, string | undefined>()
  for (const { missing } of entries) {
    if (missing === undefined || seen.get(missing.what) !== undefined) continue
    seen.set(missing.what, missing.command === undefined ? missing.why : c.bold(missing.command))
  }
  const known = [...seen].filter(([, how]) => how !== undefined)
  const lines = known.map(([what, how]) => `  ${what}:  ${how}`)
  return lines.length === 0 ? '' : `${c.yellow('To get what is missing')}\n${lines.join('\n')}`
}

/** A link where there can be one: every address of the machine is shown as localhost. */
export function addressText(address: Address, protocol: Protocol = 'http'): string {
  if ('path' in address || protocol === 'fastcgi') return describeListen(address)
  const host = address.host === '::' || address.host === '0.0.0.0' ? 'localhost' : address.host
  const [scheme, usual] = protocol === 'https' ? ['https', ':443'] : ['http', ':80']
  const text = describeListen({ host, port: address.port })
  return `${scheme}://${text.endsWith(usual) ? text.slice(0, -usual.length) : text}/`
}

const REMARKS: Readonly<Record<Protocol, string>> = { http: '', https: '', redirect: '  (leads to https)', fastcgi: '  (FastCGI)' }

export interface Banner {
  readonly version: string
  readonly folder: string
  readonly entries: readonly PlanEntry[]
  readonly addresses: readonly Address[]
  /** Of each address. Default: all are HTTP. */
  readonly protocols?: readonly Protocol[]
  /** Applications that did not come up. */
  readonly down?: readonly string[]
}

export function banner({ version, folder, entries, addresses, protocols = [], down = [] }: Banner, c: Colours): string {
  const every = addresses.some((address) => 'host' in address && (address.host === '::' || address.host === '0.0.0.0'))
  const links = addresses.map((address, i) => {
    const protocol = protocols[i] ?? 'http'
    return `  ${c.cyan(addressText(address, protocol))}${c.dim(REMARKS[protocol])}`
  })
  return [
    `${c.bold('Viaduct')} ${version} serves ${folder}`,
    table(entries, c),
    remedies(entries, c),
    down.length === 0 ? '' : `${c.yellow('Not up, for the reasons above')}\n${down.map((name) => `  ${name}`).join('\n')}`,
    links.join('\n') + (every ? c.dim('  (every address of this machine)') : ''),
    c.dim('  Ctrl-C stops it'),
  ]
    .filter((part) => part !== '')
    .join('\n\n')
}
