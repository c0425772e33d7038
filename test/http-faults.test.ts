// What clients do to a server, by hundreds at a time: the door answers the others quickly, keeps its memory, and loses count of nothing.

import { describe, expect, test } from 'vitest'
import { Channel, collect, spool, streamOf, text } from '../src/core/index.ts'
import type { Application, OutcomeKind } from '../src/core/index.ts'
import { bodyOf, door, raw, statusOf, talk, when } from './http-raw.ts'
import type { RawClient } from './http-raw.ts'

const MIB = 1024 * 1024
const HELLO = 'GET /hello HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'

/** Opens many clients, and closes all of them when the test is over. */
async function crowd(
  address: Parameters<typeof raw>[0],
  count: number,
  wire: (index: number) => string,
): Promise<{ readonly all: RawClient[] } & AsyncDisposable> {
  const all: RawClient[] = []
  for (let i = 0; i < count; i++) all.push(await raw(address, wire(i)))
  return {
    all,
    async [Symbol.asyncDispose]() {
      for (const client of all) await client[Symbol.asyncDispose]()
    },
  }
}

/** How much the process has grown while something ran. */
async function growth(run: () => Promise<void>): Promise<number> {
  const before = process.memoryUsage().rss
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss)
  }, 20)
  try {
    await run()
  } finally {
    clearInterval(watch)
  }
  return most - before
}

describe('slow clients', () => {
  test('200 uploads that trickle do not keep a hello waiting, and all arrive', async () => {
    let busy = 0
    let most = 0
    await using open = await door(async (request) => {
      if (request.pathInfo === '/hello') return text(200, 'hello')
      const body = await spool(request.body, { memory: 4096, limit: 100 * MIB })
      // A worker would be taken only now, with the whole body at hand.
      most = Math.max(most, ++busy)
      const bytes = await collect(body.stream())
      busy--
      body.close()
      return text(200, String(bytes.length))
    })
    const size = 40_000
    await using uploads = await crowd(open.address, 200, () => `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${size}\r\n\r\n`)
    for (let sent = 0; sent < size; sent += 4000) {
      for (const client of uploads.all) client.send('x'.repeat(4000))
      if (sent + 4000 < size) expect(busy).toBe(0)
      const begin = performance.now()
      expect(bodyOf(await talk(open.address, HELLO))).toBe('hello')
      expect(performance.now() - begin).toBeLessThan(2000)
    }
    for (const client of uploads.all) expect(bodyOf(await client.until(/\r\n\r\n.+/))).toBe(String(size))
    expect(most).toBeGreaterThan(0)
  })

  test('300 heads that never end are 408, and a hello is quick beside them', async () => {
    await using open = await door(() => text(200, 'hello'), { limits: { headersTimeout: 1000 } })
    await using heads = await crowd(open.address, 300, (i) => `GET /${i} HTTP/1.1\r\nHost: a\r\nX-Slow: `)
    const begin = performance.now()
    expect(bodyOf(await talk(open.address, HELLO))).toBe('hello')
    expect(performance.now() - begin).toBeLessThan(2000)
    for (const client of heads.all) expect(statusOf(await client.closed)).toBe(408)
  })

  test('100 readers that stall are cut, and the sources of all of them stopped', async () => {
    let stopped = 0
    await using open = await door(
      () => {
        const body = new Channel({
          onCancel: () => stopped++,
          onDrain: () => fill(),
        })
        const fill = (): void => {
          while (body.write(Buffer.alloc(65_536)));
        }
        setImmediate(fill)
        return { status: 200, headers: [], body }
      },
      { limits: { writeTimeout: 300 } },
    )
    await using readers = await crowd(open.address, 100, () => '')
    for (const client of readers.all) {
      client.socket.pause()
      client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    }
    await when(() => stopped === 100, 20_000)
  })
})

describe('large bodies', () => {
  // The garbage collector lags behind buffers, so the bound is generous; a body that were kept would be far beyond it.
  const BOUND = 150 * MIB
  const SIZE = 512 * MIB

  test('go down in flat memory', async () => {
    const chunk = Buffer.alloc(65_536, 120)
    async function* source(): AsyncGenerator<Uint8Array> {
      for (let sent = 0; sent < SIZE; sent += chunk.length) yield chunk
    }
    await using open = await door(() => ({ status: 200, headers: ['Content-Length', String(SIZE)], body: streamOf(source()) }))
    const grown = await growth(async () => {
      const { get } = await import('node:http')
      const { host, port } = open.address as { host: string; port: number }
      const length = await new Promise<number>((resolve, reject) => {
        get({ host, port, agent: false }, (response) => {
          let sum = 0
          response.on('data', (part: Buffer) => {
            sum += part.length
          })
          response.on('end', () => resolve(sum))
          response.on('error', reject)
        }).on('error', reject)
      })
      expect(length).toBe(SIZE)
    })
    expect(grown).toBeLessThan(BOUND)
  })

  test('go up in flat memory, to a reader that is slower than the client', async () => {
    let read = 0
    await using open = await door(async (request) => {
      for await (const chunk of request.body) {
        read += chunk.length
        if (read % 64 === 0) await new Promise((resolve) => setImmediate(resolve))
      }
      return text(200, String(read))
    })
    const grown = await growth(async () => {
      await using client = await raw(open.address, `POST / HTTP/1.1\r\nHost: a\r\nContent-Length: ${SIZE}\r\nConnection: close\r\n\r\n`)
      const chunk = Buffer.alloc(262_144)
      for (let sent = 0; sent < SIZE; sent += chunk.length) {
        if (!client.socket.write(chunk)) await new Promise((resolve) => client.socket.once('drain', resolve))
      }
      expect(bodyOf(await client.closed)).toBe(String(SIZE))
    })
    expect(grown).toBeLessThan(BOUND)
  })
})

describe('floods', () => {
  test('of pipelined requests on one connection are cut off, in bounded memory', async () => {
    let calls = 0
    await using open = await door(() => {
      calls++
      return text(200, 'x'.repeat(10_000))
    })
    const grown = await growth(async () => {
      await using client = await raw(open.address)
      const many = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(20_000)
      for (let i = 0; i < 10; i++) client.send(many)
      await client.closed
    })
    expect(calls).toBeLessThan(200_000)
    expect(grown).toBeLessThan(150 * MIB)
    expect(bodyOf(await talk(open.address, HELLO))).toHaveLength(10_000)
  })

  test('of bytes after a refusal are not read for long', async () => {
    await using open = await door(() => text(200, 'hello'))
    await using client = await raw(open.address, 'NONSENSE\r\n\r\n')
    const more = setInterval(() => {
      if (client.socket.writableLength < 1_000_000) client.send(Buffer.alloc(100_000))
    }, 1)
    const begin = performance.now()
    expect(statusOf(await client.closed)).toBe(400)
    clearInterval(more)
    expect(performance.now() - begin).toBeLessThan(8000)
  })

  test('of noise leave the door standing', async () => {
    await using open = await door(async (request) => ({ status: 200, headers: [], body: await collect(request.body) }))
    let seed = 42
    const random = (below: number): number => {
      seed = (seed * 1_103_515_245 + 12_345) & 0x7fffffff
      return seed % below
    }
    const whole = 'POST /a?b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n'
    for (let round = 0; round < 300; round++) {
      const bytes = Buffer.from(whole, 'latin1')
      for (let i = random(4); i >= 0; i--) bytes[random(bytes.length)] = random(256)
      await using client = await raw(open.address)
      client.send(bytes)
      client.socket.end()
      const wire = await client.closed
      expect(wire === '' || /^HTTP\/1\.1 [1-5]\d\d /.test(wire), JSON.stringify(wire.slice(0, 80))).toBe(true)
    }
    expect(bodyOf(await talk(open.address, whole))).toBe('hello')
  })
})

describe('clients that leave', () => {
  test('at any moment: every request hears of its end once, and nothing stays behind', async () => {
    const outcomes = new Map<OutcomeKind, number>()
    let asked = 0
    let open_ = 0
    const application: Application = async (request) => {
      asked++
      open_++
      request.onFinish(({ kind }) => {
        open_--
        outcomes.set(kind, (outcomes.get(kind) ?? 0) + 1)
      })
      if (request.pathInfo === '/body') await collect(request.body)
      if (request.pathInfo === '/late') await new Promise((resolve) => setTimeout(resolve, 5))
      if (request.pathInfo === '/value') return text(200, 'x'.repeat(300_000))
      return { status: 200, headers: [], body: streamOf(Array.from({ length: 20 }, () => Buffer.alloc(20_000, 120))) }
    }
    await using open = await door(application, { limits: { drainTimeout: 100, bodyTimeout: 1000 } })
    const wires = [
      'POST /body HTTP/1.1\r\nHost: a\r\nContent-Length: 50000\r\n\r\n' + 'x'.repeat(20_000),
      'GET /late HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /value HTTP/1.1\r\nHost: a\r\n\r\n',
      'GET /stream HTTP/1.1\r\nHost: a\r\n\r\n',
    ]
    await Promise.all(
      Array.from({ length: 200 }, async (_, i) => {
        const client = await raw(open.address, wires[i % wires.length]!)
        await new Promise((resolve) => setTimeout(resolve, (i * 7) % 30))
        if (i % 3 === 0) client.socket.resetAndDestroy()
        else if (i % 3 === 1) client.socket.destroy()
        else client.socket.end()
        await client.closed
      }),
    )
    await when(() => open_ === 0 && asked > 0)
    expect([...outcomes.values()].reduce((sum, count) => sum + count, 0)).toBe(asked)
    expect(outcomes.get('cut')).toBeGreaterThan(0)
    // With nothing left behind, there is nothing to wait for.
    const begin = Date.now()
    await open.server.close(20_000)
    expect(Date.now() - begin).toBeLessThan(10_000)
  })
})
