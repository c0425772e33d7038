import { Worker } from 'node:worker_threads'
import { describe, expect, test } from 'vitest'
import { Pipe } from './pipe.ts'

function pipe(size = 16): Pipe {
  return new Pipe(Pipe.memory(size))
}

describe('a pipe', () => {
  test('gives what was written, across its end and after its counts have wrapped', () => {
    const made = pipe()
    new Int32Array(made.memory).set([2 ** 31 - 24, 2 ** 31 - 24])
    const sent: number[] = []
    const received: number[] = []
    for (let i = 0; i < 100; i++) {
      const piece = Uint8Array.from({ length: (i % 16) + 1 }, (_, at) => (i + at) & 0xff)
      expect(made.write(piece)).toBe(piece.length)
      sent.push(...piece)
      received.push(...made.read())
    }
    expect(received).toEqual(sent)
  })

  test('takes what there is room for, and says how much that was', () => {
    const made = pipe()
    const bytes = Uint8Array.from({ length: 20 }, (_, i) => i)
    expect(made.write(bytes)).toBe(16)
    expect(made.write(bytes, 16)).toBe(0)
    expect([...made.read(10)]).toEqual([0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
    expect(made.write(bytes, 16)).toBe(4)
    expect([...made.read()]).toEqual([10, 11, 12, 13, 14, 15, 16, 17, 18, 19])
  })

  test('is rung for once until somebody looks', () => {
    const made = pipe()
    expect([made.ring(), made.ring()]).toEqual([true, false])
    made.heard()
    expect(made.ring()).toBe(true)
  })

  test('is empty, not cut and not rung after a reset', () => {
    const made = pipe()
    made.write(Uint8Array.of(1, 2, 3))
    made.cut = true
    made.ring()
    made.reset()
    expect([made.length, made.cut, made.ring()]).toEqual([0, false, true])
  })

  test('lets a thread wait for bytes and for room, and wakes it when it is cut', async () => {
    const made = pipe()
    const worker = new Worker(WAITER, {
      eval: true,
      workerData: { memory: made.memory, pipe: new URL('../../dist/embedded/pipe.js', import.meta.url).href },
    })
    try {
      const said: unknown[] = []
      const next = (): Promise<unknown> => new Promise((resolve) => worker.once('message', resolve))
      const first = next()
      made.write(Uint8Array.of(7))
      said.push(await first)
      const second = next()
      // It fills the pipe, then waits for room for one more byte.
      while (made.length < 16) await new Promise((resolve) => setImmediate(resolve))
      made.read(1)
      said.push(await second)
      const third = next()
      made.cut = true
      said.push(await third)
      expect(said).toEqual(['read 7', 'wrote 17', 'cut'])
    } finally {
      await worker.terminate()
    }
  })
})

const WAITER = `
const { parentPort, workerData } = require('node:worker_threads')
import(workerData.pipe).then(({ Pipe }) => {
  const pipe = new Pipe(workerData.memory)
  pipe.waitForBytes()
  parentPort.postMessage('read ' + pipe.read()[0])
  let count = pipe.write(new Uint8Array(16))
  pipe.waitForRoom()
  count += pipe.write(new Uint8Array(1))
  parentPort.postMessage('wrote ' + count)
  pipe.waitForRoom()
  parentPort.postMessage(pipe.cut ? 'cut' : 'room')
})
`
