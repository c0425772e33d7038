import { createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { random } from '../../../test/random.ts'
import { openSocket } from './socket.ts'

let server: Server | undefined
const sockets: Socket[] = []

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  server?.close()
})

async function pair(): Promise<{ ours: Socket; theirs: Socket }> {
  server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const ours = openSocket({ host: '127.0.0.1', port: (server.address() as AddressInfo).port })
  const [theirs] = (await once(server, 'connection')) as [Socket]
  theirs.setNoDelay(true)
  sockets.push(ours, theirs)
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

  test('is there before the end that came with it, and a reset in the middle of it is told', async () => {
    const { ours, theirs } = await pair()
    const heard: string[] = []
    ours.on('data', (chunk: Buffer) => heard.push(`${chunk.length}`))
    ours.on('end', () => heard.push('end'))
    ours.on('error', (error: NodeJS.ErrnoException) => heard.push(error.code!))
    ours.on('close', () => heard.push('close'))
    theirs.write(Buffer.alloc(10))
    await expect.poll(() => heard).toEqual(['10'])
    theirs.resetAndDestroy()
    await expect.poll(() => heard).toEqual(['10', 'ECONNRESET', 'close'])
    const second = await pair()
    const told: string[] = []
    second.ours.on('data', (chunk: Buffer) => told.push(`${chunk.length}`))
    second.ours.on('end', () => told.push('end'))
    second.theirs.end(Buffer.alloc(20))
    await expect.poll(() => told).toEqual(['20', 'end'])
  })

  // From half of what one read takes, what was read is handed on where it is.
  test.each([1, 4095, 4096, 32_767, 32_768, 32_769, 65_535, 65_536, 65_537])('of %i bytes is nobody else’s', async (size) => {
    const { ours, theirs } = await pair()
    const chunks: Buffer[] = []
    ours.on('data', (chunk: Buffer) => chunks.push(chunk))
    for (let i = 1; i <= 8; i++) {
      theirs.write(Buffer.alloc(size, i))
      await expect.poll(() => chunks.reduce((sum, each) => sum + each.length, 0), { interval: 1 }).toBe(i * size)
    }
    const whole = Buffer.concat(chunks)
    for (let i = 0; i < 8; i++) expect(whole.subarray(i * size, (i + 1) * size).every((byte) => byte === i + 1)).toBe(true)
    const large = chunks.filter((each) => each.buffer.byteLength !== Buffer.poolSize)
    expect(new Set(large.map((each) => each.buffer)).size).toBe(large.length)
  })
})
