// Programs that say too much: in the head a 502, in the body as much as is asked for, and little memory in either case.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { get, open, start } from './client.ts'
import { allGone, frontOf, peakMemory } from './observe.ts'
import type { Watched } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

const MiB = 1024 ** 2
const GiB = 1024 ** 3

/** What the front may grow by while a gigabyte passes through it: buffers and what the collector has not yet taken back. */
const FLAT = 128 * MiB

describe.skipIf(!has('php-cgi'))('programs that say much', () => {
  let site: FaultSite
  let server: Viaduct
  let front: Watched

  beforeAll(async () => {
    site = faultSite()
    server = await serveFolder(site.folder, { args: ['--workers', '2'] })
    front = frontOf(server.pid)
    await get(server.port, '/hello.php')
    await get(server.port, '/cgi-bin/hello')
  })

  afterAll(async () => {
    await server?.stop()
    site?.remove()
  })

  /** Sends `length` bytes with that Content-Length, or chunked, and returns the text of the answer. */
  const upload = (path: string, length: number, chunked: boolean): Promise<string> => {
    const headers: Record<string, string> = chunked ? { 'Transfer-Encoding': 'chunked' } : { 'Content-Length': String(length) }
    const sent = start(server.port, path, { method: 'PUT', headers })
    const block = Buffer.alloc(MiB, 'x')
    let left = length
    const pump = (): void => {
      while (left > 0) {
        left -= block.length
        if (!sent.write(block)) return void sent.once('drain', pump)
      }
      sent.end()
    }
    pump()
    return new Promise((resolve, reject) => {
      sent.once('error', reject)
      sent.once('response', (response) => {
        let text = `${response.statusCode} `
        response.setEncoding('latin1').on('data', (part: string) => (text += part))
        response.once('end', () => resolve(text.trim()))
        response.once('error', reject)
      })
    })
  }

  const download = async (path: string): Promise<number> => {
    const { response } = await open(server.port, path)
    let length = 0
    for await (const chunk of response) length += (chunk as Buffer).length
    expect([response.statusCode, response.complete]).toEqual([200, true])
    return length
  }

  test('a CGI program without end to its head is a 502, and is ended (CVE-2014-3583)', async () => {
    const before = peakMemory(front.pid)
    const answer = get(server.port, '/cgi-bin/head-flood?head')
    const program = await site.told('head')

    expect((await answer).status).toBe(502)
    await allGone([program])
    expect(peakMemory(front.pid) - before).toBeLessThan(32 * MiB)
  })

  test('two megabytes of header fields from PHP are a 502, and the worker is not lost (CVE-2014-3583)', async () => {
    const before = peakMemory(front.pid)

    expect((await get(server.port, '/head-flood.php')).status).toBe(502)

    expect(peakMemory(front.pid) - before).toBeLessThan(32 * MiB)
    const both = await Promise.all([get(server.port, '/meet.php?id=head&count=2'), get(server.port, '/meet.php?id=head&count=2')])
    expect(both.map((answer) => answer.status)).toEqual([200, 200])
  })

  test.each([
    ['PHP', '/down.php?mib=1024'],
    ['a CGI program', `/cgi-bin/down?${GiB}`],
  ])(
    'a gigabyte from %s comes whole, in flat memory',
    async (_, path) => {
      const before = peakMemory(front.pid)

      expect(await download(path)).toBe(GiB)

      expect(peakMemory(front.pid) - before).toBeLessThan(FLAT)
    },
    120_000,
  )

  test.each([
    ['PHP, with a length', '/up.php', false],
    ['PHP, in chunks', '/up.php', true],
    ['a CGI program, with a length', '/cgi-bin/up', false],
  ])(
    'a gigabyte to %s arrives whole, in flat memory',
    async (_, path, chunked) => {
      const before = peakMemory(front.pid)

      expect(await upload(path, GiB, chunked)).toBe(`200 ${GiB}`)

      expect(peakMemory(front.pid) - before).toBeLessThan(FLAT)
    },
    120_000,
  )
})
