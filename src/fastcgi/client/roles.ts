// The two roles that stand in front of something else: an authorizer before any application, a filter behind files.
//
// An authorizer's 200 lets the request through, with what it says about it as variables; anything else is the answer. A filter
// gets a file's bytes beside the request and answers in its place. Specification: FastCGI 1.0, sections 6.3 and 6.4.

import { FileSlice, attempt, derive, getHeader, isComputed, streamOf, withoutHeaders } from '../../core/index.ts'
import type {
  Application,
  ByteStream,
  ByteString,
  FilterData,
  GatewayRequest,
  GatewayResponse,
  HeaderList,
  Middleware,
} from '../../core/index.ts'

const VARIABLE = /^variable-(.+)$/is

/**
 * Asks `backend`, made by `fastcgi({ role: Role.Authorizer, ... })`, about each request. Status 200 lets it through: each
 * `Variable-NAME: value` of the answer becomes a variable of the request, in place of one it had, and nothing else of the answer is
 * used. Any other answer goes to the client as it is. What a request's members and header fields decide cannot be set so.
 */
export const authorizer =
  (backend: Application): Middleware =>
  (next) =>
  async (request) => {
    // No body (FastCGI 1.0, 6.3): that stays for whoever answers.
    const asked = attempt(request, { body: null })
    let verdict: GatewayResponse
    try {
      verdict = await backend(asked.request)
    } catch (error) {
      asked.drop()
      throw error
    }
    if (verdict.status !== 200) return asked.keep(verdict)
    const variables = variablesOf(verdict.headers)
    asked.drop(verdict)
    return next(derive(request, { variables }))
  }

function variablesOf(headers: HeaderList): Record<ByteString, ByteString> {
  // Without a prototype: `__proto__` is a name like any other here.
  const variables = Object.create(null) as Record<ByteString, ByteString>
  for (let i = 0; i < headers.length; i += 2) {
    const name = VARIABLE.exec(headers[i]!)?.[1]
    if (name !== undefined && !isComputed(name)) variables[name] = headers[i + 1]!
  }
  return variables
}

/** Of the request for the file: all of it, as it is, whatever part or form the client would like of what is made of it. */
const PARTIAL = ['range', 'if-range', 'if-match', 'if-none-match', 'if-modified-since', 'if-unmodified-since', 'accept-encoding']

/** Which files are filtered. */
export interface FilterOptions {
  /** Ends of paths that are filtered, `.html`; the others are answered without. Default: all. */
  readonly extensions?: readonly ByteString[]
  /** What a path that ends in a slash stands for, where `extensions` are looked for: the index of `staticFiles`. Default `index.html`. */
  readonly index?: ByteString
}

/**
 * Lets `backend`, made by `fastcgi({ role: Role.Filter, ... })`, answer with what it makes of the files that `next` would send:
 * FCGI_DATA are the bytes, FCGI_DATA_LENGTH and FCGI_DATA_LAST_MOD what is known of them. Where `next` has no file (any status
 * but 200), or the method is another than GET, HEAD and POST, its own answer stands: who may not see a file does not see it filtered.
 */
export const filter =
  (backend: Application, options: FilterOptions = {}): Middleware =>
  (next) =>
  (request) => {
    const { extensions, index = 'index.html' } = options
    const { method, pathInfo } = request
    if (method !== 'GET' && method !== 'HEAD' && method !== 'POST') return next(request)
    // What is shown for a folder is a file like any other: unfiltered it would show its source.
    const path = pathInfo.endsWith('/') ? pathInfo + index : pathInfo
    if (extensions !== undefined && !extensions.some((each) => path.endsWith(each))) return next(request)
    return filtered(backend, next, request)
  }

async function filtered(backend: Application, next: Application, request: GatewayRequest): Promise<GatewayResponse> {
  const headers = withoutHeaders(request.headers.list, ...PARTIAL)
  const asked = attempt(request, { method: 'GET', headers, body: null })
  let file: GatewayResponse
  try {
    file = await next(asked.request)
  } catch (error) {
    asked.drop()
    throw error
  }
  asked.keep(file)
  const data = file.status === 200 ? dataOf(file) : undefined
  if (data === undefined) return file
  try {
    const variables = { FCGI_DATA_LENGTH: String(data.length), FCGI_DATA_LAST_MOD: String(data.lastModified) }
    return await backend(derive(request, { filterData: data, variables }))
  } catch (error) {
    // Nobody may have begun to read it: then nobody else closes the file.
    data.body.cancel(error)
    throw error
  }
}

/** The body as a filter's second stream; undefined for one whose length nobody knows. */
function dataOf({ body, headers }: GatewayResponse): FilterData | undefined {
  const modified = Date.parse(getHeader(headers, 'last-modified') ?? '')
  const lastModified = Number.isNaN(modified) ? 0 : Math.floor(modified / 1000)
  if (body instanceof FileSlice) return { body: body.stream(), length: body.length, lastModified }
  if (body === null || typeof body === 'string' || body instanceof Uint8Array) {
    const bytes = typeof body === 'string' ? Buffer.from(body) : (body ?? new Uint8Array())
    return { body: streamOf(bytes.length === 0 ? [] : [bytes]), length: bytes.length, lastModified }
  }
  const length = getHeader(headers, 'content-length')
  return length === undefined ? undefined : { body: body as ByteStream, length: Number(length), lastModified }
}
