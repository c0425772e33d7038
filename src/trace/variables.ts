// The variables of a request that somebody types: what a web server would send for it, as far as one can know.
//
// Specification: RFC 3875, section 4.1; FastCGI 1.0, sections 6.2 to 6.4.

import { SOFTWARE, getHeader, toByteString, variableName } from '../core/index.ts'
import type { ByteString, HeaderList } from '../core/index.ts'
import { Role } from '../fastcgi/index.ts'

/** A request by hand. */
export interface RequestParts {
  /** A file of the application's machine (`/var/www/index.php`), or a path under `root`; either with `?query`. */
  readonly script: string
  /** Default GET. */
  readonly method?: string
  /** Default `Role.Responder`. */
  readonly role?: number
  /** DOCUMENT_ROOT: `script` is a path under it then. */
  readonly root?: string
  /** REQUEST_URI and QUERY_STRING, where a front controller answers for another path than its own. */
  readonly uri?: string
  /** `[name, value, ...]`: they become variables as a web server makes them. */
  readonly headers?: HeaderList
  /** Bytes of the request body; undefined: it has none. */
  readonly bodyLength?: number | undefined
  /** Of the filter role. */
  readonly data?: { readonly length: number; readonly lastModified: number }
  /** Set last: they replace what was made; undefined takes one away. */
  readonly variables?: ReadonlyMap<string, string | undefined>
}

/** Where a script lies, and what the request says of it. */
interface Place {
  readonly filename: string
  readonly name: string
  readonly root: string
  readonly pathInfo: string
}

/** `[name, value, ...]`, as bytes. */
export function requestVariables(parts: RequestParts): ByteString[] {
  const role = parts.role ?? Role.Responder
  const { path, query } = split(parts.script)
  const uri = parts.uri === undefined ? undefined : split(parts.uri)
  const { filename, name, root, pathInfo } = place(path, parts.root)
  const made = new Map<string, string>()
  const headers = parts.headers ?? []
  if (role !== Role.Authorizer && parts.bodyLength !== undefined) {
    made.set('CONTENT_LENGTH', String(parts.bodyLength))
    made.set('CONTENT_TYPE', getHeader(headers, 'content-type') ?? 'application/x-www-form-urlencoded')
  }
  made.set('GATEWAY_INTERFACE', 'CGI/1.1')
  made.set('SERVER_SOFTWARE', SOFTWARE)
  made.set('SERVER_PROTOCOL', 'HTTP/1.1')
  made.set('SERVER_NAME', getHeader(headers, 'host')?.replace(/:\d*$/, '') ?? 'localhost')
  made.set('SERVER_ADDR', '127.0.0.1')
  made.set('SERVER_PORT', '80')
  made.set('REQUEST_METHOD', parts.method ?? 'GET')
  made.set('REQUEST_SCHEME', 'http')
  made.set('REQUEST_URI', parts.uri ?? name + pathInfo + (query === undefined ? '' : `?${query}`))
  if (role !== Role.Authorizer) made.set('SCRIPT_NAME', name)
  if (role !== Role.Authorizer && pathInfo !== '') made.set('PATH_INFO', pathInfo)
  made.set('QUERY_STRING', (uri === undefined ? query : uri.query) ?? '')
  made.set('DOCUMENT_ROOT', root)
  made.set('SCRIPT_FILENAME', filename)
  made.set('REMOTE_ADDR', '127.0.0.1')
  made.set('REMOTE_PORT', '0')
  // What php-cgi wants to see before it believes that a web server has sent it here.
  made.set('REDIRECT_STATUS', '200')
  if (parts.data !== undefined) {
    made.set('FCGI_DATA_LENGTH', String(parts.data.length))
    made.set('FCGI_DATA_LAST_MOD', String(parts.data.lastModified))
  }
  made.set('HTTP_HOST', 'localhost')
  for (let i = 0; i < headers.length; i += 2) {
    const variable = variableName(headers[i]!)
    if (variable !== '') made.set(variable, headers[i + 1]!)
  }
  for (const [key, value] of parts.variables ?? []) {
    if (value === undefined) made.delete(key)
    else made.set(key, value)
  }
  return [...made].flat().map(toByteString)
}

function split(text: string): { path: string; query: string | undefined } {
  const mark = text.indexOf('?')
  return mark === -1 ? { path: text, query: undefined } : { path: text.slice(0, mark), query: text.slice(mark + 1) }
}

/**
 * `/var/www/index.php` is a file in a folder that is the document root; `/status`, without a dot, a name that the application itself
 * knows. What follows `.php/` is PATH_INFO. The machine is not asked: the application may be on another one.
 */
function place(path: string, root: string | undefined): Place {
  const inside = /^(.*?\.php)(\/.*)$/.exec(path)
  const script = inside?.[1] ?? path
  const pathInfo = inside?.[2] ?? ''
  if (root !== undefined) {
    const folder = root.replace(/\/+$/, '')
    return { filename: folder + script, name: script, root: folder === '' ? '/' : folder, pathInfo }
  }
  const slash = script.lastIndexOf('/')
  if (!script.slice(slash).includes('.')) return { filename: script, name: script, root: '/', pathInfo }
  return { filename: script, name: script.slice(slash), root: script.slice(0, slash) || '/', pathInfo }
}
