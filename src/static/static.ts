// A folder of files as an application.

import { backend, empty, isAmbiguous as isAmbiguousPath, percentEncode } from '../core/index.ts'
import { Files } from './files.ts'
import { hasDotSegment } from './names.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { FilesOptions } from './files.ts'

/** Which folder, and what shows a folder in it. */
export interface StaticOptions extends FilesOptions {
  /** What a folder is shown by; the first that exists. Default `['index.html']`. */
  readonly index?: readonly string[]
}

/**
 * Serves the files of a folder: types, conditional and range requests, forms precompressed as `.br` and `.gz` beside the
 * file, folders by their index. Never served: names that begin with a dot (but `/.well-known/`), program sources and
 * configuration (`.php`, `.py`, `.sh`, `.ini`, `.conf` and the like; editors' copies of them too), and what links lead to
 * outside the root. Each is a 404 rather than a 403, so that nobody learns what is there.
 */
export function staticFiles(options: StaticOptions): Backend {
  const files = new Files(options)
  const index = options.index ?? ['index.html']
  const [first = 'index.html'] = index
  const application: Application = (request) => {
    const path = request.pathInfo
    // What another layer could read differently takes the long way, where it is refused.
    if (path === request.rawPathInfo) {
      const hit = files.hit(request, path.endsWith('/') ? path + first : path)
      if (hit !== undefined) return hit
    }
    return isAmbiguous(request) ? empty(404) : find(files, index, request)
  }
  return backend(application, {})
}

async function find(files: Files, index: readonly ByteString[], request: GatewayRequest): Promise<GatewayResponse> {
  const path = request.pathInfo
  if (path === '*' && request.method === 'OPTIONS') return empty(204, ['Allow', 'GET, HEAD, OPTIONS'])
  if (hasDotSegment(path)) return empty(404)
  if (path === '') return toFolder(request)
  if (!path.endsWith('/')) {
    const response = await files.serve(request, path)
    return response.status === 404 && (await files.root.look(path)).kind === 'directory' ? toFolder(request) : response
  }
  for (const name of index) {
    const response = await files.serve(request, path + name)
    if (response.status !== 404) return response
  }
  return empty(404)
}

/** Sends the client to the same path with a slash, so that relative links work. Other methods keep theirs and their body (308). */
export function toFolder(request: GatewayRequest): GatewayResponse {
  const query = request.queryString === '' ? '' : `?${request.queryString}`
  const status = request.method === 'GET' || request.method === 'HEAD' ? 301 : 308
  return empty(status, ['Location', `${percentEncode(request.scriptName + request.pathInfo)}/${query}`])
}

/** Whether layers could read the path differently: an encoded slash or a backslash in it (CVE-2024-38474). No file is named by such a path. */
export function isAmbiguous(request: GatewayRequest): boolean {
  return request.pathInfo.includes('\\') || (request.rawPathInfo !== request.pathInfo && isAmbiguousPath(request.rawPathInfo))
}
