// What requests have in common whose facts are known when they are made: those of every door but node:http's own, where each is dear.

import type { Scope } from './scope.ts'
import type { ByteStream, ByteString, Endpoint, ErrorStream, GatewayRequest, HeaderView, Outcome, VariableView } from './types.ts'

type Fact =
  | 'method'
  | 'target'
  | 'scriptName'
  | 'pathInfo'
  | 'rawPathInfo'
  | 'queryString'
  | 'protocol'
  | 'scheme'
  | 'contentLength'
  | 'remote'
  | 'local'
/** What is known of a request when it is made, and does not change. */
export type RequestFacts = Pick<GatewayRequest, Fact>

/** Whoever looks after a request. Each member is asked for when the request is asked for it. */
export interface RequestLife {
  /** What `body` gives. */
  readonly body: ByteStream
  /** What `errors` gives. */
  readonly errors: ErrorStream
  /** What is behind `signal`, `onFinish` and `waitUntil`. */
  readonly scope: Scope
}

/** A base for requests whose facts are all known at once: those of doors other than HTTP's. What is left to a subclass are headers and variables. */
export abstract class StatedRequest implements GatewayRequest {
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
  abstract readonly headers: HeaderView
  abstract readonly variables: VariableView
  readonly #life: RequestLife

  constructor(facts: RequestFacts, life: RequestLife) {
    this.method = facts.method
    this.target = facts.target
    this.scriptName = facts.scriptName
    this.pathInfo = facts.pathInfo
    this.rawPathInfo = facts.rawPathInfo
    this.queryString = facts.queryString
    this.protocol = facts.protocol
    this.scheme = facts.scheme
    this.contentLength = facts.contentLength
    this.remote = facts.remote
    this.local = facts.local
    this.#life = life
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
