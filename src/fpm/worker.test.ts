import { createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import { Type, endRequest, record } from '../fastcgi/index.ts'
import type { Exchange } from './exchange.ts'
import { Link } from './link.ts'
import { Worker } from './worker.ts'

/** A connection's two ends. */
async function pair(): Promise<[Link, Socket, () => void]> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const ours = new Link({ port: (server.address() as AddressInfo).port, host: '127.0.0.1' })
  const theirs = await accepted
  theirs.setNoDelay(true)
  theirs.on('error', () => {})
  const end = (): void => {
    ours.socket.destroy()
    theirs.destroy()
    server.close()
  }
  return [ours, theirs, end]
}

/** What reaches the web server, however it was cut: the relayed bytes, complaints, and how it ended. */
interface Heard {
  relayed: string
  stderr: string[]
  head: string
  ended: boolean
  broke: boolean
}

/** @param slow the web server takes nothing at once: chunks are read when all is over. Then pieces wait until what was before is relayed. */
async function answered(pieces: readonly Buffer[], slow: boolean = false): Promise<Heard> {
  const [ours, theirs, close] = await pair()
  const heard: Heard = { relayed: '', stderr: [], head: '', ended: false, broke: false }
  const { promise: done, resolve: over } = deferred()
  const chunks: Buffer[] = []
  const take = (chunk: Buffer, start: number, end: number): boolean => {
    if (slow) chunks.push(chunk.subarray(start, end))
    else heard.relayed += chunk.toString('latin1', start, end)
    return !slow
  }
  const exchange = {
    id: 1,
    headDone: false,
    takeHead: (chunk: Buffer, start: number, end: number) => (heard.head += chunk.toString('latin1', start, end)),
    relay: take,
    stderr: (text: string) => heard.stderr.push(text),
    pace: () => {},
    ending: () => {},
    finish: (chunk: Buffer, from: number, at: number) => {
      heard.ended = true
      return take(chunk, from, at + 16)
    },
  } as unknown as Exchange
  const crew = { pid: 0 }
  const worker = new Worker(
    { pid: 1, link: ours, crew: crew as never, holds: () => true },
    {
      finished: () => {},
      answered: () => over(),
      broke: () => {
        heard.broke = true
        over()
      },
    },
  )
  worker.send(exchange, '', null)
  try {
    for (const piece of pieces) {
      theirs.write(piece)
      if (slow) for (const before = chunks.length; chunks.length === before;) await new Promise((resolve) => setTimeout(resolve, 1))
      await new Promise((resolve) => setImmediate(resolve))
    }
    await done
    for (const chunk of chunks) heard.relayed += chunk.toString('latin1')
    return heard
  } finally {
    close()
  }
}

function deferred(): { readonly promise: Promise<void>; readonly resolve: () => void } {
  let resolve!: () => void
  const promise = new Promise<void>((settle) => (resolve = settle))
  return { promise, resolve }
}

const bytes = (text: string): Buffer => Buffer.from(text, 'latin1')
const HEAD = 'Content-type: text/plain\r\n\r\n'

describe('an answer on its way', () => {
  const reserved = bytes(endRequest(1, 0, 0))
  // What PHP leaves in the reserved bytes is nobody's business.
  reserved.write('abc', 13, 'latin1')
  const wire = Buffer.concat([
    bytes(record(Type.Stdout, 1, HEAD + 'one')),
    bytes(record(Type.Stderr, 1, 'oh no')),
    bytes(record(Type.Stdout, 1, 'two')),
    reserved,
  ])
  const expected = record(Type.Stdout, 1, HEAD + 'one') + record(Type.Stdout, 1, 'two') + endRequest(1, 0, 0)

  test('is the same however its bytes are cut, without STDERR and what was in memory', async () => {
    for (let cut = 0; cut <= wire.length; cut += 1) {
      const heard = await answered(
        [wire.subarray(0, cut), wire.subarray(cut)].filter((piece) => piece.length > 0).map((piece) => Buffer.from(piece)),
      )
      expect(heard, `cut at ${cut}`).toEqual({ relayed: expected, stderr: ['oh no'], head: `${HEAD}onetwo`, ended: true, broke: false })
    }
    const each = [...wire].map((byte) => Buffer.from([byte]))
    expect((await answered(each)).relayed).toBe(expected)
  })

  test.each([
    ['of another request', record(Type.Stdout, 2, 'x')],
    ['of a type that no application sends', record(Type.Params, 1, 'x')],
    ['of another version', `\x02${record(Type.Stdout, 1, 'x').slice(1)}`],
  ])('ends with its connection at a record %s', async (_, text) => {
    expect(await answered([bytes(record(Type.Stdout, 1, HEAD)), bytes(text)])).toMatchObject({ ended: false, broke: true })
  })

  test('is whole, and the connection closed, when more than its end comes', async () => {
    const heard = await answered([Buffer.concat([bytes(record(Type.Stdout, 1, HEAD)), bytes(endRequest(1, 0, 0)), bytes('more')])])
    expect(heard).toMatchObject({ ended: true, relayed: record(Type.Stdout, 1, HEAD) + endRequest(1, 0, 0) })
  })

  test('is not held for longer than a moment, and nobody writes to what a web server has not taken', async () => {
    const pieces = Array.from({ length: 20 }, (_, i) => bytes(record(Type.Stdout, 1, String.fromCharCode(97 + i).repeat(30_000))))
    const heard = await answered([...pieces, bytes(endRequest(1, 0, 0))], true)
    expect(heard.relayed === pieces.map(String).join('') + endRequest(1, 0, 0)).toBe(true)
  })
})
