// PEP 3333's environ, in TypeScript: the variables of a request, and the request itself as `wsgi.` keys.
//
// What Python reads, JavaScript has to wait for: `read` and its kin return promises. Everything else is as the PEP has it.

import { enumerate } from '../core/index.ts'
import type { ByteStream, ByteString, ErrorStream, GatewayRequest } from '../core/index.ts'

/** `wsgi.input`. Ends where the body ends: an empty chunk, as in Python. */
export interface WsgiInput extends AsyncIterable<Uint8Array> {
  /** So many bytes, fewer only at the end; all that is left without a size. */
  read(size?: number): Promise<Uint8Array>
  /** A line with its line break, at most `size` bytes of it. */
  readline(size?: number): Promise<Uint8Array>
  /** Lines, until they have `hint` bytes together; all without one. Iterating gives lines too. */
  readlines(hint?: number): Promise<Uint8Array[]>
}

/** `wsgi.errors`. */
export interface WsgiErrors {
  /** To the log of this request. */
  write(text: string): void
  /** One after the other; nothing is added. */
  writelines(lines: Iterable<string>): void
  /** Does nothing: every line is on its way. */
  flush(): void
}

/** A plain object without a prototype. CGI variables are byte strings: one char is one byte. */
export interface Environ {
  [name: string]: unknown
  /** These are the variables that are always there; HTTP_* and others as there are. */
  REQUEST_METHOD: ByteString
  SCRIPT_NAME: ByteString
  PATH_INFO: ByteString
  QUERY_STRING: ByteString
  SERVER_NAME: ByteString
  SERVER_PORT: ByteString
  SERVER_PROTOCOL: ByteString
  CONTENT_TYPE?: ByteString
  CONTENT_LENGTH?: ByteString
  'wsgi.version': readonly [1, 0]
  'wsgi.url_scheme': 'http' | 'https'
  'wsgi.input': WsgiInput
  /** Always: the input ends by itself, also where no CONTENT_LENGTH says when. */
  'wsgi.input_terminated': true
  'wsgi.errors': WsgiErrors
  'wsgi.multithread': boolean
  'wsgi.multiprocess': boolean
  'wsgi.run_once': boolean
}

/** The environ of a request. Nothing of the body is read before the application does. */
export function environOf(request: GatewayRequest): Environ {
  const environ = Object.create(null) as Environ
  environ.PATH_INFO = ''
  enumerate(request, (name, value) => {
    // What is called wsgi.something is ours to say.
    if (!name.startsWith('wsgi.')) environ[name] = value
  })
  environ['wsgi.version'] = [1, 0]
  environ['wsgi.url_scheme'] = request.scheme
  environ['wsgi.input'] = new Input(request.body)
  environ['wsgi.input_terminated'] = true
  environ['wsgi.errors'] = errorsOf(request.errors)
  environ['wsgi.multithread'] = false
  environ['wsgi.multiprocess'] = false
  environ['wsgi.run_once'] = false
  return environ
}

function errorsOf(errors: ErrorStream): WsgiErrors {
  return {
    write: (text) => errors.write(text),
    writelines: (lines) => {
      for (const line of lines) errors.write(line)
    },
    flush() {},
  }
}

const NOTHING = new Uint8Array(0)
const NEWLINE = 0x0a

class Input implements WsgiInput {
  readonly #body: ByteStream
  #iterator: AsyncIterator<Uint8Array> | undefined
  /** What was read and not yet given out. */
  #rest: Uint8Array = NOTHING
  #ended = false

  constructor(body: ByteStream) {
    this.#body = body
  }

  async read(size?: number): Promise<Uint8Array> {
    const wanted = size === undefined || size < 0 ? Infinity : size
    const parts: Uint8Array[] = []
    for (let left = wanted; left > 0 && (await this.#fill());) {
      const part = this.#take(Math.min(left, this.#rest.length))
      parts.push(part)
      left -= part.length
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  async readline(size?: number): Promise<Uint8Array> {
    const parts: Uint8Array[] = []
    for (let left = size === undefined || size < 0 ? Infinity : size; left > 0 && (await this.#fill());) {
      const end = this.#rest.indexOf(NEWLINE)
      const part = this.#take(Math.min(left, end === -1 ? this.#rest.length : end + 1))
      parts.push(part)
      left -= part.length
      if (part.at(-1) === NEWLINE) break
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts)
  }

  async readlines(hint?: number): Promise<Uint8Array[]> {
    const lines: Uint8Array[] = []
    let length = 0
    for await (const line of this) {
      lines.push(line)
      length += line.length
      if (hint !== undefined && hint > 0 && length >= hint) break
    }
    return lines
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array, void, undefined> {
    for (let line = await this.readline(); line.length > 0; line = await this.readline()) yield line
  }

  #take(count: number): Uint8Array {
    const part = this.#rest.subarray(0, count)
    this.#rest = this.#rest.subarray(count)
    return part
  }

  /** Whether there is anything left. */
  async #fill(): Promise<boolean> {
    while (this.#rest.length === 0 && !this.#ended) {
      this.#iterator ??= this.#body[Symbol.asyncIterator]()
      const next = await this.#iterator.next()
      if (next.done === true) this.#ended = true
      else this.#rest = next.value
    }
    return this.#rest.length > 0
  }
}
