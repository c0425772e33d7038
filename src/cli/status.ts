// `viaduct status`: asks a running server how its pools are doing, and prints it.

import { request as httpRequest } from 'node:http'
import { request as httpsRequest } from 'node:https'
import { VERSION } from '../core/index.ts'
import { ConfigError, findConfig, loadConfig } from '../config/index.ts'
import { visible } from '../process/index.ts'
import { statusText } from '../status/index.ts'
import type { StatusReport } from '../status/index.ts'
import { DEFAULT_HOST, DEFAULT_PORT, UsageError } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { coloursOf } from './colours.ts'
import { STATUS_PATH } from './status-options.ts'
import { parsePlace, placeIn } from './status-place.ts'
import type { StatusPlace } from './status-place.ts'

/** Milliseconds for all of it, and bytes of a report. */
const TIMEOUT = 10_000
const LIMIT = 64 * 1024 ** 2

/** Exit code 0: the server answered; 1: it did not. */
export async function status(parsed: Parsed): Promise<number> {
  const place = await placeOf(parsed)
  if (typeof place === 'string') return fail(place)
  let report: StatusReport
  try {
    report = await ask(place)
  } catch (error) {
    return fail(`${placeText(place)}: ${reason(error)}`)
  }
  if (parsed.values.has('json')) process.stdout.write(`${JSON.stringify(report, undefined, 2)}\n`)
  else process.stdout.write(statusText(parsed.values.has('full') ? report : busyOnly(report), coloursOf(process.stdout)))
  return 0
}

/** A text is why there is none. */
async function placeOf({ values, rest }: Parsed): Promise<StatusPlace | string> {
  const [given, extra] = rest
  const config = values.get('config')?.[0]
  if (extra !== undefined) throw new UsageError(`one server at a time, got "${given}" and "${extra}"`)
  if (given !== undefined && config !== undefined) throw new UsageError(`a configuration or a URL, got ${config} and ${given}`)
  if (given !== undefined) return parsePlace(given, STATUS_PATH)
  const file = config ?? findConfig(process.cwd())
  if (file === undefined) return parsePlace(`http://${DEFAULT_HOST}:${DEFAULT_PORT}`, STATUS_PATH)
  try {
    const { plan } = await loadConfig(file)
    const found = placeIn(plan)
    return typeof found === 'string' ? `${file}: ${found}` : found
  } catch (error) {
    if (error instanceof ConfigError) return error.message
    throw error
  }
}

function ask({ to, tls, host, path }: StatusPlace): Promise<StatusReport> {
  return new Promise((resolve, reject) => {
    const start = tls ? httpsRequest : httpRequest
    const options = {
      ...('path' in to ? { socketPath: to.path } : { host: to.host, port: to.port }),
      path: `${path}?json&full`,
      headers: { Host: host, Accept: 'application/json', 'User-Agent': `viaduct/${VERSION}` },
      signal: AbortSignal.timeout(TIMEOUT),
      // Of our own server the certificate is one for other names than that of this machine; nothing is sent that anybody could want.
      ...(tls && { rejectUnauthorized: false, servername: host.replace(/:\d+$/, '') }),
    }
    const request = start(options, (response) => {
      let text = ''
      response.setEncoding('utf8')
      response.on('data', (piece: string) => {
        text += piece
        if (text.length > LIMIT) request.destroy(new Error('the answer is too long for a status'))
      })
      response.on('end', () => {
        try {
          resolve(read(response.statusCode ?? 0, response.headers['content-type'] ?? '', text))
        } catch (error) {
          reject(error as Error)
        }
      })
      response.on('error', reject)
    })
    request.on('error', reject)
    request.end()
  })
}

function read(code: number, type: string, text: string): StatusReport {
  if (code === 403) throw new Error('it is not for this address (403); list the address under "allow" of the application of kind "status"')
  if (code === 404) throw new Error('there is no status at this address (404); serve one: viaduct serve ... --status /status')
  if (code !== 200) throw new Error(`it answered with status ${code}`)
  let report: unknown
  try {
    // What speaks to a terminal is made visible, whoever has answered.
    if (type.startsWith('application/json'))
      report = JSON.parse(text, (_, value: unknown) => (typeof value === 'string' ? visible(value) : value))
  } catch {
    // Told below.
  }
  if (!isReport(report)) throw new Error('what answers there is no status of Viaduct')
  return report
}

function isReport(value: unknown): value is StatusReport {
  if (typeof value !== 'object' || value === null) return false
  const { version, pools } = value as Partial<StatusReport>
  return typeof version === 'string' && Array.isArray(pools) && pools.every((each) => typeof each?.workers?.total === 'number')
}

function busyOnly(report: StatusReport): StatusReport {
  const pools = report.pools.map((pool) => ({ ...pool, processes: (pool.processes ?? []).filter((each) => each.current !== undefined) }))
  return { ...report, pools }
}

function placeText({ to, tls, path }: StatusPlace): string {
  if ('path' in to) return `unix:${to.path}:${path}`
  return `http${tls ? 's' : ''}://${to.host.includes(':') ? `[${to.host}]` : to.host}:${to.port}${path}`
}

function reason(error: unknown): string {
  const { code, name, message } = error as NodeJS.ErrnoException
  if (code === 'ECONNREFUSED' || code === 'ENOENT') return 'nobody listens there; is the server running?'
  if (name === 'AbortError' || name === 'TimeoutError') return `no answer within ${TIMEOUT / 1000} s`
  return message
}

function fail(message: string): number {
  process.stderr.write(`viaduct: status: ${message}\n`)
  return 1
}
