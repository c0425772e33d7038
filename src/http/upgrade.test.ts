import { execFile } from 'node:child_process'
import { promisify } from 'node:util'
import { describe, expect, test } from 'vitest'
import { bodyOf, door, fieldOf, later, raw, statusOf, talk } from '../../test/http-raw.ts'
import { has } from '../../test/peers.ts'
import { collect, streamOf, text } from '../core/index.ts'
import type { Application, Outcome } from '../core/index.ts'
import type { Duplex } from 'node:stream'

const upgrade = (fields = '', rest = ''): string =>
  `GET /chat HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n${fields}\r\n${rest}`

/** Takes every upgrade and sends back what comes. */
const echo: Application = (request) => {
  const duplex = request.upgrade?.(101, ['Upgrade', 'echo'])
  duplex?.pipe(duplex)
  return { status: 101, headers: [], body: null }
}

describe('an upgrade', () => {
  test('that is taken gives the connection to the application, with the bytes that came early', async () => {
    const outcome = later<Outcome>()
    await using open = await door(
      (request) => {
        request.onFinish(outcome.resolve)
        return echo(request)
      },
      { upgrade: true },
    )
    await using client = await raw(open.address, upgrade('', 'early'))
    const head = await client.until('early')
    expect(head).toMatch(/^HTTP\/1\.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\nearly$/)
    client.send(' and late')
    await client.until('early and late')
    client.socket.end()
    await client.closed
    expect(await outcome.promise).toEqual({ kind: 'sent', status: 101, bytes: 'early and late'.length })
  })

  test('that a client resets does not bring the process down, though the application does not listen for errors', async () => {
    const outcome = later<Outcome>()
    await using open = await door(
      (request) => {
        request.onFinish(outcome.resolve)
        request.upgrade?.(101, ['Upgrade', 'echo']).resume()
        return { status: 101, headers: [], body: null }
      },
      { upgrade: true },
    )
    await using client = await raw(open.address, upgrade())
    await client.until('\r\n\r\n')
    client.socket.resetAndDestroy()
    expect((await outcome.promise).status).toBe(101)
  })

  test('may be taken late', async () => {
    await using open = await door(
      async (request) => {
        await new Promise((resolve) => setTimeout(resolve, 30))
        return echo(request)
      },
      { upgrade: true },
    )
    await using client = await raw(open.address, upgrade())
    client.send('early')
    expect(await client.until('early')).toMatch(/^HTTP\/1\.1 101 /)
  })

  test.each<[string, Application, string]>([
    ['a value', () => text(200, 'plain'), 'plain'],
    ['a stream', () => ({ status: 200, headers: [], body: streamOf([Buffer.from('plain')]) }), '5\r\nplain\r\n0\r\n\r\n'],
    ['a large value', () => text(200, 'x'.repeat(3_000_000)), 'x'.repeat(3_000_000)],
  ])('that nobody takes is answered with %s, and the connection ends', async (_, application, body) => {
    await using open = await door(application, { upgrade: true })
    const wire = await talk(open.address, upgrade())
    expect(statusOf(wire)).toBe(200)
    expect(bodyOf(wire)).toBe(body)
    expect(fieldOf(wire, 'Connection')).toBe('close')
  })

  test('is nothing special where it is not offered, nor to HTTP/1.0', async () => {
    const offered: unknown[] = []
    const application: Application = (request) => {
      offered.push(request.upgrade)
      return text(200, 'plain')
    }
    await using off = await door(application)
    const wire = await talk(off.address, upgrade())
    expect(bodyOf(wire)).toBe('plain')
    expect(fieldOf(wire, 'Connection')).toBe('close')
    await using client = await raw(off.address, upgrade('Content-Length: 1\r\n', 'x'))
    expect(fieldOf(await client.until('plain'), 'Connection')).toBe('keep-alive')
    await using on = await door(application, { upgrade: true })
    expect(bodyOf(await talk(on.address, upgrade().replace('HTTP/1.1', 'HTTP/1.0')))).toBe('plain')
    expect(offered).toEqual([undefined, undefined, undefined])
  })

  test.skipIf(!has('curl'))('to HTTP/2 that curl asks for is answered in HTTP/1.1', async () => {
    for (const options of [{}, { upgrade: true }]) {
      await using open = await door(async (request) => ({ status: 200, headers: [], body: await collect(request.body) }), options)
      const { host, port } = open.address as { host: string; port: number }
      const curl = promisify(execFile)('curl', [
        '--http2',
        '-s',
        '-d',
        'through',
        `http://${host}:${port}/a`,
        '--next',
        '--http2',
        '-s',
        '-w',
        '%{http_version}',
        `http://${host}:${port}/b`,
      ])
      expect((await curl).stdout).toBe('through1.1')
    }
  })

  test('with a body is not offered, and the body arrives', async () => {
    const offered: unknown[] = []
    await using open = await door(
      async (request) => {
        offered.push(request.upgrade)
        return { status: 200, headers: [], body: await collect(request.body) }
      },
      { upgrade: true },
    )
    await using client = await raw(open.address, upgrade('Content-Length: 10\r\n', 'hello').replace('GET', 'POST'))
    await new Promise((resolve) => setTimeout(resolve, 20))
    client.send('world')
    const wire = await client.until('helloworld')
    expect(fieldOf(wire, 'Connection')).toBe('keep-alive')
    // The connection goes on as if nothing had been.
    client.send('POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n')
    await client.until(/\r\n\r\nend/)
    client.send(upgrade('Transfer-Encoding: chunked\r\n', '4\r\nmore\r\n0\r\n\r\n'))
    await client.until(/\r\n\r\nmore/)
    expect(offered).toEqual([undefined, undefined, undefined])
  })

  test.skipIf(!has('curl'))('to HTTP/2 without TLS, which some clients try by habit, costs nobody a connection', async () => {
    const names: string[] = []
    await using open = await door(
      (request) => {
        names.push(...request.headers.list.filter((_, i) => i % 2 === 0))
        return text(200, `${request.protocol} ${request.upgrade === undefined}`)
      },
      { upgrade: true },
    )
    const url = `http://127.0.0.1:${'port' in open.address ? open.address.port : 0}/`
    const { stdout } = await promisify(execFile)('curl', ['-s', '--http2', '-w', ' %{num_connects}\n', url, url])
    expect(stdout).toBe('HTTP/1.1 true 1\nHTTP/1.1 true 0\n')
    expect(names.join().toLowerCase()).not.toMatch(/upgrade|http2/)
  })

  test('of a refused head is refused', async () => {
    await using open = await door(echo, { upgrade: true })
    expect(statusOf(await talk(open.address, upgrade().replace('Host: a\r\n', '')))).toBe(400)
  })

  test('with anything but 101, twice, or after the answer is an error', async () => {
    const codes: unknown[] = []
    const again: (() => Duplex | undefined)[] = []
    await using open = await door(
      (request) => {
        again.push(() => request.upgrade?.(101, []))
        for (const attempt of [() => request.upgrade?.(200, []), () => request.upgrade?.(101, ['X', '\n'])]) {
          try {
            attempt()
          } catch (error) {
            codes.push((error as { code: string }).code)
          }
        }
        return text(200, 'plain')
      },
      { upgrade: true },
    )
    expect(bodyOf(await talk(open.address, upgrade()))).toBe('plain')
    expect(again[0]).toThrow(expect.objectContaining({ code: 'CONTRACT' }) as Error)
    expect(codes).toEqual(['CONTRACT', 'CONTRACT'])
  })

  test('whose client leaves before the answer is cut', async () => {
    const outcome = later<Outcome>()
    await using open = await door(
      (request) => {
        request.onFinish(outcome.resolve)
        return new Promise(() => {})
      },
      { upgrade: true },
    )
    await using client = await raw(open.address, upgrade())
    await new Promise((resolve) => setTimeout(resolve, 20))
    client.socket.end()
    expect((await outcome.promise).kind).toBe('cut')
  })

  test('is cut when the server closes and the grace is over', async () => {
    await using open = await door(echo, { upgrade: true })
    await using client = await raw(open.address, upgrade())
    await client.until('\r\n\r\n')
    await open.server.close(50)
    await client.closed
  })
})
