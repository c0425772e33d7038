// The meta-variables of a request (RFC 3875, 4.1), told one by one to whoever encodes them: FastCGI parameters, SCGI
// headers, a program's environment, WSGI's environ. One place knows them, so a security fix is made once.
//
// Precedence is fixed: members of the request, then header fields (HTTP_*), then `variables.own`. A client can only ever
// make an HTTP_* name; an upstream or a configuration can never replace what the server computed (CVE-2024-8927, CVE-2025-65082).

import { isToken, sameName } from './headers.ts'
import type { ByteString, GatewayRequest, HeaderList, VariableView } from './types.ts'
import { SOFTWARE } from './version.ts'

/** Takes one variable. */
export type Emit = (name: ByteString, value: ByteString) => void

/** What is told of a request's variables, and how. */
export interface EnumerateOptions {
  /** Pass Authorization on as HTTP_AUTHORIZATION: FastCGI programs expect it, RFC 3875, 4.1.18 advises CGI against it. Default true. */
  readonly authorization?: boolean
  /** Pass header names that hold `_`, which are told from `-` no more once they are variables (GHSA-f59h-q822-g45g). Default false. */
  readonly underscores?: boolean
  /** Overrides the request's contentLength, for a body that was spooled. */
  readonly contentLength?: number | undefined
}

// Hop-by-hop fields (RFC 9110, 7.6.1) are about this connection; Proxy would become HTTP_PROXY (CVE-2016-5385, "httpoxy");
// the two Content fields have variables of their own. None of them becomes an HTTP_* variable.
const NEVER = new Set([
  'proxy',
  'connection',
  'keep-alive',
  'proxy-connection',
  'proxy-authenticate',
  'proxy-authorization',
  'te',
  'trailer',
  'transfer-encoding',
  'upgrade',
  'content-length',
  'content-type',
])

// Clients repeat their header names, so each is mapped once. Bounded, for they come from outside.
const names = new Map<ByteString, ByteString>()
const NAMES_LIMIT = 2048

/** `X-Forwarded-For` is HTTP_X_FORWARDED_FOR; the empty string for a field that must not become a variable. */
export function variableName(header: ByteString): ByteString {
  const known = names.get(header)
  if (known !== undefined) return known
  // A name that is no token never came through HTTP, and could hold what ends a name in an environment.
  const name = NEVER.has(header.toLowerCase()) || !isToken(header) ? '' : 'HTTP_' + header.toUpperCase().replaceAll('-', '_')
  if (header.length <= 64) {
    // All at once: a client that invents names must not keep everybody else's out for good.
    if (names.size >= NAMES_LIMIT) names.clear()
    names.set(header, name)
  }
  return name
}

/** Tells `emit` each meta-variable of the request. CONTENT_LENGTH first: SCGI requires it. */
export function enumerate(request: GatewayRequest, emit: Emit, options: EnumerateOptions = {}): void {
  const length = 'contentLength' in options ? options.contentLength : request.contentLength
  if (length !== undefined && length > 0) emit('CONTENT_LENGTH', String(length))
  else if (length === 0 && statesLength(request)) emit('CONTENT_LENGTH', '0')
  const type = request.headers.get('content-type')
  if (type !== undefined) emit('CONTENT_TYPE', type)
  emit('GATEWAY_INTERFACE', 'CGI/1.1')
  emit('SERVER_SOFTWARE', SOFTWARE)
  emit('SERVER_PROTOCOL', request.protocol)
  emit('SERVER_NAME', serverName(request))
  emit('SERVER_PORT', serverPort(request))
  emit('SERVER_ADDR', request.local.address)
  emit('REQUEST_METHOD', request.method)
  emit('REQUEST_SCHEME', request.scheme)
  if (request.scheme === 'https') emit('HTTPS', 'on')
  emit('REQUEST_URI', request.target)
  emit('SCRIPT_NAME', request.scriptName)
  if (request.pathInfo !== '') emit('PATH_INFO', request.pathInfo)
  emit('QUERY_STRING', request.queryString)
  emit('REMOTE_ADDR', request.remote.address)
  emit('REMOTE_PORT', String(request.remote.port))
  enumerateHeaders(request.headers.list, emit, options)
  const own = request.variables.own
  for (let i = 0; i < own.length; i += 2) if (!isComputed(own[i]!)) emit(own[i]!, own[i + 1]!)
}

/** Whether the client itself said `Content-Length: 0`, which programs tell from no body at all. */
function statesLength(request: GatewayRequest): boolean {
  return request.headers.get('content-length') !== undefined
}

/**
 * Tells `emit` the HTTP_* variables of a header list: repeats joined, also those that differ only by `_` for `-` where such names
 * pass; hop-by-hop fields left out, and a Host that cannot be one.
 */
export function enumerateHeaders(list: HeaderList, emit: Emit, options: EnumerateOptions = {}): void {
  const dropped = connectionOptions(list)
  for (let i = 0; i < list.length; i += 2) {
    const name = passes(list[i]!, dropped, options)
    if (name === '' || repeatsBefore(list, i, name, dropped, options)) continue
    const value = joined(list, i, name, dropped, options)
    if (name !== 'HTTP_HOST' || isHost(value)) emit(name, value)
  }
}

/** The variable that this field becomes, empty when it becomes none. */
function passes(header: ByteString, dropped: Set<string> | undefined, options: EnumerateOptions): ByteString {
  const name = variableName(header)
  if (name === '' || (options.underscores !== true && header.includes('_'))) return ''
  if (options.authorization === false && name === 'HTTP_AUTHORIZATION') return ''
  return dropped !== undefined && dropped.has(header.toLowerCase()) ? '' : name
}

/** Fields that the Connection header names are hop-by-hop too (RFC 9110, 7.6.1); undefined for the usual ones, which are no fields. */
function connectionOptions(list: HeaderList): Set<string> | undefined {
  let dropped: Set<string> | undefined
  for (let i = 0; i < list.length; i += 2) {
    if (!sameName(list[i]!, 'connection')) continue
    const value = list[i + 1]!
    if (value === 'keep-alive' || value === 'close' || value === 'Keep-Alive') continue
    dropped ??= new Set()
    for (const option of value.split(',')) dropped.add(option.trim().toLowerCase())
  }
  return dropped
}

// Lengths differ by exactly "HTTP_" when the names can be the same: most pairs are ruled out by that alone.
function repeatsBefore(
  list: HeaderList,
  end: number,
  name: ByteString,
  dropped: Set<string> | undefined,
  options: EnumerateOptions,
): boolean {
  for (let i = 0; i < end; i += 2) {
    if (list[i]!.length + 5 === name.length && passes(list[i]!, dropped, options) === name) return true
  }
  return false
}

function joined(
  list: HeaderList,
  start: number,
  name: ByteString,
  dropped: Set<string> | undefined,
  options: EnumerateOptions,
): ByteString {
  let value = list[start + 1]!
  for (let i = start + 2; i < list.length; i += 2) {
    if (list[i]!.length + 5 !== name.length || passes(list[i]!, dropped, options) !== name) continue
    value += (name === 'HTTP_COOKIE' ? '; ' : ', ') + list[i + 1]!
  }
  return value
}

const COMPUTED = new Set([
  'CONTENT_LENGTH',
  'CONTENT_TYPE',
  'GATEWAY_INTERFACE',
  'SERVER_SOFTWARE',
  'SERVER_PROTOCOL',
  'SERVER_NAME',
  'SERVER_PORT',
  'SERVER_ADDR',
  'REQUEST_METHOD',
  'REQUEST_SCHEME',
  'HTTPS',
  'REQUEST_URI',
  'SCRIPT_NAME',
  'PATH_INFO',
  'QUERY_STRING',
  'REMOTE_ADDR',
  'REMOTE_PORT',
])

/** Whether members or headers decide this variable, so that nothing else may. */
export function isComputed(name: ByteString): boolean {
  return COMPUTED.has(name) || name.startsWith('HTTP_')
}

/** One variable of a request, by the same rules as `enumerate`. */
export function variable(request: GatewayRequest, name: ByteString): ByteString | undefined {
  if (!isComputed(name)) {
    const own = request.variables.own
    for (let i = 0; i < own.length; i += 2) if (own[i] === name) return own[i + 1]
    return undefined
  }
  let found: ByteString | undefined
  enumerate(request, (each, value) => {
    if (each === name) found = value
  })
  return found
}

/** The variables of a request whose members and headers are the source: every door but FastCGI's and SCGI's. */
export class Variables implements VariableView {
  readonly own: HeaderList
  readonly #request: GatewayRequest

  constructor(request: GatewayRequest, own: HeaderList = []) {
    this.#request = request
    this.own = own
  }

  get(name: ByteString): ByteString | undefined {
    return variable(this.#request, name)
  }
}

// A reg-name, an IPv4 address or an IPv6 one in brackets, then a port (RFC 9110, 7.2; RFC 3986, 3.2.2). What else a client
// sends as Host never reaches a variable: applications build links, and password mails, from SERVER_NAME.
const HOST = /^([A-Za-z0-9._~!$&'()*+,;=%-]+|\[[0-9A-Fa-f:.]+\])(?::(\d{0,5}))?$/

/** Whether a Host header can be one. An empty one is allowed where the target has no authority (RFC 9112, 3.2). */
export function isHost(value: ByteString): boolean {
  return value === '' || hostOf(value) !== null
}

// A server is asked for the same few hosts again and again: the last one is remembered.
let lastValue = ''
let lastMatch: RegExpExecArray | null = null
function hostOf(value: ByteString): RegExpExecArray | null {
  if (value !== lastValue) {
    lastMatch = HOST.exec(value)
    lastValue = value
  }
  return lastMatch
}

/** The Host header without its port, an IPv6 address in brackets; the address of this end when there is none. */
function serverName(request: GatewayRequest): ByteString {
  return hostOf(request.headers.get('host') ?? '')?.[1] ?? bracketed(request.local.address)
}

function bracketed(address: string): string {
  if (address === '') return 'localhost'
  return address.includes(':') ? `[${address}]` : address
}

/** The port of this end (RFC 3875, 4.1.15); where there is none (a unix socket), that of Host or of the scheme. */
function serverPort(request: GatewayRequest): ByteString {
  if (request.local.port > 0) return String(request.local.port)
  const port = hostOf(request.headers.get('host') ?? '')?.[2]
  if (port !== undefined && port !== '') return port
  return request.scheme === 'https' ? '443' : '80'
}
