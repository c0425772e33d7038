import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { descriptorsOf } from '../../test/descriptors.ts'
import { Channel, GatewayError, MemoryBudget, collect, spool, spoolMemory, streamOf } from './index.ts'

const directory = mkdtempSync(join(tmpdir(), 'viaduct-spool-test-'))
afterAll(() => rmSync(directory, { recursive: true }))

const held = (): string[] => descriptorsOf(directory).map((fd) => `/proc/self/fd/${fd}`)

async function until(condition: () => boolean): Promise<void> {
  const deadline = Date.now() + 10_000
  while (!condition()) {
    if (Date.now() > deadline) throw new Error('waited in vain')
    await new Promise((resolve) => setImmediate(resolve))
  }
}

/** Each byte is a view of a read buffer of its own, as a hostile client would have it. */
function* single(): Generator<Uint8Array> {
  for (let i = 0; i < 20_000; i++) yield new Uint8Array(65_536).subarray(0, 1)
}

const bytes = (length: number): Buffer => Buffer.from(Uint8Array.from({ length }, (_, i) => (i * 7 + (i >> 8)) % 251))
const cut = (whole: Uint8Array, size: number): Uint8Array[] =>
  Array.from({ length: Math.ceil(whole.length / size) }, (_, i) => whole.subarray(i * size, (i + 1) * size))

describe('a spooled body', () => {
  test('of no length is there at once, and its stream is not touched', async () => {
    const body = new Channel()
    const spooled = await spool(body, { expected: 0 })
    expect(spooled.length).toBe(0)
    expect(await collect(spooled.stream())).toHaveLength(0)
    expect(body.used).toBe(false)
    spooled.close()
  })

  test('keeps the chunks it was given, uncopied, when they fit', async () => {
    const budget = new MemoryBudget(100_000)
    const chunks = [bytes(40_000), bytes(30_000)]
    const spooled = await spool(streamOf(chunks), { budget })
    expect(spooled.chunks?.[0]).toBe(chunks[0])
    expect(spooled.chunks?.[1]).toBe(chunks[1])
    expect(budget.used).toBe(70_000)
    expect((await collect(spooled.stream())).equals(Buffer.concat(chunks))).toBe(true)
    expect((await collect(spooled.stream())).equals(Buffer.concat(chunks)), 'a second time').toBe(true)
    spooled.close()
    spooled.close()
    expect(budget.used).toBe(0)
    expect(spooled.chunks).toBeUndefined()
    await expect(collect(spooled.stream())).rejects.toMatchObject({ code: 'BODY_USED' })
  })

  test('of an announced large length is copied into blocks, which serve the next one when nobody holds them', async () => {
    const whole = bytes(200_000)
    for (const at of [1, 65_535, 65_536, 65_537, 131_072, 199_999]) {
      const spooled = await spool(streamOf([whole.subarray(0, at), whole.subarray(at)]), { expected: 200_000 })
      expect(Buffer.concat(spooled.chunks ?? []).equals(whole), `cut at ${at}`).toBe(true)
      spooled.close(true)
    }
    const memory = async (unread: boolean): Promise<ArrayBufferLike[]> => {
      const spooled = await spool(streamOf([whole]), { expected: 200_000 })
      const buffers = (spooled.chunks ?? []).map((chunk) => chunk.buffer)
      spooled.close(unread)
      return buffers
    }
    const kept = await memory(true)
    const again = await memory(false)
    expect(new Set([...kept, ...again]).size).toBe(kept.length)
    const fresh = await memory(true)
    expect(fresh.some((each) => again.includes(each))).toBe(false)
  })

  test.each([
    ['one more than its memory', 1000, 1001, 1_000_000],
    ['one more than the budget has left', 1_000_000, 1001, 1000],
    ['much more than either', 10_000, 3_000_000, 20_000],
  ])('of %s goes to a file without a name, readable by nobody else', async (_, memory, length, total) => {
    const whole = bytes(length)
    const budget = new MemoryBudget(total)
    for (const expected of [undefined, length]) {
      const spooled = await spool(streamOf(cut(whole, 997)), { memory, budget, directory, expected })
      expect(spooled.chunks).toBeUndefined()
      expect(spooled.length).toBe(length)
      expect(budget.used).toBe(0)
      expect(readdirSync(directory)).toEqual([])
      expect(held()).toHaveLength(1)
      expect(statSync(held()[0]!).mode & 0o777).toBe(0o600)
      const [once, twice] = await Promise.all([collect(spooled.stream()), collect(spooled.stream())])
      expect(once.equals(whole)).toBe(true)
      expect(twice.equals(whole)).toBe(true)
      spooled.close()
      await until(() => held().length === 0)
      expect(() => spooled.stream()[Symbol.asyncIterator]()).toThrow(/closed/)
    }
  })

  test('that fits exactly stays in memory', async () => {
    const spooled = await spool(streamOf([bytes(1000)]), { memory: 1000, budget: new MemoryBudget(1000), directory })
    expect(spooled.chunks).toHaveLength(1)
    spooled.close()
  })

  test('is the same however the bytes are cut', async () => {
    const whole = bytes(30_000)
    for (const memory of [0, 10_000, 100_000]) {
      for (const size of [3, 100, 2047, 2048, 16_384, 30_000]) {
        const spooled = await spool(streamOf(cut(whole, size)), { memory, directory })
        expect((await collect(spooled.stream())).equals(whole), `${memory} in memory, cut by ${size}`).toBe(true)
        spooled.close()
      }
    }
    await until(() => held().length === 0)
  })

  test('sent byte by byte takes memory for its length, not for its number of chunks', async () => {
    const spooled = await spool(streamOf(single()))
    const buffers = new Set(spooled.chunks!.map((chunk) => chunk.buffer))
    expect([...buffers].reduce((sum, buffer) => sum + buffer.byteLength, 0)).toBeLessThan(8 * 65_536 + 40_000)
    spooled.close()
  })

  test('goes on being read to its end when it is closed meanwhile', async () => {
    const whole = bytes(1_000_000)
    const spooled = await spool(streamOf([whole]), { memory: 0, directory })
    const reading = collect(spooled.stream())
    spooled.close()
    expect((await reading).equals(whole)).toBe(true)
    await until(() => held().length === 0)
  })

  test('read half and cancelled leaves no descriptor', async () => {
    const spooled = await spool(streamOf([bytes(1_000_000)]), { memory: 0, directory })
    for await (const _ of spooled.stream()) break
    spooled.stream().cancel()
    spooled.close()
    await until(() => held().length === 0)
  })

  test('holds its source back while a write is under way', async () => {
    const results: boolean[] = []
    const body: Channel = new Channel({ highWaterMark: 1 })
    const spooling = spool(body, { memory: 0, directory })
    await Promise.resolve()
    results.push(body.write(bytes(100)), body.write(bytes(100)))
    expect(results).toEqual([false, false])
    body.end()
    const spooled = await spooling
    expect(spooled.length).toBe(200)
    spooled.close()
  })
})

describe('spooling is refused, and nothing leaks, when the body', () => {
  test.each<[string, number, { memory?: number; limit?: number; expected?: number }, string, number]>([
    ['is longer than the limit', 1001, { limit: 1000 }, 'BODY_TOO_LARGE', 413],
    ['is declared longer than the limit', 1001, { limit: 1000, expected: 1001 }, 'BODY_TOO_LARGE', 413],
    ['is longer than the limit, in a file', 1001, { limit: 1000, memory: 10 }, 'BODY_TOO_LARGE', 413],
    ['is longer than declared', 1001, { expected: 1000 }, 'BODY_LENGTH_MISMATCH', 400],
    ['is shorter than declared', 999, { expected: 1000 }, 'BODY_LENGTH_MISMATCH', 400],
    ['is longer than declared, in a file', 1001, { expected: 1000, memory: 10 }, 'BODY_LENGTH_MISMATCH', 400],
    ['is shorter than declared, in a file', 999, { expected: 1000, memory: 10 }, 'BODY_LENGTH_MISMATCH', 400],
  ])('%s', async (_, length, options, code, status) => {
    for (const size of [1, 100, 5000]) {
      const budget = new MemoryBudget(100_000)
      let stopped = false
      const body = new Channel({ onCancel: () => (stopped = true) })
      const spooling = spool(body, { ...options, budget, directory })
      for (const chunk of cut(bytes(length), size)) body.write(chunk)
      if (code === 'BODY_LENGTH_MISMATCH' && length < 1000) body.end()
      await expect(spooling).rejects.toMatchObject({ code, status })
      expect(stopped || length < 1000, 'the source is told').toBe(true)
      expect(budget.used).toBe(0)
      await until(() => held().length === 0)
    }
  })

  test.each([
    ['memory', 1000],
    ['a file', 10],
  ])('fails or is cancelled while in %s', async (_, memory) => {
    const budget = new MemoryBudget(100_000)
    const gone = new GatewayError('CLIENT_GONE', { status: 499, message: 'gone' })
    for (const how of ['fail', 'cancel'] as const) {
      const body = new Channel()
      const spooling = spool(body, { memory, budget, directory })
      body.write(bytes(100))
      await Promise.resolve()
      body[how](gone)
      await expect(spooling).rejects.toBe(gone)
      expect(budget.used).toBe(0)
      await until(() => held().length === 0)
    }
  })

  test.each([
    ['is not there', () => join(directory, 'missing')],
    [
      'is a file',
      () => {
        const path = join(tmpdir(), `viaduct-spool-test-file-${process.pid}`)
        writeFileSync(path, '')
        return path
      },
    ],
  ])('needs a directory that %s', async (_, path) => {
    const budget = new MemoryBudget(1_000_000)
    let stopped = false
    const body = new Channel({ onCancel: () => (stopped = true) })
    const place = path()
    const spooling = spool(body, { memory: 50, budget, directory: place })
    body.write(bytes(40))
    body.write(bytes(40))
    await expect(spooling).rejects.toMatchObject({ code: 'UNAVAILABLE', status: 507 })
    expect(stopped).toBe(true)
    expect(budget.used).toBe(0)
    rmSync(place, { force: true })
  })
})

test('a disk that is full is a 507, the source is cancelled, and nothing stays open', () => {
  // A limit on the size of files stands for the end of the disk; the program is the built one, for node alone runs no TypeScript.
  const program = `
    import { readdirSync, readlinkSync } from 'node:fs'
    import { Channel, spool, spoolMemory } from '${new URL('../../dist/core/index.js', import.meta.url).href}'
    let cancelled
    const body = new Channel({ onDrain: () => body.write(new Uint8Array(10_000)), onCancel: (reason) => (cancelled = reason.code) })
    const spooling = spool(body, { memory: 1000, directory: '${directory}' })
    while (body.write(new Uint8Array(10_000)));
    const error = await spooling.then(() => ({}), (error) => error)
    await new Promise((resolve) => setTimeout(resolve, 50))
    const held = readdirSync('/proc/self/fd').filter((fd) => { try { return readlinkSync('/proc/self/fd/' + fd).startsWith('${directory}') } catch { return false } })
    console.log(JSON.stringify({ code: error.code, status: error.status, cause: error.cause?.code, cancelled, used: spoolMemory.used, held: held.length }))`
  const shell = `trap '' XFSZ; ulimit -f 100; exec "$0" --input-type=module -e "$1"`
  const output = execFileSync('sh', ['-c', shell, process.execPath, program], { encoding: 'utf8' })
  expect(JSON.parse(output)).toEqual({ code: 'UNAVAILABLE', status: 507, cause: 'EFBIG', cancelled: 'UNAVAILABLE', used: 0, held: 0 })
  expect(readdirSync(directory)).toEqual([])
})

test('the shared budget is empty when everything was closed', () => {
  expect(spoolMemory.used).toBe(0)
})

test('a file that somebody else is to read has a name until it is closed, or given up', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'viaduct-spool-'))
  try {
    const spooled = await spool(streamOf([Buffer.from('abc'), Buffer.from('def')]), { memory: 1, directory: folder, named: true })
    expect(readFileSync(spooled.path!, 'latin1')).toBe('abcdef')
    expect((statSync(spooled.path!).mode & 0o777).toString(8)).toBe('600')
    spooled.close()
    await expect.poll(() => readdirSync(folder)).toEqual([])
    const failing = spool(streamOf([Buffer.from('abc'), Buffer.from('def')]), { memory: 1, limit: 4, directory: folder, named: true })
    await expect(failing).rejects.toMatchObject({ code: 'BODY_TOO_LARGE' })
    await expect.poll(() => readdirSync(folder)).toEqual([])
    expect((await spool(streamOf([Buffer.from('abc')]), { named: true })).path).toBe(undefined)
  } finally {
    rmSync(folder, { recursive: true })
  }
})
