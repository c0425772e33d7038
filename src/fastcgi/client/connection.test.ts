import { connect } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import { Channel, FileSlice, collect, releaseBuffers, streamOf } from '../../core/index.ts'
import type { ByteStream, GatewayRequest, GatewayResponse } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import {
  close,
  expectClose,
  expectParams,
  expectRequest,
  gate,
  reset,
  scripted,
  send,
  standing,
  stopReading,
  until,
} from '../../../test/scripted.ts'
import type { Scripted, Step } from '../../../test/scripted.ts'
import * as wire from '../../../test/wire.ts'
import type { Call, CallEnd } from './call.ts'
import { Connection } from './connection.ts'
import { encodeRequest } from '../params.ts'
import { Role } from '../record.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0)) await each[Symbol.asyncDispose]()
})

interface Line {
  readonly upstream: Scripted
  readonly connection: Connection
  /** How each call ended, in order. */
  readonly ends: CallEnd[]
  readonly lines: string[]
  /** What was logged as a warning. */
  readonly warned: object[]
  readonly closed: Promise<unknown>
  send(parts?: Partial<Call> & { keep?: boolean }): Promise<GatewayResponse>
}

/** A connection to a peer that carries out these steps. */
async function line(...steps: (Step | 'tcp')[]): Promise<Line> {
  const plain = steps.filter((step) => step !== 'tcp')
  const upstream = await (steps.includes('tcp') ? scripted(plain, 'tcp') : scripted(plain))
  opened.push(upstream)
  const socket = connect(upstream.address)
  const warned: object[] = []
  const log = { debug() {}, info() {}, warn: (fields: object) => void warned.push(fields), error() {} }
  const connection = new Connection(socket, { peer: 'peer', log })
  const ends: CallEnd[] = []
  const lines: string[] = []
  const closed = new Promise((resolve) => {
    connection.onClose = resolve
  })
  opened.push({
    [Symbol.asyncDispose]: () => {
      connection.close()
      return Promise.resolve()
    },
  })
  return {
    upstream,
    connection,
    ends,
    lines,
    warned,
    closed,
    send: ({ keep = true, ...parts } = {}) =>
      connection.send({
        request: makeRequest(),
        head: encodeRequest(1, Role.Responder, keep, (emit) => emit('A', 'b')),
        body: null,
        hold: { bytes: 65_536, time: 1000 },
        deadlines: { firstByte: 10_000, between: 10_000 },
        stderr: (text) => void lines.push(text),
        onEnd: (how) => void ends.push(how),
        ...parts,
      }),
  }
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  if (body instanceof FileSlice) throw new Error('a file from an application')
  if (body instanceof Uint8Array) return Buffer.from(body).toString('latin1')
  return (await collect(body)).toString('latin1')
}

const HELLO = 'Content-Type: text/plain\r\n\r\nhello'
const whole = { reusable: true, appStatus: 0, answered: true, taken: true }

describe('an answer', () => {
  test('that ends while it is held is a whole value, with its length', async () => {
    const { send: ask, ends, upstream } = await line(expectRequest(), send(wire.answer(1, HELLO)))
    const response = await ask()
    expect(response).toMatchObject({ status: 200, headers: ['Content-Type', 'text/plain', 'Content-Length', '5'] })
    expect(response.body).toBe('hello')
    expect(await textOf(response)).toBe('hello')
    expect(ends).toEqual([whole])
    expect(upstream.requests).toMatchObject([{ id: 1, role: 1, keep: true, variables: new Map([['A', 'b']]) }])
  })

  test('is the same however its bytes are cut', async () => {
    const bytes = Buffer.concat([
      wire.stderr(1, 'warning: '),
      wire.stdout(1, 'Status: 201 Made\nX-A: 1\n', { padding: 3 }),
      wire.stdout(1, '\nhel', { padding: 1 }),
      wire.stderr(1, 'odd\nend'),
      wire.answer(1, 'lo'),
    ])
    const steps: Step[] = []
    for (let cut = 0; cut <= bytes.length; cut++) steps.push(expectRequest(), send(bytes.subarray(0, cut), bytes.subarray(cut)))
    steps.push(expectRequest(), send(...wire.bytewise(bytes)))
    const { send: ask, ends, lines } = await line(...steps)
    for (let cut = 0; cut <= bytes.length + 1; cut++) {
      const response = await ask()
      expect(response, `cut at ${cut}`).toMatchObject({ status: 201, reason: 'Made', headers: ['X-A', '1', 'Content-Length', '5'] })
      expect(await textOf(response)).toBe('hello')
      expect(ends.at(-1)).toEqual(whole)
      expect(lines.splice(0)).toEqual(['warning: odd', 'end'])
    }
  })

  test('without the record that ends STDOUT is whole, as PHP leaves it out', async () => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.stdout(1, HELLO), wire.endRequest(1)))
    expect(await textOf(await ask())).toBe('hello')
    expect(ends).toEqual([whole])
  })

  test('without a body has none, and its length is 0', async () => {
    const { send: ask } = await line(expectRequest(), send(wire.answer(1, 'Status: 404\n\n')))
    expect(await ask()).toEqual({ status: 404, headers: ['Content-Length', '0'], body: null })
  })

  test('is held no longer than told', async () => {
    const later = gate()
    const { send: ask, ends } = await line(expectRequest(), send(wire.stdout(1, HELLO)), until(later.open), send(wire.answer(1, ', world')))
    const response = await ask({ hold: { bytes: 65_536, time: 5 } })
    expect(response.body).toBeInstanceOf(Channel)
    expect(response.headers).toEqual(['Content-Type', 'text/plain'])
    expect(ends).toEqual([])
    later.pass()
    expect(await textOf(response)).toBe('hello, world')
    expect(ends).toEqual([whole])
  })

  test.each([
    ['bytes', { bytes: 3, time: 10_000 }],
    ['no hold at all', { bytes: 0, time: 0 }],
  ])('is a stream beyond what may be held: %s', async (_, hold) => {
    const later = gate()
    const { send: ask } = await line(expectRequest(), send(wire.stdout(1, HELLO)), until(later.open), send(wire.answer(1, '!')))
    const response = await ask({ hold })
    expect(response.body).toBeInstanceOf(Channel)
    later.pass()
    expect(await textOf(response)).toBe('hello!')
  })

  test('frees the connection before it is handed on, so that the next request is already under way', async () => {
    const {
      connection,
      send: ask,
      upstream,
    } = await line(expectRequest(), send(wire.answer(1, HELLO)), expectRequest(), send(wire.answer(1, HELLO)))
    const order: string[] = []
    let second: Promise<GatewayResponse> | undefined
    const first = ask({
      onEnd: () => {
        order.push('end', `busy ${connection.busy}`)
        second = ask()
      },
    }).then(() => order.push('answer'))
    await first
    expect(order).toEqual(['end', 'busy false', 'answer'])
    expect(await textOf((await second)!)).toBe('hello')
    expect(upstream.requests).toHaveLength(2)
  })

  test('whose every promised byte is here does not wait for the program to end', async () => {
    const later = gate()
    const { send: ask, ends } = await line(
      expectRequest(),
      send(wire.stdout(1, 'Content-Length: 5\r\n\r\nhello')),
      until(later.open),
      send(wire.endRequest(1)),
    )
    const response = await ask({ hold: { bytes: 65_536, time: 60_000 } })
    expect(response.headers).toEqual(['Content-Length', '5'])
    expect(response.body).toBe('hello')
    expect(await textOf(response)).toBe('hello')
    expect(ends).toEqual([])
    later.pass()
    await expect.poll(() => ends).toEqual([whole])
  })

  test.each([
    ['in one read', [wire.answer(1, 'Content-Length: 5\r\n\r\nhello, world')]],
    ['in the reads after it', [wire.stdout(1, 'Content-Length: 5\r\n\r\nhello'), wire.answer(1, ', world')]],
  ])('longer than its Content-Length is cut to it, and it is said: %s', async (_, parts) => {
    const { send: ask, ends, warned } = await line(expectRequest(), send(...parts))
    expect(await textOf(await ask())).toBe('hello')
    await expect.poll(() => ends).toEqual([whole])
    expect(warned).toEqual([expect.objectContaining({ excess: 7 })])
  })

  test('shorter than its Content-Length is an error, whole or streamed', async () => {
    const later = gate()
    const { send: ask, ends } = await line(
      expectRequest(),
      send(wire.answer(1, 'Content-Length: 6\r\n\r\nhello')),
      expectRequest(),
      send(wire.stdout(1, 'Content-Length: 6\r\n\r\nhel')),
      until(later.open),
      send(wire.answer(1, 'lo')),
    )
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
    const streamed = await ask({ hold: { bytes: 0, time: 0 } })
    later.pass()
    await expect(textOf(streamed)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(ends).toMatchObject([{ reusable: true, error: { code: 'UPSTREAM_TRUNCATED' } }, { reusable: true }])
  })

  test.each([
    ['HEAD', 'Content-Length: 5\r\n\r\nhello', ['Content-Length', '5']],
    ['HEAD', HELLO, ['Content-Type', 'text/plain']],
    ['GET', 'Status: 304\r\nETag: "a"\r\n\r\nhello', ['ETag', '"a"']],
    ['GET', 'Status: 204\r\nContent-Length: 5\r\n\r\nhello', []],
  ])('to %s of %j has no body, and the connection stays usable', async (method, text, headers) => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.answer(1, text)), expectRequest(), send(wire.answer(1, HELLO)))
    const response = await ask({ request: makeRequest({ method }) })
    expect(response.body).toBe(null)
    expect(response.headers).toEqual(headers)
    expect(ends).toEqual([whole])
    expect(await textOf(await ask())).toBe('hello')
  })

  test('to HEAD with an endless body costs the connection, not the answer', async () => {
    const block = wire.stdout(1, 'x'.repeat(60_000))
    const {
      send: ask,
      ends,
      closed,
    } = await line(expectRequest(), send(wire.stdout(1, HELLO), ...Array.from({ length: 40 }, () => block)), expectClose())
    const response = await ask({ request: makeRequest({ method: 'HEAD' }) })
    expect(response.status).toBe(200)
    await closed
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test('with a status of the program other than 0 says so', async () => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.stdout(1, HELLO), wire.endRequest(1, { app: 255 })))
    await ask()
    expect(ends).toEqual([{ ...whole, appStatus: 255 }])
  })

  test.each([
    [false, { status: 302, headers: ['Location', '/next', 'Content-Length', '0'], body: null }],
    [true, { status: 302, headers: [], body: null, internal: { redirect: '/next' } }],
  ])('that is a local redirect: internal %s', async (localRedirects, expected) => {
    const { send: ask } = await line(expectRequest(), send(wire.answer(1, 'Location: /next\r\n\r\n')))
    expect(await ask({ localRedirects })).toEqual(expected)
  })
})

describe('half an answer', () => {
  test.each([
    ['before anything', []],
    ['within a record', [send(wire.stdout(1, HELLO).subarray(0, 12))]],
    ['within the head', [send(wire.stdout(1, 'Status: 200\r\nX: '))]],
    ['while it is held', [send(wire.stdout(1, HELLO))]],
    ['after the end of STDOUT', [send(wire.stdout(1, HELLO), wire.record(wire.STDOUT, 1))]],
  ])('that ends %s is 502', async (_, steps) => {
    const { send: ask, ends, closed } = await line(expectRequest(), ...steps, close())
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
    await closed
    expect(ends).toMatchObject([{ reusable: false, taken: true }])
  })

  test('that ends in a reset is 502', async () => {
    const { send: ask } = await line('tcp', expectRequest(), reset())
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502, message: expect.stringContaining('ECONNRESET') })
  })

  test('that ends while it is streamed fails the stream, after what had come', async () => {
    const { send: ask } = await line(expectRequest(), send(wire.stdout(1, HELLO)), close())
    const response = await ask({ hold: { bytes: 0, time: 0 } })
    const seen: string[] = []
    const read = async (): Promise<void> => {
      for await (const chunk of response.body as ByteStream) seen.push(Buffer.from(chunk).toString())
    }
    await expect(read()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(seen).toEqual(['hello'])
  })
})

describe('a head', () => {
  test('is refused when it is missing, and the connection stays', async () => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.endRequest(1)), expectRequest(), send(wire.answer(1, HELLO)))
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_HEAD', status: 502 })
    expect(ends).toMatchObject([{ reusable: true, appStatus: 0 }])
    expect(await textOf(await ask())).toBe('hello')
  })

  test.each([
    ['malformed', 'no colon\r\n\r\nbody'],
    ['a response split', 'X: a\rSet-Cookie: b\r\n\r\n'],
    ['over its limit', `X: ${'x'.repeat(300)}\r\n\r\n`],
    ['over its limit without an end', 'x'.repeat(300)],
  ])('that is %s is 502, and the connection stays', async (_, text) => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.answer(1, text)), expectRequest(), send(wire.answer(1, HELLO)))
    await expect(ask({ headLimit: 256 })).rejects.toMatchObject({ code: 'UPSTREAM_HEAD', status: 502 })
    expect(ends).toMatchObject([{ reusable: true, error: { code: 'UPSTREAM_HEAD' } }])
    expect(await textOf(await ask({ headLimit: 256 }))).toBe('hello')
  })

  test('without end ends with the connection, in bounded memory', async () => {
    const block = wire.stdout(1, 'x'.repeat(60_000))
    const { send: ask, ends, closed } = await line(expectRequest(), send(...Array.from({ length: 40 }, () => block)), expectClose())
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_HEAD' })
    await closed
    expect(ends).toMatchObject([{ reusable: false, error: { code: 'UPSTREAM_HEAD' } }])
  })
})

describe('a peer that breaks the protocol', () => {
  test.each([
    ['bytes that are no records', Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')],
    ['a record that only a web server sends', wire.record(wire.STDIN, 1, 'x')],
    ['BEGIN_REQUEST', wire.record(wire.BEGIN_REQUEST, 1, Buffer.alloc(8))],
    ['an END_REQUEST that is too short', wire.record(wire.END_REQUEST, 1, 'abc')],
    ['STDOUT after its end', Buffer.concat([wire.stdout(1, HELLO), wire.record(wire.STDOUT, 1), wire.stdout(1, 'more')])],
  ])('with %s loses the connection', async (_, bytes) => {
    const { send: ask, ends, closed } = await line(expectRequest(), send(bytes), expectClose())
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_PROTOCOL', status: 502 })
    expect(await closed).toMatchObject({ code: 'UPSTREAM_PROTOCOL' })
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test.each([
    [1, 503, 'UNAVAILABLE'],
    [2, 503, 'UNAVAILABLE'],
    [3, 502, 'UPSTREAM_PROTOCOL'],
    [9, 502, 'UPSTREAM_PROTOCOL'],
  ])('by protocol status %i is %i %s', async (protocol, status, code) => {
    const { send: ask } = await line(expectRequest(), send(wire.endRequest(1, { protocol })))
    await expect(ask()).rejects.toMatchObject({ status, code })
  })

  test.each([
    ['another id', [wire.stdout(2, 'Status: 500\n\nforged'), wire.answer(1, HELLO)]],
    ['the same id after its end', [Buffer.concat([wire.answer(1, HELLO), wire.stdout(1, 'late')])]],
    ['part of a record', [Buffer.concat([wire.answer(1, HELLO), wire.bytes('01 06')])]],
  ])('with records of %s gives this answer and no other on this connection', async (_, parts) => {
    const { send: ask, ends, closed } = await line(expectRequest(), send(...parts), expectClose())
    expect(await textOf(await ask())).toBe('hello')
    await closed
    expect(ends).toEqual([{ ...whole, reusable: false }])
  })

  test('that speaks without being asked loses the connection', async () => {
    const { closed, connection } = await line(send(wire.stdout(1, 'hello?')), expectClose())
    expect(await closed).toMatchObject({ code: 'UPSTREAM_PROTOCOL' })
    expect(connection.closed).toBe(true)
  })

  test('that begins to speak between two requests loses the connection: the next one gets nothing of it', async () => {
    const stale = wire.stdout(1, 'Content-Type: text/plain\r\n\r\nmeant for somebody else')
    for (const cut of [1, 4, 7]) {
      const begun = gate()
      const steps = [expectRequest(), send(wire.answer(1, HELLO)), until(begun.open), send(stale.subarray(0, cut)), expectClose()]
      const { send: ask, ends, closed, connection } = await line(...steps)
      expect(await textOf(await ask())).toBe('hello')
      begun.pass()
      await closed
      expect(connection.closed).toBe(true)
      expect(ends).toEqual([whole])
    }
  })

  test('with management records nobody asked for does no harm', async () => {
    const unknown = wire.record(wire.UNKNOWN_TYPE, 0, Buffer.alloc(8))
    const { send: ask, ends } = await line(
      expectRequest(),
      send(unknown, wire.answer(1, HELLO), unknown),
      expectRequest(),
      send(wire.answer(1, HELLO)),
    )
    expect(await textOf(await ask())).toBe('hello')
    expect(await textOf(await ask())).toBe('hello')
    expect(ends).toEqual([whole, whole])
  })

  test('whose padding comes later keeps the connection', async () => {
    const bytes = Buffer.concat([wire.stdout(1, HELLO), wire.endRequest(1, {}, { padding: 200 })])
    const { send: ask, ends } = await line(
      expectRequest(),
      send(bytes.subarray(0, -150), bytes.subarray(-150)),
      expectRequest(),
      send(wire.answer(1, HELLO)),
    )
    await ask()
    expect(await textOf(await ask())).toBe('hello')
    expect(ends).toEqual([whole, whole])
  })

  test('and whose STDERR is cut in the middle of a line is heard whole, though what came with it has left and its memory is gone', async () => {
    const rest = gate()
    const { send: ask, lines } = await line(
      expectRequest(),
      send(Buffer.concat([wire.stdout(1, `Content-Type: text/plain\r\n\r\n${'x'.repeat(40_000)}`), wire.stderr(1, 'half a ')])),
      until(rest.open),
      send(Buffer.concat([wire.stderr(1, 'line\n'), wire.stdout(1, 'end'), wire.endRequest(1)])),
    )
    const { body } = await ask({ hold: { bytes: 0, time: 0 } })
    if (!(body instanceof Channel)) throw new Error('not a stream')
    let length = 0
    const take = (chunks: readonly Uint8Array[]): true => {
      for (const chunk of chunks) length += chunk.length
      // As the door does with what has left.
      releaseBuffers(chunks)
      if (length >= 40_000) rest.pass()
      return true
    }
    await new Promise<void>((resolve, reject) => {
      body.pushTo({ write: (chunk) => take([chunk]), writeAll: take, end: resolve, fail: reject })
    })
    expect(length).toBe(40_003)
    expect(lines).toEqual(['half a line'])
  })

  test('and floods STDERR is heard within bounds', async () => {
    const { send: ask, lines } = await line(
      expectRequest(),
      send(...Array.from({ length: 20 }, () => wire.stderr(1, 'e'.repeat(20_000)))),
      send(wire.answer(1, HELLO)),
    )
    await ask()
    expect(lines.map((text) => text.length)).toEqual([...Array.from({ length: 8 }, () => 8192), expect.any(Number)])
    expect(lines.at(-1)).toBe(`(${400_000 - 65_536} more bytes of standard error were dropped)`)
  })

  test('by any change of its bytes never hangs, never throws and never forges a clean end (CVE-2026-42946)', async () => {
    const next = wire.random(3)
    const good = Buffer.concat([
      wire.stdout(1, 'Content-Length: 11\r\n\r\nhello '),
      wire.stderr(1, 'x\n'),
      wire.stdout(1, 'world'),
      wire.endRequest(1),
    ])
    for (let round = 0; round < 150; round++) {
      const mutated = Buffer.from(good)
      for (let n = 1 + next(3); n > 0; n--) mutated[next(mutated.length)] = next(256)
      const { send: ask, ends } = await line(expectRequest(), send(mutated), close())
      try {
        const response = await ask({ hold: { bytes: 0, time: 0 } })
        const text = await textOf(response)
        const declared = response.headers[response.headers.findIndex((name) => name.toLowerCase() === 'content-length') + 1]
        expect(text.length).toBe(Number(declared))
      } catch (error) {
        expect(error).toMatchObject({ name: 'GatewayError', status: expect.any(Number) })
      }
      await expect.poll(() => ends.length).toBe(1)
    }
  })
})

/** Answers with the length of what it was sent. */
const echo = (): Step => async (peer) => {
  const { stdin } = await peer.next(true)
  await send(wire.answer(1, `X-Length: ${stdin.length}\r\n\r\n`))(peer)
}

const pattern = (length: number): Buffer => Buffer.from(Array.from({ length }, (_, i) => (i * 7) & 255))

describe('a request body', () => {
  test.each([0, 1, 7, 8, 4096, 4097, 65_528, 65_529, 65_535, 65_536, 131_056, 300_000])('of %i bytes in memory arrives', async (length) => {
    const bytes = pattern(length)
    const pieces = [bytes.subarray(0, length >> 2), bytes.subarray(length >> 2, length >> 1), bytes.subarray(length >> 1)]
    const { send: ask, ends, upstream } = await line(echo())
    const response = await ask({ body: pieces })
    expect(response.headers).toContain(String(length))
    expect(upstream.requests[0]!.stdin.equals(bytes)).toBe(true)
    expect(ends).toEqual([whole])
  })

  test('that streams arrives, with backpressure', async () => {
    const bytes = pattern(1_000_000)
    let ahead = 0
    const source = async function* (): AsyncGenerator<Uint8Array> {
      for (let at = 0; at < bytes.length; at += 10_000) {
        ahead = at
        yield bytes.subarray(at, at + 10_000)
      }
    }
    const later = gate()
    const { send: ask, upstream, ends } = await line(stopReading(), until(later.open), (peer) => void peer.socket.resume(), echo())
    const response = ask({ body: streamOf(source()), request: makeRequest({ contentLength: bytes.length }) })
    await expect.poll(() => ahead).toBeGreaterThan(100_000)
    expect(await standing(() => ahead)).toBeLessThan(900_000)
    later.pass()
    expect((await response).headers).toContain('1000000')
    expect(upstream.requests[0]!.stdin.equals(bytes)).toBe(true)
    expect(ends).toEqual([whole])
  })

  test('with empty chunks is not ended by them', async () => {
    const { send: ask } = await line(echo())
    const chunks = [Buffer.from('ab'), Buffer.alloc(0), Buffer.from('cd')]
    const body: ByteStream = {
      ...streamOf([]),
      pushTo(sink) {
        queueMicrotask(() => {
          for (const chunk of chunks) sink.write(chunk)
          sink.writeAll([])
          sink.end()
        })
        return { resume() {} }
      },
    }
    expect((await ask({ body, request: makeRequest({ contentLength: 4 }) })).headers).toContain('4')
  })

  test.each([
    ['fewer', 5],
    ['more', 3],
  ])('with %s bytes than announced costs the connection and is the client’s fault', async (_, contentLength) => {
    const { send: ask, ends, closed } = await line(expectParams(), expectClose())
    const answer = ask({ body: streamOf([Buffer.from('abcd')]), request: makeRequest({ contentLength }) })
    await expect(answer).rejects.toMatchObject({ code: 'BODY_LENGTH_MISMATCH', status: 400 })
    await closed
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test('that breaks off costs the connection', async () => {
    const body = new Channel()
    const { send: ask, ends } = await line(expectParams(), expectClose())
    const answer = ask({ body, request: makeRequest({ contentLength: 10 }) })
    body.write(Buffer.from('abc'))
    body.fail(new Error('client gone'))
    await expect(answer).rejects.toThrow('client gone')
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test('need not be read: an early answer counts, but the connection does not go on', async () => {
    const body = new Channel()
    const { send: ask, ends, closed } = await line(expectParams(), send(wire.answer(1, 'Status: 413\r\n\r\n')), expectClose())
    const answer = ask({ body, request: makeRequest({ contentLength: 10_000_000 }) })
    body.write(Buffer.alloc(1000))
    expect((await answer).status).toBe(413)
    await closed
    expect(ends).toEqual([{ ...whole, reusable: false }])
    expect(body.used).toBe(true)
  })

  test('need not be read even when the application is gone with the answer', async () => {
    const { send: ask } = await line(stopReading(), send(wire.answer(1, 'Status: 413\r\n\r\n')), close())
    const response = await ask({ body: [Buffer.alloc(5_000_000)] })
    expect(response.status).toBe(413)
  })

  test('that the application leaves unread costs the connection, though nothing else', async () => {
    const { send: ask, ends, closed } = await line(stopReading(), send(wire.answer(1, 'Status: 413\r\n\r\n')), until(new Promise(() => {})))
    expect((await ask({ body: [Buffer.alloc(5_000_000)] })).status).toBe(413)
    await closed
    expect(ends).toEqual([{ ...whole, reusable: false }])
  })

  test('of a client that is slow is not the application’s delay', async () => {
    const body = new Channel()
    const { send: ask } = await line(echo())
    const answer = ask({ body, request: makeRequest({ contentLength: 2 }), deadlines: { firstByte: 60, between: 60 } })
    body.write(Buffer.from('a'))
    await new Promise((resolve) => setTimeout(resolve, 150))
    body.write(Buffer.from('b'))
    body.end()
    expect((await answer).status).toBe(200)
  })

  test('that the application does not take is its delay', async () => {
    const { send: ask } = await line(stopReading(), expectClose())
    const body = streamOf(Array.from({ length: 100 }, () => Buffer.alloc(65_536)))
    const answer = ask({ body, request: makeRequest({ contentLength: 6_553_600 }), deadlines: { firstByte: 60, between: 60 } })
    await expect(answer).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
  })
})

/** A head that never ends, a byte at a time. */
const drip: Step = async (peer) => {
  for (let i = 0; i < 1000 && !peer.socket.destroyed; i++) {
    await send(wire.stdout(1, 'x'))(peer)
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

describe('a deadline', () => {
  test('passes when no head comes, whatever else does', async () => {
    const { send: ask, ends } = await line(expectRequest(), send(wire.stdout(1, 'X: ')), expectClose())
    await expect(ask({ deadlines: { firstByte: 50, between: 10_000 } })).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
    expect(ends).toMatchObject([{ reusable: false, error: { code: 'TIMEOUT' } }])
  })

  test('is not put off by a head that comes a byte at a time', async () => {
    const { send: ask } = await line(expectRequest(), drip)
    await expect(ask({ deadlines: { firstByte: 60, between: 10_000 } })).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
  })

  test('passes between two pieces, and cuts the stream', async () => {
    const { send: ask } = await line(expectRequest(), send(wire.stdout(1, HELLO)), expectClose())
    const response = await ask({ hold: { bytes: 0, time: 0 }, deadlines: { firstByte: 10_000, between: 50 } })
    await expect(textOf(response)).rejects.toMatchObject({ code: 'TIMEOUT' })
  })

  test('does not pass while the reader is slow', async () => {
    const big = Array.from({ length: 10 }, () => wire.stdout(1, 'x'.repeat(60_000)))
    const { send: ask } = await line(expectRequest(), send(wire.stdout(1, 'X: 1\n\n')), send(...big), send(wire.endRequest(1)))
    const response = await ask({ hold: { bytes: 0, time: 0 }, deadlines: { firstByte: 10_000, between: 60 } })
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(await textOf(response)).toHaveLength(600_000)
  })
})

describe('a reader', () => {
  test('that is slow stops the application, not the memory', async () => {
    const block = wire.stdout(1, 'x'.repeat(65_528))
    let written = 0
    const flood: Step = async (peer) => {
      for (let i = 0; i < 200; i++) {
        await send(block)(peer)
        written = i
      }
    }
    const { send: ask } = await line(expectRequest(), send(wire.stdout(1, 'X: 1\n\n')), flood, send(wire.endRequest(1)))
    const response = await ask({ hold: { bytes: 0, time: 0 } })
    await expect.poll(() => written).toBeGreaterThan(2)
    expect(await standing(() => written)).toBeLessThan(100)
    expect((response.body as Channel).buffered).toBeLessThan(400_000)
    expect(await textOf(response)).toHaveLength(200 * 65_528)
  })

  test('that leaves closes the connection, which is FastCGI’s abort', async () => {
    const { send: ask, ends, upstream } = await line(expectRequest(), send(wire.stdout(1, HELLO)), expectClose())
    const response = await ask({ hold: { bytes: 0, time: 0 } })
    ;(response.body as ByteStream).cancel()
    await upstream.done()
    expect(ends).toMatchObject([{ reusable: false, error: { code: 'CLIENT_GONE' } }])
  })

  test('that leaves may have the rest drained, so that the connection stays', async () => {
    const later = gate()
    const { send: ask, ends } = await line(
      expectRequest(),
      send(wire.stdout(1, HELLO)),
      until(later.open),
      send(wire.answer(1, 'x'.repeat(50_000))),
      expectRequest(),
      send(wire.answer(1, HELLO)),
    )
    const response = await ask({ hold: { bytes: 0, time: 0 }, onCut: 'drain' })
    ;(response.body as ByteStream).cancel()
    expect(ends).toEqual([])
    later.pass()
    await expect.poll(() => ends).toMatchObject([{ reusable: true, error: { code: 'CLIENT_GONE' } }])
    expect(await textOf(await ask())).toBe('hello')
  })

  test.each([
    ['bytes', { bytes: 1000, time: 10_000 }],
    ['time', { bytes: 1_000_000, time: 50 }],
  ])('that leaves has no more drained than told: %s', async (_, drain) => {
    const later = gate()
    const {
      send: ask,
      ends,
      closed,
    } = await line(expectRequest(), send(wire.stdout(1, HELLO)), until(later.open), send(wire.stdout(1, 'x'.repeat(5000))), expectClose())
    const response = await ask({ hold: { bytes: 0, time: 0 }, onCut: 'drain', drain })
    ;(response.body as ByteStream).cancel()
    later.pass()
    await closed
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test('that leaves before the answer is noticed by the request’s signal', async () => {
    const { send: ask, ends, upstream } = await line(expectRequest(), expectClose())
    const request = makeRequest()
    const answer = ask({ request })
    await expect.poll(() => upstream.requests.length).toBe(1)
    request.abort()
    await expect(answer).rejects.toMatchObject({ code: 'CLIENT_GONE' })
    await upstream.done()
    expect(ends).toMatchObject([{ reusable: false }])
  })

  test('of an answer that comes at once never has a signal made', async () => {
    const { send: ask } = await line(expectRequest(), send(wire.answer(1, HELLO)))
    const request = makeRequest()
    const watched = Object.create(request, {
      signal: {
        get: () => {
          throw new Error('touched')
        },
      },
    }) as GatewayRequest
    expect((await ask({ request: watched })).status).toBe(200)
  })
})

describe('a connection', () => {
  test('without KEEP_CONN takes one request', async () => {
    const { send: ask, ends, closed, upstream } = await line(expectRequest(), send(wire.answer(1, HELLO)), close())
    expect(await textOf(await ask({ keep: false }))).toBe('hello')
    await closed
    expect(ends).toEqual([{ ...whole, reusable: false }])
    expect(upstream.requests[0]!.keep).toBe(false)
  })

  test('takes the id of the request as it was encoded', async () => {
    const { send: ask } = await line(expectRequest(), send(wire.answer(513, HELLO)))
    const head = encodeRequest(513, Role.Responder, true, () => {})
    expect(await textOf(await ask({ head }))).toBe('hello')
  })

  test('that is busy refuses a second request', async () => {
    const { send: ask, connection } = await line(expectRequest(), expectClose())
    const first = ask()
    expect(connection.busy).toBe(true)
    await expect(ask()).rejects.toMatchObject({ code: 'CONTRACT' })
    connection.close()
    await expect(first).rejects.toMatchObject({ code: 'CLOSED', status: 503 })
  })

  test('that was closed fails a request at once, and nothing of it was taken', async () => {
    const { send: ask, connection, ends } = await line()
    connection.close()
    connection.close()
    await expect(ask()).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(ends).toMatchObject([{ reusable: false, answered: false, taken: false }])
  })

  test('that the other side closes while it is idle says so, once', async () => {
    const { closed, connection } = await line(close())
    expect(await closed).toBe(undefined)
    expect(connection.closed).toBe(true)
  })

  test('to nobody is UNAVAILABLE', async () => {
    const connection = new Connection(connect('/nonexistent/viaduct.sock'), { peer: 'nobody' })
    const ends: CallEnd[] = []
    const answer = connection.send({
      request: makeRequest(),
      head: encodeRequest(1, Role.Responder, true, () => {}),
      body: null,
      hold: { bytes: 0, time: 0 },
      deadlines: { firstByte: 1000, between: 1000 },
      onEnd: (how) => void ends.push(how),
    })
    await expect(answer).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 502 })
    expect(ends).toMatchObject([{ reusable: false, answered: false }])
  })
})
