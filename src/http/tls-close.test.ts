import { EventEmitter, once } from 'node:events'
import { connect as connectHttp2 } from 'node:http2'
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { connect as connectTls } from 'node:tls'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { CertificateFolder } from '../../test/certificates.ts'
import type { MadeCertificate } from '../../test/certificates.ts'
import { has } from '../../test/peers.ts'
import { text, type Application, type Server } from '../core/index.ts'
import { serveHttp } from './index.ts'
import type { HttpOptions } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

interface Got {
  readonly status: number | undefined
  readonly body: string
}

async function answerOf(stream: ClientHttp2Stream): Promise<Got> {
  let status: number | undefined
  let body = ''
  stream.setEncoding('latin1')
  stream.on('response', (headers) => (status = headers[':status']))
  stream.on('data', (chunk: string) => (body += chunk))
  stream.on('error', () => {})
  await new Promise((resolve) => stream.once('close', resolve))
  return { status, body }
}

const portOf = (server: Server): number => ('port' in server.address ? server.address.port : 0)

describe.skipIf(!has('openssl'))('a door with TLS that closes', () => {
  let folder: CertificateFolder
  let pair: MadeCertificate
  const open: (() => unknown)[] = []

  beforeAll(() => {
    folder = new CertificateFolder()
    pair = folder.make('a', ['localhost'])
  })
  afterAll(() => {
    for (const end of open) end()
    folder.remove()
  })

  const serve = (application: Application, options: HttpOptions = {}): Promise<Server> =>
    serveHttp(application, { tls: pair, log: silent, ...options })
  async function session(server: Server): Promise<ClientHttp2Session> {
    const client = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { rejectUnauthorized: false })
    client.on('error', () => {})
    open.push(() => client.destroy())
    await once(client, 'remoteSettings')
    return client
  }

  test('answers a client whose handshake had begun', async () => {
    const server = await serve(() => text(200, 'hello'))
    // The connection is there before the door closes, and nothing has been said on it.
    const raw = connectTcp(portOf(server), '127.0.0.1')
    await once(raw, 'connect')
    // Accepted, too: connections are taken in their order.
    const other = connectTls({ port: portOf(server), rejectUnauthorized: false })
    await once(other, 'secureConnect')
    other.destroy()
    const closed = server.close(5000)
    const socket = connectTls({ socket: raw, rejectUnauthorized: false })
    await once(socket, 'secureConnect')
    socket.write('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    let got = ''
    for await (const chunk of socket) got += String(chunk)
    expect(got).toMatch(/^HTTP\/1\.1 200 OK\r\n[^]*Connection: close\r\n[^]*hello$/)
    await closed
  })

  test('answers an HTTP/2 client that has just come, and one that asks once more; then they go', async () => {
    const server = await serve(() => text(200, 'hello'))
    const [fresh, kept] = [await session(server), await session(server)]
    expect(await answerOf(kept.request())).toEqual({ status: 200, body: 'hello' })
    const gone = Promise.all([once(fresh, 'close'), once(kept, 'close')])
    const closed = server.close(5000)
    expect(await Promise.all([answerOf(fresh.request()), answerOf(kept.request())])).toEqual([
      { status: 200, body: 'hello' },
      { status: 200, body: 'hello' },
    ])
    await Promise.all([gone, closed])
  })

  test('answers all requests that an HTTP/2 client sends together', async () => {
    const server = await serve(() => text(200, 'hello'))
    const client = await session(server)
    const closed = server.close(5000)
    const answers = Array.from({ length: 9 }, () => answerOf(client.request()))
    expect((await Promise.all(answers)).map(({ status }) => status)).toEqual(Array(9).fill(200))
    await closed
  })

  test('tells a connection that is idle at once, so that its client does not go on there', async () => {
    const server = await serve(() => text(200, 'hello'))
    const client = await session(server)
    await answerOf(client.request())
    // As long as it takes to be idle, and no longer just answered.
    await new Promise((resolve) => setTimeout(resolve, 150))
    const goaway = once(client, 'goaway')
    const begin = performance.now()
    const closed = server.close(5000)
    await goaway
    // Who has just been answered may stay half a second.
    expect(performance.now() - begin).toBeLessThan(400)
    await closed
  })

  test('waits no longer than a moment for a client that does not ask', async () => {
    const server = await serve(() => text(200, 'hello'))
    const idle = await session(server)
    const gone = once(idle, 'close')
    const begin = performance.now()
    await server.close(10_000)
    await gone
    expect(performance.now() - begin).toBeLessThan(3000)
  })

  test('tells an HTTP/2 client to go before it answers what runs, and cuts it after the grace', async () => {
    const news = new EventEmitter()
    const server = await serve(() => {
      news.emit('request')
      return new Promise(() => {})
    })
    const client = await session(server)
    const asked = once(news, 'request')
    const answer = answerOf(client.request())
    await asked
    const goaway = once(client, 'goaway')
    const closed = server.close(200)
    await goaway
    await closed
    expect(await answer).toEqual({ status: undefined, body: '' })
  })
})

/** Longer than a connection may be idle. */
const slow: Application = async () => {
  await new Promise((resolve) => setTimeout(resolve, 200))
  return text(200, 'x')
}

describe.skipIf(!has('openssl'))('an HTTP/2 connection', () => {
  let folder: CertificateFolder
  beforeAll(() => void (folder = new CertificateFolder()))
  afterAll(() => folder.remove())

  test('that a request outlived is still closed once it is idle', async () => {
    const pair = folder.make('a', ['localhost'])
    await using server = await serveHttp(slow, { tls: pair, log: silent, limits: { idleTimeout: 60 } })
    const client = connectHttp2(`https://127.0.0.1:${portOf(server)}`, { rejectUnauthorized: false })
    const gone = once(client, 'close')
    expect(await answerOf(client.request())).toEqual({ status: 200, body: 'x' })
    await gone
  })
})
