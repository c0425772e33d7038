// A capture between two ends made of bytes: what passes is what was said, and what is written down is what passed.

import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Server, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { standing } from '../../test/scripted.ts'
import type { Exchange } from './exchange.ts'
import type { Frame } from './format.ts'
import { startCapture } from './proxy.ts'
import type { Capture, CaptureOptions } from './proxy.ts'
import { readCapture } from './reader.ts'

const begin = (id = 1): Buffer => wire.record(1, id, Buffer.from([0, 1, 1, 0, 0, 0, 0, 0]))
const params = (...pairs: readonly Buffer[]): Buffer => Buffer.concat([wire.record(4, 1, Buffer.concat(pairs)), wire.record(4, 1)])
const asked = Buffer.concat([begin(), params(wire.pair('REQUEST_URI', '/a'), wire.pair('HTTP_COOKIE', 'secret')), wire.record(5, 1)])
const answered = wire.answer(1, 'Content-Type: text/plain\r\nSet-Cookie: secret\r\n\r\nhello')

let folder: string
let application: Server
let capture: Capture
/** The application's ends of its connections. */
let inside: Socket[]
let exchanges: Exchange[]
let notes: string[]

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-capture-'))
  inside = []
  exchanges = []
  notes = []
  application = createServer({ allowHalfOpen: true }, (socket) => {
    inside.push(socket.on('error', () => {}))
  })
  application.listen(0, '127.0.0.1')
  await once(application, 'listening')
})
afterEach(async () => {
  await capture.close()
  for (const socket of inside) socket.destroy()
  application.close()
  rmSync(folder, { recursive: true, force: true })
})

const out = (): string => join(folder, 'out')

async function start(options: Partial<CaptureOptions> = {}): Promise<void> {
  const { port } = application.address() as { port: number }
  capture = await startCapture({
    listen: {},
    to: { host: '127.0.0.1', port },
    out: out(),
    onExchange: (exchange) => exchanges.push(exchange),
    onNote: (note) => notes.push(note),
    ...options,
  })
}

/** A web server's connection, and the application's end of it. */
async function open(): Promise<{ client: Socket; app: Socket }> {
  const { port } = capture.address as { port: number }
  const client = connect({ host: '127.0.0.1', port, allowHalfOpen: true }).on('error', () => {})
  await once(client, 'connect')
  const app = await poll(() => inside.find((socket) => !known.has(socket)))
  known.add(app)
  return { client, app }
}
const known = new WeakSet<Socket>()

/** Unlike `once`, does not mind an error on the way. */
function closed(socket: Socket): Promise<void> {
  return new Promise((resolve) => socket.once('close', () => resolve()))
}

async function poll<T>(check: () => T | undefined | false): Promise<T> {
  for (const end = performance.now() + 5000; ;) {
    const found = check()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`waited for: ${check}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}

/** Exactly so many bytes. */
async function take(socket: Socket, length: number): Promise<Buffer> {
  const found: Buffer[] = []
  let total = 0
  while (total < length) {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) {
      await once(socket, 'readable')
      continue
    }
    found.push(chunk)
    total += chunk.length
  }
  expect(total).toBe(length)
  return Buffer.concat(found)
}

async function frames(): Promise<Frame[]> {
  await capture.close()
  const found: Frame[] = []
  expect(await readCapture(out(), (frame) => found.push(frame))).toEqual({ bytes: statSync(out()).size })
  return found
}

describe('what passes', () => {
  test('is what was said, however it was cut, and is written down record by record', async () => {
    await start()
    const { client, app } = await open()
    for (const byte of wire.bytewise(asked)) client.write(byte)
    expect((await take(app, asked.length)).equals(asked)).toBe(true)
    app.write(answered)
    expect((await take(client, answered.length)).equals(answered)).toBe(true)
    expect(exchanges).toMatchObject([{ number: 1, bodyLength: 5, head: { status: 200 }, requestWhole: true, problems: [] }])
    client.destroy()
    const found = await frames()
    const records = found.filter((frame) => frame.kind === 'record')
    expect(records.map(({ direction, record, connection }) => [connection, direction, record.type, record.length])).toEqual([
      [1, 'to', 1, 8],
      [1, 'to', 4, 34],
      [1, 'to', 4, 0],
      [1, 'to', 5, 0],
      [1, 'from', 6, 53],
      [1, 'from', 6, 0],
      [1, 'from', 3, 8],
    ])
    expect(found.map(({ kind }) => kind).slice(0, 2)).toEqual(['meta', 'open'])
    expect(found.at(-1)).toMatchObject({ kind: 'finish', reason: 'stopped' })
    const times = found.map(({ time }) => time)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })

  test('holds secrets, and what is written down does not', async () => {
    await start()
    const { client, app } = await open()
    client.write(asked)
    expect((await take(app, asked.length)).includes('secret')).toBe(true)
    app.write(answered)
    expect((await take(client, answered.length)).includes('secret')).toBe(true)
    await capture.close()
    const file = readFileSync(out())
    expect(file.includes('secret')).toBe(false)
    expect(file.includes('HTTP_COOKIE******')).toBe(true)
    expect(file.includes('Set-Cookie: ******\r\n')).toBe(true)
    expect(statSync(out()).mode & 0o777).toBe(0o600)
  })

  test('need not be FastCGI: it passes, is not written down, and that is said', async () => {
    await start()
    const { client, app } = await open()
    const http = Buffer.from('GET / HTTP/1.1\r\nAuthorization: secret\r\n\r\n')
    client.write(http)
    expect((await take(app, http.length)).equals(http)).toBe(true)
    app.write('HTTP/1.1 200 OK\r\n\r\n')
    await take(client, 19)
    expect(notes).toEqual([
      'connection 1: what the web server says is no FastCGI (it begins with "GET / HT"); it passes unrecorded',
      'connection 1: what the application says is no FastCGI (it begins with "HTTP/1.1"); it passes unrecorded',
    ])
    expect((await frames()).filter(({ kind }) => kind === 'foreign')).toHaveLength(2)
    expect(readFileSync(out()).includes('secret')).toBe(false)
  })

  test('has half closes: an end is an end, and the other direction goes on', async () => {
    await start()
    const { client, app } = await open()
    client.end(asked)
    await take(app, asked.length)
    app.resume()
    await once(app, 'end')
    app.write(answered)
    await take(client, answered.length)
    app.end()
    client.resume()
    await once(client, 'end')
    await poll(() => exchanges.length === 1)
    const found = await frames()
    expect(found.filter(({ kind }) => kind === 'half-close')).toMatchObject([{ direction: 'to' }, { direction: 'from' }])
    expect(found.at(-2)).toMatchObject({ kind: 'close', reason: '' })
  })

  test('that ends within a record is written down as far as it came', async () => {
    await start()
    const { client, app } = await open()
    client.write(asked)
    await take(app, asked.length)
    app.end(wire.stdout(1, 'A: b\n\nhal', { length: 99, padding: 0 }))
    client.resume()
    await once(client, 'end')
    client.end()
    await poll(() => exchanges.length === 1)
    expect(exchanges[0]).toMatchObject({ end: undefined, bodyLength: 3, problems: ['STDOUT ends within a record'] })
    expect((await frames()).findLast((frame) => frame.kind === 'record')).toMatchObject({
      record: { length: 99, content: Buffer.from('A: b\n\nhal') },
    })
  })

  test.each([
    ['an application that breaks off', 'app', 'the application broke the connection'],
    ['a web server that breaks off', 'client', 'the web server broke the connection'],
  ] as const)('%s does so for the other side too: a reset, no orderly end', async (_, who, reason) => {
    await start()
    const both = await open()
    both.client.write(asked)
    await take(both.app, asked.length)
    const other = who === 'app' ? both.client : both.app
    const broken = closed(other)
    other.resume()
    both[who].resetAndDestroy()
    await broken
    expect(other.errored).toMatchObject({ code: 'ECONNRESET' })
    expect(exchanges).toMatchObject([{ end: undefined }])
    expect((await frames()).findLast(({ kind }) => kind === 'close')).toMatchObject({ reason: expect.stringContaining(reason) })
  })

  test('in either direction waits for who does not read, and does not fill the memory', async () => {
    await start()
    const { client, app } = await open()
    client.write(asked)
    await take(app, asked.length)
    const block = wire.stdout(1, Buffer.alloc(65_528, 'x'))
    let sent = 0
    const pump = (): void => {
      while (sent < 1000 && app.write(block)) sent++
    }
    app.on('drain', pump)
    app.write(wire.stdout(1, 'A: b\n\n'))
    pump()
    // 64 MB would come; what the kernel and two sockets hold is a few.
    expect(await standing(() => sent)).toBeLessThan(400)
    expect(exchanges).toEqual([])
    let received = 0
    client.on('data', (chunk: Buffer) => (received += chunk.length))
    await poll(() => sent === 1000)
    app.write(wire.endRequest(1))
    await poll(() => exchanges.length === 1)
    expect(exchanges[0]!.bodyLength).toBeGreaterThanOrEqual(1000 * 65_528)
    await poll(() => received >= 1000 * block.length)
  })
})

describe('hostile bytes', () => {
  test('pass as they are, spoilt at random in both directions, and the file can be read', async () => {
    await start()
    const next = wire.random(7)
    for (let round = 0; round < 25; round++) {
      const [to, from] = [asked, answered].map((bytes) => {
        const spoilt = Buffer.from(bytes)
        for (let i = 0; i < next(4); i++) spoilt[next(spoilt.length)] = next(256)
        return spoilt.subarray(0, 1 + next(spoilt.length))
      }) as [Buffer, Buffer]
      const { client, app } = await open()
      client.write(to)
      expect((await take(app, to.length)).equals(to)).toBe(true)
      app.write(from)
      expect((await take(client, from.length)).equals(from)).toBe(true)
      client.resetAndDestroy()
      await closed(app.resume())
    }
    expect((await frames()).filter(({ kind }) => kind === 'close')).toHaveLength(25)
  })
})

describe('several connections', () => {
  test('are told apart', async () => {
    await start()
    const [first, second] = [await open(), await open()]
    second.client.write(asked)
    first.client.write(asked)
    await Promise.all([take(first.app, asked.length), take(second.app, asked.length)])
    second.app.write(answered)
    await take(second.client, answered.length)
    first.app.write(wire.answer(1, 'Status: 404\n\n'))
    await poll(() => exchanges.length === 2)
    expect(exchanges.map(({ connection, head }) => [connection, head?.status])).toEqual([
      [2, 200],
      [1, 404],
    ])
  })
})

describe('a limit', () => {
  test('ends the recording and not the traffic', async () => {
    await start({ limit: 4096 })
    const { client, app } = await open()
    const blocks = Buffer.concat(Array.from({ length: 20 }, () => wire.stdout(1, Buffer.alloc(1000, 'x'))))
    client.write(asked)
    await take(app, asked.length)
    app.write(blocks)
    await take(client, blocks.length)
    app.write(wire.endRequest(1))
    await poll(() => exchanges.length === 1)
    expect(notes).toEqual(['the file has reached its limit of 4096 bytes; nothing more is recorded, and the traffic goes on'])
    expect(await capture.close()).toMatchObject({ failed: false, stopped: expect.stringContaining('limit') })
    expect(statSync(out()).size).toBeLessThanOrEqual(4096)
    expect((await frames()).at(-1)).toMatchObject({ kind: 'finish', reason: 'limit' })
  })
})

describe('the end', () => {
  test('waits for what runs, and ends kept connections in order', async () => {
    await start()
    const [busy, idle] = [await open(), await open()]
    busy.client.write(asked)
    await take(busy.app, asked.length)
    for (const { client, app } of [busy, idle]) {
      client.on('end', () => client.end())
      app.on('end', () => app.end())
    }
    const result = capture.close(5000)
    idle.client.resume()
    idle.app.resume()
    await closed(idle.client)
    expect(idle.client.errored).toBeNull()
    busy.app.write(answered)
    busy.app.resume()
    await take(busy.client, answered.length)
    busy.client.resume()
    expect(await result).toMatchObject({ connections: 2, requests: 1, failed: false })
    expect((await frames()).filter(({ kind }) => kind === 'close')).toMatchObject([{ reason: '' }, { reason: '' }])
  })

  test('comes at once when it is asked for again', async () => {
    await start()
    const { client, app } = await open()
    client.write(asked)
    await take(app, asked.length)
    const first = capture.close(600_000)
    expect(await capture.close()).toBe(await first)
    expect((await frames()).at(-1)).toMatchObject({ kind: 'finish', reason: 'stopped' })
  })

  test('comes after the grace all the same', async () => {
    await start()
    const { client, app } = await open()
    client.write(asked)
    await take(app, asked.length)
    expect(await capture.close(20)).toMatchObject({ requests: 1 })
    expect(exchanges).toMatchObject([{ end: undefined }])
  })
})

describe('what cannot be', () => {
  test('is said: an application that is not there', async () => {
    await start({ to: { path: join(folder, 'none.sock') } })
    const { port } = capture.address as { port: number }
    const client = connect({ host: '127.0.0.1', port }).on('error', () => {})
    await closed(client)
    expect(notes[0]).toMatch(/^connection 1: cannot connect to unix:.*none\.sock: ENOENT/)
  })

  test('is refused: a file that exists, and is left as it is', async () => {
    await start()
    await expect(startCapture({ listen: {}, to: '127.0.0.1:9', out: out() })).rejects.toThrow(
      /cannot write .*out: it exists; remove it or choose another name/,
    )
  })

  test('is refused: an address that is taken, and no file is left behind', async () => {
    await start()
    const { port } = capture.address as { port: number }
    const second = join(folder, 'second')
    await expect(startCapture({ listen: { port }, to: '127.0.0.1:9', out: second })).rejects.toThrow(
      /capture: cannot listen on .*EADDRINUSE/,
    )
    expect(statSync(second, { throwIfNoEntry: false })).toBeUndefined()
  })
})
