import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { request as ask } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect as connectHttp2 } from 'node:http2'
import { request as askTls } from 'node:https'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import type { Readable } from 'node:stream'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { compose, streamOf } from '../../core/index.ts'
import type { ByteStream, Middleware } from '../../core/index.ts'
import { fromFetch, serveHttp, toFetch } from '../../http/index.ts'
import type { HttpOptions } from '../../http/index.ts'
import { accessLog, bodyLimit, timeout } from '../../middleware/index.ts'
import { CertificateFolder } from '../../../test/certificates.ts'
import * as wire from '../../../test/wire.ts'
import { RecordDecoder } from '../decoder.ts'
import { PairDecoder } from '../params.ts'
import { Type } from '../record.ts'
import { fastcgi } from './client.ts'
import type { FastCgiOptions } from './options.ts'

const silentLog = { debug() {}, info() {}, warn() {}, error() {} }
const folder = mkdtempSync(join(tmpdir(), 'viaduct-leaks-'))
afterAll(() => rmSync(folder, { recursive: true }))

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

// Each request is all of one byte, up and down, and says which in its query: `?byte=7&size=...&how=...`. Whatever else is found where
// that byte should be was another's. What the application does is said there too.
const HOWS = ['reads all', 'reads nothing', 'reads some', 'answers first', 'dies', 'dies late'] as const

interface Peer {
  readonly path: string
  /** Bytes that were not the request's own. */
  strangers: number
  requests: number
}

async function application(name: string): Promise<Peer> {
  const peer = { path: join(folder, name), strangers: 0, requests: 0 }
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('error', () => {}).on('close', () => sockets.delete(socket))
    let pairs = new PairDecoder()
    let query = new URLSearchParams()
    let id = 0
    let came = 0
    let answered = false
    const answer = (): void => {
      if (answered) return
      answered = true
      const size = Number(query.get('size'))
      const body = Buffer.alloc(size, Number(query.get('byte')))
      const parts = [wire.stdout(id, 'Content-Type: text/plain\r\n\r\n')]
      // In uneven records, with half a line of STDERR between them: reads end anywhere.
      for (let at = 0, piece = 1; at < size; at += piece) {
        piece = 1 + ((at * 7919 + size) % 40_000)
        parts.push(wire.stdout(id, body.subarray(at, at + piece)), wire.stderr(id, `at ${at} `))
      }
      socket.write(Buffer.concat([...parts, wire.endRequest(id)]))
    }
    /** What was sent meanwhile is still looked at. */
    const rest = (): void => {
      answer()
      socket.pause()
      setTimeout(() => socket.resume(), 30)
    }
    const decoder = new RecordDecoder({
      data(type, _, bytes, start, end) {
        if (type === Type.Params) return pairs.push(bytes, start, end)
        came += end - start
        const own = Number(query.get('byte'))
        for (let i = start; i < end; i++) if (bytes[i] !== own) peer.strangers++
        if (query.get('how') === 'reads some' && came > 100_000) rest()
        if (query.get('how') === 'dies' && came > 50_000) socket.destroy()
        return undefined
      },
      end(type) {
        if (type === Type.Params) {
          const list = pairs.end()
          query = new URLSearchParams(list[list.indexOf('QUERY_STRING') + 1])
          if (query.get('how') === 'reads nothing') rest()
          if (query.get('how') === 'answers first') answer()
        } else if (query.get('how') === 'dies late') socket.destroy()
        else answer()
      },
      record(type, of) {
        if (type !== Type.BeginRequest) return
        peer.requests++
        pairs = new PairDecoder()
        id = of
        came = 0
        answered = false
      },
    })
    socket.on('data', (bytes) => decoder.push(bytes))
  })
  await new Promise<void>((resolve) => server.listen(peer.path, resolve))
  closers.push(() => {
    for (const socket of sockets) socket.destroy()
    return new Promise((resolve) => server.close(resolve))
  })
  return peer
}

interface Asked {
  readonly byte: number
  readonly up: number
  readonly down: number
  readonly how: string
  readonly method: string
  /** Bytes after which the client leaves, of the body or of the answer. */
  readonly leaves: 'sending' | 'reading' | undefined
  readonly slow: boolean
}

/** What the answer had that was not the request's own: its length, or -1 for no whole answer. */
function send(port: number, { byte, up, down, how, method, leaves, slow }: Asked): Promise<{ strangers: number; length: number }> {
  return new Promise((resolve) => {
    let strangers = 0
    let length = 0
    const path = `/?byte=${byte}&size=${down}&how=${encodeURIComponent(how)}`
    const over = (whole: boolean): void => resolve({ strangers, length: whole ? length : -1 })
    const request = ask({ port, host: '127.0.0.1', path, method, headers: { 'Content-Length': up } }, (response) => {
      response.on('data', (chunk: Buffer) => {
        length += chunk.length
        if (response.statusCode === 200) for (const each of chunk) if (each !== byte) strangers++
        if (leaves === 'reading' && length > down / 2) request.destroy()
        if (!slow) return
        response.pause()
        setTimeout(() => response.resume(), 3)
      })
      response.on('end', () => over(response.statusCode === 200 && response.complete))
      response.on('error', () => over(false))
    })
    request.on('error', () => over(false))
    const body = Buffer.alloc(up, byte)
    if (leaves === 'sending') request.write(body.subarray(0, up / 2), () => request.destroy())
    else request.end(body)
  })
}

describe('of one request nothing reaches another', () => {
  test.each<[string, Partial<FastCgiOptions>, number]>([
    ['on kept connections', {}, 1],
    ['with a connection for each', { keep: false }, 2],
    ['on connections that they share', { multiplex: { memory: 65_536, directory: folder } }, 3],
    ['whose bodies are streamed', { body: 'stream' }, 4],
  ])(
    '%s, whoever dies, leaves, is slow, or answers before it has read',
    async (_, options, seed) => {
      const draw = wire.random(seed)
      const peers = [await application(`a${seed}`), await application(`b${seed}`)]
      const backend = fastcgi({ upstreams: peers.map(({ path }) => `unix:${path}`), connections: 6, health: { failures: 1e6 }, ...options })
      closers.push(() => backend.close(0))
      const server = await serveHttp(backend, { log: { debug() {}, info() {}, warn() {}, error() {} } })
      closers.push(() => server.close(0))
      const { port } = server.address as { port: number }
      let whole = 0
      let n = 0
      const one = async (): Promise<void> => {
        while (n < 200) {
          const byte = n++ % 251
          // Above 64 KiB bodies are kept in blocks that are used again; answers are streams from there.
          const asked: Asked = {
            byte,
            up: draw(4) === 0 ? draw(1000) : draw(900_000),
            down: draw(3) === 0 ? draw(1000) : draw(700_000),
            how: HOWS[draw(3) === 0 ? 1 + draw(HOWS.length - 1) : 0]!,
            method: draw(2) === 0 ? 'PUT' : 'POST',
            leaves: draw(12) === 0 ? 'sending' : draw(12) === 0 ? 'reading' : undefined,
            slow: draw(6) === 0,
          }
          const { strangers, length } = await send(port, asked)
          expect({ strangers, asked }).toEqual({ strangers: 0, asked })
          if (length === asked.down) whole++
          else if (length !== -1 && asked.leaves === undefined) throw new Error(`${length} bytes for ${JSON.stringify(asked)}`)
        }
      }
      await Promise.all(Array.from({ length: 12 }, one))
      // What was still on its way is looked at too.
      await wait(50)
      expect(peers.map((peer) => peer.strangers)).toEqual([0, 0])
      expect(whole).toBeGreaterThan(60)
    },
    60_000,
  )
})

/** Reads slowly. @returns how many of its bytes are this one. */
async function count(stream: Readable, byte: number): Promise<number> {
  let own = 0
  let n = 0
  for await (const chunk of stream as AsyncIterable<Buffer>) {
    for (const each of chunk) if (each === byte) own++
    if (n++ % 20 === 0) await wait(1)
  }
  return own
}

/** A door before an application, with `around` between. */
async function behind(around: Middleware = (next) => next, options: HttpOptions = {}): Promise<number> {
  const peer = await application(`w${closers.length}-${Math.random()}`)
  const backend = fastcgi({ address: { path: peer.path } })
  closers.push(() => backend.close(0))
  const server = await serveHttp(compose(backend, around), { log: silentLog, ...options })
  closers.push(() => server.close(0))
  return (server.address as { port: number }).port
}

// Chunks that were relayed give their memory back when they have left; not earlier, and not when somebody holds them.
describe('an answer that streams is whole', () => {
  const SIZE = 3_000_000
  const path = (byte: number): string => `/?byte=${byte}&size=${SIZE}&how=reads%20all`
  const certificates = new CertificateFolder()
  afterAll(() => certificates.remove())

  test.each(['HTTP/1.1', 'HTTP/2'])('by TLS and %s', async (protocol) => {
    const port = await behind(undefined, { tls: certificates.make(protocol.slice(-1), ['localhost']) })
    const trust = { rejectUnauthorized: false }
    if (protocol === 'HTTP/1.1') {
      const each = async (byte: number): Promise<void> => {
        const request = askTls({ port, host: '127.0.0.1', path: path(byte), ...trust }).end()
        const [response] = (await once(request, 'response')) as [IncomingMessage]
        expect(await count(response, byte)).toBe(SIZE)
      }
      await Promise.all([1, 2, 3].map(each))
      return
    }
    const session = connectHttp2(`https://127.0.0.1:${port}`, trust)
    closers.push(() => session.destroy())
    await Promise.all([1, 2, 3].map(async (byte) => expect(await count(session.request({ ':path': path(byte) }), byte)).toBe(SIZE)))
  })

  test('and in turn, to a client that asks for three at once and is slow', async () => {
    const socket = connect(await behind(), '127.0.0.1')
    closers.push(() => socket.destroy())
    const bytes = [201, 202, 203]
    socket.write(
      bytes.map((byte) => `GET ${path(byte)} HTTP/1.1\r\nHost: a\r\n${byte === 203 ? 'Connection: close\r\n' : ''}\r\n`).join(''),
    )
    const counts = new Map<number, number>()
    let last = 0
    let n = 0
    for await (const chunk of socket as AsyncIterable<Buffer>) {
      for (const each of chunk) {
        if (each < 128) continue
        if (each < last) throw new Error(`${each} after ${last}`)
        last = each
        counts.set(each, (counts.get(each) ?? 0) + 1)
      }
      if (n++ % 20 === 0) await wait(1)
    }
    expect([...counts]).toEqual(bytes.map((byte) => [byte, SIZE]))
  })

  test('to who keeps its chunks while they pass, and what is kept stays', async () => {
    const kept: Uint8Array[] = []
    async function* keeping(stream: ByteStream): AsyncGenerator<Uint8Array> {
      for await (const chunk of stream) {
        kept.push(chunk)
        yield chunk
      }
    }
    const port = await behind((next) => async (request) => {
      const response = await next(request)
      return { ...response, body: streamOf(keeping(response.body as ByteStream)) }
    })
    const [response] = (await once(ask({ port, host: '127.0.0.1', path: path(7) }).end(), 'response')) as [IncomingMessage]
    expect(await count(response, 7)).toBe(SIZE)
    expect(kept.reduce((sum, { length }) => sum + length, 0)).toBe(SIZE)
    expect(kept.every((chunk) => chunk.every((each) => each === 7))).toBe(true)
  })

  test('through the middleware that looks on, and through fetch', async () => {
    const port = await behind((next) =>
      compose(
        next,
        timeout(60_000),
        accessLog(() => {}),
        bodyLimit(1_000_000),
      ),
    )
    const [response] = (await once(ask({ port, host: '127.0.0.1', path: path(9) }).end(), 'response')) as [IncomingMessage]
    expect(await count(response, 9)).toBe(SIZE)
    const peer = await application('fetched')
    const backend = fastcgi({ address: { path: peer.path } })
    closers.push(() => backend.close(0))
    const handler = toFetch(backend)
    const again = await serveHttp(fromFetch(handler), { log: silentLog })
    closers.push(() => again.close(0))
    const fetched = await fetch(`http://127.0.0.1:${(again.address as { port: number }).port}${path(11)}`)
    const body = Buffer.from(await fetched.arrayBuffer())
    expect(body.length).toBe(SIZE)
    expect(body.every((each) => each === 11)).toBe(true)
  })
})
