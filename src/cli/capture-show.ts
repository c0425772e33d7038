// `viaduct show`: a capture for people, or as JSON for programs. The file is read once, in memory that does not depend on its size.

import { GatewayError } from '../core/index.ts'
import { Tracker, openCapture, readCapture, readPlaces } from '../trace/index.ts'
import type { CaptureEnd, CaptureMeta, Exchange, Frame, RecordFrame } from '../trace/index.ts'
import { UsageError, parseChoice, parseWhole } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { exchangeJson, exchangeLine, titleOf } from './capture-line.ts'
import { BODIES } from './capture-options.ts'
import { coloursOf } from './colours.ts'
import type { Colours } from './colours.ts'
import { humanBytes } from './pretty.ts'
import { RecordPrinter } from './request-records.ts'
import { print, room } from './tool.ts'
import { milliseconds, preview, problemOf, shown } from './request-text.ts'

/** Bytes of a body that are looked at to show its beginning. */
const BEGINNING = 2048
/** What is to be said of the end of a file; of the usual one nothing. */
const ENDS: Readonly<Record<string, string>> = {
  '': '; it has no end: its writer has died, or writes on',
  limit: '; it had reached its limit',
}

interface Wanted {
  readonly file: string
  /** Empty: all. */
  readonly numbers: ReadonlySet<number>
  readonly records: boolean
  readonly json: boolean
  readonly body: 'request' | 'answer' | undefined
}

/** Exit code 0: it was shown; 1: it cannot be read, or not to its end. */
export async function show(parsed: Parsed): Promise<number> {
  const wanted = readWanted(parsed)
  try {
    const viewer = new Viewer(wanted)
    const end = await viewer.run()
    const missing = [...wanted.numbers].filter((number) => !viewer.seen.has(number))
    if (missing.length > 0) complain(`${wanted.file} has no request ${missing.join(', ')}; it has ${viewer.requests}`)
    if (end.problem !== undefined) complain(`${end.problem}; what is before that is shown`)
    return missing.length > 0 || end.problem !== undefined ? 1 : 0
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    complain(problemOf(error))
    return 1
  }
}

function complain(text: string): void {
  process.stderr.write(`viaduct: show: ${text}\n`)
}

function readWanted(parsed: Parsed): Wanted {
  const [file, ...numbers] = parsed.rest
  if (file === undefined) throw new UsageError('a file is missing: viaduct show site.fcgicap')
  const which = parsed.values.get('body')?.[0]
  const body = which === undefined ? undefined : parseChoice(which, BODIES, '--body')
  const ways = ['records', 'json', 'body'].filter((name) => parsed.values.has(name))
  if (ways.length > 1) throw new UsageError(`--${ways[0]} and --${ways[1]} exclude each other`)
  if (body !== undefined && numbers.length !== 1) throw new UsageError('--body is of one request: viaduct show FILE 3 --body answer')
  return {
    file,
    numbers: new Set(numbers.map((text) => parseWhole(text, 1, 'the number of a request'))),
    records: parsed.values.has('records'),
    json: parsed.values.has('json'),
    body,
  }
}

class Viewer {
  requests = 0
  /** Of the wanted ones. */
  readonly seen = new Set<number>()
  readonly #wanted: Wanted
  readonly #c: Colours = coloursOf(process.stdout)
  readonly #records: RecordPrinter
  readonly #tracker: Tracker
  readonly #bodies: Exchange[] = []
  #meta: CaptureMeta | undefined
  #connections = 0
  #last = 0
  /** Why the file ends; undefined where it has no end. */
  #finish: string | undefined

  constructor(wanted: Wanted) {
    this.#wanted = wanted
    this.#records = new RecordPrinter(this.#c, (text) => process.stdout.write(text))
    this.#tracker = new Tracker({ onEnd: (exchange) => this.#ended(exchange) })
  }

  async run(): Promise<CaptureEnd> {
    const end = await readCapture(this.#wanted.file, (frame) => this.#frame(frame), room)
    this.#tracker.finish(this.#last)
    for (const exchange of this.#bodies) await this.#details(exchange)
    if (this.#wanted.numbers.size === 0 && !this.#wanted.json) process.stdout.write(`${this.#sum(end)}\n`)
    return end
  }

  #frame(frame: Frame): void {
    this.#last = frame.time
    if (frame.kind === 'meta') this.#meta = frame.meta
    else if (frame.kind === 'open') this.#connections++
    else if (frame.kind === 'finish') this.#finish = frame.reason
    if (frame.kind !== 'record') {
      if (this.#wanted.records && this.#wanted.numbers.size === 0) this.#event(frame)
      if (frame.kind === 'close') this.#tracker.close(frame.connection, frame.time)
      return
    }
    const { connection, direction, record, time, contentAt } = frame
    const before = this.#tracker.numberOf(connection, record.id)
    this.#tracker.record(connection, direction, record, time, contentAt)
    if (this.#wanted.records) this.#record(frame, this.#tracker.numberOf(connection, record.id) ?? before)
  }

  #record({ connection, direction, record, time }: RecordFrame, number: number | undefined): void {
    const { numbers } = this.#wanted
    if (numbers.size === 0 || (number !== undefined && numbers.has(number))) this.#records.print(direction, record, time, connection)
  }

  /** What is no record. */
  #event(frame: Exclude<Frame, RecordFrame>): void {
    const c = this.#c
    if (frame.kind === 'meta' || frame.kind === 'finish') return
    const who = 'direction' in frame ? (frame.direction === 'to' ? 'the web server' : 'the application') : ''
    const said =
      frame.kind === 'open'
        ? `opened from ${shown(frame.peer)}`
        : frame.kind === 'half-close'
          ? `${who} has ended its side`
          : frame.kind === 'close'
            ? `closed${frame.reason === '' ? '' : `: ${shown(frame.reason)}`}`
            : `what ${who} says is no FastCGI: ${JSON.stringify(frame.bytes.toString('latin1'))}`
    process.stdout.write(
      `${c.dim(String(frame.connection).padStart(3))} - ${c.dim(milliseconds(frame.time).padStart(8))}  ${c.dim(said)}\n`,
    )
  }

  #ended(exchange: Exchange): void {
    const { numbers, json, records, body } = this.#wanted
    this.requests++
    if (numbers.size > 0 && !numbers.has(exchange.number)) return
    this.seen.add(exchange.number)
    if (body !== undefined) this.#bodies.push(exchange)
    else if (json) process.stdout.write(`${JSON.stringify(exchangeJson(exchange))}\n`)
    else if (numbers.size === 0 && !records) process.stdout.write(`${exchangeLine(exchange, this.#c)}\n`)
    // After the last frame, for they look into the file.
    else if (numbers.size > 0 && !records) this.#bodies.push(exchange)
  }

  async #details(exchange: Exchange): Promise<void> {
    const { file, body } = this.#wanted
    const { places, headLength } = exchange
    const handle = await openCapture(file)
    try {
      if (body !== undefined) {
        const stream = body === 'request' ? readPlaces(handle, places.stdin) : readPlaces(handle, places.stdout, headLength)
        for await (const chunk of stream) await print(chunk)
        return
      }
      const [asked, answered] = [
        await beginning(readPlaces(handle, places.stdin)),
        await beginning(readPlaces(handle, places.stdout, headLength)),
      ]
      await print(`${this.#about(exchange, asked, answered).join('\n')}\n\n`)
    } finally {
      await handle.close()
    }
  }

  #about(exchange: Exchange, asked: Buffer, answered: Buffer): string[] {
    const c = this.#c
    const { variables, head, started, ended, stdinLength, bodyLength, stderr } = exchange
    const lines = [exchangeLine(exchange, c), '']
    lines.push(`  ${c.bold('Times')}`, `    ${this.#times(exchange)}, on connection ${exchange.connection}`)
    lines.push('', `  ${c.bold('Variables')}`)
    for (let i = 0; i < variables.length; i += 2) lines.push(`    ${shown(variables[i]!)}=${c.cyan(shown(variables[i + 1]!))}`)
    const part = (title: string, content: readonly string[]): void => {
      if (content.length > 0) lines.push('', `  ${c.bold(title)}`, ...content.map((each) => `    ${each}`))
    }
    part(`Request body, ${humanBytes(stdinLength)}`, preview(asked, stdinLength))
    const fields: string[] = []
    for (let i = 0; i < (head?.headers.length ?? 0); i += 2) fields.push(`${shown(head!.headers[i]!)}: ${shown(head!.headers[i + 1]!)}`)
    part(
      `Answer to ${titleOf(exchange)}`,
      head === undefined ? ['none that is valid'] : [`Status: ${head.status} ${shown(head.reason ?? '')}`.trimEnd(), ...fields],
    )
    part(`Body, ${humanBytes(bodyLength)}`, preview(answered, bodyLength))
    part('STDERR', stderr === '' ? [] : preview(Buffer.from(stderr), exchange.stderrLength))
    return ended < started ? [] : lines
  }

  #times({ started, answered, ended }: Exchange): string {
    const begun = Date.parse(this.#meta?.started ?? '')
    const clock = Number.isNaN(begun) ? '' : `${new Date(begun + started).toISOString()}: `
    const first = answered === undefined ? 'never answered' : `answered after ${milliseconds(answered - started)}`
    return `${clock}${first}, over after ${milliseconds(ended - started)}`
  }

  #sum({ bytes }: CaptureEnd): string {
    const { listen = '', to = '', started = '', mask = [] } = this.#meta ?? {}
    const what = `${this.requests} request${this.requests === 1 ? '' : 's'} on ${this.#connections} connection${this.#connections === 1 ? '' : 's'}`
    const end = ENDS[this.#finish ?? ''] ?? ''
    const masked = mask.length === 0 ? 'nothing masked' : `masked: ${mask.join(', ')}`
    return this.#c.dim(`${what}, ${humanBytes(bytes)}; ${shown(`${listen} -> ${to}, from ${started}; ${masked}${end}`)}`)
  }
}

async function beginning(stream: AsyncIterable<Buffer>): Promise<Buffer> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of stream) {
    chunks.push(chunk)
    length += chunk.length
    if (length >= BEGINNING) break
  }
  return Buffer.concat(chunks).subarray(0, BEGINNING)
}
