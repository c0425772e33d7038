// What a Node application writes to its socket, read back: the head, interim responses, and the body without its framing.
//
// The bytes come from node's own ServerResponse, or from an upgrade handler that writes its answer by hand (as `ws` does). They are
// trusted to be HTTP/1.1 as far as the application is; what is none is the application's mistake.

import { GatewayError, sameName } from '../core/index.ts'
import type { HeaderList } from '../core/index.ts'

export interface AnswerSink {
  inform(status: number, headers: HeaderList): void
  /** `length` is undefined where only the end of the body says where it ends. */
  head(status: number, reason: string, headers: HeaderList, length: number | undefined): void
  /** A string is UTF-8 text. Also called for what follows a 101. */
  data(chunk: Uint8Array | string): void
  trailers(list: HeaderList): void
}

/** Fields about the connection, which the bridge does not pass on: the door on the other side frames its own message. */
const FRAMING = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade']
/** A head of an answer; more is no head. */
const HEAD_LIMIT = 1_048_576
const STATUS_LINE = /^HTTP\/1\.[01] (\d{3})(?: (.*))?$/

export class AnswerReader {
  readonly #sink: AnswerSink
  #state: 'head' | 'plain' | 'chunked' | 'trailers' = 'head'
  #text = ''
  /** Bytes left of a chunk, with the two of its CRLF. */
  #left = 0
  #trailers: string[] = []

  constructor(sink: AnswerSink) {
    this.#sink = sink
  }

  write(piece: Uint8Array | string, encoding: BufferEncoding): void {
    if (this.#state !== 'head') this.#body(piece, encoding)
    else if (typeof piece === 'string' && (encoding === 'utf8' || encoding === 'latin1')) this.#head(piece, encoding)
    else this.#head(bytesOf(piece, encoding).toString('latin1'), 'latin1')
  }

  #head(piece: string, encoding: BufferEncoding): void {
    const text = this.#text + piece
    const end = text.indexOf('\r\n\r\n', Math.max(0, this.#text.length - 3))
    if (end === -1) {
      if (text.length > HEAD_LIMIT) throw noAnswer('its head does not end')
      this.#text = text
      return
    }
    // What is left is of the last piece alone, and so of one encoding.
    const rest = text.slice(end + 4)
    this.#text = ''
    const lines = text.slice(0, end).split('\r\n')
    const match = STATUS_LINE.exec(lines[0]!)
    if (match === null) throw noAnswer('it does not begin with a status line')
    const status = Number(match[1])
    if (status < 200 && status !== 101) {
      this.#sink.inform(status, fields(lines))
      if (rest !== '') this.#head(rest, encoding)
      return
    }
    this.#begin(status, match[2] ?? '', fields(lines))
    if (rest !== '') this.#body(rest, encoding)
  }

  #begin(status: number, reason: string, all: string[]): void {
    let length: number | undefined
    let framed = false
    for (let i = 0; i < all.length; i += 2) {
      const name = all[i]!
      if (sameName(name, 'content-length')) length = Number(all[i + 1])
      else if (sameName(name, 'transfer-encoding') && all[i + 1] === 'chunked') this.#state = 'chunked'
      framed ||= FRAMING.some((each) => sameName(name, each))
    }
    if (this.#state !== 'chunked') this.#state = 'plain'
    this.#sink.head(status, reason, framed && status !== 101 ? withoutFraming(all) : all, length)
  }

  #body(piece: Uint8Array | string, encoding: BufferEncoding): void {
    if (this.#state !== 'plain') this.#chunks(bytesOf(piece, encoding))
    else if (piece.length > 0) this.#sink.data(typeof piece === 'string' && encoding !== 'utf8' ? bytesOf(piece, encoding) : piece)
  }

  #chunks(bytes: Buffer): void {
    for (let at = 0; at < bytes.length;) {
      if (this.#left > 0) {
        const taken = Math.min(this.#left, bytes.length - at)
        const data = Math.min(this.#left - 2, taken)
        if (data > 0) this.#sink.data(bytes.subarray(at, at + data))
        this.#left -= taken
        at += taken
        continue
      }
      const end = bytes.indexOf(0x0a, at)
      this.#text += bytes.toString('latin1', at, end === -1 ? bytes.length : end)
      if (end === -1) return
      at = end + 1
      const line = this.#text.trimEnd()
      this.#text = ''
      this.#line(line)
    }
  }

  #line(line: string): void {
    if (this.#state === 'trailers') {
      if (line === '') this.#sink.trailers(this.#trailers)
      else field(this.#trailers, line)
      return
    }
    const size = Number.parseInt(line, 16)
    if (Number.isNaN(size)) throw noAnswer('a chunk without a size')
    if (size === 0) this.#state = 'trailers'
    else this.#left = size + 2
  }
}

function bytesOf(piece: Uint8Array | string, encoding: BufferEncoding): Buffer {
  if (typeof piece === 'string') return Buffer.from(piece, encoding)
  return Buffer.isBuffer(piece) ? piece : Buffer.from(piece.buffer, piece.byteOffset, piece.byteLength)
}

function fields(lines: readonly string[]): string[] {
  const list: string[] = []
  for (let i = 1; i < lines.length; i++) field(list, lines[i]!)
  return list
}

function field(list: string[], line: string): void {
  const colon = line.indexOf(':')
  if (colon < 1) throw noAnswer('a header line without a name')
  list.push(line.slice(0, colon), line.slice(colon + 1).trim())
}

function withoutFraming(all: readonly string[]): string[] {
  const kept: string[] = []
  for (let i = 0; i < all.length; i += 2) if (!FRAMING.some((each) => sameName(all[i]!, each))) kept.push(all[i]!, all[i + 1]!)
  return kept
}

function noAnswer(fact: string): GatewayError {
  return new GatewayError('CONTRACT', {
    status: 500,
    message: `http: what a Node application wrote to its socket is no HTTP answer: ${fact}`,
  })
}
