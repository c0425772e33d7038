// The fetch standard's shape, both ways: `(Request) => Response` as an Application, and an Application as one.

import { STATUS_CODES } from 'node:http'
import type { UnderlyingSource } from 'node:stream/web'
import {
  GatewayError,
  describe,
  discard,
  emptyBody,
  isBodyless,
  isHost,
  observed,
  parseTarget,
  pump,
  standardError,
  statusOf,
  streamOf,
  FileSlice,
  Scope,
} from '../core/index.ts'
import type { Application, ByteStream, GatewayRequest, GatewayResponse, HeaderList, Log, Outcome } from '../core/index.ts'
import { BridgedRequest } from './bridged.ts'
import { nowhere } from './connection.ts'
import { Head } from './head.ts'
import { refusal } from './incoming.ts'

type Finish = (kind: Outcome['kind'], status: number, bytes: number, error?: unknown) => void

/** What a handler gets beside the request: hono knows them as `c.env` and `c.executionCtx`. */
export interface FetchEnvironment {
  /** The request as it came through the gateway: addresses, variables, `upgrade`. */
  readonly gateway: GatewayRequest
}
/** What a handler gets as its third argument. */
export interface FetchContext {
  /** Work that goes on after the response. */
  waitUntil(work: Promise<unknown>): void
  /** Does nothing: it is there for handlers that were written for Cloudflare's Workers. */
  passThroughOnException(): void
}
/** A function from Request to Response. */
export type FetchHandler = (request: Request, environment: FetchEnvironment, context: FetchContext) => Response | Promise<Response>

/** hono and its like. What it takes beside the request is its own business. */
export interface FetchObject {
  /** Called as a method of its object. */
  readonly fetch: (request: Request, ...rest: never[]) => Response | Promise<Response>
}

/** How a fetch handler is called. */
export interface FromFetchOptions {
  /** Which path `request.url` has: `mounted` (default) the one below the mount point, `full` the whole. */
  readonly url?: 'mounted' | 'full'
}

/**
 * A fetch handler, or an object that has one (`{ fetch }`: hono), as an Application. `request.signal` aborts when the client has left.
 * Its answer is streamed; what it throws is a 500. Methods that fetch has none of (CONNECT, TRACE) are answered 501.
 */
export function fromFetch(handler: FetchHandler | FetchObject, options: FromFetchOptions = {}): Application {
  const call: FetchHandler = typeof handler === 'function' ? handler : (...all) => (handler as { fetch: FetchHandler }).fetch(...all)
  return async (request) => {
    const asked = requestOf(request, options.url === 'full')
    const context: FetchContext = { waitUntil: (work) => request.waitUntil(work), passThroughOnException() {} }
    const answer = await call(asked, { gateway: request }, context)
    if (!isResponse(answer)) {
      throw new GatewayError('CONTRACT', {
        status: 500,
        message: `http: a fetch handler answers with a Response, this one with ${typeof answer}`,
      })
    }
    return responseOf(answer, request)
  }
}

/** Also one of another realm or polyfill. */
function isResponse(value: unknown): value is Response {
  return typeof value === 'object' && value !== null && 'status' in value && 'headers' in value && 'body' in value
}

const FORBIDDEN = new Set(['CONNECT', 'TRACE', 'TRACK'])

function requestOf(request: GatewayRequest, full: boolean): Request {
  const { method, scheme } = request
  if (FORBIDDEN.has(method.toUpperCase())) throw refusal(501, `the method ${method}, which fetch does not have`)
  const stated = request.headers.get('host') ?? ''
  const host = stated !== '' && isHost(stated) ? stated : hostOf(request)
  const path = full ? encodedPath(request.scriptName) + request.rawPathInfo : request.rawPathInfo
  const query = request.queryString === '' ? '' : `?${request.queryString}`
  const headers = new Headers()
  const { list } = request.headers
  for (let i = 0; i < list.length; i += 2) headers.append(list[i]!, list[i + 1]!)
  const body =
    method === 'GET' || method === 'HEAD' || request.contentLength === 0 ? {} : { body: toWeb(request.body), duplex: 'half' as const }
  return new Request(`${scheme}://${host}${path || '/'}${query}`, { method, headers, signal: request.signal, ...body })
}

function encodedPath(path: string): string {
  return path.replace(/[^!-~]|[%?#]/g, (char) => '%' + char.charCodeAt(0).toString(16).toUpperCase().padStart(2, '0'))
}

function hostOf({ local }: GatewayRequest): string {
  if (local.address === '') return 'localhost'
  return `${local.address.includes(':') ? `[${local.address}]` : local.address}:${local.port}`
}

function responseOf(answer: Response, request: GatewayRequest): GatewayResponse {
  const { status, statusText, body } = answer
  if (status < 200) throw new GatewayError('CONTRACT', { status: 500, message: 'http: a fetch handler answered with Response.error()' })
  const list: string[] = []
  answer.headers.forEach((value, name) => list.push(name, value))
  const reason = statusText === '' || statusText === STATUS_CODES[status] ? {} : { reason: statusText }
  const headers = new Head({ status, headers: list, body: null }).list
  if (body === null || isBodyless(request.method, status)) {
    if (body !== null) body.cancel().catch(() => {})
    return { status, ...reason, headers, body: null }
  }
  return { status, ...reason, headers, body: fromWeb(body) }
}

/** A web stream as ours. Chunks that are no bytes are an error, as in fetch. */
function fromWeb(stream: ReadableStream<Uint8Array>): ByteStream {
  const reader = stream.getReader()
  const source: AsyncIterable<Uint8Array> = {
    [Symbol.asyncIterator]: () => ({
      async next() {
        const { done, value } = await reader.read()
        if (done) return { done, value: undefined }
        if (!(value instanceof Uint8Array)) throw new TypeError('http: a chunk of a fetch body is not a Uint8Array')
        return { done: false, value }
      },
    }),
  }
  return streamOf(source, (reason) => void reader.cancel(reason).catch(() => {}))
}

/** Ours as a web stream. Not one of type `bytes`: that would take the buffers away from others that look at them. */
function toWeb(body: ByteStream, signal?: AbortSignal): ReadableStream<Uint8Array<ArrayBuffer>> {
  let lane: { resume(): void } | undefined
  const stream: UnderlyingSource<Uint8Array> = {
    start: (controller) => signal?.addEventListener('abort', () => controller.error(signal.reason)),
    pull(controller) {
      if (lane !== undefined) {
        lane.resume()
        return
      }
      const take = (chunk: Uint8Array): boolean => {
        if (chunk.length > 0) controller.enqueue(chunk)
        return (controller.desiredSize ?? 0) > 0
      }
      const fail = (error: unknown): void => controller.error(error)
      lane = pump(body, {
        write: take,
        writeAll: (chunks) => chunks.map(take).every(Boolean),
        end: () => controller.close(),
        fail,
        cancelled: (reason) => fail(reason ?? new Error('http: the body was cancelled')),
      })
    },
    cancel: (reason) => body.cancel(reason),
  }
  return new ReadableStream(stream, { highWaterMark: 0 }) as ReadableStream<Uint8Array<ArrayBuffer>>
}

/** What a fetch handler made of an application is told. */
export interface ToFetchOptions {
  /** Default: warnings and errors go to standard error, a line each. */
  readonly log?: Log
}

/**
 * An Application as a function from Request to Response. It never rejects: an error is its status with an empty body. The request is over for
 * the application when the response's body was read, or cancelled, or the Request's signal aborted. Interim responses and trailers are lost.
 */
export function toFetch(application: Application, options: ToFetchOptions = {}): (request: Request) => Promise<Response> {
  const log = options.log ?? standardError
  return async (asked) => {
    const scope = new Scope(
      (work) => void work.catch((error: unknown) => log.error({}, `http: work after a response failed: ${describe(error)}`)),
    )
    const finish: Finish = (kind, status, bytes, error) => scope.finish({ kind, status, bytes, ...(error !== undefined && { error }) })
    const { signal } = asked
    const left = (): void => finish('cut', 0, 0, signal.reason)
    signal.addEventListener('abort', left, { once: true })
    scope.onFinish(() => signal.removeEventListener('abort', left))
    try {
      const request = gatewayRequest(asked, scope, log)
      const response = await application(request)
      return webResponse(response, request.method, scope, finish)
    } catch (error) {
      const status = Math.max(statusOf(error), 400)
      if (status >= 500) log.error({ method: asked.method, target: asked.url, status }, `http: the application failed: ${describe(error)}`)
      finish('failed', status, 0, error)
      const retryAfter =
        error instanceof GatewayError && error.retryAfter !== undefined ? { 'Retry-After': String(Math.ceil(error.retryAfter)) } : {}
      return new Response(null, { status, headers: retryAfter })
    }
  }
}

function gatewayRequest(asked: Request, scope: Scope, log: Log): BridgedRequest {
  const url = new URL(asked.url)
  const target = url.pathname + url.search
  const path = parseTarget(target)
  if (typeof path === 'string') throw refusal(400, `the target: ${path}`)
  const list: string[] = []
  asked.headers.forEach((value, name) => list.push(name, value))
  if (asked.headers.get('host') === null) list.push('host', url.host)
  const stated = asked.headers.get('content-length')
  const contentLength = asked.body === null ? 0 : stated !== null && /^\d+$/.test(stated) ? Number(stated) : undefined
  const { method } = asked
  return new BridgedRequest({
    method,
    target,
    path,
    protocol: 'HTTP/1.1',
    scheme: url.protocol === 'https:' ? 'https' : 'http',
    list,
    body: asked.body === null ? emptyBody : fromWeb(asked.body as ReadableStream<Uint8Array>),
    contentLength,
    remote: nowhere,
    local: nowhere,
    errors: { write: (text) => log.warn({ method, target }, text.trimEnd()) },
    scope: () => scope,
  })
}

function webResponse(response: GatewayResponse, method: string, scope: Scope, finish: Finish): Response {
  const { status, body } = response
  if (response.internal !== undefined)
    throw new GatewayError('CONTRACT', { status: 500, message: 'http: an internal result that no site has resolved' })
  const headers = new Headers()
  const head: HeaderList = new Head(response).list
  for (let i = 0; i < head.length; i += 2) headers.append(head[i]!, head[i + 1]!)
  const init = { status, statusText: response.reason ?? STATUS_CODES[status] ?? '', headers }
  if (isBodyless(method, status) || status === 205 || body === null) {
    discard(response)
    finish('sent', status, 0)
    return new Response(null, init)
  }
  if (typeof body === 'string' || body instanceof Uint8Array) {
    finish('sent', status, typeof body === 'string' ? Buffer.byteLength(body) : body.length)
    return new Response(body as string | Uint8Array<ArrayBuffer>, init)
  }
  let bytes = 0
  const kinds = { ended: 'sent', failed: 'failed', cancelled: 'cut' } as const
  const stream = observed(body instanceof FileSlice ? body.stream() : body, {
    chunk: (length) => void (bytes += length),
    over: (how, error) => finish(kinds[how], status, bytes, error),
  })
  scope.onFinish((outcome) => {
    if (outcome.kind !== 'sent') stream.cancel(outcome.error)
  })
  return new Response(toWeb(stream, scope.signal), init)
}
