import { afterEach, describe, expect, test } from 'vitest'
import { FileSlice, collect, spoolMemory, streamOf } from '../../core/index.ts'
import type { Backend, ByteStream, GatewayResponse } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import { close, expectClose, expectRequest, gate, scripted, send, until } from '../../../test/scripted.ts'
import type { Scripted, Step } from '../../../test/scripted.ts'
import * as wire from '../../../test/wire.ts'
import { fastcgi } from './client.ts'
import type { FastCgiOptions } from './options.ts'
import { formatAddress, parseAddress } from './connect.ts'
import { getValues } from './get-values.ts'
import { Role } from '../record.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

async function peer(...scripts: readonly (readonly Step[] | 'tcp')[]): Promise<Scripted> {
  const upstream = await scripted(...scripts)
  opened.push(upstream)
  return upstream
}

function client(upstream: Pick<Scripted, 'address'>, options: Partial<FastCgiOptions> = {}): Backend {
  const made = fastcgi({ address: upstream.address, ...options })
  opened.push({ [Symbol.asyncDispose]: () => made.close(0) })
  return made
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  if (body instanceof FileSlice) throw new Error('a file from an application')
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body)).toString('latin1')
}

const HELLO = wire.answer(1, 'Content-Type: text/plain\r\n\r\nhello')
const serve = (times: number): Step[] => Array.from({ length: times }, () => [expectRequest(), send(HELLO)]).flat()

describe('connections', () => {
  test('are kept and used again, the last one first', async () => {
    const upstream = await peer(serve(10))
    const app = client(upstream)
    for (let i = 0; i < 3; i++) expect(await textOf(await app(makeRequest()))).toBe('hello')
    expect(upstream.connections).toBe(1)
    await Promise.all([app(makeRequest()), app(makeRequest())])
    expect(upstream.connections).toBe(2)
    for (let i = 0; i < 4; i++) await app(makeRequest())
    const last = upstream.requests.slice(-4).map((each) => each.connection)
    expect(new Set(last).size).toBe(1)
  })

  test('are not kept with keep: false', async () => {
    const upstream = await peer([expectRequest(), send(HELLO), close()])
    const app = client(upstream, { keep: false })
    for (let i = 0; i < 3; i++) expect(await textOf(await app(makeRequest()))).toBe('hello')
    expect(upstream.connections).toBe(3)
    expect(upstream.requests.map((each) => each.keep)).toEqual([false, false, false])
  })

  test('are closed when nobody needs them', async () => {
    const upstream = await peer([...serve(1), expectClose()])
    const app = client(upstream, { idleTimeout: 30 })
    await app(makeRequest())
    await upstream.done()
    await app(makeRequest())
    expect(upstream.connections).toBe(2)
  })

  test('are no more than allowed; the others wait, first come, first served', async () => {
    const later = gate()
    const upstream = await peer([expectRequest(), until(later.open), send(HELLO), ...serve(3)])
    const app = client(upstream, { connections: 1 })
    const order: number[] = []
    const asked = [0, 1, 2].map(async (i) => {
      await app(makeRequest({ target: `/${i}` }))
      order.push(i)
    })
    await expect.poll(() => upstream.requests.length).toBe(1)
    later.pass()
    await Promise.all(asked)
    expect(order).toEqual([0, 1, 2])
    expect(upstream.connections).toBe(1)
  })

  test('that are all in use make the queue grow, up to its bound', async () => {
    const upstream = await peer([expectRequest(), expectClose()])
    const app = client(upstream, { connections: 1, queue: 1, queueTimeout: 60 })
    const first = Promise.resolve(app(makeRequest()))
    first.catch(() => {})
    await expect.poll(() => upstream.requests.length).toBe(1)
    const second = app(makeRequest())
    await expect(async () => app(makeRequest())).rejects.toMatchObject({ code: 'QUEUE_FULL', status: 503, retryAfter: 1 })
    await expect(second).rejects.toMatchObject({ code: 'QUEUE_TIMEOUT', status: 503 })
  })

  test('are not waited for by a client that has left', async () => {
    const upstream = await peer([expectRequest(), expectClose()])
    const app = client(upstream, { connections: 1 })
    const first = Promise.resolve(app(makeRequest()))
    first.catch(() => {})
    await expect.poll(() => upstream.requests.length).toBe(1)
    const request = makeRequest()
    const second = app(request)
    request.abort()
    await expect(second).rejects.toMatchObject({ code: 'CLIENT_GONE' })
  })

  test('that break give their place to who waits', async () => {
    const upstream = await peer([expectRequest(), close()], serve(1))
    const app = client(upstream, { connections: 1 })
    const [first, second] = await Promise.allSettled([app(makeRequest()), app(makeRequest())])
    expect(first).toMatchObject({ status: 'rejected', reason: { code: 'UPSTREAM_TRUNCATED' } })
    expect(second).toMatchObject({ status: 'fulfilled', value: { status: 200 } })
  })

  test('that cannot be made are 502, and the next request tries again', async () => {
    const upstream = await peer(serve(1))
    const app = client({ address: { path: '/nonexistent/viaduct.sock' } })
    for (let i = 0; i < 3; i++) await expect(app(makeRequest())).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 502 })
    await expect(app.ready()).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    await expect(client(upstream).ready()).resolves.toBe(undefined)
  })
})

describe('a kept connection that turns out to be closed', () => {
  /** Answers once, then reads the next request and closes without a word. */
  const stale = [...serve(1), expectRequest(), close()]

  test.each(['GET', 'HEAD', 'PUT', 'DELETE', 'OPTIONS'])('costs a %s nothing: it is sent again on a fresh one', async (method) => {
    const upstream = await peer(stale, serve(1))
    const app = client(upstream)
    await app(makeRequest())
    const response = await app(makeRequest({ method }))
    expect(response.status).toBe(200)
    expect(upstream.requests.map((each) => each.connection)).toEqual([0, 0, 1])
  })

  test.each(['POST', 'PATCH', 'LOCK'])('fails a %s, which may have been carried out', async (method) => {
    const upstream = await peer(stale, serve(1))
    const app = client(upstream)
    await app(makeRequest())
    await expect(app(makeRequest({ method }))).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED', status: 502 })
    expect(upstream.requests).toHaveLength(2)
  })

  test.each(['POST', 'GET'])('costs a %s nothing when not a byte of it was taken', async (method) => {
    let gone: (() => void) | undefined
    const upstream = await peer([...serve(1), (each) => void (gone = () => each.socket.destroy())], serve(1))
    const app = client(upstream)
    await app(makeRequest())
    await upstream.done()
    // Closed and written to before the loop can tell anybody: the write itself fails.
    gone!()
    const response = await app(makeRequest({ method }))
    expect(response.status).toBe(200)
    expect(upstream.requests.map((each) => each.connection)).toEqual([0, 1])
  })

  test('sends the body again too, from memory and from a file', async () => {
    const upstream = await peer(stale, [...serve(1), expectRequest(), close()], serve(1))
    const app = client(upstream, { limits: { bodyMemory: 1000 } })
    await app(makeRequest())
    const small = Buffer.alloc(900, 'a')
    const large = Buffer.alloc(200_000, 'b')
    const memory = spoolMemory.used
    await app(makeRequest({ method: 'PUT', body: small }))
    await app(makeRequest({ method: 'PUT', body: large }))
    expect(upstream.requests.map((each) => each.stdin.length)).toEqual([0, 900, 900, 200_000, 200_000])
    expect(upstream.requests[4]!.stdin.equals(large)).toBe(true)
    expect(spoolMemory.used).toBe(memory)
  })

  test.each([
    ['once an answer has begun', [...serve(1), expectRequest(), send(wire.stdout(1, 'Sta')), close()], {}],
    ['with retries: 0', stale, { retries: 0 as const }],
    ['when the body is streamed', stale, { body: 'stream' as const }],
  ])('is not tried again %s', async (what, steps, options) => {
    const upstream = await peer(steps, serve(1))
    const app = client(upstream, options)
    await app(makeRequest())
    const request = what.includes('stream') ? makeRequest({ method: 'PUT', body: 'abc' }) : makeRequest()
    await expect(app(request)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(upstream.connections).toBe(1)
  })

  test('is not tried a third time', async () => {
    const upstream = await peer(stale, [expectRequest(), close()])
    const app = client(upstream)
    await app(makeRequest())
    await expect(app(makeRequest())).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
    expect(upstream.connections).toBe(2)
  })

  test('keeps to the number of connections while it tries again', async () => {
    const upstream = await peer(stale, serve(5))
    const app = client(upstream, { connections: 1 })
    await app(makeRequest())
    const answers = await Promise.all([app(makeRequest()), app(makeRequest()), app(makeRequest())])
    expect(answers.map((each) => each.status)).toEqual([200, 200, 200])
    expect(upstream.connections).toBe(2)
  })

  test('is seen beforehand when its close has arrived', async () => {
    const upstream = await peer([...serve(1), close()], serve(1))
    const app = client(upstream)
    await app(makeRequest())
    await upstream.done()
    await expect.poll(async () => (await app(makeRequest({ method: 'POST' }))).status).toBe(200)
    expect(upstream.connections).toBe(2)
  })
})

describe('the request', () => {
  test('has the variables of CGI, with those of the options', async () => {
    const upstream = await peer(serve(1))
    const app = client(upstream, {
      variables: { APP_ENV: 'test', A: 'option' },
      documentRoot: '/srv/www',
      scriptFilename: '/srv/front.php',
    })
    await app(makeRequest({ target: '/a/b?c=d', variables: ['A', 'own'], headers: { Proxy: 'evil', 'X-Y': 'z' } }))
    const { variables } = upstream.requests[0]!
    expect(Object.fromEntries(variables)).toMatchObject({
      GATEWAY_INTERFACE: 'CGI/1.1',
      REQUEST_METHOD: 'GET',
      REQUEST_URI: '/a/b?c=d',
      PATH_INFO: '/a/b',
      QUERY_STRING: 'c=d',
      HTTP_X_Y: 'z',
      APP_ENV: 'test',
      A: 'own',
      DOCUMENT_ROOT: '/srv/www',
      SCRIPT_FILENAME: '/srv/front.php',
    })
    expect(variables.has('HTTP_PROXY')).toBe(false)
    expect(variables.has('CONTENT_LENGTH')).toBe(false)
  })

  test('names its script by its path under the document root', async () => {
    const upstream = await peer(serve(2))
    const app = client(upstream, { documentRoot: '/srv/www' })
    await app(makeRequest({ target: '/app/x.php', scriptName: '/app' }))
    await app(makeRequest({ target: '/x.php', variables: ['SCRIPT_FILENAME', '/elsewhere.php'] }))
    const [first, second] = upstream.requests.map((each) => Object.fromEntries(each.variables))
    expect(first).toMatchObject({ SCRIPT_NAME: '/app/x.php', SCRIPT_FILENAME: '/srv/www/app/x.php', DOCUMENT_ROOT: '/srv/www' })
    expect(first).not.toHaveProperty('PATH_INFO')
    expect(second).toMatchObject({ SCRIPT_FILENAME: '/elsewhere.php', PATH_INFO: '/x.php' })
  })

  test.each(['/a%2fb.php', '/a%5Cb.php'])('with the path %s names no file', async (target) => {
    const upstream = await peer(serve(1))
    const app = client(upstream, { documentRoot: '/srv/www' })
    await expect(async () => app(makeRequest({ target }))).rejects.toMatchObject({ status: 400 })
  })

  test('of unknown length has one when it is sent', async () => {
    const upstream = await peer(serve(1))
    const app = client(upstream)
    await app(makeRequest({ method: 'POST', body: [Buffer.from('abc'), Buffer.from('def')] }))
    expect(upstream.requests[0]).toMatchObject({ stdin: Buffer.from('abcdef') })
    expect(upstream.requests[0]!.variables.get('CONTENT_LENGTH')).toBe('6')
  })

  test('takes a connection only when its body is whole', async () => {
    const upstream = await peer(serve(2))
    const app = client(upstream, { connections: 1 })
    const later = gate()
    const slow = async function* (): AsyncGenerator<Uint8Array> {
      yield Buffer.from('a')
      await later.open
      yield Buffer.from('b')
    }
    const upload = app(makeRequest({ method: 'POST', body: streamOf(slow()), contentLength: 2 }))
    expect(await textOf(await app(makeRequest()))).toBe('hello')
    later.pass()
    expect((await upload).status).toBe(200)
    expect(upstream.requests.map((each) => each.stdin.toString())).toEqual(['', 'ab'])
  })

  test('is streamed where the options say so', async () => {
    const upstream = await peer(serve(1))
    const app = client(upstream, { body: 'stream' })
    const bytes = Buffer.alloc(300_000, 'x')
    await app(makeRequest({ method: 'POST', body: streamOf([bytes]), contentLength: bytes.length }))
    expect(upstream.requests[0]!.stdin.equals(bytes)).toBe(true)
  })

  test.each([
    ['longer than allowed', 'x'.repeat(11), {}, { code: 'BODY_TOO_LARGE', status: 413 }],
    ['shorter than announced', 'abc', { contentLength: 5 }, { code: 'BODY_LENGTH_MISMATCH', status: 400 }],
  ])('with a body %s is refused', async (_, body, parts, error) => {
    const upstream = await peer(serve(1))
    const app = client(upstream, { limits: { body: 10 } })
    await expect(app(makeRequest({ method: 'POST', body, ...parts }))).rejects.toMatchObject(error)
    expect(upstream.connections).toBe(0)
  })

  test('with more in its headers than a record can carry is refused, and the connection stays', async () => {
    const upstream = await peer(serve(2))
    const app = client(upstream)
    await app(makeRequest())
    await expect(async () => app(makeRequest({ headers: { X: 'x'.repeat(70_000) } }))).rejects.toMatchObject({ status: 431 })
    await app(makeRequest())
    expect(upstream.connections).toBe(1)
  })

  test('of an authorizer has no body and no path', async () => {
    const upstream = await peer(serve(1))
    const app = client(upstream, { role: Role.Authorizer })
    await app(makeRequest({ method: 'POST', target: '/a', body: 'abc' }))
    const [request] = upstream.requests
    expect(request).toMatchObject({ role: 2, stdin: Buffer.alloc(0) })
    for (const name of ['CONTENT_LENGTH', 'PATH_INFO', 'SCRIPT_NAME']) expect(request!.variables.has(name), name).toBe(false)
  })

  test('hears what the application says on STDERR, line by line', async () => {
    const upstream = await peer([expectRequest(), send(wire.stderr(1, 'one\ntwo'), HELLO)])
    const request = makeRequest()
    await client(upstream)(request)
    expect(request.errorText).toBe('one\ntwo\n')
  })
})

describe('closing', () => {
  test('waits for what runs, and takes nothing new', async () => {
    const later = gate()
    const upstream = await peer([expectRequest(), until(later.open), send(HELLO), expectClose()])
    const app = client(upstream)
    const running = app(makeRequest())
    await expect.poll(() => upstream.requests.length).toBe(1)
    let over = false
    const closing = app.close(10_000).then(() => {
      over = true
    })
    await expect(async () => app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED', status: 503 })
    expect(over).toBe(false)
    later.pass()
    expect(await textOf(await running)).toBe('hello')
    await closing
    await upstream.done()
  })

  test('ends what runs on after its time', async () => {
    const upstream = await peer([expectRequest(), expectClose()])
    const app = client(upstream)
    const running = expect(app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED' })
    await expect.poll(() => upstream.requests.length).toBe(1)
    await app.close(20)
    await running
    await upstream.done()
  })

  test('rejects who waits, and closes what is idle', async () => {
    const upstream = await peer([expectRequest(), expectClose()])
    const app = client(upstream, { connections: 1 })
    const running = expect(app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED' })
    const waiting = expect(app(makeRequest())).rejects.toMatchObject({ code: 'CLOSED' })
    await app.close(0)
    await Promise.all([running, waiting])
  })
})

describe('half an answer', () => {
  test('is never a short page', async () => {
    const upstream = await peer([expectRequest(), send(wire.stdout(1, 'Status: 200\r\n\r\nhal')), close()])
    const response = await client(upstream, { hold: { bytes: 0, time: 0 } })(makeRequest())
    await expect(collect(response.body as ByteStream)).rejects.toMatchObject({ code: 'UPSTREAM_TRUNCATED' })
  })
})

describe('options', () => {
  test.each([
    ['unix:/run/a.sock', { path: '/run/a.sock' }, 'unix:/run/a.sock'],
    ['/run/a.sock', { path: '/run/a.sock' }, 'unix:/run/a.sock'],
    ['127.0.0.1:9000', { host: '127.0.0.1', port: 9000 }, '127.0.0.1:9000'],
    ['[::1]:1', { host: '::1', port: 1 }, '[::1]:1'],
    ['php:65535', { host: 'php', port: 65_535 }, 'php:65535'],
  ])('take the address %s', (text, address, shown) => {
    expect(parseAddress(text)).toEqual(address)
    expect(formatAddress(address)).toBe(shown)
  })

  test.each(['', '9000', 'host', 'host:0', 'host:65536', '::1:9000', 'unix:relative', 'http://a:1/'])('refuse the address %j', (text) => {
    expect(() => parseAddress(text)).toThrowError(expect.objectContaining({ code: 'CONFIG' }))
  })

  test.each([
    [{ variables: { HTTP_HOST: 'x' } }, 'HTTP_HOST'],
    [{ variables: { REQUEST_METHOD: 'x' } }, 'REQUEST_METHOD'],
    [{ connections: 0 }, 'connections'],
  ])('that cannot be carried out are refused: %j', (options, word) => {
    expect(() => fastcgi({ address: '/a', ...options })).toThrow(word)
  })
})

describe('asking for values', () => {
  test('gives those that the application gives', async () => {
    const result = wire.record(wire.GET_VALUES_RESULT, 0, wire.pair('FCGI_MPXS_CONNS', '0'))
    const upstream = await peer([send(result)])
    expect(await getValues(upstream.address)).toEqual(new Map([['FCGI_MPXS_CONNS', '0']]))
  })

  test('gives none where the record is not known', async () => {
    const upstream = await peer([send(wire.record(wire.UNKNOWN_TYPE, 0, Buffer.from([9, 0, 0, 0, 0, 0, 0, 0])))])
    expect(await getValues(upstream.address)).toEqual(new Map())
  })

  test.each([
    ['is silent', [expectClose()], 'TIMEOUT'],
    ['closes', [close()], 'UPSTREAM_TRUNCATED'],
    ['speaks something else', [send(Buffer.from('220 smtp ready\r\n'))], 'UPSTREAM_PROTOCOL'],
  ])('is over in time when the application %s', async (_, steps, code) => {
    const upstream = await peer(steps)
    await expect(getValues(upstream.address, 60)).rejects.toMatchObject({ code })
  })

  test('of nobody is UNAVAILABLE', async () => {
    await expect(getValues('/nonexistent/viaduct.sock')).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })
})
