// What a request, a response and the four shapes around them are. Everything else in Viaduct is one of these.
//
// A Server turns what arrives at a door into a GatewayRequest and calls an Application; an Application returns a
// GatewayResponse; a Middleware makes one Application out of another; a Backend is an Application that owns something
// (processes, connections) and so must be closed. The rules in prose are checked by lint.ts.

import type { Duplex } from 'node:stream'
import type { FileSlice } from './file-slice.ts'
import type { PoolStatus } from './status.ts'

/** A string whose every char is one byte, 0 to 255 (the convention of PEP 3333): length in chars is length in bytes. */
export type ByteString = string

/** `[name, value, name, value, ...]`: order, case and repeats are kept. Node's `rawHeaders` already is one. */
export type HeaderList = readonly ByteString[]

/** A request's header fields. */
export interface HeaderView {
  /** As received. */
  readonly list: HeaderList
  /** The field's value by its lower-case name; repeats joined with `, ` (`; ` for Cookie), as RFC 9110, 5.3 allows. */
  get(lowerCaseName: string): ByteString | undefined
}

/** A request's meta-variables (RFC 3875, 4.1). */
export interface VariableView {
  /** What neither a member of the request nor a header field gives: `[name, value, ...]`, for instance SCRIPT_FILENAME, REMOTE_USER. */
  readonly own: HeaderList
  /** One variable, wherever it comes from. */
  get(name: string): ByteString | undefined
}

/** One end of the connection. `port` is 0 and `address` empty for a unix socket or where nothing is known. */
export interface Endpoint {
  /** An IP address as text, without brackets. */
  readonly address: ByteString
  /** 0 to 65,535. */
  readonly port: number
}

/** Where lines for the log of this request go: wsgi.errors, FCGI_STDERR, a program's standard error. */
export interface ErrorStream {
  /** Text, which need not be a whole line. */
  write(text: string): void
}

/**
 * What became of the answer, as far as the client is concerned.
 * `sent`: whole. `cut`: the client left, or the door closed on it. `failed`: the application threw or its body broke.
 * `discarded`: this was one attempt of several and another one was answered.
 */
export type OutcomeKind = 'sent' | 'cut' | 'failed' | 'discarded'
/** How a request ended, as `onFinish` hears it. */
export interface Outcome {
  /** How. */
  readonly kind: OutcomeKind
  /** The status that was sent; 0 when none was. */
  readonly status: number
  /** Bytes of body that were handed to the client's connection. */
  readonly bytes: number
  /** What the application threw, its body failed with, or the client left for. */
  readonly error?: unknown
}

/** Takes chunks as they arrive. Chunks are immutable views: the sink may keep them, nobody may write to them again. */
export interface ByteSink {
  /** @returns false when the sink has enough for now: the source stops until `resume()`. */
  write(chunk: Uint8Array): boolean
  /** Everything that one socket read brought, so that it can leave as one write. */
  writeAll(chunks: readonly Uint8Array[]): boolean
  /** Exactly one of `end` and `fail` is called, once, and nothing after it. */
  end(): void
  /** The stream broke: what came so far is not all. */
  fail(error: unknown): void
  /** Instead of both: somebody cancelled the stream, perhaps this sink itself. For who waits for the end and is not the only one who may cancel. */
  cancelled?(reason: unknown): void
}

/** Bytes that arrive over time. Read at most once, either by iterating or by `pushTo`. */
export interface ByteStream extends AsyncIterable<Uint8Array> {
  /** Nobody wants the rest. Idempotent, and valid before the first read, where a generator would not hear of it. */
  cancel(reason?: unknown): void
  /** The fast lane: hands chunks to `sink` as they come (never before it returns). `resume` lifts a `false` of the sink. */
  pushTo?(sink: ByteSink): { resume(): void }
  /**
   * The reader is the only one who holds the chunks, so that it may give back their memory with `release` once it is done with them.
   * `'buffers'`: nor does anybody hold anything else of the buffers they are parts of, so that `releaseBuffers` may have all that came at once.
   */
  readonly exclusive?: boolean | 'buffers'
}

/** The second input stream of FastCGI's Filter role (FastCGI 1.0, 6.4). */
export interface FilterData {
  /** The bytes to filter. Read at most once. */
  readonly body: ByteStream
  /** In bytes. */
  readonly length: number
  /** Unix time in seconds. */
  readonly lastModified: number
}

/** A request, whatever door it came through. Never changed: `derive` makes another one. */
export interface GatewayRequest {
  /** As received: `GET`. A token (RFC 9110, 5.6.2), upper and lower case told apart. */
  readonly method: ByteString
  /** As received: REQUEST_URI. */
  readonly target: ByteString
  /** Where this application is mounted: empty, or `/` and a path that does not end in `/`. */
  readonly scriptName: ByteString
  /** What is left of the path, percent-decoded once. Dot segments are already resolved. */
  readonly pathInfo: ByteString
  /** The same as received, for those who need `%2F`; kinds that name files by it refuse such a path. */
  readonly rawPathInfo: ByteString
  /** Without the `?`. */
  readonly queryString: ByteString
  /** `HTTP/1.1` and the like. */
  readonly protocol: ByteString
  /** What the client used, as far as this door or a trusted proxy knows. */
  readonly scheme: 'http' | 'https'
  /** The header fields, as received. */
  readonly headers: HeaderView
  /** The meta-variables: what CGI programs and FastCGI applications get. */
  readonly variables: VariableView
  /** Read at most once, at the reader's pace. */
  readonly body: ByteStream
  /** 0: there is no body. undefined: unknown until it ends. */
  readonly contentLength: number | undefined
  /** The client, or the last proxy that is not trusted. */
  readonly remote: Endpoint
  /** Our own end: SERVER_ADDR and SERVER_PORT. */
  readonly local: Endpoint
  /** Aborts when the client has gone or a deadline has passed. Made on first use. */
  readonly signal: AbortSignal
  /** For what this request has to say to the log. */
  readonly errors: ErrorStream
  /** Called exactly once, always, when the matter is over for the client. At once if it already is. */
  onFinish(callback: (outcome: Outcome) => void): void
  /** Work that goes on after the response; `close(grace)` of the server waits for it. */
  waitUntil(work: Promise<unknown>): void
  /** Sends an interim 1xx response, where the door can. */
  readonly inform?: ((status: number, headers: HeaderList) => void) | undefined
  /** Answers 101 and takes over the connection, where the door can. */
  readonly upgrade?: ((status: number, headers: HeaderList) => Duplex) | undefined
  /** What a filter is to filter; there only in FastCGI's Filter role. */
  readonly filterData?: FilterData
}

/** The answer: a value. */
export interface GatewayResponse {
  /** A final one, 200 to 599. */
  readonly status: number
  /** Reason phrase of HTTP/1. Default: the usual one. */
  readonly reason?: ByteString
  /** Fields to send. Framing (Transfer-Encoding, Connection) is the door's business. */
  readonly headers: HeaderList
  /** A string is UTF-8 text. */
  readonly body: ResponseBody
  /** Asked for after the body has ended. */
  readonly trailers?: () => HeaderList | Promise<HeaderList>
  /** CGI's local redirect, X-Sendfile: for the site to resolve. A door that meets one answers 500. */
  readonly internal?: { readonly redirect: ByteString } | { readonly file: string }
}
/**
 * What a response may have as its body: nothing, text (UTF-8), bytes, a part of an open file, or a stream. Whoever takes the response reads it, closes it or cancels it.
 */
export type ResponseBody = null | string | Uint8Array | FileSlice | ByteStream

/** Answers a request. What it throws or rejects with is the status of a `GatewayError`, else 500; the client is told nothing of the message. */
export type Application = (request: GatewayRequest) => GatewayResponse | Promise<GatewayResponse>
/** Folded once, at construction, never per request. */
export type Middleware = (next: Application) => Application

/** An application that owns something. */
export interface Backend extends AsyncDisposable {
  (request: GatewayRequest): GatewayResponse | Promise<GatewayResponse>
  /** Resolves when it can answer; rejects with the reason why it never will. */
  ready(): Promise<void>
  /** Takes nothing new, waits up to `grace` milliseconds for what runs, then ends it. Idempotent. */
  close(grace?: number): Promise<void>
  /** The pools that it owns, and those of its members, at this moment. Left out where there can be none. */
  readonly pools?: (() => readonly PoolStatus[]) | undefined
}

/** Where a server listens. */
export type Address = { readonly host: string; readonly port: number } | { readonly path: string }

/** A door that listens, and hands what arrives to an application. */
export interface Server extends AsyncDisposable {
  /** Where it listens, with the real port. */
  readonly address: Address
  /** Requests that come from now on get this application. The old one is not closed: servers never close applications. */
  swap(application: Application): void
  /** Accepts nothing new, waits up to `grace` milliseconds for what runs, then cuts it. Idempotent. */
  close(grace?: number): Promise<void>
}

/** What Viaduct writes its log to: the shape of pino and of most loggers. */
export interface Log {
  /** `fields` is plain data beside the message; `err` in it is an error. */
  debug(fields: object, message: string): void
  /** What somebody who looks after it wants to know. */
  info(fields: object, message: string): void
  /** What somebody should look at. */
  warn(fields: object, message: string): void
  /** What went wrong for somebody. */
  error(fields: object, message: string): void
}
