// One request from a web server: what it is, where its answer goes, and the moments in between that the log and the status page tell.
//
// Its worker hands on records; the rest (the manager's own answers, refusals, the end that is none) is written here.

import type { ByteString, HeaderList } from '../core/index.ts'
import { PairDecoder, Type, decodePairs, endRequest, record } from '../fastcgi/index.ts'
import type { Facts } from './params.ts'
import { knownPairs, readFacts } from './params.ts'
import type { WebConnection } from './web.ts'
import type { Staff } from './staff.ts'
import type { Worker } from './worker.ts'

const MISSING = 'No input file specified.\n'
/** A small answer, that a worker without a script gives. */
const MISSING_LIMIT = 512
const FULL = 65_528
/** Bytes of a message of PHP's error log; a longer one becomes several. */
const MESSAGE_LIMIT = 262_144
/** In a request that came whole: the flags of BEGIN_REQUEST. */
const FLAGS = 10

export class Exchange {
  readonly connection: WebConnection
  readonly id: number
  readonly role: number
  readonly keep: boolean
  facts: Facts | undefined
  worker: Worker | undefined
  /** Whose worker it gets, where that is not the pool's own: it has settings of its own. */
  staff: Staff | undefined
  /** The web server has left, or was told all there is. */
  over = false
  /** When a worker took it: by `performance.now()`, and as Unix milliseconds. 0: none has. */
  takenAt = 0
  takenTime = 0
  endedAt = 0
  endedTime = 0
  status = 200
  /** The answer's head, as far as it is needed. */
  head = ''
  headDone = false
  /** Bytes that were sent on. */
  sent = 0
  /** Seconds of processor time. */
  cpuUser = 0
  cpuSystem = 0
  /** Gives its body back. */
  closeBody: (() => void) | undefined
  slow = false
  timedOut = false
  #params: PairDecoder | undefined
  #pairs: HeaderList | undefined
  /** The request as it came, where it came whole. */
  #whole: Buffer | undefined
  /** What a worker is to be told is what came. */
  #same = false
  #paramsAt = 0
  #paramsEnd = 0
  #said = false
  /** The beginning of what PHP says on STDERR. */
  #unsaid: ByteString = ''
  #finished: (() => void) | undefined

  constructor(connection: WebConnection, id: number, role: number, keep: boolean) {
    this.connection = connection
    this.id = id
    this.role = role
    this.keep = keep
  }

  takeParams(bytes: Buffer, start: number, end: number): void {
    if (this.facts !== undefined) return
    this.#params ??= new PairDecoder()
    this.#params.push(bytes, start, end)
  }

  /** A request that is all there: its parameters are those between. @returns whether it really is. */
  takeWhole(bytes: Buffer, start: number, end: number): boolean {
    const known = knownPairs(bytes, start, end)
    if (known === undefined) return false
    this.#whole = bytes
    this.#paramsAt = start
    this.#paramsEnd = end
    this.facts = readFacts(known)
    const script = known.indexOf('SCRIPT_FILENAME')
    this.#same = script !== -1 && known[script + 1] === this.facts.scriptFilename && !known.includes('SCRIPT_FILENAME', script + 2)
    // Without the body that it announces it is not whole.
    return this.facts.contentLength === 0 || this.facts.bodyFile !== ''
  }

  /** A request without a body as a worker may be sent it, where that is how it came. */
  whole(): Buffer | undefined {
    if (this.#whole === undefined || !this.#same) return undefined
    // The connection to the worker stays.
    this.#whole[FLAGS] = 1
    return this.#whole
  }

  get pairs(): HeaderList {
    if (this.#pairs !== undefined) return this.#pairs
    return this.#whole === undefined ? [] : (this.#pairs = decodePairs(this.#whole, this.#paramsAt, this.#paramsEnd))
  }

  /** @returns whether they are all there now, for the first time. */
  endParams(): boolean {
    if (this.facts !== undefined) return false
    this.#pairs = this.#params?.end() ?? []
    this.#params = undefined
    this.facts = readFacts(this.#pairs)
    return true
  }

  /** Microseconds in a worker's hands, so far or altogether. */
  duration(now: number): number {
    if (this.takenAt === 0) return 0
    return Math.round(((this.endedAt || now) - this.takenAt) * 1000)
  }

  /** For whoever lets it wait: nobody wants the answer any more. */
  onFinish(callback: (outcome: { readonly error?: unknown }) => void): void {
    if (this.over) callback({})
    else this.#finished = () => callback({})
  }

  // ---- the answer

  /** STDOUT's beginning: the head, until it is whole. */
  takeHead(chunk: Buffer, start: number, end: number, limit: number): void {
    this.head += chunk.toString('latin1', start, end)
    const whole = this.head.indexOf('\r\n\r\n')
    if (whole === -1 && this.head.length < limit) return
    this.headDone = true
    if (whole !== -1) this.head = this.head.slice(0, whole)
    // PHP says it first, where it says it.
    const status = this.head.startsWith('Status: ') ? this.head.slice(8, 11) : /^Status:\s*(\d{3})/im.exec(this.head)?.[1]
    if (status !== undefined) this.status = Number(status) || 200
  }

  /** Records, as they are. @returns whether the chunk's bytes are not needed any more. */
  relay(chunk: Buffer, start: number, end: number): boolean {
    this.sent += end - start
    if (this.over) {
      // Nobody listens: the script hears of it at its next output, as it would with php-fpm.
      this.worker?.close()
      return true
    }
    return this.connection.write(chunk.subarray(start, end))
  }

  /**
   * What PHP says on STDERR is its error log: php-fpm puts two words in front of each message, and a semicolon between two. php-cgi ends
   * each with a line break, which messages may hold as well: the next one is known where it begins as PHP's own do.
   */
  stderr(text: ByteString): void {
    const { house } = this.connection
    if (!house.php) {
      if (!this.over) this.connection.writeText(streamRecords(Type.Stderr, this.id, text))
      return
    }
    // A long one comes in several records.
    const all = this.#unsaid + text
    this.#unsaid = ''
    if (!all.endsWith('\n') && all.length < MESSAGE_LIMIT) {
      this.#unsaid = all
      return
    }
    const messages = all.replace(/\n$/, '').split(/\n(?=PHP [A-Z])/)
    house.logged(this, messages)
    if (!this.over) this.complain(messages.map((each) => `PHP message: ${each}`).join('; '))
  }

  /** For the web server's own log, in its words. */
  complain(text: ByteString): void {
    this.connection.writeText(streamRecords(Type.Stderr, this.id, this.#said ? `; ${text}` : text))
    this.#said = true
  }

  pace(worker: Worker): void {
    if (!this.over && !this.connection.hasRoom()) worker.pause()
  }

  /** The worker's last record has come. */
  ending(): void {
    this.endedAt = performance.now()
    this.endedTime = Date.now()
  }

  /** The last records, up to END_REQUEST, which begins at `at`. @returns as `relay` does. */
  finish(chunk: Buffer, from: number, at: number): boolean {
    if (this.#unsaid !== '') this.stderr('\n')
    if (this.over) return true
    if (this.connection.house.php && this.sent === 0 && this.status === 404 && at - from < MISSING_LIMIT && isMissing(chunk, from, at)) {
      this.answer(404, `${this.head.replace(/^Status: [^\r]*\r\n/, '')}\r\n`, 'File not found.\n', 'Primary script unknown')
      return true
    }
    this.sent += at - from
    const taken = this.connection.write(chunk.subarray(from, at + 16))
    this.#done()
    return taken
  }

  /** An answer of the manager's own. `headers` end in a line break. */
  answer(status: number, headers: ByteString, body: ByteString, stderr: ByteString = ''): void {
    if (this.over) return
    this.status = status
    const first = status === 200 ? '' : `Status: ${status} ${REASONS[status] ?? 'Error'}\r\n`
    this.connection.writeText(
      (stderr === '' ? '' : streamRecords(Type.Stderr, this.id, stderr)) +
        streamRecords(Type.Stdout, this.id, `${first}${headers}\r\n${body}`) +
        endRequest(this.id, 0, 0),
    )
    this.#done()
  }

  /** No answer, or no more of it: a worker that dies takes its connection with it, and that is what web servers know how to take. */
  breakOff(): void {
    if (this.over) return
    this.#leave()
    this.connection.close()
  }

  /** The web server has closed. */
  gone(): void {
    if (!this.over) this.#leave()
  }

  #done(): void {
    this.#leave()
    this.connection.done(this)
  }

  #leave(): void {
    this.over = true
    const finished = this.#finished
    this.#finished = undefined
    finished?.()
  }
}

const REASONS: Readonly<Record<number, string>> = {
  403: 'Forbidden',
  404: 'Not Found',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
  507: 'Insufficient Storage',
}

/** Whether the records are php-cgi's way of saying that there is no such script. */
function isMissing(chunk: Buffer, from: number, at: number): boolean {
  let text = ''
  for (let i = from; i < at;) {
    const length = chunk.readUInt16BE(i + 4)
    if (chunk[i + 1] === Type.Stdout) text += chunk.toString('latin1', i + 8, i + 8 + length)
    i += 8 + length + chunk[i + 6]!
  }
  return text.endsWith(`\r\n\r\n${MISSING}`)
}

/** One or more records of a stream. */
export function streamRecords(type: number, id: number, text: ByteString): ByteString {
  let wire = ''
  for (let at = 0; at < text.length; at += FULL) wire += record(type, id, text.slice(at, at + FULL))
  return wire
}
