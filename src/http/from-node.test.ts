import { once } from 'node:events'
import { createServer, request as httpRequest } from 'node:http'
import type { IncomingMessage, RequestListener } from 'node:http'
import { Readable } from 'node:stream'
import express from 'express'
import fastify from 'fastify'
import { describe, expect, test } from 'vitest'
import { compose, derive, getHeader, lint, mount, type Application, type Outcome } from '../core/index.ts'
import { serveMemory, type MemoryResponse } from '../testing/index.ts'
import { fromNode, serveHttp } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

/** One question to a listener through the door without sockets. */
async function ask(
  listener: RequestListener,
  parts: Parameters<ReturnType<typeof serveMemory>['request']>[0] = {},
): Promise<MemoryResponse> {
  const server = serveMemory(lint(fromNode(listener)))
  try {
    return await server.request(parts)
  } finally {
    await server.close()
  }
}

const describeBody: RequestListener = (req, res) => {
  const { 'content-length': length, 'transfer-encoding': coding } = req.headers
  const chunks: Buffer[] = []
  req.on('data', (chunk: Buffer) => chunks.push(chunk))
  req.on('end', () => res.end(`${length} ${coding} ${Buffer.concat(chunks).toString()} ${req.complete}`))
}

const describeUrl: RequestListener = (req, res) => {
  const { originalUrl, baseUrl } = req as IncomingMessage & { originalUrl?: string; baseUrl?: string }
  res.end(`${req.url} ${originalUrl} ${baseUrl}`)
}

const stamp =
  (next: Application): Application =>
  async (request) => {
    const response = await next(derive(request, { headers: [...request.headers.list, 'X-In', 'in'] }))
    return { ...response, headers: [...response.headers, 'X-Out', 'out'] }
  }

const fixed: RequestListener = (req, res) =>
  void (req.url === '/304' ? res.writeHead(304, { ETag: '"a"' }).end() : res.writeHead(200, { 'Content-Length': 4 }).end('body'))

describe('a Node listener', () => {
  test('sees the request as node:http would show it', async () => {
    let seen: Record<string, unknown> = {}
    await ask(
      (req, res) => {
        seen = {
          method: req.method,
          url: req.url,
          version: req.httpVersion,
          host: req.headers.host,
          cookie: req.headers.cookie,
          raw: req.rawHeaders,
          trailers: req.trailers,
          address: req.socket.remoteAddress,
          port: req.socket.remotePort,
          encrypted: 'encrypted' in req.socket,
          complete: req.complete,
        }
        res.end()
      },
      {
        target: '/a%2Fb/c?d=e',
        headers: ['Host', 'x.example', 'Cookie', 'a=1', 'cookie', 'b=2'],
        scheme: 'https',
        remote: { address: '192.0.2.9', port: 4711 },
      },
    )
    expect(seen).toEqual({
      method: 'GET',
      url: '/a%2Fb/c?d=e',
      version: '1.1',
      host: 'x.example',
      cookie: 'a=1; b=2',
      raw: ['Host', 'x.example', 'Cookie', 'a=1', 'cookie', 'b=2'],
      trailers: {},
      address: '192.0.2.9',
      port: 4711,
      encrypted: true,
      complete: true,
    })
  })

  test.each<[string, RequestListener, Partial<MemoryResponse>, string]>([
    ['a text', (_, res) => void res.end('text'), { status: 200 }, 'text'],
    ['text that is not ASCII', (_, res) => void res.end('é€'), { status: 200 }, 'é€'],
    ['latin1 text', (_, res) => void res.end('é', 'latin1'), { status: 200 }, '\ufffd'],
    ['bytes', (_, res) => void res.end(Buffer.from('bytes')), { status: 200 }, 'bytes'],
    ['nothing', (_, res) => void res.writeHead(204).end(), { status: 204 }, ''],
    ['a reason', (_, res) => void res.writeHead(299, 'Strange').end('x'), { status: 299, reason: 'Strange' }, 'x'],
    ['a length and pieces', (_, res) => void (res.setHeader('Content-Length', 4), res.write('ab'), res.end('cd')), { status: 200 }, 'abcd'],
    ['pieces of no length', (_, res) => void (res.write('ab'), res.write(Buffer.from('c')), res.end('d')), { status: 200 }, 'abcd'],
    ['a head that is flushed first', (_, res) => void (res.flushHeaders(), setImmediate(() => res.end('later'))), { status: 200 }, 'later'],
    [
      'trailers',
      (_, res) => void (res.write('a'), res.addTrailers({ 'X-After': 'yes' }), res.end()),
      { trailers: ['X-After', 'yes'] },
      'a',
    ],
    ['Connection: close', (_, res) => void res.writeHead(200, { Connection: 'close' }).end('x'), { status: 200 }, 'x'],
    [
      'an answer to HTTP/1.0',
      (_, res) => void (res.removeHeader('transfer-encoding'), res.write('a'), res.end('b')),
      { status: 200 },
      'ab',
    ],
  ])('answers %s', async (_, listener, expected, body) => {
    const got = await ask(listener)
    expect(got).toMatchObject({ outcome: { kind: 'sent' }, ...expected })
    expect(got.body.toString()).toBe(body)
  })

  test('answers HEAD with the length and no body, and 304 with neither', async () => {
    const head = await ask(fixed, { method: 'HEAD' })
    expect([head.status, head.body.length, getHeader(head.headers, 'content-length')]).toEqual([200, 0, '4'])
    const unmodified = await ask(fixed, { target: '/304' })
    expect([unmodified.status, unmodified.body.length, getHeader(unmodified.headers, 'etag')]).toEqual([304, 0, '"a"'])
  })

  test('keeps the case, the order and the repeats of what it sets', async () => {
    const got = await ask((_, res) => {
      res.setHeader('X-One', '\xe9')
      res.setHeader('Set-Cookie', ['a=1', 'b=2'])
      res.writeHead(200, { 'x-Two': '2' })
      res.end()
    })
    expect(got.headers.slice(0, 8)).toEqual(['X-One', '\xe9', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'x-Two', '2'])
  })

  test('sends early hints; 100 is left to the door', async () => {
    const got = await ask((_, res) => {
      res.writeContinue()
      res.writeEarlyHints({ link: '</a.css>; rel=preload' })
      res.end('x')
    })
    expect(got.informed).toEqual([{ status: 103, headers: ['Link', '</a.css>; rel=preload'] }])
  })

  test('reads a body, whatever is known of its length', async () => {
    expect((await ask(describeBody, { method: 'POST', body: 'hello' })).body.toString()).toBe('5 undefined hello true')
    const chunks = [Buffer.from('hel'), Buffer.from('lo')]
    expect((await ask(describeBody, { method: 'POST', body: chunks })).body.toString()).toBe('undefined chunked hello true')
  })

  test('may answer without reading the body, and hears of the end of both', async () => {
    const heard: string[] = []
    await ask(
      (req, res) => {
        for (const event of ['end', 'close', 'aborted']) req.on(event, () => heard.push(`req ${event}`))
        for (const event of ['finish', 'close']) res.on(event, () => heard.push(`res ${event}`))
        res.end('no thanks')
      },
      { method: 'POST', body: 'x'.repeat(100_000) },
    )
    await expect.poll(() => heard.toSorted()).toEqual(['req close', 'req end', 'res close', 'res finish'])
  })

  test('is stopped by a slow reader and goes on when it drains', async () => {
    let written = 0
    let drains = 0
    const server = serveMemory(
      lint(
        fromNode((_, res) => {
          const more = (): void => {
            while (written < 64) {
              written++
              if (!res.write(Buffer.alloc(65_536, 'x'))) {
                expect(res.writableNeedDrain).toBe(true)
                res.once('drain', () => {
                  drains++
                  expect(res.writableNeedDrain).toBe(false)
                  more()
                })
                return
              }
            }
            res.end()
          }
          more()
        }),
      ),
    )
    const exchange = server.request({ reader: 'held' })
    await exchange.head
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(written).toBeLessThan(8)
    exchange.release()
    expect((await exchange).body).toHaveLength(64 * 65_536)
    expect(drains).toBeGreaterThan(10)
    await server.close()
  })

  test('stops an upload that it does not read', async () => {
    let taken = 0
    const body = (function* () {
      for (let i = 0; i < 100; i++) {
        taken++
        yield Buffer.alloc(65_536)
      }
    })()
    let seen = 0
    const got = await ask(
      (req, res) => {
        req.once('readable', () => {
          setTimeout(() => {
            seen = taken
            req.on('data', () => {})
            req.on('end', () => res.end('read'))
          }, 20)
        })
      },
      { method: 'POST', body },
    )
    expect(seen).toBeLessThan(10)
    expect(got.body.toString()).toBe('read')
    expect(taken).toBe(100)
  })

  test('hears that its client has left', async () => {
    const heard: string[] = []
    const server = serveMemory(
      lint(
        fromNode((req, res) => {
          req.on('aborted', () => heard.push('aborted'))
          req.on('error', (error: NodeJS.ErrnoException) => heard.push(`error ${error.code}`))
          req.on('close', () => heard.push('req close'))
          res.on('finish', () => heard.push('finish'))
          res.on('close', () => heard.push(`res close ${res.destroyed}`))
          res.write('first')
        }),
      ),
    )
    const exchange = server.request({ method: 'POST', body: 'x' })
    await exchange.head
    exchange.abort()
    expect((await exchange).outcome.kind).toBe('cut')
    await expect.poll(() => heard.toSorted()).toEqual(['aborted', 'error ECONNRESET', 'req close', 'res close true'])
    await server.close()
  })

  test.each<[string, RequestListener, number, string]>([
    ['throws', () => void JSON.parse('{'), 500, 'failed'],
    ['rejects', () => Promise.reject(new Error('rejected')), 500, 'failed'],
    ['destroys its response', (_, res) => void res.destroy(), 502, 'failed'],
    ['destroys its socket', (req) => void req.socket.destroy(), 502, 'failed'],
    ['writes what is no answer', (req) => void req.socket.write('HELLO\r\n\r\n'), 500, 'failed'],
  ])('that %s is an error before the head', async (_, listener, status, kind) => {
    expect(await ask(listener)).toMatchObject({ status, outcome: { kind } })
  })

  test('that fails after the head does not end cleanly', async () => {
    const got = await ask((_, res) => {
      res.write('half')
      setImmediate(() => res.destroy(new Error('broken')))
    })
    expect(got).toMatchObject({ status: 200, outcome: { kind: 'failed' } })
    expect(got.body.toString()).toBe('half')
  })

  test('is told of a silence that it asked to be told of', async () => {
    const got = await ask((req, res) => void req.setTimeout(20, () => res.end('timed out')))
    expect(got.body.toString()).toBe('timed out')
    expect(await ask((req) => void req.socket.setTimeout(20))).toMatchObject({ status: 502 })
  })

  test('below a mount point sees the path below it, or the whole by option', async () => {
    const server = serveMemory(lint(mount({ '/app': fromNode(describeUrl), '/full': fromNode(describeUrl, { url: 'full' }) })))
    const get = async (target: string): Promise<string> => (await server.request({ target })).body.toString()
    expect(await get('/app/a%2Fb?c')).toBe('/a%2Fb?c /app/a%2Fb?c /app')
    expect(await get('/app')).toBe('/ /app /app')
    expect(await get('/full/a?c')).toBe('/full/a?c undefined undefined')
    await server.close()
  })

  test('is seen by middleware around it', async () => {
    const server = await serveHttp(
      compose(
        fromNode((req, res) => void res.end(req.headers['x-in'])),
        stamp,
      ),
      { log: silent },
    )
    if (!('port' in server.address)) throw new Error('no port')
    const got = await fetch(`http://127.0.0.1:${server.address.port}/`)
    expect([got.headers.get('x-out'), await got.text()]).toEqual(['out', 'in'])
    await server.close()
  })

  test('must not listen by itself', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    expect(() => fromNode(server)).toThrow('listens by itself already')
    server.close()
    // @ts-expect-error what the types refuse too
    expect(() => fromNode({})).toThrow('fromNode takes a listener function')
  })
})

const expressApp = (): express.Express => {
  const app = express()
  app.use(express.json())
  app.get('/hello/:name', (req, res) => void res.send(`Hello ${req.params.name} from ${req.ip}`))
  app.post('/json', (req, res) => void res.json({ got: req.body as unknown }))
  app.get('/cookie', (req, res) => void res.cookie('a', '1').cookie('b', '2').send(req.headers.cookie))
  app.post('/upload', (req, res) => {
    let length = 0
    req.on('data', (chunk: Buffer) => (length += chunk.length))
    req.on('end', () => res.json({ length }))
  })
  app.get('/events', (_, res) => {
    res.type('text/event-stream')
    res.write('data: 1\n\n')
    setTimeout(() => res.end('data: 2\n\n'), 20)
  })
  app.get('/large', (_, res) => void Readable.from(Array.from({ length: 80 }, () => Buffer.alloc(65_536, 'x'))).pipe(res))
  app.get('/error', () => {
    throw Object.assign(new Error('wrong'), { status: 418 })
  })
  app.get('/endless', (req, res) => {
    const timer = setInterval(() => res.write('x'.repeat(1000)), 1)
    req.on('close', () => clearInterval(timer))
    app.locals['closed'] = once(res, 'close')
  })
  return app
}

const fastifyApp = (): ReturnType<typeof fastify> => {
  const app = fastify()
  app.get('/hello/:name', (request) => `Hello ${(request.params as { name: string }).name} from ${request.ip}`)
  app.post('/json', (request) => ({ got: request.body }))
  app.get('/cookie', (request, reply) => reply.header('set-cookie', ['a=1; Path=/', 'b=2; Path=/']).send(request.headers.cookie))
  app.addContentTypeParser('application/octet-stream', (_, payload, done) => {
    let length = 0
    payload.on('data', (chunk: Buffer) => (length += chunk.length))
    payload.on('end', () => done(null, { length }))
  })
  app.post('/upload', (request) => request.body)
  app.get('/events', (_, reply) => {
    reply.hijack()
    reply.raw.writeHead(200, { 'Content-Type': 'text/event-stream' })
    reply.raw.write('data: 1\n\n')
    setTimeout(() => reply.raw.end('data: 2\n\n'), 20)
  })
  app.get('/large', (_, reply) => reply.send(Readable.from(Array.from({ length: 80 }, () => Buffer.alloc(65_536, 'x')))))
  app.get('/error', () => {
    throw Object.assign(new Error('wrong'), { statusCode: 418 })
  })
  return app
}

const programs: [string, () => ReturnType<typeof fromNode>][] = [
  ['express', () => fromNode(expressApp())],
  ['fastify', () => fromNode(fastifyApp())],
]

describe.each(programs)('%s', (_, open) => {
  const doors: [string, (application: Application) => Promise<[string, () => Promise<void>]>][] = [
    [
      'the HTTP door',
      async (application) => {
        const server = await serveHttp(application, { log: silent })
        if (!('port' in server.address)) throw new Error('no port')
        return [`http://127.0.0.1:${server.address.port}`, () => server.close()]
      },
    ],
  ]
  test.each(doors)('works behind %s', async (_name, serve) => {
    const application = open()
    await application.ready()
    const outcomes: Outcome[] = []
    const [base, close] = await serve(
      lint((request) => {
        request.onFinish((outcome) => void outcomes.push(outcome))
        return application(request)
      }),
    )
    expect(await (await fetch(`${base}/hello/you`)).text()).toBe('Hello you from 127.0.0.1')
    const json = await fetch(`${base}/json`, { method: 'POST', headers: { 'content-type': 'application/json' }, body: '{"a":[1]}' })
    expect(await json.json()).toEqual({ got: { a: [1] } })
    const cookie = await fetch(`${base}/cookie`, { headers: { cookie: 'x=1; y=2' } })
    expect([cookie.headers.getSetCookie(), await cookie.text()]).toEqual([['a=1; Path=/', 'b=2; Path=/'], 'x=1; y=2'])
    const upload = await fetch(`${base}/upload`, {
      method: 'POST',
      headers: { 'content-type': 'application/octet-stream' },
      body: Readable.toWeb(Readable.from(Array.from({ length: 40 }, () => Buffer.alloc(65_536)))) as never,
      duplex: 'half',
    } as RequestInit)
    expect(await upload.json()).toEqual({ length: 40 * 65_536 })
    expect(await (await fetch(`${base}/events`)).text()).toBe('data: 1\n\ndata: 2\n\n')
    const large = await fetch(`${base}/large`)
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect((await large.arrayBuffer()).byteLength).toBe(80 * 65_536)
    expect((await fetch(`${base}/error`)).status).toBe(418)
    expect((await fetch(`${base}/missing`)).status).toBe(404)
    expect(outcomes.map((each) => each.kind)).toEqual(Array.from({ length: 8 }, () => 'sent'))
    await close()
    await application.close()
  })
})

test('express hears that a client has left in the middle of an answer', async () => {
  const app = expressApp()
  const server = await serveHttp(fromNode(app), { log: silent })
  if (!('port' in server.address)) throw new Error('no port')
  const client = httpRequest({ port: server.address.port, path: '/endless', agent: false }).end()
  const [incoming] = (await once(client, 'response')) as [IncomingMessage]
  await once(incoming, 'data')
  client.destroy()
  await app.locals['closed']
  await server.close()
})
