import { describe, expect, test } from 'vitest'
import { collect, observed, release, releaseBuffers, spool, streamOf } from './index.ts'
import type { ByteStream } from './index.ts'

const chunk = (size: number): Uint8Array<ArrayBuffer> => new Uint8Array(size).fill(7)
const exclusive = (chunks: Uint8Array[]): ByteStream => Object.assign(streamOf(chunks), { exclusive: true })

describe('giving back a chunk', () => {
  test('takes its bytes at once', () => {
    const whole = chunk(65_536)
    release(whole)
    expect(whole.length).toBe(0)
  })

  test('leaves alone what is a part of something larger, what is small, and what is shared between threads', () => {
    const part = chunk(65_536).subarray(0, 65_535)
    const small = chunk(1000)
    const shared = new Uint8Array(new SharedArrayBuffer(65_536))
    for (const each of [part, small, shared]) release(each)
    expect([part.length, small.length, shared.length]).toEqual([65_535, 1000, 65_536])
  })
})

describe('giving back the buffers of what came at once', () => {
  test('takes each of them whole, however its chunks are cut', () => {
    const [one, other] = [chunk(65_536), chunk(20_000)]
    releaseBuffers([one.subarray(8, 1000), one.subarray(1008, 65_528), other.subarray(16, 19_000)])
    expect([one.length, other.length]).toEqual([0, 0])
  })

  test("leaves alone what is small, what might be Node's pool, and what is shared between threads", () => {
    const left = [chunk(4095), chunk(Buffer.poolSize), new Uint8Array(new SharedArrayBuffer(65_536))]
    releaseBuffers(left)
    expect(left.map((each) => each.length)).toEqual([4095, Buffer.poolSize, 65_536])
  })
})

describe('spooling', () => {
  const sizes = [65_536, 5000, 65_536, 10_000]
  const total = sizes.reduce((sum, size) => sum + size, 0)

  for (const [where, memory] of [
    ['into memory', 1_000_000],
    ['into a file', 0],
  ] as const) {
    test(`${where} gives back chunks that nobody else holds, and has their bytes`, async () => {
      const chunks = sizes.map(chunk)
      const spooled = await spool(exclusive(chunks), { expected: total, memory })
      expect(chunks.map((each) => each.length)).toEqual([0, 0, 0, 0])
      expect(Buffer.compare(await collect(spooled.stream()), Buffer.alloc(total, 7))).toBe(0)
      spooled.close()
    })

    test(`${where} leaves chunks that somebody else may hold`, async () => {
      const chunks = sizes.map(chunk)
      const spooled = await spool(streamOf(chunks), { expected: total, memory })
      expect(chunks.map((each) => each.length)).toEqual(sizes)
      spooled.close()
    })
  }

  test('hears of it through an observer, and through nothing that copies a stream', () => {
    const stream = exclusive([])
    expect(observed(stream, {}).exclusive).toBe(true)
    expect(observed(streamOf([]), {}).exclusive).toBe(false)
  })
})
