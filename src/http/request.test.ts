import { request as httpRequest } from 'node:http'
import { describe, expect, test } from 'vitest'
import { bodyOf, door, fieldOf, raw, statusOf, talk } from '../../test/http-raw.ts'
import { text } from '../core/index.ts'
import type { Application, GatewayRequest } from '../core/index.ts'

const show: Application = (request) =>
  text(
    200,
    JSON.stringify({
      method: request.method,
      target: request.target,
      scriptName: request.scriptName,
      pathInfo: request.pathInfo,
      rawPathInfo: request.rawPathInfo,
      queryString: request.queryString,
      protocol: request.protocol,
      scheme: request.scheme,
      contentLength: request.contentLength,
      host: request.headers.get('host'),
      list: request.headers.list,
      inform: typeof request.inform,
      upgrade: typeof request.upgrade,
      name: request.variables.get('SERVER_NAME'),
      remote: request.remote.address,
    }),
  )

async function shown(head: string): Promise<Record<string, unknown>> {
  await using open = await door(show)
  const wire = await talk(open.address, head)
  expect(statusOf(wire), wire).toBe(200)
  return JSON.parse(Buffer.from(bodyOf(wire), 'latin1').toString('utf8')) as Record<string, unknown>
}

describe('a request', () => {
  test('has the fields of its head', async () => {
    const seen = await shown('GET /a%20b/c?x=%20y HTTP/1.1\r\nHost: example.org:81\r\nX-One: 1\r\nx-one: 2\r\nConnection: close\r\n\r\n')

    expect(seen).toMatchObject({
      method: 'GET',
      target: '/a%20b/c?x=%20y',
      scriptName: '',
      pathInfo: '/a b/c',
      rawPathInfo: '/a%20b/c',
      queryString: 'x=%20y',
      protocol: 'HTTP/1.1',
      scheme: 'http',
      contentLength: 0,
      host: 'example.org:81',
      name: 'example.org',
      inform: 'function',
      upgrade: 'undefined',
      remote: '127.0.0.1',
      list: ['Host', 'example.org:81', 'X-One', '1', 'x-one', '2', 'Connection', 'close'],
    })
  })

  test('keeps the raw path where the decoded one is ambiguous', async () => {
    expect(await shown('GET /a%2Fb HTTP/1.0\r\n\r\n')).toMatchObject({ pathInfo: '/a/b', rawPathInfo: '/a%2Fb' })
  })

  test('of HTTP/1.0 needs no Host and knows no interim responses', async () => {
    expect(await shown('GET / HTTP/1.0\r\n\r\n')).toMatchObject({ protocol: 'HTTP/1.0', inform: 'undefined' })
  })

  test('with a target in absolute form is for the host that the target says', async () => {
    const seen = await shown('GET http://right.example:8080/p?q HTTP/1.1\r\nHost: wrong.example\r\nConnection: close\r\n\r\n')
    expect(seen).toMatchObject({ pathInfo: '/p', queryString: 'q', host: 'right.example:8080', name: 'right.example' })
  })

  test('keeps header bytes over 0x7f as bytes', async () => {
    const seen = await shown('GET / HTTP/1.0\r\nX-Name: \xc3\xa9\r\n\r\n')
    expect(seen['list']).toEqual(['X-Name', '\xc3\xa9'])
  })

  test('says both ends of its connection, a v4 client of a v6 listener as what it is', async () => {
    let request: GatewayRequest | undefined
    await using open = await door(
      (each) => {
        request = each
        return text(200, '')
      },
      { listen: { host: '::', port: 0 } },
    )
    const { port } = open.address as { port: number }
    await talk({ host: '127.0.0.1', port }, 'GET / HTTP/1.0\r\n\r\n')
    expect(request?.remote.address).toBe('127.0.0.1')
    expect(request?.local).toEqual({ address: '127.0.0.1', port })
    expect(request?.remote.port).toBeGreaterThan(0)
  })
})

describe('the door refuses', () => {
  const close = 'Connection: close\r\n'
  test.each([
    ['no Host in HTTP/1.1', `GET / HTTP/1.1\r\n${close}\r\n`, 400],
    ['two Hosts', `GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n${close}\r\n`, 400],
    ['two Hosts in HTTP/1.0', 'GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n', 400],
    ['a Host that is none', `GET / HTTP/1.1\r\nHost: a/b\r\n${close}\r\n`, 400],
    ['a Host with a user', `GET / HTTP/1.1\r\nHost: u@a\r\n${close}\r\n`, 400],
    ['an absolute target with a user', `GET http://u@a/ HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['an encoded NUL', `GET /a%00b HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['an encoded newline', `GET /a%0ab HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['bad percent-encoding', `GET /%zz HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['a path above the root', `GET /../etc/passwd HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['a path above the root, encoded', `GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['"*" for GET', `GET * HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    [
      'Content-Length beside Transfer-Encoding (CVE-2024-1135)',
      'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
      400,
    ],
    ['two Content-Lengths', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc', 400],
    ['a Content-Length list', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3, 3\r\n\r\nabc', 400],
    ['a Content-Length with a sign', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: +3\r\n\r\nabc', 400],
    ['a coding other than chunked (CVE-2024-6827)', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n', 501],
    ['chunked that is not last', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n', 400],
    ['Transfer-Encoding in HTTP/1.0', 'POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n', 400],
    ['a space before the colon', `GET / HTTP/1.1\r\nHost : a\r\n${close}\r\n`, 400],
    ['a bare CR in a value', `GET / HTTP/1.1\r\nHost: a\r\nX: a\rb\r\n${close}\r\n`, 400],
    ['a NUL in a value', `GET / HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n${close}\r\n`, 400],
    ['a folded line', `GET / HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n${close}\r\n`, 400],
    ['a chunk size that is none', 'POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n', 400],
    ['an unknown method', `BREW / HTTP/1.1\r\nHost: a\r\n${close}\r\n`, 400],
    ['no HTTP at all', '\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n', 400],
    ['CONNECT', 'CONNECT example.org:443 HTTP/1.1\r\nHost: example.org\r\n\r\n', 501],
    ['an expectation it does not know', 'POST / HTTP/1.1\r\nHost: a\r\nExpect: the-unexpected\r\nContent-Length: 0\r\n\r\n', 417],
  ])('%s', async (_, head, status) => {
    // An application that reads the body, so that an error in its framing comes up before the answer.
    await using open = await door(async (request) => {
      for await (const _chunk of request.body);
      return text(200, 'taken')
    })
    const wire = await talk(open.address, head)
    expect(statusOf(wire), wire).toBe(status)
    expect(fieldOf(wire, 'Connection')).toBe('close')
    expect(wire).not.toContain('taken')
  })

  test('the preface of HTTP/2, and lives on', async () => {
    await using open = await door(show)
    const wire = await talk(open.address, 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    expect(wire === '' || statusOf(wire) >= 400).toBe(true)
    expect(statusOf(await talk(open.address, 'GET / HTTP/1.0\r\n\r\n'))).toBe(200)
  })

  test('a bad request without taking those behind it on the same connection', async () => {
    let calls = 0
    await using open = await door(() => {
      calls++
      return text(200, '')
    })
    const wire = await talk(open.address, 'GET / HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect(wire.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(calls).toBe(0)
  })
})

describe('OPTIONS *', () => {
  test('is answered by the door, for it is about no resource', async () => {
    await using open = await door(() => text(500, 'asked'))
    const wire = await talk(open.address, 'OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n')
    expect(statusOf(wire)).toBe(204)
    expect(fieldOf(wire, 'Content-Length')).toBeUndefined()
  })
})

describe('limits of a head', () => {
  test.each([
    [100, 200],
    [101, 431],
  ])('with a limit of 100, %i header fields are %i', async (count, status) => {
    await using open = await door(show)
    const fields = Array.from({ length: count - 2 }, (_, i) => `X-${i}: ${i}\r\n`).join('')
    const wire = await talk(open.address, `GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${fields}\r\n`)
    expect(statusOf(wire)).toBe(status)
  })

  test('all header fields arrive, also beyond what node keeps by default', async () => {
    await using open = await door(show, { limits: { headers: 3000, headerBytes: 100_000 } })
    const fields = Array.from({ length: 2500 }, (_, i) => `X-${i}: ${i}\r\n`).join('')
    const wire = await talk(open.address, `GET / HTTP/1.0\r\n${fields}\r\n`)
    const { list } = JSON.parse(bodyOf(wire)) as { list: string[] }
    expect(list).toHaveLength(5000)
    expect(list.at(-1)).toBe('2499')
  })

  test('a target over its limit is 414, one at it is taken', async () => {
    await using open = await door(show, { limits: { targetBytes: 20 } })
    expect(statusOf(await talk(open.address, `GET /${'a'.repeat(19)} HTTP/1.0\r\n\r\n`))).toBe(200)
    expect(statusOf(await talk(open.address, `GET /${'a'.repeat(20)} HTTP/1.0\r\n\r\n`))).toBe(414)
  })

  test('more bytes than the limit are 431, also when they never end', async () => {
    await using open = await door(show, { limits: { headerBytes: 1000 } })
    expect(statusOf(await talk(open.address, `GET / HTTP/1.0\r\nX: ${'a'.repeat(2000)}\r\n\r\n`))).toBe(431)
    expect(statusOf(await talk(open.address, `GET / HTTP/1.0\r\nX: ${'a'.repeat(100_000)}`))).toBe(431)
  })

  test('a head that does not come in time is 408', async () => {
    await using open = await door(show, { limits: { headersTimeout: 100 } })
    expect(statusOf(await talk(open.address, 'GET / HTTP/1.1\r\nHost: a\r\n'))).toBe(408)
  })

  test('a connection that says nothing at all is closed without a word', async () => {
    await using open = await door(show, { limits: { headersTimeout: 100 } })
    await using client = await raw(open.address)
    expect(await client.closed).toBe('')
  })
})

describe('pipelined requests', () => {
  test('are worked on one at a time, in order', async () => {
    const story: string[] = []
    await using open = await door(async (request) => {
      story.push(`begin ${request.pathInfo}`)
      await new Promise((resolve) => setTimeout(resolve, request.pathInfo === '/1' ? 30 : 1))
      story.push(`end ${request.pathInfo}`)
      return text(200, request.pathInfo)
    })
    const heads = ['/1', '/2', '/3'].map((path, i) => `GET ${path} HTTP/1.1\r\nHost: a\r\n${i === 2 ? 'Connection: close\r\n' : ''}\r\n`)
    const wire = await talk(open.address, heads.join(''))
    expect(story).toEqual(['begin /1', 'end /1', 'begin /2', 'end /2', 'begin /3', 'end /3'])
    expect(wire.match(/\/[123]$|\/[123](?=HTTP)/g)).toEqual(['/1', '/2', '/3'])
  })

  test('however the bytes are cut, the same requests arrive', async () => {
    const seen: string[] = []
    await using open = await door(async (request) => {
      let length = 0
      for await (const chunk of request.body) length += chunk.length
      seen.push(`${request.method} ${request.target} ${length}`)
      return text(200, '.')
    })
    const wire =
      'POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc' +
      'POST /b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nxy\r\n0\r\n\r\n' +
      'GET /c HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
    for (let cut = 0; cut < wire.length; cut += 5) {
      seen.length = 0
      await using client = await raw(open.address, wire.slice(0, cut))
      client.socket.setNoDelay(true)
      await new Promise((resolve) => setImmediate(resolve))
      client.send(wire.slice(cut))
      await client.closed
      expect(seen, `cut at ${cut}`).toEqual(['POST /a 3', 'POST /b 2', 'GET /c 0'])
    }
  })

  test('beyond the number that may wait are not worked on', async () => {
    let calls = 0
    await using open = await door(() => {
      calls++
      return text(200, '')
    })
    const wire = await talk(open.address, 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'.repeat(400))
    expect(calls).toBe(128)
    expect(wire).toContain('503 Service Unavailable')
  })
})

describe('an ordinary client', () => {
  test('is kept: many requests on one connection', async () => {
    const ports = new Set<number>()
    await using open = await door((request) => {
      ports.add(request.remote.port)
      return text(200, 'ok')
    })
    const { Agent } = await import('node:http')
    const agent = new Agent({ keepAlive: true, maxSockets: 1 })
    for (let i = 0; i < 5; i++) {
      await new Promise<void>((resolve, reject) => {
        httpRequest({ ...(open.address as object), agent, path: '/' }, (response) => response.resume().on('end', resolve))
          .on('error', reject)
          .end()
      })
    }
    agent.destroy()
    expect(ports.size).toBe(1)
  })
})
