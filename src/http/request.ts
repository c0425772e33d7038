// A request that came over HTTP/1.x. What is dear to make is made when it is asked for.

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
  VariableView,
} from '../core/index.ts'
import type { Exchange } from './exchange.ts'
import type { Accepted } from './incoming.ts'

// The contract's optional members are absent or there; a getter can only be undefined.
const ABSENT = undefined as never

export class HttpRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString = ''
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly contentLength: number | undefined
  readonly #exchange: Exchange
  readonly #list: HeaderList
  #headers: HeaderView | undefined = undefined
  #variables: VariableView | undefined = undefined
  #errors: ErrorStream | undefined = undefined

  constructor(exchange: Exchange, head: Accepted) {
    const { incoming } = exchange
    const { target } = head
    this.method = incoming.method ?? ''
    this.target = incoming.url ?? ''
    this.pathInfo = target.path
    this.rawPathInfo = target.rawPath
    this.queryString = target.queryString
    this.protocol = incoming.httpVersionMinor === 1 ? 'HTTP/1.1' : 'HTTP/1.0'
    this.contentLength = head.contentLength
    this.#exchange = exchange
    this.#list = head.list
  }

  get scheme(): 'http' | 'https' {
    return 'encrypted' in this.#exchange.connection.socket ? 'https' : 'http'
  }

  get headers(): HeaderView {
    return (this.#headers ??= new Headers(this.#list))
  }

  get variables(): VariableView {
    return (this.#variables ??= new Variables(this))
  }

  get body(): ByteStream {
    return this.#exchange.body
  }

  get remote(): Endpoint {
    return this.#exchange.connection.remote
  }

  get local(): Endpoint {
    return this.#exchange.connection.local
  }

  get signal(): AbortSignal {
    return this.#exchange.scope.signal
  }

  get errors(): ErrorStream {
    return (this.#errors ??= this.#exchange.connection.door.errorsOf(this.#exchange))
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    this.#exchange.scope.onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.#exchange.scope.waitUntil(work)
  }

  /** HTTP/1.0 knows no interim responses (RFC 9110, 15.2). */
  get inform(): (status: number, headers: HeaderList) => void {
    return this.protocol === 'HTTP/1.1' ? (status, headers) => this.#exchange.inform(status, headers) : ABSENT
  }

  get upgrade(): (status: number, headers: HeaderList) => Duplex {
    return this.#exchange.takeOver ?? ABSENT
  }
}
