// `viaduct capture`: records what passes between a web server and an application, until it is told to stop.

import { GatewayError, describe } from '../core/index.ts'
import type { Listen } from '../core/index.ts'
import { formatAddress } from '../fastcgi/index.ts'
import { DEFAULT_MASK, startCapture } from '../trace/index.ts'
import type { Capture, CaptureOptions } from '../trace/index.ts'
import { UsageError, parseListen, parseSize } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { exchangeLine } from './capture-line.ts'
import { show } from './capture-show.ts'
import { coloursOf } from './colours.ts'
import { humanBytes } from './pretty.ts'
import { readApplication } from './request-address.ts'
import { shown } from './request-text.ts'
import { Sink } from './sink.ts'
import { onStop, runTool } from './tool.ts'

/** Milliseconds that running requests get at the end. */
const GRACE = 5000

/** Runs until a signal; resolves with the exit code. */
export async function capture(parsed: Parsed, earlySignals: () => NodeJS.Signals[]): Promise<number> {
  const read = parsed.values.get('read')?.[0]
  if (read !== undefined) return runTool(earlySignals, () => show({ values: new Map(), rest: [read, ...parsed.rest] }))
  const options = readOptions(parsed)
  // Both ends of a pipe may be slow: what is said must not hold up the traffic.
  const [out, err] = [new Sink(1, { batch: 0 }), new Sink(2, { batch: 0 })]
  const c = coloursOf(process.stdout)
  const say = (text: string): void => err.write(`${text}\n`)
  let running: Capture
  try {
    running = await startCapture({
      ...options,
      onNote: (note) => say(`viaduct: capture: ${shown(note)}`),
      ...(!parsed.values.has('quiet') && { onExchange: (exchange) => out.write(`${exchangeLine(exchange, c)}\n`) }),
    })
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    process.stderr.write(`viaduct: ${describe(error)}\n`)
    return 1
  }
  announce(options, running, say)
  const result = await new Promise<Awaited<ReturnType<Capture['close']>>>((resolve) => {
    let asked = 0
    onStop(earlySignals, () => {
      if (++asked === 1) say('stopping: what runs has five seconds; once more stops at once')
      // Should even the end of the file not come.
      if (asked > 2) process.exit(1)
      void running.close(GRACE).then(resolve)
    })
  })
  const { requests, connections, bytes, stopped, failed } = result
  const counts = `${requests} request${requests === 1 ? '' : 's'} on ${connections} connection${connections === 1 ? '' : 's'}`
  say(`${counts}, ${humanBytes(bytes)} in ${options.out}${stopped === undefined ? '' : ` (${shown(stopped)})`}`)
  await Promise.all([out.end(), err.end()])
  return failed ? 1 : 0
}

function announce({ out, mask, to, tls }: CaptureOptions, { address }: Capture, say: (text: string) => void): void {
  const masked =
    mask?.length === 0 ? 'Nothing is masked: the file will hold every secret that passes.' : `Masked: ${(mask ?? DEFAULT_MASK).join(', ')}`
  say(
    `Capturing ${formatAddress(address)} -> ${typeof to === 'string' ? to : formatAddress(to, tls !== undefined)} into ${out}\n${masked}\nCtrl-C stops it`,
  )
}

function readOptions(parsed: Parsed): CaptureOptions {
  const value = (name: string): string | undefined => parsed.values.get(name)?.[0]
  const [extra] = parsed.rest
  if (extra !== undefined) throw new UsageError(`"${extra}" is too much; the file is --out FILE, the addresses are --listen and --to`)
  const [listen, out, limit] = [value('listen'), value('out'), value('limit')]
  if (listen === undefined) throw new UsageError('--listen is missing: where the web server connects')
  const { address: to, tls } = readApplication(value('to'), '--to', parsed)
  if (out === undefined) throw new UsageError('--out is missing: the file to write')
  return {
    listen: readListen(listen, value('mode')),
    to,
    tls,
    out,
    ...masks(parsed),
    ...(limit !== undefined && { limit: parseSize(limit, '--limit') }),
  }
}

function readListen(text: string, mode: string | undefined): Listen {
  const where = parseListen(text.startsWith('/') ? `unix:${text}` : text)
  if (mode !== undefined && !/^[0-7]{3,4}$/.test(mode)) throw new UsageError(`--mode: expected permissions such as 660, got "${mode}"`)
  if ('path' in where) return { path: where.path, ...(mode !== undefined && { mode: parseInt(mode, 8) }) }
  if (mode !== undefined) throw new UsageError('--mode is for a unix socket')
  return { host: where.host === '*' ? '::' : where.host, port: where.port }
}

function masks(parsed: Parsed): { mask?: readonly string[] } {
  const names = (parsed.values.get('mask') ?? []).flatMap((each) => each.split(',')).map((each) => each.trim())
  if (names.includes('')) throw new UsageError('--mask: expected names with commas between them')
  if (!parsed.values.has('no-mask')) return names.length === 0 ? {} : { mask: [...DEFAULT_MASK, ...names] }
  if (names.length > 0) throw new UsageError('--mask and --no-mask exclude each other')
  return { mask: [] }
}
