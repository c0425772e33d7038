// `viaduct values`: what a FastCGI application says it can do.

import { GatewayError, describe } from '../core/index.ts'
import { formatAddress, getValues } from '../fastcgi/index.ts'
import { parseSeconds } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { coloursOf } from './colours.ts'
import { readApplication } from './request-address.ts'
import { problemOf, shown } from './request-text.ts'

const MEANINGS: Readonly<Record<string, string>> = {
  FCGI_MAX_CONNS: 'connections at once',
  FCGI_MAX_REQS: 'requests at once',
  FCGI_MPXS_CONNS: '1: many requests share a connection; 0: one after the other',
}
const NAMES = Object.keys(MEANINGS)

/** Exit code 0: it answered; 1: it did not. */
export async function values(parsed: Parsed): Promise<number> {
  const [where, ...given] = parsed.rest
  const { address, tls } = readApplication(where, 'the address', parsed)
  const timeout = parseSeconds(parsed.values.get('timeout')?.[0] ?? '1', '--timeout')
  const names = given.length === 0 ? NAMES : given
  const json = parsed.values.has('json')
  const peer = formatAddress(address, tls !== undefined)
  try {
    const found = await getValues(address, timeout, names, tls)
    process.stdout.write(
      json ? `${JSON.stringify({ address: peer, answered: true, values: Object.fromEntries(found) })}\n` : table(names, found),
    )
    return 0
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    if (json) process.stdout.write(`${JSON.stringify({ address: peer, answered: false, error: describe(error) })}\n`)
    else process.stderr.write(`viaduct: values: ${problemOf(error)}${hint(error)}\n`)
    return 1
  }
}

function table(names: readonly string[], found: ReadonlyMap<string, string>): string {
  const c = coloursOf(process.stdout)
  const rows = [...new Set([...names, ...found.keys()])].map((name) => [name, found.get(name), MEANINGS[name] ?? ''] as const)
  const width = Math.max(...rows.map(([name]) => name.length))
  const wide = Math.max(...rows.map(([, value]) => (value ?? '-').length))
  const lines = rows.map(([name, value, meaning]) => {
    const told = shown(value ?? '-').padEnd(wide)
    return `${shown(name).padEnd(width)}  ${value === undefined ? c.dim(told) : c.bold(told)}  ${c.dim(value === undefined ? 'not told' : meaning)}`
  })
  return `${lines.map((line) => line.trimEnd()).join('\n')}\n`
}

/** Silence has two reasons, and only one of them is worrying. */
function hint(error: GatewayError): string {
  if (error.code === 'TIMEOUT' && error.message.includes('GET_VALUES'))
    return '\nEither it does not know this record, and works all the same, or all its workers are busy.'
  if (error.code === 'UPSTREAM_TRUNCATED') return '\nIt does not know this record, and may work all the same.'
  return ''
}
