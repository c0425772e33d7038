// Changing a request (derive), trying one (attempt), and dropping a response (discard).

import { Scope } from './scope.ts'
import { emptyBody } from './streams.ts'
import { FileSlice } from './file-slice.ts'
import { Headers } from './headers.ts'
import { Variables } from './variables.ts'
import type {
  ByteString,
  ByteStream,
  Endpoint,
  ErrorStream,
  FilterData,
  GatewayRequest,
  GatewayResponse,
  HeaderList,
  HeaderView,
  Outcome,
  VariableView,
} from './types.ts'

/** What is different in the request that `derive` or `attempt` makes: members as in `GatewayRequest`. What is left out stays as it is. */
export interface Changes {
  readonly method?: ByteString
  readonly target?: ByteString
  readonly scriptName?: ByteString
  readonly pathInfo?: ByteString
  readonly rawPathInfo?: ByteString
  readonly queryString?: ByteString
  readonly scheme?: 'http' | 'https'
  readonly headers?: HeaderList
  /** Set in addition to those there are; they never replace what members and headers give. */
  readonly variables?: Readonly<Record<string, ByteString | undefined>>
  /** With `contentLength`; a body of null is no body. */
  readonly body?: ByteStream | null
  readonly contentLength?: number | undefined
  readonly remote?: Endpoint
  readonly local?: Endpoint
  /** In place of the request's own: one that is to abort with it as well is made by `AbortSignal.any`. */
  readonly signal?: AbortSignal
  /** In place of the request's own. */
  readonly errors?: ErrorStream
  readonly filterData?: FilterData
  readonly inform?: (status: number, headers: HeaderList) => void
}

/** The one way to change a request. Cheap; the new one shares its parent's life. */
export function derive(request: GatewayRequest, changes: Changes): GatewayRequest {
  return new DerivedRequest(request, changes, undefined)
}

class DerivedRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly headers: HeaderView
  readonly contentLength: number | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly errors: ErrorStream
  readonly filterData?: FilterData
  readonly #parent: GatewayRequest
  readonly #changes: Changes
  readonly #scope: Scope | undefined
  #variables: VariableView | undefined
  #linked = false

  constructor(parent: GatewayRequest, changes: Changes, scope: Scope | undefined) {
    this.#parent = parent
    this.#changes = changes
    this.#scope = scope
    this.method = changes.method ?? parent.method
    this.target = changes.target ?? parent.target
    this.scriptName = changes.scriptName ?? parent.scriptName
    this.pathInfo = changes.pathInfo ?? parent.pathInfo
    this.rawPathInfo = changes.rawPathInfo ?? parent.rawPathInfo
    this.queryString = changes.queryString ?? parent.queryString
    this.protocol = parent.protocol
    this.scheme = changes.scheme ?? parent.scheme
    this.headers = changes.headers === undefined ? parent.headers : new Headers(changes.headers)
    this.contentLength = changes.body === null ? 0 : 'contentLength' in changes ? changes.contentLength : parent.contentLength
    this.remote = changes.remote ?? parent.remote
    this.local = changes.local ?? parent.local
    this.errors = changes.errors ?? parent.errors
    const filterData = changes.filterData ?? parent.filterData
    if (filterData !== undefined) this.filterData = filterData
  }

  get body(): ByteStream {
    const { body } = this.#changes
    return body === undefined ? this.#parent.body : (body ?? emptyBody)
  }

  get variables(): VariableView {
    return (this.#variables ??= new Variables(this, merged(this.#parent.variables.own, this.#changes.variables)))
  }

  get signal(): AbortSignal {
    const outer = this.#changes.signal ?? this.#parent.signal
    const scope = this.#scope
    if (scope === undefined) return outer
    if (!this.#linked) {
      this.#linked = true
      if (outer.aborted) scope.abort(outer.reason)
      else outer.addEventListener('abort', () => scope.abort(outer.reason), { once: true })
    }
    return scope.signal
  }

  // Bound when somebody asks: few do, and every step of a site derives.
  get inform(): GatewayRequest['inform'] {
    const parent = this.#parent
    if (this.#changes.inform !== undefined) return this.#changes.inform
    return parent.inform === undefined ? undefined : (status, headers) => parent.inform?.(status, headers)
  }

  get upgrade(): GatewayRequest['upgrade'] {
    const parent = this.#parent
    return parent.upgrade === undefined ? undefined : (status, headers) => parent.upgrade!(status, headers)
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    if (this.#scope !== undefined) this.#scope.onFinish(callback)
    else this.#parent.onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.#parent.waitUntil(work)
  }
}

function merged(own: HeaderList, added: Readonly<Record<string, ByteString | undefined>> | undefined): HeaderList {
  if (added === undefined) return own
  const out: ByteString[] = []
  for (let i = 0; i < own.length; i += 2) if (!Object.hasOwn(added, own[i]!)) out.push(own[i]!, own[i + 1]!)
  for (const name in added) {
    const value = added[name]
    if (value !== undefined) out.push(name, value)
  }
  return out
}

/** One try of several: a retry, a step of a cascade, a sub-request, an internal redirect. */
export interface Attempt {
  /** What to call an application with. */
  readonly request: GatewayRequest
  /** This response is the one that is answered: the attempt now ends when its parent does. */
  keep(response: GatewayResponse): GatewayResponse
  /** This one is not: its response is discarded, its signal aborts, and its `onFinish` hears `discarded`, now. */
  drop(response?: GatewayResponse): void
}

/** A child request with a life of its own. Exactly one of `keep` and `drop` must follow, else what it leased stays leased. */
export function attempt(request: GatewayRequest, changes: Changes = {}): Attempt {
  const scope = new Scope((work) => request.waitUntil(work))
  request.onFinish((outcome) => scope.finish(outcome))
  let open = true
  return {
    request: new DerivedRequest(request, changes, scope),
    keep(response) {
      open = false
      return response
    },
    drop(response) {
      if (!open) return
      open = false
      if (response !== undefined) discard(response)
      scope.finish({ kind: 'discarded', status: response?.status ?? 0, bytes: 0 })
    },
  }
}

/** Whoever drops a response calls this: it stops its body's source and closes its file. */
export function discard(response: GatewayResponse, reason?: unknown): void {
  const { body } = response
  if (body === null || typeof body === 'string' || body instanceof Uint8Array) return
  if (body instanceof FileSlice) body.close()
  else body.cancel(reason)
}

/** Whether the answer to this request may have no body (RFC 9110, 6.4.1). */
export function isBodyless(method: ByteString, status: number): boolean {
  return method === 'HEAD' || status === 204 || status === 304 || (status >= 100 && status < 200)
}
