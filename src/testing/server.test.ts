import { mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { descriptorsOf } from '../../test/descriptors.ts'
import { Channel, FileSlice, GatewayError, collect, streamOf, text, type Application, type Outcome } from '../core/index.ts'
import { collectResponse, makeRequest, serveMemory } from './index.ts'

const failing = (after: readonly string[], error: unknown): Channel => {
  const channel = new Channel()
  for (const chunk of after) channel.write(Buffer.from(chunk))
  channel.fail(error)
  return channel
}

describe('the in-memory door', () => {
  test('gives the application what a client sent, and the client what it answered', async () => {
    await using server = serveMemory(async (request) => ({
      status: 201,
      reason: 'Made',
      headers: ['X-Method', request.method, 'X-Path', request.pathInfo, 'X-Query', request.queryString],
      body: await collect(request.body),
      trailers: () => ['X-After', 'yes'],
    }))
    const response = await server.request({ method: 'POST', target: '/a%20b?c=d', body: 'hello' })
    expect(response).toMatchObject({
      status: 201,
      reason: 'Made',
      headers: ['X-Method', 'POST', 'X-Path', '/a b', 'X-Query', 'c=d'],
      trailers: ['X-After', 'yes'],
      outcome: { kind: 'sent', status: 201, bytes: 5 },
      errors: '',
    })
    expect(response.body.toString()).toBe('hello')
  })

  test.each([
    ['text', 'hello', 5, ['Content-Length', '5']],
    ['nothing', undefined, 0, []],
    ['empty text', '', 0, ['Content-Length', '0']],
    ['chunks', [Buffer.from('hel'), Buffer.from('lo')], undefined, ['Transfer-Encoding', 'chunked']],
  ])('a body of %s has a length as it would have over HTTP', async (_, body, length, headers) => {
    await using server = serveMemory((request) => {
      expect(request.contentLength).toBe(length)
      expect(request.headers.list.slice(2)).toEqual(headers)
      return text(200, 'ok')
    })
    const response = await server.request(body === undefined ? {} : { method: 'POST', body })
    expect(response.errors).toBe('')
  })

  test('a client that sends less than it said has gone, and one that sends more is cut', async () => {
    await using server = serveMemory(async (request) => text(200, (await collect(request.body)).toString()))
    const less = await server.request({ method: 'POST', body: 'hello', contentLength: 6 })
    expect(less).toMatchObject({ status: 499, outcome: { kind: 'failed' } })
    const more = await server.request({ method: 'POST', body: 'hello', contentLength: 4 })
    expect(more.body.toString()).toBe('hell')
  })

  test('a request body is read at the pace of its reader', async () => {
    let made = 0
    async function* chunks(): AsyncGenerator<Uint8Array> {
      for (; made < 100; made++) yield Buffer.alloc(1000)
    }
    let seen = 0
    await using server = serveMemory(async (request) => {
      for await (const _ of request.body) {
        seen = made
        break
      }
      return text(200, 'enough')
    })
    await server.request({ method: 'POST', body: chunks() })
    expect(seen).toBeLessThan(5)
    expect(made).toBeLessThan(5)
  })

  test.each([
    ['HEAD', 200],
    ['GET', 204],
    ['GET', 205],
    ['GET', 304],
  ])('%s with %i discards the body', async (method, status) => {
    let reason: unknown = 'not cancelled'
    await using server = serveMemory(() => ({ status, headers: [], body: streamOf([Buffer.from('x')], (why) => (reason = why)) }))
    const response = await server.request({ method })
    expect(response.body).toHaveLength(0)
    expect(response.outcome).toMatchObject({ kind: 'sent', status, bytes: 0 })
    expect(reason).toBeUndefined()
  })

  test('OPTIONS * is answered by the door, for it is about no resource', async () => {
    await using server = serveMemory(() => expect.unreachable())
    expect((await server.request({ method: 'OPTIONS', target: '*' })).status).toBe(204)
  })

  test('interim responses are recorded, and 101 is none of them', async () => {
    await using server = serveMemory((request) => {
      request.inform?.(103, ['Link', '</a.css>; rel=preload'])
      expect(() => request.inform?.(101, [])).toThrow(/interim/)
      return text(200, 'ok')
    })
    expect((await server.request()).informed).toEqual([{ status: 103, headers: ['Link', '</a.css>; rel=preload'] }])
  })

  test('a file is sent and its descriptor closed', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'viaduct-testing-'))
    writeFileSync(join(folder, 'file'), 'hello world')
    const fd = openSync(join(folder, 'file'), 'r')
    const kept = openSync(join(folder, 'file'), 'r')
    await using server = serveMemory((request) =>
      request.method === 'HEAD'
        ? { status: 200, headers: [], body: new FileSlice(kept, 0, 5) }
        : { status: 200, headers: [], body: new FileSlice(fd, 6, 5) },
    )
    expect((await server.request()).body.toString()).toBe('world')
    await expect.poll(() => descriptorsOf(folder)).toEqual([kept])
    await server.request({ method: 'HEAD' })
    await expect.poll(() => descriptorsOf(folder)).toEqual([])
    rmSync(folder, { recursive: true })
  })

  test('requests after a swap get the new application, and the old one is not closed', async () => {
    await using server = serveMemory(() => text(200, 'old'))
    expect((await server.request()).body.toString()).toBe('old')
    server.swap(() => text(200, 'new'))
    expect((await server.request()).body.toString()).toBe('new')
  })

  test('closing waits for what runs and for work after it, then cuts what is left', async () => {
    let done = false
    let release!: () => void
    const server = serveMemory((request) => {
      request.waitUntil(
        new Promise<void>(
          (resolve) =>
            (release = () => {
              done = true
              resolve()
            }),
        ),
      )
      return text(200, 'ok')
    })
    await server.request()
    const closing = server.close()
    release()
    await closing
    expect(done).toBe(true)
    await expect(server.request()).rejects.toMatchObject({ code: 'CLOSED' })

    const hanging = serveMemory(() => new Promise(() => {}))
    const cut = hanging.request()
    await hanging.close(1)
    expect(await cut).toMatchObject({ status: 0, outcome: { kind: 'cut' } })
  })
})

describe('what goes wrong', () => {
  test.each<[string, () => never, number, readonly string[]]>([
    [
      'an error',
      () => {
        throw new Error('private detail')
      },
      500,
      [],
    ],
    [
      'something else',
      () => {
        throw 'a string'
      },
      500,
      [],
    ], // oxlint-disable-line no-throw-literal
    [
      'a GatewayError',
      () => {
        throw new GatewayError('QUEUE_FULL', { status: 503, retryAfter: 2, message: 'full' })
      },
      503,
      ['Retry-After', '2'],
    ],
  ])('%s before the head is a status without a body; the details go to the log', async (_, fail, status, headers) => {
    for (const application of [fail, () => Promise.resolve().then(fail)]) {
      await using server = serveMemory(application)
      const response = await server.request()
      expect(response).toMatchObject({ status, headers, outcome: { kind: 'failed', status, bytes: 0 } })
      expect(response.body).toHaveLength(0)
      expect(response.errors).not.toBe('')
    }
  })

  test('after the head it is a failure, never a clean end', async () => {
    const error = new Error('broke')
    await using server = serveMemory(() => ({ status: 200, headers: [], body: failing(['half'], error) }))
    const response = await server.request()
    expect(response).toMatchObject({ status: 200, outcome: { kind: 'failed', status: 200, bytes: 4, error } })
    expect(response.body.toString()).toBe('half')
  })

  test.each<[string, number]>([
    ['hell', 5],
    ['hello!', 5],
  ])('a body "%s" under Content-Length %i is a failure', async (body, length) => {
    const headers = ['Content-Length', String(length)]
    await using streamed = serveMemory(() => ({ status: 200, headers, body: streamOf([Buffer.from(body)]) }))
    expect(await streamed.request()).toMatchObject({ status: 200, outcome: { kind: 'failed' } })
    await using whole = serveMemory(() => ({ status: 200, headers, body }))
    expect(await whole.request()).toMatchObject({ status: 500, outcome: { kind: 'failed' } })
  })

  test.each<[string, Awaited<ReturnType<Application>>]>([
    ['an internal redirect', { status: 200, headers: [], body: null, internal: { redirect: '/x' } }],
    ['a status of 101', { status: 101, headers: [], body: null }],
    ['a status of 600', { status: 600, headers: [], body: null }],
    ['a header name with a space', { status: 200, headers: ['X Y', 'z'], body: null }],
    ['a header value with a line end', { status: 200, headers: ['X', 'y\r\nZ: w'], body: null }],
    ['half a header', { status: 200, headers: ['X'], body: null }],
    ['a reason with a line end', { status: 200, reason: 'OK\r\n', headers: [], body: null }],
  ])('%s from an application is a 500, and its body is cancelled', async (_, response) => {
    let cancelled = 0
    await using server = serveMemory(() => ({ ...response, body: streamOf([], () => cancelled++) }))
    expect(await server.request()).toMatchObject({ status: 500, headers: [], outcome: { kind: 'failed' } })
    expect(cancelled).toBe(1)
  })

  test.each([
    ['target', { target: '/a%00b' }],
    ['target', { target: 'a' }],
    ['method', { method: 'GE T' }],
    ['Host', { headers: ['Host', 'a b'] }],
  ])('a %s that no door lets through is a 400 without the application', async (_, parts) => {
    let called = false
    await using server = serveMemory(() => {
      called = true
      return text(200, 'ok')
    })
    expect((await server.request(parts)).status).toBe(400)
    expect(called).toBe(false)
  })
})

describe('a client that leaves', () => {
  test('before the head aborts the signal, fails the body, and the late response is discarded', async () => {
    let answer!: () => void
    let outcome: Outcome | undefined
    let reading: Promise<unknown> | undefined
    let cancelled = 0
    await using server = serveMemory(async (request) => {
      request.onFinish((how) => (outcome = how))
      reading = collect(request.body).catch((error: unknown) => error)
      await new Promise<void>((resolve) => (answer = resolve))
      expect(request.signal.aborted).toBe(true)
      return { status: 200, headers: [], body: streamOf([], () => cancelled++) }
    })
    const exchange = server.request({ method: 'POST', body: new Channel() })
    exchange.abort()
    expect(await exchange).toMatchObject({ status: 0, outcome: { kind: 'cut', status: 0 } })
    expect(outcome?.kind).toBe('cut')
    expect(await reading).toMatchObject({ code: 'CLIENT_GONE' })
    answer()
    await expect.poll(() => cancelled).toBe(1)
  })

  test('amid the body cancels it', async () => {
    let cancelled = 0
    const body = new Channel({ onCancel: () => cancelled++ })
    await using server = serveMemory(() => ({ status: 200, headers: [], body }))
    const exchange = server.request()
    expect(await exchange.head).toBe(200)
    body.write(Buffer.from('half'))
    await expect.poll(() => exchange.received()).toBe(4)
    exchange.abort()
    expect(await exchange).toMatchObject({ status: 200, outcome: { kind: 'cut', status: 200, bytes: 4 } })
    expect(cancelled).toBe(1)
  })
})

describe('a slow reader', () => {
  test.each(['slow', 'held'] as const)('(%s) makes the source wait and gets everything', async (reader) => {
    let refused = 0
    let sent = 0
    const body: Channel = new Channel({ highWaterMark: 10, onStart: () => more(), onDrain: () => more() })
    const more = (): void => {
      while (sent < 50) {
        sent++
        if (!body.write(Buffer.alloc(10, sent))) {
          refused++
          return
        }
      }
      body.end()
    }
    await using server = serveMemory(() => ({ status: 200, headers: [], body }))
    const exchange = server.request({ reader })
    await exchange.head
    if (reader === 'held') {
      await new Promise((resolve) => setImmediate(resolve))
      expect(exchange.received()).toBe(10)
      exchange.release()
    }
    expect((await exchange).body).toHaveLength(500)
    expect(refused).toBeGreaterThan(reader === 'slow' ? 40 : 0)
  })
})

describe('a request made by hand', () => {
  test('is split at the mount point, and an abort reaches its signal, its body and its end', async () => {
    const body = new Channel()
    const request = makeRequest({ method: 'POST', target: '/app/x?y', scriptName: '/app', body, variables: ['A', 'b'] })
    expect(request).toMatchObject({ scriptName: '/app', pathInfo: '/x', rawPathInfo: '/x', queryString: 'y', contentLength: undefined })
    expect(request.variables.get('A')).toBe('b')
    expect(request.variables.get('SERVER_NAME')).toBe('test.example')
    const reading = collect(request.body)
    request.abort()
    await expect(reading).rejects.toMatchObject({ code: 'CLIENT_GONE' })
    expect(request.signal.aborted).toBe(true)
    expect(request.outcome?.kind).toBe('cut')
  })

  test('with a target that every door refuses is a mistake of the test', () => {
    expect(() => makeRequest({ target: 'x' })).toThrow(TypeError)
  })
})

test('a collected response closes its file, and rejects when the body fails', async () => {
  const fd = openSync(import.meta.filename, 'r')
  const { body } = await collectResponse({ status: 200, headers: [], body: new FileSlice(fd, 0, 6) })
  expect(body.toString()).toBe('import')
  await expect.poll(() => descriptorsOf(import.meta.filename)).toEqual([])
  await expect(collectResponse({ status: 200, headers: [], body: failing([], new Error('broke')) })).rejects.toThrow('broke')
})
