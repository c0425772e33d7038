// An Application as a listener of node:http: for `http.createServer`, and as a handler in express.

import type { IncomingMessage, OutgoingHttpHeaders, ServerResponse } from 'node:http'
import { GatewayError, describe, emptyBody, parseTarget, percentDecode, standardError } from '../core/index.ts'
import type { Application, HeaderList, Log } from '../core/index.ts'
import { BridgedRequest } from './bridged.ts'
import { endpoint } from './connection.ts'
import { refusal } from './incoming.ts'
import { ReadableBody } from './readable-body.ts'
import { Relay } from './relay.ts'
import type { RelayHost, Wire } from './relay.ts'

/** What a listener made of an application is told. */
export interface ToNodeOptions {
  /** Default: warnings and errors go to standard error, a line each. */
  readonly log?: Log
}

/**
 * An Application as a listener of node's own server, whose limits and deadlines are that server's then. Mounted in express,
 * `req.baseUrl` becomes the request's scriptName. The body must not have been read before. Upgrades are not offered.
 */
export function toNode(application: Application, options: ToNodeOptions = {}): (req: IncomingMessage, res: ServerResponse) => void {
  const log = options.log ?? standardError
  return (req, res) => {
    const wire = new ResponseWire(req, res)
    const relay = new Relay(req.method ?? '', wire, hostOf(req, log))
    const { socket } = req
    let flushed = false
    res.on('drain', () => relay.drained())
    // Node says `finish` even when the last write failed, so it must be looked at before node lets go of the socket.
    res.prependListener('finish', () => {
      flushed = !socket.destroyed && socket.errored === null
      // Begun and given up: node takes only what nobody has touched off the wire.
      if (!req.readableEnded) req.resume()
    })
    res.on('close', () => relay.closed(flushed))
    const request = requestOf(req, res, relay, log)
    if (request instanceof GatewayError) relay.refuse(request)
    else relay.run(application, request)
  }
}

type Mounted = IncomingMessage & { originalUrl?: string; baseUrl?: string }

function requestOf(req: Mounted, res: ServerResponse, relay: Relay, log: Log): BridgedRequest | GatewayError {
  const path = parseTarget(req.url ?? '')
  if (typeof path === 'string') return refusal(400, `the target: ${path}`)
  const { socket } = req
  const { method = '', rawHeaders } = req
  const target = req.originalUrl ?? req.url ?? ''
  const stated = req.headers['content-length']
  const contentLength = req.headers['transfer-encoding'] !== undefined ? undefined : Number(stated ?? 0)
  return new BridgedRequest({
    method,
    target,
    path,
    scriptName: percentDecode(req.baseUrl ?? '') ?? '',
    protocol: `HTTP/${req.httpVersion}`,
    scheme: 'encrypted' in socket ? 'https' : 'http',
    list: rawHeaders,
    body: contentLength === 0 ? emptyBody : new ReadableBody(req, { limit: 0, timeout: 0, length: contentLength }),
    contentLength,
    remote: endpoint(socket.remoteAddress, socket.remotePort),
    local: endpoint(socket.localAddress, socket.localPort),
    errors: { write: (text) => log.warn({ method, target }, text.trimEnd()) },
    scope: relay.scope,
    ...(req.httpVersion !== '1.0' && { inform: (status, headers) => inform(res, status, headers) }),
  })
}

function inform(res: ServerResponse, status: number, headers: HeaderList): void {
  if (!Number.isInteger(status) || status < 100 || status > 199 || status === 101) {
    throw new GatewayError('CONTRACT', {
      status: 500,
      message: `http: the application's answer cannot be sent: an interim status of ${status}`,
    })
  }
  if (res.headersSent || res.destroyed) return
  const hints: Record<string, string> = {}
  for (let i = 0; i < headers.length; i += 2) hints[headers[i]!.toLowerCase()] = headers[i + 1]!
  // What node can say by itself.
  if (status === 102) res.writeProcessing()
  else if (status === 103) res.writeEarlyHints(hints)
}

class ResponseWire implements Wire {
  readonly #req: IncomingMessage
  readonly #res: ServerResponse
  #whole = false

  constructor(req: IncomingMessage, res: ServerResponse) {
    this.#req = req
    this.#res = res
  }

  head(status: number, reason: string, list: HeaderList, whole: string | Uint8Array | undefined): void {
    const res = this.#res
    const fields = grouped(list)
    // One by one: what is wrapped around `writeHead` by other middleware knows no header lists.
    for (const name in fields) res.setHeader(name, fields[name]!)
    res.writeHead(status, reason)
    if (whole === undefined) return
    this.#whole = true
    // Node joins head and text into one string of one encoding: as UTF-8 it would change header bytes over 0x7f.
    res.end(typeof whole === 'string' ? Buffer.from(whole) : whole)
  }

  flush(): void {
    // As latin1: by `flushHeaders` node would send header bytes over 0x7f as UTF-8.
    if (!this.#res.writableEnded) this.#res.write('', 'latin1')
  }

  write(chunks: readonly Uint8Array[]): boolean {
    const res = this.#res
    if (res.destroyed) return true
    res.cork()
    let room = true
    for (const chunk of chunks) room = res.write(chunk)
    res.uncork()
    return room
  }

  end(trailers: HeaderList): void {
    if (this.#whole) return
    const pairs: [string, string][] = []
    for (let i = 0; i < trailers.length; i += 2) pairs.push([trailers[i]!, trailers[i + 1]!])
    if (pairs.length > 0) this.#res.addTrailers(pairs)
    this.#res.end()
  }

  abort(): void {
    const { socket } = this.#req
    // To HTTP/1.0 the end of the connection is the end of the body: only a reset tells.
    if (this.#req.httpVersion === '1.0' && socket.remoteAddress !== undefined && !('encrypted' in socket)) socket.resetAndDestroy()
    else socket.destroy()
  }
}

/** By name, repeats together. */
function grouped(list: HeaderList): OutgoingHttpHeaders {
  const names = new Map<string, string>()
  const fields: OutgoingHttpHeaders = {}
  for (let i = 0; i < list.length; i += 2) {
    const lower = list[i]!.toLowerCase()
    const name = names.get(lower) ?? list[i]!
    names.set(lower, name)
    const before = fields[name]
    if (before === undefined) fields[name] = list[i + 1]!
    else fields[name] = [...(Array.isArray(before) ? before : [String(before)]), list[i + 1]!]
  }
  return fields
}

function hostOf(req: IncomingMessage, log: Log): RelayHost {
  return {
    report(error, status) {
      const fields = {
        method: req.method ?? '',
        target: req.url ?? '',
        remote: req.socket.remoteAddress ?? '',
        error: describe(error),
        status,
      }
      if (status === 0) log.error(fields, `http: an answer broke off: ${fields.error}`)
      else if (status < 500) log.debug(fields, fields.error)
      else if (error instanceof GatewayError) log.error(fields, fields.error)
      else
        log.error({ ...fields, stack: error instanceof Error ? error.stack : undefined }, `http: the application failed: ${fields.error}`)
    },
    track: (work) => void work.catch((error: unknown) => log.error({}, `http: work after a response failed: ${describe(error)}`)),
  }
}
