import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { getRequestListener } from '@hono/node-server'
import express from 'express'
import { Hono } from 'hono'
import { streamSSE } from 'hono/streaming'
import { describe, expect, test } from 'vitest'
import { Channel, GatewayError, collect, empty, lint, mount, streamOf, text, type Application, type Outcome } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { fromFetch, fromNode, toFetch, toNode } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

async function listening(listener: Parameters<typeof createServer>[1]): Promise<{ base: string; [Symbol.asyncDispose](): Promise<void> }> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    base: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    async [Symbol.asyncDispose]() {
      server.closeAllConnections()
      server.close()
      await once(server, 'close')
    },
  }
}

const echo: Application = async (request) => text(200, `${request.method} ${(await collect(request.body)).toString()}`)

describe('toNode', () => {
  test('is a handler of express, mounted', async () => {
    const app = express()
    app.use(
      '/in%20side',
      toNode((request) => text(200, [request.scriptName, request.pathInfo, request.queryString, request.target].join(' ')), {
        log: silent,
      }),
    )
    await using server = await listening(app)
    const got = await fetch(`${server.base}/in%20side/a%20b?c`)
    expect([got.headers.get('x-powered-by'), await got.text()]).toEqual(['Express', '/in side /a b c /in%20side/a%20b?c'])
  })

  test('fails a body that a body parser has read before', async () => {
    const app = express()
    app.use(express.text(), toNode(echo, { log: silent }))
    await using server = await listening(app)
    expect((await fetch(server.base, { method: 'POST', body: 'x' })).status).toBe(500)
  })

  test('goes on with a kept connection after a body that nobody read', async () => {
    await using server = await listening(toNode((request) => (request.method === 'POST' ? empty(204) : text(200, 'next')), { log: silent }))
    for (let i = 0; i < 3; i++) {
      expect((await fetch(server.base, { method: 'POST', body: 'x'.repeat(200_000) })).status).toBe(204)
      expect(await (await fetch(server.base)).text()).toBe('next')
    }
  })

  test('answers an error with its status and nothing of it', async () => {
    const busy = new GatewayError('QUEUE_FULL', { status: 503, message: 'a secret', retryAfter: 2 })
    await using server = await listening(toNode(() => Promise.reject(busy), { log: silent }))
    const got = await fetch(server.base)
    expect([got.status, got.headers.get('retry-after'), await got.text()]).toEqual([503, '2', ''])
  })
})

describe('fromNode and toNode', () => {
  test('undo each other', async () => {
    const inner = fromNode(toNode(echo, { log: silent }))
    await using server = await listening(toNode(lint(inner), { log: silent }))
    const body = 'é'.repeat(300_000)
    expect(await (await fetch(server.base, { method: 'PUT', body })).text()).toBe(`PUT ${body}`)
  })
})

const pathOf = (request: Request): Response => new Response(new URL(request.url).pathname)

test('hono on its own Node adapter is a listener like any other', async () => {
  const app = new Hono()
  app.post('/upload', async (c) => c.json({ length: (await c.req.arrayBuffer()).byteLength }))
  app.get('/large', (c) => c.body('x'.repeat(500_000)))
  const server = serveMemory(lint(fromNode(getRequestListener(app.fetch))))
  const upload = await server.request({ method: 'POST', target: '/upload', body: Buffer.alloc(300_000) })
  expect(upload.body.toString()).toBe('{"length":300000}')
  const large = await server.request({ target: '/large', reader: 'slow' })
  expect([large.body.length, large.outcome.kind]).toEqual([500_000, 'sent'])
  await server.close()
})

describe('a fetch handler', () => {
  test('gets the request as a Request', async () => {
    const server = serveMemory(
      lint(
        fromFetch(async (request, { gateway }) => {
          const { method, url, headers } = request
          return Response.json([method, url, headers.get('cookie'), await request.text(), gateway.remote.address])
        }),
      ),
    )
    const got = await server.request({
      method: 'POST',
      target: '/a%2Fb?c=d',
      scheme: 'https',
      headers: ['Host', 'x.example', 'Cookie', 'a=1'],
      body: 'é',
      remote: { address: '192.0.2.9', port: 1 },
    })
    expect(JSON.parse(got.body.toString())).toEqual(['POST', 'https://x.example/a%2Fb?c=d', 'a=1', 'é', '192.0.2.9'])
    await server.close()
  })

  test('sees the path below its mount point, or the whole by option', async () => {
    const server = serveMemory(lint(mount({ '/app': fromFetch(pathOf), '/a b': fromFetch(pathOf, { url: 'full' }) })))
    const get = async (target: string): Promise<string> => (await server.request({ target })).body.toString()
    expect([await get('/app/x'), await get('/app'), await get('/a%20b/x')]).toEqual(['/x', '/', '/a%20b/x'])
    await server.close()
  })

  test('may set several cookies, and answer without a body', async () => {
    const headers = new Headers([
      ['Set-Cookie', 'a=1'],
      ['Set-Cookie', 'b=2'],
    ])
    const server = serveMemory(lint(fromFetch(() => new Response(null, { status: 204, headers }))))
    expect(await server.request()).toMatchObject({ status: 204, headers: ['set-cookie', 'a=1', 'set-cookie', 'b=2'] })
    await server.close()
  })

  test.each<[string, () => Response, number]>([
    [
      'throws',
      () => {
        throw new Error('a')
      },
      500,
    ],
    ['answers with Response.error()', () => Response.error(), 500],
    ['answers with no Response', () => 'text' as never, 500],
  ])('that %s is an error', async (_, handler, status) => {
    const server = serveMemory(lint(fromFetch(handler)))
    expect(await server.request()).toMatchObject({ status, outcome: { kind: 'failed' } })
    await server.close()
  })

  test('is refused methods that fetch does not have', async () => {
    const server = serveMemory(fromFetch(() => new Response('x')))
    expect((await server.request({ method: 'TRACE' })).status).toBe(501)
    await server.close()
  })

  test('hears by the signal and by its body that the client has left', async () => {
    const heard: string[] = []
    const server = serveMemory(
      lint(
        fromFetch((request) => {
          request.signal.addEventListener('abort', () => heard.push('signal'))
          return new Response(
            new ReadableStream({
              start: (controller) => controller.enqueue(Buffer.from('first')),
              cancel: () => void heard.push('body'),
            }),
          )
        }),
      ),
    )
    const exchange = server.request()
    await exchange.head
    await expect.poll(() => exchange.received()).toBe(5)
    exchange.abort()
    expect((await exchange).outcome.kind).toBe('cut')
    await expect.poll(() => heard.toSorted()).toEqual(['body', 'signal'])
    await server.close()
  })

  test('can be a hono application', async () => {
    const app = new Hono()
    app.get('/hello/:name', (c) => c.text(`Hello ${c.req.param('name')}`))
    app.post('/json', async (c) => c.json({ got: (await c.req.json()) as object }))
    app.get('/events', (c) =>
      streamSSE(c, async (stream) => {
        await stream.writeSSE({ data: '1' })
        await stream.sleep(10)
        await stream.writeSSE({ data: '2' })
      }),
    )
    app.get('/error', () => {
      throw new Error('wrong')
    })
    app.onError((_, c) => c.text('caught', 418))
    const server = serveMemory(lint(fromFetch(app)))
    const get = async (target: string): Promise<string> => (await server.request({ target })).body.toString()
    expect(await get('/hello/you')).toBe('Hello you')
    const json = { method: 'POST', target: '/json', headers: { 'Content-Type': 'application/json' }, body: '{"a":1}' }
    expect((await server.request(json)).body.toString()).toBe('{"got":{"a":1}}')
    expect(await get('/events')).toBe('data: 1\n\ndata: 2\n\n')
    expect([await get('/error'), (await server.request({ target: '/missing' })).status]).toEqual(['caught', 404])
    await server.close()
  })
})

describe('toFetch', () => {
  test('answers a Request with a Response', async () => {
    const outcomes: Outcome[] = []
    const call = toFetch(
      lint((request) => {
        request.onFinish((outcome) => void outcomes.push(outcome))
        return request.pathInfo === '/stream'
          ? { status: 200, headers: ['Set-Cookie', 'a', 'Set-Cookie', 'b'], body: streamOf([Buffer.from('a'), Buffer.from('b')]) }
          : echo(request)
      }),
    )
    const got = await call(new Request('http://x.example/?q', { method: 'POST', body: 'body' }))
    expect([got.status, await got.text()]).toEqual([200, 'POST body'])
    const stream = await call(new Request('http://x.example/stream'))
    expect([stream.headers.getSetCookie(), await stream.text()]).toEqual([['a', 'b'], 'ab'])
    expect(outcomes).toEqual([
      { kind: 'sent', status: 200, bytes: 9 },
      { kind: 'sent', status: 200, bytes: 2 },
    ])
  })

  test('gives the status of an error, and errors a body that breaks', async () => {
    const outcomes: Outcome[] = []
    const call = toFetch(
      (request) => {
        request.onFinish((outcome) => void outcomes.push(outcome))
        if (request.pathInfo === '/throws') throw new Error('secret')
        const body = new Channel()
        body.write(Buffer.from('half'))
        body.fail(new Error('broken'))
        return { status: 200, headers: [], body }
      },
      { log: silent },
    )
    const thrown = await call(new Request('http://x.example/throws'))
    expect([thrown.status, await thrown.text()]).toEqual([500, ''])
    await expect((await call(new Request('http://x.example/'))).text()).rejects.toThrow('broken')
    expect(outcomes.map((each) => each.kind)).toEqual(['failed', 'failed'])
  })

  test('stops the application when the reader or the signal does', async () => {
    const outcomes: Outcome[] = []
    const call = toFetch((request) => {
      request.onFinish((outcome) => void outcomes.push(outcome))
      return { status: 200, headers: [], body: new Channel() }
    })
    await (await call(new Request('http://x.example/'))).body?.cancel()
    const controller = new AbortController()
    const got = await call(new Request('http://x.example/', { signal: controller.signal }))
    controller.abort(new Error('enough'))
    await expect(got.text()).rejects.toThrow('enough')
    expect(outcomes.map((each) => each.kind)).toEqual(['cut', 'cut'])
  })
})
