// An application at the other end of a socket as a Backend: variables out, answer back, connections kept in between.
//
// A connection is taken only when the whole request body is here, so a slow client holds none and a request can be tried
// again. Specification: FastCGI 1.0, section 6.2; RFC 3875, section 4.1.

import { GatewayError, backend, derive, enumerate, isComputed, spool } from '../core/index.ts'
import type { Address, Backend, ByteStream, ByteString, Emit, GatewayRequest, GatewayResponse, Log, Spooled } from '../core/index.ts'
import type { Connection } from './connection.ts'
import { Connections } from './connections.ts'
import { connect, formatAddress, parseAddress } from './connect.ts'
import type { Call, CallEnd } from './call.ts'
import { encodeRequest } from './params.ts'
import { Role } from './record.ts'

export interface FastCgiOptions {
  /** `{ path }`, `{ host, port }`, or text: `unix:/run/php/fpm.sock`, `127.0.0.1:9000`. */
  readonly address: Address | string
  /** Default `Role.Responder`. An authorizer gets no body and no path (FastCGI 1.0, 6.3). */
  readonly role?: typeof Role.Responder | typeof Role.Authorizer
  /** Connections at most. Default 8. With `keep`, no more than the application has workers: each may hold one. */
  readonly connections?: number
  /** Requests that may wait for a connection. Default 512; 503 beyond. */
  readonly queue?: number
  /** Milliseconds a request may wait. Default 30,000; then 503. */
  readonly queueTimeout?: number
  /** Milliseconds to connect. Default 5,000; then 504. */
  readonly connectTimeout?: number
  /** Milliseconds an unused connection is kept. Default 15,000. */
  readonly idleTimeout?: number
  /** Use connections for more than one request. Default true. */
  readonly keep?: boolean
  /**
   * Whether a request whose kept connection turned out to be closed is tried once more, on a fresh one: only before any byte
   * of an answer, and only if its method is idempotent or nothing of it was taken. Default 1.
   */
  readonly retries?: 0 | 1
  /** How long a reply waits for its end, to be a whole value with a Content-Length. Default 64 KiB and 5 ms; 0: never. */
  readonly hold?: { readonly bytes: number; readonly time: number }
  readonly limits?: Partial<FastCgiLimits>
  /** `spool` (default): the request body is whole before a connection is taken. `stream`: it is sent as it comes, if its length is known; then never tried again. */
  readonly body?: 'spool' | 'stream'
  /** When the client leaves: `close` (default) the connection, which is FastCGI's abort, or `drain` the answer within limits to keep it. */
  readonly onCut?: 'close' | 'drain'
  /** DOCUMENT_ROOT; without SCRIPT_FILENAME from anywhere, the request's path under it becomes that, and SCRIPT_NAME the whole path. */
  readonly documentRoot?: string
  /** SCRIPT_FILENAME of every request that has none of its own: a front controller. */
  readonly scriptFilename?: string
  /** More variables. Those that a request decides (`isComputed`) are refused, those it brings along win. */
  readonly variables?: Readonly<Record<string, ByteString>>
  /** `Location: /path` alone becomes an internal redirect. Default false: the client gets a 302. */
  readonly localRedirects?: boolean
  readonly log?: Log
}

export interface FastCgiLimits {
  /** Bytes of an answer's header block. Default 64 KiB; then 502. */
  readonly head: number
  /** Bytes of a request body. Default 1 GiB; then 413. */
  readonly body: number
  /** Bytes of a request body kept in memory, beyond which it goes to a file. Default 1 MiB. */
  readonly bodyMemory: number
  /** Milliseconds until the answer's head is there. Default 60,000; then 504. */
  readonly firstByte: number
  /** Milliseconds between two pieces of an answer. Default 60,000; then the answer is cut. */
  readonly between: number
  /** Bytes and milliseconds to read on for what nobody wants: the body of a HEAD, the rest after `onCut: 'drain'`. Default 1 MiB, 5,000 ms. */
  readonly drainBytes: number
  readonly drainTime: number
}

const LIMITS: FastCgiLimits = {
  head: 65_536,
  body: 1024 ** 3,
  bodyMemory: 1024 ** 2,
  firstByte: 60_000,
  between: 60_000,
  drainBytes: 1024 ** 2,
  drainTime: 5000,
}

/** Milliseconds that `close` waits for running requests when nothing else is said. */
const GRACE = 10_000

/** RFC 9110, 9.2.2. */
const IDEMPOTENT = new Set(['GET', 'HEAD', 'OPTIONS', 'PUT', 'DELETE', 'TRACE'])

/** What an authorizer is not told (FastCGI 1.0, 6.3). */
const NOT_FOR_AUTHORIZERS = new Set(['CONTENT_LENGTH', 'PATH_INFO', 'PATH_TRANSLATED', 'SCRIPT_NAME'])

/**
 * A FastCGI application as a Backend. Its requests reject with GatewayErrors: UNAVAILABLE and UPSTREAM_* (502), TIMEOUT
 * (504), QUEUE_FULL, QUEUE_TIMEOUT, CLOSED (503), BODY_TOO_LARGE (413), BODY_LENGTH_MISMATCH (400). An answer that breaks
 * off later fails its body. Throws CONFIG for options that cannot be carried out.
 */
export function fastcgi(options: FastCgiOptions): Backend {
  const client = new Client(options)
  return backend((request) => client.handle(request), {
    ready: () => client.ready(),
    close: (grace) => client.close(grace ?? GRACE),
  })
}

/** A request body that can be sent, perhaps again. */
type Source = Spooled | undefined

class Client {
  readonly connections: Connections
  readonly hold: { readonly bytes: number; readonly time: number }
  readonly limits: FastCgiLimits
  readonly deadlines: { readonly firstByte: number; readonly between: number }
  readonly drain: { readonly bytes: number; readonly time: number }
  readonly options: FastCgiOptions
  readonly role: Role
  readonly keep: boolean
  readonly retries: number
  readonly #address: Address
  readonly #connectTimeout: number
  readonly #variables: readonly [ByteString, ByteString][]

  constructor(options: FastCgiOptions) {
    this.options = options
    this.#address = typeof options.address === 'string' ? parseAddress(options.address) : options.address
    this.#connectTimeout = options.connectTimeout ?? 5000
    this.connections = new Connections({
      address: this.#address,
      max: atLeastOne('connections', options.connections ?? 8),
      queue: options.queue ?? 512,
      queueTimeout: options.queueTimeout ?? 30_000,
      connectTimeout: this.#connectTimeout,
      idleTimeout: options.idleTimeout ?? 15_000,
      ...(options.log !== undefined && { log: options.log }),
    })
    this.hold = options.hold ?? { bytes: 65_536, time: 5 }
    this.limits = { ...LIMITS, ...options.limits }
    this.deadlines = { firstByte: this.limits.firstByte, between: this.limits.between }
    this.drain = { bytes: this.limits.drainBytes, time: this.limits.drainTime }
    this.role = options.role ?? Role.Responder
    this.keep = options.keep ?? true
    this.retries = this.keep ? (options.retries ?? 1) : 0
    this.#variables = constants(options)
  }

  /** Whether somebody listens there. The connection is not kept: a silent one would hold a worker of php-fpm for five seconds. */
  async ready(): Promise<void> {
    const socket = await connect(this.#address, this.#connectTimeout)
    socket.destroy()
  }

  close(grace: number): Promise<void> {
    return this.connections.close(grace)
  }

  handle(received: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const request = this.#mapped(received)
    if (request.contentLength === 0 || this.role === Role.Authorizer) return this.#acquire(request, null, undefined)
    if (this.options.body === 'stream' && request.contentLength !== undefined) return this.#acquire(request, request.body, undefined)
    return this.#spool(request)
  }

  async #spool(request: GatewayRequest): Promise<GatewayResponse> {
    const source = await spool(request.body, {
      memory: this.limits.bodyMemory,
      limit: this.limits.body,
      expected: request.contentLength,
    })
    try {
      return await this.#acquire(request, null, source)
    } catch (error) {
      // A no-op when the request was sent: its end has closed it.
      source.close()
      throw error
    }
  }

  #acquire(request: GatewayRequest, stream: ByteStream | null, source: Source): Promise<GatewayResponse> {
    const connection = this.connections.acquire(request)
    return connection instanceof Promise
      ? connection.then((each) => this.#send(each, request, stream, source))
      : this.#send(connection, request, stream, source)
  }

  #send(connection: Connection, request: GatewayRequest, stream: ByteStream | null, source: Source): Promise<GatewayResponse> {
    const call = new ClientCall(this, connection, request, stream, source)
    const response = connection.send(call)
    if (!call.mayRetry) return response
    return response.catch(async (error: unknown) => {
      if (!call.retrying) throw error
      const fresh = await this.connections.claimed()
      return this.#send(fresh, request, stream, source)
    })
  }

  encode(request: GatewayRequest, source: Source): ByteString {
    return encodeRequest(1, this.role, this.keep, (emit) => this.#fill(request, source, emit))
  }

  #fill(request: GatewayRequest, source: Source, emit: Emit): void {
    if (this.role === Role.Authorizer) enumerate(request, (name, value) => NOT_FOR_AUTHORIZERS.has(name) || emit(name, value))
    else enumerate(request, emit, source === undefined ? {} : { contentLength: source.length })
    const { own } = request.variables
    for (const [name, value] of this.#variables) if (!hasName(own, name)) emit(name, value)
  }

  /** Names the script by the request's path, where the options say so and nobody has done it. */
  #mapped(request: GatewayRequest): GatewayRequest {
    const { documentRoot, scriptFilename } = this.options
    if (documentRoot === undefined || scriptFilename !== undefined || hasName(request.variables.own, 'SCRIPT_FILENAME')) return request
    if (/%2f|%5c/i.test(request.rawPathInfo) || request.pathInfo.includes('\\')) {
      // Another layer could see another file in it than we do.
      throw new GatewayError('BAD_REQUEST', { status: 400, message: 'fastcgi: a path with an encoded slash or a backslash names no file' })
    }
    const scriptName = request.scriptName + request.pathInfo
    return derive(request, { scriptName, pathInfo: '', rawPathInfo: '', variables: { SCRIPT_FILENAME: documentRoot + scriptName } })
  }
}

/** One try. */
class ClientCall implements Call {
  readonly request: GatewayRequest
  readonly head: ByteString
  readonly body: ByteStream | readonly Uint8Array[] | null
  readonly hold: { readonly bytes: number; readonly time: number }
  readonly headLimit: number
  readonly deadlines: { readonly firstByte: number; readonly between: number }
  readonly drain: { readonly bytes: number; readonly time: number }
  readonly onCut: 'close' | 'drain'
  readonly localRedirects: boolean
  readonly mayRetry: boolean
  retrying = false
  readonly #client: Client
  readonly #connection: Connection
  readonly #source: Source

  constructor(client: Client, connection: Connection, request: GatewayRequest, stream: ByteStream | null, source: Source) {
    this.#client = client
    this.#connection = connection
    this.#source = source
    this.request = request
    try {
      this.head = client.encode(request, source)
    } catch (error) {
      // Nothing was sent: the connection is as good as it was.
      client.connections.release(connection)
      throw error
    }
    this.body = stream ?? (source === undefined ? null : (source.chunks ?? source.stream()))
    this.hold = client.hold
    this.headLimit = client.limits.head
    this.deadlines = client.deadlines
    this.drain = client.drain
    this.onCut = client.options.onCut ?? 'close'
    this.localRedirects = client.options.localRedirects ?? false
    this.mayRetry = client.retries > 0 && connection.requests > 0 && stream === null
  }

  stderr(line: string): void {
    this.request.errors.write(`${line}\n`)
  }

  onEnd(how: CallEnd): void {
    const { connections, options } = this.#client
    if (how.reusable) connections.release(this.#connection)
    else if (this.mayRetry && isStale(how) && (!how.taken || IDEMPOTENT.has(this.request.method))) {
      this.retrying = true
      connections.claim()
      return
    }
    this.#source?.close()
    if (how.appStatus !== undefined && how.appStatus !== 0) {
      const { peer } = connections
      options.log?.warn(
        { peer, appStatus: how.appStatus, method: this.request.method, target: this.request.target },
        `fastcgi: ${peer} ended a request with application status ${how.appStatus}`,
      )
    }
  }
}

/** The connection was lost without a byte of an answer: most likely it had been closed before the request reached it. */
function isStale(how: CallEnd): boolean {
  return !how.answered && how.error instanceof GatewayError && how.error.code === 'UPSTREAM_TRUNCATED'
}

function constants(options: FastCgiOptions): [ByteString, ByteString][] {
  const all: [ByteString, ByteString][] = Object.entries(options.variables ?? {})
  for (const [name] of all) {
    if (!isComputed(name)) continue
    const where = formatAddress(typeof options.address === 'string' ? parseAddress(options.address) : options.address)
    throw new GatewayError('CONFIG', {
      status: 500,
      message: `fastcgi: variables: ${name} is decided by the request and cannot be set (${where})`,
    })
  }
  if (options.documentRoot !== undefined) all.push(['DOCUMENT_ROOT', options.documentRoot])
  if (options.scriptFilename !== undefined) all.push(['SCRIPT_FILENAME', options.scriptFilename])
  return all
}

function hasName(list: readonly ByteString[], name: ByteString): boolean {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return true
  return false
}

function atLeastOne(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw new GatewayError('CONFIG', { status: 500, message: `fastcgi: ${name}: expected a whole number from 1, got ${value}` })
}
