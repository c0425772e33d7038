// A request that came over FastCGI. Its native view is the variables; header fields are derived when somebody asks.

import { Headers, StatedRequest, Variables } from '../../core/index.ts'
import type { ByteString, FilterData, GatewayRequest, HeaderList, HeaderView, RequestLife, VariableView } from '../../core/index.ts'
import { headersOf, ownVariables } from './variables.ts'
import type { Facts } from './variables.ts'

/** What a request needs of whoever looks after it. */
interface ServerLife extends RequestLife {
  readonly filterData: FilterData | undefined
}

export class ServerRequest extends StatedRequest {
  readonly headers: HeaderView
  readonly variables: VariableView
  readonly filterData?: FilterData

  /** @param contentLength as it is by now: what CONTENT_LENGTH says may have turned out to be wrong. */
  constructor(life: ServerLife, facts: Facts, pairs: HeaderList, trusted: ReadonlySet<string>, contentLength: number | undefined) {
    super(contentLength === facts.contentLength ? facts : { ...facts, contentLength }, life)
    if (life.filterData !== undefined) this.filterData = life.filterData
    this.headers = new DerivedHeaders(pairs)
    this.variables = new GivenVariables(this, pairs, facts, trusted)
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
