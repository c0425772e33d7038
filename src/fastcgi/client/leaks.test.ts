import { mkdtempSync, rmSync } from 'node:fs'
import { request as ask } from 'node:http'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { serveHttp } from '../../http/index.ts'
import * as wire from '../../../test/wire.ts'
import { RecordDecoder } from '../decoder.ts'
import { PairDecoder } from '../params.ts'
import { Type } from '../record.ts'
import { fastcgi } from './client.ts'
import type { FastCgiOptions } from './options.ts'

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
