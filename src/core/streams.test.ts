import { describe, expect, test } from 'vitest'
import { Channel, collect, emptyBody, observed, pump, streamOf, type ByteSink, type ByteStream } from './index.ts'

const chunk = (text: string): Uint8Array => Buffer.from(text)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

async function* generate(texts: string[], log: string[] = []): AsyncGenerator<Uint8Array> {
  try {
    for (const text of texts) {
      log.push(`make ${text}`)
      yield chunk(text)
    }
    log.push('ended')
  } finally {
    log.push('finally')
  }
}

async function* breaking(): AsyncGenerator<Uint8Array> {
  yield chunk('a')
  throw new Error('broke')
}

const stuck: AsyncIterable<Uint8Array> = { [Symbol.asyncIterator]: () => ({ next: () => new Promise(() => {}) }) }

async function iterate(stream: ByteStream): Promise<string> {
  let got = ''
  for await (const bytes of stream) got += Buffer.from(bytes).toString()
  return got
}

async function pushed(stream: ByteStream): Promise<string> {
  return (await collect(stream)).toString()
}

describe('streamOf', () => {
  test.each<[string, () => Iterable<Uint8Array> | AsyncIterable<Uint8Array>]>([
    ['an array', () => [chunk('a'), chunk(''), chunk('b')]],
    ['a generator', () => generate(['a', 'b'])],
    ['a set', () => new Set([chunk('a'), chunk('b')])],
    ['another stream', () => streamOf([chunk('a'), chunk('b')])],
  ])('gives what %s yields, pushed and iterated', async (_, source) => {
    expect(await iterate(streamOf(source()))).toBe('ab')
    expect(await pushed(streamOf(source()))).toBe('ab')
  })

  test('fails as its source fails, sooner or later', async () => {
    for (const read of [iterate, pushed]) {
      await expect(read(streamOf(breaking()))).rejects.toThrow('broke')
      const early = streamOf({
        [Symbol.asyncIterator]: () => ({
          next: () => {
            throw new Error('at once')
          },
        }),
      })
      await expect(read(early)).rejects.toThrow('at once')
    }
  })

  test('cancelled before the first read never starts its source, and cannot be read', () => {
    const log: string[] = []
    const reasons: unknown[] = []
    const stream = streamOf(generate(['a'], log), (reason) => reasons.push(reason))
    stream.cancel('no')
    stream.cancel('again')
    expect([log, reasons]).toEqual([[], ['no']])
    expect(() => stream[Symbol.asyncIterator]()).toThrow(expect.objectContaining({ code: 'BODY_USED' }))
  })

  test('left early returns its source and tells who asked', async () => {
    const log: string[] = []
    let cancels = 0
    for await (const _ of streamOf(generate(['a', 'b'], log), () => cancels++)) break
    expect(log).toEqual(['make a', 'finally'])
    expect(cancels).toBe(1)
  })

  test('read to its end or its failure tells nobody of a cancel', async () => {
    let cancels = 0
    const stream = streamOf(generate(['a']), () => cancels++)
    await iterate(stream)
    stream.cancel()
    const broken = streamOf(breaking(), () => cancels++)
    await expect(iterate(broken)).rejects.toThrow()
    broken.cancel()
    expect(cancels).toBe(0)
  })

  test('cancelled by another while its source is stuck sets its reader free', async () => {
    for (const read of [iterate, pushed]) {
      const stream = streamOf(stuck)
      const reading = read(stream)
      const reason = new Error('gone')
      await turn()
      stream.cancel(reason)
      await expect(reading).rejects.toBe(reason)
    }
  })

  test('is read once', async () => {
    const stream = streamOf([chunk('a')])
    await pushed(stream)
    expect(() => stream.pushTo!({} as ByteSink)).toThrow(expect.objectContaining({ code: 'BODY_USED' }))
  })

  test('waits for resume when the sink says false, and does not miss one that came at once', async () => {
    for (const late of [true, false]) {
      const log: string[] = []
      let got = ''
      await new Promise<void>((resolve, reject) => {
        const take = (bytes: Uint8Array): boolean => {
          got += Buffer.from(bytes).toString()
          log.push(`take ${Buffer.from(bytes).toString()}`)
          if (late) setImmediate(() => lane.resume())
          else lane.resume()
          return false
        }
        const lane = pump(streamOf(generate(['a', 'b', 'c'], log)), { write: take, writeAll: () => false, end: resolve, fail: reject })
      })
      expect(got).toBe('abc')
      expect(log.slice(0, 4)).toEqual(['make a', 'take a', 'make b', 'take b'])
    }
  })

  test('cancelled by its sink amid a write says no more', async () => {
    const heard: string[] = []
    const log: string[] = []
    const stream = streamOf(generate(['a', 'b'], log))
    pump(stream, {
      write: () => {
        stream.cancel('enough')
        return true
      },
      writeAll: () => true,
      end: () => void heard.push('end'),
      fail: () => void heard.push('fail'),
      cancelled: () => void heard.push('cancelled'),
    })
    await expect.poll(() => log).toEqual(['make a', 'finally'])
    await turn()
    expect(heard).toEqual(['cancelled'])
  })
})

describe('collect', () => {
  test.each<[string[], number | undefined, string]>([
    [[], undefined, ''],
    [['a', 'bc'], undefined, 'abc'],
    [['a', 'bc'], 3, 'abc'],
    [[], 0, ''],
  ])('of %j under a limit of %s is %j', async (texts, limit, whole) => {
    expect((await collect(streamOf(texts.map(chunk)), limit)).toString()).toBe(whole)
  })

  test.each<[string[], number]>([
    [['a', 'bc'], 2],
    [['abc'], 2],
    [['abc', 'd', 'e'], 2],
    [['a'], 0],
  ])('of %j over a limit of %i is refused, and the source cancelled', async (texts, limit) => {
    for (const batch of [true, false]) {
      let cancelled: unknown
      const channel = new Channel({ onCancel: (reason) => (cancelled = reason) })
      if (batch) channel.writeAll(texts.map(chunk))
      const collecting = collect(channel, limit)
      await Promise.resolve()
      if (!batch) for (const text of texts) channel.write(chunk(text))
      await expect(collecting).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', status: 413 })
      expect(cancelled).toMatchObject({ code: 'BODY_TOO_LARGE' })
    }
  })

  test('of a body that was read before is refused, and so is one that another cancels', async () => {
    const channel = new Channel()
    const collecting = collect(channel)
    await expect(collect(channel)).rejects.toMatchObject({ code: 'BODY_USED' })
    channel.cancel()
    await expect(collecting).rejects.toMatchObject({ code: 'CLOSED' })
  })
})

function watch(stream: ByteStream, limit = Infinity): [ByteStream, string[]] {
  const seen: string[] = []
  let total = 0
  const watched = observed(stream, {
    chunk: (length) => {
      seen.push(String(length))
      if ((total += length) > limit) throw new Error('limit')
    },
    over: (how, error) => void seen.push(error instanceof Error ? `${how} ${error.message}` : how),
  })
  return [watched, seen]
}

describe('observed', () => {
  const sources: [string, () => ByteStream][] = [
    [
      'a channel',
      () => {
        const c = new Channel()
        c.writeAll([chunk('ab'), chunk('c')])
        c.end()
        return c
      },
    ],
    ['an iterable', () => streamOf([chunk('ab'), chunk('c')])],
  ]

  describe.each(sources)('%s', (_, source) => {
    test('sees each length before it passes, and the end', async () => {
      for (const read of [iterate, pushed]) {
        const [stream, seen] = watch(source())
        expect(await read(stream)).toBe('abc')
        expect(seen).toEqual(['2', '1', 'ended'])
      }
    })

    test('ends a stream by throwing', async () => {
      for (const read of [iterate, pushed]) {
        const [stream, seen] = watch(source(), 2)
        await expect(read(stream)).rejects.toThrow('limit')
        expect(seen).toEqual(['2', '1', 'failed limit'])
      }
    })

    test('hears of a cancel, before the first read and amid reading', async () => {
      const [unread, first] = watch(source())
      unread.cancel()
      unread.cancel()
      expect(first).toEqual(['cancelled'])
      const [left, second] = watch(source())
      for await (const __ of left) break
      expect(second).toEqual(['2', 'cancelled'])
    })
  })

  test('hears of a failure', async () => {
    for (const read of [iterate, pushed]) {
      const [stream, seen] = watch(streamOf(breaking()))
      await expect(read(stream)).rejects.toThrow('broke')
      expect(seen).toEqual(['1', 'failed broke'])
    }
  })

  test('passes on a cancel to the source and to the reader that did not make it', async () => {
    for (const read of [iterate, pushed]) {
      let cancelled: unknown
      const [stream, seen] = watch(new Channel({ onCancel: (reason) => (cancelled = reason) }))
      const reading = read(stream)
      const gone = new Error('gone')
      await turn()
      stream.cancel(gone)
      await expect(reading).rejects.toBe(gone)
      expect(cancelled).toBe(gone)
      expect(seen).toEqual(['cancelled gone'])
    }
  })

  test('keeps backpressure', async () => {
    const channel = new Channel({ highWaterMark: 1 })
    const [stream] = watch(channel)
    const lane = pump(stream, { write: () => false, writeAll: () => false, end() {}, fail() {} })
    await Promise.resolve()
    expect(channel.write(chunk('a'))).toBe(false)
    lane.resume()
    expect(channel.write(chunk('a'))).toBe(false)
  })
})

test('a stream of somebody else, without a push lane, is pumped by iterating and cancelled through its own cancel', async () => {
  let cancelled = 0
  const foreign: ByteStream = { cancel: () => void cancelled++, [Symbol.asyncIterator]: () => generate(['a', 'b']) }
  expect(await pushed(foreign)).toBe('ab')
  await expect(collect({ ...foreign, [Symbol.asyncIterator]: () => generate(['abc', 'd']) }, 1)).rejects.toThrow(/limit/)
  expect(cancelled).toBe(1)
})

test('the empty body ends, as often as it is read', async () => {
  for (let i = 0; i < 2; i++) {
    expect(await iterate(emptyBody)).toBe('')
    expect(await pushed(emptyBody)).toBe('')
    emptyBody.cancel()
  }
})
