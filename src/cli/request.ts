// `viaduct request`: one FastCGI request from the terminal, or the same one several times with its times.

import { isToken, toByteString } from '../core/index.ts'
import type { ByteString, CgiHead } from '../core/index.ts'
import { Role } from '../fastcgi/index.ts'
import { Dialogue, requestVariables, wasClosedBefore } from '../trace/index.ts'
import type { Ear, Question, Reply } from '../trace/index.ts'
import { UsageError, parseChoice, parseSeconds, parseWhole } from './arguments.ts'
import type { Parsed } from './arguments.ts'
import { coloursOf } from './colours.ts'
import type { Colours } from './colours.ts'
import { humanBytes } from './pretty.ts'
import { ROLE_NAMES } from './request-options.ts'
import { readApplication } from './request-address.ts'
import type { Application } from './request-address.ts'
import { openBody, openFile } from './request-body.ts'
import type { Body } from './request-body.ts'
import { RecordPrinter } from './request-records.ts'
import { print } from './tool.ts'
import { milliseconds, problemOf, shown } from './request-text.ts'

const ROLES = { responder: Role.Responder, authorizer: Role.Authorizer, filter: Role.Filter } as const
const NO_ANSWER = 1
const DENIED = 3

interface Options {
  readonly application: Application
  readonly role: Role
  readonly count: number
  readonly keep: boolean
  readonly records: boolean
  readonly include: boolean
  readonly silent: boolean
  readonly timeout: number
  readonly variables: (body: Body | undefined, data: Body | undefined) => ByteString[]
}

/** Resolves with the exit code. */
export async function request(parsed: Parsed): Promise<number> {
  const options = readOptions(parsed)
  const given = (name: string): string | undefined => parsed.values.get(name)?.[0]
  const [text, file] = [given('body'), given('data')]
  const body = text === undefined ? undefined : await openBody(text, '--body')
  const data = file === undefined ? undefined : await openFile(file, '--data')
  try {
    const asker = new Asker(options, body, data)
    return await (options.count === 1 ? asker.once() : asker.often())
  } catch (error) {
    process.stderr.write(`viaduct: request: ${problemOf(error)}\n`)
    return NO_ANSWER
  } finally {
    body?.close()
    data?.close()
  }
}

function readOptions(parsed: Parsed): Options {
  const [where, script, extra] = parsed.rest
  const application = readApplication(where, 'the address', parsed)
  if (script === undefined) throw new UsageError('a script is missing: viaduct request ADDRESS /var/www/index.php')
  if (extra !== undefined) throw new UsageError(`one script at a time, got "${script}" and "${extra}"`)
  const value = <T>(name: string, read: (text: string, place: string) => T): T | undefined => {
    const text = parsed.values.get(name)?.[0]
    return text === undefined ? undefined : read(text, `--${name}`)
  }
  const text = (name: string): string | undefined => value(name, (each) => each)
  const roleName = value('role', (each, place) => parseChoice(each, ROLE_NAMES, place)) ?? 'responder'
  const role = ROLES[roleName]
  if ((role === Role.Filter) !== parsed.values.has('data'))
    throw new UsageError(role === Role.Filter ? 'a filter needs something to filter: --data FILE' : '--data is for a filter: --role filter')
  const method = text('method') ?? (parsed.values.has('body') ? 'POST' : 'GET')
  if (!isToken(method)) throw new UsageError(`--method: "${method}" is no method`)
  const headers = (parsed.values.get('header') ?? []).flatMap(readHeader)
  const variables = new Map((parsed.values.get('param') ?? []).map(readParam))
  const [root, uri] = [text('root'), text('uri')]
  return {
    application,
    role,
    count: value('count', (each, place) => parseWhole(each, 1, place)) ?? 1,
    keep: parsed.values.has('keep'),
    records: parsed.values.has('records'),
    include: parsed.values.has('include'),
    silent: parsed.values.has('silent'),
    timeout: value('timeout', parseSeconds) ?? 60_000,
    variables: (body, data) =>
      requestVariables({
        script,
        method,
        role,
        headers,
        variables,
        bodyLength: body?.length,
        ...(root !== undefined && { root }),
        ...(uri !== undefined && { uri }),
        ...(data !== undefined && { data }),
      }),
  }
}

function readHeader(text: string): [ByteString, ByteString] {
  const colon = text.indexOf(':')
  const name = text.slice(0, colon)
  if (colon < 1 || !isToken(name)) throw new UsageError(`--header: expected "Name: value", got "${text}"`)
  return [name, toByteString(text.slice(colon + 1).trim())]
}

/** A name alone takes a variable away. */
export function readParam(text: string): [string, string | undefined] {
  const equals = text.indexOf('=')
  if (equals === 0) throw new UsageError(`--param: expected NAME=VALUE, got "${text}"`)
  return equals === -1 ? [text, undefined] : [text.slice(0, equals), text.slice(equals + 1)]
}

class Asker {
  readonly #options: Options
  readonly #body: Body | undefined
  readonly #data: Body | undefined
  readonly #variables: ByteString[]
  readonly #c: Colours = coloursOf(process.stderr)
  readonly #records: RecordPrinter | undefined
  readonly #silent: boolean

  constructor(options: Options, body: Body | undefined, data: Body | undefined) {
    this.#options = options
    this.#body = body
    this.#data = data
    this.#variables = options.variables(body, data)
    this.#silent = options.silent
    if (options.records) this.#records = new RecordPrinter(this.#c, (text) => process.stderr.write(text))
  }

  async once(): Promise<number> {
    const dialogue = await this.#open()
    const screen = new Screen()
    const reply = await this.#ask(dialogue, { head: (head) => this.#head(head), body: (chunk) => screen.print(chunk) })
    dialogue.close()
    const unseen = screen.end()
    if (unseen > 0) this.#say(this.#c.yellow(`${humanBytes(unseen)} of a body that is no text: send them to a file, with > FILE`))
    const times = [`${milliseconds(reply.time)} (connected in ${milliseconds(dialogue.connectTime)}`]
    if (reply.headTime !== undefined) times.push(`head after ${milliseconds(reply.headTime)}`)
    this.#say(this.#c.dim(`${humanBytes(reply.bodyLength)} in ${times.join(', ')})`))
    if (reply.error !== undefined) process.stderr.write(`viaduct: request: ${problemOf(reply.error)}\n`)
    return this.#code(reply)
  }

  async often(): Promise<number> {
    const { count, keep } = this.#options
    const c = coloursOf(process.stdout)
    const times: number[] = []
    let dialogue: Dialogue | undefined
    let [code, connections] = [0, 0]
    await print(c.dim(`${'#'.padStart(5)}  status       body       head      whole  connection\n`))
    for (let i = 1; i <= count; i++) {
      const kept = dialogue?.open === true
      if (!kept) dialogue = await this.#open()
      let reply = await this.#ask(dialogue!, {})
      const stale = wasClosedBefore(dialogue!, this.#question(), reply)
      if (stale) reply = await this.#ask((dialogue = await this.#open()), {})
      const fresh = !kept || stale
      if (fresh) connections++
      if (reply.error === undefined) times.push(reply.time)
      code = worse(code, this.#code(reply))
      await print(
        `${line(i, reply, fresh ? `new, in ${milliseconds(dialogue!.connectTime)}${stale ? ' (the last one was closed)' : ''}` : 'kept', c)}\n`,
      )
      if (!keep) dialogue!.close()
    }
    dialogue?.close()
    await print(`${summary(times, count, connections)}\n`)
    return code
  }

  async #open(): Promise<Dialogue> {
    const records = this.#records
    const { address, tls } = this.#options.application
    return Dialogue.open(address, {
      tls,
      timeout: this.#options.timeout,
      ...(records !== undefined && { tap: (direction, record, time) => records.print(direction, record, time) }),
    })
  }

  /** Without its bodies. */
  #question(): Question {
    return { role: this.#options.role, keep: this.#options.keep, variables: this.#variables }
  }

  async #ask(dialogue: Dialogue, ear: Ear): Promise<Reply> {
    const question = {
      ...this.#question(),
      ...(this.#body !== undefined && { stdin: this.#body.read() }),
      ...(this.#data !== undefined && { data: this.#data.read() }),
    }
    const lines = new Lines((text) => this.#say(`${this.#c.yellow('stderr:')} ${shown(text)}`))
    const reply = await dialogue.ask(question, { ...ear, stderr: (chunk) => lines.push(chunk) })
    lines.end()
    for (const oddity of reply.oddities) this.#say(this.#c.yellow(`odd: ${oddity}`))
    const appStatus = reply.end?.appStatus ?? 0
    if (appStatus !== 0) this.#say(this.#c.yellow(`application status ${appStatus}`))
    return reply
  }

  #head(head: CgiHead): void {
    const c = this.#c
    const status = `${head.status}${head.reason === undefined ? '' : ` ${shown(head.reason)}`}`
    const fields: string[] = []
    for (let i = 0; i < head.headers.length; i += 2) fields.push(`${c.bold(shown(head.headers[i]!))}: ${shown(head.headers[i + 1]!)}`)
    if (!this.#options.include) {
      this.#say([c.bold(`Status: ${status}`), ...fields, ''].join('\n'))
      return
    }
    const raw = [`Status: ${head.status}${head.reason === undefined ? '' : ` ${head.reason}`}`]
    for (let i = 0; i < head.headers.length; i += 2) raw.push(`${head.headers[i]!}: ${head.headers[i + 1]!}`)
    process.stdout.write(Buffer.from(`${raw.join('\r\n')}\r\n\r\n`, 'latin1'))
  }

  #code({ error, head }: Reply): number {
    if (error !== undefined || head === undefined) return NO_ANSWER
    if (this.#options.role === Role.Authorizer) return head.status === 200 ? 0 : DENIED
    return head.status < 400 ? 0 : Math.floor(head.status / 100)
  }

  #say(text: string): void {
    if (!this.#silent) process.stderr.write(`${text}\n`)
  }
}

/** Standard output: bytes as they are, and on a terminal only what is text. */
class Screen {
  readonly #terminal: boolean = process.stdout.isTTY
  #hidden = 0
  #last = 0x0a

  print(chunk: Buffer): void | Promise<void> {
    if (this.#terminal && (this.#hidden > 0 || chunk.includes(0))) {
      this.#hidden += chunk.length
      return undefined
    }
    this.#last = chunk.at(-1) ?? this.#last
    return print(chunk)
  }

  /** Leaves the cursor at the beginning of a line; returns how many bytes were not shown. */
  end(): number {
    if (this.#terminal && this.#last !== 0x0a) process.stdout.write('\n')
    return this.#hidden
  }
}

/** No answer is worse than a bad one. */
function worse(a: number, b: number): number {
  return a === NO_ANSWER || b === NO_ANSWER ? NO_ANSWER : Math.max(a, b)
}

function line(number: number, reply: Reply, connection: string, c: Colours): string {
  const status = reply.head?.status ?? 0
  const colour = reply.error !== undefined || status >= 500 ? c.red : status >= 400 ? c.yellow : c.green
  const cells = [
    String(number).padStart(5),
    colour(String(reply.head?.status ?? '-').padEnd(6)),
    humanBytes(reply.bodyLength).padStart(9),
    (reply.headTime === undefined ? '-' : milliseconds(reply.headTime)).padStart(9),
    milliseconds(reply.time).padStart(9),
    c.dim(connection),
  ]
  return cells.join('  ') + (reply.error === undefined ? '' : `  ${c.red(problemOf(reply.error))}`)
}

function summary(times: readonly number[], count: number, connections: number): string {
  const failed = count - times.length
  const ends = `${connections} connection${connections === 1 ? '' : 's'}${failed === 0 ? '' : `, ${failed} failed`}`
  if (times.length === 0) return `${count} requests, ${ends}`
  const sorted = times.toSorted((a, b) => a - b)
  const at = (part: number): string => milliseconds(sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))]!)
  return `${count} requests, ${ends}: median ${at(0.5)}, least ${at(0)}, 99 % within ${at(0.99)}, most ${at(1)}`
}

const LINE_LIMIT = 8192

/** STDERR as lines, whatever the records. */
class Lines {
  readonly #say: (line: string) => void
  #rest = ''

  constructor(say: (line: string) => void) {
    this.#say = say
  }

  push(chunk: Buffer): void {
    const lines = (this.#rest + chunk.toString('latin1')).split('\n')
    this.#rest = lines.pop()!
    for (const each of lines) this.#say(each.replace(/\r$/, ''))
    if (this.#rest.length > LINE_LIMIT) this.end()
  }

  end(): void {
    if (this.#rest !== '') this.#say(this.#rest)
    this.#rest = ''
  }
}
