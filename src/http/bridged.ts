// A request that came by a bridge: node's own server, HTTP/2, or fetch.

import { Headers, Variables } from '../core/index.ts'
import type { Duplex } from 'node:stream'
import type {
  ByteString,
  ByteStream,
  Endpoint,
  ErrorStream,
  GatewayRequest,
  HeaderList,
  HeaderView,
  Outcome,
  Scope,
  Target,
  VariableView,
} from '../core/index.ts'

export interface BridgedParts {
  readonly method: ByteString
  readonly target: ByteString
  /** Without what `scriptName` holds. */
  readonly path: Target
  readonly scriptName?: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly list: HeaderList
  readonly body: ByteStream
  readonly contentLength: number | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly errors: ErrorStream
  /** Asked for on first use. */
  readonly scope: () => Scope
  readonly inform?: ((status: number, headers: HeaderList) => void) | undefined
  readonly upgrade?: ((status: number, headers: HeaderList) => Duplex) | undefined
}

export class BridgedRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly headers: HeaderView
  readonly body: ByteStream
  readonly contentLength: number | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly errors: ErrorStream
  readonly inform: GatewayRequest['inform']
  readonly upgrade: GatewayRequest['upgrade']
  readonly #scope: () => Scope
  #variables: VariableView | undefined = undefined

  constructor(parts: BridgedParts) {
    this.method = parts.method
    this.target = parts.target
    this.scriptName = parts.scriptName ?? ''
    this.pathInfo = parts.path.path
    this.rawPathInfo = parts.path.rawPath
    this.queryString = parts.path.queryString
    this.protocol = parts.protocol
    this.scheme = parts.scheme
    this.headers = new Headers(parts.list)
    this.body = parts.body
    this.contentLength = parts.contentLength
    this.remote = parts.remote
    this.local = parts.local
    this.errors = parts.errors
    this.inform = parts.inform
    this.upgrade = parts.upgrade
    this.#scope = parts.scope
  }

  get variables(): VariableView {
    return (this.#variables ??= new Variables(this))
  }

  get signal(): AbortSignal {
    return this.#scope().signal
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    this.#scope().onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.#scope().waitUntil(work)
  }
}
