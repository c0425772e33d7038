// Resolves what applications of a site ask of the site itself: CGI's local redirect (RFC 3875, 6.2.2) and "send this file".
//
// One such wrapper stands around a site's router. The loop is counted here and nowhere else, HEAD stays HEAD, and files
// come from the configured roots alone (CVE-2024-38475).

import { GatewayError, attempt, discard, parseTarget, withoutHeaders } from '../core/index.ts'
import { sendFile } from './sendfile.ts'
import type { Application, Attempt, ByteString, Changes, GatewayRequest, GatewayResponse, Middleware } from '../core/index.ts'
import type { InternalFiles } from './sendfile.ts'

/** How far applications may send a request on, and to which files. */
export interface InternalOptions {
  /** Redirects that one request may take before it is answered 500. Default 10. */
  readonly limit?: number
  /** Answers with a file named by its absolute path, or refuses it. Without it every `{ file }` is a 500. */
  readonly file?: InternalFiles
}

/**
 * Resolves what applications ask of the site itself: CGI's local redirect (RFC 3875, 6.2.2), answered by `next` again as a GET, and "send this file". Stands around a site's router.
 */
export function internal(options: InternalOptions = {}): Middleware {
  const limit = options.limit ?? 10
  return (next) => (request) => {
    const response = next(request)
    if (!(response instanceof Promise))
      return response.internal === undefined ? response : resolve(next, request, response, limit, options.file)
    return response.then((settled) => (settled.internal === undefined ? settled : resolve(next, request, settled, limit, options.file)))
  }
}

async function resolve(
  next: Application,
  request: GatewayRequest,
  first: GatewayResponse,
  limit: number,
  files: InternalFiles | undefined,
): Promise<GatewayResponse> {
  let response = first
  let tried: Attempt | undefined
  for (let count = 0; response.internal !== undefined; count++) {
    const asked = response.internal
    if ('file' in asked) return keep(tried, await sendFile(tried?.request ?? request, response, asked.file, files))
    const changes = redirected(request, asked.redirect)
    if (tried === undefined) discard(response)
    else tried.drop(response)
    if (changes === undefined) return { status: 302, headers: ['Location', asked.redirect], body: null }
    if (count >= limit) throw loop(request, limit)
    tried = attempt(request, changes)
    try {
      response = await next(tried.request)
    } catch (error) {
      tried.drop()
      throw error
    }
  }
  return keep(tried, response)
}

function keep(tried: Attempt | undefined, response: GatewayResponse): GatewayResponse {
  return tried === undefined ? response : tried.keep(response)
}

function loop(request: GatewayRequest, limit: number): GatewayError {
  return new GatewayError('REDIRECT_LOOP', {
    status: 500,
    message: `internal: ${request.target} was redirected within the site more than ${limit} times`,
  })
}

/** What changes for a local redirect; undefined when it leads out of this application's mount, where only the client can go. */
function redirected(request: GatewayRequest, location: ByteString): Changes | undefined {
  const target = parseTarget(location)
  if (typeof target === 'string' || !location.startsWith('/')) {
    throw new GatewayError('UPSTREAM_HEAD', {
      status: 502,
      message: `internal: local redirect to ${JSON.stringify(location)}: ${typeof target === 'string' ? target : 'not a path'}`,
    })
  }
  const mount = request.scriptName
  if (mount !== '' && target.path !== mount && !target.path.startsWith(`${mount}/`)) return undefined
  return {
    method: request.method === 'HEAD' ? 'HEAD' : 'GET',
    target: location,
    pathInfo: target.path.slice(mount.length),
    rawPathInfo: target.rawPath.startsWith(mount) ? target.rawPath.slice(mount.length) : target.path.slice(mount.length),
    queryString: target.queryString,
    headers: withoutHeaders(request.headers.list, 'content-length', 'content-type', 'content-encoding', 'transfer-encoding', 'expect'),
    body: null,
  }
}
