// What a web server says about a request, read once: variables in, the request's facts out. Pure.
//
// Whoever may connect is a web server and is believed (who the client is, which path it asked for), but not everything it can be
// talked into passing on: settings that make programs run other code stay out unless they are listed. Names that a client
// chose are HTTP_*, and stay that. Specification: RFC 3875, 4.1; FastCGI 1.0, 6.2.

import { GatewayError, isComputed, isFieldValue, isToken, parseTarget, percentEncode, variableName } from '../../core/index.ts'
import type { ByteString, HeaderList, RequestFacts } from '../../core/index.ts'

/** contentLength is undefined where CONTENT_LENGTH says nothing: no body, or one of unknown length. */
export interface Facts extends RequestFacts {
  /** SERVER_NAME as the web server has it. */
  readonly serverName: ByteString | undefined
}

export interface Reading {
  /** Where the application is mounted, whatever SCRIPT_NAME says: the rest of the path is its `pathInfo`. */
  readonly mount: ByteString | undefined
  /** Names that are let through although they make programs do things. */
  readonly trusted: ReadonlySet<string>
}

/** What says which code runs, and with which settings: php-fpm's, uWSGI's, and the file that CGI and PHP would execute. */
function isDangerous(name: ByteString): boolean {
  switch (name) {
    case 'PHP_VALUE':
    case 'PHP_ADMIN_VALUE':
    case 'REQUEST_BODY_FILE':
    case 'SCRIPT_FILENAME':
      return true
    default:
      return name.startsWith('UWSGI_')
  }
}

/**
 * Reads the variables `[name, value, ...]`. Of a name that comes twice the last one counts, as in php-fpm. With `placeless` they may
 * lack a place, as for an Authorizer: then the path is that of REQUEST_URI, and no mount counts. Throws BAD_REQUEST, 400.
 */
export function readFacts(pairs: HeaderList, reading: Reading, placeless: boolean = false): Facts {
  let method = 'GET'
  let uri: ByteString | undefined
  let scriptName = ''
  let pathInfo = ''
  let queryString = ''
  let protocol = ''
  let secure = false
  let remoteAddress = ''
  let remotePort = ''
  let localAddress = ''
  let localPort = ''
  let length = ''
  let serverName: ByteString | undefined
  for (let i = 0; i < pairs.length; i += 2) {
    const value = pairs[i + 1]!
    switch (pairs[i]) {
      case 'REQUEST_METHOD':
        method = value
        break
      case 'REQUEST_URI':
        uri = value
        break
      case 'SCRIPT_NAME':
        scriptName = value
        break
      case 'PATH_INFO':
        pathInfo = value
        break
      case 'QUERY_STRING':
        queryString = value
        break
      case 'SERVER_PROTOCOL':
        protocol = value
        break
      case 'HTTPS':
        secure = /^(?:on|1|https)$/i.test(value)
        break
      case 'REQUEST_SCHEME':
        if (value === 'https') secure = true
        break
      case 'REMOTE_ADDR':
        remoteAddress = value
        break
      case 'REMOTE_PORT':
        remotePort = value
        break
      case 'SERVER_ADDR':
        localAddress = value
        break
      case 'SERVER_PORT':
        localPort = value
        break
      case 'SERVER_NAME':
        serverName = value
        break
      case 'CONTENT_LENGTH':
        // Caddy's way to say that it does not know.
        length = value === '-1' ? '' : value
        break
    }
  }
  if (!isToken(method)) throw bad('REQUEST_METHOD', method)
  if (length !== '' && !/^\d{1,15}$/.test(length)) throw bad('CONTENT_LENGTH', length)
  if (hasControl(queryString)) throw bad('QUERY_STRING', queryString)
  if (placeless && scriptName === '' && pathInfo === '') pathInfo = pathOf(uri ?? '')
  const path = place(scriptName, pathInfo, placeless ? '' : reading.mount)
  const target = uri || targetOf(path.scriptName + path.pathInfo, queryString)
  if (hasControl(target)) throw bad('REQUEST_URI', target)
  return {
    method,
    target,
    ...path,
    rawPathInfo: rawPathInfo(target, path.scriptName, path.pathInfo),
    queryString,
    protocol: /^[A-Z]+\/\d(?:\.\d)?$/.test(protocol) ? protocol : 'HTTP/1.0',
    scheme: secure ? 'https' : 'http',
    remote: { address: remoteAddress, port: port(remotePort) },
    local: { address: localAddress, port: port(localPort) },
    contentLength: length === '' ? undefined : Number(length),
    serverName,
  }
}

/** What the client may have sent, where no REQUEST_URI tells. */
function targetOf(path: ByteString, queryString: ByteString): ByteString {
  const encoded = percentEncode(path) || '/'
  return queryString === '' ? encoded : `${encoded}?${queryString}`
}

function pathOf(uri: ByteString): ByteString {
  const parsed = parseTarget(uri)
  if (typeof parsed === 'string') throw bad('REQUEST_URI', uri)
  return parsed.path
}

function port(text: ByteString): number {
  const value = Number(text)
  return Number.isInteger(value) && value > 0 && value <= 65_535 ? value : 0
}

/** The two halves of the path. Refuses what the web server should have resolved: another layer could see another file in it. */
function place(
  scriptName: ByteString,
  pathInfo: ByteString,
  mount: ByteString | undefined,
): { scriptName: ByteString; pathInfo: ByteString } {
  const path = scriptName + pathInfo
  if (path === '*') return { scriptName: '', pathInfo: '*' }
  if (hasControl(path) || !isPath(scriptName) || !isPath(pathInfo) || /(?:^|\/)\.{1,2}(?:\/|$)/.test(path)) {
    throw bad('SCRIPT_NAME with PATH_INFO', path)
  }
  if (mount === undefined) {
    // A slash that SCRIPT_NAME ends with belongs to the path behind it.
    if (!scriptName.endsWith('/')) return { scriptName, pathInfo }
    const end = scriptName.length - 1
    return { scriptName: scriptName.slice(0, end).replace(/\/+$/, ''), pathInfo: pathInfo.startsWith('/') ? pathInfo : '/' + pathInfo }
  }
  if (!path.startsWith(mount) || (path.length > mount.length && path.charCodeAt(mount.length) !== 0x2f)) {
    throw new GatewayError('BAD_REQUEST', { status: 404, message: `fastcgi: ${quote(path)} is not below ${mount}` })
  }
  return { scriptName: mount, pathInfo: path.slice(mount.length) }
}

function isPath(text: ByteString): boolean {
  return text === '' || text.startsWith('/')
}

/** What was sent of the path behind the script, if REQUEST_URI still means the same path: a web server may have rewritten it. */
function rawPathInfo(target: ByteString, scriptName: ByteString, pathInfo: ByteString): ByteString {
  if (pathInfo === '*') return pathInfo
  const parsed = parseTarget(target)
  if (typeof parsed === 'string' || parsed.path !== scriptName + pathInfo || !parsed.rawPath.startsWith(scriptName)) {
    return percentEncode(pathInfo)
  }
  const rest = parsed.rawPath.slice(scriptName.length)
  // Dots that are resolved already must not be seen again by whoever reads the raw path.
  return /(?:^|\/|%2f)(?:\.|%2e){1,2}(?:\/|%2f|$)/i.test(rest) || (rest !== '' && !rest.startsWith('/')) ? percentEncode(pathInfo) : rest
}

/** What an Authorizer gets: the body is for whoever answers the request (FastCGI 1.0, 6.3). */
export function withoutBody(pairs: HeaderList): HeaderList {
  const rest: ByteString[] = []
  for (let i = 0; i < pairs.length; i += 2) if (pairs[i] !== 'CONTENT_LENGTH') rest.push(pairs[i]!, pairs[i + 1]!)
  return rest
}

// Variables repeat their names, so each is mapped once. Bounded, for clients choose them.
const fields = new Map<ByteString, ByteString>()
const FIELDS_LIMIT = 2048

/** HTTP_X_ONE is x-one; empty for a name that no field has, or that must never become one (CVE-2016-5385). */
function fieldName(name: ByteString): ByteString {
  const known = fields.get(name)
  if (known !== undefined) return known
  const field = name.slice(5).toLowerCase().replaceAll('_', '-')
  const made = variableName(field) === '' ? '' : field
  if (name.length <= 64) {
    if (fields.size >= FIELDS_LIMIT) fields.clear()
    fields.set(name, made)
  }
  return made
}

/** The header fields that these variables were made of. Throws BAD_REQUEST, 400, for a value that no field can have. */
export function headersOf(pairs: HeaderList): HeaderList {
  const list: ByteString[] = []
  let type = ''
  let length = ''
  for (let i = 0; i < pairs.length; i += 2) {
    const name = pairs[i]!
    const value = pairs[i + 1]!
    if (name === 'CONTENT_TYPE') type = value
    else if (name === 'CONTENT_LENGTH') length = value
    else if (name.startsWith('HTTP_')) {
      const field = fieldName(name)
      if (field === '') continue
      if (!isFieldValue(value)) throw bad(name, value)
      list.push(field, value)
    }
  }
  if (!isFieldValue(type)) throw bad('CONTENT_TYPE', type)
  if (type !== '') list.push('content-type', type)
  if (length !== '' && length !== '-1') list.push('content-length', length)
  return list
}

/** What neither a member of the request nor a header field gives, without what is dangerous. Throws BAD_REQUEST, 400, for a NUL. */
export function ownVariables(pairs: HeaderList, trusted: ReadonlySet<string>): HeaderList {
  const own: ByteString[] = []
  for (let i = 0; i < pairs.length; i += 2) {
    const name = pairs[i]!
    const value = pairs[i + 1]!
    if (isComputed(name) || (isDangerous(name) && !trusted.has(name))) continue
    if (name === '' || /[=\0]/.test(name) || value.includes('\0')) throw bad(name, value)
    own.push(name, value)
  }
  return own
}

function hasControl(text: ByteString): boolean {
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code < 0x20 || code === 0x7f) return true
  }
  return false
}

function bad(name: ByteString, value: ByteString): GatewayError {
  return new GatewayError('BAD_REQUEST', { status: 400, message: `fastcgi: the variable ${quote(name)} cannot be ${quote(value)}` })
}

/** Text from outside, cut and escaped for a log line. */
function quote(text: string): string {
  return JSON.stringify(text.slice(0, 80))
}
