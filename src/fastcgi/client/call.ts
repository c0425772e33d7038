// One request on its way to an application: what is sent, within which bounds, and who hears how it went.

import type { ByteStream, ByteString, FilterData, GatewayRequest, GatewayResponse } from '../../core/index.ts'

/** How a request left its connection. */
export interface CallEnd {
  /** The connection can take the next request. */
  readonly reusable: boolean
  /** The program's exit status, where END_REQUEST came. */
  readonly appStatus?: number
  /** What the client of this request got in place of a whole answer. */
  readonly error?: unknown
  /** Any byte about this request has come back. */
  readonly answered: boolean
  /** false only when not a byte of the request can have reached the application: it is safe with another one. */
  readonly taken: boolean
}

/** Who waits for the answer of a request: one of the two, once. */
export interface Reply {
  resolve(response: GatewayResponse | Promise<GatewayResponse>): void
  reject(error: unknown): void
}

/** One request, ready to be sent. */
export interface Call {
  /** Whose it is: its method says whether the answer has a body, its signal that nobody waits. */
  readonly request: GatewayRequest
  /** What `encodeRequest` made: it also tells the request id and whether the connection is kept. */
  readonly head: ByteString
  /** The request body: in memory, as a stream (of `request.contentLength` bytes where that is known), or none. */
  readonly body: ByteStream | readonly Uint8Array[] | null
  /** What a filter gets as FCGI_DATA, after STDIN. Cancelled by whoever made the call. */
  readonly data?: FilterData | undefined
  /** How much of a reply, and for how many milliseconds, may wait for its end to become a whole value. 0: none. */
  readonly hold: { readonly bytes: number; readonly time: number }
  /** Bytes of the reply's header block. Default 64 KiB. */
  readonly headLimit?: number
  /** Bytes of the reply's body. Default: no limit. */
  readonly bodyLimit?: number
  /** Milliseconds until the reply's head is there, and between two reads after it; not counted while we wait for the client. */
  readonly deadlines: { readonly firstByte: number; readonly between: number }
  /** When all of it must be over, by `performance.now()`. Default, and 0: no limit. */
  readonly until?: number
  /** Bytes and milliseconds that are read on for a reply that nobody wants any more. Default 1 MiB, 5,000 ms. */
  readonly drain?: { readonly bytes: number; readonly time: number }
  /** What happens when the reader leaves: `close` ends the connection, which is FastCGI's abort; `drain` reads on, to keep it. Default `close`. */
  readonly onCut?: 'drain' | 'close'
  /** `Location: /path` alone becomes an internal redirect for the site to resolve. Default false: an ordinary 302. */
  readonly localRedirects?: boolean
  /** A line of FCGI_STDERR. */
  stderr?(line: string): void
  /** Exactly once; when the reply is whole, before it is handed on: the next request can be sent from here. */
  onEnd(how: CallEnd): void
  /** Asked after `onEnd`, for a request that failed before its reply was handed on: another try, which then answers in its place. */
  again?(error: unknown): Promise<GatewayResponse> | undefined
}
