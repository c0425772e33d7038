// What a client of FastCGI applications can be told, and what it does when it is not.

import { GatewayError, HEALTH, isComputed } from '../../core/index.ts'
import type { Address, Backend, ByteString, HealthRules, Log, Policy } from '../../core/index.ts'
import { parseTarget } from './connect.ts'
import type { TlsOptions } from './connect.ts'
import type { Role } from '../record.ts'
import type { CheckOptions } from './upstream-check.ts'
import type { ResolveOptions } from './upstream-names.ts'

/** Where the application is, and how it is spoken to. Sizes are bytes, times milliseconds. */
export interface FastCgiOptions {
  /** One application: `{ path }`, `{ host, port }`, or text: `unix:/run/php/fpm.sock`, `127.0.0.1:9000`, `fastcgis://php:9001` (TLS). */
  readonly address?: Address | string
  /** Instead of `address`: several hosts of the same application. Their set can be changed while it runs. */
  readonly upstreams?: readonly (UpstreamOptions | string)[]
  /** Which of several gets the next request. Default `round-robin`. A variable or a cookie: requests with the same value go to the same host. Refused beside an `address` that is one host. */
  readonly balance?: Balance
  /** When one of several is left alone, and when it is tried again. Refused beside an `address` that is one host: `upstreams` may have one, to be watched. */
  readonly health?: HealthOptions
  /** Ask DNS for the hosts behind names, again and again: each address is a host of its own. `fastcgi+srv://` names are always asked for. */
  readonly resolve?: ResolveOptions
  /** For `fastcgis://` addresses. */
  readonly tls?: TlsOptions
  /** Default `Role.Responder`. An authorizer gets no body and no path (FastCGI 1.0, 6.3), a filter gets `filterData` (6.4). */
  readonly role?: Role
  /** Connections at most, to each host. Default 8. With `keep`, no more than the application has workers: each may hold one. */
  readonly connections?: number
  /** Several requests at a time on a connection, for applications that can; `ask`: only where GET_VALUES says that it can. Default false. */
  readonly multiplex?: boolean | MultiplexOptions
  /** Requests that may wait for a connection. Default 512; 503 beyond. */
  readonly queue?: number
  /** Milliseconds a request may wait. Default 30,000; then 503. */
  readonly queueTimeout?: number
  /** Milliseconds to connect. Default 5,000; then 504. */
  readonly connectTimeout?: number
  /** Milliseconds an unused connection is kept. Default 15,000. */
  readonly idleTimeout?: number
  /** Use connections for more than one request. Default true; false for a filter, for libfcgi closes when one leaves its file unread. */
  readonly keep?: boolean
  /**
   * How often a request that failed is tried again: only before any byte of an answer, and only if its method is idempotent or
   * nothing of it was taken. With one host: 0 or 1, and only when a kept connection turned out to be closed. Default 1; 2 with several.
   */
  readonly retries?: number
  /** How long a reply waits for its end, to be a whole value with a Content-Length. Default 64 KiB and 5 ms; 0: never. */
  readonly hold?: { readonly bytes: number; readonly time: number }
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<FastCgiLimits>
  /** `spool` (default): the request body is whole before a connection is taken. `stream`: it is sent as it comes, if its length is known; then never tried again. */
  readonly body?: 'spool' | 'stream'
  /**
   * For php-fpm on this machine under our own user: a body that went to a file is not sent but named by REQUEST_BODY_FILE, and PHP
   * reads it there. Any other application would find no body. Default false.
   */
  readonly requestBodyFile?: boolean
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
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
}

/** A policy by its name, or what to hash by: a variable (`REMOTE_ADDR`) or a cookie. A request without it goes where `least-connections` sends it. */
export type Balance = Exclude<Policy, 'hash'> | { readonly variable: string } | { readonly cookie: string }

/** One host, or a name that stands for some. */
export interface UpstreamOptions {
  /** As `address`; `fastcgi+srv://_fcgi._tcp.example.org` stands for all hosts that DNS tells for this service (RFC 2782). */
  readonly address: Address | string
  /** Its share beside the others'. Default 1. */
  readonly weight?: number
  /** Asked only while none of the others is up. Default false. */
  readonly backup?: boolean
  /** In place of the client's. */
  readonly connections?: number
}

/** How many requests share a connection, and what waits for a slow reader of one of them. */
export interface MultiplexOptions {
  /** Only where GET_VALUES says FCGI_MPXS_CONNS=1; no more at a time than its FCGI_MAX_REQS. Asked again after an ejection, and when no connection was left. Default false: everywhere. */
  readonly ask?: boolean
  /** Requests at a time on one connection, at most 65,535. Default 100. */
  readonly requests?: number
  /** Bytes of an answer that its reader has not taken yet: so many in memory (default 256 KiB), */
  readonly memory?: number
  /** and so many in a file beyond them (default 64 MiB); then this answer is cut, for its neighbours must not wait for its reader. */
  readonly file?: number
  /** Where such files go. Default: the system's directory for temporary files. */
  readonly directory?: string
}

/** When a host is left alone and tried again; see `HealthRules` for the defaults. */
export interface HealthOptions extends Partial<Omit<HealthRules, 'checked' | 'rise' | 'fall'>> {
  /** Ask each host again and again whether it is well. Default: only requests tell. */
  readonly check?: CheckOptions
}

/** What an answer and a request may take, in bytes and milliseconds. */
export interface FastCgiLimits {
  /** Bytes of an answer's header block. Default 64 KiB; then 502. */
  readonly head: number
  /** Bytes of an answer's body. Default 0: no limit. Then 502, or the answer is cut when it has begun. */
  readonly response: number
  /** Bytes of a request body. Default 1 GiB; then 413. */
  readonly body: number
  /** Bytes of a request body kept in memory, beyond which it goes to a file. Default 1 MiB. */
  readonly bodyMemory: number
  /** Milliseconds until the answer's head is there. Default 60,000; then 504. */
  readonly firstByte: number
  /** Milliseconds between two pieces of an answer. Default 60,000; then the answer is cut. */
  readonly between: number
  /** Milliseconds for all of it, from when the request could be sent to the end of the answer, however often it is tried and however slowly the client reads. Default 0: no limit. */
  readonly total: number
  /** Bytes and milliseconds to read on for what nobody wants: the body of a HEAD, the rest after `onCut: 'drain'`. Default 1 MiB, 5,000 ms. */
  readonly drainBytes: number
  /** See `drainBytes`, in milliseconds. */
  readonly drainTime: number
}

export const LIMITS: FastCgiLimits = {
  head: 65_536,
  response: 0,
  body: 1024 ** 3,
  bodyMemory: 1024 ** 2,
  firstByte: 60_000,
  between: 60_000,
  total: 0,
  drainBytes: 1024 ** 2,
  drainTime: 5000,
}

/** How one host is doing. */
export interface UpstreamStatus {
  /** As messages name it: `127.0.0.1:9000`, `unix:/run/php/fpm.sock`, `fastcgis://php:9001`. */
  readonly address: string
  /** As it was given. */
  readonly weight: number
  /** Asked only while none of the others is up. */
  readonly backup: boolean
  /** `trial`: it was ejected, and the next request finds out. */
  readonly state: 'up' | 'down' | 'trial'
  /** Requests that were sent there, and those of them that it failed. */
  readonly requests: number
  /** See `requests`. */
  readonly failures: number
  /** Requests it has now. */
  readonly active: number
  /** Connections that are open or being opened. */
  readonly connections: number
  /** Requests that it could be given without opening another one. */
  readonly idle: number
  /** How often it was ejected without a long good time in between. */
  readonly ejections: number
}

/** A client of one or several hosts. */
export interface FastCgiBackend extends Backend {
  /** The hosts. Assigning others takes effect with the next request; what runs on those that go ends there. Throws CONFIG. */
  upstreams: readonly (UpstreamOptions | string)[]
  /** One a host; empty for a client that was made with `address`. */
  status(): readonly UpstreamStatus[]
}

export function configError(message: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `fastcgi: ${message}` })
}

/** Throws CONFIG for less than `least` and for what is no whole number. */
export function wholeNumber(name: string, value: number, least: number): number {
  if (Number.isInteger(value) && value >= least) return value
  throw configError(`${name}: expected a whole number from ${least}, got ${value}`)
}

export function rulesOf({ check, ...given }: HealthOptions = {}): HealthRules {
  const rise = check?.rise ?? HEALTH.rise
  const fall = check?.fall ?? HEALTH.fall
  return { ...HEALTH, ...given, checked: check !== undefined, rise, fall }
}

/** Variables of every request. */
export function constantsOf(options: FastCgiOptions): readonly (readonly [ByteString, ByteString])[] {
  const all: [ByteString, ByteString][] = Object.entries(options.variables ?? {})
  for (const [name] of all) {
    if (isComputed(name)) throw configError(`variables: ${name} is decided by the request and cannot be set`)
  }
  if (options.documentRoot !== undefined) all.push(['DOCUMENT_ROOT', options.documentRoot])
  if (options.scriptFilename !== undefined) all.push(['SCRIPT_FILENAME', options.scriptFilename])
  return all
}

/** Whether there is one host and never another: no name that DNS makes several of, no set that can be changed. */
function isOneHost({ address, resolve }: FastCgiOptions): boolean {
  return address !== undefined && resolve === undefined && (typeof address !== 'string' || 'address' in parseTarget(address))
}

/** Throws CONFIG. */
export function checkOptions(options: FastCgiOptions): void {
  if ((options.address === undefined) === (options.upstreams === undefined)) {
    throw configError(`expected either address or upstreams, got ${options.address === undefined ? 'neither' : 'both'}`)
  }
  for (const each of ['balance', 'health'] as const) {
    if (options[each] !== undefined && isOneHost(options)) {
      throw configError(`${each} is about several hosts, and address is one: write upstreams: [...] instead of address, or leave it out`)
    }
  }
  wholeNumber('connections', options.connections ?? 8, 1)
  wholeNumber('retries', options.retries ?? 0, 0)
  const { multiplex = false } = options
  if (typeof multiplex === 'object') {
    const requests = wholeNumber('multiplex.requests', multiplex.requests ?? 1, 1)
    if (requests > 65_535) throw configError(`multiplex.requests: ids are 16 bits, got ${requests}`)
  }
  if (multiplex !== false && options.keep === false) {
    throw configError('multiplex and keep: false: a connection for one request has no place for a second')
  }
}
