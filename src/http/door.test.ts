import { describe, expect, test } from 'vitest'
import { bodyOf, door, fieldOf, later, raw, statusOf, talk, when } from '../../test/http-raw.ts'
import { Channel, GatewayError, streamOf, text } from '../core/index.ts'
import type { Application, GatewayRequest, Outcome } from '../core/index.ts'
import { serveHttp } from './index.ts'

const GET = 'GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n'
const KEPT = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

describe('an application that fails', () => {
  test.each<[string, () => never, number, string | undefined]>([
    [
      'with any error',
      () => {
        throw new Error('secret detail')
      },
      500,
      undefined,
    ],
    [
      'with a GatewayError',
      () => {
        throw new GatewayError('QUEUE_FULL', { status: 503, message: 'secret detail', retryAfter: 2.5 })
      },
      503,
      '3',
    ],
    [
      'with what is no error',
      () => {
        throw 'secret detail'
      },
      500,
      undefined,
    ],
    [
      'with a status that is none',
      () => {
        throw new GatewayError('CONTRACT', { status: 200, message: 'secret detail' })
      },
      500,
      undefined,
    ],
  ])('%s says its status, in an empty answer, and the rest to the log', async (_, fail, status, retryAfter) => {
    for (const application of [fail, async () => fail()] as Application[]) {
      const outcome = later<Outcome>()
      await using open = await door((request) => {
        request.onFinish(outcome.resolve)
        return application(request)
      })
      const wire = await talk(open.address, GET)
      expect(statusOf(wire)).toBe(status)
      expect(bodyOf(wire)).toBe('')
      expect(fieldOf(wire, 'Content-Length')).toBe('0')
      expect(fieldOf(wire, 'Retry-After')).toBe(retryAfter)
      expect(wire).not.toContain('secret')
      expect(open.lines.join()).toContain('secret detail')
      expect(await outcome.promise).toMatchObject({ kind: 'failed', status })
    }
  })

  test('does not cost the connection', async () => {
    let calls = 0
    await using open = await door(() => {
      if (calls++ === 0) throw new Error('once')
      return text(200, 'again')
    })
    const wire = await talk(open.address, KEPT + GET)
    expect(statusOf(wire)).toBe(500)
    expect(wire).toMatch(/again$/)
  })
})

describe('request.errors', () => {
  test('goes to the log', async () => {
    await using open = await door((request) => {
      request.errors.write('Warning: something\n')
      return text(200, '')
    })
    await talk(open.address, GET)
    expect(open.lines).toEqual(['warn Warning: something'])
  })
})

describe('onFinish', () => {
  test('is called once, also when it is asked for too late', async () => {
    const outcomes: Outcome[] = []
    let request: GatewayRequest | undefined
    await using open = await door((each) => {
      request = each
      each.onFinish((outcome) => outcomes.push(outcome))
      each.onFinish((outcome) => outcomes.push(outcome))
      return text(201, 'abc')
    })
    await talk(open.address, GET)
    await when(() => outcomes.length === 2)
    expect(outcomes[0]).toEqual({ kind: 'sent', status: 201, bytes: 3 })
    request?.onFinish((outcome) => outcomes.push(outcome))
    expect(outcomes).toHaveLength(3)
    expect(request?.signal.aborted).toBe(false)
  })

  test('hears that the client left before it was answered, and the answer that comes later is discarded', async () => {
    const outcome = later<Outcome>()
    const cancelled = later<unknown>()
    const entered = later<GatewayRequest>()
    const go = later<void>()
    await using open = await door(async (request) => {
      request.onFinish(outcome.resolve)
      entered.resolve(request)
      await go.promise
      return { status: 200, headers: [], body: new Channel({ onCancel: () => cancelled.resolve(undefined) }) }
    })
    await using client = await raw(open.address, KEPT)
    const request = await entered.promise
    const { signal } = request
    expect(signal.aborted).toBe(false)
    client.socket.destroy()
    expect(await outcome.promise).toMatchObject({ kind: 'cut', status: 0, bytes: 0 })
    expect(signal.aborted).toBe(true)
    // An access log that is written now still knows who it was.
    expect(request.remote.address).toBe('127.0.0.1')
    go.resolve()
    await cancelled.promise
  })

  test('hears of it also for requests that wait behind another one', async () => {
    const outcomes: string[] = []
    await using open = await door((request) => {
      request.onFinish((outcome) => outcomes.push(`${request.pathInfo} ${outcome.kind}`))
      return new Promise(() => {})
    })
    await using client = await raw(open.address, KEPT + KEPT)
    await new Promise((resolve) => setTimeout(resolve, 20))
    client.socket.destroy()
    await when(() => outcomes.length > 0)
    // The second one was never begun, so nobody was to hear of it.
    expect(outcomes).toEqual(['/ cut'])
  })

  test('calls a large answer cut when the client leaves it in the middle', async () => {
    const outcome = later<Outcome>()
    await using open = await door((request) => {
      request.onFinish(outcome.resolve)
      return { status: 200, headers: [], body: Buffer.alloc(50_000_000) }
    })
    await using client = await raw(open.address, KEPT)
    await client.until('\r\n\r\n')
    client.socket.resetAndDestroy()
    expect(await outcome.promise).toMatchObject({ kind: 'cut', status: 200 })
  })
})

describe('deadlines', () => {
  test('a kept connection without a request is closed', async () => {
    await using open = await door(() => text(200, 'ok'), { limits: { idleTimeout: 60 } })
    await using client = await raw(open.address, KEPT)
    const begin = Date.now()
    expect(await client.closed).toContain('ok')
    expect(Date.now() - begin).toBeGreaterThan(50)
    expect(client.reset).toBe(false)
  })

  test('a connection that never had one too, where heads have no deadline', async () => {
    await using open = await door(() => text(200, 'ok'), { limits: { idleTimeout: 60, headersTimeout: 0 } })
    await using client = await raw(open.address)
    expect(await client.closed).toBe('')
  })

  test('a connection with a request that takes its time is not', async () => {
    await using open = await door(
      async () => {
        await new Promise((resolve) => setTimeout(resolve, 300))
        return text(200, 'ok')
      },
      { limits: { idleTimeout: 40, bodyTimeout: 40, headersTimeout: 40, drainTimeout: 40, writeTimeout: 40 } },
    )
    expect(statusOf(await talk(open.address, GET))).toBe(200)
  })

  test.each<[string, Application]>([
    ['a value', () => ({ status: 200, headers: [], body: Buffer.alloc(50_000_000) })],
    ['a stream', () => ({ status: 200, headers: [], body: streamOf(endless()) })],
  ])('a client that takes nothing of %s is cut', async (_, application) => {
    const outcome = later<Outcome>()
    await using open = await door(
      (request) => {
        request.onFinish(outcome.resolve)
        return application(request)
      },
      { limits: { writeTimeout: 150 } },
    )
    await using client = await raw(open.address)
    client.socket.pause()
    client.send(KEPT)
    expect(await outcome.promise).toMatchObject({ kind: 'cut', status: 200 })
  })

  test('a stream that has nothing to say for a while is not', async () => {
    const channel = new Channel()
    await using open = await door(() => ({ status: 200, headers: [], body: channel }), { limits: { writeTimeout: 500 } })
    await using client = await raw(open.address, GET)
    // Enough that the connection was full once, so that its timer runs.
    for (let i = 0; i < 100; i++) channel.write(Buffer.alloc(100_000, 120))
    await new Promise((resolve) => setTimeout(resolve, 1500))
    channel.write(Buffer.from('late'))
    channel.end()
    expect((await client.closed).slice(-11)).toBe('late\r\n0\r\n\r\n')
  })
})

async function* endless(): AsyncGenerator<Uint8Array> {
  for (;;) yield Buffer.alloc(100_000)
}

describe('numbers', () => {
  test('the answer to the last request of a connection says so', async () => {
    await using open = await door(() => text(200, 'ok'), { limits: { requestsPerConnection: 2 } })
    const wire = await talk(open.address, KEPT + KEPT + KEPT)
    expect(wire.match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    expect(wire.match(/Connection: (\S+)/g)).toEqual(['Connection: keep-alive', 'Connection: close'])
  })

  test('one connection more than there may be is closed at once, and the others go on', async () => {
    await using open = await door(() => text(200, 'ok'), { limits: { connections: 1 } })
    await using first = await raw(open.address, KEPT)
    await first.until('ok')
    await using second = await raw(open.address)
    expect(await second.closed).toBe('')
    first.send(KEPT)
    await first.until(/ok[^]*ok/)
    await when(() => open.lines.join().includes('limits.connections = 1 is reached, 1 were refused'))
  })

  test.each([
    ['a negative one', { body: -1 }],
    ['half a byte', { headerBytes: 0.5 }],
    ['no header bytes', { headerBytes: 0 }],
    ['an unknown name', { bodySize: 1 } as object],
  ])('%s as a limit is refused', async (_, limits) => {
    await expect(serveHttp(() => text(200, ''), { limits })).rejects.toMatchObject({ code: 'CONFIG' })
  })
})

describe('HTTP/1.0', () => {
  test('is kept only where it asks for it', async () => {
    await using open = await door(() => text(200, 'ok'))
    await using client = await raw(open.address, 'GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n')
    expect(fieldOf(await client.until('ok'), 'Connection')).toBe('keep-alive')
    client.send('GET / HTTP/1.0\r\n\r\n')
    expect((await client.closed).match(/ok/g)).toHaveLength(2)
  })
})

describe('swap', () => {
  test('gives the new application to requests from now on, and leaves those that run alone', async () => {
    const go = later<void>()
    await using open = await door(async () => {
      await go.promise
      return text(200, 'old')
    })
    await using first = await raw(open.address, GET)
    await when(() => first.socket.bytesWritten === GET.length)
    await new Promise((resolve) => setTimeout(resolve, 20))
    open.server.swap(() => text(200, 'new'))
    expect(bodyOf(await talk(open.address, GET))).toBe('new')
    go.resolve()
    expect(bodyOf(await first.closed)).toBe('old')
  })
})

describe('close', () => {
  test('lets what runs end, says that the connection ends, and accepts nothing new', async () => {
    const entered = later<void>()
    const go = later<void>()
    await using open = await door(async () => {
      entered.resolve()
      await go.promise
      return text(200, 'done')
    })
    await using client = await raw(open.address, KEPT)
    await entered.promise
    const closing = open.server.close(5000)
    await expect(raw(open.address)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
    go.resolve()
    const wire = await client.closed
    expect(bodyOf(wire)).toBe('done')
    expect(fieldOf(wire, 'Connection')).toBe('close')
    await closing
  })

  test('ends kept connections that wait for nothing, and one whose answer had begun after that answer', async () => {
    const channel = new Channel()
    await using open = await door((request) => (request.pathInfo === '/s' ? { status: 200, headers: [], body: channel } : text(200, 'ok')))
    await using idle = await raw(open.address, KEPT)
    await idle.until('ok')
    await using busy = await raw(open.address, 'GET /s HTTP/1.1\r\nHost: a\r\n\r\n')
    await busy.until('\r\n\r\n')
    const closing = open.server.close(5000)
    await idle.closed
    expect(idle.reset).toBe(false)
    channel.write(Buffer.from('end'))
    channel.end()
    expect(await busy.closed).toMatch(/3\r\nend\r\n0\r\n\r\n$/)
    await closing
  })

  test('answers a request whose head had begun to come', async () => {
    await using open = await door(() => text(200, 'ok'))
    await using client = await raw(open.address, KEPT)
    await client.until('ok')
    client.send('GET / HTTP/1.1\r\nHo')
    await new Promise((resolve) => setTimeout(resolve, 30))
    const closing = open.server.close(5000)
    client.send('st: a\r\n\r\n')
    expect((await client.closed).match(/HTTP\/1\.1 200/g)).toHaveLength(2)
    await closing
  })

  test('does not wait long for a connection that never said anything', async () => {
    await using open = await door(() => text(200, 'ok'))
    await using client = await raw(open.address)
    const begin = Date.now()
    await open.server.close(20_000)
    expect(Date.now() - begin).toBeLessThan(10_000)
    expect(await client.closed).toBe('')
  })

  test('cuts what is left after the grace, and its requests hear of it', async () => {
    const outcome = later<Outcome>()
    const entered = later<AbortSignal>()
    await using open = await door((request) => {
      request.onFinish(outcome.resolve)
      entered.resolve(request.signal)
      return new Promise(() => {})
    })
    await using client = await raw(open.address, KEPT)
    const signal = await entered.promise
    await open.server.close(50)
    expect(await outcome.promise).toMatchObject({ kind: 'cut' })
    expect(signal.aborted).toBe(true)
    await client.closed
  })

  test('waits for work after the response, up to the grace', async () => {
    const work = later<void>()
    let done = false
    await using open = await door((request) => {
      request.waitUntil(
        work.promise.then(() => {
          done = true
        }),
      )
      request.waitUntil(Promise.reject(new Error('lost work')))
      return text(200, 'ok')
    })
    await talk(open.address, GET)
    const closing = open.server.close(5000)
    setTimeout(() => work.resolve(), 50)
    await closing
    expect(done).toBe(true)
    expect(open.lines.join()).toContain('lost work')

    await using stuck = await door((request) => {
      request.waitUntil(new Promise(() => {}))
      return text(200, 'ok')
    })
    await talk(stuck.address, GET)
    const begin = Date.now()
    await stuck.server.close(50)
    expect(Date.now() - begin).toBeLessThan(3000)
    expect(stuck.lines.join()).toContain('work after responses still ran')
  })

  test('is idempotent, and does not close the application', async () => {
    let closed = 0
    const application: Application = Object.assign(() => text(200, 'ok'), { close: () => closed++ })
    const server = await serveHttp(application)
    await Promise.all([server.close(), server.close(), server[Symbol.asyncDispose]()])
    await server.close()
    expect(closed).toBe(0)
  })
})
