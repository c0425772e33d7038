import { closeSync, ftruncateSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { bodyOf, door, fieldOf, later, raw, statusOf, steady, talk, when } from '../../test/http-raw.ts'
import type { TestDoor } from '../../test/http-raw.ts'
import { Channel, FileSlice, streamOf, text } from '../core/index.ts'
import type { ByteStream, GatewayResponse, HeaderList, Outcome } from '../core/index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-http-'))
afterAll(() => rmSync(folder, { recursive: true }))

const GET = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
const GET10 = 'GET / HTTP/1.0\r\n\r\n'
const HEAD = 'HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
const bytes = (data: string): Buffer => Buffer.from(data, 'latin1')

interface Answered {
  readonly wire: string
  readonly outcome: Outcome
  readonly lines: string[]
}

/** What a client sees of a response, and what the application is told about it. */
async function answered(response: GatewayResponse | (() => GatewayResponse), head: string = GET): Promise<Answered> {
  const outcome = later<Outcome>()
  await using open = await door((request) => {
    request.onFinish(outcome.resolve)
    return typeof response === 'function' ? response() : response
  })
  const wire = await talk(open.address, head)
  return { wire, outcome: await outcome.promise, lines: open.lines }
}

const answer = (body: GatewayResponse['body'], headers: HeaderList = [], status = 200): GatewayResponse => ({ status, headers, body })

/** A file that holds this, open. */
function slice(content: string | Buffer, start = 0, length = content.length - start): FileSlice {
  const path = join(folder, `file-${Math.random()}`)
  writeFileSync(path, content)
  return new FileSlice(openSync(path, 'r+'), start, length)
}

describe('a value', () => {
  test.each([
    ['null', null, '', 0],
    ['an empty string', '', '', 0],
    ['a string', 'hello', 'hello', 5],
    ['a string beyond ASCII, in UTF-8', 'grüße', 'gr\xc3\xbc\xc3\x9fe', 7],
    ['bytes', bytes('\x00\xff'), '\x00\xff', 2],
    ['a plain Uint8Array', new Uint8Array([65, 66]), 'AB', 2],
  ])('%s leaves with its length', async (_, body, sent, length) => {
    const { wire, outcome } = await answered(answer(body))
    expect(bodyOf(wire)).toBe(sent)
    expect(fieldOf(wire, 'Content-Length')).toBe(String(length))
    expect(fieldOf(wire, 'Date')).toMatch(/ GMT$/)
    expect(outcome).toMatchObject({ kind: 'sent', status: 200, bytes: length })
  })

  test('keeps the length that it says when it is right, and is 500 when it is not', async () => {
    expect((await answered(answer('abc', ['content-length', '3']))).wire.match(/content-length/gi)).toHaveLength(1)
    const { wire, outcome, lines } = await answered(answer('abc', ['Content-Length', '4']))
    expect(statusOf(wire)).toBe(500)
    expect(outcome.kind).toBe('failed')
    expect(lines.join()).toContain('Content-Length is 4, the body has 3 bytes')
  })

  test('keeps header bytes over 0x7f as bytes, whatever the body is', async () => {
    for (const body of ['plain', 'ü', bytes('x'), null, streamOf([bytes('x')]), slice('x')]) {
      const fields = ['Content-Disposition', 'attachment; filename="\xc3\xa9\xe6\x97\xa5"', 'X-Name', '\xfc']
      for (const list of [fields, ['Content-Length', '1', ...fields]]) {
        if (list !== fields && !(body instanceof Buffer)) continue
        const { wire } = await answered(answer(body, list))
        expect(fieldOf(wire, 'Content-Disposition')).toBe('attachment; filename="\xc3\xa9\xe6\x97\xa5"')
        expect(fieldOf(wire, 'X-Name')).toBe('\xfc')
      }
    }
  })

  test.each([1_048_576, 1_048_577, 2_097_152, 5_000_000])('of %i bytes arrives whole', async (length) => {
    const large = Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 10)) % 251))
    for (const body of [large, large.toString('latin1').replaceAll(/[^\0-\x7f]/g, 'x')]) {
      const { wire, outcome } = await answered(answer(body))
      expect(bodyOf(wire) === body.toString('latin1')).toBe(true)
      expect(outcome).toMatchObject({ kind: 'sent', bytes: length })
    }
  })

  test('that is large, and whose client leaves in the middle, is cut', async () => {
    const outcome = later<Outcome>()
    await using open = await door((request) => {
      request.onFinish(outcome.resolve)
      return answer(Buffer.alloc(30_000_000))
    })
    await using client = await raw(open.address, GET)
    await client.until('\r\n\r\n')
    client.socket.destroy()
    const { kind, bytes: sent } = await outcome.promise
    expect(kind).toBe('cut')
    expect(sent).toBeLessThan(30_000_000)
  })
})

describe('where no body may be', () => {
  test.each([
    ['HEAD of a string', HEAD, answer('hello'), 200, '5'],
    ['HEAD of a string that says its length', HEAD, answer('hello', ['Content-Length', '5']), 200, '5'],
    ['HEAD without a body', HEAD, answer(null), 200, undefined],
    ['HEAD without a body, of a length', HEAD, answer(null, ['Content-Length', '77']), 200, '77'],
    ['204', GET, answer('x', ['Content-Length', '1'], 204), 204, undefined],
    ['205', GET, answer('x', [], 205), 205, '0'],
    ['304', GET, answer('x', [], 304), 304, undefined],
    ['304 of a length', GET, answer(null, ['Content-Length', '77'], 304), 304, '77'],
  ])('%s sends none', async (_, head, response, status, length) => {
    const { wire, outcome } = await answered(response, head)
    expect(statusOf(wire)).toBe(status)
    expect(bodyOf(wire)).toBe('')
    expect(fieldOf(wire, 'Content-Length')).toBe(length)
    expect(fieldOf(wire, 'Transfer-Encoding')).toBeUndefined()
    expect(outcome).toMatchObject({ kind: 'sent', status, bytes: 0 })
  })

  test('a stream is cancelled and a file closed', async () => {
    const stream = new Channel({ onCancel: () => story.push('cancelled') })
    const story: string[] = []
    await answered(answer(stream), HEAD)
    const file = slice('hello')
    const { wire } = await answered(answer(file), HEAD)
    expect(story).toEqual(['cancelled'])
    expect(fieldOf(wire, 'Content-Length')).toBe('5')
    await closedSoon(file)
  })
})

/** Waits until the slice's descriptor is closed. */
async function closedSoon(file: FileSlice): Promise<void> {
  const end = Date.now() + 5000
  for (;;) {
    try {
      ftruncateSync(file.fd)
    } catch {
      return
    }
    if (Date.now() > end) throw new Error('the file is still open')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Decodes chunked coding, strictly. */
function dechunk(wire: string): { chunks: string[]; trailers: string } {
  const chunks: string[] = []
  let rest = wire
  for (;;) {
    const line = /^([0-9a-f]+)\r\n/.exec(rest)
    if (line === null) throw new Error(`no chunk at ${JSON.stringify(rest.slice(0, 40))}`)
    const size = parseInt(line[1]!, 16)
    rest = rest.slice(line[0].length)
    if (size === 0) {
      if (!rest.endsWith('\r\n')) throw new Error('no end')
      return { chunks, trailers: rest.slice(0, -2) }
    }
    chunks.push(rest.slice(0, size))
    if (rest.slice(size, size + 2) !== '\r\n') throw new Error('a chunk without its end')
    rest = rest.slice(size + 2)
  }
}

describe('a stream', () => {
  test('without a length leaves in chunks', async () => {
    const { wire, outcome } = await answered(() => answer(streamOf([bytes('one'), bytes(''), bytes('two')])))
    expect(fieldOf(wire, 'Transfer-Encoding')).toBe('chunked')
    expect(dechunk(bodyOf(wire)).chunks.join('')).toBe('onetwo')
    expect(outcome).toMatchObject({ kind: 'sent', bytes: 6 })
  })

  test('writes all that comes at once as one chunk', async () => {
    const channel = new Channel()
    const open = answered(answer(channel))
    channel.writeAll([bytes('one'), bytes('two'), bytes('three')])
    channel.end()
    expect(dechunk(bodyOf((await open).wire)).chunks).toEqual(['onetwothree'])
  })

  test('that is empty ends at once', async () => {
    const { wire } = await answered(() => answer(streamOf([])))
    expect(dechunk(bodyOf(wire))).toEqual({ chunks: [], trailers: '' })
  })

  test('to HTTP/1.0 ends with the connection', async () => {
    const { wire, outcome } = await answered(() => answer(streamOf([bytes('one'), bytes('two')])), GET10)
    expect(fieldOf(wire, 'Transfer-Encoding')).toBeUndefined()
    expect(bodyOf(wire)).toBe('onetwo')
    expect(outcome.kind).toBe('sent')
  })

  test('with a length leaves as it is, and the connection stays', async () => {
    await using open = await door(() => answer(streamOf([bytes('one'), bytes('two')]), ['Content-Length', '6']))
    const wire = await talk(open.address, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' + GET)
    expect(wire.match(/onetwo/g)).toHaveLength(2)
    expect(fieldOf(wire, 'Transfer-Encoding')).toBeUndefined()
  })

  test('in chunks leaves the connection in order for the next request', async () => {
    await using open = await door(() => answer(streamOf([bytes('one')])))
    const wire = await talk(open.address, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n' + GET)
    expect(wire.match(/3\r\none\r\n0\r\n\r\n/g)).toHaveLength(2)
  })

  test.each([
    ['fewer', '7'],
    ['more', '5'],
  ])('of %s bytes than it said breaks the connection', async (_, length) => {
    const { wire, outcome, lines } = await answered(() => answer(streamOf([bytes('one'), bytes('two')]), ['Content-Length', length]))
    expect(bodyOf(wire).length).toBeLessThan(Number(length))
    expect(outcome).toMatchObject({ kind: 'failed', status: 200 })
    expect(lines.join()).toContain(`Content-Length is ${length}`)
  })

  test('that fails before its first byte is an error with a status', async () => {
    const { wire, outcome } = await answered(() =>
      answer(
        streamOf(
          (function* () {
            yield* [] as Uint8Array[]
            throw new Error('broken')
          })(),
        ),
      ),
    )
    expect(statusOf(wire)).toBe(500)
    expect(outcome).toMatchObject({ kind: 'failed', status: 500 })
  })

  test.each([
    ['HTTP/1.1', GET],
    ['HTTP/1.0', GET10],
  ])('that fails in the middle never looks whole, in %s', async (version, head) => {
    const channel = new Channel()
    const outcome = later<Outcome>()
    await using open = await door((request) => {
      request.onFinish(outcome.resolve)
      return answer(channel)
    })
    await using client = await raw(open.address, head)
    channel.write(bytes('half'))
    await client.until('half')
    channel.fail(new Error('broken'))
    const wire = await client.closed
    expect(wire).not.toContain('0\r\n\r\n')
    if (version === 'HTTP/1.0') expect(client.reset).toBe(true)
    expect(await outcome.promise).toMatchObject({ kind: 'failed', status: 200, bytes: 4 })
  })

  test('sends its head before its first byte, when that takes long', async () => {
    const channel = new Channel()
    await using open = await door(() => answer(channel, ['X-Name', '\xfc']))
    await using client = await raw(open.address, GET)
    expect(fieldOf(await client.until('\r\n\r\n'), 'X-Name')).toBe('\xfc')
    channel.write(bytes('later'))
    channel.end()
    expect(dechunk(bodyOf(await client.closed)).chunks).toEqual(['later'])
  })

  test('stops its source while the client does not read', async () => {
    let produced = 0
    const source = (async function* () {
      for (let i = 0; i < 1000; i++) {
        produced++
        yield Buffer.alloc(100_000, 120)
      }
    })()
    await using open = await door(() => answer(streamOf(source)))
    await using client = await raw(open.address)
    client.socket.pause()
    client.send(GET)
    await when(() => produced > 0)
    await steady(() => produced)
    expect(produced).toBeLessThan(500)
    client.socket.resume()
    const { chunks } = dechunk(bodyOf(await client.closed))
    expect(chunks.reduce((sum, chunk) => sum + chunk.length, 0)).toBe(100_000_000)
  })

  test('is stopped when the client leaves, and its request hears of it', async () => {
    const stopped = later<unknown>()
    const channel = new Channel({ onCancel: stopped.resolve })
    const outcome = later<Outcome>()
    let signal: AbortSignal | undefined
    await using open = await door((request) => {
      signal = request.signal
      request.onFinish(outcome.resolve)
      return answer(channel)
    })
    await using client = await raw(open.address, GET)
    channel.write(bytes('half'))
    await client.until('half')
    client.socket.destroy()
    await stopped.promise
    expect(await outcome.promise).toMatchObject({ kind: 'cut', status: 200, bytes: 4 })
    expect(signal?.aborted).toBe(true)
  })
})

const trailers = (): HeaderList => ['X-Sum', '42', 'X-Two', '2']

describe('the memory of a stream', () => {
  const size = 65_536
  const filled = (): Uint8Array[] => Array.from({ length: 5 }, (_, i) => new Uint8Array(size).fill(0x61 + i))
  const all = 'abcde'.replaceAll(/./g, (letter) => letter.repeat(size - 16))
  /** Cut in three, without the ends, as records of one read are. */
  const cut = (whole: Uint8Array): Uint8Array[] => [whole.subarray(8, 1000), whole.subarray(1000, 2000), whole.subarray(2000, size - 8)]

  function stream(buffers: Uint8Array[], exclusive: boolean | 'buffers'): ByteStream {
    const channel = new Channel({ exclusive })
    for (const each of buffers) channel.writeAll(cut(each))
    channel.end()
    return channel
  }

  test.each([
    ['with a length', 'HTTP/1.1', ['Content-Length', String(all.length)]],
    ['in chunks', 'HTTP/1.1', []],
    ['to the end of the connection', 'HTTP/1.0', []],
  ])('is given back once it has left, if nobody else holds any of it (%s)', async (how, version, headers) => {
    const buffers = filled()
    const { wire } = await answered(answer(stream(buffers, 'buffers'), headers), `GET / ${version}\r\nHost: a\r\nConnection: close\r\n\r\n`)
    const body = how === 'in chunks' ? bodyOf(wire).replaceAll(/(?:^|\r\n)[0-9a-f]+\r\n/g, '') : bodyOf(wire)
    expect(body.trimEnd() === all).toBe(true)
    expect(buffers.map((each) => each.length)).toEqual([0, 0, 0, 0, 0])
  })

  test('stays, if somebody else may hold it', async () => {
    for (const exclusive of [false, true]) {
      const buffers = filled()
      await answered(answer(stream(buffers, exclusive)))
      expect(buffers.map((each) => each.length)).toEqual([size, size, size, size, size])
    }
  })

  test('stays while a client is slow to take it, and what it takes is what was written', async () => {
    const buffers = Array.from({ length: 400 }, (_, i) => new Uint8Array(size).fill(i))
    await using open = await door(() => answer(stream(buffers, 'buffers'), ['Content-Length', String(400 * (size - 16))]))
    await using client = await raw(open.address, GET)
    client.socket.pause()
    await steady(() => buffers.filter((each) => each.length === 0).length)
    expect(buffers.at(-1)!.length).toBe(size)
    const chunks: Buffer[] = []
    client.socket.on('data', (chunk: Buffer) => chunks.push(chunk))
    client.socket.resume()
    await when(() => client.socket.readableEnded)
    const wire = Buffer.concat(chunks)
    const body = wire.subarray(wire.length - 400 * (size - 16))
    for (let i = 0; i < 400; i++) {
      const part = body.subarray(i * (size - 16), (i + 1) * (size - 16))
      expect(part.every((byte) => byte === (i & 0xff))).toBe(true)
    }
  })
})

describe('trailers', () => {
  test.each([
    ['a stream', (): ByteStream => streamOf([bytes('body')]), []],
    ['a stream that says its length', (): ByteStream => streamOf([bytes('body')]), ['Content-Length', '4']],
    ['a value', (): string => 'body', []],
  ])('come behind %s', async (_, body, headers) => {
    const { wire } = await answered(() => ({ ...answer(body(), ['Trailer', 'X-Sum', ...headers]), trailers }))
    expect(fieldOf(wire, 'Trailer')).toBe('X-Sum')
    expect(fieldOf(wire, 'Content-Length')).toBeUndefined()
    expect(dechunk(bodyOf(wire))).toEqual({ chunks: ['body'], trailers: 'X-Sum: 42\r\nX-Two: 2\r\n' })
  })

  test('may be late', async () => {
    const { wire } = await answered(() => ({ ...answer(streamOf([bytes('b')])), trailers: async () => trailers() }))
    expect(dechunk(bodyOf(wire)).trailers).toContain('X-Sum: 42')
  })

  test('are left out where there is no chunked coding', async () => {
    const { wire } = await answered(() => ({ ...answer('body'), trailers }), GET10)
    expect(bodyOf(wire)).toBe('body')
  })

  test.each([
    ['that split the message', (): HeaderList => ['X', 'a\r\nb']],
    [
      'that throw',
      (): HeaderList => {
        throw new Error('no trailers')
      },
    ],
    ['that never come', (): Promise<HeaderList> => Promise.reject(new Error('no trailers'))],
  ])('%s break the connection', async (_, bad) => {
    const { wire, outcome } = await answered(() => ({ ...answer(streamOf([bytes('b')])), trailers: bad }))
    expect(wire).not.toContain('0\r\n')
    expect(outcome.kind).toBe('failed')
  })
})

describe('a file', () => {
  test.each([
    ['empty', 0, 0, 0],
    ['a byte', 1, 0, 1],
    ['one buffer', 262_144, 0, 262_144],
    ['one byte more', 262_145, 0, 262_145],
    ['a part', 1_000_000, 1000, 700_000],
    ['several buffers', 3_000_000, 0, 3_000_000],
  ])('of %s arrives as it is, and is closed', async (_, size, start, length) => {
    const content = Buffer.alloc(size)
    for (let i = 0; i < size; i++) content[i] = (i * 7 + (i >> 8)) & 0xff
    const file = slice(content, start, length)
    const { wire, outcome } = await answered(answer(file))
    expect(fieldOf(wire, 'Content-Length')).toBe(String(length))
    expect(Buffer.from(bodyOf(wire), 'latin1').equals(content.subarray(start, start + length))).toBe(true)
    expect(outcome).toMatchObject({ kind: 'sent', bytes: length })
    await closedSoon(file)
  })

  test('that many ask for at once is never mixed up with another', async () => {
    const files = Array.from({ length: 24 }, (_, i) => Buffer.alloc(900_000, i + 65))
    await using open = await door((request) => answer(slice(files[Number(request.pathInfo.slice(1))]!)))
    await Promise.all(
      files.map(async (content, i) => {
        const wire = await talk(open.address, `GET /${i} HTTP/1.0\r\n\r\n`)
        expect(Buffer.from(bodyOf(wire), 'latin1').equals(content)).toBe(true)
      }),
    )
  })

  test('that is shorter than it said breaks the connection, or is 500 when nothing was sent', async () => {
    const { wire, outcome } = await answered(answer(slice('x'.repeat(400_000), 0, 500_000)))
    expect(bodyOf(wire).length).toBeLessThan(500_000)
    expect(outcome.kind).toBe('failed')
    expect(statusOf((await answered(answer(slice('', 0, 5)))).wire)).toBe(500)
  })

  test('that cannot be read is 500', async () => {
    const { wire, outcome } = await answered(() => {
      const file = slice('hello')
      closeSync(file.fd)
      return answer(file)
    })
    expect(statusOf(wire)).toBe(500)
    expect(outcome.kind).toBe('failed')
  })

  test('is closed when the client leaves in the middle', async () => {
    const file = slice(Buffer.alloc(30_000_000))
    await using open = await door(() => answer(file))
    await using client = await raw(open.address, GET)
    await client.until('\r\n\r\n')
    client.socket.destroy()
    await closedSoon(file)
  })
})

describe('fields of an answer', () => {
  test('that are about the connection are the door’s business, and do not go out', async () => {
    const { wire } = await answered(
      answer('x', [
        'Connection',
        'X-Private, keep-alive',
        'X-Private',
        'secret',
        'Keep-Alive',
        'timeout=9',
        'Proxy-Connection',
        'x',
        'Transfer-Encoding',
        'chunked',
        'TE',
        'trailers',
        'Upgrade',
        'h2c',
        'X-Kept',
        'yes',
        'Set-Cookie',
        'a=1',
        'Set-Cookie',
        'b=2',
      ]),
    )
    const names = wire.slice(0, wire.indexOf('\r\n\r\n')).split('\r\n').slice(1)
    expect(names.map((line) => line.split(':')[0]!.toLowerCase()).sort()).toEqual(
      ['connection', 'content-length', 'date', 'set-cookie', 'set-cookie', 'x-kept'].sort(),
    )
    expect(wire).toMatch(/set-cookie: a=1\r\nset-cookie: b=2/i)
  })

  test('a 426 says to what', async () => {
    expect(fieldOf((await answered(answer('', ['Upgrade', 'websocket'], 426))).wire, 'Upgrade')).toBe('websocket')
  })

  test('the reason is the application’s', async () => {
    expect((await answered({ ...answer(''), reason: 'All Right' })).wire).toMatch(/^HTTP\/1\.1 200 All Right\r\n/)
  })

  test.each<[string, unknown]>([
    ['a name that splits the message', answer('', ['X\r\nY', '1'])],
    ['a value that splits the message', answer('', ['X', '1\r\nSet-Cookie: a'])],
    ['a value with NUL', answer('', ['X', '\0'])],
    ['a value that is not bytes', answer('', ['X', '日'])],
    ['a list of odd length', answer('', ['X'])],
    ['a reason that splits the message', { ...answer(''), reason: 'a\r\nb' }],
    ['a status of 0', answer('', [], 0)],
    ['an interim status', answer('', [], 103)],
    ['101 without an upgrade', answer('', [], 101)],
    ['a status of 1000', answer('', [], 1000)],
    ['a status that is no whole number', answer('', [], 200.5)],
    ['two Content-Lengths', answer('a', ['Content-Length', '1', 'content-length', '1'])],
    ['a Content-Length that is none', answer('a', ['Content-Length', '1, 1'])],
    ['an internal redirect', { ...answer(''), internal: { redirect: '/x' } }],
    ['an internal file', { ...answer(''), internal: { file: '/etc/passwd' } }],
    ['a stream with a bad field', answer(streamOf([bytes('x')]), ['X', '\n'])],
    ['a file with a bad field', answer(slice('x'), ['X', '\n'])],
    ['nothing', undefined],
    ['something else', 'hello'],
    ['a body of another kind', { ...answer(''), body: 42 }],
  ])('%s is 500 and a line in the log', async (_, response) => {
    const { wire, outcome, lines } = await answered(response as GatewayResponse)
    expect(statusOf(wire)).toBe(500)
    expect(wire).toMatch(/^HTTP\/1\.1 500 Internal Server Error\r\n/)
    expect(bodyOf(wire)).toBe('')
    expect(outcome.kind).toBe('failed')
    expect(lines.filter((line) => line.startsWith('error'))).toHaveLength(1)
  })
})

function cannot(): never {
  throw new Error('cannot be cancelled')
}

describe('an application in plain JavaScript', () => {
  test('may resolve to anything without bringing the door down', async () => {
    for (const bad of [undefined, null, 7, {}, { ...answer(''), body: 42 }, { ...answer(''), body: { cancel: cannot } }]) {
      await using open = await door(() => Promise.resolve(bad as unknown as GatewayResponse))
      expect(statusOf(await talk(open.address, GET))).toBe(500)
      expect(statusOf(await talk(open.address, GET))).toBe(500)
    }
  })

  test('may have a body that cannot even be cancelled', async () => {
    const body: ByteStream = {
      cancel: cannot,
      pushTo(sink) {
        setImmediate(() => sink.write(bytes('half')))
        return { resume() {} }
      },
      [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }),
    }
    const outcome = later<Outcome>()
    await using open = await door((request) => {
      request.onFinish(outcome.resolve)
      return answer(body)
    })
    await using client = await raw(open.address, GET)
    await client.until('half')
    client.socket.destroy()
    expect((await outcome.promise).kind).toBe('cut')
  })
})

describe('an interim response', () => {
  test('goes out before the answer', async () => {
    await using open = await door((request) => {
      request.inform?.(103, ['Link', '</a.css>; rel=preload', 'Link', '</b.js>; rel=preload'])
      request.inform?.(102, [])
      return text(200, 'done')
    })
    const wire = await talk(open.address, GET)
    expect(wire).toMatch(
      /^HTTP\/1\.1 103 Early Hints\r\nLink: <\/a\.css>; rel=preload\r\nLink: <\/b\.js>; rel=preload\r\n\r\nHTTP\/1\.1 102 Processing\r\n\r\nHTTP\/1\.1 200 OK\r\n/,
    )
  })

  test('that cannot be one is refused', async () => {
    const refused: unknown[] = []
    const bad: [number, HeaderList][] = [
      [200, []],
      [101, []],
      [103, ['X', 'a\r\nb']],
    ]
    await using open: TestDoor = await door((request) => {
      for (const [status, list] of bad) {
        try {
          request.inform?.(status, list)
        } catch (error) {
          refused.push((error as { code?: string }).code)
        }
      }
      return text(200, '')
    })
    expect(await talk(open.address, GET)).toMatch(/^HTTP\/1\.1 200/)
    expect(refused).toEqual(['CONTRACT', 'CONTRACT', 'CONTRACT'])
  })

  test('after the head is not sent', async () => {
    const channel = new Channel()
    const inform: (() => void)[] = []
    await using open = await door((request) => {
      inform.push(() => request.inform?.(103, []))
      return answer(channel)
    })
    await using client = await raw(open.address, GET)
    await client.until('\r\n\r\n')
    inform[0]?.()
    channel.end()
    expect(await client.closed).not.toContain('103')
  })
})
