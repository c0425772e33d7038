import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { ABORT_REQUEST, WebServer, begin, bodyOf, data, get, params, stdin } from '../../../test/web-server.ts'
import { bytewise, record } from '../../../test/wire.ts'
import { Channel, collect, streamOf, text, variable } from '../../core/index.ts'
import type { GatewayRequest, Log, Outcome } from '../../core/index.ts'
import { allow, deny, serveFastCgi } from '../index.ts'
import type { FastCgiRoles, FastCgiServer, FastCgiServerOptions, Filter, FilterRequest, Verdict } from '../index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-fcgi-roles-'))
afterAll(() => rmSync(folder, { recursive: true }))

const RESPONDER = 1
const AUTHORIZER = 2
const FILTER = 3

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

let count = 0
async function serve(
  roles: FastCgiRoles,
  options: FastCgiServerOptions = {},
): Promise<{ server: FastCgiServer; peer: WebServer; said: string[] }> {
  const said: string[] = []
  const say = (_: object, message: string): void => void said.push(message)
  const log: Log = { debug: say, info: say, warn: say, error: say }
  const server = await serveFastCgi(roles, { listen: { path: join(folder, `${count++}.sock`) }, log, ...options })
  closers.push(() => server.close(0))
  return { server, peer: connectTo(server), said }
}

function connectTo(server: FastCgiServer): WebServer {
  const peer = new WebServer(server)
  closers.push(() => peer.socket.destroy())
  return peer
}

/** As FastCGI 1.0, 6.3 has it: no CONTENT_LENGTH, PATH_INFO, PATH_TRANSLATED and SCRIPT_NAME, and nothing on STDIN. */
const authorize = (id: number, variables: Record<string, string> = {}): Buffer =>
  Buffer.concat([
    begin(id, true, AUTHORIZER),
    params(id, { SCRIPT_NAME: '', PATH_INFO: '', REQUEST_URI: '/private/a%20b?c', ...variables }),
    stdin(id),
  ])

describe('an Authorizer', () => {
  test('that allows says 200 and its variables, nothing else', async () => {
    const { peer } = await serve({ authorizer: () => allow({ REMOTE_USER: 'ada', AUTH_LEVEL: '2' }) })
    peer.send(authorize(1))
    expect(await peer.ended()).toEqual({
      stdout: 'Status: 200 OK\r\nVariable-REMOTE_USER: ada\r\nVariable-AUTH_LEVEL: 2\r\n\r\n',
      stderr: '',
      stdoutEnded: true,
      ended: { appStatus: 0, protocolStatus: 0 },
    })
  })

  test('that denies gives its response to the client as it is', async () => {
    const { peer } = await serve({ authorizer: async () => deny(text(401, 'who are you?', ['WWW-Authenticate', 'Basic realm="x"'])) })
    peer.send(authorize(1))
    const { stdout } = await peer.ended()
    expect(stdout).toMatch(/^Status: 401 Unauthorized\r\n/)
    expect(stdout).toContain('WWW-Authenticate: Basic realm="x"\r\n')
    expect(stdout).toMatch(/who are you\?$/)
  })

  test('sees the path of the request, its fields and variables, and no body', async () => {
    let seen: GatewayRequest | undefined
    const { peer } = await serve(
      {
        authorizer: async (request) => {
          seen = request
          expect(await collect(request.body)).toHaveLength(0)
          return allow()
        },
      },
      { mount: '/app' },
    )
    peer.send(authorize(1, { CONTENT_LENGTH: '5', HTTP_AUTHORIZATION: 'Basic eA==', REMOTE_ADDR: '192.0.2.1', REQUEST_METHOD: 'POST' }))
    expect((await peer.ended()).stdout).toBe('Status: 200 OK\r\n\r\n')
    expect(seen).toMatchObject({
      method: 'POST',
      scriptName: '',
      pathInfo: '/private/a b',
      rawPathInfo: '/private/a%20b',
      contentLength: 0,
    })
    expect(seen?.headers.get('authorization')).toBe('Basic eA==')
    expect(seen?.headers.get('content-length')).toBe(undefined)
    expect(seen?.remote.address).toBe('192.0.2.1')
    expect(variable(seen!, 'CONTENT_LENGTH')).toBe(undefined)
  })

  test('is not asked about a path that cannot be one', async () => {
    let calls = 0
    const { peer } = await serve({
      authorizer: () => {
        calls++
        return allow()
      },
    })
    for (const [i, uri] of ['/../x', '/%00', '', 'x', '/%zz'].entries()) {
      peer.send(authorize(i + 1, { REQUEST_URI: uri }))
      expect((await peer.ended(i + 1)).stdout, uri).toMatch(/^Status: 400 /)
    }
    expect(calls).toBe(0)
  })

  test.each<[string, () => Verdict]>([
    [
      'throws',
      () => {
        throw new Error('a secret')
      },
    ],
    ['denies with 200', () => deny(text(200, 'x'))],
    ['denies with 204', () => ({ allowed: false, response: { status: 204, headers: [], body: null } })],
    ['returns a response in place of a verdict', () => text(200, 'x') as never],
    ['returns nothing', () => undefined as never],
    ['says allowed without meaning it', () => ({ allowed: 'no', variables: {}, response: text(200, '') }) as never],
    ['allows with a value that splits', () => allow({ A: 'b\r\nStatus: 200' })],
    ['allows with a value that would be trimmed', () => allow({ A: ' b' })],
    ['allows with a name that is none', () => allow({ 'A: b\r\nX': 'c' })],
    ['allows with a char that is no byte', () => allow({ A: '€' })],
  ])('that %s has denied', async (_, authorizer) => {
    const { peer } = await serve({ authorizer })
    peer.send(authorize(1))
    const { stdout } = await peer.ended()
    expect(stdout).toBe('Status: 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n')
  })

  test('denies a HEAD without a body', async () => {
    const { peer } = await serve({ authorizer: () => deny(text(403, 'no')) })
    peer.send(authorize(1, { REQUEST_METHOD: 'HEAD' }))
    expect(await peer.ended()).toMatchObject({ stdout: expect.stringMatching(/^Status: 403 Forbidden\r\n[^]*\r\n\r\n$/) as string })
  })

  test('does not mind a body that is sent although it must not be', async () => {
    const { peer } = await serve({ authorizer: () => allow() })
    peer.send(begin(1, true, AUTHORIZER), params(1), stdin(1, 'x'.repeat(60_000)), stdin(1))
    expect((await peer.ended()).stdout).toBe('Status: 200 OK\r\n\r\n')
    peer.replies.clear()
    peer.send(authorize(1))
    await peer.ended()
  })
})

const filtered = (id: number, length: number, variables: Record<string, string> = {}): Buffer =>
  Buffer.concat([begin(id, true, FILTER), params(id, { FCGI_DATA_LAST_MOD: '1000000000', FCGI_DATA_LENGTH: String(length), ...variables })])
const upper: Filter = async ({ filterData, body }) => {
  const asks = (await collect(body)).toString()
  return text(200, `${asks}${filterData.lastModified} ${(await collect(filterData.body)).toString().toUpperCase()} ${filterData.length}`)
}

describe('a Filter', () => {
  test('gets the file behind the body of the request', async () => {
    const { peer } = await serve({ filter: upper })
    peer.send(filtered(1, 4, { CONTENT_LENGTH: '2' }), stdin(1, 'a '), stdin(1), data(1, 'fi'), data(1, 'le'), data(1))
    expect(bodyOf(await peer.ended())).toBe('a 1000000000 FILE 4')
  })

  test('gets the same however the bytes are cut', async () => {
    const { server, peer } = await serve({ filter: upper })
    const wire = Buffer.concat([filtered(1, 4, { CONTENT_LENGTH: '2' }), stdin(1, 'a '), stdin(1), data(1, 'file'), data(1)])
    for (const piece of bytewise(wire)) await new Promise<void>((resolve) => peer.socket.write(piece, () => resolve()))
    expect(bodyOf(await peer.ended())).toBe('a 1000000000 FILE 4')
    for (let cut = 1; cut < wire.length; cut += 7) {
      const other = connectTo(server)
      other.send(wire.subarray(0, cut))
      await new Promise((resolve) => setImmediate(resolve))
      other.send(wire.subarray(cut))
      expect(bodyOf(await other.ended()), `cut at ${cut}`).toBe('a 1000000000 FILE 4')
    }
  })

  test('may answer while the file still comes', async () => {
    const { peer } = await serve({ filter: (request) => ({ status: 200, headers: [], body: request.filterData.body }) })
    peer.send(filtered(1, 4), stdin(1), data(1, 'fi'))
    await expect.poll(() => peer.replies.get(1)?.stdout).toMatch(/fi$/)
    peer.send(data(1, 'le'), data(1))
    expect(bodyOf(await peer.ended())).toBe('file')
  })

  test('that answers from its cache leaves the file unread, and the connection goes on', async () => {
    let calls = 0
    const { peer } = await serve({
      filter: (request) => {
        calls++
        return text(200, `cached ${request.filterData.lastModified}`)
      },
    })
    peer.send(filtered(1, 50_000_000), stdin(1))
    expect(bodyOf(await peer.ended())).toBe('cached 1000000000')
    // What was on its way belongs to nobody.
    peer.send(data(1, 'x'.repeat(60_000)), data(1, 'y'.repeat(60_000)), filtered(2, 1), stdin(2))
    expect(bodyOf(await peer.ended(2))).toBe('cached 1000000000')
    expect(calls).toBe(2)
  })

  test.each([
    ['short', 'fil', /^Status: 502 /],
    ['long', 'filed', /^Status: 502 /],
  ])('whose file is too %s is told so', async (_, content, head) => {
    const { peer, said } = await serve({ filter: upper })
    peer.send(filtered(1, 4), stdin(1), data(1, content), data(1))
    expect((await peer.ended()).stdout).toMatch(head)
    expect(said.join()).toContain('FCGI_DATA_LENGTH is 4, DATA has')
  })

  test('whose file is too short after the head breaks off', async () => {
    const { peer } = await serve({ filter: (request) => ({ status: 200, headers: [], body: request.filterData.body }) })
    peer.send(filtered(1, 4), stdin(1), data(1, 'fi'), data(1))
    await peer.closes()
    expect(peer.replies.get(1)?.ended).toBe(undefined)
  })

  test.each<[string, Filter, RegExp]>([
    ['answers', () => text(200, 'early'), /^Status: 200 OK[^]*early$/],
    [
      'fails',
      () => {
        throw new Error('x')
      },
      /^Status: 500 /,
    ],
  ])('that %s at once says nothing before STDIN has ended', async (_, filter, expected) => {
    const { peer } = await serve({ filter })
    peer.send(filtered(1, 4, { CONTENT_LENGTH: '500000' }))
    for (let i = 0; i < 9; i++) peer.send(stdin(1, 'x'.repeat(50_000)))
    await new Promise((resolve) => setTimeout(resolve, 50))
    expect(peer.received).toBe(0)
    peer.send(stdin(1, 'x'.repeat(50_000)), stdin(1))
    expect((await peer.ended()).stdout).toMatch(expected)
  })

  test('that reads the file first has dropped the body', async () => {
    const { peer } = await serve({
      filter: async (request) => {
        const file = await collect(request.filterData.body)
        return text(200, file.toString())
      },
    })
    peer.send(filtered(1, 4, { CONTENT_LENGTH: '3000000' }))
    for (let i = 0; i < 60; i++) peer.send(stdin(1, 'x'.repeat(50_000)))
    peer.send(stdin(1), data(1, 'file'), data(1))
    expect(bodyOf(await peer.ended())).toBe('file')
  })

  test('whose answer waits for an end of STDIN that does not come is closed on', async () => {
    const { peer } = await serve({ filter: () => text(200, 'x') }, { limits: { bodyTimeout: 100 } })
    peer.send(filtered(1, 4, { CONTENT_LENGTH: '5' }), stdin(1, 'x'))
    await peer.closes()
    expect(peer.received).toBe(0)
  })

  test('whose answer waits is aborted like any other, and the answer is dropped', async () => {
    let reason: unknown
    const outcomes: Outcome[] = []
    const body = new Channel({ onCancel: (each) => void (reason = each) })
    const { peer } = await serve({
      filter: (request) => {
        request.onFinish((outcome) => void outcomes.push(outcome))
        return { status: 200, headers: [], body }
      },
    })
    peer.send(filtered(1, 4, { CONTENT_LENGTH: '5' }), stdin(1, 'x'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    peer.send(record(ABORT_REQUEST, 1))
    expect(await peer.ended()).toMatchObject({ stdout: '', ended: { appStatus: 1, protocolStatus: 0 } })
    expect(reason).toMatchObject({ code: 'CLIENT_GONE' })
    expect(outcomes).toMatchObject([{ kind: 'cut' }])
  })

  test('that nobody feeds is 408 to its reader', async () => {
    const { peer } = await serve({ filter: upper }, { limits: { bodyTimeout: 100 } })
    peer.send(filtered(1, 4), stdin(1), data(1, 'f'))
    expect((await peer.ended()).stdout).toMatch(/^Status: 408 /)
  })

  test('whose reader is slow stops the web server, not the memory', async () => {
    let seen: FilterRequest | undefined
    const { peer } = await serve({
      filter: (request) => {
        seen = request
        return new Promise(() => {})
      },
    })
    peer.send(filtered(1, 50_000_000), stdin(1))
    const block = data(1, Buffer.alloc(60_000))
    for (let i = 0; i < 800; i++) peer.socket.write(block)
    await expect.poll(() => seen).toBeDefined()
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect((seen!.filterData.body as Channel).buffered).toBeLessThan(400_000)
    expect(peer.socket.writableLength).toBeGreaterThan(40_000_000)
  })

  test.each<[string, Record<string, string>]>([
    ['no length', { FCGI_DATA_LENGTH: '' }],
    ['a length that is none', { FCGI_DATA_LENGTH: '-1' }],
    ['no time', { FCGI_DATA_LAST_MOD: '' }],
    ['a time that is none', { FCGI_DATA_LAST_MOD: 'yesterday' }],
  ])('of a file with %s is 400', async (_, variables) => {
    const { peer } = await serve({ filter: upper })
    peer.send(filtered(1, 4, variables), stdin(1), data(1, 'file'), data(1))
    expect((await peer.ended()).stdout).toMatch(/^Status: 400 /)
  })

  test.each<[string, Buffer[]]>([
    ['before the end of STDIN', [data(1, 'file')]],
    ['that ends before STDIN does', [data(1)]],
    ['after its end', [stdin(1), data(1), data(1, 'file')]],
  ])('DATA %s breaks the protocol', async (_, parts) => {
    const { peer } = await serve({ filter: () => new Promise(() => {}) })
    peer.send(filtered(1, 0), ...parts)
    await peer.closes()
  })
})

describe('the cast', () => {
  test('plays each role by its own function, and refuses the others', async () => {
    const { peer } = await serve({ responder: () => text(200, 'responder'), filter: () => text(200, 'filter') })
    peer.send(get(1), begin(2, true, AUTHORIZER), params(2), stdin(2))
    peer.send(begin(3, true, FILTER), params(3, { FCGI_DATA_LAST_MOD: '0', FCGI_DATA_LENGTH: '0' }), stdin(3), data(3))
    expect(bodyOf(await peer.ended(1))).toBe('responder')
    expect(await peer.ended(2)).toMatchObject({ stdout: '', ended: { protocolStatus: 3 } })
    expect(bodyOf(await peer.ended(3))).toBe('filter')
  })

  test('ignores DATA for a Responder', async () => {
    const { peer } = await serve({
      responder: async (request) => text(200, `${request.filterData} ${(await collect(request.body)).length}`),
    })
    peer.send(
      begin(1, true, RESPONDER),
      params(1, { CONTENT_LENGTH: '1', FCGI_DATA_LENGTH: '1' }),
      data(1, 'x'),
      stdin(1, 'y'),
      stdin(1),
      data(1),
    )
    expect(bodyOf(await peer.ended())).toBe('undefined 1')
  })

  test('can be changed while it plays', async () => {
    const { server, peer } = await serve({ authorizer: () => allow() })
    peer.send(begin(1, true, AUTHORIZER), params(1), stdin(1))
    await peer.ended()
    server.swap({ responder: () => ({ status: 200, headers: [], body: streamOf(['other'].map((each) => Buffer.from(each))) }) })
    peer.send(begin(2, true, AUTHORIZER), params(2), stdin(2), get(3))
    expect((await peer.ended(2)).ended?.protocolStatus).toBe(3)
    expect(bodyOf(await peer.ended(3))).toBe('other')
  })

  test('of nobody is a CONFIG error', async () => {
    await expect(serveFastCgi({}, { listen: { port: 0 } })).rejects.toMatchObject({ code: 'CONFIG' })
  })
})
