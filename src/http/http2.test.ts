import { once } from 'node:events'
import { connect, constants } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream, IncomingHttpHeaders, OutgoingHttpHeaders } from 'node:http2'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CertificateFolder } from '../../test/certificates.ts'
import type { MadeCertificate } from '../../test/certificates.ts'
import { has } from '../../test/peers.ts'
import { Channel, collect, lint, streamOf, text, type Application, type Outcome, type Server } from '../core/index.ts'
import { serveHttp } from './index.ts'
import type { HttpOptions } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

interface Open {
  readonly server: Server
  readonly client: ClientHttp2Session
  readonly outcomes: Outcome[]
  [Symbol.asyncDispose](): Promise<void>
}

interface Got {
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly trailers: IncomingHttpHeaders | undefined
  readonly code: number
}

/** The whole answer to a stream, however it ends. */
async function answerOf(stream: ClientHttp2Stream): Promise<Got> {
  let headers: IncomingHttpHeaders = {}
  let trailers: IncomingHttpHeaders | undefined
  let body = ''
  stream.setEncoding('latin1')
  stream.on('response', (got) => (headers = got))
  stream.on('trailers', (got) => (trailers = got))
  stream.on('data', (chunk: string) => (body += chunk))
  stream.on('error', () => {})
  await new Promise((resolve) => stream.once('close', resolve))
  return { headers, body, trailers, code: stream.rstCode }
}

const get = (of: Open, headers: OutgoingHttpHeaders = {}): Promise<Got> => answerOf(of.client.request(headers))

const echo: Application = async (request) => text(200, `${request.contentLength} ${(await collect(request.body)).toString('latin1')}`)

describe.skipIf(!has('openssl'))('HTTP/2', () => {
  let folder: CertificateFolder
  let pair: MadeCertificate

  beforeAll(() => {
    folder = new CertificateFolder()
    pair = folder.make('a', ['localhost'])
  })
  afterAll(() => folder.remove())

  async function open(application: Application, options: HttpOptions = {}): Promise<Open> {
    const outcomes: Outcome[] = []
    const watched = lint((request) => {
      request.onFinish((outcome) => void outcomes.push(outcome))
      return application(request)
    })
    const server = await serveHttp(watched, { tls: pair, log: silent, ...options })
    const client = connect(`https://127.0.0.1:${'port' in server.address ? server.address.port : 0}`, { rejectUnauthorized: false })
    client.on('error', () => {})
    return {
      server,
      client,
      outcomes,
      async [Symbol.asyncDispose]() {
        client.destroy()
        await server.close(2000)
      },
    }
  }

  test('a request says what it is, its authority as Host', async () => {
    await using of = await open((request) => {
      const { method, target, protocol, scheme, pathInfo, contentLength, remote } = request
      return text(200, JSON.stringify([method, target, protocol, scheme, pathInfo, contentLength, remote.address, ...request.headers.list]))
    })
    const got = await get(of, { ':path': '/a%20b?c', ':authority': 'x.example', 'x-one': '1', cookie: ['a=1', 'b=2'] })
    expect(JSON.parse(got.body)).toEqual(
      ['GET', '/a%20b?c', 'HTTP/2.0', 'https', '/a b', 0, '127.0.0.1', 'host', 'x.example'].concat([
        'x-one',
        '1',
        'cookie',
        'a=1',
        'cookie',
        'b=2',
      ]),
    )
    expect(got.headers[':status']).toBe(200)
    expect(got.headers).toHaveProperty('date')
    await expect.poll(() => of.outcomes).toEqual([{ kind: 'sent', status: 200, bytes: got.body.length }])
  })

  test('a body is read, with its length or without', async () => {
    await using of = await open(echo)
    const known = of.client.request({ ':method': 'POST', 'content-length': 5 })
    known.end('hello')
    expect((await answerOf(known)).body).toBe('5 hello')
    const unknown = of.client.request({ ':method': 'POST' })
    unknown.write('hel')
    unknown.end('lo')
    expect((await answerOf(unknown)).body).toBe('undefined hello')
  })

  test('fields that are about a connection are left out, and trailers follow', async () => {
    await using of = await open(() => ({ ...text(200, 'x'), trailers: () => ['X-After', 'yes'] }))
    const got = await get(of)
    expect([got.body, got.trailers?.['x-after']]).toEqual(['x', 'yes'])
    await using other = await open((request) => {
      const response = { status: 200, headers: ['Connection', 'x-hop', 'X-Hop', '1', 'Keep-Alive', '5', 'X-Stays', '1'], body: 'x' }
      return request.pathInfo === '/' ? { ...response, headers: response.headers.slice(6) } : response
    })
    expect((await get(other)).headers).toMatchObject({ 'x-stays': '1' })
  })

  test('interim responses come before the answer', async () => {
    await using of = await open(async (request) => {
      request.inform?.(103, ['Link', '</a.css>; rel=preload'])
      return text(200, (await collect(request.body)).toString())
    })
    const informed: (number | undefined)[] = []
    const stream = of.client.request({ ':method': 'POST', expect: '100-continue' })
    stream.on('headers', (headers) => informed.push(headers[':status']))
    stream.on('continue', () => stream.end('body'))
    expect((await answerOf(stream)).body).toBe('body')
    expect(informed).toContain(103)
  })

  test('an answer that breaks is reset, and the connection goes on', async () => {
    await using of = await open((request) => {
      if (request.pathInfo === '/next') return text(200, 'next')
      const body = new Channel()
      body.write(Buffer.from('half'))
      setImmediate(() => body.fail(new Error('broken')))
      return { status: 200, headers: [], body }
    })
    const got = await get(of)
    expect([got.headers[':status'], got.code]).toEqual([200, constants.NGHTTP2_INTERNAL_ERROR])
    await expect.poll(() => of.outcomes.map((each) => each.kind)).toEqual(['failed'])
    expect((await get(of, { ':path': '/next' })).body).toBe('next')
  })

  test.each<[string, () => ReturnType<Application>]>([
    ['shorter', () => ({ status: 200, headers: ['Content-Length', '9'], body: streamOf([Buffer.from('short')]) })],
    ['longer', () => ({ status: 200, headers: ['Content-Length', '2'], body: streamOf([Buffer.from('a'), Buffer.from('bcd')]) })],
  ])('a body that is %s than its length is reset', async (_, application) => {
    await using of = await open((request) => (request.pathInfo === '/' ? application() : text(200, 'x')))
    expect((await get(of)).code).not.toBe(constants.NGHTTP2_NO_ERROR)
  })

  test('an error is its status and no more', async () => {
    await using of = await open(() => Promise.reject(new Error('secret')))
    const got = await get(of)
    expect([got.headers[':status'], got.body]).toEqual([500, ''])
  })

  test.each<[string, OutgoingHttpHeaders, number]>([
    ['CONNECT', { ':method': 'CONNECT', ':authority': 'a:1' }, 501],
    ['a path above the root', { ':path': '/../x' }, 400],
    ['a host that is none', { ':authority': 'a:b:c' }, 400],
    ['a long target', { ':path': `/${'x'.repeat(9000)}` }, 414],
    ['many fields', Object.fromEntries(Array.from({ length: 110 }, (_, i) => [`x-${i}`, '1'])), 431],
    ['a body over the limit', { ':method': 'POST', 'content-length': 2000 }, 413],
    ['an OPTIONS *', { ':method': 'OPTIONS', ':path': '*' }, 204],
  ])('%s is answered by the door', async (_, headers, status) => {
    await using of = await open(() => text(200, 'x'), { limits: { body: 1000 } })
    const stream = of.client.request(headers, { endStream: headers[':method'] !== 'POST' })
    const [got] = (await once(stream, 'response')) as [IncomingHttpHeaders]
    expect(got[':status']).toBe(status)
    stream.destroy()
    expect((await get(of)).headers[':status']).toBe(200)
  })

  test('a head that is too long does not reach the application', async () => {
    let called = 0
    await using of = await open(() => text(200, `${++called}`), { limits: { headerBytes: 4096 } })
    const got = await get(of, { 'x-long': 'x'.repeat(8000) })
    expect(got.headers[':status']).toBe(431)
    expect(called).toBe(0)
  })

  test('a body that nobody reads is taken for a while, and the client told to stop', async () => {
    await using of = await open(() => text(403, 'no'), { limits: { drainBytes: 1000 } })
    const stream = of.client.request({ ':method': 'POST' })
    stream.write(Buffer.alloc(100_000))
    const got = await answerOf(stream)
    expect([got.headers[':status'], got.body, got.code]).toEqual([403, 'no', constants.NGHTTP2_NO_ERROR])
  })

  test('a client that stops in the middle of a body is told 408', async () => {
    await using of = await open(echo, { limits: { bodyTimeout: 50 } })
    const stream = of.client.request({ ':method': 'POST' })
    stream.write('half')
    const [got] = (await once(stream, 'response')) as [IncomingHttpHeaders]
    expect(got[':status']).toBe(408)
    stream.destroy()
  })

  test('a slow reader stops the application, and gets all of it', async () => {
    let made = 0
    await using of = await open(() => ({
      status: 200,
      headers: [],
      body: streamOf(
        (function* () {
          for (; made < 100; made++) yield Buffer.alloc(65_536, 'x')
        })(),
      ),
    }))
    const stream = of.client.request()
    await once(stream, 'response')
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(made).toBeLessThan(50)
    let length = 0
    for await (const chunk of stream) length += (chunk as Buffer).length
    expect(length).toBe(100 * 65_536)
  })

  test('an application that reads nothing stops the client', async () => {
    const body = new Channel()
    let read: (() => void) | undefined
    const go = new Promise<void>((resolve) => (read = resolve))
    await using of = await open(async (request) => {
      await go
      return text(200, String((await collect(request.body)).length))
    })
    body.end()
    const stream = of.client.request({ ':method': 'POST' })
    let sent = 0
    const more = (): void => {
      while (sent < 100) {
        sent++
        if (!stream.write(Buffer.alloc(65_536))) return void stream.once('drain', more)
      }
      stream.end()
    }
    more()
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(sent).toBeLessThan(40)
    read?.()
    expect((await answerOf(stream)).body).toBe(String(100 * 65_536))
  })

  test('a client that leaves cuts its request alone', async () => {
    await using of = await open((request) =>
      request.pathInfo === '/' ? { status: 200, headers: [], body: new Channel() } : text(200, 'still here'),
    )
    const stream = of.client.request()
    await once(stream, 'response')
    stream.close(constants.NGHTTP2_CANCEL)
    await expect.poll(() => of.outcomes.map((each) => each.kind)).toEqual(['cut'])
    expect((await get(of, { ':path': '/x' })).body).toBe('still here')
  })

  test('no more requests run at a time than limits.streams', async () => {
    let running = 0
    let most = 0
    await using of = await open(
      async () => {
        most = Math.max(most, ++running)
        await new Promise((resolve) => setTimeout(resolve, 10))
        running--
        return text(200, 'x')
      },
      { limits: { streams: 4 } },
    )
    await once(of.client, 'remoteSettings')
    await Promise.all(Array.from({ length: 20 }, () => get(of)))
    expect(most).toBe(4)
  })

  test('a client that asks and takes back is ended (CVE-2023-44487)', async () => {
    const said: string[] = []
    const warn = (_: object, message: string): void => void said.push(message)
    let called = 0
    await using of = await open(
      () => {
        called++
        return new Promise(() => {})
      },
      { limits: { streamResets: 20 }, log: { ...silent, warn } },
    )
    // Not `once`, which would reject with the error that comes in between.
    const closed = new Promise((resolve) => of.client.once('close', resolve))
    const goaway = new Promise((resolve) => of.client.once('goaway', resolve))
    await once(of.client, 'remoteSettings')
    for (let i = 0; i < 500 && !of.client.destroyed; i++) {
      const stream = of.client.request()
      stream.on('error', () => {})
      await new Promise((resolve) => setImmediate(resolve))
      stream.close(constants.NGHTTP2_CANCEL)
    }
    expect(await goaway).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    await closed
    expect(called).toBeLessThan(200)
    expect(said.join()).toContain('limits.streamResets')
  })

  test('an answer that has to wait for its client a hundred times is whole, and node warns of nothing', async () => {
    const warnings: string[] = []
    const warn = (warning: Error): void => void warnings.push(`${warning.name}: ${warning.message}`)
    process.on('warning', warn)
    const chunk = Buffer.alloc(262_144)
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (let i = 0; i < 100; i++) yield await Promise.resolve(chunk)
    }
    await using of = await open(() => ({ status: 200, headers: [], body: streamOf(chunks()) }))
    expect((await get(of)).body.length).toBe(26_214_400)
    // Warnings are told in a later turn.
    await new Promise((resolve) => setImmediate(resolve))
    process.off('warning', warn)
    expect(warnings).toEqual([])
  })

  test('a client that takes nothing of its answer is cut, and only its stream', async () => {
    await using of = await open((request) => (request.pathInfo === '/' ? text(200, 'x') : text(200, 'x'.repeat(8_388_608))), {
      limits: { writeTimeout: 100 },
    })
    const stream = of.client.request({ ':path': '/long' })
    stream.on('error', () => {})
    await once(stream, 'response')
    await expect.poll(() => of.outcomes.map((each) => each.kind)).toEqual(['cut'])
    expect((await get(of)).body).toBe('x')
  })

  test('an idle connection ends', async () => {
    await using of = await open(() => text(200, 'x'), { limits: { idleTimeout: 50 } })
    const closed = once(of.client, 'close')
    await get(of)
    await closed
  })

  test('close lets what runs finish, and takes nothing new', async () => {
    const body = new Channel()
    await using of = await open(() => ({ status: 200, headers: [], body }))
    const stream = of.client.request()
    await once(stream, 'response')
    const goaway = once(of.client, 'goaway')
    const closed = of.server.close(5000)
    await goaway
    body.write(Buffer.from('whole'))
    body.end()
    expect((await answerOf(stream)).body).toBe('whole')
    await closed
  })

  test('close cuts what is left after the grace', async () => {
    await using of = await open(() => ({ status: 200, headers: [], body: new Channel() }))
    const stream = of.client.request()
    stream.on('error', () => {})
    await once(stream, 'response')
    const gone = once(stream, 'close')
    await of.server.close(50)
    await gone
    expect(of.outcomes.map((each) => each.kind)).toEqual(['cut'])
  })
})
