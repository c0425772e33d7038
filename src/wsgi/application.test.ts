import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { getHeader, getHeaders, lint, mount } from '../core/index.ts'
import { makeRequest, serveMemory } from '../testing/index.ts'
import { environOf, wsgi } from './index.ts'
import type { Environ, StartResponse, WsgiApplication } from './index.ts'

const PLAIN: [string, string][] = [['Content-Type', 'text/plain']]
const bytes = (text: string): Buffer => Buffer.from(text)

/** Asks an application under the contract's eyes. */
const ask = (application: WsgiApplication, parts: Parameters<ReturnType<typeof serveMemory>['request']>[0] = {}) =>
  serveMemory(lint(wsgi(application))).request(parts)

describe('environ', () => {
  test('has every key that PEP 3333 asks for', () => {
    const environ = environOf(
      makeRequest({ method: 'POST', scriptName: '/app', target: '/app/caf%C3%A9?q', headers: ['Content-Type', 'a/b'], body: 'abc' }),
    )
    expect(environ).toMatchObject({
      REQUEST_METHOD: 'POST',
      SCRIPT_NAME: '/app',
      PATH_INFO: '/caf\xc3\xa9',
      QUERY_STRING: 'q',
      CONTENT_TYPE: 'a/b',
      CONTENT_LENGTH: '3',
      SERVER_NAME: 'test.example',
      SERVER_PORT: '80',
      SERVER_PROTOCOL: 'HTTP/1.1',
      'wsgi.version': [1, 0],
      'wsgi.url_scheme': 'http',
      'wsgi.input_terminated': true,
      'wsgi.multithread': false,
      'wsgi.multiprocess': false,
      'wsgi.run_once': false,
    })
    expect(Object.getPrototypeOf(environ)).toBeNull()
  })

  test('has a PATH_INFO also where the path ends at the mount', () => {
    expect(environOf(makeRequest({ scriptName: '/app', target: '/app' })).PATH_INFO).toBe('')
  })

  test('lets nobody outside set a key of the server', () => {
    const environ = environOf(makeRequest({ variables: ['wsgi.url_scheme', 'evil', '__proto__', 'x'], headers: ['Proxy', 'evil'] }))
    expect(environ['wsgi.url_scheme']).toBe('http')
    expect(environ['HTTP_PROXY']).toBeUndefined()
  })

  test.each<[string, (environ: Environ) => Promise<Uint8Array | Uint8Array[]>, string]>([
    ['read()', (environ) => environ['wsgi.input'].read(), 'one\ntwo\n\nlast'],
    ['read(5)', (environ) => environ['wsgi.input'].read(5), 'one\nt'],
    ['read(0)', (environ) => environ['wsgi.input'].read(0), ''],
    ['read(100)', (environ) => environ['wsgi.input'].read(100), 'one\ntwo\n\nlast'],
    ['readline()', (environ) => environ['wsgi.input'].readline(), 'one\n'],
    ['readline(2)', (environ) => environ['wsgi.input'].readline(2), 'on'],
    ['readlines()', (environ) => environ['wsgi.input'].readlines(), 'one\n|two\n|\n|last'],
    ['readlines(5)', (environ) => environ['wsgi.input'].readlines(5), 'one\n|two\n'],
  ])('wsgi.input: %s, however the body is cut', async (_, read, expected) => {
    const body = bytes('one\ntwo\n\nlast')
    for (let cut = 0; cut <= body.length; cut++) {
      const environ = environOf(makeRequest({ method: 'POST', body: [body.subarray(0, cut), body.subarray(cut)] }))
      const got = await read(environ)
      expect(Array.isArray(got) ? got.map(String).join('|') : Buffer.from(got).toString(), `cut at ${cut}`).toBe(expected)
    }
  })

  test('wsgi.input is at its end after the last byte, again and again', async () => {
    const input = environOf(makeRequest({ method: 'POST', body: 'abc' }))['wsgi.input']
    expect(String(await input.read())).toBe('abc')
    for (let i = 0; i < 2; i++) expect([await input.read(), await input.readline()].map((each) => each.length)).toEqual([0, 0])
  })
})

describe('an application in the shape of PEP 3333', () => {
  test('that returns a list is one value', async () => {
    const response = await ask(
      (environ, start) => {
        start('418 A Custom Reason', [['Set-Cookie', 'a=1'], ['Set-Cookie', 'b=2'], ...PLAIN])
        return [bytes('hello '), bytes(environ.PATH_INFO)]
      },
      { target: '/x' },
    )
    expect([response.status, response.reason, response.body.toString()]).toEqual([418, 'A Custom Reason', 'hello /x'])
    expect(getHeaders(response.headers, 'set-cookie')).toEqual(['a=1', 'b=2'])
  })

  test('is served below a mount, with the prefix in SCRIPT_NAME', async () => {
    const server = serveMemory(
      mount({ '/app': wsgi((environ, start) => (start('200 OK', PLAIN), [bytes(environ.SCRIPT_NAME + '|' + environ.PATH_INFO)])) }),
    )
    expect((await server.request({ target: '/app/x' })).body.toString()).toBe('/app|/x')
  })

  test('that is a generator is streamed, block by block, and start_response may come with the first', async () => {
    const blocks: string[] = []
    const response = await ask(async function* (_environ: Environ, start: StartResponse) {
      start('200 OK', PLAIN)
      yield bytes('')
      for (const block of ['one', 'two']) {
        blocks.push(block)
        yield bytes(block)
      }
    })
    expect(blocks).toEqual(['one', 'two'])
    expect(response.chunks.map(String)).toEqual(['one', 'two'])
  })

  test('that calls write is streamed, and what it returns follows', async () => {
    const response = await ask(async (_environ, start) => {
      const write = start('200 OK', PLAIN)
      await write(bytes('one '))
      await write(bytes('two '))
      return [bytes('three')]
    })
    expect(response.body.toString()).toBe('one two three')
  })

  test('may replace its head until the first block', async () => {
    const response = await ask((_environ, start) => {
      start('200 OK', PLAIN)
      start('503 Better Not', [['Retry-After', '1']], new Error('on second thought'))
      return [bytes('sorry')]
    })
    expect([response.status, getHeader(response.headers, 'retry-after')]).toEqual([503, '1'])
  })

  test('hears its own error when the head has left', async () => {
    const late = new Error('too late')
    let heard: unknown
    const response = await ask(function* (_environ, start) {
      start('200 OK', PLAIN)
      yield bytes('x')
      try {
        start('500 No', PLAIN, late)
      } catch (error) {
        heard = error
        throw error
      }
    } as WsgiApplication)
    expect([response.status, response.outcome.kind, heard]).toEqual([200, 'failed', late])
  })

  test.each<[string, WsgiApplication]>([
    ['calls start_response twice', (_, start) => (start('200 OK', PLAIN), start('200 OK', PLAIN), [])],
    ['never calls start_response', () => [bytes('x')]],
    ['returns text', (_, start) => (start('200 OK', PLAIN), ['x' as unknown as Uint8Array])],
    [
      'throws',
      () => {
        throw new Error('secret')
      },
    ],
    ['rejects', () => Promise.reject(new Error('secret'))],
    ['ends before its Content-Length', (_, start) => (start('200 OK', [['Content-Length', '5']]), [])],
  ])('that %s fails', async (_, application) => {
    const response = await ask(application)
    expect([response.status, response.body.length]).toEqual([500, 0])
  })

  test.each<[string, [string, string][]]>([
    ['200', PLAIN],
    ['200 OK\r\nX: y', PLAIN],
    ['103 Early Hints', PLAIN],
    ['600 What', PLAIN],
    ['200 OK', [['A b', 'c']]],
    ['200 OK', [['A', 'b\r\nc']]],
    ['200 OK', [['A', '\u20ac']]],
    ['200 OK', [['Connection', 'close']]],
    ['200 OK', [['Content-Length', 'x']]],
    [
      '200 OK',
      [
        ['Content-Length', '1'],
        ['content-length', '1'],
      ],
    ],
  ])('is told at the call that %j, %j cannot be a head', async (status, headers) => {
    let message = ''
    await ask((_environ, start) => {
      try {
        start(status, headers)
      } catch (error) {
        message = String(error)
      }
      start('200 OK', PLAIN)
      return []
    })
    expect(message).toMatch(/wsgi: startResponse: /)
  })

  test('is cut off at its Content-Length, and the log says so', async () => {
    const response = await ask(function* (_environ, start) {
      start('200 OK', [['Content-Length', '3']])
      yield bytes('ab')
      yield bytes('cd')
    } as WsgiApplication)
    expect([response.body.toString(), response.errors]).toEqual(['abc', expect.stringContaining('longer than its Content-Length')])
  })

  test.each<[string, string, number]>([
    ['HEAD', '200 OK', 200],
    ['GET', '204 No Content', 204],
    ['GET', '304 Not Modified', 304],
  ])('to %s with %s sends no body, and its iterable is closed', async (method, status, code) => {
    let closed = 0
    const application: WsgiApplication = (_environ, start) => {
      start(status, PLAIN)
      const blocks = (function* () {
        yield bytes('never')
        yield bytes('sent')
      })()
      return Object.assign(blocks, { close: () => closed++ })
    }
    const response = await ask(application, { method })
    expect([response.status, response.body.length]).toEqual([code, 0])
    await expect.poll(() => closed).toBe(1)
  })

  test.each([
    ['ends', false],
    ['throws', true],
  ])('has close called once when it %s', async (_, throws) => {
    let closed = 0
    await ask((_environ, start) => {
      start('200 OK', PLAIN)
      const blocks = (function* () {
        yield bytes('a')
        if (throws) throw new Error('amid')
      })()
      return Object.assign(blocks, { close: () => closed++ })
    })
    await expect.poll(() => closed).toBe(1)
  })

  test('waits for a slow reader, and is stopped when the reader leaves', async () => {
    let made = 0
    let closed = 0
    const server = serveMemory(
      wsgi((_environ, start) => {
        start('200 OK', PLAIN)
        const blocks = (function* () {
          for (; ; made++) yield Buffer.alloc(10_000)
        })()
        return Object.assign(blocks, { close: () => closed++ })
      }),
    )
    const running = server.request({ reader: 'held' })
    await running.head
    for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
    expect(made).toBeLessThan(20)
    running.abort()
    expect((await running).outcome.kind).toBe('cut')
    await expect.poll(() => closed).toBe(1)
  })
})

describe('the first example', () => {
  const folder = new URL('../../examples/simple_app/', import.meta.url)

  test('in TypeScript: an application, and a middleware around it', async () => {
    const { application, simple_app } = (await import(new URL('simple_app.ts', folder).href)) as Record<string, WsgiApplication>
    expect((await ask(simple_app!)).body.toString()).toBe('Hello world!\n')
    const response = await ask(application!)
    expect([response.body.toString(), getHeader(response.headers, 'content-type')]).toEqual(['HELLO WORLD!\n', 'text/plain'])
    expect(getHeader(response.headers, 'content-length')).toBeUndefined()
  })

  test('is the same in Python, word for word where the languages allow', () => {
    const python = readFileSync(new URL('simple_app.py', folder), 'utf8')
    expect(python).toContain('def simple_app(environ, start_response):')
  })
})
