import { connect, createServer } from 'node:net'
import type { AddressInfo, Server, Socket } from 'node:net'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { Doorkeeper, logFailure } from './doorkeeper.ts'
import { GatewayError } from './errors.ts'
import type { Log } from './types.ts'

const lines: { level: string; fields: object; message: string }[] = []
const log: Log = Object.fromEntries(
  ['debug', 'info', 'warn', 'error'].map((level) => [
    level,
    (fields: object, message: string) => void lines.push({ level, fields, message }),
  ]),
) as unknown as Log

const open: { server: Server; sockets: Set<Socket> }[] = []
afterEach(() => {
  lines.length = 0
  for (const { server, sockets } of open.splice(0)) {
    for (const socket of sockets) socket.destroy()
    server.close()
  }
})

async function listen(keeper: Doorkeeper): Promise<{ server: Server; sockets: Set<Socket>; client: () => Promise<Socket> }> {
  const sockets = new Set<Socket>()
  const server = createServer((socket) => {
    sockets.add(socket)
    socket.on('close', () => sockets.delete(socket)).on('error', () => {})
  })
  keeper.limit(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  keeper.opened(server)
  open.push({ server, sockets })
  const client = async (): Promise<Socket> => {
    const socket = connect((server.address() as AddressInfo).port, '127.0.0.1').on('error', () => {})
    await once(socket, 'connect')
    return socket
  }
  return { server, sockets, client }
}

const stop = (server: Server): Promise<void> => new Promise((resolve) => server.close(() => resolve()))
const pending = (): { work: Promise<void>; end: () => void } => {
  let end!: () => void
  return { work: new Promise<void>((resolve) => (end = resolve)), end }
}

const turns = async (): Promise<void> => {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

describe('a door that is full', () => {
  test('says so once a sweep, with the number', async () => {
    const keeper = new Doorkeeper('test', 1, log)
    const { server, client } = await listen(keeper)
    await client()
    for (let i = 0; i < 3; i++) {
      const dropped = once(server, 'drop')
      await client()
      await dropped
    }
    keeper.sweep()
    keeper.sweep()
    expect(lines).toEqual([{ level: 'warn', fields: { refused: 3 }, message: 'test: limits.connections = 1 is reached, 3 were refused' }])
  })

  test('is never full without a limit', async () => {
    const { server } = await listen(new Doorkeeper('test', 0, log))
    expect(server.maxConnections).toBe(undefined)
  })

  test('lives on when its listening socket fails', async () => {
    const { server } = await listen(new Doorkeeper('test', 1, log))
    server.emit('error', new Error('EMFILE'))
    expect(lines).toEqual([{ level: 'error', fields: {}, message: 'test: the listening socket: EMFILE' }])
  })
})

describe('a door that closes', () => {
  test('looks at its connections until they are gone', async () => {
    const keeper = new Doorkeeper('test', 0, log)
    const { server, sockets, client } = await listen(keeper)
    await client()
    await expect.poll(() => sockets.size).toBe(1)
    let looks = 0
    const begin = performance.now()
    await keeper.drain(60_000, stop(server), (now) => {
      expect(now).toBeGreaterThanOrEqual(begin)
      expect(now).toBeLessThan(begin + 60_000)
      if (++looks === 3) for (const socket of sockets) socket.destroy()
    })
    expect({ looks, left: [...sockets].filter((socket) => !socket.destroyed) }).toEqual({ looks: 3, left: [] })
  })

  test.each([0, 30])('with a grace of %i ms stays no longer, whoever stays', async (grace) => {
    const keeper = new Doorkeeper('test', 0, log)
    const { server, sockets, client } = await listen(keeper)
    await client()
    await expect.poll(() => sockets.size).toBe(1)
    const looks: number[] = []
    const begin = performance.now()
    await keeper.drain(grace, stop(server), (now) => looks.push(now))
    expect(performance.now() - begin).toBeGreaterThanOrEqual(grace - 1)
    expect(looks[0] === Number.POSITIVE_INFINITY).toBe(grace === 0)
    expect(sockets.size).toBe(1)
  })

  test('waits for work that goes on, also for work that came later, and tells what fails of it', async () => {
    const keeper = new Doorkeeper('test', 0, log)
    const [first, second] = [pending(), pending()]
    keeper.track(first.work)
    keeper.track(Promise.reject(new Error('the mail was not sent')))
    let over = false
    const drained = keeper.drain(60_000, Promise.resolve(), () => {}).then(() => (over = true))
    await turns()
    keeper.track(second.work)
    first.end()
    await turns()
    expect(over).toBe(false)
    second.end()
    await drained
    expect(lines).toEqual([{ level: 'error', fields: {}, message: 'test: work after a response failed: the mail was not sent' }])
  })

  test('says that work was left', async () => {
    const keeper = new Doorkeeper('test', 0, log)
    const { work, end } = pending()
    keeper.track(work)
    await keeper.drain(10, Promise.resolve(), () => {})
    expect(lines).toEqual([{ level: 'warn', fields: { count: 1 }, message: 'test: closed while work after responses still ran' }])
    end()
  })
})

test.each<[string, unknown, number, string, string]>([
  ['an answer that broke off', new Error('gone'), 0, 'error', 'test: an answer broke off: gone'],
  ['what the client did', new GatewayError('BAD_REQUEST', { status: 400, message: 'core: no' }), 400, 'debug', 'core: no'],
  ['what has words of its own', new GatewayError('TIMEOUT', { status: 504, message: 'php: slow' }), 504, 'error', 'php: slow'],
  ['a mistake of the application', new TypeError('x is undefined'), 500, 'error', 'test: the application failed: x is undefined'],
  ['what was thrown and is no error', 'words', 500, 'error', 'test: the application failed: words'],
])('the log is told of %s', (_, error, status, level, message) => {
  logFailure(log, 'test', { method: 'GET' }, error, status)
  expect(lines).toMatchObject([{ level, message, fields: { method: 'GET', status } }])
  expect('stack' in lines[0]!.fields).toBe(status === 500)
})
