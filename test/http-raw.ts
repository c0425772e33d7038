// A client made of bytes, for tests whose point is what goes over the wire.

import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { serveHttp } from '../src/http/index.ts'
import type { HttpOptions } from '../src/http/index.ts'
import type { Address, Application, Log, Server } from '../src/core/index.ts'

export interface TestDoor extends AsyncDisposable {
  readonly address: Address
  readonly server: Server
  /** What it logged: `level message`. */
  readonly lines: string[]
}

/** A door on a free port that logs into a list, and that does not wait for anything when the test is over. */
export async function door(application: Application, options: HttpOptions = {}): Promise<TestDoor> {
  const lines: string[] = []
  const line =
    (level: string) =>
    (_: object, message: string): void => {
      lines.push(`${level} ${message}`)
    }
  const log: Log = { debug: line('debug'), info: line('info'), warn: line('warn'), error: line('error') }
  const server = await serveHttp(application, { log, ...options })
  return { address: server.address, server, lines, [Symbol.asyncDispose]: () => server.close(0) }
}

export interface RawClient extends AsyncDisposable {
  readonly socket: Socket
  /** Everything that came so far, a char a byte. */
  readonly received: string
  send(text: string | Uint8Array): void
  /** Resolves with everything that came, once it holds `needle`; rejects after 10 s, or when the connection ends without it. */
  until(needle: string | RegExp): Promise<string>
  /** Resolves with everything that came, once the connection is over, however it ended. */
  readonly closed: Promise<string>
  /** Whether it ended with a reset. */
  readonly reset: boolean
}

/** Connects, and sends `text` at once. */
export async function raw(address: Address, text: string = ''): Promise<RawClient> {
  const socket = 'path' in address ? connect(address.path) : connect(address.port, address.host)
  let received = ''
  let reset = false
  let over = false
  const waiting = new Set<() => void>()
  const tell = (): void => {
    for (const each of waiting) each()
  }
  socket.on('data', (chunk: Buffer) => {
    received += chunk.toString('latin1')
    tell()
  })
  socket.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'ECONNRESET' || error.code === 'EPIPE') reset = true
  })
  const closed = new Promise<string>((resolve) => {
    socket.on('close', () => {
      over = true
      tell()
      resolve(received)
    })
  })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', reject)
  })
  if (text !== '') socket.write(text, 'latin1')
  return {
    socket,
    closed,
    get received() {
      return received
    },
    get reset() {
      return reset
    },
    send(bytes) {
      if (typeof bytes === 'string') socket.write(bytes, 'latin1')
      else socket.write(bytes)
    },
    until(needle) {
      return new Promise((resolve, reject) => {
        const timer = setTimeout(
          () => settle(new Error(`no ${String(needle)} within 10 s, but ${JSON.stringify(received.slice(0, 500))}`)),
          10_000,
        )
        const settle = (error?: Error): void => {
          clearTimeout(timer)
          waiting.delete(look)
          if (error === undefined) resolve(received)
          else reject(error)
        }
        const look = (): void => {
          if (typeof needle === 'string' ? received.includes(needle) : needle.test(received)) settle()
          else if (over) settle(new Error(`closed without ${String(needle)}, after ${JSON.stringify(received.slice(0, 500))}`))
        }
        waiting.add(look)
        look()
      })
    },
    async [Symbol.asyncDispose]() {
      socket.destroy()
      await closed
    },
  }
}

/** One connection, one exchange: all that the server sends until it closes. */
export async function talk(address: Address, text: string): Promise<string> {
  const client = await raw(address, text)
  const timer = setTimeout(() => client.socket.destroy(new Error('the server did not close within 10 s')), 10_000)
  const all = await client.closed
  clearTimeout(timer)
  return all
}

/** A promise and the means to settle it. */
export function later<T>(): { readonly promise: Promise<T>; readonly resolve: (value: T) => void } {
  let settle!: (value: T) => void
  const promise = new Promise<T>((resolve) => {
    settle = resolve
  })
  return { promise, resolve: settle }
}

/** Waits until it is true, for what has no event. */
export async function when(condition: () => boolean, milliseconds: number = 10_000): Promise<void> {
  const end = Date.now() + milliseconds
  while (!condition()) {
    if (Date.now() > end) throw new Error(`it did not become true within ${milliseconds} ms: ${String(condition)}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

/** Waits until a number stays what it is for a moment. */
export async function steady(value: () => number): Promise<number> {
  let last = Number.NaN
  while (value() !== last) {
    last = value()
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
  return last
}

/** The status of the first response in it. */
export function statusOf(wire: string): number {
  return Number(/^HTTP\/1\.1 (\d{3}) /.exec(wire)?.[1] ?? 0)
}

/** What comes behind the first head. */
export function bodyOf(wire: string): string {
  const end = wire.indexOf('\r\n\r\n')
  return end === -1 ? '' : wire.slice(end + 4)
}

/** The value of a field of the first head, or undefined. */
export function fieldOf(wire: string, name: string): string | undefined {
  const head = wire.slice(0, wire.indexOf('\r\n\r\n'))
  return new RegExp(`^${name}: *(.*)$`, 'im').exec(head)?.[1]?.trim()
}
