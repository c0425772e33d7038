import { mkdtempSync, openSync, rmSync, truncateSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { descriptorsOf } from '../../test/descriptors.ts'
import { FileSlice, READ_SIZE, collect, discard } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-file-slice-'))
const path = join(folder, 'file')
const whole = Buffer.from(Uint8Array.from({ length: READ_SIZE * 3 + 17 }, (_, i) => (i * 31 + (i >> 9)) % 253))
const slice = (start: number, length: number): FileSlice => {
  writeFileSync(path, whole)
  return new FileSlice(openSync(path, 'r'), start, length)
}
afterAll(() => rmSync(folder, { recursive: true }))

describe('a file slice', () => {
  afterEach(() => expect.poll(() => descriptorsOf(folder)).toEqual([]))

  test.each([
    [0, whole.length],
    [0, 0],
    [whole.length, 0],
    [5, 1],
    [0, READ_SIZE],
    [1, READ_SIZE + 1],
    [READ_SIZE - 1, 2 * READ_SIZE],
  ])('from %i with %i bytes gives these, pushed and iterated, and is closed', async (start, length) => {
    const expected = whole.subarray(start, start + length)
    expect((await collect(slice(start, length).stream())).equals(expected)).toBe(true)
    const chunks: Uint8Array[] = []
    for await (const chunk of slice(start, length).stream()) chunks.push(chunk)
    expect(Buffer.concat(chunks).equals(expected)).toBe(true)
  })

  test('is closed by discard, once, whether its stream was made or not', () => {
    const unread = slice(0, 10)
    discard({ status: 200, headers: [], body: unread })
    unread.close()
    slice(0, 10).stream().cancel()
  })

  test('that nobody reads is not read', async () => {
    const stream = slice(0, 10).stream()
    await new Promise((resolve) => setImmediate(resolve))
    expect(descriptorsOf(folder)).toHaveLength(1)
    stream.cancel()
  })

  test('read half is closed', async () => {
    for await (const _ of slice(0, whole.length).stream()) break
  })

  test("cancelled from inside a write reads no more from a descriptor that may be somebody else's", async () => {
    for (const answer of [true, false]) {
      const stream = slice(0, whole.length).stream()
      await new Promise<void>((resolve) => {
        stream.pushTo!({
          write: () => {
            stream.cancel()
            setImmediate(resolve)
            return answer
          },
          writeAll: () => true,
          end: () => expect.unreachable(),
          fail: () => expect.unreachable(),
        })
      })
      await expect.poll(() => descriptorsOf(folder)).toEqual([])
    }
  })

  test('cancelled while a read is under way is closed after it', async () => {
    const stream = slice(0, whole.length).stream()
    const iterator = stream[Symbol.asyncIterator]()
    const next = iterator.next()
    stream.cancel()
    await expect(next).rejects.toThrow(/cancelled/)
  })

  test('of a file that became shorter is an error, not a short body', async () => {
    const stream = slice(0, whole.length).stream()
    truncateSync(path, 100)
    await expect(collect(stream)).rejects.toThrow(/ended .* bytes early/)
  })

  test('reads at the pace of its reader', async () => {
    const stream = slice(0, whole.length).stream()
    let got = 0
    let resume!: () => void
    await new Promise<void>((resolve, reject) => {
      const take = (chunk: Uint8Array): boolean => {
        got += chunk.length
        resolve()
        return false
      }
      resume = stream.pushTo!({ write: take, writeAll: () => false, end: reject, fail: reject }).resume
    })
    await new Promise((resolve) => setTimeout(resolve, 20))
    expect(got).toBe(READ_SIZE)
    resume()
    await expect.poll(() => got).toBe(2 * READ_SIZE)
    stream.cancel()
  })
})
