// A request that came over FastCGI. Its native view is the variables; header fields are derived when somebody asks.

import { Headers, Variables } from '../core/index.ts'
import type {
  ByteString,
  ByteStream,
  Endpoint,
  ErrorStream,
  FilterData,
  GatewayRequest,
  HeaderList,
  HeaderView,
  Outcome,
  Scope,
  VariableView,
} from '../core/index.ts'
import { headersOf, ownVariables } from './server-variables.ts'
import type { Facts } from './server-variables.ts'

/** What a request needs of whoever looks after it. */
export interface RequestLife {
  readonly body: ByteStream
  readonly errors: ErrorStream
  readonly scope: Scope
  readonly filterData: FilterData | undefined
}

export class ServerRequest implements GatewayRequest {
  readonly method: ByteString
  readonly target: ByteString
  readonly scriptName: ByteString
  readonly pathInfo: ByteString
  readonly rawPathInfo: ByteString
  readonly queryString: ByteString
  readonly protocol: ByteString
  readonly scheme: 'http' | 'https'
  readonly contentLength: number | undefined
  readonly remote: Endpoint
  readonly local: Endpoint
  readonly headers: HeaderView
  readonly variables: VariableView
  readonly filterData?: FilterData
  readonly #life: RequestLife

  constructor(life: RequestLife, facts: Facts, pairs: HeaderList, trusted: ReadonlySet<string>, contentLength: number | undefined) {
    this.#life = life
    this.method = facts.method
    this.target = facts.target
    this.scriptName = facts.scriptName
    this.pathInfo = facts.pathInfo
    this.rawPathInfo = facts.rawPathInfo
    this.queryString = facts.queryString
    this.protocol = facts.protocol
    this.scheme = facts.scheme
    this.remote = facts.remote
    this.local = facts.local
    this.contentLength = contentLength
    if (life.filterData !== undefined) this.filterData = life.filterData
    this.headers = new DerivedHeaders(pairs)
    this.variables = new GivenVariables(this, pairs, facts, trusted)
  }

  get body(): ByteStream {
    return this.#life.body
  }

  get errors(): ErrorStream {
    return this.#life.errors
  }

  get signal(): AbortSignal {
    return this.#life.scope.signal
  }

  onFinish(callback: (outcome: Outcome) => void): void {
    this.#life.scope.onFinish(callback)
  }

  waitUntil(work: Promise<unknown>): void {
    this.#life.scope.waitUntil(work)
  }
}

class DerivedHeaders implements HeaderView {
  readonly #pairs: HeaderList
  #view: Headers | undefined

  constructor(pairs: HeaderList) {
    this.#pairs = pairs
  }

  get list(): HeaderList {
    return this.#derived().list
  }

  get(lowerCaseName: string): ByteString | undefined {
    return this.#derived().get(lowerCaseName)
  }

  #derived(): Headers {
    return (this.#view ??= new Headers(headersOf(this.#pairs)))
  }
}

class GivenVariables implements VariableView {
  readonly #request: GatewayRequest
  readonly #pairs: HeaderList
  readonly #facts: Facts
  readonly #trusted: ReadonlySet<string>
  #view: Variables | undefined

  constructor(request: GatewayRequest, pairs: HeaderList, facts: Facts, trusted: ReadonlySet<string>) {
    this.#request = request
    this.#pairs = pairs
    this.#facts = facts
    this.#trusted = trusted
  }

  get own(): HeaderList {
    return this.#derived().own
  }

  get(name: ByteString): ByteString | undefined {
    // The web server may have many names, and which of them this is it alone knows.
    if (name === 'SERVER_NAME' && this.#facts.serverName !== undefined) return this.#facts.serverName
    return this.#derived().get(name)
  }

  #derived(): Variables {
    return (this.#view ??= new Variables(this.#request, ownVariables(this.#pairs, this.#trusted)))
  }
}
