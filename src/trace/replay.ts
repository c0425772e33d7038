// A capture sent again, one request after the other, and each answer held against the recorded one.
//
// The file itself is the spool: only where the bytes lie is kept in memory, bodies of requests and of answers are read from it at
// the pace of the connection.

import { GatewayError } from '../core/index.ts'
import type { Address, ByteString } from '../core/index.ts'
import { parseAddress } from '../fastcgi/index.ts'
import type { TlsOptions } from '../fastcgi/index.ts'
import type { FileHandle } from 'node:fs/promises'
import { BodyComparison, DEFAULT_IGNORED, compareHeads } from './compare.ts'
import type { Difference } from './compare.ts'
import { Dialogue, wasClosedBefore } from './dialogue.ts'
import type { Question } from './dialogue.ts'
import type { Reply } from './hearing.ts'
import { Tracker } from './exchange.ts'
import type { Exchange } from './exchange.ts'
import type { CaptureMeta } from './format.ts'
import { NameMask } from './mask.ts'
import { openCapture, readCapture, readPlaces } from './reader.ts'
import type { CaptureEnd } from './reader.ts'

/** Requests of one file that are replayed, and bytes of their variables. */
const REQUEST_LIMIT = 1_000_000
const VARIABLE_LIMIT = 256 * 1024 * 1024

/** Where a capture is sent, and what is compared. */
export interface ReplayOptions {
  /** The application. */
  readonly to: Address | string
  /** Speak TLS with it. */
  readonly tls?: TlsOptions | undefined
  /** Only these requests, by number. Default: all. */
  readonly numbers?: ReadonlySet<number>
  /** Names of header fields that may differ; `*` stands for anything. Default DEFAULT_IGNORED. Those that are masked in the file always may. */
  readonly ignore?: readonly string[]
  /** Compare bodies. Default true. */
  readonly bodies?: boolean
  /** Variables that replace the recorded ones: what was masked, for instance. */
  readonly variables?: ReadonlyMap<ByteString, ByteString>
  /** One connection for all, where the application keeps it. Default: one each. */
  readonly keep?: boolean
  /** Milliseconds to connect, and that the application may be silent. Default 60,000. */
  readonly timeout?: number
  /** One request is done; in the order in which they were recorded. */
  readonly onResult?: (result: ReplayResult) => void | Promise<void>
}

/** What became of one request. */
export interface ReplayResult {
  /** As it was recorded. */
  readonly exchange: Exchange
  /** Why it was not sent. */
  readonly skipped?: string
  /** What came now; undefined where it was not sent. */
  readonly reply?: Reply
  /** None: the answer is the same. */
  readonly differences: readonly Difference[]
  /** Variables whose recorded value is masked: they were not sent. */
  readonly masked: readonly ByteString[]
}

/** What became of all. */
export interface ReplaySummary {
  /** What the file says of itself. */
  readonly meta: CaptureMeta
  /** Requests with the same answer. */
  readonly same: number
  /** Requests with another one. */
  readonly different: number
  /** Requests that were not sent. */
  readonly skipped: number
  /** What is wrong with the file after its last good byte. */
  readonly problem?: string
}

/** Rejects with CONFIG for a file that cannot be read, and with UNAVAILABLE or TIMEOUT where the application cannot be reached. */
export async function replay(path: string, options: ReplayOptions): Promise<ReplaySummary> {
  const { meta, exchanges, end } = await load(path)
  const counts = { same: 0, different: 0, skipped: 0 }
  const file = await openCapture(path)
  const sender = new Sender(file, meta, options)
  try {
    for (const exchange of exchanges) {
      if (options.numbers?.has(exchange.number) === false) continue
      const result = await sender.send(exchange)
      if (result.skipped !== undefined) counts.skipped++
      else if (result.differences.length === 0) counts.same++
      else counts.different++
      await options.onResult?.(result)
    }
  } finally {
    sender.close()
    await file.close()
  }
  return { meta, ...counts, ...(end.problem !== undefined && { problem: end.problem }) }
}

async function load(path: string): Promise<{ meta: CaptureMeta; exchanges: Exchange[]; end: CaptureEnd }> {
  const exchanges: Exchange[] = []
  let meta: CaptureMeta = { software: '', started: '', listen: '', to: '', mask: [] }
  let last = 0
  const onEnd = (exchange: Exchange): void => {
    if (exchanges.length >= REQUEST_LIMIT)
      throw new GatewayError('CONFIG', { status: 500, message: `capture: ${path} has more than ${REQUEST_LIMIT} requests` })
    exchanges.push(exchange)
  }
  const tracker = new Tracker({ onEnd, variableBytes: VARIABLE_LIMIT, keep: true })
  const end = await readCapture(path, (frame) => {
    last = frame.time
    if (frame.kind === 'meta') meta = frame.meta
    else if (frame.kind === 'record') tracker.record(frame.connection, frame.direction, frame.record, frame.time, frame.contentAt)
    else if (frame.kind === 'close') tracker.close(frame.connection, frame.time)
  })
  tracker.finish(last)
  return { meta, exchanges: exchanges.toSorted((a, b) => a.number - b.number), end }
}

class Sender {
  readonly #file: FileHandle
  readonly #options: ReplayOptions
  readonly #address: Address
  readonly #mask: NameMask
  readonly #ignored: (name: string) => boolean
  #dialogue: Dialogue | undefined

  constructor(file: FileHandle, meta: CaptureMeta, options: ReplayOptions) {
    this.#file = file
    this.#options = options
    this.#address = typeof options.to === 'string' ? parseAddress(options.to) : options.to
    this.#mask = new NameMask(meta.mask)
    const ignored = new NameMask(options.ignore ?? DEFAULT_IGNORED)
    this.#ignored = (name) => ignored.has(name) || this.#mask.has(name)
  }

  async send(exchange: Exchange): Promise<ReplayResult> {
    const why = unsendable(exchange)
    const { variables, masked } = this.#variables(exchange)
    if (why !== undefined) return { exchange, skipped: why, differences: [], masked }
    const { places, role, headLength, bodyLength } = exchange
    const comparison = this.#options.bodies === false ? undefined : new BodyComparison(this.#read(places.stdout, headLength), bodyLength)
    const question = (): Question => ({
      role,
      keep: this.#options.keep ?? false,
      variables,
      ...(places.stdin.length > 0 && { stdin: this.#read(places.stdin) }),
      ...(places.data.length > 0 && { data: this.#read(places.data) }),
    })
    const dialogue = await this.#open()
    let reply = await dialogue.ask(question(), { body: (chunk) => comparison?.push(chunk) })
    if (wasClosedBefore(dialogue, question(), reply)) {
      reply = await (await this.#open()).ask(question(), { body: (chunk) => comparison?.push(chunk) })
    }
    const differences = compare(exchange, reply, this.#ignored)
    const body = await comparison?.finish()
    if (body !== undefined && reply.head !== undefined) differences.push(body)
    return { exchange, reply, differences, masked }
  }

  close(): void {
    this.#dialogue?.close()
  }

  async #open(): Promise<Dialogue> {
    if (this.#dialogue?.open !== true) {
      this.#dialogue = await Dialogue.open(this.#address, { timeout: this.#options.timeout ?? 60_000, tls: this.#options.tls })
    }
    return this.#dialogue
  }

  #read(places: readonly number[], skip: number = 0): AsyncGenerator<Buffer, void, undefined> {
    return readPlaces(this.#file, places, skip)
  }

  #variables(exchange: Exchange): { variables: ByteString[]; masked: ByteString[] } {
    const set = this.#options.variables ?? new Map<ByteString, ByteString>()
    const variables: ByteString[] = []
    const masked: ByteString[] = []
    for (let i = 0; i < exchange.variables.length; i += 2) {
      const [name, value] = [exchange.variables[i]!, exchange.variables[i + 1]!]
      if (set.has(name)) continue
      // Stars in place of a cookie would be a cookie, and a wrong one.
      if (value !== '' && this.#mask.has(name) && /^\*+$/.test(value)) masked.push(name)
      else variables.push(name, value)
    }
    for (const [name, value] of set) variables.push(name, value)
    return { variables, masked }
  }
}

function unsendable(exchange: Exchange): string | undefined {
  if (!exchange.requestWhole) return 'its request was not recorded whole'
  if (exchange.end === undefined) return exchange.aborted ? 'it was aborted' : 'its answer was not recorded whole'
  return exchange.problems.find((problem) => problem.includes('parameter') || problem.includes('variables'))
}

function compare(exchange: Exchange, reply: Reply, ignored: (name: string) => boolean): Difference[] {
  const { head, end } = exchange
  if (head === undefined || reply.head === undefined) {
    if (head === undefined && reply.head === undefined) return []
    const [from, to] = [head, reply.head].map((each) => (each === undefined ? undefined : `status ${each.status}`))
    return [{ what: 'outcome', from: from ?? exchange.problems[0] ?? 'no answer', to: to ?? reply.error?.message ?? 'no answer' }]
  }
  const found = compareHeads(head, reply.head, ignored)
  if (reply.error !== undefined) found.unshift({ what: 'outcome', from: 'whole', to: reply.error.message })
  else if (end?.appStatus !== reply.end?.appStatus)
    found.push({ what: 'application status', from: String(end?.appStatus), to: String(reply.end?.appStatus) })
  return found
}
