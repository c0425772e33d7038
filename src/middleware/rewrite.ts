// New paths for requests, and where to send clients instead.

import { empty, isAmbiguous, isHost, parseTarget, percentEncode } from '../core/index.ts'
import { hostName } from './hosts.ts'
import { compileTemplate, queryEncode } from './pattern.ts'
import type { ByteString, Changes, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Captures, Fill, Template } from './pattern.ts'

/** A path that a request gets; `target`, REQUEST_URI, stays what the client asked for: front controllers read it. */
export interface Rewrite {
  /** As it was written. */
  readonly text: string
  /** Placeholders in it. */
  readonly names: readonly string[]
  /** undefined: this request cannot have that path, for its own could be read in two ways, or the new one would be none. */
  apply(request: GatewayRequest, captures: Captures): Changes | undefined
}

/** A text such as `/index.php`, `/new/{rest}`, `/show.php?id={id}`. With a `?` it brings its own query, else the client's stays. */
export function compileRewrite(text: string): Rewrite {
  const mark = text.indexOf('?')
  const path = compileTemplate(mark === -1 ? text : text.slice(0, mark))
  const query = mark === -1 ? undefined : compileTemplate(text.slice(mark + 1))
  return {
    text,
    names: [...path.names, ...(query?.names ?? [])],
    apply(request, captures) {
      const made = pathOf(path, request, captures)
      if (made === undefined) return undefined
      const changes = { pathInfo: made, rawPathInfo: percentEncode(made) }
      return query === undefined ? changes : { ...changes, queryString: queryOf(query, request, captures) }
    },
  }
}

/** The path that a template makes; undefined where it would be none. */
export function pathOf(template: Template, request: GatewayRequest, captures: Captures): ByteString | undefined {
  if (template.names.length === 0) return template.fill(() => '', asIs)
  // The new path would no longer show that the old one held %2F or a backslash (CVE-2024-38474).
  if (isAmbiguous(request.rawPathInfo)) return undefined
  const made = template.fill(filler(request, captures), asIs)
  const filled = made.startsWith('/') ? made : `/${made}`
  // Placeholders next to one another or to dots could make a segment that was in no path: read as if a client had sent it.
  const target = parseTarget(percentEncode(filled))
  return typeof target === 'string' ? undefined : target.path
}

const asIs = (value: ByteString): ByteString => value

function queryOf(template: Template, request: GatewayRequest, captures: Captures): ByteString {
  return template.fill(filler(request, captures), (value, name) => (name === 'query' ? value : queryEncode(value)))
}

function filler(request: GatewayRequest, captures: Captures): Fill {
  return (name) => {
    switch (name) {
      case 'path':
        return request.pathInfo
      case 'rest':
        return captures.rest
      case 'query':
        return request.queryString
      case 'scheme':
        return request.scheme
      case 'host':
        return clientHost(request)
      default:
        return captures.names[name] ?? ''
    }
  }
}

/** The name that the client used, without port; our own address where it used none that could be one. */
function clientHost(request: GatewayRequest): ByteString {
  const given = request.headers.get('host') ?? ''
  if (given !== '' && isHost(given)) return hostName(given)
  return request.local.address.includes(':') ? `[${request.local.address}]` : request.local.address || 'localhost'
}

/** The statuses of a redirect. 307 and 308 keep the method; 301 and 308 are for ever. */
export type RedirectStatus = 301 | 302 | 303 | 307 | 308

/** Sends the client to `to`: a path or a URL with placeholders. Its query stays, unless `to` has one. */
export function compileRedirect(to: string, status: RedirectStatus): (request: GatewayRequest, captures: Captures) => GatewayResponse {
  const mark = to.indexOf('?')
  const path = compileTemplate(mark === -1 ? to : to.slice(0, mark))
  const query = mark === -1 ? undefined : compileTemplate(to.slice(mark + 1))
  return (request, captures) => {
    if (path.names.length > 0 && isAmbiguous(request.rawPathInfo)) return empty(404)
    const fill = filler(request, captures)
    const where = path.fill(fill, (value, name) => (name === 'host' ? value : percentEncode(value)))
    // "//host" is another site: a path never makes one.
    const location = where.replace(/^\/{2,}/, '/')
    const own = query === undefined ? request.queryString : queryOf(query, request, captures)
    return empty(status, ['Location', own === '' ? location : `${location}?${own}`])
  }
}
