import { readdirSync, readlinkSync } from 'node:fs'
import { mkdtemp, rm, symlink } from 'node:fs/promises'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { Channel, collect, streamOf, text } from '../../core/index.ts'
import type { Application, ByteStream, GatewayResponse } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import * as wire from '../../../test/wire.ts'
import { fastcgi } from './client.ts'
import type { FastCgiBackend, FastCgiOptions, MultiplexOptions } from './options.ts'
import { RecordDecoder } from '../decoder.ts'
import { PairDecoder } from '../params.ts'
import { Type } from '../record.ts'
import { serveFastCgi } from '../server/server.ts'

const opened: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each()
})

interface Seen {
  readonly id: number
  readonly socket: Socket
  readonly connection: number
  target: string
  stdin: Buffer
  aborted: boolean
}

/** An application made of bytes that takes several requests: `answer` is called with each whole one, and writes what it likes. */
async function several(
  answer: (seen: Seen) => void,
  on: { values?: Buffer; abort?: (seen: Seen) => void } = {},
): Promise<{ path: string; seen: Seen[]; sockets: Socket[] }> {
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
  const path = join(folder, 'peer.sock')
  const all: Seen[] = []
  const sockets: Socket[] = []
  const server = createServer((socket) => {
    sockets.push(socket)
    const connection = sockets.length - 1
    const running = new Map<number, Seen>()
    let pairs = new PairDecoder()
    const decoder = new RecordDecoder({
      data(type, id, bytes, start, end) {
        const seen = running.get(id)!
        if (type === Type.Params) pairs.push(bytes, start, end)
        else seen.stdin = Buffer.concat([seen.stdin, bytes.subarray(start, end)])
      },
      end(type, id) {
        const seen = running.get(id)!
        if (type === Type.Params) {
          const list = pairs.end()
          seen.target = list[list.indexOf('REQUEST_URI') + 1]!
        } else answer(seen)
      },
      record(type, id) {
        if (type === Type.GetValues && on.values !== undefined) socket.write(on.values)
        else if (type === Type.BeginRequest) {
          pairs = new PairDecoder()
          const seen: Seen = { id, socket, connection, target: '', stdin: Buffer.alloc(0), aborted: false }
          running.set(id, seen)
          all.push(seen)
        } else if (type === Type.AbortRequest) {
          running.get(id)!.aborted = true
          on.abort?.(running.get(id)!)
        }
      },
    })
    socket.on('data', (bytes: Buffer) => decoder.push(bytes))
    socket.on('error', () => {})
  })
  await new Promise<void>((resolve) => server.listen(path, resolve))
  opened.push(async () => {
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
    await rm(folder, { recursive: true })
  })
  return { path, seen: all, sockets }
}

function client(path: string, multiplex: boolean | MultiplexOptions = true, options: Partial<FastCgiOptions> = {}): FastCgiBackend {
  const made = fastcgi({ address: { path }, multiplex, connections: 1, ...options })
  opened.push(() => made.close(0))
  return made
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body as ByteStream)).toString('latin1')
}

const page = (seen: Seen, body: string): Buffer => wire.answer(seen.id, `Content-Type: text/plain\r\n\r\n${body}`)
const ask = (app: FastCgiBackend, target: string): Promise<GatewayResponse> => Promise.resolve(app(makeRequest({ target })))

const wires = (ids: readonly number[]): Buffer[] => {
  const [a, b, c] = ids as [number, number, number]
  return [
    wire.stdout(a, 'Content-Type: te'),
    wire.stdout(b, 'A: b\r\n\r\nfirst of b, '),
    wire.stderr(c, 'c has something to say\n'),
    wire.stdout(a, 'xt/plain\r\n\r\na'),
    wire.stdout(c, 'Status: 404\r\n\r\nc', { padding: 200 }),
    wire.stdout(b, 'second of b'),
    wire.record(wire.STDOUT, c),
    wire.endRequest(c),
    wire.stdout(a, ' is whole'),
    wire.endRequest(b),
    wire.endRequest(a),
  ]
}

/** `/N` is N bytes, each request's own letter. */
const blocks: Application = (request) => {
  const [, size, letter] = request.pathInfo.split('/') as [string, string, string]
  const block = Buffer.alloc(65_536, letter)
  const count = Number(size) / 65_536
  return { status: 200, headers: ['Content-Type', 'text/plain'], body: streamOf(Array.from({ length: count }, () => block)) }
}

const values = (pairs: Readonly<Record<string, string>>): Buffer =>
  wire.record(wire.GET_VALUES_RESULT, 0, Buffer.concat(Object.entries(pairs).map(([name, value]) => wire.pair(name, value))))

describe('several requests on one connection', () => {
  test('are answered in whatever order the application likes, by small ids that are used again', async () => {
    const waiting: Seen[] = []
    const peer = await several((seen) => {
      waiting.push(seen)
      if (waiting.length === 5) for (const each of waiting.splice(0).toReversed()) each.socket.write(page(each, each.target))
    })
    const app = client(peer.path)
    for (let round = 0; round < 3; round++) {
      const targets = Array.from({ length: 5 }, (_, i) => `/${round}/${i}`)
      const answers = await Promise.all(targets.map((target) => ask(app, target).then(textOf)))
      expect(answers).toEqual(targets)
    }
    expect(peer.sockets).toHaveLength(1)
    expect(new Set(peer.seen.map((each) => each.id))).toEqual(new Set([1, 2, 3, 4, 5]))
  })

  test('are the same however the bytes are cut, and however their records are mixed', async () => {
    let waiting: Seen[] = []
    let cut = -1
    const peer = await several((seen) => {
      waiting.push(seen)
      if (waiting.length < 3) return
      const byTarget = ['/a', '/b', '/c'].map((target) => waiting.find((each) => each.target === target)!.id)
      waiting = []
      const whole = Buffer.concat(wires(byTarget))
      if (cut === -1) for (const byte of wire.bytewise(whole)) seen.socket.write(byte)
      else {
        seen.socket.write(whole.subarray(0, cut))
        setImmediate(() => seen.socket.write(whole.subarray(cut)))
      }
    })
    const app = client(peer.path)
    const length = Buffer.concat(wires([1, 2, 3])).length
    for (cut = -1; cut <= length; cut += cut === -1 ? 2 : 7) {
      const answers = await Promise.all(['/a', '/b', '/c'].map((target) => ask(app, target)))
      expect(
        answers.map((each) => each.status),
        `cut at ${cut}`,
      ).toEqual([200, 200, 404])
      expect(await Promise.all(answers.map(textOf)), `cut at ${cut}`).toEqual(['a is whole', 'first of b, second of b', 'c'])
    }
    expect(peer.sockets).toHaveLength(1)
  })

  test('are no more than allowed; then another connection, then the queue', async () => {
    const peer = await several(() => {})
    const app = client(peer.path, { requests: 3 }, { connections: 2, queue: 1 })
    const all = Array.from({ length: 7 }, (_, i) => ask(app, `/${i}`))
    for (const each of all) each.catch(() => {})
    await expect.poll(() => peer.seen.length).toBe(6)
    expect(peer.sockets).toHaveLength(2)
    await expect(ask(app, '/8')).rejects.toMatchObject({ code: 'QUEUE_FULL' })
    peer.seen[0]!.socket.write(page(peer.seen[0]!, 'first'))
    await expect.poll(() => peer.seen.length).toBe(7)
    expect(peer.seen[6]).toMatchObject({ id: peer.seen[0]!.id, target: '/6' })
  })

  test('send their bodies side by side', async () => {
    const peer = await several((seen) => seen.socket.write(page(seen, `${seen.target} ${seen.stdin.length}`)))
    const app = client(peer.path, true, { limits: { bodyMemory: 100_000 } })
    const sizes = [0, 1, 70_000, 3_000_000, 5_000_000]
    const answers = await Promise.all(
      sizes.map(async (size) => textOf(await app(makeRequest({ method: 'POST', target: `/${size}`, body: Buffer.alloc(size, 'x') })))),
    )
    expect(answers).toEqual(sizes.map((size) => `/${size} ${size}`))
    expect(peer.sockets).toHaveLength(1)
  })

  test('end with their connection: what was not answered is asked again, what was is an error', async () => {
    let dying = true
    const peer = await several((seen) => {
      if (!dying || seen.target === '/warm') seen.socket.write(page(seen, seen.target))
      else if (seen.target === '/begun') {
        seen.socket.write(wire.stdout(seen.id, 'A: b\r\n\r\nhalf'))
        setTimeout(() => {
          dying = false
          seen.socket.destroy()
        }, 30)
      }
    })
    const app = client(peer.path, true, { hold: { bytes: 0, time: 0 } })
    await ask(app, '/warm')
    const open = ask(app, '/open')
    const posted = Promise.resolve(app(makeRequest({ method: 'POST', target: '/posted' })))
    posted.catch(() => {})
    const begun = await ask(app, '/begun')
    await expect(collect(begun.body as ByteStream)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    await expect(posted).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(await textOf(await open)).toBe('/open')
    expect(peer.sockets).toHaveLength(2)
    expect(app.status()[0]).toMatchObject({ active: 0 })
  })

  test('are not disturbed by one that breaks the protocol in its own records only', async () => {
    const peer = await several((seen) =>
      seen.socket.write(seen.target === '/bad' ? wire.answer(seen.id, 'no head at all\r\n\r\n') : page(seen, seen.target)),
    )
    const app = client(peer.path)
    const [bad, good] = await Promise.allSettled([ask(app, '/bad'), ask(app, '/good')])
    expect(bad).toMatchObject({ status: 'rejected', reason: { code: 'UPSTREAM_HEAD' } })
    expect(good).toMatchObject({ status: 'fulfilled' })
    expect(peer.sockets).toHaveLength(1)
  })

  test('never get what was meant for another, whatever becomes of the bytes', async () => {
    const draw = wire.random(42)
    const peer = await several((seen) => {
      const body = `<${seen.target}>`.repeat(1 + draw(40))
      const whole = Buffer.concat([
        wire.stdout(seen.id, 'A: b\r\n\r\n'),
        wire.stdout(seen.id, body),
        wire.record(wire.STDOUT, seen.id),
        wire.endRequest(seen.id),
      ])
      // Not ids nor contents, which would say something else and not something broken.
      if (draw(12) === 0) whole[draw(2) === 0 ? 0 : 4 + draw(2)]! ^= 1 << draw(8)
      seen.socket.write(whole)
      if (draw(20) === 0) seen.socket.destroy()
    })
    const app = client(peer.path, true, { limits: { firstByte: 300, between: 300, drainTime: 100 }, hold: { bytes: 100, time: 5 } })
    let answered = 0
    for (let round = 0; round < 60; round++) {
      await Promise.all(
        Array.from({ length: 8 }, async (_, i) => {
          const target = `/${round}-${i}`
          try {
            const got = await textOf(await ask(app, target))
            // Cut short it may be, when a length was changed; another's it may not.
            expect(got.replaceAll(`<${target}>`, '')).not.toContain('</')
            answered++
          } catch (error) {
            expect(error).toMatchObject({ name: 'GatewayError' })
          }
        }),
      )
    }
    expect(answered).toBeGreaterThan(100)
    expect(app.status()[0]).toMatchObject({ active: 0 })
  }, 30_000)
})

describe('a request that is left', () => {
  test('is aborted by its id; the id waits for its end, the others go on', async () => {
    const peer = await several((seen) => {
      if (seen.target === '/other') seen.socket.write(page(seen, 'other'))
      else seen.socket.write(wire.stdout(seen.id, 'A: b\r\n\r\nbegun'))
    })
    const app = client(peer.path, true, { hold: { bytes: 0, time: 0 } })
    const left = await ask(app, '/left')
    ;(left.body as ByteStream).cancel()
    await expect.poll(() => peer.seen[0]!.aborted).toBe(true)
    expect(await textOf(await ask(app, '/other'))).toBe('other')
    expect(peer.seen[1]!.id).toBe(2)
    peer.seen[0]!.socket.write(Buffer.concat([wire.stdout(1, 'more that nobody wants'), wire.endRequest(1)]))
    await expect.poll(() => app.status()[0]!.idle).toBe(100)
    expect(await textOf(await ask(app, '/other'))).toBe('other')
    expect(peer.seen[2]!.id).toBe(1)
    expect(peer.sockets).toHaveLength(1)
  })

  test('and never ended costs the connection, once the others are over', async () => {
    const peer = await several((seen) => {
      if (seen.target === '/other') seen.socket.write(page(seen, 'other'))
    })
    const app = client(peer.path, true, { limits: { firstByte: 40, drainTime: 40 } })
    await expect(ask(app, '/silent')).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
    await expect.poll(() => peer.seen[0]!.aborted).toBe(true)
    await expect.poll(() => peer.sockets[0]!.destroyed || peer.sockets[0]!.readableEnded).toBe(true)
    expect(await textOf(await ask(app, '/other'))).toBe('other')
    expect(peer.sockets).toHaveLength(2)
  })

  test('that is too slow does not take the others with it', async () => {
    const peer = await several((seen) => {
      if (seen.target !== '/slow') setTimeout(() => seen.socket.write(page(seen, seen.target)), 60)
    })
    const app = client(peer.path, true, { limits: { firstByte: 100 } })
    const slow = ask(app, '/slow')
    slow.catch(() => {})
    const good = Promise.all(['/a', '/b', '/c'].map((target) => ask(app, target).then(textOf)))
    await expect(slow).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(await good).toEqual(['/a', '/b', '/c'])
    expect(peer.sockets).toHaveLength(1)
  })

  test('and whose records come late all the same: no other gets them', async () => {
    const peer = await several((seen) => {
      seen.socket.write(page(seen, 'whole'))
      if (seen.target === '/late') seen.socket.write(wire.stdout(seen.id, 'late'))
    })
    const app = client(peer.path)
    for (const target of ['/late', '/a', '/late', '/b']) expect(await textOf(await ask(app, target))).toBe('whole')
    expect(peer.sockets.length).toBeGreaterThan(1)
  })

  test.each([1, 4, 7, 8, 10])(
    'and of whose late record only %i bytes have come: the next one with its id does not get the rest',
    async (cut) => {
      const late = wire.stdout(1, 'A: b\r\n\r\nmeant for somebody else')
      const peer = await several((seen) => {
        if (seen.target === '/late') seen.socket.write(Buffer.concat([page(seen, seen.target), late.subarray(0, cut)]))
        else if (seen.connection === 0) seen.socket.write(Buffer.concat([late.subarray(cut), page(seen, seen.target)]))
        else seen.socket.write(page(seen, seen.target))
      })
      const app = client(peer.path)
      expect(await textOf(await ask(app, '/late'))).toBe('/late')
      await expect.poll(() => app.status()[0]!.active).toBe(0)
      await new Promise((resolve) => setImmediate(resolve))
      for (const target of ['/a', '/b']) expect(await textOf(await ask(app, target))).toBe(target)
    },
  )
})

const MiB = 1024 * 1024

describe('a reader that has stalled', () => {
  test('among 200 on one connection stops none of the other 199, and memory keeps to its bound', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
    opened.push(() => rm(folder, { recursive: true }))
    const server = await serveFastCgi(blocks, { listen: { path: join(folder, 's.sock') }, mount: '/', limits: { requests: 300 } })
    opened.push(() => server.close(0))
    const memory = 256 * 1024
    const app = client((server.address as { path: string }).path, { requests: 200, memory, directory: folder })
    const before = process.memoryUsage().arrayBuffers
    const stalled = await ask(app, `/${40 * MiB}/s`)
    expect(stalled.body).toBeInstanceOf(Channel)
    let peak = 0
    const watch = setInterval(() => (peak = Math.max(peak, process.memoryUsage().arrayBuffers)), 5)
    const lengths = await Promise.all(
      Array.from({ length: 199 }, async (_, i) => {
        const letter = 'abcdefgh'[i % 8]!
        const response = await ask(app, `/${MiB}/${letter}`)
        let length = 0
        for await (const chunk of response.body as ByteStream) {
          expect(chunk.every((byte) => byte === letter.charCodeAt(0))).toBe(true)
          length += chunk.length
        }
        return length
      }),
    )
    clearInterval(watch)
    expect(lengths).toEqual(Array.from({ length: 199 }, () => MiB))
    expect(app.status()[0]!.connections).toBe(1)
    // The stalled one holds what its budget says, and no more: the rest of its 40 MiB is in its file.
    const { buffered } = stalled.body as Channel
    expect(buffered).toBeLessThanOrEqual(memory + 65_536)
    expect(buffered).toBeGreaterThan(0)
    // Measured 32 to 45 MiB, with the application in the same process and what the collector has not looked at yet.
    expect(peak - before).toBeLessThan(200 * memory + 16 * MiB)
    let length = 0
    for await (const chunk of stalled.body as ByteStream) {
      expect(chunk[0]).toBe(115)
      length += chunk.length
    }
    expect(length).toBe(40 * MiB)
  }, 60_000)

  test('is cut when it is further behind than its file may be large; the others go on', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
    opened.push(() => rm(folder, { recursive: true }))
    const server = await serveFastCgi(blocks, { listen: { path: join(folder, 's.sock') }, mount: '/' })
    opened.push(() => server.close(0))
    const app = client((server.address as { path: string }).path, { memory: 65_536, file: MiB, directory: folder })
    const stalled = await ask(app, `/${20 * MiB}/s`)
    expect(await textOf(await ask(app, `/${MiB}/a`))).toHaveLength(MiB)
    await expect(collect(stalled.body as ByteStream)).rejects.toMatchObject({ code: 'CLIENT_GONE' })
    expect(await textOf(await ask(app, `/${MiB}/b`))).toHaveLength(MiB)
    expect(app.status()[0]).toMatchObject({ connections: 1, failures: 0, active: 0 })
    // Its file has no name, and is closed.
    const files = (): string[] =>
      readdirSync('/proc/self/fd')
        .flatMap((fd) => linkOf(fd))
        .filter((each) => each.startsWith(folder))
    await expect.poll(files).toEqual([])
  })

  test('that leaves ends its file with it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
    opened.push(() => rm(folder, { recursive: true }))
    const server = await serveFastCgi(blocks, { listen: { path: join(folder, 's.sock') }, mount: '/' })
    opened.push(() => server.close(0))
    const app = client((server.address as { path: string }).path, { memory: 65_536, directory: folder })
    const stalled = await ask(app, `/${20 * MiB}/s`)
    const files = (): string[] =>
      readdirSync('/proc/self/fd')
        .flatMap((fd) => linkOf(fd))
        .filter((each) => each.startsWith(join(folder, 'viaduct-')))
    await expect.poll(files).toHaveLength(1)
    ;(stalled.body as ByteStream).cancel()
    await expect.poll(files).toEqual([])
    expect(await textOf(await ask(app, `/${MiB}/b`))).toHaveLength(MiB)
  })

  test('fails alone when its file cannot be written', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
    opened.push(() => rm(folder, { recursive: true }))
    const server = await serveFastCgi(blocks, { listen: { path: join(folder, 's.sock') }, mount: '/' })
    opened.push(() => server.close(0))
    const app = client((server.address as { path: string }).path, { memory: 65_536, directory: '/nonexistent/viaduct' })
    const stalled = await ask(app, `/${20 * MiB}/s`)
    expect(await textOf(await ask(app, `/${65_536}/a`))).toHaveLength(65_536)
    await expect(collect(stalled.body as ByteStream)).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 507 })
  })
})

function linkOf(fd: string): string[] {
  try {
    return [readlinkSync(`/proc/self/fd/${fd}`)]
  } catch {
    return []
  }
}

/** The connections on which so many requests at once come. */
async function spread(app: FastCgiBackend, seen: Seen[], count: number): Promise<number> {
  const from = seen.length
  const all = Array.from({ length: count }, (_, i) => ask(app, `/${i}`))
  await expect.poll(() => seen.length).toBe(from + count)
  const asked = seen.slice(from)
  for (const each of asked) each.socket.write(page(each, 'ok'))
  expect(await Promise.all(all.map(async (each) => textOf(await each)))).toEqual(all.map(() => 'ok'))
  return new Set(asked.map(({ connection }) => connection)).size
}

describe('asking first', () => {
  test.each([
    ['says yes', values({ FCGI_MPXS_CONNS: '1', FCGI_MAX_REQS: '3' }), [3, 1]],
    ['says no', values({ FCGI_MPXS_CONNS: '0', FCGI_MAX_REQS: '3' }), [1, 1, 1, 1]],
    ['does not know the record', wire.record(wire.UNKNOWN_TYPE, 0, Buffer.from([9, 0, 0, 0, 0, 0, 0, 0])), [1, 1, 1, 1]],
    ['speaks something else', Buffer.from('HTTP/1.1 400 Bad Request\r\n'), [1, 1, 1, 1]],
  ])('shares connections only where the application %s', async (_, result, expected) => {
    const peer = await several(() => {}, { values: result })
    const app = client(peer.path, { ask: true }, { connections: 4 })
    const all = Array.from({ length: 4 }, (__, i) => ask(app, `/${i}`))
    await expect.poll(() => peer.seen.length).toBe(4)
    const shares = new Map<number, number>()
    for (const { connection } of peer.seen) shares.set(connection, (shares.get(connection) ?? 0) + 1)
    expect([...shares.values()]).toEqual(expected)
    for (const each of peer.seen) each.socket.write(page(each, 'ok'))
    expect(await Promise.all(all.map(async (each) => textOf(await each)))).toEqual(['ok', 'ok', 'ok', 'ok'])
  })

  const yes = values({ FCGI_MPXS_CONNS: '1', FCGI_MAX_REQS: '50' })
  const no = values({ FCGI_MPXS_CONNS: '0' })

  test('is done again when no connection is left: what was started anew may be another one', async () => {
    const on = { values: yes }
    const peer = await several(() => {}, on)
    const app = client(peer.path, { ask: true }, { connections: 4 })
    expect(await spread(app, peer.seen, 4)).toBe(1)
    const restart = async (said: Buffer): Promise<void> => {
      on.values = said
      for (const socket of peer.sockets) socket.destroy()
      await expect.poll(() => app.status()[0]!.connections).toBe(0)
    }
    await restart(no)
    // Not one of them is together with another before it is known that they may be.
    expect(await spread(app, peer.seen, 4)).toBe(4)
    await restart(yes)
    // Who could not share has its connections; the next ones share.
    expect(await spread(app, peer.seen, 4)).toBeGreaterThan(1)
    await expect.poll(() => spread(app, peer.seen, 4)).toBe(1)
  })

  test('is done again when a host that was left alone is tried again', async () => {
    const on = { values: yes }
    const peer = await several(() => {}, on)
    const health = { failures: 1, ejection: 20 }
    const app = fastcgi({
      upstreams: [peer.path],
      multiplex: { ask: true },
      connections: 4,
      health,
      retries: 0,
      limits: { firstByte: 500 },
    })
    opened.push(() => app.close(0))
    expect(await spread(app, peer.seen, 3)).toBe(1)
    await expect(ask(app, '/')).rejects.toMatchObject({ code: 'TIMEOUT' })
    expect(app.status()[0]).toMatchObject({ state: expect.stringMatching(/down|trial/), ejections: 1 })
    on.values = no
    await expect.poll(() => app.status()[0]!.state).toBe('trial')
    expect(await spread(app, peer.seen, 1)).toBe(1)
    await expect.poll(() => spread(app, peer.seen, 3)).toBe(3)
  })

  test('is done again with the next request where nobody was there to be asked', async () => {
    const peer = await several(() => {}, { values: yes })
    const path = `${peer.path}.later`
    const app = client(path, { ask: true }, { connections: 4 })
    await expect(ask(app, '/')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await symlink(peer.path, path)
    await expect.poll(() => spread(app, peer.seen, 4)).toBe(1)
  })

  test('or being told CANT_MPX_CONN: from then on one at a time', async () => {
    let running = 0
    const peer = await several((seen) => {
      if (running > 0) {
        seen.socket.write(wire.endRequest(seen.id, { protocol: 1 }))
        return
      }
      running++
      setTimeout(() => {
        running--
        seen.socket.write(page(seen, seen.target))
      }, 20)
    })
    const app = client(peer.path)
    const [first, second] = await Promise.allSettled([ask(app, '/a'), ask(app, '/b')])
    expect(first.status).toBe('fulfilled')
    expect(second).toMatchObject({ status: 'rejected', reason: { code: 'UNAVAILABLE', status: 503 } })
    expect(await Promise.all(['/c', '/d', '/e'].map((each) => ask(app, each).then(textOf)))).toEqual(['/c', '/d', '/e'])
  })

  test.each([{ requests: 0 }, { requests: 65_536 }])('%j at a time is refused', (multiplex) => {
    expect(() => fastcgi({ address: '/a', multiplex })).toThrow('multiplex.requests')
  })

  test('and not keeping connections do not go together', () => {
    expect(() => fastcgi({ address: '/a', multiplex: true, keep: false })).toThrow('keep')
  })
})

test('idle shared connections are closed, and closing waits for what runs', async () => {
  const peer = await several((seen) => {
    if (seen.target === '/now') seen.socket.write(page(seen, 'now'))
    else setTimeout(() => seen.socket.write(page(seen, 'later')), 50)
  })
  const app = client(peer.path, true, { idleTimeout: 30 })
  expect(await textOf(await ask(app, '/now'))).toBe('now')
  await expect.poll(() => app.status()[0]!.connections).toBe(0)
  const running = ask(app, '/later')
  await expect.poll(() => peer.seen.length).toBe(2)
  const closing = app.close(5000)
  expect(await textOf(await running)).toBe('later')
  await closing
  await expect(async () => app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED' })
})

test('an application of our own is told of the client that left', async () => {
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-mux-'))
  opened.push(() => rm(folder, { recursive: true }))
  const left: string[] = []
  const server = await serveFastCgi(
    async (request) => {
      if (request.pathInfo !== '/wait') return text(200, 'ok')
      await new Promise<void>((resolve) => request.signal.addEventListener('abort', () => resolve()))
      left.push(request.pathInfo)
      return text(200, 'late')
    },
    { listen: { path: join(folder, 's.sock') }, mount: '/' },
  )
  opened.push(() => server.close(0))
  const app = client((server.address as { path: string }).path, true, { limits: { firstByte: 50 } })
  await expect(ask(app, '/wait')).rejects.toMatchObject({ code: 'TIMEOUT' })
  await expect.poll(() => left).toEqual(['/wait'])
  expect(await textOf(await ask(app, '/ok'))).toBe('ok')
  expect(app.status()[0]!.connections).toBe(1)
})
