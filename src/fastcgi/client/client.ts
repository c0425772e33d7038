// Applications at the other end of sockets as a Backend: variables out, answer back, connections kept in between.
//
// A connection is taken only when the whole request body is here, so a slow client holds none and a request can be tried
// again. One host is the short way; with several, upstreams.ts says which. Specification: FastCGI 1.0, section 6; RFC 3875, section 4.1.

import { GatewayError, Line, backend, derive, enumerate, spool } from '../../core/index.ts'
import type { Address, ByteStream, ByteString, Emit, GatewayRequest, GatewayResponse, PoolStatus } from '../../core/index.ts'
import { ClientCall } from './client-call.ts'
import type { Source } from './client-call.ts'
import { dispatch } from './dispatch.ts'
import { LIMITS, checkOptions, configError, constantsOf } from './options.ts'
import type { FastCgiBackend, FastCgiLimits, FastCgiOptions, UpstreamOptions, UpstreamStatus } from './options.ts'
import { connect, formatAddress, parseTarget } from './connect.ts'
import type { TlsOptions } from './connect.ts'
import { MuxConnections } from './connections-mux.ts'
import { Connections } from './connections.ts'
import type { ConnectionsOptions } from './connections.ts'
import { clientClosed, clientGone } from './failures.ts'
import { getValues } from './get-values.ts'
import type { Lane, Lanes, Waiters } from './lanes.ts'
import { encodeRequest } from '../params.ts'
import { Role } from '../record.ts'
import { checkHost, encodeCheck, isWell } from './upstream-check.ts'
import type { HostSpec } from './upstream-names.ts'
import { Tally } from './tally.ts'
import { Upstreams } from './upstreams.ts'
import type { UpstreamsOwner } from './upstreams.ts'

/** Milliseconds that `close` waits for running requests when nothing else is said. */
const GRACE = 10_000

/** What an authorizer is not told (FastCGI 1.0, 6.3). */
const NOT_FOR_AUTHORIZERS = new Set(['CONTENT_LENGTH', 'PATH_INFO', 'PATH_TRANSLATED', 'SCRIPT_NAME'])

/**
 * A FastCGI application as a Backend. Its requests reject with GatewayErrors: UNAVAILABLE and UPSTREAM_* (502), TIMEOUT
 * (504), QUEUE_FULL, QUEUE_TIMEOUT, CLOSED (503), BODY_TOO_LARGE (413), BODY_LENGTH_MISMATCH (400). An answer that breaks
 * off later fails its body. Throws CONFIG for options that cannot be carried out.
 */
export function fastcgi(options: FastCgiOptions): FastCgiBackend {
  const client = new Client(options)
  const made = backend((request) => client.handle(request), {
    ready: () => client.ready(),
    close: (grace) => client.close(grace ?? GRACE),
    pools: () => [client.pool()],
  })
  Object.defineProperty(made, 'upstreams', {
    get: () => client.upstreams,
    set: (upstreams: readonly (UpstreamOptions | string)[]) => {
      client.upstreams = upstreams
    },
  })
  return Object.assign(made, { status: () => client.status() }) as FastCgiBackend
}

/** The one host of a client that was made with `address`. */
interface Only {
  readonly address: Address
  readonly tls: TlsOptions | undefined
  readonly lanes: Lanes
  readonly queue: Line<Lane | Promise<Lane>>
}

export class Client implements UpstreamsOwner {
  readonly tally: Tally = new Tally()
  readonly hold: { readonly bytes: number; readonly time: number }
  readonly limits: FastCgiLimits
  readonly bodyLimit: number
  readonly deadlines: { readonly firstByte: number; readonly between: number }
  readonly drain: { readonly bytes: number; readonly time: number }
  readonly options: FastCgiOptions
  readonly role: Role
  readonly filters: boolean
  readonly keep: boolean
  readonly retries: number
  readonly onCut: 'close' | 'drain'
  readonly localRedirects: boolean
  readonly #connectTimeout: number
  readonly #variables: readonly (readonly [ByteString, ByteString])[]
  readonly #check: ByteString
  readonly #only: Only | undefined
  #set: Upstreams | undefined
  #closing = false

  constructor(options: FastCgiOptions) {
    checkOptions(options)
    this.options = options
    this.#connectTimeout = options.connectTimeout ?? 5000
    this.hold = options.hold ?? { bytes: 65_536, time: 5 }
    this.limits = { ...LIMITS, ...options.limits }
    this.bodyLimit = this.limits.response === 0 ? Number.POSITIVE_INFINITY : this.limits.response
    this.deadlines = { firstByte: this.limits.firstByte, between: this.limits.between }
    this.drain = { bytes: this.limits.drainBytes, time: this.limits.drainTime }
    this.role = options.role ?? Role.Responder
    this.filters = this.role === Role.Filter
    // libfcgi closes the connection, after its answer, when a filter leaves its file unread; and a file is not sent a second time.
    this.keep = options.keep ?? !this.filters
    this.retries = options.retries ?? (options.upstreams === undefined ? 1 : 2)
    this.onCut = options.onCut ?? 'close'
    this.localRedirects = options.localRedirects ?? false
    this.#variables = constantsOf(options)
    this.#check = encodeCheck(this.role, options.health?.check ?? {}, this.#variables, options.documentRoot)
    this.#only = this.#single()
    if (this.#only === undefined) this.#set = new Upstreams(this, hostsOf(options))
  }

  /** The short way: one host, one request at a time on a connection, nobody to ask. */
  #single(): Only | undefined {
    const { options } = this
    const { address, multiplex = false, resolve, queue: max = 512, queueTimeout: timeout = 30_000 } = options
    if (address === undefined || multiplex !== false || resolve !== undefined) return undefined
    const target = typeof address === 'string' ? parseTarget(address) : { address, tls: false }
    if (!('address' in target)) return undefined
    const tls = target.tls ? (options.tls ?? {}) : undefined
    const peer = formatAddress(target.address, target.tls)
    const connections = options.connections ?? 8
    const queue = new Line<Lane | Promise<Lane>>({
      max,
      timeout,
      gone: () => clientGone(peer),
      refusal: (code) => {
        const message =
          code === 'QUEUE_FULL'
            ? `fastcgi: ${peer} has ${connections} connections in use and ${max} requests waiting; raise connections or queue, or lower the requests' cost`
            : `fastcgi: no connection to ${peer} became free within ${timeout} ms (all ${connections} in use)`
        return new GatewayError(code, { status: 503, message, retryAfter: 1 })
      },
    })
    return { address: target.address, tls, queue, lanes: this.#connections(target.address, tls, connections, queue) }
  }

  #connections(address: Address, tls: TlsOptions | undefined, max: number, waiters: Waiters): Lanes {
    return new Connections(this.#connecting(address, tls, max), waiters)
  }

  #connecting(address: Address, tls: TlsOptions | undefined, max: number): ConnectionsOptions {
    const { idleTimeout = 15_000, log } = this.options
    const connectTimeout = this.#connectTimeout
    return { address, max, connectTimeout, idleTimeout, ...(tls !== undefined && { tls }), ...(log !== undefined && { log }) }
  }

  // ---- for the hosts

  get asks(): boolean {
    const { multiplex = false } = this.options
    return typeof multiplex === 'object' && multiplex.ask === true
  }

  /** How many requests a host takes on a connection; undefined where it could not be reached. */
  async ask(spec: HostSpec): Promise<number | undefined> {
    try {
      const values = await getValues(spec.address, Math.min(1000, this.#connectTimeout), undefined, this.#tlsOf(spec))
      return values.get('FCGI_MPXS_CONNS') === '1' ? Number(values.get('FCGI_MAX_REQS')) || 65_535 : 1
    } catch (error) {
      // Many do not answer at all: those cannot.
      return error instanceof GatewayError && error.code === 'UNAVAILABLE' ? undefined : 1
    }
  }

  /** @param most requests that the host takes on a connection; 1: it does not share them. */
  open(spec: HostSpec, most: number, waiters: Waiters): Lanes {
    const { multiplex = false } = this.options
    if (multiplex === false || most === 1) return this.#connections(spec.address, this.#tlsOf(spec), spec.connections, waiters)
    const { requests = 100, memory = 262_144, file = 67_108_864, directory } = multiplex === true ? {} : multiplex
    return new MuxConnections(
      {
        ...this.#connecting(spec.address, this.#tlsOf(spec), spec.connections),
        requests: Math.min(requests, most),
        spill: { memory, file, ...(directory !== undefined && { directory }) },
      },
      waiters,
    )
  }

  async check(spec: HostSpec): Promise<boolean> {
    const check = this.options.health?.check
    try {
      return isWell(await checkHost(spec.address, this.#check, check?.timeout ?? 2000, this.#tlsOf(spec)), check?.status)
    } catch {
      return false
    }
  }

  #tlsOf(spec: HostSpec): TlsOptions | undefined {
    if (!spec.tls) return undefined
    return { ...(spec.serverName !== undefined && { serverName: spec.serverName }), ...this.options.tls }
  }

  get upstreams(): readonly (UpstreamOptions | string)[] {
    return this.#set?.written ?? hostsOf(this.options)
  }

  set upstreams(upstreams: readonly (UpstreamOptions | string)[]) {
    if (this.#set === undefined) throw configError('upstreams: this client was made with an address; make it with upstreams to change them')
    this.#set.written = upstreams
  }

  status(): readonly UpstreamStatus[] {
    return this.#set?.status() ?? []
  }

  /** All hosts together. */
  pool(): PoolStatus {
    if (this.#only !== undefined) {
      const { lanes, queue } = this.#only
      return this.tally.status(lanes.peer, lanes.counts, queue.counts)
    }
    const hosts = this.status()
    const open = hosts.reduce((sum, each) => sum + each.connections, 0)
    const idle = hosts.reduce((sum, each) => sum + each.idle, 0)
    return this.tally.status(hosts.map(({ address }) => address).join(', '), { open, idle }, this.#set!.counts)
  }

  /** Whether somebody listens there. The connection is not kept: a silent one would hold a worker of php-fpm for five seconds. */
  async ready(): Promise<void> {
    if (this.#only !== undefined) {
      const socket = await connect(this.#only.address, this.#connectTimeout, this.#only.tls)
      socket.destroy()
    } else await this.#set!.ready()
  }

  async close(grace: number): Promise<void> {
    this.#closing = true
    if (this.#only === undefined) return this.#set!.close(grace)
    this.#only.queue.clear(clientClosed(this.#only.lanes.peer))
    return this.#only.lanes.close(grace)
  }

  // ---- a request

  handle(received: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const request = this.#mapped(received)
    if (this.filters && request.filterData === undefined)
      throw configError('a filter was asked without filterData: filter() is what gives it')
    if (request.contentLength === 0 || this.role === Role.Authorizer) return this.#acquire(request, null, undefined)
    if (this.options.body === 'stream' && request.contentLength !== undefined) return this.#acquire(request, request.body, undefined)
    return this.#spool(request)
  }

  async #spool(request: GatewayRequest): Promise<GatewayResponse> {
    const source = await spool(request.body, {
      memory: this.limits.bodyMemory,
      limit: this.limits.body,
      expected: request.contentLength,
      named: this.options.requestBodyFile === true,
    })
    try {
      return await this.#acquire(request, null, source)
    } catch (error) {
      // A no-op when the request was sent: its end has closed it.
      source.close()
      throw error
    }
  }

  #acquire(request: GatewayRequest, stream: ByteStream | null, source: Source): GatewayResponse | Promise<GatewayResponse> {
    const until = this.limits.total === 0 ? 0 : performance.now() + this.limits.total
    const only = this.#only
    if (only === undefined) return dispatch(this, this.#set!, { request, stream, source, until })
    if (this.#closing) throw clientClosed(only.lanes.peer)
    return new ClientCall(this, only.lanes, only.lanes.take() ?? only.queue, request, stream, source, until, undefined).answer()
  }

  /** The connection turned out to be closed; a place for another one is claimed. */
  async resend({ request, source, until }: ClientCall, lanes: Lanes): Promise<GatewayResponse> {
    return new ClientCall(this, lanes, await lanes.claimed(), request, null, source, until, undefined).answer()
  }

  encode(lane: Lane, request: GatewayRequest, source: Source): ByteString {
    return encodeRequest(lane.id, this.role, this.keep || lane.shared, (emit) => this.#fill(request, source, emit))
  }

  #fill(request: GatewayRequest, source: Source, emit: Emit): void {
    if (this.role === Role.Authorizer) enumerate(request, (name, value) => NOT_FOR_AUTHORIZERS.has(name) || emit(name, value))
    else enumerate(request, emit, source === undefined ? {} : { contentLength: source.length })
    if (source?.path !== undefined) emit('REQUEST_BODY_FILE', source.path)
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

function hostsOf({ address, upstreams }: FastCgiOptions): readonly (UpstreamOptions | string)[] {
  return upstreams ?? [{ address: address! }]
}

function hasName(list: readonly ByteString[], name: ByteString): boolean {
  for (let i = 0; i < list.length; i += 2) if (list[i] === name) return true
  return false
}
