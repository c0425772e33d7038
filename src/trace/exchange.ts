// Requests and their answers put together out of the records that pass, in both directions and however many share a connection.
//
// It only looks on, so it believes nothing and keeps little: lengths and times, the variables, the head, some of STDERR. What is
// wrong is noted at the request it is wrong about. Specification: FastCGI 1.0, sections 3.3, 5 and 6.

import { describe } from '../core/index.ts'
import type { ByteString, CgiHead } from '../core/index.ts'
import { PairDecoder, Role, Type, isStream, readBeginRequest, readEndRequest } from '../fastcgi/index.ts'
import type { EndRequest } from '../fastcgi/index.ts'
import { AnswerReader } from './answer.ts'
import { roleName, typeName } from './record.ts'
import type { Direction, TraceRecord } from './record.ts'

/** Bytes of STDERR that are kept of one request. */
const STDERR_LIMIT = 4096
/** Things that are said to be wrong with one request. */
const PROBLEM_LIMIT = 16
/** Requests that run at once, over all connections; more are counted and not followed. */
const RUNNING_LIMIT = 16_384

/** Where the content of a stream lies in a capture file: `[offset, length, offset, length, ...]`. */
export type Places = readonly number[]

/** One request and what became of it. Times are milliseconds from the beginning of the capture, lengths bytes. */
export interface Exchange {
  /** From 1, in the order in which they began. */
  readonly number: number
  /** The number of its connection, from 1. */
  readonly connection: number
  /** Its request id on that connection. */
  readonly id: number
  /** As it was asked for; `roleName` makes a word of it. */
  readonly role: number
  /** FCGI_KEEP_CONN. */
  readonly keep: boolean
  /** `[name, value, ...]`; what could not be read of them is among the problems. */
  readonly variables: readonly ByteString[]
  /** All of PARAMS, STDIN and, for a filter, DATA has come. */
  readonly requestWhole: boolean
  /** Bytes of the request body. */
  readonly stdinLength: number
  /** Bytes of FCGI_DATA. */
  readonly dataLength: number
  /** The head of the answer; undefined where none came that could be read. */
  readonly head: CgiHead | undefined
  /** Bytes of STDOUT before the body. */
  readonly headLength: number
  /** Bytes of STDOUT after the head. */
  readonly bodyLength: number
  /** Bytes of STDERR. */
  readonly stderrLength: number
  /** Its beginning, as text. */
  readonly stderr: string
  /** When BEGIN_REQUEST passed. */
  readonly started: number
  /** The first record of the answer. */
  readonly answered: number | undefined
  /** When END_REQUEST passed, else when its connection was closed. */
  readonly ended: number
  /** undefined: END_REQUEST never came. */
  readonly end: EndRequest | undefined
  /** ABORT_REQUEST passed. */
  readonly aborted: boolean
  /** What is wrong with it, at most 16 things. */
  readonly problems: readonly string[]
  /** Where the streams lie in the file, where there is one. */
  readonly places: { readonly stdin: Places; readonly data: Places; readonly stdout: Places }
}

/** The value of a variable, undefined where there is none. */
export function variableOf({ variables }: Pick<Exchange, 'variables'>, name: string): ByteString | undefined {
  for (let i = 0; i < variables.length; i += 2) if (variables[i] === name) return variables[i + 1]
  return undefined
}

/** What was asked for, as a person would say it: the URI, else the script. */
export function targetOf(exchange: Pick<Exchange, 'variables'>): ByteString {
  const uri = variableOf(exchange, 'REQUEST_URI')
  if (uri !== undefined && uri !== '') return uri
  const script = (variableOf(exchange, 'SCRIPT_NAME') ?? '') + (variableOf(exchange, 'PATH_INFO') ?? '')
  const query = variableOf(exchange, 'QUERY_STRING') ?? ''
  if (script !== '') return script + (query === '' ? '' : `?${query}`)
  return variableOf(exchange, 'SCRIPT_FILENAME') ?? '-'
}

class Running implements Exchange {
  readonly number: number
  readonly connection: number
  readonly id: number
  readonly role: number
  readonly keep: boolean
  readonly started: number
  variables: readonly ByteString[] = []
  stdinLength = 0
  dataLength = 0
  bodyLength = 0
  stderrLength = 0
  answered: number | undefined
  ended: number
  end: EndRequest | undefined
  aborted = false
  readonly problems: string[] = []
  readonly places = { stdin: [] as number[], data: [] as number[], stdout: [] as number[] }
  readonly #answer = new AnswerReader()
  #pairs: PairDecoder | undefined = new PairDecoder()
  readonly #open: Set<number>
  #stderr: Buffer[] = []

  constructor(number: number, connection: number, record: TraceRecord, time: number) {
    const { content } = record
    const { role, keep } = content.length < 8 ? { role: 0, keep: false } : readBeginRequest(content, 0, content.length)
    this.number = number
    this.connection = connection
    this.id = record.id
    this.role = role
    this.keep = keep
    this.started = this.ended = time
    this.#open = new Set(role === Role.Filter ? [Type.Params, Type.Stdin, Type.Data] : [Type.Params, Type.Stdin])
    if (content.length < 8) this.problem(`BEGIN_REQUEST with a body of ${content.length} bytes, 8 are needed`)
    else if (roleName(role).startsWith('role ')) this.problem(`BEGIN_REQUEST with the unknown role ${role}`)
  }

  get requestWhole(): boolean {
    return this.#open.size === 0
  }

  get head(): CgiHead | undefined {
    return this.#answer.head
  }

  get headLength(): number {
    return this.#answer.headLength
  }

  get stderr(): string {
    return Buffer.concat(this.#stderr).toString('utf8')
  }

  problem(fact: string): void {
    if (this.problems.length < PROBLEM_LIMIT && !this.problems.includes(fact)) this.problems.push(fact)
  }

  input({ type, content, length }: TraceRecord, contentAt: number | undefined, room: boolean): void {
    const name = typeName(type)
    if (type === Type.AbortRequest) this.aborted = true
    else if (type !== Type.Params && type !== Type.Stdin && type !== Type.Data) this.problem(`${name} from a web server`)
    else if (!this.#open.has(type)) this.problem(`${name} after its end`)
    else if (content.length < length) this.problem(`${name} ends within a record`)
    else if (length === 0) this.#endInput(type)
    else if (type === Type.Params) this.#params(content, room)
    else if (type === Type.Stdin) {
      this.stdinLength += length
      if (contentAt !== undefined) this.places.stdin.push(contentAt, length)
    } else {
      this.dataLength += length
      if (contentAt !== undefined) this.places.data.push(contentAt, length)
    }
  }

  output({ type, content, length }: TraceRecord, contentAt: number | undefined, time: number): void {
    this.answered ??= time
    if (type === Type.Stdout && length > 0) {
      const head = this.#answer.push(content)
      this.bodyLength += content.length - head
      if (this.#answer.problem !== undefined) this.problem(this.#answer.problem)
      if (contentAt !== undefined) this.places.stdout.push(contentAt, content.length)
    } else if (type === Type.Stderr) this.#keepStderr(content)
    else if (type === Type.EndRequest) this.#endRequest(content, time)
    else if (type !== Type.Stdout) this.problem(`${typeName(type)} from an application`)
    if (content.length < length) this.problem(`${typeName(type)} ends within a record`)
  }

  #endInput(type: number): void {
    this.#open.delete(type)
    if (type !== Type.Params || this.#pairs === undefined) return
    try {
      this.variables = this.#pairs.end()
    } catch (error) {
      this.variables = this.#pairs.pairs
      this.problem(describe(error).replace(/^fastcgi: /, ''))
    }
    this.#pairs = undefined
  }

  #params(content: Buffer, room: boolean): void {
    if (this.#pairs === undefined) return
    try {
      if (!room) throw new Error('its variables are not kept: those of all requests together take too much memory')
      this.#pairs.push(content)
    } catch (error) {
      this.variables = this.#pairs.pairs
      this.#pairs = undefined
      this.problem(describe(error).replace(/^fastcgi: /, ''))
    }
  }

  #keepStderr(content: Buffer): void {
    const room = STDERR_LIMIT - this.stderrLength
    if (room > 0 && content.length > 0) this.#stderr.push(Buffer.from(content.subarray(0, room)))
    this.stderrLength += content.length
  }

  #endRequest(content: Buffer, time: number): void {
    this.ended = time
    if (content.length < 8) this.problem(`END_REQUEST with a body of ${content.length} bytes, 8 are needed`)
    else this.end = readEndRequest(content, 0, content.length)
    if (this.head === undefined && this.#answer.problem === undefined && this.end?.protocolStatus === 0)
      this.problem(this.headLength === 0 ? 'an answer without a head' : 'the answer ends within its head')
  }
}

/** Who hears of what is over. */
export interface TrackerOptions {
  /** A request is over, with or without END_REQUEST. */
  readonly onEnd: (exchange: Exchange) => void
  /** Something that belongs to no request. */
  readonly onProblem?: (connection: number, fact: string) => void
  /** Bytes of PARAMS of the requests that run. Default 64 MiB. With `keep` all count, for they are kept. */
  readonly variableBytes?: number
  /** The exchanges are kept by who hears of them, so that their variables go on counting. Default false. */
  readonly keep?: boolean
}

/** Puts requests and their answers together out of the records that pass. At most 16,384 that run are followed; `onProblem` hears of those beyond. */
export class Tracker {
  readonly #options: TrackerOptions
  readonly #connections = new Map<number, Map<number, Running>>()
  readonly #bytes = new Map<Running, number>()
  #used = 0
  #running = 0
  #count = 0

  constructor(options: TrackerOptions) {
    this.#options = options
  }

  /** A record has passed. `contentAt`: where its content lies in the file. */
  record(connection: number, direction: Direction, record: TraceRecord, time: number, contentAt?: number): void {
    if (record.id === 0) {
      if (isStream(record.type) || record.type <= Type.EndRequest)
        this.#problem(connection, `${typeName(record.type)} without a request id`)
      return
    }
    const own = this.#connections.get(connection)
    const known = own?.get(record.id)
    if (direction === 'to' && record.type === Type.BeginRequest) {
      if (known !== undefined) {
        if (known.end === undefined) known.problem('BEGIN_REQUEST with an id that is in use')
        this.#over(known, time)
      }
      this.#begin(connection, record, time)
    } else if (known === undefined) {
      // FastCGI 1.0, 3.3: what is left of a request that is over is ignored.
      if (direction === 'from') this.#problem(connection, `${typeName(record.type)} for request ${record.id}, which does not run`)
    } else {
      if (direction === 'to') known.input(record, contentAt, this.#room(known, record))
      else if (known.end === undefined) known.output(record, contentAt, time)
      else this.#problem(connection, `${typeName(record.type)} for request ${record.id} after its END_REQUEST`)
      // An answer may be faster than the end of its request, which is then still followed to its own end.
      if (known.end !== undefined && known.requestWhole) this.#over(known, time)
    }
  }

  /** The connection is closed: what ran on it is over. */
  close(connection: number, time: number): void {
    for (const running of this.#connections.get(connection)?.values() ?? []) this.#over(running, time)
    this.#connections.delete(connection)
  }

  /** Nothing more will come. */
  finish(time: number): void {
    for (const connection of this.#connections.keys()) this.close(connection, time)
  }

  /** The number of the request that runs there with this id. */
  numberOf(connection: number, id: number): number | undefined {
    return this.#connections.get(connection)?.get(id)?.number
  }

  /** Requests that run on a connection. */
  running(connection: number): number {
    return this.#connections.get(connection)?.size ?? 0
  }

  #begin(connection: number, record: TraceRecord, time: number): void {
    if (this.#running >= RUNNING_LIMIT) {
      this.#problem(connection, `more than ${RUNNING_LIMIT} requests at once: request ${record.id} is not followed`)
      return
    }
    const own = this.#connections.get(connection) ?? new Map<number, Running>()
    this.#connections.set(connection, own)
    this.#running++
    own.set(record.id, new Running(++this.#count, connection, record, time))
  }

  #room(running: Running, { type, length }: TraceRecord): boolean {
    if (type !== Type.Params || length === 0) return true
    this.#used += length
    this.#bytes.set(running, (this.#bytes.get(running) ?? 0) + length)
    return this.#used <= (this.#options.variableBytes ?? 64 * 1024 * 1024)
  }

  #over(running: Running, time: number): void {
    if (running.end === undefined) running.ended = time
    this.#running--
    this.#connections.get(running.connection)?.delete(running.id)
    if (this.#options.keep !== true) this.#used -= this.#bytes.get(running) ?? 0
    this.#bytes.delete(running)
    this.#options.onEnd(running)
  }

  #problem(connection: number, fact: string): void {
    this.#options.onProblem?.(connection, fact)
  }
}
