// Clients that leave, do not read, or send slowly: what they may hold, and what the others notice.

import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { get, open, start } from './client.ts'
import { allGone, eventually, frontOf, peakMemory } from './observe.ts'
import type { Watched } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

const MiB = 1024 ** 2

/** Bytes the process has written so far, to whatever. */
function written(process: Watched): number {
  return Number(/^wchar: (\d+)/m.exec(readFileSync(`/proc/${process.pid}/io`, 'latin1'))?.[1])
}

/** Resolves when the process has written nothing for half a second, with the sum; rejects when it has written more than `limit`. */
async function stalled(process: Watched, limit: number): Promise<number> {
  let last = -1
  let since = Date.now()
  return await eventually('nobody takes what it writes', () => {
    const now = written(process)
    if (now > limit) throw new Error(`${now} bytes were taken from a program whose client takes none`)
    if (now !== last) since = Date.now()
    last = now
    return Date.now() - since > 500 && now
  })
}

describe.skipIf(!has('php-cgi'))('clients', () => {
  let site: FaultSite
  let server: Viaduct
  let front: Watched

  beforeAll(async () => {
    site = faultSite()
    server = await serveFolder(site.folder, { args: ['--workers', '2'] })
    front = frontOf(server.pid)
  })

  afterAll(async () => {
    await server?.stop()
    site?.remove()
  })

  test('one that leaves ends the program it asked for, and what that had started', async () => {
    const sent = start(server.port, '/cgi-bin/silent?left')
    sent.on('error', () => undefined)
    sent.end()
    const [program, child] = [await site.told('left'), await site.told('left-child')]
    expect([program.alive, child.alive]).toEqual([true, true])

    sent.destroy()

    await allGone([program, child])
  })

  test('one that leaves ends also a program that does not listen', async () => {
    const sent = start(server.port, '/cgi-bin/deaf?deaf')
    sent.on('error', () => undefined)
    sent.end()
    const [program, child] = [await site.told('deaf'), await site.told('deaf-child')]

    sent.destroy()

    await allGone([program, child])
  })

  test('one that leaves in the middle of a page gets its PHP worker back to the others', async () => {
    const leave = async (name: string): Promise<Watched> => {
      const { response } = await open(server.port, `/talk.php?name=${name}`)
      response.on('error', () => undefined)
      const worker = await site.told(name)
      response.destroy()
      return worker
    }
    const workers = [await leave('one'), await leave('two')]

    // Both workers were talking; each ends at its next output, so both are there again.
    const [a, b] = await Promise.all([get(server.port, '/meet.php?id=back&count=2'), get(server.port, '/meet.php?id=back&count=2')])
    expect([a.status, b.status, a.text === b.text]).toEqual([200, 200, false])
    expect(workers).toHaveLength(2)
  })

  test('one that does not read makes a CGI program wait, and the server keeps little', async () => {
    const before = peakMemory(front.pid)
    const { response } = await open(server.port, '/cgi-bin/flood?flood')
    response.on('error', () => undefined)
    const program = await site.told('flood')

    await stalled(program, 64 * MiB)

    expect(peakMemory(front.pid) - before).toBeLessThan(64 * MiB)
    response.destroy()
    await allGone([program])
  })

  test('one that does not read makes a PHP script wait, and the server keeps little', async () => {
    const before = peakMemory(front.pid)
    const { response } = await open(server.port, '/talk.php?name=unread')
    response.on('error', () => undefined)
    const worker = await site.told('unread')

    await stalled(worker, 64 * MiB + written(worker))

    expect(peakMemory(front.pid) - before).toBeLessThan(64 * MiB)
    response.destroy()
    await eventually('the worker is back', async () => (await get(server.port, '/hello.php')).status === 200)
  })

  test('two hundred that send slowly hold no worker: hello is as quick as before (unit#408)', async () => {
    const size = 64 * 1024
    const slow = await Promise.all(Array.from({ length: 200 }, () => SlowUpload.begin(server.port, size)))
    const drip = setInterval(() => {
      for (const each of slow) each.send(16)
    }, 20)
    // All 200 are in the middle of their bodies, more than there are workers by a hundred times.
    const times: number[] = []
    for (let i = 0; i < 40; i++) {
      const begun = performance.now()
      expect((await get(server.port, '/hello.php')).text).toBe('hello\n')
      times.push(performance.now() - begun)
      await sleep(5)
    }
    clearInterval(drip)

    expect(slow.filter((each) => each.answered)).toHaveLength(0)
    expect(times.sort((a, b) => a - b)[20]).toBeLessThan(500)
    for (const each of slow) each.finish()
    const answers = await Promise.all(slow.map((each) => each.answer))
    expect(answers.filter((answer) => !answer.startsWith('HTTP/1.1 200') || !answer.endsWith(String(size)))).toEqual([])
  })
})

/** A client that sends its body by and by. */
class SlowUpload {
  readonly #socket: Socket
  #left: number
  #text = ''
  readonly answer: Promise<string>

  static async begin(port: number, size: number): Promise<SlowUpload> {
    const socket = connect(port, '127.0.0.1')
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject))
    return new SlowUpload(socket, size)
  }

  constructor(socket: Socket, size: number) {
    this.#socket = socket
    this.#left = size
    this.answer = new Promise((resolve, reject) => {
      socket.setEncoding('latin1').on('data', (text: string) => (this.#text += text))
      socket.once('error', reject)
      socket.once('close', () => resolve(this.#text))
    })
    socket.write(`PUT /up.php HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: ${size}\r\n\r\n`)
  }

  get answered(): boolean {
    return this.#text !== ''
  }

  send(bytes: number): void {
    this.#left -= bytes
    this.#socket.write('x'.repeat(bytes))
  }

  finish(): void {
    this.send(this.#left)
  }
}
