import { execFileSync } from 'node:child_process'
import { openSync, readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { descriptorsOf } from '../../test/descriptors.ts'
import {
  Channel,
  FileSlice,
  Headers,
  collect,
  derive,
  discard,
  lint,
  streamOf,
  text,
  type Application,
  type ByteStream,
  type GatewayRequest,
  type GatewayResponse,
} from './index.ts'
import { Scope } from './scope.ts'
import { Variables } from './variables.ts'
import { emptyBody } from './streams.ts'

type Writable = { -readonly [K in keyof GatewayRequest]: GatewayRequest[K] }

/** A request that keeps every rule, but for `wrong`. */
function request(wrong: Partial<Writable> = {}): GatewayRequest & { scope: Scope; said: string[] } {
  const scope = new Scope()
  const said: string[] = []
  const made = {
    method: 'GET',
    target: '/a',
    scriptName: '',
    pathInfo: '/a',
    rawPathInfo: '/a',
    queryString: '',
    protocol: 'HTTP/1.1',
    scheme: 'http' as const,
    headers: new Headers(['Host', 'test.example']),
    body: emptyBody,
    contentLength: 0,
    remote: { address: '192.0.2.1', port: 1 },
    local: { address: '', port: 0 },
    signal: scope.signal,
    errors: { write: (line: string) => void said.push(line) },
    onFinish: scope.onFinish.bind(scope),
    waitUntil: scope.waitUntil.bind(scope),
    scope,
    said,
    variables: undefined as never,
    ...wrong,
  }
  if (wrong.variables === undefined) made.variables = new Variables(made as unknown as GatewayRequest) as never
  return made
}

const ok: Application = () => text(200, 'ok')
const sent = { kind: 'sent', status: 200, bytes: 0 } as const

async function read(way: string, body: ByteStream): Promise<void> {
  if (way === 'pushed') await collect(body)
  else for await (const _ of body);
}

test('docs/contract.md is what the checks say; if not, run node scripts/contract.mjs', () => {
  const root = new URL('../..', import.meta.url).pathname
  const printed = execFileSync('node', ['scripts/contract.mjs', '--print'], { cwd: root, encoding: 'utf8' })
  expect(readFileSync(`${root}/docs/contract.md`, 'utf8')).toBe(printed)
})

describe('a good exchange', () => {
  test('passes unchanged, synchronously when the application is synchronous', async () => {
    const backend = lint(ok)
    const asked = request()
    expect(backend(asked)).toEqual(text(200, 'ok'))
    asked.scope.finish(sent)
    await backend.close()
  })

  test('passes with streams both ways, trailers and interim responses', async () => {
    const informed: number[] = []
    const backend = lint(async (got) => {
      got.inform?.(103, [])
      return { status: 200, headers: ['Content-Length', '2'], body: streamOf([await collect(got.body)]), trailers: () => ['X', 'y'] }
    })
    for (const way of ['pushed', 'iterated']) {
      const asked = request({
        method: 'POST',
        contentLength: 2,
        body: streamOf([Buffer.from('ok')]),
        inform: (status) => void informed.push(status),
      })
      const response = await backend(asked)
      const body = response.body as ByteStream
      if (way === 'pushed') expect((await collect(body)).toString()).toBe('ok')
      else for await (const chunk of body) expect(Buffer.from(chunk).toString()).toBe('ok')
      expect(response.trailers!()).toEqual(['X', 'y'])
      asked.scope.finish(sent)
    }
    expect(informed).toEqual([103, 103])
    await backend.close()
  })

  test('closes the application', async () => {
    let closed = 0
    const own = Object.assign(() => text(200, ''), {
      ready: () => Promise.resolve(),
      close: () => Promise.resolve(void closed++),
      [Symbol.asyncDispose]: () => Promise.resolve(),
    })
    await lint(own).close()
    expect(closed).toBe(1)
  })
})

describe('a request is refused whose', () => {
  test.each<[string, Partial<Writable>]>([
    ['method is no token', { method: 'GE T' }],
    ['method is empty', { method: '' }],
    ['target is no byte string', { target: '/€' }],
    ['pathInfo is no byte string', { pathInfo: '/€' }],
    ['scriptName does not begin with a slash', { scriptName: 'a' }],
    ['scriptName ends in a slash', { scriptName: '/a/' }],
    ['scriptName is only a slash', { scriptName: '/' }],
    ['pathInfo does not begin with a slash', { pathInfo: 'a' }],
    ['rawPathInfo does not begin with a slash', { rawPathInfo: 'a' }],
    ['pathInfo holds NUL', { pathInfo: '/\0' }],
    ['pathInfo holds a dot segment', { pathInfo: '/a/../b' }],
    ['pathInfo ends in a dot segment', { pathInfo: '/a/.' }],
    ['query holds a control character', { queryString: 'a\nb' }],
    ['protocol has no version', { protocol: 'HTTP' }],
    ['scheme is another', { scheme: 'ftp' as 'http' }],
    ['header list is odd', { headers: new Headers(['Host']) }],
    ['header name is no token', { headers: new Headers(['A B', 'c']) }],
    ['header value holds CR', { headers: new Headers(['A', 'b\rc']) }],
    ['header view lies', { headers: { list: ['Host', 'a'], get: () => 'b' } }],
    ['variable name holds =', { variables: { own: ['A=', 'b'], get: () => undefined } }],
    ['variable value holds NUL', { variables: { own: ['A', '\0'], get: () => undefined } }],
    ['variables are odd', { variables: { own: ['A'], get: () => undefined } }],
    ['contentLength is negative', { contentLength: -1 }],
    ['contentLength is a fraction', { contentLength: 0.5 }],
    ['body is null', { body: null as never }],
    ['body cannot be cancelled', { body: { async *[Symbol.asyncIterator]() {} } as never }],
    ['remote has no port', { remote: { address: '' } as never }],
  ])('%s', (_, wrong) => {
    let called = false
    const backend = lint(() => {
      called = true
      return text(200, '')
    })
    expect(() => backend(request(wrong))).toThrow(expect.objectContaining({ code: 'CONTRACT', status: 500 }))
    expect(called).toBe(false)
  })
})

describe('a response is refused that has', () => {
  test.each<[string, Partial<Record<keyof GatewayResponse, unknown>>]>([
    ['an interim status', { status: 100 }],
    ['status 101', { status: 101 }],
    ['a status over 599', { status: 600 }],
    ['a status that is text', { status: '200' }],
    ['a line end in the reason', { reason: 'a\r\nb' }],
    ['a reason that is not made of bytes', { reason: '€' }],
    ['an odd header list', { headers: ['A'] }],
    ['no header list', { headers: undefined }],
    ['an empty header name', { headers: ['', 'b'] }],
    ['a colon in a header name', { headers: ['A:', 'b'] }],
    ['LF in a value', { headers: ['A', 'b\nc'] }],
    ['NUL in a value', { headers: ['A', '\0'] }],
    ['a value that is a number', { headers: ['A', 1] }],
    ['Connection', { headers: ['connection', 'close'] }],
    ['Transfer-Encoding', { headers: ['Transfer-Encoding', 'chunked'] }],
    ['Keep-Alive', { headers: ['Keep-Alive', 'timeout=5'] }],
    ['two Content-Lengths', { headers: ['Content-Length', '2', 'content-length', '2'], body: 'ab' }],
    ['a Content-Length that is no number', { headers: ['Content-Length', '2 '], body: 'ab' }],
    ['a Content-Length above its text', { headers: ['Content-Length', '3'], body: 'ab' }],
    ['a Content-Length in characters', { headers: ['Content-Length', '1'], body: 'é' }],
    ['a Content-Length below its bytes', { headers: ['Content-Length', '1'], body: Buffer.from('ab') }],
    ['a Content-Length without a body', { headers: ['Content-Length', '1'], body: null }],
    ['204 with a body', { status: 204, body: '' }],
    ['304 with a body', { status: 304, body: 'x' }],
    ['a body of no shape', { body: {} }],
    ['trailers that are a list', { trailers: [] }],
    ['an internal redirect to elsewhere', { internal: { redirect: 'http://a/' } }],
    ['an internal file without a root', { internal: { file: 'a' } }],
  ])('%s', async (_, wrong) => {
    const response = { status: 200, headers: [], body: null, ...wrong } as unknown as GatewayResponse
    expect(() => lint(() => response)(request())).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
    await expect(lint(() => Promise.resolve(response))(request())).rejects.toMatchObject({ code: 'CONTRACT' })
  })

  test('and its body is cancelled', () => {
    let cancelled = 0
    expect(() => lint(() => ({ status: 0, headers: [], body: streamOf([], () => cancelled++) }))(request())).toThrow('status')
    expect(cancelled).toBe(1)
  })

  test('but to HEAD a null body may stand for any length', () => {
    expect(lint(() => ({ status: 200, headers: ['Content-Length', '5'], body: null }))(request({ method: 'HEAD' }))).toBeDefined()
  })
})

describe('a body', () => {
  const lengths: [string, string[], number][] = [
    ['shorter', ['ab'], 3],
    ['longer', ['ab', 'cd'], 3],
    ['longer in one chunk', ['abcd'], 3],
  ]
  describe.each(['pushed', 'iterated'])('%s', (way) => {
    test.each(lengths)('%s than it is said to be fails, in a request and in a response', async (_, chunks, length) => {
      const stream = (): ByteStream => streamOf(chunks.map((chunk) => Buffer.from(chunk)))
      let reading: Promise<unknown> | undefined
      const reader = lint((got) => {
        reading = read(way, got.body)
        return text(200, '')
      })
      void reader(request({ method: 'POST', body: stream(), contentLength: length }))
      await expect(reading).rejects.toMatchObject({ code: 'CONTRACT' })

      const writer = lint(() => ({ status: 200, headers: ['Content-Length', String(length)], body: stream() }))
      const response = await writer(request())
      await expect(read(way, response.body as ByteStream)).rejects.toMatchObject({ code: 'CONTRACT' })
    })

    test('is read once', async () => {
      const asked = request({ method: 'POST', body: streamOf([]), contentLength: undefined })
      const backend = lint(async (got) => {
        await read(way, got.body)
        await expect(read(way, got.body)).rejects.toMatchObject({ code: 'BODY_USED' })
        return text(200, '')
      })
      await backend(asked)
      asked.scope.finish(sent)
      expect(asked.said.join('')).toMatch(/read twice/)
      await expect(backend.close()).rejects.toThrow(/read twice/)
    })

    test('that is cancelled by another fails its reader', async () => {
      const gone = new Error('gone')
      const body = new Channel()
      const response = await lint(() => ({ status: 200, headers: [], body }))(request())
      const reading = read(way, response.body as ByteStream)
      await Promise.resolve()
      discard(response, gone)
      await expect(reading).rejects.toBe(gone)
    })
  })

  test('that pushes before pushTo returns, or after its end, is found at the close', async () => {
    const early: ByteStream = {
      cancel() {},
      pushTo(sink) {
        sink.write(Buffer.from('a'))
        queueMicrotask(() => {
          sink.end()
          sink.end()
        })
        return { resume() {} }
      },
      [Symbol.asyncIterator]: () => emptyBody[Symbol.asyncIterator](),
    }
    const asked = request()
    const backend = lint(() => ({ status: 200, headers: [], body: early }))
    const response = await backend(asked)
    await collect(response.body as ByteStream)
    await Promise.resolve()
    asked.scope.finish(sent)
    expect(asked.said).toHaveLength(2)
    await expect(backend.close()).rejects.toThrow(/before pushTo returned/)
  })
})

describe('closing finds', () => {
  test('a request that never heard of its end', async () => {
    const backend = lint(ok)
    await backend(request())
    await expect(backend.close()).rejects.toThrow(/1 requests never heard/)
  })

  test('a body that nobody took', async () => {
    const asked = request()
    const backend = lint(() => ({ status: 200, headers: [], body: new Channel() }))
    await backend(asked)
    asked.scope.finish(sent)
    await expect(backend.close()).rejects.toThrow(/1 response bodies/)
  })

  test('a file that nobody closed', async () => {
    for (const take of ['discarded', 'read', 'left']) {
      const asked = request()
      const backend = lint(() => ({ status: 200, headers: [], body: new FileSlice(openSync(import.meta.filename, 'r'), 0, 10) }))
      const response = await backend(asked)
      const file = response.body as FileSlice
      expect(file).toBeInstanceOf(FileSlice)
      asked.scope.finish(sent)
      if (take === 'read') expect(await collect(file.stream())).toHaveLength(10)
      if (take === 'discarded') discard(response)
      if (take === 'left') {
        await expect(backend.close()).rejects.toThrow(/1 response bodies/)
        file.close()
      } else await backend.close()
    }
    await expect.poll(() => descriptorsOf(import.meta.filename)).toEqual([])
  })

  test.each([
    ['sent before the answer', { kind: 'sent', status: 200, bytes: 0 }],
    ['of no kind', { kind: 'done', status: 200, bytes: 0 }],
    ['without a status', { kind: 'cut', bytes: 0 }],
  ])('an outcome %s', async (_, outcome) => {
    const asked = request()
    const backend = lint(() => {
      asked.scope.finish(outcome as never)
      return text(200, '')
    })
    await backend(asked)
    await expect(backend.close()).rejects.toMatchObject({ code: 'CONTRACT' })
  })

  test('an end that is told twice', async () => {
    const callbacks: ((outcome: typeof sent) => void)[] = []
    const backend = lint(ok)
    await backend(request({ onFinish: (callback) => void callbacks.push(callback) }))
    callbacks[0]!(sent)
    callbacks[0]!(sent)
    await expect(backend.close()).rejects.toThrow(/twice/)
  })
})

test('an application cannot inform with a final status, nor after its answer', async () => {
  let keep!: GatewayRequest
  const backend = lint((got) => {
    keep = got
    expect(() => got.inform?.(200, [])).toThrow(/inform/)
    expect(() => got.inform?.(101, [])).toThrow(/inform/)
    return text(200, '')
  })
  await backend(request({ inform: () => {} }))
  expect(() => keep.inform?.(103, [])).toThrow(/after the answer/)
})

test.each<[string, GatewayResponse, (response: GatewayResponse) => unknown, RegExp]>([
  [
    'before the body ended',
    { status: 200, headers: [], body: streamOf([]), trailers: () => [] },
    (r) => r.trailers!(),
    /before the body ended/,
  ],
  ['twice', { status: 200, headers: [], body: null, trailers: () => [] }, (r) => [r.trailers!(), r.trailers!()], /twice/],
  ['that frame', { status: 200, headers: [], body: null, trailers: () => ['content-length', '1'] }, (r) => r.trailers!(), /content-length/],
])('trailers are refused when asked for %s', async (_, response, ask, message) => {
  const linted = await lint(() => response)(request())
  expect(() => ask(linted)).toThrow(message)
})

test('a derived request is judged like any other', () => {
  expect(() => lint(ok)(derive(request(), { pathInfo: '/a/../b' }))).toThrow(/dot segment/)
})
