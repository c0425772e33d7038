import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { BEGIN_REQUEST, END_REQUEST, STDIN, STDOUT, UNKNOWN_TYPE, bytes, bytewise, pair, random, record } from '../../../test/wire.ts'
import { descriptorsOf } from '../../../test/descriptors.ts'
import { ABORT_REQUEST, DATA, GET_VALUES, PARAMS, WebServer, begin, bodyOf, get, params, stdin } from '../../../test/web-server.ts'
import { Channel, collect, empty, streamOf, text, variable } from '../../core/index.ts'
import type { Application, GatewayRequest, Log, Outcome, Server } from '../../core/index.ts'
import { decodeGetValuesResult, serveFastCgi } from '../index.ts'
import type { FastCgiServerLimits, FastCgiServerOptions } from '../index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-fcgi-server-'))
afterAll(() => rmSync(folder, { recursive: true }))

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

/** Files without a name that this process has open. */
const temporaryFiles = (): number => descriptorsOf(join(tmpdir(), 'viaduct-')).length

let count = 0
async function serve(application: Application, options: FastCgiServerOptions = {}): Promise<{ server: Server; said: string[] }> {
  const said: string[] = []
  const say = (_: object, message: string): void => void said.push(message)
  const log: Log = { debug: say, info: say, warn: say, error: say }
  const server = await serveFastCgi(application, { listen: { path: join(folder, `${count++}.sock`) }, log, ...options })
  closers.push(() => server.close(0))
  return { server, said }
}

/** A connection of a web server, closed after the test. */
class Peer extends WebServer {
  constructor(server: Server) {
    super(server)
    closers.push(() => this.socket.destroy())
  }
}

const hello: Application = () => text(200, 'hello')
const echo: Application = async (request) => text(200, (await collect(request.body)).toString('latin1'))

describe('an answer', () => {
  test('is a head as a CGI program writes it, the body, the end of STDOUT and of the request', async () => {
    const { server } = await serve(() => ({ status: 404, reason: 'Gone Fishing', headers: ['X-A', '1'], body: 'no é' }))
    const peer = new Peer(server)
    peer.send(get(1))
    expect(await peer.ended()).toEqual({
      stdout: 'Status: 404 Gone Fishing\r\nX-A: 1\r\nContent-Length: 5\r\n\r\nno \xc3\xa9',
      stderr: '',
      stdoutEnded: true,
      ended: { appStatus: 0, protocolStatus: 0 },
    })
  })

  test('comes however the bytes are cut', async () => {
    const { server } = await serve(echo)
    const wire = Buffer.concat([begin(1), params(1, { CONTENT_LENGTH: '5' }), stdin(1, 'he'), stdin(1, 'llo'), stdin(1)])
    const peer = new Peer(server)
    peer.socket.setNoDelay(true)
    for (const piece of bytewise(wire)) await new Promise<void>((resolve) => peer.socket.write(piece, () => resolve()))
    expect(bodyOf(await peer.ended())).toBe('hello')
    for (let cut = 1; cut < wire.length; cut += 3) {
      const other = new Peer(server)
      other.send(wire.subarray(0, cut))
      await new Promise((resolve) => setImmediate(resolve))
      other.send(wire.subarray(cut))
      expect(bodyOf(await other.ended()), `cut at ${cut}`).toBe('hello')
    }
  })

  test.each([
    ['HEAD', 200, { REQUEST_METHOD: 'HEAD' }, 'a body', /Content-Length: 6\r\n/],
    ['a 204', 204, {}, null, /^Status: 204 No Content\r\n\r\n$/],
    ['a 304', 304, {}, null, /^Status: 304 Not Modified\r\n\r\n$/],
  ])('to %s has no body', async (_, status, variables, body, head) => {
    const { server } = await serve(() => ({ status, headers: [], body }))
    const peer = new Peer(server)
    peer.send(get(1, variables as Record<string, string>))
    const reply = await peer.ended()
    expect(bodyOf(reply)).toBe('')
    expect(reply.stdout).toMatch(head)
  })

  test('of any size is whole, in records that a web server can take', async () => {
    const { server } = await serve((request) => {
      const size = Number(request.queryString)
      return { status: 200, headers: [], body: size % 2 === 0 ? Buffer.alloc(size, 'b') : streamOf([Buffer.alloc(size, 'b')]) }
    })
    const peer = new Peer(server)
    for (const size of [0, 1, 7, 8, 8192, 8193, 65_527, 65_528, 65_529, 65_535, 65_536, 131_056, 1_000_001]) {
      peer.replies.clear()
      peer.send(get(1, { QUERY_STRING: String(size) }))
      expect(bodyOf(await peer.ended()).length, String(size)).toBe(size)
    }
  })

  test('of trailers and an early hint loses them', async () => {
    const { server } = await serve((request) => {
      request.inform?.(103, ['Link', '</a>'])
      return { status: 200, headers: [], body: 'x', trailers: () => ['X-After', '1'] }
    })
    const peer = new Peer(server)
    peer.send(get(1))
    expect((await peer.ended()).stdout).toBe('Status: 200 OK\r\nContent-Length: 1\r\n\r\nx')
  })

  test('of an application that fails is its status, and not a word about why', async () => {
    const { server, said } = await serve(() => {
      throw new Error('a secret')
    })
    const peer = new Peer(server)
    peer.send(get(1), get(2))
    expect(await peer.ended()).toMatchObject({
      stdout: 'Status: 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n',
      ended: { appStatus: 1 },
    })
    await peer.ended(2)
    expect(peer.closed).toBe(false)
    expect(said.join()).toContain('a secret')
  })

  test.each<[string, Application]>([
    ['an internal result', () => ({ status: 200, headers: [], body: null, internal: { redirect: '/x' } })],
    ['a field that splits', () => ({ status: 200, headers: ['X', 'a\r\nSet-Cookie: b'], body: 'x' })],
    ['a length that is not the body’s', () => ({ status: 200, headers: ['Content-Length', '5'], body: 'x' })],
    ['nothing', () => undefined as never],
    ['a rejection', () => Promise.reject(new Error('x'))],
  ])('of %s is 500', async (_, application) => {
    const { server } = await serve(application)
    const peer = new Peer(server)
    peer.send(get(1))
    expect((await peer.ended()).stdout).toMatch(/^Status: 500 /)
  })

  test.each<[string, () => Channel, string[]]>([
    ['fails', () => Object.assign(new Channel(), {}), []],
    ['is longer than it says', () => new Channel(), ['Content-Length', '3']],
  ])('whose body %s ends in what is no record, never with END_REQUEST', async (what, make, headers) => {
    const body = make()
    const outcomes: Outcome[] = []
    const { server } = await serve((request) => {
      request.onFinish((outcome) => void outcomes.push(outcome))
      return { status: 200, headers, body }
    })
    const peer = new Peer(server)
    peer.send(get(1))
    body.write(Buffer.from('ha'))
    await expect.poll(() => peer.replies.get(1)?.stdout).toMatch(/ha$/)
    if (what === 'fails') body.fail(new Error('a secret'))
    else body.write(Buffer.from('more'))
    await peer.closes()
    expect(peer.replies.get(1)).toMatchObject({ ended: undefined, stdoutEnded: false })
    expect(peer.broken).toMatchObject({ code: 'UPSTREAM_PROTOCOL' })
    expect(outcomes).toMatchObject([{ kind: 'failed', status: 200, bytes: expect.any(Number) as number }])
  })

  test('that is shorter than it says is never whole', async () => {
    const { server } = await serve(() => ({ status: 200, headers: ['Content-Length', '9'], body: streamOf([Buffer.from('short')]) }))
    const peer = new Peer(server)
    peer.send(get(1))
    await peer.closes()
    expect(peer.replies.get(1)?.ended).toBe(undefined)
  })

  test('that breaks off beside another one lets that one end first', async () => {
    const broken = new Channel()
    const other = new Channel()
    const { server } = await serve((request) => ({ status: 200, headers: [], body: request.queryString === 'b' ? broken : other }))
    const peer = new Peer(server)
    peer.send(get(1, { QUERY_STRING: 'b' }), get(2))
    broken.write(Buffer.from('ha'))
    await expect.poll(() => peer.replies.get(1)?.stdout).toMatch(/ha$/)
    broken.fail(new Error('x'))
    other.write(Buffer.from('whole'))
    await expect.poll(() => peer.replies.get(2)?.stdout).toMatch(/whole$/)
    // No more of them here.
    peer.send(get(3))
    expect((await peer.ended(3)).ended).toEqual({ appStatus: 0, protocolStatus: 2 })
    other.end()
    expect(bodyOf(await peer.ended(2))).toBe('whole')
    await peer.closes()
    expect(peer.replies.get(1)?.ended).toBe(undefined)
  })

  test('waits for a web server that takes none, and is cut in time', async () => {
    let pulled = 0
    const outcomes: Outcome[] = []
    const { server } = await serve(
      (request) => {
        request.onFinish((outcome) => void outcomes.push(outcome))
        const block = Buffer.alloc(65_536)
        return {
          status: 200,
          headers: [],
          body: streamOf(
            (function* () {
              for (; pulled < 10_000; pulled++) yield block
            })(),
          ),
        }
      },
      { limits: { writeTimeout: 200 } },
    )
    const peer = new Peer(server)
    peer.socket.pause()
    peer.send(get(1))
    await expect.poll(() => outcomes.map((each) => each.kind), { timeout: 5000 }).toEqual(['cut'])
    expect(pulled).toBeLessThan(40)
  })

  test('takes its turn with 199 others, and none is made faster than it is taken', async () => {
    const size = 65_536
    const total = 10
    let made = 0
    const { server } = await serve((request) => ({
      status: 200,
      headers: [],
      body: streamOf(
        (function* () {
          for (let i = 0; i < total; i++, made++) yield Buffer.alloc(size, request.queryString)
        })(),
      ),
    }))
    const peer = new Peer(server)
    peer.socket.pause()
    for (let id = 1; id <= 200; id++) peer.send(get(id, { QUERY_STRING: String.fromCharCode(64 + (id % 60)) }))
    await new Promise((resolve) => setTimeout(resolve, 300))
    // A piece that is there for each of them, one that was taken, and what the kernel's buffers hold.
    expect(made).toBeLessThan(200 * 2 + 30)
    peer.socket.resume()
    for (let id = 1; id <= 200; id++) {
      const body = bodyOf(await peer.ended(id))
      expect(body.length).toBe(size * total)
      expect(body === String.fromCharCode(64 + (id % 60)).repeat(size * total), String(id)).toBe(true)
      peer.replies.delete(id)
    }
  })

  test('goes on with work that it does not wait for, which close waits for', async () => {
    let finish!: () => void
    let finished = false
    const { server } = await serve((request) => {
      request.waitUntil(new Promise<void>((resolve) => (finish = resolve)).then(() => void (finished = true)))
      return text(200, 'done')
    })
    const peer = new Peer(server)
    peer.send(get(1))
    await peer.ended()
    const closing = server.close(5000)
    setTimeout(() => finish(), 50)
    await closing
    expect(finished).toBe(true)
  })
})

/** An application in which one request reads its body only when it is told to. */
interface Slow {
  body?: Channel
  read?: () => void
  got?: unknown
}
async function shared(limits: Partial<FastCgiServerLimits>): Promise<{ server: Server; slow: Slow }> {
  const slow: Slow = {}
  const application: Application = async (request) => {
    if (request.queryString !== 'slow') return text(200, `${request.queryString} ${(await collect(request.body)).length}`)
    slow.body = request.body as Channel
    await new Promise<void>((resolve) => (slow.read = resolve))
    slow.got = await collect(request.body).catch((error: unknown) => error)
    return text(200, 'read')
  }
  return { server: (await serve(application, { limits })).server, slow }
}
const blocks = Array.from({ length: 199 }, (_, i) => Buffer.alloc(60_000, i))
/** One body of 12 MB for a reader that waits, and 199 other requests between its pieces. */
const crowd = (peer: Peer): void => {
  peer.send(begin(200), params(200, { CONTENT_LENGTH: String(199 * 60_000), QUERY_STRING: 'slow' }))
  for (let id = 1; id < 200; id++) {
    peer.send(begin(id), params(id, { QUERY_STRING: String(id), CONTENT_LENGTH: '3000' }), stdin(200, blocks[id - 1]))
    peer.send(stdin(id, Buffer.alloc(3000)), stdin(id))
  }
  peer.send(stdin(200))
}

describe('a request body', () => {
  test.each([
    ['stops short', '9', ['hello']],
    ['goes on beyond', '3', ['he', 'llo']],
  ])('that %s its CONTENT_LENGTH is an error to its reader', async (_, length, pieces) => {
    const { server } = await serve(echo)
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: length }), ...pieces.map((piece) => stdin(1, piece)), stdin(1))
    expect((await peer.ended()).stdout).toMatch(/^Status: 400 /)
  })

  test.each([
    ['', 'GET', undefined, 0],
    ['', 'POST', 'data', undefined],
    ['-1', 'POST', 'data', undefined],
    ['-1', 'GET', undefined, 0],
    ['4', 'POST', 'data', 4],
    ['0', 'POST', undefined, 0],
  ])('CONTENT_LENGTH %j, %s with STDIN %j has a length of %s', async (length, method, data, expected) => {
    let seen: GatewayRequest | undefined
    const { server } = await serve((request) => {
      seen = request
      return echo(request)
    })
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: length, REQUEST_METHOD: method }))
    if (data !== undefined) peer.send(stdin(1, data))
    peer.send(stdin(1))
    expect(bodyOf(await peer.ended())).toBe(data ?? '')
    expect(seen?.contentLength).toBe(expected)
  })

  test('whose web server leaves in the middle is an error, and the signal aborts', async () => {
    let error: unknown
    let aborted = false
    const outcomes: Outcome[] = []
    const { server } = await serve(async (request) => {
      request.onFinish((outcome) => void outcomes.push(outcome))
      request.signal.addEventListener('abort', () => void (aborted = true))
      error = await collect(request.body).catch((each: unknown) => each)
      return empty(200)
    })
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: '10' }), stdin(1, 'half'))
    await new Promise((resolve) => setTimeout(resolve, 30))
    peer.socket.destroy()
    await expect.poll(() => error).toMatchObject({ code: 'CLIENT_GONE' })
    expect(aborted).toBe(true)
    expect(outcomes).toMatchObject([{ kind: 'cut', status: 0 }])
  })

  test('that nobody reads stops the web server, not the memory', async () => {
    let seen: GatewayRequest | undefined
    const { server } = await serve((request) => {
      seen = request
      return new Promise((resolve) => request.signal.addEventListener('abort', () => resolve(empty(200))))
    })
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: '50000000' }))
    const block = stdin(1, Buffer.alloc(60_000))
    for (let i = 0; i < 800; i++) peer.socket.write(block)
    await expect.poll(() => seen).toBeDefined()
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect((seen!.body as Channel).buffered).toBeLessThan(400_000)
    expect(peer.socket.writableLength).toBeGreaterThan(40_000_000)
  })

  test('whose reader is slow holds up its neighbours only when it has had its share', async () => {
    const bodies: Channel[] = []
    const { server } = await serve(
      (request) => {
        if (request.queryString !== 'slow') return text(200, 'quick')
        bodies.push(request.body as Channel)
        return new Promise(() => {})
      },
      { limits: { bodyMemory: 500_000 } },
    )
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: '50000000', QUERY_STRING: 'slow' }))
    peer.send(begin(2), params(2, { QUERY_STRING: 'slow', CONTENT_LENGTH: '10' }))
    for (let i = 0; i < 7; i++) peer.send(stdin(1, Buffer.alloc(60_000)))
    peer.send(get(3))
    expect(bodyOf(await peer.ended(3))).toBe('quick')
    for (let i = 0; i < 100; i++) peer.send(stdin(1, Buffer.alloc(60_000)))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(bodies[0]!.buffered).toBeLessThan(500_000 + 200_000)
  })

  test('that nobody reads keeps none of 199 others from ending, and is whole when it is read', async () => {
    const bodyMemory = 500_000
    const { server, slow } = await shared({ bodyMemory })
    const peer = new Peer(server)
    let most = 0
    const watching = setInterval(() => (most = Math.max(most, slow.body?.buffered ?? 0)), 1)
    closers.push(() => clearInterval(watching))
    crowd(peer)
    for (let id = 1; id < 200; id++) expect(bodyOf(await peer.ended(id))).toBe(`${id} 3000`)
    // What one socket read brings may come on top.
    expect(most).toBeGreaterThan(bodyMemory - 65_536)
    expect(most).toBeLessThan(bodyMemory + 2 * 65_536)
    slow.read!()
    expect(bodyOf(await peer.ended(200))).toBe('read')
    expect(Buffer.concat(blocks).equals(slow.got as Buffer)).toBe(true)
  })

  test('that nobody ever reads leaves no file behind', async () => {
    const before = temporaryFiles()
    const { server, slow } = await shared({ bodyMemory: 100_000 })
    const peer = new Peer(server)
    crowd(peer)
    for (let id = 1; id < 200; id++) await peer.ended(id)
    await expect.poll(temporaryFiles).toBe(before + 1)
    peer.send(record(ABORT_REQUEST, 200))
    await expect.poll(temporaryFiles).toBe(before)
    slow.read!()
    await peer.ended(200)
    expect(slow.got).toMatchObject({ code: 'CLIENT_GONE' })
  })

  test('whose reader is too far behind fails, and the others go on', async () => {
    const { server, slow } = await shared({ bodyMemory: 100_000, bodyFile: 1_000_000 })
    const peer = new Peer(server)
    crowd(peer)
    for (let id = 1; id < 200; id++) await peer.ended(id)
    slow.read!()
    await peer.ended(200)
    expect(slow.got).toMatchObject({
      code: 'TIMEOUT',
      status: 503,
      message: expect.stringContaining('limits.bodyFile = 1000000') as string,
    })
  })

  test('makes all wait where there is to be no file', async () => {
    const { server, slow } = await shared({ bodyMemory: 100_000, bodyFile: 0 })
    const peer = new Peer(server)
    crowd(peer)
    await expect.poll(() => slow.body?.buffered ?? 0).toBeGreaterThan(100_000)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(peer.replies.get(199)).toBe(undefined)
    slow.read!()
    for (let id = 1; id <= 200; id++) await peer.ended(id)
    expect(Buffer.concat(blocks).equals(slow.got as Buffer)).toBe(true)
  })

  test('waits in memory and a file too when the web server has asked whether it may share', async () => {
    const { server, slow } = await shared({ bodyMemory: 100_000 })
    const peer = new Peer(server)
    peer.send(record(GET_VALUES, 0, pair('FCGI_MPXS_CONNS', '')))
    peer.send(begin(200), params(200, { CONTENT_LENGTH: String(199 * 60_000), QUERY_STRING: 'slow' }))
    for (const block of blocks) peer.send(stdin(200, block))
    peer.send(stdin(200), get(1, { QUERY_STRING: 'late' }))
    expect(bodyOf(await peer.ended(1))).toBe('late 0')
    slow.read!()
    await peer.ended(200)
    expect(Buffer.concat(blocks).equals(slow.got as Buffer)).toBe(true)
  })

  test('over the limit is 413, announced or not', async () => {
    const { server } = await serve(echo, { limits: { body: 4 } })
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: '5' }), stdin(1, 'hello'), stdin(1))
    expect((await peer.ended(1)).stdout).toMatch(/^Status: 413 /)
    peer.send(begin(2), params(2, { REQUEST_METHOD: 'POST' }), stdin(2, 'hello'), stdin(2))
    expect((await peer.ended(2)).stdout).toMatch(/^Status: 413 /)
    expect(peer.closed).toBe(false)
  })
})

describe('what belongs to the connection', () => {
  test('GET_VALUES are true, at any time, and unknown names left out', async () => {
    const { server } = await serve(() => new Promise(() => {}), { limits: { requests: 7, connections: 5 } })
    const peer = new Peer(server)
    const asked = Buffer.concat(['FCGI_MAX_REQS', 'FCGI_OTHER', 'FCGI_MAX_CONNS', 'FCGI_MPXS_CONNS'].map((name) => pair(name, '')))
    peer.send(begin(1), record(GET_VALUES, 0, asked), params(1), stdin(1), record(GET_VALUES, 0))
    await expect.poll(() => peer.management).toHaveLength(2)
    const [first, second] = peer.management.map(({ content }) => Object.fromEntries(decodeGetValuesResult(content, 0, content.length)))
    expect(first).toEqual({ FCGI_MAX_CONNS: '5', FCGI_MAX_REQS: '7', FCGI_MPXS_CONNS: '1' })
    expect(second).toEqual({})
  })

  test('GET_VALUES may come in the middle of variables and of a body, and disturb neither', async () => {
    const { server } = await serve(echo)
    const peer = new Peer(server)
    const variables = params(1, { REQUEST_METHOD: 'POST', CONTENT_LENGTH: '4' })
    // The records of PARAMS as one stream, to be cut anywhere.
    const content = variables.subarray(8, 8 + variables.readUInt16BE(4))
    const values = record(GET_VALUES, 0, pair('FCGI_MAX_REQS', ''))
    const between = [begin(1), values, record(PARAMS, 1, content.subarray(0, 11)), values, record(PARAMS, 1, content.subarray(11)), values]
    peer.send(...between, record(PARAMS, 1), values, record(STDIN, 1, 'ab'), values, record(STDIN, 1, 'cd'), values, record(STDIN, 1))
    expect(bodyOf(await peer.ended())).toBe('abcd')
    expect(peer.management).toHaveLength(6)
  })

  test('an unknown type is said to be unknown, and an answer to nothing is not answered', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    peer.send(record(10, 0), record(UNKNOWN_TYPE, 0, bytes('01 00 00 00 00 00 00 00')), record(77, 0, 'x'))
    await expect.poll(() => peer.management).toMatchObject([{ type: UNKNOWN_TYPE, content: bytes('4d 00 00 00 00 00 00 00') }])
    peer.send(get(1))
    await peer.ended()
  })

  test('roles that it does not play are refused, and the connection goes on', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    for (const [id, role] of [2, 3, 0, 999].entries()) peer.send(begin(id + 1, true, role), params(id + 1), stdin(id + 1))
    for (const id of [1, 2, 3, 4]) expect(await peer.ended(id)).toMatchObject({ stdout: '', ended: { protocolStatus: 3 } })
    peer.send(get(9))
    expect(bodyOf(await peer.ended(9))).toBe('hello')
  })

  test('more requests than it takes are OVERLOADED, also while an application works on for nobody', async () => {
    const waiting: (() => void)[] = []
    const { server } = await serve(() => new Promise((resolve) => waiting.push(() => resolve(empty(200)))), {
      limits: { requests: 2, abortTimeout: 50 },
    })
    const peer = new Peer(server)
    peer.send(get(1), get(2), get(3))
    expect((await peer.ended(3)).ended).toEqual({ appStatus: 0, protocolStatus: 2 })
    peer.send(record(ABORT_REQUEST, 1), record(ABORT_REQUEST, 2))
    await peer.ended(1)
    await peer.ended(2)
    peer.send(get(4))
    expect((await peer.ended(4)).ended?.protocolStatus).toBe(2)
    for (const each of waiting) each()
    await new Promise((resolve) => setImmediate(resolve))
    peer.send(get(5))
    await expect.poll(() => waiting).toHaveLength(3)
  })

  test('a second request where they are not to share is CANT_MPX_CONN', async () => {
    const { server } = await serve(() => new Promise((resolve) => setTimeout(() => resolve(text(200, 'one')), 50)), { multiplex: false })
    const peer = new Peer(server)
    peer.send(get(1), get(2))
    expect((await peer.ended(2)).ended?.protocolStatus).toBe(1)
    expect(bodyOf(await peer.ended(1))).toBe('one')
    peer.send(get(2))
    expect(peer.management).toEqual([])
  })

  test('KEEP_CONN is kept, and without it the application closes', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    for (const id of [1, 1, 2, 65_535]) {
      peer.replies.clear()
      peer.send(get(id))
      expect(bodyOf(await peer.ended(id))).toBe('hello')
    }
    expect(peer.closed).toBe(false)
    peer.send(get(3, {}, false))
    expect(bodyOf(await peer.ended(3))).toBe('hello')
    await peer.closes()
  })

  test('200 requests at a time on one connection each get their own answer', async () => {
    const { server } = await serve(async (request) => {
      await new Promise((resolve) => setTimeout(resolve, Number(request.queryString) % 20))
      return text(200, `${request.queryString} ${(await collect(request.body)).length}`)
    })
    const peer = new Peer(server)
    const next = random(7)
    const ids = Array.from({ length: 200 }, (_, i) => i + 1)
    for (const id of ids) peer.send(begin(id), params(id, { QUERY_STRING: String(id), CONTENT_LENGTH: String(id * 100) }))
    // Their bodies come in turns.
    const left = new Map(ids.map((id) => [id, id * 100]))
    while (left.size > 0) {
      const id = [...left.keys()][next(left.size)]!
      const size = Math.min(left.get(id)!, 1 + next(5000))
      peer.send(stdin(id, Buffer.alloc(size, 'x')))
      if (left.get(id)! > size) left.set(id, left.get(id)! - size)
      else {
        left.delete(id)
        peer.send(stdin(id))
      }
    }
    for (const id of ids) expect(bodyOf(await peer.ended(id))).toBe(`${id} ${id * 100}`)
  })

  test('what is said on errors goes to STDERR, and no further than its limit', async () => {
    const { server, said } = await serve((request) => {
      request.errors.write('one é\n')
      for (let i = 0; i < 100; i++) request.errors.write('x'.repeat(1000))
      return text(200, 'ok')
    })
    const peer = new Peer(server)
    peer.send(get(1))
    const { stderr } = await peer.ended()
    expect(stderr).toMatch(/^one é\nx/)
    expect(stderr.length).toBeLessThan(66_000)
    expect(said.length).toBeGreaterThan(30)
  })
})

describe('ABORT_REQUEST', () => {
  test('aborts the signal, and the request ends when its application has', async () => {
    let release!: () => void
    let aborted = false
    const outcomes: Outcome[] = []
    const { server } = await serve(async (request) => {
      request.onFinish((outcome) => void outcomes.push(outcome))
      request.signal.addEventListener('abort', () => void (aborted = true))
      await new Promise<void>((resolve) => (release = resolve))
      return text(200, 'too late')
    })
    const peer = new Peer(server)
    peer.send(get(1))
    await expect.poll(() => release).toBeDefined()
    peer.send(record(ABORT_REQUEST, 1))
    await expect.poll(() => aborted).toBe(true)
    expect(peer.replies.get(1)?.ended).toBe(undefined)
    release()
    expect(await peer.ended()).toMatchObject({ stdout: '', ended: { appStatus: 1, protocolStatus: 0 } })
    expect(outcomes).toMatchObject([{ kind: 'cut' }])
    peer.replies.clear()
    peer.send(get(1))
    await expect.poll(() => outcomes.length + Number(release !== undefined)).toBeGreaterThan(1)
  })

  test('of an answer that is under way stops its body', async () => {
    let reason: unknown
    const body = new Channel({ onCancel: (each) => void (reason = each) })
    const { server } = await serve(() => ({ status: 200, headers: [], body }))
    const peer = new Peer(server)
    peer.send(get(1))
    body.write(Buffer.from('a'))
    await expect.poll(() => peer.replies.get(1)?.stdout).toMatch(/a$/)
    peer.send(record(ABORT_REQUEST, 1))
    expect((await peer.ended()).stdoutEnded).toBe(true)
    expect(reason).toMatchObject({ code: 'CLIENT_GONE' })
    expect(peer.closed).toBe(false)
  })

  test('before the variables are there, and of requests that are not, harms nobody', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    peer.send(record(ABORT_REQUEST, 5), begin(1), record(ABORT_REQUEST, 1), record(ABORT_REQUEST, 1))
    await peer.ended(1)
    peer.send(params(1), stdin(1), stdin(9, 'late'), record(DATA, 9, 'x'), get(2))
    expect(bodyOf(await peer.ended(2))).toBe('hello')
  })
})

describe('a hostile web server', () => {
  test.each<[string, Buffer[]]>([
    ['a record of version 0', [record(BEGIN_REQUEST, 1, '', { version: 0 })]],
    ['a BEGIN_REQUEST that is too short', [record(BEGIN_REQUEST, 1, 'abc')]],
    ['a BEGIN_REQUEST for a request that is active', [begin(1), begin(1)]],
    ['a request with the id 0', [record(BEGIN_REQUEST, 0, bytes('00 01 01 00 00 00 00 00'))]],
    ['a management record with an id', [record(GET_VALUES, 3)]],
    ['STDIN before the end of PARAMS', [begin(1), stdin(1, 'x')]],
    ['PARAMS after their end', [begin(1), params(1), record(PARAMS, 1, pair('A', 'b'))]],
    ['STDIN after its end', [begin(1), params(1, { CONTENT_LENGTH: '3' }), stdin(1), stdin(1, 'x')]],
    ['STDOUT from the wrong side', [begin(1), record(STDOUT, 1, 'x')]],
    ['END_REQUEST from the wrong side', [begin(1), record(END_REQUEST, 1, bytes('00 00 00 00 00 00 00 00'))]],
    ['a pair of two lengths that would wrap around', [begin(1), record(PARAMS, 1, bytes('ff ff ff ff ff ff ff ff'))]],
    ['a pair that is cut', [begin(1), record(PARAMS, 1, bytes('05 05 41')), record(PARAMS, 1)]],
    ['too many variables', [begin(1), record(PARAMS, 1, Buffer.concat(Array.from({ length: 3000 }, () => pair('A', ''))))]],
    ['too much of variables', [begin(1), ...Array.from({ length: 20 }, (_, i) => record(PARAMS, 1, pair(`A${i}`, 'x'.repeat(60_000))))]],
    ['bad names in GET_VALUES', [record(GET_VALUES, 0, bytes('ff ff ff ff 01'))]],
  ])('%s ends the connection, and nothing else', async (_, parts) => {
    const { server } = await serve(() => new Promise(() => {}))
    const other = new Peer(server)
    other.send(get(1))
    const peer = new Peer(server)
    peer.send(...parts)
    await peer.closes()
    expect(other.closed).toBe(false)
  })

  test('variables that do not come in time end the connection', async () => {
    const { server } = await serve(hello, { limits: { paramsTimeout: 100 } })
    const peer = new Peer(server)
    peer.send(begin(1))
    await peer.closes()
    // Nor the news whether there is a body.
    const other = new Peer(server)
    other.send(begin(1), params(1))
    await other.closes()
  })

  test('a body that does not come in time is 408 to its reader', async () => {
    const { server } = await serve(echo, { limits: { bodyTimeout: 100 } })
    const peer = new Peer(server)
    peer.send(begin(1), params(1, { CONTENT_LENGTH: '9' }), stdin(1, 'h'))
    expect((await peer.ended()).stdout).toMatch(/^Status: 408 /)
  })

  test('an unused connection is closed in time', async () => {
    const { server } = await serve(hello, { limits: { idleTimeout: 60 } })
    const peer = new Peer(server)
    peer.send(get(1))
    await peer.ended()
    await peer.closes()
  })

  test('who asks and does not read is closed on', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    peer.socket.pause()
    const flood = Buffer.concat(Array.from({ length: 4000 }, () => record(77, 0)))
    for (let i = 0; i < 100 && !peer.closed; i++) {
      peer.socket.write(flood)
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    peer.socket.resume()
    await peer.closes()
  })

  test('more connections than there may be are closed', async () => {
    const { server } = await serve(hello, { limits: { connections: 2 } })
    const peers = [new Peer(server), new Peer(server)]
    for (const peer of peers) {
      peer.send(get(1))
      await peer.ended()
    }
    await new Peer(server).closes()
    expect(peers.some((peer) => peer.closed)).toBe(false)
  })

  test('random changes of a good conversation never harm another one', async () => {
    const { server } = await serve(echo)
    const good = Buffer.concat([
      begin(1),
      params(1, { CONTENT_LENGTH: '5', HTTP_COOKIE: 'a=b' }),
      stdin(1, 'hello'),
      stdin(1),
      record(GET_VALUES, 0, pair('FCGI_MAX_REQS', '')),
      get(2, {}, false),
    ])
    const next = random(42)
    for (let round = 0; round < 300; round++) {
      const bad = Buffer.from(good)
      for (let i = 0; i <= next(4); i++) bad[next(bad.length)] = next(256)
      const peer = new Peer(server)
      peer.send(bad.subarray(0, next(4) === 0 ? next(bad.length) : bad.length))
      if (round % 30 === 0) {
        const calm = new Peer(server)
        calm.send(begin(1), params(1, { CONTENT_LENGTH: '5' }), stdin(1, 'hello'), stdin(1))
        expect(bodyOf(await calm.ended())).toBe('hello')
      }
      await new Promise((resolve) => setImmediate(resolve))
      peer.socket.destroy()
    }
  })
})

const factsOf = async (
  variables: Record<string, string>,
  options: FastCgiServerOptions = {},
): Promise<{ status: number; facts: Record<string, unknown> }> => {
  const { server } = await serve((request) => {
    const { scriptName, pathInfo, rawPathInfo, target, scheme, protocol, remote, local } = request
    const names = [
      'HTTP_PROXY',
      'HTTP_X_ONE',
      'PHP_VALUE',
      'PHP_ADMIN_VALUE',
      'REQUEST_BODY_FILE',
      'UWSGI_FILE',
      'SCRIPT_FILENAME',
      'REMOTE_USER',
      'SERVER_NAME',
    ]
    const given = Object.fromEntries(names.map((name) => [name, request.variables.get(name)]).filter(([, value]) => value !== undefined))
    return text(
      200,
      JSON.stringify({
        scriptName,
        pathInfo,
        rawPathInfo,
        target,
        scheme,
        protocol,
        remote,
        local,
        headers: request.headers.list,
        own: request.variables.own,
        ...given,
      }),
    )
  }, options)
  const peer = new Peer(server)
  peer.send(get(1, variables))
  const reply = await peer.ended()
  const status = Number(/^Status: (\d+)/.exec(reply.stdout)?.[1])
  return { status, facts: status === 200 ? (JSON.parse(bodyOf(reply)) as Record<string, unknown>) : {} }
}

describe('variables', () => {
  test('become members and fields', async () => {
    const variables = {
      HTTPS: 'on',
      REMOTE_ADDR: '192.0.2.1',
      REMOTE_PORT: '4711',
      SERVER_ADDR: '192.0.2.2',
      SERVER_PORT: '443',
      SERVER_NAME: 'a.example',
      HTTP_X_ONE: '1',
      CONTENT_TYPE: 'a/b',
      REMOTE_USER: 'me',
    }
    expect((await factsOf(variables)).facts).toEqual({
      scriptName: '',
      pathInfo: '/',
      rawPathInfo: '/',
      target: '/',
      scheme: 'https',
      protocol: 'HTTP/1.1',
      remote: { address: '192.0.2.1', port: 4711 },
      local: { address: '192.0.2.2', port: 443 },
      headers: ['x-one', '1', 'content-type', 'a/b'],
      own: ['REMOTE_USER', 'me'],
      HTTP_X_ONE: '1',
      REMOTE_USER: 'me',
      SERVER_NAME: 'a.example',
    })
  })

  const dangerous = { PHP_VALUE: 'a', PHP_ADMIN_VALUE: 'b', REQUEST_BODY_FILE: '/c', UWSGI_FILE: '/d', SCRIPT_FILENAME: '/e' }
  test('that decide which code runs are dropped unless they are trusted', async () => {
    expect((await factsOf({ ...dangerous, HTTP_PROXY: 'http://evil', HTTP_CONTENT_LENGTH: '7' })).facts).toMatchObject({
      own: [],
      headers: [],
    })
    expect((await factsOf(dangerous, { trusted: ['SCRIPT_FILENAME', 'PHP_VALUE'] })).facts['own']).toEqual([
      'PHP_VALUE',
      'a',
      'SCRIPT_FILENAME',
      '/e',
    ])
  })

  test.each([
    ['/app.fcgi', '/x y', '/app.fcgi/x%20y?q', undefined, '/app.fcgi', '/x y', '/x%20y'],
    ['/', '', '/', undefined, '', '/', '/'],
    ['', '', '/', undefined, '', '', ''],
    ['/a/', '', '/a/', undefined, '/a', '/', '/'],
    ['/deep/page', '', '/deep/page', '/', '', '/deep/page', '/deep/page'],
    ['/deep/page', '', '/deep/page', '/deep', '/deep', '/page', '/page'],
    ['/deep', '', '/deep', '/deep/', '/deep', '', ''],
    // Rewritten by the web server: what the client sent is another path.
    ['/new', '/x y', '/old', undefined, '/new', '/x y', '/x%20y'],
    ['/app', '/a/b', '/app/a%2Fb', undefined, '/app', '/a/b', '/a%2Fb'],
    ['/app', '/b', '/app/a/../b', undefined, '/app', '/b', '/b'],
  ])('SCRIPT_NAME %j and PATH_INFO %j of %j, mounted at %s', async (script, path, uri, mount, scriptName, pathInfo, rawPathInfo) => {
    const { facts: seen } = await factsOf({ SCRIPT_NAME: script, PATH_INFO: path, REQUEST_URI: uri }, mount === undefined ? {} : { mount })
    expect(seen).toMatchObject({ scriptName, pathInfo, rawPathInfo, target: uri })
  })

  test.each<[string, Record<string, string>, number]>([
    ['a method that is none', { REQUEST_METHOD: 'GE T' }, 400],
    ['a length that is none', { CONTENT_LENGTH: '1e3' }, 400],
    ['a length below nothing', { CONTENT_LENGTH: '-2' }, 400],
    ['a path above the root', { PATH_INFO: '/../etc' }, 400],
    ['a dot segment', { SCRIPT_NAME: '/a/./b' }, 400],
    ['a NUL in the path', { PATH_INFO: '/a\0b' }, 400],
    ['a path that is none', { PATH_INFO: 'a' }, 400],
    ['a line break in the query', { QUERY_STRING: 'a\nb' }, 400],
    ['a line break in a field', { HTTP_X: 'a\r\nb' }, 400],
    ['a NUL in a variable', { REMOTE_USER: 'a\0b' }, 400],
    ['a port that is none', { REMOTE_PORT: '99999', SERVER_PORT: '-1' }, 200],
    ['a name that no field has', { 'HTTP_A B': 'x', HTTP_: 'y' }, 200],
  ])('%s: %j is %i', async (_, variables, status) => {
    expect((await factsOf(variables)).status).toBe(status)
  })

  test('outside the mount are 404', async () => {
    expect((await factsOf({ SCRIPT_NAME: '/application' }, { mount: '/app' })).status).toBe(404)
  })

  test('can be asked for one by one', async () => {
    const { server } = await serve((request) => text(200, `${variable(request, 'HTTP_COOKIE')} ${variable(request, 'SERVER_PROTOCOL')}`))
    const peer = new Peer(server)
    peer.send(get(1, { HTTP_COOKIE: 'a=b; c=d' }))
    expect(bodyOf(await peer.ended())).toBe('a=b; c=d HTTP/1.1')
  })
})

describe('the door', () => {
  test('a unix socket has its mode and is gone afterwards', async () => {
    const path = join(folder, 'mode.sock')
    const { server } = await serve(hello, { listen: { path, mode: 0o600 } })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    await server.close(100)
    expect(() => statSync(path)).toThrow()
  })

  test.runIf(process.getuid?.() === 0)('a unix socket belongs to whom it is to belong to', async () => {
    const path = join(folder, 'owner.sock')
    await serve(hello, { listen: { path, uid: 1234, gid: 4321 } })
    expect(statSync(path)).toMatchObject({ uid: 1234, gid: 4321 })
    const other = join(folder, 'group.sock')
    await serve(hello, { listen: { path: other, gid: 4321 } })
    expect(statSync(other)).toMatchObject({ uid: 0, gid: 4321 })
  })

  test.each([
    ['127.0.0.1', '127.0.0.1', true],
    ['127.0.0.1', '::ffff:127.0.0.1', true],
    ['127.0.0.1', '127.0.0.0/8', true],
    ['127.0.0.1', '127.0.0.2', false],
    ['::1', '::1', true],
    ['::1', '::2', false],
    ['::1', '1::1', false],
    ['::1', '127.0.0.1', false],
  ])('from %s with %s on the list: %s', async (host, entry, allowed) => {
    const { server } = await serve(hello, { listen: { host, port: 0 }, allow: [entry] })
    const peer = new Peer(server)
    peer.send(get(1))
    if (allowed) expect(bodyOf(await peer.ended())).toBe('hello')
    else {
      await peer.closes()
      expect(peer.received).toBe(0)
    }
  })

  test('a request of somebody who is not on the list, and gone before he is accepted, is not carried out', async () => {
    let asked = 0
    const application: Application = () => {
      asked++
      return empty(204)
    }
    const { server } = await serve(application, { listen: { port: 0 }, allow: ['127.0.0.2'] })
    const { port } = server.address as { port: number }
    // Accepting waits for this process, which waits for the other one: its connection is reset by then, and says no more from where it came.
    const script = `const socket = require('net').connect(${port}, '127.0.0.1')
      socket.write(Buffer.from('${get(1).toString('hex')}', 'hex'), () => socket.resetAndDestroy())`
    expect(spawnSync(process.execPath, ['-e', script]).status).toBe(0)
    const allowed = connect({ host: '127.0.0.1', port, localAddress: '127.0.0.2' })
    closers.push(() => allowed.destroy())
    allowed.write(get(1))
    await once(allowed, 'data')
    expect(asked).toBe(1)
  })

  test.each<[string, FastCgiServerOptions, RegExp]>([
    ['standard input that is no socket', {}, /^fastcgi: serveFastCgi: standard input is no listening socket/],
    ['an address that is none', { listen: { port: 0 }, allow: ['web1'] }, /^fastcgi: allow: expected addresses, got "web1"/],
    ['a limit that is none', { listen: { port: 0 }, limits: { requests: 0 } }, /^fastcgi: limits.requests: expected a whole number from 1/],
    ['a folder that is none', { listen: { path: '/nowhere/a.sock' } }, /^fastcgi: cannot listen on \/nowhere\/a.sock/],
  ])('%s is a CONFIG error', async (_, options, message) => {
    await expect(serveFastCgi(hello, options)).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringMatching(message) as string })
  })

  test('close answers what has come, ends idle connections without a reset, and cuts what takes too long', async () => {
    const { server } = await serve((request) =>
      request.queryString === '' ? new Promise((resolve) => setTimeout(() => resolve(text(200, 'late')), 100)) : new Promise(() => {}),
    )
    const idle = new Peer(server)
    const busy = new Peer(server)
    busy.send(get(1))
    const stuck = new Peer(server)
    stuck.send(get(1, { QUERY_STRING: 'stuck' }))
    const resets: Error[] = []
    for (const peer of [idle, busy]) peer.socket.on('error', (error) => void resets.push(error))
    await new Promise((resolve) => setTimeout(resolve, 20))
    const began = performance.now()
    await server.close(900)
    expect(performance.now() - began).toBeGreaterThan(800)
    expect(bodyOf(await busy.ended())).toBe('late')
    await Promise.all([idle, busy, stuck].map((peer) => peer.closes()))
    expect(resets).toEqual([])
    await server.close(0)
  })

  test('swap gives the next request to another application', async () => {
    const { server } = await serve(hello)
    const peer = new Peer(server)
    peer.send(get(1))
    expect(bodyOf(await peer.ended())).toBe('hello')
    server.swap(() => text(200, 'other'))
    peer.replies.clear()
    peer.send(get(1))
    expect(bodyOf(await peer.ended())).toBe('other')
  })
})
