import { createSocket } from 'node:dgram'
import type { Socket as Datagrams } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { Socket } from 'node:net'
import { createServer as createTlsServer } from 'node:tls'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { collect, streamOf } from '../../core/index.ts'
import type { ByteStream, GatewayResponse } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import { CertificateFolder } from '../../../test/certificates.ts'
import { has } from '../../../test/peers.ts'
import { close, expectClose, expectRequest, gate, scripted, send, until } from '../../../test/scripted.ts'
import type { Scripted, Step } from '../../../test/scripted.ts'
import * as wire from '../../../test/wire.ts'
import { fastcgi } from './client.ts'
import type { FastCgiBackend, FastCgiOptions, UpstreamOptions } from './options.ts'
import { parseTarget } from './connect.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

async function peer(...scripts: readonly (readonly Step[] | 'tcp')[]): Promise<Scripted> {
  const upstream = await scripted(...scripts)
  opened.push(upstream)
  return upstream
}

type Host = Scripted | (Omit<UpstreamOptions, 'address'> & { readonly of: Scripted })

function written(hosts: readonly Host[]): UpstreamOptions[] {
  return hosts.map((host) => {
    if (!('of' in host)) return { address: host.address }
    const { of, ...rest } = host
    return { ...rest, address: of.address }
  })
}

function client(hosts: readonly Host[], options: Partial<FastCgiOptions> = {}): FastCgiBackend {
  return opens({ upstreams: written(hosts), ...options })
}

function opens(options: FastCgiOptions): FastCgiBackend {
  const made = fastcgi(options)
  opened.push({ [Symbol.asyncDispose]: () => made.close(0) })
  return made
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body as ByteStream)).toString('latin1')
}

const page = (text: string, id = 1): Buffer => wire.answer(id, `Content-Type: text/plain\r\n\r\n${text}`)
const says = (text: string, times = 30): Step[] => Array.from({ length: times }, () => [expectRequest(), send(page(text))]).flat()
/** Takes a request and closes without a word. */
const dies: Step[] = [expectRequest(), close()]

/** Who answers, one request after the other. */
async function story(app: FastCgiBackend, count: number, parts: Parameters<typeof makeRequest>[0] = {}): Promise<string> {
  let all = ''
  for (let i = 0; i < count; i++) all += await textOf(await app(makeRequest(parts)))
  return all
}

const nobody = { path: '/nonexistent/viaduct.sock' }
const counts = (app: FastCgiBackend): number[] => app.status().map((each) => each.requests)
const states = (app: FastCgiBackend): string =>
  app
    .status()
    .map((each) => each.state)
    .join(' ')

const domain = (text: string): Buffer =>
  Buffer.concat([...text.split('.').map((label) => Buffer.from([label.length, ...Buffer.from(label)])), Buffer.from([0])])

const ping = (answer: Buffer): Step[] => [expectRequest(), send(answer), expectClose()]

const drip: Step = async ({ socket }) => {
  socket.write(wire.stdout(1, 'A: b\r\n\r\n'))
  while (!socket.destroyed && !socket.readableEnded) {
    socket.write(wire.stdout(1, 'x'))
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

/** Answers A and SRV questions from a table (RFC 1035, 4; RFC 2782), AAAA with nothing. */
async function nameServer(zone: { a: Record<string, string[]>; srv: Record<string, [number, number, number, string][]> }): Promise<string> {
  const socket: Datagrams = createSocket('udp4')
  socket.on('message', (query, from) => {
    const labels: string[] = []
    let at = 12
    for (; query[at] !== 0; at += query[at]! + 1) labels.push(query.toString('latin1', at + 1, at + 1 + query[at]!))
    const asked = labels.join('.').toLowerCase()
    const type = query.readUInt16BE(at + 1)
    const found =
      type === 1
        ? (zone.a[asked] ?? []).map((ip) => Buffer.from(ip.split('.').map(Number)))
        : type === 33
          ? (zone.srv[asked] ?? []).map(([priority, weight, port, target]) =>
              Buffer.concat([
                Buffer.from([priority >> 8, priority & 255, weight >> 8, weight & 255, port >> 8, port & 255]),
                domain(target),
              ]),
            )
          : []
    const answers = found.map((data) => {
      const head = Buffer.from([0xc0, 12, 0, type, 0, 1, 0, 0, 0, 0, 0, data.length])
      return Buffer.concat([head, data])
    })
    const head = Buffer.from([query[0]!, query[1]!, 0x84, 0, 0, 1, 0, answers.length, 0, 0, 0, 0])
    socket.send(Buffer.concat([head, query.subarray(12, at + 5), ...answers]), from.port, from.address)
  })
  await new Promise<void>((resolve) => socket.bind(0, '127.0.0.1', resolve))
  opened.push({ [Symbol.asyncDispose]: async () => void (await new Promise<void>((resolve) => socket.close(() => resolve()))) })
  return `127.0.0.1:${socket.address().port}`
}

const portOf = (each: Scripted): number => (each.address as { port: number }).port

describe('a request goes', () => {
  test('to each host in turn, by its weight', async () => {
    const hosts = [await peer(says('a')), await peer(says('b')), { of: await peer(says('c')), weight: 2 }]
    const app = client(hosts)
    expect(await story(app, 8)).toBe('cabccabc')
    expect(counts(app)).toEqual([2, 2, 4])
    expect(app.status().map((each) => each.active)).toEqual([0, 0, 0])
  })

  test('where the fewest are', async () => {
    const later = gate()
    const app = client([await peer([expectRequest(), until(later.open), send(page('a')), ...says('a')]), await peer(says('b'))], {
      balance: 'least-connections',
    })
    const slow = app(makeRequest())
    expect(await story(app, 5)).toBe('bbbbb')
    later.pass()
    expect(await textOf(await slow)).toBe('a')
  })

  test.each([
    [{ cookie: 'sid' }, (value: string) => ({ headers: ['Cookie', `a=b; sid=${value}; c=d`] })],
    [{ variable: 'REMOTE_ADDR' }, (value: string) => ({ remote: { address: `192.0.2.${value}`, port: 1 } })],
  ] as const)('always to the same host, by %j', async (balance, parts) => {
    const app = client([await peer(says('a')), await peer(says('b')), await peer(says('c'))], { balance })
    const seen = new Set<string>()
    for (let i = 0; i < 12; i++) {
      const [first, second] = await story(app, 2, parts(String(i)))
      expect(first).toBe(second)
      seen.add(first!)
    }
    expect(seen.size).toBeGreaterThan(1)
  })

  test('to the first while it has room', async () => {
    const later = gate()
    const app = client(
      [{ of: await peer([expectRequest(), until(later.open), send(page('a')), ...says('a')]), connections: 1 }, await peer(says('b'))],
      {
        balance: 'first',
      },
    )
    const slow = app(makeRequest())
    expect(await story(app, 3)).toBe('bbb')
    later.pass()
    await slow
    expect(await story(app, 3)).toBe('aaa')
  })

  test('to a backup only when nobody else is up', async () => {
    const app = opens({
      upstreams: [{ address: nobody }, ...written([{ of: await peer(says('b')), backup: true }])],
      health: { failures: 1 },
    })
    expect(await story(app, 3)).toBe('bbb')
    expect(states(app)).toBe('down up')
    expect(counts(app)).toEqual([1, 3])
  })

  test('to whoever is free first when all are in use, first come, first served', async () => {
    const later = gate()
    const both = (text: string): Step[] => [expectRequest(), until(later.open), send(page(text)), ...says(text)]
    const app = client([await peer(both('a')), await peer(both('b'))], { connections: 1, queue: 3 })
    const asked = Array.from({ length: 5 }, () => app(makeRequest()))
    await expect(async () => app(makeRequest())).rejects.toMatchObject({ code: 'QUEUE_FULL', status: 503 })
    later.pass()
    const answers = await Promise.all(asked.map(async (each) => textOf(await each)))
    expect(answers).toHaveLength(5)
    expect(counts(app).reduce((a, b) => a + b)).toBe(5)
    expect(app.status().map((each) => each.connections)).toEqual([1, 1])
  })
})

describe('a host that fails', () => {
  test.each(['GET', 'POST'])('to be reached costs a %s nothing', async (method) => {
    const app = opens({ upstreams: [{ address: nobody }, ...written([await peer(says('b'))])] })
    expect(await story(app, 4, { method, body: 'body' })).toBe('bbbb')
    expect(app.status()[0]).toMatchObject({ failures: 2, requests: 2, active: 0 })
  })

  test('with a GET on its hands costs it nothing, a POST an error', async () => {
    const app = client([await peer(dies), await peer(says('b'))])
    expect(await story(app, 1)).toBe('b')
    await expect(story(app, 2, { method: 'POST' })).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  })

  test('after the first byte of an answer costs the request', async () => {
    const app = client([await peer([expectRequest(), send(wire.stdout(1, 'Sta')), close()]), await peer(says('b'))])
    await expect(story(app, 1)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  })

  test.each(['GET', 'POST'])('to take a %s because it is busy is passed over, and not blamed', async (method) => {
    const busy = Array.from({ length: 9 }, () => [expectRequest(), send(wire.endRequest(1, { protocol: 2 }))]).flat()
    const source = await peer(says('b'))
    const app = client([await peer(busy), source])
    expect(await story(app, 8, { method, body: 'x'.repeat(70_000) })).toBe('bbbbbbbb')
    expect(source.requests.every((each) => each.stdin.length === 70_000)).toBe(true)
    expect(states(app)).toBe('up up')
  })

  test('to answer in time is passed over by a GET', async () => {
    const app = client([await peer([expectRequest(), expectClose()]), await peer(says('b'))], { limits: { firstByte: 50 } })
    expect(await story(app, 2)).toBe('bb')
    expect(app.status()[0]).toMatchObject({ failures: 1 })
  })

  test('is not asked twice, nor more hosts than `retries` allows', async () => {
    const all = [await peer(dies), await peer(dies), await peer(dies)]
    await expect(story(client(all, { retries: 1 }), 1)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(all.map((each) => each.requests.length)).toEqual([1, 1, 0])
    await expect(story(client(all, { retries: 9 }), 1)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(all.map((each) => each.requests.length)).toEqual([2, 2, 1])
    await expect(story(client(all, { retries: 0 }), 1)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  })

  test('is left alone, tried again by one request, and is back', async () => {
    const bad = await peer(dies, dies, dies, says('a'))
    const app = client([bad, await peer(says('b', 90))], { health: { failures: 2, ejection: 60 } })
    expect(await story(app, 10)).toBe('b'.repeat(10))
    expect(bad.requests).toHaveLength(2)
    expect(states(app)).toBe('down up')
    await expect.poll(() => states(app)).toBe('trial up')
    expect(await story(app, 4)).toBe('bbbb')
    expect(bad.requests).toHaveLength(3)
    expect(states(app)).toBe('down up')
    await expect.poll(() => states(app)).toBe('trial up')
    expect((await story(app, 6)).replaceAll('b', '')).toBe('aaa')
    expect(states(app)).toBe('up up')
  })

  test('and is the only one is asked all the same', async () => {
    const only = await peer(dies, dies, says('a'))
    const app = client([only], { health: { failures: 1, ejection: 60_000 } })
    for (let i = 0; i < 2; i++) await expect(story(app, 1)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(await story(app, 1)).toBe('a')
  })

  test('on a kept connection is asked once more on a fresh one, and not blamed for it', async () => {
    const stale = await peer([...says('a', 1), expectRequest(), close()], says('a'))
    const app = client([stale])
    expect(await story(app, 3)).toBe('aaa')
    expect(stale.connections).toBe(2)
    expect(app.status()[0]).toMatchObject({ failures: 0, active: 0 })
  })

  test('while a body streams costs that request', async () => {
    const app = client([await peer(dies), await peer(says('b'))], { body: 'stream' })
    const body = streamOf([Buffer.from('abc')])
    await expect(app(makeRequest({ method: 'PUT', body, contentLength: 3 }))).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  })
})

describe('the set', () => {
  test('can be changed: who goes gets nothing new and ends what runs, who stays keeps its connections', async () => {
    const later = gate()
    const a = await peer([expectRequest(), until(later.open), send(page('a')), expectClose()])
    const b = await peer(says('b'))
    const c = await peer(says('c'))
    const app = client([a, b])
    const running = app(makeRequest())
    expect(await story(app, 1)).toBe('b')
    app.upstreams = written([b, { of: c, weight: 3 }])
    expect(await story(app, 8)).toBe('cbcccbcc')
    expect(app.upstreams).toHaveLength(2)
    later.pass()
    expect(await textOf(await running)).toBe('a')
    await a.done()
    expect(b.connections).toBe(1)
  })

  test('that changes gives those who wait to the new ones', async () => {
    const app = client([await peer([expectRequest(), expectClose()])], { connections: 1 })
    const first = Promise.resolve(app(makeRequest()))
    first.catch(() => {})
    const second = app(makeRequest())
    app.upstreams = written([await peer(says('b'))])
    expect(await textOf(await second)).toBe('b')
  })

  test.each<[string, unknown]>([
    ['is empty', []],
    ['has a host twice', ['/a.sock', 'unix:/a.sock']],
    ['has a weight of 0', [{ address: '/a.sock', weight: 0 }]],
    ['has no address', ['nowhere']],
  ])('that %s is refused, and the one before stays', async (_, wrong) => {
    const app = client([await peer(says('a'))])
    expect(() => {
      app.upstreams = wrong as string[]
    }).toThrowError(expect.objectContaining({ code: 'CONFIG' }))
    expect(await story(app, 1)).toBe('a')
  })

  test('of a client with one address cannot be changed', () => {
    const app = opens({ address: '/a.sock' })
    expect(app.upstreams).toEqual([{ address: '/a.sock' }])
    expect(() => (app.upstreams = ['/b.sock'])).toThrow('upstreams')
    expect(app.status()).toEqual([])
  })

  test.each([{}, { address: '/a', upstreams: ['/b'] }])('or an address is needed, not %j', (options) => {
    expect(() => fastcgi(options)).toThrow('either address or upstreams')
  })

  test('rejects who waits when it closes, and takes nothing new', async () => {
    const app = client([await peer([expectRequest(), expectClose()])], { connections: 1 })
    const all = [app(makeRequest()), app(makeRequest())].map((each) => expect(each).rejects.toMatchObject({ code: 'CLOSED' }))
    await app.close(0)
    await Promise.all(all)
    await expect(async () => app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED' })
  })
})

describe('an active check', () => {
  const well = page('pong')
  const ill = wire.answer(1, 'Status: 503\r\n\r\n')

  test('that fails ejects a host before a request finds out, and brings it back', async () => {
    const a = await peer(...Array.from({ length: 3 }, () => ping(ill)), ...Array.from({ length: 3 }, () => ping(well)), says('a'))
    const b = await peer(...Array.from({ length: 40 }, () => ping(well)), says('b'))
    const app = client([a, b], { health: { check: { path: '/ping', interval: 10, timeout: 500 } } })
    await expect.poll(() => states(app), { interval: 1 }).toBe('down up')
    await expect.poll(() => states(app), { interval: 1 }).toBe('up up')
    expect(a.requests[0]!.keep).toBe(false)
    expect(Object.fromEntries(a.requests[0]!.variables)).toMatchObject({
      REQUEST_METHOD: 'GET',
      SCRIPT_NAME: '/ping',
      SCRIPT_FILENAME: '/ping',
    })
    expect(counts(app)).toEqual([0, 0])
  })

  test.each<[string, readonly Step[]]>([
    ['is silent', [expectRequest(), expectClose()]],
    ['closes', dies],
    ['speaks something else', [send(Buffer.from('220 smtp ready\r\n'))]],
    ['says it is overloaded', [expectRequest(), send(wire.endRequest(1, { protocol: 2 }))]],
    ['answers with another status', [expectRequest(), send(wire.answer(1, 'Status: 201\r\n\r\n'))]],
    ['has no head', [expectRequest(), send(wire.endRequest(1))]],
  ])('fails when the host %s', async (_, steps) => {
    const app = client([await peer(steps)], { health: { check: { interval: 5, timeout: 40, status: 200 } } })
    await expect.poll(() => states(app)).toBe('down')
  })
})

describe('limits', () => {
  test('of an answer: one that says it is longer, and one that becomes longer', async () => {
    const long = `Content-Type: text/plain\r\n\r\n${'x'.repeat(101)}`
    const app = client([await peer([expectRequest(), send(wire.answer(1, long))])], { limits: { response: 100 } })
    await expect(story(app, 1)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', status: 502 })
    expect(states(app)).toBe('up')
    const later = gate()
    const steps = [expectRequest(), send(wire.stdout(1, 'A: b\r\n\r\nhello')), until(later.open), send(wire.stdout(1, 'x'.repeat(100)))]
    const streaming = client([await peer([...steps, expectClose()])], { limits: { response: 100 }, hold: { bytes: 0, time: 0 } })
    const response = await streaming(makeRequest())
    later.pass()
    await expect(collect(response.body as ByteStream)).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
  })

  test('of all the time a request may take, however often it is tried and though bytes come', async () => {
    const app = client([await peer([expectRequest(), drip])], { limits: { total: 120 } })
    const response = await app(makeRequest())
    await expect(collect(response.body as ByteStream)).rejects.toMatchObject({
      code: 'TIMEOUT',
      message: expect.stringContaining('in all'),
    })
    const silent = [expectRequest(), expectClose()]
    const patient = client([await peer(silent), await peer(silent), await peer(silent)], { limits: { firstByte: 80, total: 120 } })
    const start = performance.now()
    await expect(story(patient, 1)).rejects.toMatchObject({ code: 'TIMEOUT', status: 504 })
    expect(performance.now() - start).toBeLessThan(1000)
    expect(counts(patient)).toEqual([1, 1, 0])
    expect(patient.status()[1]).toMatchObject({ failures: 0 })
  })
})

describe('idle connections', () => {
  test('give way when the application has fewer workers than there are connections', async () => {
    // Serves one connection after the other: the next is looked at when the one before has closed.
    const waiting: Socket[] = []
    let current: Socket | undefined
    const serve = (socket: Socket): void => {
      current = socket
      socket.on('data', () => socket.write(page('a')))
      socket.on('error', () => {})
      socket.on('close', () => {
        current = undefined
        const next = waiting.shift()
        if (next !== undefined) serve(next)
      })
    }
    const server = createServer((socket) => (current === undefined ? serve(socket) : waiting.push(socket)))
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    opened.push({ [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))) })
    const app = opens({
      address: { host: '127.0.0.1', port: (server.address() as { port: number }).port },
      connections: 2,
      idleTimeout: 60_000,
    })
    const answers = await Promise.all([app(makeRequest()), app(makeRequest())])
    expect(await Promise.all(answers.map(textOf))).toEqual(['a', 'a'])
  })
})

describe('what is about several hosts', () => {
  test.each<[string, FastCgiOptions]>([
    ['balance', { address: '/a', balance: 'first' }],
    ['balance', { address: { path: '/a' }, balance: { cookie: 'sid' }, multiplex: true }],
    ['health', { address: 'fastcgi://a:1', health: { failures: 1 } }],
    ['health', { address: '127.0.0.1:1', health: { check: {} } }],
  ])('is refused beside one address: %s of %j', (name, options) => {
    expect(() => fastcgi(options)).toThrow(`${name} is about several hosts, and address is one: write upstreams: [...]`)
  })

  test('is in force for an address that DNS makes several of, and for a list of one', async () => {
    const server = await nameServer({ a: { 'php.test': ['127.0.0.1', '127.0.0.2'] }, srv: {} })
    const rules: Partial<FastCgiOptions> = { balance: 'first', health: { failures: 1 } }
    const a = await peer('tcp', says('a'))
    const app = opens({ address: `php.test:${portOf(a)}`, resolve: { servers: [server] }, ...rules })
    expect(await story(app, 2)).toBe('aa')
    expect(counts(app)).toEqual([2, 0])
    opens({ address: 'fastcgi+srv://_fcgi._tcp.test', resolve: { servers: [server] }, ...rules })
    expect(states(client([a], rules))).toBe('up')
  })
})

describe('names', () => {
  test('of services stand for their hosts: priority is order, weight is share, and the set follows', async () => {
    const [a, b, c] = [await peer('tcp', says('a')), await peer('tcp', says('b')), await peer('tcp', says('c'))]
    const zone = {
      a: { 'one.test': ['127.0.0.1'], 'two.test': ['127.0.0.1'] },
      srv: {
        '_fcgi._tcp.test': [
          [10, 2, portOf(a), 'one.test'],
          [10, 1, portOf(b), 'two.test'],
          [20, 5, portOf(c), 'one.test'],
        ] as [number, number, number, string][],
      },
    }
    const server = await nameServer(zone)
    const app = opens({ upstreams: ['fastcgi+srv://_fcgi._tcp.test'], resolve: { interval: 30, servers: [server] } })
    await app.ready()
    expect(await story(app, 6)).toBe('abaaba')
    expect(app.status().map(({ weight, backup }) => [weight, backup])).toEqual([
      [2, false],
      [1, false],
      [5, true],
    ])
    zone.srv['_fcgi._tcp.test'] = [[10, 1, portOf(c), 'one.test']]
    await expect.poll(() => app.status().length).toBe(1)
    expect(await story(app, 3)).toBe('ccc')
    // A name server that knows nothing any more changes nothing.
    zone.srv['_fcgi._tcp.test'] = []
    zone.a = {} as typeof zone.a
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(await story(app, 3)).toBe('ccc')
  })

  test('of hosts stand for each of their addresses', async () => {
    const a = await peer('tcp', says('a'))
    const server = await nameServer({ a: { 'php.test': ['127.0.0.1', '127.0.0.2'] }, srv: {} })
    const app = opens({ upstreams: [`php.test:${portOf(a)}`], resolve: { servers: [server] } })
    expect(await story(app, 4)).toBe('aaaa')
    expect(app.status().map((each) => each.address)).toEqual([`127.0.0.1:${portOf(a)}`, `127.0.0.2:${portOf(a)}`])
  })

  test('that nobody knows are an error, at once', async () => {
    const server = await nameServer({ a: {}, srv: {} })
    const app = opens({ upstreams: ['fastcgi+srv://_fcgi._tcp.test'], resolve: { servers: [server] } })
    await expect(app.ready()).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 502 })
    await expect(story(app, 1)).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test.each([
    ['127.0.0.1:9000', { address: { host: '127.0.0.1', port: 9000 }, tls: false }],
    ['fastcgi://[::1]:9000', { address: { host: '::1', port: 9000 }, tls: false }],
    ['fastcgis://php:9000/', { address: { host: 'php', port: 9000 }, tls: true }],
    ['fastcgi+srv://_a._tcp.x.test', { service: '_a._tcp.x.test', tls: false }],
    ['fastcgis+srv://_a._tcp.x.test', { service: '_a._tcp.x.test', tls: true }],
    ['/run/a.sock', { address: { path: '/run/a.sock' }, tls: false }],
  ])('and addresses are read: %s', (text, target) => {
    expect(parseTarget(text)).toEqual(target)
  })

  test.each(['fastcgis:///run/a.sock', 'fastcgi+srv://a b', 'http://a:1', 'fastcgi://a', 'fastcgi+srv://local'])(
    'and %s is refused',
    (text) => {
      expect(() => parseTarget(text)).toThrowError(expect.objectContaining({ code: 'CONFIG' }))
    },
  )
})

/** An application behind TLS that asks for a certificate. */
async function secured(of: Scripted, own: { cert: string; key: string }, ca: string): Promise<number> {
  const server = createTlsServer({ ...own, ca, requestCert: true, rejectUnauthorized: true }, (socket) => {
    const inner = connect(of.address as { path: string })
    socket.pipe(inner).pipe(socket)
    for (const each of [socket, inner]) each.on('error', () => {})
  })
  server.on('tlsClientError', () => {})
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  opened.push({ [Symbol.asyncDispose]: async () => void (await new Promise((resolve) => server.close(resolve))) })
  return (server.address() as { port: number }).port
}

describe.skipIf(!has('openssl'))('TLS', () => {
  const folder = new CertificateFolder()
  afterAll(() => folder.remove())
  const certificate = (name: string): { cert: string; key: string } => {
    const { cert, key } = folder.make(name, [name])
    return { cert: readFileSync(cert, 'utf8'), key: readFileSync(key, 'utf8') }
  }

  test('both sides show who they are, and kept connections carry on', async () => {
    const [app, web] = [certificate('localhost'), certificate('web.test')]
    const upstream = await peer(says('a'))
    const port = await secured(upstream, app, web.cert)
    const made = opens({ address: `fastcgis://localhost:${port}`, tls: { ca: app.cert, ...web } })
    await made.ready()
    expect(await story(made, 5)).toBe('aaaaa')
  })

  test.each([
    ['an application that nobody vouches for', 'localhost', false, true],
    ['an application of another name', 'other.test', true, true],
    ['a client without a certificate', 'localhost', true, false],
  ])('refuses %s', async (_, name, trusted, shown) => {
    const [app, web] = [certificate(name), certificate('web.test')]
    const port = await secured(await peer(says('a')), app, web.cert)
    const made = opens({
      upstreams: [`fastcgis://localhost:${port}`],
      tls: { ...(trusted && { ca: app.cert }), ...(shown && web) },
    })
    await expect(story(made, 1)).rejects.toMatchObject({ status: 502 })
  })
})
