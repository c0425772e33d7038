import { once } from 'node:events'
import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { afterEach, describe, expect, test } from 'vitest'
import type { Backend, Log } from '../../core/index.ts'
import { serveMemory } from '../../testing/index.ts'
import { SKIPPED, Type, endRequest, record } from '../record.ts'
import { Acks } from './acks.ts'
import { fastcgi } from './client.ts'

const open: (() => void | Promise<void>)[] = []
afterEach(async () => {
  for (const close of open.splice(0).toReversed()) await close()
})

/** Answers every request with a page in three small writes, each by itself, as PHP does. `skipped`: the records it was sent in between. */
async function printer(noDelay: boolean): Promise<{ port: number; skipped: () => number }> {
  let skipped = 0
  const server = createServer({ noDelay }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', (bytes: Buffer) => {
      const text = bytes.toString('latin1')
      if (text[1] !== String.fromCharCode(Type.BeginRequest)) {
        skipped += text.split(SKIPPED).length - 1
        return
      }
      void print(socket)
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  open.push(() => void server.close())
  return { port: (server.address() as AddressInfo).port, skipped: () => skipped }
}

async function print(socket: Socket): Promise<void> {
  socket.write(record(Type.Stdout, 1, `Content-Type: text/plain\r\n\r\n${'a'.repeat(8000)}`), 'latin1')
  await new Promise((resolve) => setTimeout(resolve, 2))
  socket.write(record(Type.Stdout, 1, 'b'.repeat(4000)), 'latin1')
  await new Promise((resolve) => setTimeout(resolve, 2))
  socket.write(record(Type.Stdout, 1, 'c') + record(Type.Stdout, 1, '') + endRequest(1, 0, 0), 'latin1')
}

/** The client, and what its log says. */
function client(port: number): { backend: Backend; lines: string[] } {
  const lines: string[] = []
  const log = { debug() {}, info: (_: object, line: string) => lines.push(line), warn() {}, error() {} } as unknown as Log
  const backend = fastcgi({ address: { host: '127.0.0.1', port }, connections: 1, log })
  open.push(() => backend.close?.(0))
  return { backend, lines }
}

/** How long each of so many requests took, one after the other, in milliseconds. */
async function timesOf(backend: Backend, count: number): Promise<number[]> {
  const server = serveMemory(backend)
  const times: number[] = []
  for (let i = 0; i < count; i++) {
    const before = performance.now()
    const { status, body } = await server.request({ target: '/' })
    times.push(performance.now() - before)
    expect(status).toBe(200)
    expect(body.toString()).toBe('a'.repeat(8000) + 'b'.repeat(4000) + 'c')
  }
  return times
}

describe('an application that waits for acknowledgements', () => {
  test('gets them at once when that was noticed', async () => {
    const { port, skipped } = await printer(false)
    const { backend, lines } = client(port)
    const times = await timesOf(backend, 20)

    expect(lines).toEqual([expect.stringContaining('keeps small writes back until they are acknowledged')])
    expect(skipped()).toBeGreaterThan(10)
    // Without them, a request on this connection takes 40 ms or 80.
    expect(times.slice(-9).toSorted((a, b) => a - b)[4]).toBeLessThan(35)
  })

  test('and one that does not is sent nothing but its requests', async () => {
    const { port, skipped } = await printer(true)
    const { backend, lines } = client(port)
    await timesOf(backend, 20)

    expect(lines).toEqual([])
    expect(skipped()).toBe(0)
  })
})

test('it takes three pauses of about a delayed acknowledgement', () => {
  const acks = new Acks('peer', undefined)
  for (const time of [0, 5, 34, 61, 200, 5000]) for (let i = 0; i < 5; i++) acks.paused(time)
  expect(acks.needed).toBe(false)
  for (const time of [40, 44]) acks.paused(time)
  expect(acks.needed).toBe(false)
  acks.paused(41)
  expect(acks.needed).toBe(true)
})
