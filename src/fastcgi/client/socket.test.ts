import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { random } from '../../../test/random.ts'
import { openSocket } from './socket.ts'

let server: Server | undefined
let ours: Socket | undefined
let theirs: Socket | undefined

afterEach(() => {
  ours?.destroy()
  theirs?.destroy()
  server?.close()
})

async function pair(): Promise<{ ours: Socket; theirs: Socket }> {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  ours = openSocket({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  ;[theirs] = (await once(server, 'connection')) as [Socket]
  theirs.setNoDelay(true)
  return { ours, theirs }
}

describe('what a socket to an application has read', () => {
  test.each([
    ['a few bytes at a time', 300, 40],
    ['some kilobytes at a time', 20_000, 30],
    ['more than one read takes', 300_000, 20],
  ])('stays what it was while more comes: %s', async (_, size, count) => {
    const { ours, theirs } = await pair()
    const next = random(size)
    const sent = Array.from({ length: count }, (_piece, i) => Buffer.alloc(1 + Math.floor(next() * size), i + 1))
    const chunks: Buffer[] = []
    let length = 0
    const total = sent.reduce((sum, each) => sum + each.length, 0)
    const whole = new Promise<void>((resolve) => {
      ours.on('data', (chunk: Buffer) => {
        chunks.push(chunk)
        length += chunk.length
        if (length === total) resolve()
      })
    })
    for (const each of sent) {
      theirs.write(each)
      // Each in a read of its own, if it is small.
      await new Promise((resolve) => setImmediate(resolve))
    }
    await whole
    expect(Buffer.compare(Buffer.concat(chunks), Buffer.concat(sent))).toBe(0)
  })

  test('waits in the kernel while the reader has enough, and then comes', async () => {
    const { ours, theirs } = await pair()
    const total = 20_000_000
    let length = 0
    ours.on('data', (chunk: Buffer) => {
      length += chunk.length
      if (ours.isPaused()) throw new Error('a chunk after pause()')
      ours.pause()
      setImmediate(() => ours.resume())
    })
    const ended = once(ours, 'end')
    theirs.end(Buffer.alloc(total, 7))
    await ended
    expect(length).toBe(total)
  })

  test('ends when the other side ends, also while paused, once there is a reader again', async () => {
    const { ours, theirs } = await pair()
    let text = ''
    ours.on('data', (chunk: Buffer) => (text += chunk.toString()))
    ours.pause()
    theirs.end('the last words')
    await once(theirs, 'finish')
    const ended = once(ours, 'end')
    ours.resume()
    await ended
    expect(text).toBe('the last words')
  })
})
