import { describe, expect, test } from 'vitest'
import { bodyOf, door, fieldOf, later, raw, statusOf, steady, talk, when } from '../../test/http-raw.ts'
import { GatewayError, collect, pump, text } from '../core/index.ts'
import type { Application, ByteStream, Outcome } from '../core/index.ts'

const echo: Application = async (request) => ({ status: 200, headers: [], body: await collect(request.body) })

const post = (fields: string, body = ''): string => `POST / HTTP/1.1\r\nHost: a\r\n${fields}\r\n${body}`

const expectant = (length: number): string => post(`Expect: 100-continue\r\nContent-Length: ${length}\r\n`)
const refuse: Application = () => text(403, 'forbidden')

describe('a request body', () => {
  test.each([
    ['with Content-Length', post('Connection: close\r\nContent-Length: 5\r\n', 'hello')],
    ['in chunks', post('Connection: close\r\nTransfer-Encoding: chunked\r\n', '2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nX-Trailer: t\r\n\r\n')],
  ])('%s arrives whole', async (_, wire) => {
    await using open = await door(echo)
    expect(bodyOf(await talk(open.address, wire))).toBe('hello')
  })

  test('is iterated as well as pushed', async () => {
    await using open = await door(async (request) => {
      let length = 0
      for await (const chunk of request.body) length += chunk.length
      return text(200, String(length))
    })
    expect(bodyOf(await talk(open.address, post('Connection: close\r\nContent-Length: 100000\r\n', 'x'.repeat(100_000))))).toBe('100000')
  })

  test('can be read once', async () => {
    const codes: unknown[] = []
    await using open = await door(async (request) => {
      await collect(request.body)
      try {
        pump(request.body, { write: () => true, writeAll: () => true, end() {}, fail() {} })
      } catch (error) {
        codes.push((error as GatewayError).code)
      }
      return text(200, '')
    })
    await talk(open.address, post('Connection: close\r\nContent-Length: 1\r\n', 'x'))
    expect(codes).toEqual(['BODY_USED'])
  })

  test('that a client does not finish is an error for the reader, never an end', async () => {
    const errors: unknown[] = []
    const outcomes: Outcome[] = []
    await using open = await door(async (request) => {
      request.onFinish((outcome) => outcomes.push(outcome))
      try {
        await collect(request.body)
        errors.push('it ended')
      } catch (error) {
        errors.push((error as GatewayError).code)
      }
      return text(200, '')
    })
    for (const wire of [post('Content-Length: 10\r\n', 'half'), post('Transfer-Encoding: chunked\r\n', '4\r\nhalf\r\n')]) {
      errors.length = outcomes.length = 0
      await using client = await raw(open.address, wire)
      await when(() => client.socket.bytesWritten === wire.length)
      client.socket.end()
      await when(() => errors.length > 0 && outcomes.length > 0)
      expect(errors).toEqual(['CLIENT_GONE'])
      expect(outcomes.map((each) => each.kind)).toEqual(['cut'])
    }
  })

  test('that ends in bad chunks is an error for the reader and 400 for the client', async () => {
    const errors: unknown[] = []
    await using open = await door(async (request) => {
      await collect(request.body).catch((error: unknown) => errors.push(error))
      return text(200, 'never')
    })
    const wire = await talk(open.address, post('Transfer-Encoding: chunked\r\n', '4\r\nhalf\r\nZZ\r\n'))
    expect(statusOf(wire)).toBe(400)
    expect(wire).not.toContain('never')
    expect(errors).toHaveLength(1)
  })

  test('over the limit that it declares is 413 at once, and nobody is asked', async () => {
    let calls = 0
    await using open = await door(
      () => {
        calls++
        return text(200, '')
      },
      { limits: { body: 10 } },
    )
    await using client = await raw(open.address, post('Content-Length: 11\r\n'))
    expect(statusOf(await client.until('\r\n\r\n'))).toBe(413)
    expect(calls).toBe(0)
    expect(statusOf(await talk(open.address, post('Connection: close\r\nContent-Length: 10\r\n', 'x'.repeat(10))))).toBe(200)
  })

  test('that grows past the limit is an error for the reader, and 413 for the client', async () => {
    await using open = await door(echo, { limits: { body: 10 } })
    const chunk = '8\r\nxxxxxxxx\r\n'
    await using client = await raw(open.address, post('Transfer-Encoding: chunked\r\n', chunk + chunk))
    const wire = await client.until('\r\n\r\n')
    expect(statusOf(wire)).toBe(413)
    expect(fieldOf(wire, 'Connection')).toBe('close')
  })

  test('comes no faster than it is read', async () => {
    let body: ByteStream | undefined
    await using open = await door((request) => {
      body = request.body
      return new Promise(() => {})
    })
    await using client = await raw(open.address, post('Content-Length: 50000000\r\n'))
    await when(() => body !== undefined)
    let taken = 0
    let more = false
    const lane = pump(body!, {
      write(chunk) {
        taken += chunk.length
        return more
      },
      writeAll(chunks) {
        for (const chunk of chunks) taken += chunk.length
        return more
      },
      end() {},
      fail() {},
    })
    const block = Buffer.alloc(1_000_000)
    for (let i = 0; i < 50; i++) client.send(block)
    // The kernel's buffers take a few megabytes; when nothing moves any more, it is the reader that holds it.
    await steady(() => client.socket.writableLength)
    expect(client.socket.writableLength).toBeGreaterThan(20_000_000)
    expect(taken).toBeLessThan(1_000_000)
    more = true
    lane.resume()
    await when(() => taken === 50_000_000)
  })

  test('whose client stalls is 408; one that the reader keeps waiting is not', async () => {
    await using open = await door(echo, { limits: { bodyTimeout: 60 } })
    await using client = await raw(open.address, post('Content-Length: 10\r\n', 'half'))
    expect(statusOf(await client.until('\r\n\r\n'))).toBe(408)

    await using patient = await door(
      async (request) => {
        let length = 0
        for await (const chunk of request.body) {
          if (length === 0) await new Promise((resolve) => setTimeout(resolve, 250))
          length += chunk.length
        }
        return text(200, String(length))
      },
      { limits: { bodyTimeout: 60 } },
    )
    const size = 400_000
    expect(bodyOf(await talk(patient.address, post(`Connection: close\r\nContent-Length: ${size}\r\n`, 'x'.repeat(size))))).toBe(
      String(size),
    )
  })
})

describe('100 Continue', () => {
  test('is sent when the body is first read', async () => {
    const asked = later<void>()
    await using open = await door(async (request) => {
      await asked.promise
      return { status: 200, headers: [], body: await collect(request.body) }
    })
    await using client = await raw(open.address, expectant(5))
    await new Promise((resolve) => setTimeout(resolve, 30))
    expect(client.received).toBe('')
    asked.resolve()
    expect(await client.until('\r\n\r\n')).toBe('HTTP/1.1 100 Continue\r\n\r\n')
    client.send('hello')
    const wire = await client.until('hello')
    expect(statusOf(wire.slice('HTTP/1.1 100 Continue\r\n\r\n'.length))).toBe(200)
    expect(fieldOf(wire.slice('HTTP/1.1 100 Continue\r\n\r\n'.length), 'Connection')).toBe('keep-alive')
  })

  test('is not sent where the body is not read, and the connection ends with the answer', async () => {
    await using open = await door(() => text(401, 'no'))
    const wire = await talk(open.address, expectant(1_000_000_000))
    expect(statusOf(wire)).toBe(401)
    expect(wire).not.toContain('100 Continue')
    expect(fieldOf(wire, 'Connection')).toBe('close')
    expect(wire).toMatch(/no$/)
  })

  test('is not sent to HTTP/1.0, which does not know it', async () => {
    await using open = await door(echo)
    const wire = await talk(open.address, 'POST / HTTP/1.0\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nhi')
    expect(wire).not.toContain('100 Continue')
    expect(bodyOf(wire)).toBe('hi')
  })
})

describe('a body that nobody reads', () => {
  test('is taken off the wire when it is small, and the connection goes on', async () => {
    await using open = await door(refuse)
    const wire = await talk(
      open.address,
      post('Content-Length: 100000\r\n', 'x'.repeat(100_000)) + 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    )
    expect(wire.match(/HTTP\/1\.1 403/g)).toHaveLength(2)
  })

  test('that is large ends the connection, but not before the client has its answer', async () => {
    await using open = await door(refuse)
    await using client = await raw(open.address, post('Content-Length: 100000000\r\n'))
    const block = Buffer.alloc(100_000, 120)
    // It does not look at the answer before it has tried to send a lot, as most clients do.
    for (let i = 0; i < 300; i++) client.send(block)
    const wire = await client.until('forbidden')
    expect(statusOf(wire)).toBe(403)
    expect(fieldOf(wire, 'Connection')).toBe('close')
    await client.closed
  })

  test('does not cost a client its answer that asked for the connection to be closed', async () => {
    await using open = await door(refuse)
    for (const sent of [0, 1000, 100_000]) {
      await using client = await raw(open.address, post('Connection: close\r\nContent-Length: 100000\r\n', 'x'.repeat(sent)))
      await client.until('forbidden')
      for (let left = 100_000 - sent; left > 0; left -= 1000) client.send('x'.repeat(1000))
      await client.closed
      expect(client.reset).toBe(false)
    }
  })

  test('that never comes does not hold the connection for long', async () => {
    await using open = await door(refuse, { limits: { drainTimeout: 60 } })
    for (const length of [1000, 100_000_000]) {
      await using client = await raw(open.address, post(`Content-Length: ${length}\r\n`, 'x'))
      const begin = Date.now()
      expect(statusOf(await client.closed)).toBe(403)
      expect(Date.now() - begin).toBeLessThan(5000)
    }
  })

  test('that was begun and given up is treated alike', async () => {
    await using open = await door((request) => {
      for (const stop of [request.body]) {
        pump(stop, { write: () => true, writeAll: () => true, end() {}, fail() {} })
        stop.cancel()
      }
      return text(200, 'enough')
    })
    const wire = await talk(
      open.address,
      post('Content-Length: 100000\r\n', 'x'.repeat(100_000)) + 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    )
    expect(wire.match(/enough/g)).toHaveLength(2)
    await using client = await raw(open.address, post('Content-Length: 100000000\r\n', 'x'.repeat(1000)))
    expect(await client.closed).toContain('enough')
  })

  test('may still be read after the answer, by work that the server waits for', async () => {
    let length = 0
    await using open = await door((request) => {
      request.waitUntil(
        collect(request.body).then((bytes) => {
          length = bytes.length
        }),
      )
      return text(202, 'later')
    })
    await using client = await raw(open.address, post('Content-Length: 600000\r\n', 'x'.repeat(1000)))
    await client.until('later')
    client.send('x'.repeat(599_000))
    await when(() => length === 600_000)
    client.send('GET / HTTP/1.1\r\nHost: a\r\n\r\n')
    expect((await client.until(/later[^]*later/)).match(/HTTP\/1\.1 202/g)).toHaveLength(2)
  })
})
