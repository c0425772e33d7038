import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { fstatSync, openSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { FileSlice, collect, compose, streamOf, text } from '../../core/index.ts'
import type { Application, Backend, ByteStream, GatewayRequest, GatewayResponse } from '../../core/index.ts'
import { makeRequest } from '../../testing/index.ts'
import { close, expectParams, expectRequest, scripted, send } from '../../../test/scripted.ts'
import type { Scripted, Step } from '../../../test/scripted.ts'
import * as wire from '../../../test/wire.ts'
import { authorizer, filter } from './roles.ts'
import { fastcgi } from './client.ts'
import type { FastCgiOptions } from './options.ts'
import type { FilterOptions } from './roles.ts'
import { Role } from '../record.ts'

const opened: AsyncDisposable[] = []
afterEach(async () => {
  for (const each of opened.splice(0).toReversed()) await each[Symbol.asyncDispose]()
})

async function peer(...scripts: readonly (readonly Step[])[]): Promise<Scripted> {
  const upstream = await scripted(...scripts)
  opened.push(upstream)
  return upstream
}

function client(upstream: Scripted, role: Role, options: Partial<FastCgiOptions> = {}): Backend {
  const made = fastcgi({ address: upstream.address, role, ...options })
  opened.push({ [Symbol.asyncDispose]: () => made.close(0) })
  return made
}

async function textOf(response: GatewayResponse): Promise<string> {
  const { body } = response
  if (body === null || typeof body === 'string') return body ?? ''
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body as ByteStream)).toString('latin1')
}

const answers = (head: string, body = ''): Step[] => [expectRequest(), send(wire.answer(1, `${head}\r\n\r\n${body}`))]

const shows: Application = async (request) => {
  const body = (await collect(request.body)).toString()
  return text(200, `${request.variables.own.join(' ')} host=${request.variables.get('HTTP_HOST')} ${body}`)
}

/** What the application saw of DATA: the scripted peer reads STDIN only. */
async function taken(steps: (seen: () => Buffer) => Step[]): Promise<{ upstream: Scripted; data: () => Buffer }> {
  let raw = Buffer.alloc(0)
  const data = (): Buffer => {
    let out = Buffer.alloc(0)
    for (let at = 0; at + 8 <= raw.length;) {
      const length = raw.readUInt16BE(at + 4)
      if (raw[at + 1] === 8) out = Buffer.concat([out, raw.subarray(at + 8, at + 8 + length)])
      at += 8 + length + raw[at + 6]!
    }
    return out
  }
  const listen: Step = ({ socket }) => void socket.on('data', (bytes: Buffer) => (raw = Buffer.concat([raw, bytes])))
  return { upstream: await peer([listen, ...steps(data)]), data }
}

const whenWhole =
  (data: () => Buffer, length: number): Step =>
  async () =>
    void (await expect.poll(() => data().length).toBe(length))

describe('an authorizer', () => {
  test('that says 200 lets the request through, body and all, with its variables and nothing else', async () => {
    const head = 'Status: 200 OK\r\nVariable-REMOTE_USER: ada\r\nvariable-Role: admin\r\nVariable-HTTP_HOST: evil\r\nX-Other: x'
    const upstream = await peer(answers(head, 'dropped'))
    const app = compose(shows, authorizer(client(upstream, Role.Authorizer)))
    const request = makeRequest({ method: 'POST', body: 'body', variables: ['REMOTE_USER', 'before', 'A', 'b'] })
    const response = await app(request)
    expect(await textOf(response)).toBe('A b REMOTE_USER ada Role admin host=test.example body')
    expect(response.headers).not.toContain('X-Other')
    expect(upstream.requests[0]).toMatchObject({ role: 2, stdin: Buffer.alloc(0) })
    expect(upstream.requests[0]!.variables.has('CONTENT_LENGTH')).toBe(false)
  })

  test('without a status says 200', async () => {
    const app = compose(shows, authorizer(client(await peer(answers('Variable-A: b')), Role.Authorizer)))
    expect(await textOf(await app(makeRequest()))).toContain('A b')
  })

  test.each([
    ['401', 'Status: 401 Who\r\nWWW-Authenticate: Basic realm="x"\r\nVariable-A: b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2'],
    ['302', 'Location: https://login.test/'],
    ['403', 'Status: 403'],
    ['204', 'Status: 204'],
    ['500', 'Status: 500'],
  ])('that says anything else answers itself: %s', async (status, head) => {
    let asked = 0
    const upstream = await peer(answers(head, status === '204' ? '' : 'the body'))
    const app = compose(() => text(200, `${asked++}`), authorizer(client(upstream, Role.Authorizer)))
    const response = await app(makeRequest())
    expect(response.status).toBe(Number(status))
    expect(await textOf(response)).toBe(status === '204' ? '' : 'the body')
    expect(asked).toBe(0)
    if (status !== '401') return
    expect(response.reason).toBe('Who')
    expect(response.headers.filter((each) => each === 'Set-Cookie')).toHaveLength(2)
    expect(response.headers).toContain('WWW-Authenticate')
  })

  test('cannot be spoken for by a client', async () => {
    const app = compose(shows, authorizer(client(await peer(answers('Status: 200')), Role.Authorizer)))
    const headers = { 'Variable-REMOTE_USER': 'eve', REMOTE_USER: 'eve', 'Remote-User': 'eve' }
    expect(await textOf(await app(makeRequest({ headers })))).not.toContain('eve')
  })

  test.each<[string, Step[]]>([
    ['dies', [expectRequest(), close()]],
    ['sends no head', [expectRequest(), send(wire.endRequest(1))]],
    ['plays no such role', [expectRequest(), send(wire.endRequest(1, { protocol: 3 }))]],
    ['sends half a head', [expectRequest(), send(wire.stdout(1, 'Status: 200\r\n')), close()]],
  ])('that %s lets nobody through', async (_, steps) => {
    let asked = 0
    const app = compose(() => text(200, `${asked++}`), authorizer(client(await peer(steps), Role.Authorizer)))
    await expect(app(makeRequest())).rejects.toMatchObject({ status: 502 })
    expect(asked).toBe(0)
  })
})

describe('a filter', () => {
  const MODIFIED = 'Sun, 06 Nov 1994 08:49:37 GMT'
  const file = (body: GatewayResponse['body'], more: string[] = []): Application => {
    return (request) => {
      asked.push(request)
      return { status: 200, headers: ['Last-Modified', MODIFIED, 'ETag', '"a"', ...more], body }
    }
  }
  let asked: GatewayRequest[] = []
  afterEach(() => {
    asked = []
  })

  test.each<[string, () => Promise<GatewayResponse['body']>, string[], number]>([
    ['in memory', async () => Buffer.from('abc'), [], 3],
    ['as text', async () => 'äbc', [], 4],
    ['empty', async () => null, [], 0],
    ['as a stream', async () => streamOf([Buffer.alloc(70_000, 'x'), Buffer.alloc(70_000, 'y')]), ['Content-Length', '140000'], 140_000],
  ])('gets a file that is %s after the request body', async (_, body, more, length) => {
    const { upstream, data } = await taken((seen) => [
      expectRequest(),
      whenWhole(seen, length),
      send(wire.answer(1, 'Content-Type: text/plain\r\n\r\nfiltered')),
    ])
    const app = compose(file(await body(), more), filter(client(upstream, Role.Filter)))
    const headers = { Range: 'bytes=0-1', 'If-None-Match': '"a"', 'If-Modified-Since': MODIFIED, 'Accept-Encoding': 'gzip', 'X-Kept': 'x' }
    const response = await app(makeRequest({ method: 'POST', body: 'stdin', headers }))
    expect(await textOf(response)).toBe('filtered')
    expect(response.headers).not.toContain('ETag')
    const [request] = upstream.requests
    expect(request).toMatchObject({ role: 3, stdin: Buffer.from('stdin') })
    expect(Object.fromEntries(request!.variables)).toMatchObject({
      FCGI_DATA_LENGTH: String(length),
      FCGI_DATA_LAST_MOD: '784111777',
      CONTENT_LENGTH: '5',
      REQUEST_METHOD: 'POST',
      HTTP_RANGE: 'bytes=0-1',
    })
    expect(data()).toHaveLength(length)
    // The file was asked for as a whole, and without the body of the request.
    const [before] = asked
    expect(before).toMatchObject({ method: 'GET', contentLength: 0 })
    for (const name of ['range', 'if-none-match', 'if-modified-since', 'accept-encoding'])
      expect(before!.headers.get(name), name).toBe(undefined)
    expect(before!.headers.get('x-kept')).toBe('x')
  })

  test('that answers without reading stops the file, and closes it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'viaduct-filter-'))
    opened.push({ [Symbol.asyncDispose]: () => rm(folder, { recursive: true }) })
    const path = join(folder, 'large')
    await writeFile(path, Buffer.alloc(20_000_000))
    const upstream = await peer([expectParams(), send(wire.answer(1, 'A: b\r\n\r\ncached'))])
    const fd = openSync(path, 'r')
    const app = compose(file(new FileSlice(fd, 0, 20_000_000)), filter(client(upstream, Role.Filter)))
    expect(await textOf(await app(makeRequest()))).toBe('cached')
    await expect.poll(() => isOpen(fd, path)).toBe(false)
  })

  test.each<[string, Step[], Partial<FastCgiOptions>]>([
    ['dies', [expectRequest(), close()], {}],
    ['cannot be reached', [], { address: '/nonexistent/viaduct.sock' }],
  ])('that %s is an error, and the file is closed', async (_, steps, options) => {
    const upstream = await peer(steps)
    const path = new URL(import.meta.url).pathname
    const fd = openSync(path, 'r')
    const app = compose(file(new FileSlice(fd, 0, 100)), filter(client(upstream, Role.Filter, options)))
    await expect(app(makeRequest())).rejects.toMatchObject({ status: 502 })
    await expect.poll(() => isOpen(fd, path)).toBe(false)
  })

  test('whose file becomes shorter meanwhile fails the request', async () => {
    const upstream = await peer([expectRequest(), close()])
    const body = streamOf([Buffer.from('abc')])
    const app = compose(file(body, ['Content-Length', '5']), filter(client(upstream, Role.Filter)))
    await expect(app(makeRequest())).rejects.toMatchObject({ code: 'BODY_LENGTH_MISMATCH' })
  })

  test.each([
    ['who may not see the file', 403, 'GET', '/a.html'],
    ['a file that is not there', 404, 'GET', '/a.html'],
    ['another method', 200, 'DELETE', '/a.html'],
    ['another kind of file', 200, 'GET', '/a.png'],
  ])('is not asked for %s', async (_, status, method, target) => {
    const upstream = await peer([])
    const app = compose(() => text(status, 'as it is'), filter(client(upstream, Role.Filter), { extensions: ['.html'] }))
    const response = await app(makeRequest({ method, target }))
    expect(response.status).toBe(status)
    expect(await textOf(response)).toBe('as it is')
    expect(upstream.connections).toBe(0)
  })

  test.each<[string, FilterOptions]>([
    ['/', { extensions: ['.html'] }],
    ['/a/', { extensions: ['.shtml', '.html'] }],
    ['/a/', { extensions: ['.shtml'], index: 'index.shtml' }],
  ])('of an extension has the index of a folder too: %s with %j', async (target, options) => {
    const upstream = await peer([expectRequest(), send(wire.answer(1, 'A: b\r\n\r\nfiltered'))])
    const app = compose(() => text(200, 'the source'), filter(client(upstream, Role.Filter), options))
    expect(await textOf(await app(makeRequest({ target })))).toBe('filtered')
  })

  test('asked without a file is a mistake of the configuration', () => {
    expect(() => fastcgi({ address: '/a', role: Role.Filter })(makeRequest())).toThrow('filterData')
  })
})

/** Whether this descriptor still is that file: numbers are used again. */
function isOpen(fd: number, path: string): boolean {
  try {
    return statSync(path).ino === fstatSync(fd).ino
  } catch {
    return false
  }
}
