import { once } from 'node:events'
import { createServer } from 'node:http'
import { describe, expect, test } from 'vitest'
import { WebSocket, WebSocketServer } from 'ws'
import { mount, type Application, type Server } from '../core/index.ts'
import { fromNode, serveHttp } from './index.ts'

const silent = { debug() {}, info() {}, warn() {}, error() {} }

interface Open {
  readonly server: Server
  readonly sockets: WebSocketServer
  connect(path?: string): WebSocket
  [Symbol.asyncDispose](): Promise<void>
}

/** A Node server with `ws`, behind our door. */
async function open(wrap: (application: Application) => Application = (application) => application): Promise<Open> {
  const node = createServer((_, res) => void res.end('plain'))
  const sockets = new WebSocketServer({ server: node, path: '/chat' })
  const server = await serveHttp(wrap(fromNode(node)), { upgrade: true, log: silent })
  const port = 'port' in server.address ? server.address.port : 0
  return {
    server,
    sockets,
    connect: (path = '/chat') => new WebSocket(`ws://127.0.0.1:${port}${path}`, { perMessageDeflate: false }),
    async [Symbol.asyncDispose]() {
      for (const each of sockets.clients) each.terminate()
      await server.close(1000)
    },
  }
}

describe('ws behind fromNode', () => {
  test('echoes text and bytes, and tells who is there', async () => {
    await using of = await open()
    of.sockets.on('connection', (socket, request) => {
      socket.send(`${request.socket.remoteAddress} ${request.url}`)
      socket.on('message', (data, binary) => socket.send(data, { binary }))
    })
    const client = of.connect()
    const [hello] = (await once(client, 'message')) as [Buffer]
    expect(hello.toString()).toBe('127.0.0.1 /chat')
    client.send('é')
    expect(String(((await once(client, 'message')) as [Buffer])[0])).toBe('é')
    client.send(Buffer.alloc(1_000_000, 7))
    const [large, binary] = (await once(client, 'message')) as [Buffer, boolean]
    expect([large.equals(Buffer.alloc(1_000_000, 7)), binary]).toEqual([true, true])
    client.close()
    await once(client, 'close')
  })

  test('passes close codes both ways', async () => {
    await using of = await open()
    const seen: number[] = []
    of.sockets.on('connection', (socket) => {
      socket.on('close', (code) => seen.push(code))
      socket.on('message', () => socket.close(4001, 'enough'))
    })
    const first = of.connect()
    await once(first, 'open')
    first.close(4000)
    await once(first, 'close')
    const second = of.connect()
    await once(second, 'open')
    second.send('x')
    const [code, reason] = (await once(second, 'close')) as [number, Buffer]
    expect([code, reason.toString()]).toEqual([4001, 'enough'])
    await expect.poll(() => seen).toEqual([4000, 4001])
  })

  test('is stopped by a client that does not read', async () => {
    await using of = await open()
    let sent = 0
    of.sockets.on('connection', (socket) => {
      const more = (): void => {
        if (sent === 200) return
        sent++
        socket.send(Buffer.alloc(262_144), () => more())
      }
      more()
    })
    const client = of.connect()
    await once(client, 'open')
    client.pause()
    await new Promise((resolve) => setTimeout(resolve, 200))
    expect(sent).toBeLessThan(150)
    let received = 0
    client.on('message', () => received++)
    client.resume()
    await expect.poll(() => received, { timeout: 10_000 }).toBe(200)
  })

  test('refuses what it does not take, and plain requests go on', async () => {
    await using of = await open()
    const refused = of.connect('/other')
    const [error] = (await once(refused, 'error')) as [Error]
    expect(error.message).toContain('400')
    const port = 'port' in of.server.address ? of.server.address.port : 0
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('plain')
  })

  test('works below a mount point', async () => {
    await using of = await open((application) => mount({ '/sub': application }))
    of.sockets.on('connection', (socket, request) => socket.send(String(request.url)))
    const client = of.connect('/sub/chat')
    expect(String(((await once(client, 'message')) as [Buffer])[0])).toBe('/chat')
    client.close()
    await once(client, 'close')
  })

  test('hears that its client is gone', async () => {
    await using of = await open()
    const closed = new Promise((resolve) => of.sockets.on('connection', (socket) => socket.on('close', resolve)))
    const client = of.connect()
    await once(client, 'open')
    client.terminate()
    expect(await closed).toBe(1006)
  })

  test('keeps the door open for its grace, and is cut then', async () => {
    await using of = await open()
    const client = of.connect()
    await once(client, 'open')
    const closed = once(client, 'close')
    await of.server.close(100)
    expect(((await closed) as [number])[0]).toBe(1006)
  })
})
