// The servers of the conformance suite, each behind one kind of client. A new server adds one entry.

import { mkdtempSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http'
import { connect as connectHttp2, constants, type ClientHttp2Session } from 'node:http2'
import { request as httpsRequest } from 'node:https'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Address, Application } from '../../src/core/index.ts'
import { fastcgi, serveFastCgi } from '../../src/fastcgi/index.ts'
import { serveHttp, toNode } from '../../src/http/index.ts'
import { serveMemory } from '../../src/testing/index.ts'
import { CertificateFolder } from '../certificates.ts'
import type { Behaviour } from './behaviours.ts'

/** What a client sends. */
export interface Asked {
  readonly target: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  /** Text and bytes have a Content-Length; an array of chunks is sent chunked. */
  readonly body?: string | Buffer | readonly Buffer[]
  /** The client leaves once it has this many bytes of body. */
  readonly leaveAfter?: number
  /** The client leaves after so many milliseconds. What it got is then a status of 0, unless there was an answer. */
  readonly leaveAt?: number
  /** Milliseconds that the client takes no bytes after its first ones. */
  readonly pause?: number
}

/** What a client got. */
export interface Got {
  readonly status: number
  readonly reason: string
  /** As on the wire. */
  readonly headers: readonly string[]
  readonly body: Buffer
  /** The body as it came. */
  readonly pieces: readonly Uint8Array[]
  readonly trailers: readonly string[]
  readonly informed: readonly number[]
  /** Whether the client can tell that this is all. */
  readonly whole: boolean
}

export interface OpenDoor {
  ask(asked: Asked): Promise<Got>
  close(grace?: number): Promise<void>
}

export interface Door {
  readonly name: string
  /** Why it cannot have a behaviour. */
  readonly lacks?: Partial<Record<Behaviour, string>>
  open(application: Application): Promise<OpenDoor>
}

const memory: Door = {
  name: 'memory',
  open: (application) => {
    const server = serveMemory(application)
    return Promise.resolve({
      async ask({ body, leaveAfter, leaveAt, pause, headers, ...parts }) {
        const exchange = server.request({
          ...parts,
          headers: headers ?? {},
          ...(body !== undefined && { body }),
          ...(pause !== undefined && { reader: 'held' }),
        })
        if (pause !== undefined) setTimeout(() => exchange.release(), pause)
        if (leaveAt !== undefined) setTimeout(() => exchange.abort(), leaveAt)
        if (leaveAfter !== undefined) {
          while (exchange.received() < leaveAfter) await new Promise((resolve) => setTimeout(resolve, 1))
          exchange.abort()
        }
        const { outcome, informed, chunks, reason, ...got } = await exchange
        return {
          ...got,
          reason: reason ?? '',
          pieces: chunks,
          informed: informed.map((each) => each.status),
          whole: outcome.kind === 'sent' || got.status >= 500,
        }
      },
      close: (grace) => server.close(grace),
    })
  },
}

const http: Door = {
  name: 'http',
  open: async (application) => {
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const server = await serveHttp(application, { log })
    return { ask: (asked) => askHttp(server.address, asked), close: (grace) => server.close(grace) }
  },
}

const silent = { debug() {}, info() {}, warn() {}, error() {} }

/** A door with TLS. The certificate is made as it opens. */
async function openTls(application: Application): Promise<{ address: Address; close(grace?: number): Promise<void> }> {
  const folder = new CertificateFolder()
  const server = await serveHttp(application, { tls: folder.make('door', ['test.example']), log: silent })
  return {
    address: server.address,
    close: async (grace) => {
      await server.close(grace)
      folder.remove()
    },
  }
}

const https: Door = {
  name: 'https',
  open: async (application) => {
    const { address, close } = await openTls(application)
    return { ask: (asked) => askHttp(address, asked, httpsRequest), close }
  },
}

const http2: Door = {
  name: 'http2',
  lacks: { status: 'HTTP/2 has no reason phrases' },
  open: async (application) => {
    const { address, close } = await openTls(application)
    const client = connectHttp2(`https://127.0.0.1:${'port' in address ? address.port : 0}`, { rejectUnauthorized: false })
    client.on('error', () => {})
    return {
      ask: (asked) => askHttp2(client, asked),
      close: async (grace) => {
        client.close()
        await close(grace)
      },
    }
  },
}

function askHttp2(client: ClientHttp2Session, asked: Asked): Promise<Got> {
  const { target, method = 'GET', headers = {}, body } = asked
  const length = typeof body === 'string' || Buffer.isBuffer(body) ? { 'content-length': Buffer.byteLength(body) } : {}
  const fields = { ':path': target, ':method': method, ':authority': 'test.example', ...headers, ...length }
  const stream = client.request(fields, { endStream: body === undefined })
  const pieces: Buffer[] = []
  const informed: number[] = []
  let got: readonly string[] = []
  let trailers: string[] = []
  let status = 0
  let received = 0
  let ended = false
  const leave = (): void => stream.close(constants.NGHTTP2_CANCEL)
  if (asked.leaveAt !== undefined) setTimeout(leave, asked.leaveAt)
  stream.on('headers', (interim) => informed.push(Number(interim[':status'])))
  stream.on('response', (...all: unknown[]) => {
    status = Number((all[0] as Record<string, unknown>)[':status'])
    got = (all[2] as string[] | undefined) ?? []
  })
  stream.on('trailers', (list) => (trailers = Object.entries(list).flatMap(([name, value]) => [name, String(value)])))
  stream.on('data', (chunk: Buffer) => {
    pieces.push(chunk)
    received += chunk.length
    if (asked.leaveAfter !== undefined && received >= asked.leaveAfter) leave()
    if (asked.pause !== undefined && pieces.length === 1) {
      stream.pause()
      setTimeout(() => stream.resume(), asked.pause)
    }
  })
  stream.on('end', () => (ended = true))
  stream.on('error', () => {})
  if (Array.isArray(body)) for (const chunk of body as Buffer[]) stream.write(chunk)
  if (body !== undefined) stream.end(Array.isArray(body) ? undefined : body)
  return new Promise((resolve) => {
    stream.on('close', () => {
      const whole = ended && stream.rstCode === constants.NGHTTP2_NO_ERROR
      resolve({ status, reason: '', headers: got, body: Buffer.concat(pieces), pieces, trailers, informed, whole })
    })
  })
}

/** Node's own server, with the application as its listener. */
const node: Door = {
  name: 'node (toNode)',
  open: async (application) => {
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const server = createServer(toNode(application, { log })).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    return {
      ask: (asked) => askHttp({ host: '127.0.0.1', port }, asked),
      close: async () => {
        server.close()
        await once(server, 'close')
      },
    }
  },
}

/** Driven by our own client, behind a door of its own: what the client of a web server sees. */
const fastCgi: Door = {
  name: 'fastcgi',
  lacks: { trailers: 'FastCGI has no trailers', interim: 'FastCGI has no interim responses' },
  open: async (application) => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-conformance-'))
    const log = { debug() {}, info() {}, warn() {}, error() {} }
    const server = await serveFastCgi(application, { listen: { path: join(folder, 'socket') }, mount: '/', log })
    const client = fastcgi({ address: server.address, connections: 32 })
    const front = await memory.open(client)
    return {
      ask: (asked) => front.ask(asked),
      close: async (grace) => {
        await front.close(grace)
        await client.close(grace)
        await server.close(grace)
        rmSync(folder, { recursive: true })
      },
    }
  },
}

const NOTHING: Got = { status: 0, reason: '', headers: [], body: Buffer.alloc(0), pieces: [], trailers: [], informed: [], whole: false }

/** Only node:https looks at it. */
const INSECURE: object = { rejectUnauthorized: false }

function askHttp(address: Address, asked: Asked, open: typeof httpRequest = httpRequest): Promise<Got> {
  const { target, method = 'GET', headers = {}, body } = asked
  return new Promise((resolve, reject) => {
    const chunked = Array.isArray(body)
    const length = body === undefined || chunked ? {} : { 'Content-Length': String(Buffer.byteLength(body as Buffer)) }
    const to = 'path' in address ? { socketPath: address.path } : { host: address.host, port: address.port }
    const fields = { Host: 'test.example', ...headers, ...length }
    const outgoing = open({ ...to, method, path: target, headers: fields, agent: false, ...INSECURE })
    const informed: number[] = []
    let response: IncomingMessage | undefined
    outgoing.on('information', (information) => informed.push(information.statusCode))
    outgoing.on('error', (error) => {
      if (response !== undefined) return
      if (left) resolve(NOTHING)
      else reject(error)
    })
    let left = false
    const leave = (): void => {
      left = true
      outgoing.destroy()
    }
    if (asked.leaveAt !== undefined) setTimeout(leave, asked.leaveAt)
    outgoing.on('response', (incoming) => {
      response = incoming
      const pieces: Buffer[] = []
      let received = 0
      incoming.on('data', (chunk: Buffer) => {
        pieces.push(chunk)
        received += chunk.length
        if (asked.leaveAfter !== undefined && received >= asked.leaveAfter) leave()
        if (asked.pause !== undefined && pieces.length === 1) {
          incoming.pause()
          setTimeout(() => incoming.resume(), asked.pause)
        }
      })
      // What is cut off is an error here, and a close without `complete` there.
      incoming.on('error', () => {})
      incoming.on('close', () =>
        resolve({
          status: incoming.statusCode!,
          reason: incoming.statusMessage!,
          headers: incoming.rawHeaders,
          body: Buffer.concat(pieces),
          pieces,
          trailers: incoming.rawTrailers,
          informed,
          whole: incoming.complete,
        }),
      )
    })
    if (chunked) for (const chunk of body as Buffer[]) outgoing.write(chunk)
    outgoing.end(chunked ? undefined : body)
  })
}

export const doors: readonly Door[] = [memory, http, https, http2, node, fastCgi]
