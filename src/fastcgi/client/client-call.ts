// One try of one request: the wait for a connection, what is sent, and what its end means for the connection, for the host, and for
// another try.

import { GatewayError, Line, mayRepeat } from '../../core/index.ts'
import type { ByteStream, ByteString, FilterData, GatewayRequest, GatewayResponse, Spooled, Waiter } from '../../core/index.ts'
import type { Call, CallEnd, Reply } from './call.ts'
import type { Client } from './client.ts'
import type { Lane, Lanes } from './lanes.ts'
import type { Upstream } from './upstream.ts'

/** Where the connection of a request comes from: here it is, it is being opened, or one must become free. */
export type From = Lane | Promise<Lane> | Line<Lane | Promise<Lane>>

/** A request body that can be sent, perhaps again. */
export type Source = Spooled | undefined

export class ClientCall implements Call, Waiter<Lane | Promise<Lane>> {
  readonly request: GatewayRequest
  head: ByteString = ''
  readonly body: ByteStream | readonly Uint8Array[] | null
  readonly data: FilterData | undefined
  readonly hold: { readonly bytes: number; readonly time: number }
  readonly headLimit: number
  readonly bodyLimit: number
  readonly deadlines: { readonly firstByte: number; readonly between: number }
  readonly until: number
  readonly drain: { readonly bytes: number; readonly time: number }
  readonly onCut: 'close' | 'drain'
  readonly localRedirects: boolean
  /** Whether a connection that turns out to be closed is worth another one to the same host. */
  mayRetry = false
  /** It was, and a place for it is claimed. */
  retrying = false
  /** It failed in a way that another host may make good. */
  elsewhere = false
  readonly #client: Client
  readonly #lanes: Lanes
  readonly #from: From
  #lane: Lane | undefined
  readonly #host: Upstream | undefined
  #reply: Reply | undefined
  readonly #repeatable: boolean
  readonly source: Source

  constructor(
    client: Client,
    lanes: Lanes,
    from: From,
    request: GatewayRequest,
    stream: ByteStream | null,
    source: Source,
    until: number,
    host: Upstream | undefined,
  ) {
    this.#client = client
    this.#lanes = lanes
    this.#from = from
    this.#host = host
    this.source = source
    this.request = request
    // What has a name is read where it is: REQUEST_BODY_FILE.
    this.body = stream ?? (source === undefined || source.path !== undefined ? null : (source.chunks ?? source.stream()))
    this.data = client.filters ? request.filterData : undefined
    this.#repeatable = stream === null && this.data === undefined
    this.hold = client.hold
    this.headLimit = client.limits.head
    this.bodyLimit = client.bodyLimit
    this.deadlines = client.deadlines
    this.until = until
    this.drain = client.drain
    this.onCut = client.onCut
    this.localRedirects = client.localRedirects
  }

  /** Sends it, as soon as it has a lane. */
  answer(): Promise<GatewayResponse> {
    return new Promise((resolve, reject) => {
      this.#reply = { resolve, reject }
      if (this.#from instanceof Line) this.#from.wait(this.request, this)
      else this.take(this.#from)
    })
  }

  take(lane: Lane | Promise<Lane>): void {
    if ('start' in lane) this.#begin(lane)
    else
      lane.then(
        (each) => this.#begin(each),
        (error: unknown) => this.refuse(error),
      )
  }

  /** It found no connection. */
  refuse(error: unknown): void {
    this.#client.tally.failed(error)
    this.#reply!.reject(error)
  }

  #begin(lane: Lane): void {
    const client = this.#client
    try {
      this.head = client.encode(lane, this.request, this.source)
    } catch (error) {
      // Nothing was sent: the connection is as good as it was.
      this.#host?.ended(undefined)
      this.#lanes.release(lane)
      this.#reply!.reject(error)
      return
    }
    this.#lane = lane
    this.mayRetry = this.#repeatable && client.retries > 0 && lane.requests > 0
    client.tally.began()
    lane.start(this, this.#reply!)
  }

  stderr(line: string): void {
    this.request.errors.write(`${line}\n`)
  }

  onEnd(how: CallEnd): void {
    const { mayRetry } = this
    const stale = how.error !== undefined && !how.reusable && mayRetry && isStale(how) && this.#mayRepeat(how)
    this.#client.tally.ended(stale ? undefined : how.error)
    if (stale) {
      this.retrying = true
      this.#lanes.claim()
      return
    }
    if (this.#host !== undefined) this.#tell(this.#host, how)
    if (how.reusable) this.#lanes.release(this.#lane!)
    if (!this.elsewhere) this.source?.close(how.reusable && this.#lane?.shared === false)
    // What was read to its end does not hear of it.
    this.data?.body.cancel(how.error)
    if (how.appStatus !== undefined && how.appStatus !== 0) {
      const { peer } = this.#lanes
      this.#client.options.log?.warn(
        { peer, appStatus: how.appStatus, method: this.request.method, target: this.request.target },
        `fastcgi: ${peer} ended a request with application status ${how.appStatus}`,
      )
    }
  }

  /** With several hosts, dispatch.ts is who tries again. */
  again(): Promise<GatewayResponse> | undefined {
    return this.retrying && this.#host === undefined ? this.#client.resend(this, this.#lanes) : undefined
  }

  /** What this says about the host, and whether another one may be asked. */
  #tell(host: Upstream, how: CallEnd): void {
    const code = how.error instanceof GatewayError ? how.error.code : undefined
    const late = this.until !== 0 && performance.now() >= this.until
    const failed = code === 'UNAVAILABLE' || code === 'UPSTREAM_TRUNCATED' || code === 'UPSTREAM_PROTOCOL' || code === 'TIMEOUT'
    this.elsewhere = failed && !late && this.#mayRepeat(how)
    // What the client did says nothing about the host, and being busy (OVERLOADED on a good connection) is no illness.
    const known = how.error === undefined || how.reusable ? 'success' : failed && !late ? 'failure' : undefined
    host.ended(known === 'success' && code === 'UNAVAILABLE' ? undefined : known)
  }

  #mayRepeat({ answered, taken, error }: CallEnd): boolean {
    return mayRepeat({
      method: this.request.method,
      repeatable: this.data === undefined && (this.body === null || this.source !== undefined),
      answered,
      // It said itself that it has not begun (FastCGI 1.0, 5.5), or it cannot have.
      untouched: !taken || (error instanceof GatewayError && error.code === 'UNAVAILABLE'),
    })
  }
}

/** The connection was lost without a byte of an answer: most likely it had been closed before the request reached it. */
function isStale(how: CallEnd): boolean {
  return !how.answered && how.error instanceof GatewayError && how.error.code === 'UPSTREAM_TRUNCATED'
}
