import { describe, expect, test } from 'vitest'
import { Channel, type ByteSink } from './index.ts'

const chunk = (text: string): Uint8Array => Buffer.from(text)
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A sink that writes down what it hears. `says` are its answers, true when they run out. */
function recorder(says: boolean[] = []): ByteSink & { heard: string[] } {
  const heard: string[] = []
  const say = (): boolean => says.shift() ?? true
  return {
    heard,
    write: (bytes) => {
      heard.push(Buffer.from(bytes).toString())
      return say()
    },
    writeAll: (all) => {
      heard.push(`[${all.map((bytes) => Buffer.from(bytes).toString()).join(' ')}]`)
      return say()
    },
    end: () => void heard.push('end'),
    fail: (error) => void heard.push(`fail ${(error as Error).message}`),
    cancelled: (reason) => void heard.push(`cancelled ${String(reason)}`),
  }
}

async function iterate(channel: Channel): Promise<string[]> {
  const got: string[] = []
  try {
    for await (const bytes of channel) got.push(Buffer.from(bytes).toString())
    got.push('end')
  } catch (error) {
    got.push(`fail ${(error as Error).message}`)
  }
  return got
}

describe('a pushed channel', () => {
  test('hands on each write as it is, and what waited as one batch, never before pushTo returned', async () => {
    const channel = new Channel()
    const sink = recorder()
    channel.write(chunk('a'))
    channel.write(chunk('b'))
    channel.pushTo(sink)
    channel.write(chunk('c'))
    expect(sink.heard).toEqual([])
    await Promise.resolve()
    expect(sink.heard).toEqual(['[a b c]'])
    channel.write(chunk('d'))
    channel.writeAll([chunk('e'), chunk('f')])
    channel.end()
    expect(sink.heard).toEqual(['[a b c]', 'd', '[e f]', 'end'])
    expect(channel.buffered).toBe(0)
  })

  test('stops at a false, keeps what comes, and goes on at resume', async () => {
    let drains = 0
    const channel = new Channel({ highWaterMark: 2, onDrain: () => drains++ })
    const sink = recorder([false, false])
    const lane = channel.pushTo(sink)
    await Promise.resolve()
    expect(channel.write(chunk('a')), 'the sink said false').toBe(false)
    expect(channel.write(chunk('b')), 'one below the mark').toBe(true)
    expect(channel.write(chunk('c')), 'at the mark').toBe(false)
    expect(channel.buffered).toBe(2)
    expect(sink.heard).toEqual(['a'])
    lane.resume()
    expect(sink.heard).toEqual(['a', '[b c]'])
    expect(drains, 'not while the sink is full').toBe(0)
    channel.end()
    expect(sink.heard, 'the end waits too').toEqual(['a', '[b c]'])
    lane.resume()
    expect(sink.heard).toEqual(['a', '[b c]', 'end'])
    lane.resume()
    expect(sink.heard).toHaveLength(3)
  })

  test('tells its producer to go on, which may write from inside', async () => {
    let left = 5
    const sink = recorder([false, true, false])
    const channel: Channel = new Channel({
      highWaterMark: 1,
      onStart: () => more(),
      onDrain: () => more(),
    })
    const more = (): void => {
      while (left > 0) if (!channel.write(chunk(String(left--)))) return
      channel.end()
    }
    const lane = channel.pushTo(sink)
    await Promise.resolve()
    expect(sink.heard).toEqual(['[5]'])
    lane.resume()
    expect(sink.heard).toEqual(['[5]', '4', '3'])
    lane.resume()
    expect(sink.heard).toEqual(['[5]', '4', '3', '2', '1', 'end'])
  })

  test('takes a resume from inside a write for the lifting of the false that follows', async () => {
    const heard: string[] = []
    const channel = new Channel()
    const lane = channel.pushTo({
      write: (bytes) => {
        heard.push(Buffer.from(bytes).toString())
        lane.resume()
        return false
      },
      writeAll: () => {
        heard.push('all')
        lane.resume()
        return false
      },
      end: () => void heard.push('end'),
      fail: () => void heard.push('fail'),
    })
    channel.write(chunk('a'))
    await Promise.resolve()
    expect(channel.write(chunk('b'))).toBe(true)
    channel.end()
    expect(heard).toEqual(['all', 'b', 'end'])
  })

  test('never enters a sink twice: what is written from inside a write comes after it', async () => {
    const heard: string[] = []
    const channel = new Channel()
    channel.pushTo({
      write: (bytes) => {
        const text = Buffer.from(bytes).toString()
        heard.push(`(${text}`)
        if (text === 'a') {
          channel.write(chunk('b'))
          channel.writeAll([chunk('c')])
          channel.end()
        }
        heard.push(`${text})`)
        return true
      },
      writeAll: (all) => {
        heard.push(`[${all.map((bytes) => Buffer.from(bytes).toString()).join('')}]`)
        return true
      },
      end: () => void heard.push('end'),
      fail: () => {},
    })
    await Promise.resolve()
    channel.write(chunk('a'))
    expect(heard).toEqual(['(a', 'a)', '[bc]', 'end'])
  })

  test('fails after what was written before', async () => {
    const channel = new Channel()
    const sink = recorder()
    channel.write(chunk('a'))
    channel.fail(new Error('broke'))
    channel.write(chunk('late'))
    channel.end()
    channel.fail(new Error('again'))
    channel.pushTo(sink)
    await Promise.resolve()
    expect(sink.heard).toEqual(['[a]', 'fail broke'])
  })

  test('does not end because nobody gave a reason for its failure', async () => {
    const channel = new Channel()
    const sink = recorder()
    channel.pushTo(sink)
    await Promise.resolve()
    channel.fail(undefined)
    expect(sink.heard).toEqual([expect.stringMatching(/^fail /)])
  })

  test('may be cancelled from inside a write; neither end nor fail follows', async () => {
    let reason: unknown
    const channel = new Channel({ onCancel: (why) => (reason = why) })
    const sink = recorder()
    sink.write = () => {
      channel.cancel('enough')
      return false
    }
    channel.pushTo(sink)
    await Promise.resolve()
    expect(channel.write(chunk('a')), 'nobody needs to wait for a reader that is gone').toBe(true)
    channel.write(chunk('b'))
    channel.end()
    expect(sink.heard).toEqual(['cancelled enough'])
    expect(reason).toBe('enough')
  })

  test('survives a sink that throws', async () => {
    const channel = new Channel()
    const sink = recorder()
    channel.pushTo({
      ...sink,
      write: () => {
        throw new Error('sink')
      },
    })
    await Promise.resolve()
    expect(() => channel.write(chunk('a'))).toThrow('sink')
    channel.end()
    expect(sink.heard).toEqual(['end'])
  })
})

describe('an iterated channel', () => {
  test('gives the chunks, then its end or its failure', async () => {
    for (const [finish, last] of [
      ['end', 'end'],
      ['fail', 'fail broke'],
    ] as const) {
      const channel = new Channel()
      channel.write(chunk('a'))
      const reading = iterate(channel)
      await turn()
      channel.write(chunk('b'))
      channel.writeAll([chunk(''), chunk('c'), chunk('d')])
      channel[finish](new Error('broke'))
      expect(await reading).toEqual(['a', 'b', 'c', 'd', last])
    }
  })

  test('keeps at most its mark and starts its producer with the first read', async () => {
    let made = 0
    let most = 0
    const channel: Channel = new Channel({ highWaterMark: 4, onStart: () => more(), onDrain: () => more() })
    const more = (): void => {
      while (made < 100) {
        made++
        const go = channel.write(chunk('x'))
        most = Math.max(most, channel.buffered)
        if (!go) return
      }
      channel.end()
    }
    expect(made).toBe(0)
    let read = 0
    for await (const _ of channel) {
      read++
      expect(made - read).toBeLessThanOrEqual(4)
    }
    expect([read, most]).toEqual([100, 4])
  })

  test('that is left early is cancelled', async () => {
    let cancels = 0
    const channel = new Channel({ onCancel: () => cancels++ })
    channel.writeAll([chunk('a'), chunk('b')])
    for await (const _ of channel) break
    channel.cancel()
    expect(cancels).toBe(1)
    expect(channel.buffered).toBe(0)
  })

  test('that somebody else cancels is no end for its reader', async () => {
    const reason = new Error('gone')
    for (const when of ['waiting', 'between']) {
      const channel = new Channel()
      const iterator = channel[Symbol.asyncIterator]()
      if (when === 'between') channel.cancel(reason)
      const next = iterator.next()
      if (when === 'waiting') channel.cancel(reason)
      await expect(next, when).rejects.toBe(reason)
      expect(await iterator.next()).toEqual({ done: true, value: undefined })
    }
    const channel = new Channel()
    const reading = iterate(channel)
    channel.cancel()
    expect(await reading).toEqual([expect.stringMatching(/cancelled/)])
  })

  test('can be returned while it waits', async () => {
    const channel = new Channel()
    const iterator = channel[Symbol.asyncIterator]()
    const next = iterator.next()
    await iterator.return!()
    expect(await next).toEqual({ done: true, value: undefined })
    expect(await iterator.next()).toEqual({ done: true, value: undefined })
  })

  test('has one reader: a second next before the first is settled is refused', async () => {
    const channel = new Channel()
    const iterator = channel[Symbol.asyncIterator]()
    const first = iterator.next()
    await expect(iterator.next()).rejects.toMatchObject({ code: 'BODY_USED' })
    channel.write(chunk('a'))
    expect((await first).value).toEqual(chunk('a'))
  })
})

describe('a channel', () => {
  test('is read once, one way or the other', () => {
    const sink = recorder()
    const ways = [(c: Channel) => c.pushTo(sink), (c: Channel) => c[Symbol.asyncIterator](), (c: Channel) => c.cancel()]
    for (const first of ways) {
      const channel = new Channel()
      expect(channel.used).toBe(false)
      first(channel)
      expect(channel.used).toBe(true)
      for (const second of ways.slice(0, 2)) expect(() => second(channel)).toThrow(expect.objectContaining({ code: 'BODY_USED' }))
    }
  })

  test('unread, says false at its mark and forgets everything when it is cancelled', () => {
    let cancels = 0
    const channel = new Channel({ highWaterMark: 3, onCancel: () => cancels++ })
    expect([channel.write(chunk('ab')), channel.write(chunk('')), channel.write(chunk('c'))]).toEqual([true, true, false])
    channel.cancel()
    channel.cancel()
    expect([channel.buffered, cancels, channel.write(chunk('d'))]).toEqual([0, 1, true])
  })

  test('that has ended tells no producer of a cancel', () => {
    let cancels = 0
    const channel = new Channel({ onCancel: () => cancels++ })
    channel.end()
    channel.cancel()
    expect(cancels).toBe(0)
  })

  test('gives the same bytes pushed and iterated, however they are cut and whenever the reader says false', async () => {
    const whole = 'abcdefghijkl'
    for (let cut = 1; cut <= whole.length; cut++) {
      for (const refusals of [0, 1, 3]) {
        const pieces = Array.from({ length: Math.ceil(whole.length / cut) }, (_, i) => chunk(whole.slice(i * cut, (i + 1) * cut)))
        const feed = async (channel: Channel): Promise<void> => {
          for (const [i, piece] of pieces.entries()) {
            if (i % 2 === 0) channel.write(piece)
            else channel.writeAll([piece])
            if (i % 3 === 0) await turn()
          }
          channel.end()
        }
        const iterated = new Channel({ highWaterMark: 2 })
        const reading = iterate(iterated)
        await feed(iterated)
        expect((await reading).join(''), `iterated, cut by ${cut}`).toBe(`${whole}end`)

        const pushed = new Channel({ highWaterMark: 2 })
        let got = ''
        let refused = 0
        await new Promise<void>((resolve, reject) => {
          const take = (bytes: Uint8Array): boolean => {
            got += Buffer.from(bytes).toString()
            if (refused++ >= refusals) return true
            setImmediate(() => lane.resume())
            return false
          }
          const lane = pushed.pushTo({ write: take, writeAll: (all) => all.map(take).every(Boolean), end: resolve, fail: reject })
          feed(pushed).catch(reject)
        })
        expect(got, `pushed, cut by ${cut}, ${refusals} refusals`).toBe(whole)
      }
    }
  })
})

/** Each is a part of a read of its own. */
const pieces = (count: number, size: number): Uint8Array[] =>
  Array.from({ length: count }, (_, i) => new Uint8Array(4096).fill(i & 0xff).subarray(0, size))

describe('what waits in a channel', () => {
  test.each([
    ['single bytes', 20_000, 1],
    ['some bytes', 2000, 100],
    ['chunks that do not fit their block evenly', 1000, 2047],
  ])('takes memory for its length, not for its number of chunks: %s', async (_, count, size) => {
    const channel = new Channel()
    for (const [i, each] of pieces(count, size).entries()) {
      if (i % 3 === 0) channel.write(each)
      else channel.writeAll([each, new Uint8Array(0)])
    }
    expect(channel.buffered).toBe(count * size)
    channel.end()
    const got: Uint8Array[] = []
    for await (const each of channel) got.push(each)
    const buffers = new Set(got.map(({ buffer }) => buffer))
    expect([...buffers].reduce((sum, { byteLength }) => sum + byteLength, 0)).toBeLessThan(count * size * 1.2 + 8 * 4096 + 16_384)
    expect(Buffer.concat(got).equals(Buffer.concat(pieces(count, size)))).toBe(true)
  })

  test('stays what it was while it is taken and more comes', async () => {
    const channel = new Channel()
    let sent = 0
    const more = (): void => {
      for (let i = 0; i < 40; i++) channel.write(new Uint8Array(1 + (sent % 700)).fill(sent++ & 0xff))
    }
    more()
    const got: Uint8Array[] = []
    for await (const each of channel) {
      got.push(each)
      if (sent < 2000 && got.length % 5 === 0) more()
      else if (sent >= 2000) channel.end()
    }
    const whole = Array.from({ length: sent }, (_, i) => new Uint8Array(1 + (i % 700)).fill(i & 0xff))
    expect(Buffer.concat(got).equals(Buffer.concat(whole))).toBe(true)
  })
})
