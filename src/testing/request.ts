// A request made by hand: what a door would have made, without a door.

import {
  Channel,
  Headers,
  Scope,
  Variables,
  emptyBody,
  parseTarget,
  streamOf,
  toByteString,
  type ByteStream,
  type ByteString,
  type Endpoint,
  type ErrorStream,
  type FilterData,
  type GatewayRequest,
  type HeaderList,
  type HeaderView,
  type Outcome,
  type Target,
  type VariableView,
} from '../core/index.ts'

/** What a request is made of. Everything has a default: `{}` is `GET /` from 192.0.2.1 to 192.0.2.2:80. */
export interface RequestParts {
  /** Default `GET`. */
  readonly method?: ByteString
  /** Origin-form, with the query. Default `/`. A target that a door refuses throws here. */
  readonly target?: ByteString
  /** Where the application is mounted; `target` is taken to begin with it. */
  readonly scriptName?: ByteString
  /** Default: what is left of the target's path. */
  readonly pathInfo?: ByteString
  /** Default `HTTP/1.1`. */
  readonly protocol?: ByteString
  /** Default `http`. */
  readonly scheme?: 'http' | 'https'
  /** Pairs or an object. `Host: test.example` is added when there is none. */
  readonly headers?: HeaderList | Readonly<Record<string, string>>
  /** Text (UTF-8) and bytes have a length; chunks have none unless `contentLength` says so. */
  readonly body?: string | Uint8Array | Iterable<Uint8Array> | AsyncIterable<Uint8Array> | ByteStream
  /** For chunks: their length. For a client that lies: what it says. */
  readonly contentLength?: number | undefined
  /** `[name, value, ...]` beside those that members and headers give. */
  readonly variables?: HeaderList
  /** Default 192.0.2.1, port 50,000. */
  readonly remote?: Endpoint
  /** Default 192.0.2.2, port 80, or 443 for https. */
  readonly local?: Endpoint
  /** For FastCGI's Filter role. */
  readonly filterData?: FilterData
  /** Hears of interim responses. */
  readonly inform?: (status: number, headers: HeaderList) => void
  /** Hears of each piece of `waitUntil` work, beside the request's own list of it. */
  readonly waitUntil?: (work: Promise<unknown>) => void
}

/** What `makeRequest` makes: a request, and the handles that its door would hold. */
export class MadeRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly headers: HeaderView
  readonly variables: VariableView
  readonly body: ByteStream
  readonly contentLength: number | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly errors: ErrorStream
  readonly filterData?: FilterData
  readonly inform: GatewayRequest['inform']
  /** Everything written to `errors`. */
  errorText = ''
  /** Everything given to `waitUntil`. */
  readonly work: Promise<unknown>[] = []
  readonly #scope: Scope

  constructor(init: RequestParts, target: Target) {
    this.#scope = new Scope((work) => {
      this.work.push(work)
      if (init.waitUntil !== undefined) init.waitUntil(work)
      else work.catch(() => {})
    })
    this.method = init.method ?? 'GET'
    this.target = init.target ?? '/'
    this.scriptName = init.scriptName ?? ''
    this.pathInfo = init.pathInfo ?? unmounted(target.path, this.scriptName)
    this.rawPathInfo = unmounted(target.rawPath, this.scriptName)
    this.queryString = target.queryString
    this.protocol = init.protocol ?? 'HTTP/1.1'
    this.scheme = init.scheme ?? 'http'
    const body = bodyOf(init)
    this.body = body.stream
    this.contentLength = body.length
    this.headers = new Headers(headersOf(init, body.length))
    this.remote = init.remote ?? { address: '192.0.2.1', port: 50_000 }
    this.local = init.local ?? { address: '192.0.2.2', port: this.scheme === 'https' ? 443 : 80 }
    this.errors = { write: (text) => void (this.errorText += text) }
    this.inform = init.inform
    if (init.filterData !== undefined) this.filterData = init.filterData
    this.variables = new Variables(this, init.variables)
  }

  get signal(): AbortSignal {
    return this.#scope.signal
  }

  /** What became of it, once `finish` was called. */
  get outcome(): Outcome | undefined {
    return this.#scope.outcome
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    this.#scope.onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.#scope.waitUntil(work)
  }

  /** The matter is over for the client. Default: the answer was sent whole. */
  finish(outcome: Partial<Outcome> = {}): void {
    this.#scope.finish({ kind: 'sent', status: 200, bytes: 0, ...outcome })
  }

  /** The client has gone: the signal aborts, and what is left of a body that is a `Channel` fails. */
  abort(reason?: unknown): void {
    this.#scope.abort(reason)
    const error: unknown = this.signal.reason
    if (this.body instanceof Channel) this.body.fail(error)
    this.#scope.finish({ kind: 'cut', status: 0, bytes: 0, error })
  }
}

/** A request for unit tests. Throws a TypeError for a target that every door refuses. */
export function makeRequest(init: RequestParts = {}): MadeRequest {
  const target = parseTarget(init.target ?? '/')
  if (typeof target === 'string') throw new TypeError(`testing: the target ${JSON.stringify(init.target)} is refused: ${target}`)
  return new MadeRequest(init, target)
}

function unmounted(path: ByteString, scriptName: ByteString): ByteString {
  return path.startsWith(scriptName) ? path.slice(scriptName.length) : path
}

function bodyOf(init: RequestParts): { stream: ByteStream; length: number | undefined } {
  const { body } = init
  const said = 'contentLength' in init
  if (body === undefined) return { stream: emptyBody, length: said ? init.contentLength : 0 }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    const bytes = typeof body === 'string' ? Buffer.from(body, 'utf8') : body
    return { stream: streamOf(bytes.length === 0 ? [] : [bytes]), length: said ? init.contentLength : bytes.length }
  }
  return { stream: isByteStream(body) ? body : streamOf(body), length: init.contentLength }
}

function isByteStream(body: object): body is ByteStream {
  return 'cancel' in body && typeof body.cancel === 'function' && Symbol.asyncIterator in body
}

function headersOf(init: RequestParts, length: number | undefined): HeaderList {
  const given = init.headers ?? []
  const list: ByteString[] = Array.isArray(given)
    ? [...(given as HeaderList)]
    : Object.entries(given).flatMap(([name, value]) => [name, toByteString(value)])
  const has = (wanted: string): boolean => list.some((name, i) => i % 2 === 0 && name.toLowerCase() === wanted)
  if (!has('host')) list.unshift('Host', 'test.example')
  if ((init.body !== undefined || length !== 0) && !has('content-length') && !has('transfer-encoding')) {
    if (length === undefined) list.push('Transfer-Encoding', 'chunked')
    else list.push('Content-Length', String(length))
  }
  return list
}
