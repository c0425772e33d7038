// The rules that can be judged from a request or a response alone. Prose and check are one text: docs/contract.md is made
// of the `///` lines, and each stands above the code that holds it to its word.

import { FileSlice } from './file-slice.ts'
import { GatewayError } from './errors.ts'
import { getHeader, getHeaders, isByteString, isFieldValue, isToken, sameName } from './headers.ts'
import { isBodyless } from './request.ts'
import type { Endpoint, GatewayRequest, GatewayResponse, HeaderList } from './types.ts'

/** Throws CONTRACT, 500, with the sentence when the rule does not hold. */
export function check(holds: boolean, sentence: () => string): void {
  if (!holds) throw broken(sentence())
}

/** The error of a rule that was broken. */
export function broken(sentence: string): GatewayError {
  return new GatewayError('CONTRACT', { status: 500, message: `core: lint: ${sentence}` })
}

const quote = (value: unknown): string => JSON.stringify(value) ?? String(value)
const isControl = (text: string): boolean => /[\0-\x1f\x7f]/.test(text)

/// ## The request
///
/// What a server, or whoever derives a request, promises to the application.
export function checkRequest(request: GatewayRequest): void {
  /// - `method` is a token (RFC 9110, 5.6.2).
  check(isToken(request.method), () => `the method ${quote(request.method)} is not a token`)

  /// - Every text member is a byte string: one char is one byte, 0 to 255.
  for (const name of ['method', 'target', 'scriptName', 'pathInfo', 'rawPathInfo', 'queryString', 'protocol'] as const) {
    check(typeof request[name] === 'string' && isByteString(request[name]), () => `${name} is not made of bytes: ${quote(request[name])}`)
  }
  checkPath(request)

  /// - `protocol` is a name and a version, such as `HTTP/1.1`, and `scheme` is `http` or `https`.
  check(/^[A-Z]+\/\d(\.\d)?$/.test(request.protocol), () => `the protocol is ${quote(request.protocol)}`)
  check(request.scheme === 'http' || request.scheme === 'https', () => `the scheme is ${quote(request.scheme)}`)

  /// - `headers.list` is `[name, value, ...]`: names are tokens, values hold no control character but tab.
  checkHeaders(request.headers.list, 'request header')
  /// - `headers.get` gives what the list holds.
  for (const name of ['host', 'cookie', 'content-type']) {
    const value = getHeader(request.headers.list, name)
    check(request.headers.get(name) === value, () => `headers.get(${quote(name)}) is not what the list holds`)
  }
  /// - `variables.own` is `[name, value, ...]` of byte strings; no name is empty or holds `=`, no name or value a NUL.
  checkVariables(request.variables.own)

  /// - `contentLength` is a whole number of bytes, 0 when there is no body, undefined when nobody knows.
  const length = request.contentLength
  check(length === undefined || (Number.isSafeInteger(length) && length >= 0), () => `contentLength is ${quote(length)}`)
  /// - `body` can be iterated and cancelled, also when it is empty.
  check(isStream(request.body), () => 'the request body is not a byte stream')

  /// - `remote` and `local` have an address and a port; where there is none (a unix socket) they are empty and 0.
  for (const end of ['remote', 'local'] as const) check(isEndpoint(request[end]), () => `${end} is ${quote(request[end])}`)
}

function checkPath(request: GatewayRequest): void {
  const { scriptName, pathInfo, rawPathInfo } = request
  /// - `scriptName` is empty, or begins with `/` and does not end in `/`.
  check(
    scriptName === '' || (scriptName.startsWith('/') && !scriptName.endsWith('/')),
    () => `scriptName is ${quote(scriptName)}, which neither is empty nor begins, but not ends, with "/"`,
  )
  /// - `pathInfo` and `rawPathInfo` are empty or begin with `/`; only `OPTIONS *` has `*`.
  for (const path of [pathInfo, rawPathInfo]) {
    check(path === '' || path.startsWith('/') || (path === '*' && scriptName === ''), () => `${quote(path)} is not a path`)
  }
  /// - `pathInfo` is decoded and resolved: no dot segments, no control characters.
  check(!isControl(pathInfo) && !isControl(scriptName), () => `a control character in the path ${quote(scriptName + pathInfo)}`)
  check(!/(?:^|\/)\.{1,2}(?:\/|$)/.test(pathInfo), () => `a dot segment in pathInfo ${quote(pathInfo)}`)
  /// - `queryString` comes without its `?` and without control characters.
  check(!isControl(request.queryString), () => `a control character in the query ${quote(request.queryString)}`)
}

function checkVariables(own: HeaderList): void {
  check(Array.isArray(own) && own.length % 2 === 0, () => 'variables.own is not a list of pairs')
  for (let i = 0; i < own.length; i += 2) {
    const name = own[i]!
    const value = own[i + 1]!
    check(/^[^=\0]+$/.test(name) && isByteString(name), () => `${quote(name)} is not a variable's name`)
    check(isByteString(value) && !value.includes('\0'), () => `the variable ${name} is not made of bytes, or holds a NUL`)
  }
}

function checkHeaders(list: HeaderList, what: string): void {
  check(Array.isArray(list) && list.length % 2 === 0, () => `${what}: not a list of pairs`)
  for (let i = 0; i < list.length; i += 2) {
    check(typeof list[i] === 'string' && isToken(list[i]!), () => `${what}: ${quote(list[i])} is not a name`)
    check(typeof list[i + 1] === 'string' && isFieldValue(list[i + 1]!), () => `${what}: the value of ${list[i]} is not a field value`)
  }
}

const isEndpoint = (end: Endpoint): boolean =>
  typeof end.address === 'string' && Number.isInteger(end.port) && end.port >= 0 && end.port <= 65_535

/** Whether this has the shape of a byte stream. */
export function isStream(body: unknown): boolean {
  if (typeof body !== 'object' || body === null) return false
  return 'cancel' in body && typeof body.cancel === 'function' && Symbol.asyncIterator in body
}

/// ## The response
///
/// What an application promises to whoever called it.
export function checkResponse(response: GatewayResponse, method: string): void {
  check(typeof response === 'object' && response !== null, () => `an application returned ${quote(response)}`)
  /// - `status` is a final one, 200 to 599. Interim ones go through `inform`, 101 through `upgrade`.
  const { status, reason, headers, body, trailers, internal } = response
  check(Number.isInteger(status) && status >= 200 && status <= 599, () => `${quote(status)} is not a final status`)
  /// - `reason` may be left out; it holds bytes and no control characters.
  check(reason === undefined || (typeof reason === 'string' && isFieldValue(reason)), () => `the reason ${quote(reason)}`)
  /// - `headers` is `[name, value, ...]`: names are tokens (RFC 9110, 5.6.2), values hold no control character but tab. CR and LF split responses.
  checkHeaders(headers, 'response header')
  checkFraming(response, method)

  /// - `body` is null, text, bytes, a `FileSlice` or a byte stream.
  const whole = body === null || typeof body === 'string' || body instanceof Uint8Array
  check(whole || body instanceof FileSlice || isStream(body), () => 'the response body has none of the five shapes')
  /// - A response with status 204 or 304 has a null body. One to HEAD may have one, which the server discards: its length is that of GET.
  check((status !== 204 && status !== 304) || body === null, () => `status ${status} with a body`)
  /// - `trailers`, if any, is a function.
  check(trailers === undefined || typeof trailers === 'function', () => 'trailers is not a function')
  /// - `internal` names a path below the same site, or a file by its absolute path. The site resolves it: a server that meets one answers 500.
  if (internal !== undefined) {
    const path = 'redirect' in internal ? internal.redirect : internal.file
    check(typeof path === 'string' && path.startsWith('/') && !isControl(path), () => `the internal result ${quote(internal)}`)
  }
}

const HOP_BY_HOP = ['connection', 'keep-alive', 'proxy-connection', 'te', 'transfer-encoding', 'upgrade']

function checkFraming(response: GatewayResponse, method: string): void {
  const { status, headers, body } = response
  /// - No hop-by-hop fields: Connection, Keep-Alive, Proxy-Connection, TE, Transfer-Encoding and Upgrade are the server's (RFC 9110, 7.6.1).
  for (const name of HOP_BY_HOP) {
    check(getHeader(headers, name) === undefined, () => `the hop-by-hop field ${name} in a response`)
  }
  /// - Content-Length appears at most once, and is a number of bytes.
  const lengths = getHeaders(headers, 'content-length')
  check(lengths.length < 2, () => 'Content-Length appears twice')
  const declared = declaredLength(response)
  check(declared === undefined || Number.isSafeInteger(declared), () => `Content-Length is ${quote(lengths[0])}`)
  /// - Content-Length is the length of the body. A null body may stand for another only where none is sent: to HEAD, and with 304.
  const length = body === null ? (isBodyless(method, status) ? undefined : 0) : lengthOf(body)
  check(
    declared === undefined || length === undefined || length === declared,
    () => `Content-Length is ${declared} and the body has ${length} bytes`,
  )
}

/** What Content-Length says; NaN when it is no number. */
export function declaredLength(response: GatewayResponse): number | undefined {
  const value = getHeader(response.headers, 'content-length')
  return value === undefined ? undefined : /^\d+$/.test(value) ? Number(value) : Number.NaN
}

/** The length of a body that has one. */
function lengthOf(body: GatewayResponse['body']): number | undefined {
  if (typeof body === 'string') return Buffer.byteLength(body)
  return body instanceof Uint8Array || body instanceof FileSlice ? body.length : undefined
}

/// ### Trailers
///
export function checkTrailers(trailers: HeaderList): void {
  /// - Trailers are a header list by the same rules.
  checkHeaders(trailers, 'trailer')
  /// - A trailer frames, routes and authenticates nothing (RFC 9110, 6.5.1): no Content-Length, Transfer-Encoding, Host, Authorization, Content-Type, Set-Cookie.
  for (const name of ['content-length', 'transfer-encoding', 'host', 'authorization', 'content-type', 'content-encoding', 'set-cookie']) {
    for (let i = 0; i < trailers.length; i += 2) check(!sameName(trailers[i]!, name), () => `${name} in a trailer`)
  }
}
