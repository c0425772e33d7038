// A request that came by a bridge: node's own server, HTTP/2, or fetch.

import { Headers, StatedRequest, Variables } from '../core/index.ts'
import type { Duplex } from 'node:stream'
import type {
  ByteString,
  ByteStream,
  Endpoint,
  ErrorStream,
  GatewayRequest,
  HeaderList,
  HeaderView,
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

export class BridgedRequest extends StatedRequest {
  readonly headers: HeaderView
  readonly inform: GatewayRequest['inform']
  readonly upgrade: GatewayRequest['upgrade']
  #variables: VariableView | undefined = undefined

  constructor(parts: BridgedParts) {
    const { path } = parts
    super(
      { ...parts, scriptName: parts.scriptName ?? '', pathInfo: path.path, rawPathInfo: path.rawPath, queryString: path.queryString },
      {
        body: parts.body,
        errors: parts.errors,
        get scope() {
          return parts.scope()
        },
      },
    )
    this.headers = new Headers(parts.list)
    this.inform = parts.inform
    this.upgrade = parts.upgrade
  }

  get variables(): VariableView {
    return (this.#variables ??= new Variables(this))
  }
}
