// A FastCGI application made of steps on a real socket: what a hostile, hurried or dying peer does, in the order it does it.

import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { PairDecoder, RecordDecoder, Type } from '../src/fastcgi/index.ts'

/** A request as the application saw it. */
interface SeenRequest {
  id: number
  role: number
  keep: boolean
  variables: Map<string, string>
  stdin: Buffer
  /** The number of the connection it came on, from 0. */
  connection: number
}

interface Peer {
  readonly socket: Socket
  /** Resolves once the parameters (and STDIN) of the next request are here. */
  next(withStdin: boolean): Promise<SeenRequest>
  /** Resolves when the other side has closed. */
  readonly closed: Promise<void>
}

export type Step = (peer: Peer) => void | Promise<void>

/** Waits for a whole request. */
export const expectRequest = (): Step => async (peer) => void (await peer.next(true))
/** Waits for the parameters only: STDIN may be on its way. */
export const expectParams = (): Step => async (peer) => void (await peer.next(false))
/** Each argument is one write; those after the first leave later, so that they arrive apart. */
export const send =
  (...parts: readonly Uint8Array[]): Step =>
  async (peer) => {
    for (const part of parts) {
      await new Promise<void>((resolve) => peer.socket.write(part, () => setImmediate(resolve)))
    }
  }
/** Closes in an orderly way. */
export const close = (): Step => (peer) => void peer.socket.end()
/** Closes with a reset, where the transport has one. */
export const reset = (): Step => (peer) => void peer.socket.resetAndDestroy()
/** Waits for something that the test decides. */
export const until =
  (event: Promise<unknown>): Step =>
  async () =>
    void (await event)
/** Waits until the other side has closed. */
export const expectClose = (): Step => (peer) => peer.closed
/** Reads no more, so that the other side cannot write for ever. */
export const stopReading = (): Step => (peer) => void peer.socket.pause()

/** Something that the test lets happen: `until(gate.open)` in the steps, `gate.pass()` in the test. */
export function gate(): { readonly open: Promise<void>; pass(): void } {
  let pass!: () => void
  const open = new Promise<void>((resolve) => {
    pass = resolve
  })
  return { open, pass }
}

/** Resolves with a number that no longer grows: for what must stop by itself. */
export async function standing(value: () => number): Promise<number> {
  for (let last = -1, calm = 0; ;) {
    const now = value()
    calm = now === last ? calm + 1 : 0
    if (calm === 4) return now
    last = now
    await new Promise((resolve) => setTimeout(resolve, 20))
  }
}

export interface Scripted extends AsyncDisposable {
  readonly address: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly requests: SeenRequest[]
  /** Connections so far. */
  readonly connections: number
  /** Resolves when the steps of every connection so far are done. */
  done(): Promise<void>
}

/** One list of steps a connection; those after the last get the last again. `tcp` in place of a unix socket. */
export async function scripted(...scripts: (readonly Step[] | 'tcp')[]): Promise<Scripted> {
  const lists = scripts.filter((each) => each !== 'tcp')
  const folder = await mkdtemp(join(tmpdir(), 'viaduct-scripted-'))
  const requests: SeenRequest[] = []
  const running: Promise<void>[] = []
  const sockets = new Set<Socket>()
  const server = createServer({ allowHalfOpen: true }, (socket) => {
    sockets.add(socket)
    const peer = makePeer(socket, requests, running.length)
    const steps = lists[Math.min(running.length, lists.length - 1)] ?? []
    const run = async (): Promise<void> => {
      for (const step of steps) await step(peer)
    }
    // The other side may leave in the middle of a script: the test sees that from its own side.
    running.push(run().catch(() => {}))
  })
  const tcp = scripts.includes('tcp')
  const path = join(folder, 'peer.sock')
  await new Promise<void>((resolve) => {
    if (tcp) server.listen(0, '127.0.0.1', resolve)
    else server.listen(path, resolve)
  })
  const bound = server.address()
  return {
    address: typeof bound === 'object' && bound !== null ? { host: '127.0.0.1', port: bound.port } : { path },
    requests,
    get connections() {
      return running.length
    },
    done: async () => void (await Promise.all(running)),
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
      await rm(folder, { recursive: true, force: true })
    },
  }
}

function makePeer(socket: Socket, requests: SeenRequest[], connection: number): Peer {
  let current: SeenRequest | undefined
  let pairs = new PairDecoder()
  const arrived = { params: 0, stdin: 0 }
  const taken = { params: 0, stdin: 0 }
  const waiting: { withStdin: boolean; resolve: () => void; reject: (error: Error) => void }[] = []
  const check = (): void => {
    const first = waiting[0]
    if (first === undefined) return
    const ready = first.withStdin ? arrived.stdin > taken.stdin : arrived.params > taken.params
    if (!ready) return
    waiting.shift()
    taken.params++
    taken.stdin++
    first.resolve()
  }
  const decoder = new RecordDecoder({
    data(type, _id, bytes, start, end) {
      if (type === Type.Params) pairs.push(bytes, start, end)
      else if (type === Type.Stdin && current !== undefined) current.stdin = Buffer.concat([current.stdin, bytes.subarray(start, end)])
    },
    end(type) {
      if (type === Type.Params && current !== undefined) {
        const list = pairs.end()
        for (let i = 0; i < list.length; i += 2) current.variables.set(list[i]!, list[i + 1]!)
        arrived.params++
      } else if (type === Type.Stdin) arrived.stdin++
      check()
    },
    record(type, id, bytes, start) {
      if (type !== Type.BeginRequest) return
      pairs = new PairDecoder()
      const keep = (bytes[start + 2]! & 1) === 1
      current = { id, role: (bytes[start]! << 8) | bytes[start + 1]!, keep, variables: new Map(), stdin: Buffer.alloc(0), connection }
      requests.push(current)
    },
  })
  socket.on('data', (bytes: Buffer) => decoder.push(bytes))
  // A reset by the other side is what some tests are about.
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => {
    socket.on('end', () => resolve())
    socket.on('close', () => resolve())
  })
  void closed.then(() => {
    for (const each of waiting) each.reject(new Error('closed before a request came'))
  })
  return {
    socket,
    closed,
    next: (withStdin) =>
      new Promise((resolve, reject) => {
        waiting.push({ withStdin, resolve: () => resolve(current!), reject })
        check()
      }),
  }
}
