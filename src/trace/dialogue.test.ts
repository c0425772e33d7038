// Asking an application, against peers made of bytes: what is heard, what is said to be wrong, and what it took.

import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { close, expectClose, expectParams, expectRequest, gate, reset, scripted, send, stopReading, until } from '../../test/scripted.ts'
import type { Step } from '../../test/scripted.ts'
import { Role } from '../fastcgi/index.ts'
import { Dialogue } from './dialogue.ts'
import type { Question } from './dialogue.ts'
import type { Reply } from './hearing.ts'
import { typeName } from './record.ts'

const page: Question = { role: Role.Responder, keep: false, variables: ['REQUEST_METHOD', 'GET', 'SCRIPT_FILENAME', '/a.php'] }
const head = 'Content-Type: text/plain\r\n\r\n'

interface Heard extends Reply {
  readonly body: string
  readonly stderr: string
}

async function ask(steps: readonly Step[], question: Question = page, timeout = 5000): Promise<Heard> {
  await using peer = await scripted(steps)
  const dialogue = await Dialogue.open(peer.address, { timeout })
  try {
    return await heard(dialogue, question)
  } finally {
    dialogue.close()
  }
}

async function heard(dialogue: Dialogue, question: Question): Promise<Heard> {
  let [body, stderr] = ['', '']
  const reply = await dialogue.ask(question, {
    body: (chunk) => void (body += chunk.toString()),
    stderr: (chunk) => void (stderr += chunk.toString()),
  })
  return { ...reply, body, stderr }
}

describe('an answer', () => {
  test('is heard as it comes: head, body, STDERR, application status', async () => {
    const reply = await ask([
      expectRequest(),
      send(wire.stderr(1, 'oh\n'), wire.stdout(1, head.slice(0, 10)), wire.stdout(1, `${head.slice(10)}hel`), wire.stdout(1, 'lo')),
      send(wire.endRequest(1, { app: 7 })),
    ])
    expect(reply).toMatchObject({ body: 'hello', stderr: 'oh\n', bodyLength: 5, stderrLength: 3, error: undefined, oddities: [] })
    expect(reply).toMatchObject({ head: { status: 200 }, end: { appStatus: 7, protocolStatus: 0 } })
    expect(reply.headTime).toBeLessThanOrEqual(reply.time)
  })

  test('of any length passes at the pace of who hears it', async () => {
    const block = Buffer.alloc(60_000, 'x')
    const parts = Array.from({ length: 50 }, () => wire.stdout(1, block))
    await using peer = await scripted([expectRequest(), send(wire.stdout(1, head), ...parts, wire.endRequest(1))])
    const dialogue = await Dialogue.open(peer.address)
    let [total, inside] = [0, 0]
    const reply = await dialogue.ask(page, {
      body: async (chunk) => {
        expect(++inside).toBe(1)
        await new Promise((resolve) => setImmediate(resolve))
        inside--
        total += chunk.length
      },
    })
    expect(reply).toMatchObject({ bodyLength: 3_000_000, error: undefined })
    expect(total).toBe(3_000_000)
  })

  test('to a HEAD, or of 304, may announce a body that does not come', async () => {
    const answer = [expectRequest(), send(wire.answer(1, 'Content-Length: 5\r\n\r\n'))]
    expect(await ask(answer, { ...page, variables: ['REQUEST_METHOD', 'HEAD'] })).toMatchObject({ error: undefined })
    expect(await ask([expectRequest(), send(wire.answer(1, 'Status: 304\r\nContent-Length: 5\r\n\r\n'))])).toMatchObject({
      error: undefined,
    })
  })
})

describe('what is wrong is said', () => {
  test.each<[string, readonly Step[], string, string]>([
    [
      'it closes at once',
      [expectParams(), close()],
      'UPSTREAM_TRUNCATED',
      'closed the connection before END_REQUEST, after 0 bytes of body',
    ],
    [
      'it closes in the middle',
      [expectParams(), send(wire.stdout(1, `${head}hal`)), close()],
      'UPSTREAM_TRUNCATED',
      'after 3 bytes of body',
    ],
    [
      'it speaks HTTP',
      [expectParams(), send(Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n'))],
      'UPSTREAM_PROTOCOL',
      'no FastCGI: an HTTP server (it begins with "HTTP/1.1")',
    ],
    ['it wants TLS', [expectParams(), send(wire.bytes('15 03 01 00 02 02 46'))], 'UPSTREAM_PROTOCOL', 'no FastCGI: perhaps it wants TLS'],
    ['it is overloaded', [expectParams(), send(wire.endRequest(1, { protocol: 2 }))], 'UNAVAILABLE', 'refused the request: OVERLOADED'],
    [
      'it does not know the role',
      [expectParams(), send(wire.endRequest(1, { protocol: 3 }))],
      'UNAVAILABLE',
      'refused the request: UNKNOWN_ROLE',
    ],
    ['it says nothing', [expectParams(), send(wire.endRequest(1))], 'UPSTREAM_HEAD', 'no valid head: it has not a byte'],
    ['it ends within the head', [expectParams(), send(wire.answer(1, 'A: b\r\n'))], 'UPSTREAM_HEAD', 'it ends before the blank line'],
    ['it forgot the head', [expectParams(), send(wire.answer(1, '<html>\n\nhello'))], 'UPSTREAM_HEAD', 'not a header field: "<html>"'],
    [
      'its body is shorter than it says',
      [expectParams(), send(wire.answer(1, 'Content-Length: 9\r\n\r\nshort'))],
      'UPSTREAM_TRUNCATED',
      'announced 9 bytes of body and sent 5',
    ],
    [
      'its END_REQUEST is too short',
      [expectParams(), send(wire.record(wire.END_REQUEST, 1, 'x'))],
      'UPSTREAM_PROTOCOL',
      'END_REQUEST with a body of 1 bytes',
    ],
  ])('when %s', async (_, steps, code, message) => {
    const { error } = await ask(steps)
    expect(error).toMatchObject({ code, message: expect.stringContaining(message) })
  })

  test('when it is silent, after the timeout', async () => {
    const { error, body } = await ask([expectParams(), send(wire.stdout(1, `${head}hal`)), expectClose()], page, 100)
    expect(error).toMatchObject({ code: 'TIMEOUT', message: expect.stringContaining('was silent for 100 ms, after 3 bytes of body') })
    expect(body).toBe('hal')
  })

  test('when it resets the connection', async () => {
    await using peer = await scripted('tcp', [expectParams(), reset()])
    const dialogue = await Dialogue.open(peer.address)
    const { error } = await dialogue.ask(page)
    expect(error).toMatchObject({ code: 'UPSTREAM_TRUNCATED', message: expect.stringContaining('broke the connection (ECONNRESET)') })
  })

  test('when nobody listens', async () => {
    await expect(Dialogue.open({ path: '/nonexistent/socket' })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
  })

  test('and what is only odd does no harm', async () => {
    const steps = [
      expectParams(),
      send(
        Buffer.concat([
          wire.stdout(9, 'x'),
          wire.record(99, 0, 'x'),
          wire.record(wire.STDIN, 1, 'x'),
          wire.answer(1, `${head}ok`),
          wire.stdout(1, 'y'),
        ]),
      ),
    ]
    const reply = await ask(steps)
    expect(reply).toMatchObject({ body: 'ok', error: undefined })
    expect(reply.oddities).toEqual([
      'STDOUT with request id 9',
      'type 99 with request id 0',
      'STDIN from an application',
      'STDOUT after END_REQUEST',
    ])
  })
})

async function* streamed(...chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('a')
  throw new Error('the disk is gone')
}

describe('a request', () => {
  test('is sent with its body, whose empty chunks are no end', async () => {
    await using peer = await scripted([expectRequest(), send(wire.answer(1, `${head}ok`))])
    const dialogue = await Dialogue.open(peer.address)
    const big = Buffer.alloc(200_000, 'b')
    const reply = await dialogue.ask({ ...page, keep: true, stdin: streamed(Buffer.from('a'), Buffer.alloc(0), big) })
    expect(reply.error).toBeUndefined()
    expect(peer.requests[0]).toMatchObject({ id: 1, role: 1, keep: true })
    expect(peer.requests[0]!.stdin.equals(Buffer.concat([Buffer.from('a'), big]))).toBe(true)
    expect(peer.requests[0]!.variables.get('SCRIPT_FILENAME')).toBe('/a.php')
    expect(dialogue.open).toBe(true)
    dialogue.close()
  })

  test('of a filter has its data after STDIN', async () => {
    const seen: string[] = []
    await using peer = await scripted([expectRequest(), send(wire.answer(1, `${head}ok`))])
    const dialogue = await Dialogue.open(peer.address, {
      tap: (direction, { type, length }) => seen.push(`${direction} ${typeName(type)} ${length}`),
    })
    await dialogue.ask({ ...page, role: Role.Filter, stdin: streamed(Buffer.from('in')), data: streamed(Buffer.from('file')) })
    const sent = seen.filter((each) => each.startsWith('to'))
    expect(sent[0]).toBe('to BEGIN_REQUEST 8')
    expect(sent.slice(2)).toEqual(['to PARAMS 0', 'to STDIN 2', 'to STDIN 0', 'to DATA 4', 'to DATA 0'])
    expect(seen.filter((each) => each.startsWith('from'))).toEqual(
      ['from STDOUT 28', 'from STDOUT 0', 'from END_REQUEST 8'].map((each) => each.replace('28', String(head.length + 2))),
    )
  })

  test('that is answered before its body was read is answered, and its connection not used again', async () => {
    const more = gate()
    let given = 0
    async function* endless(): AsyncGenerator<Uint8Array> {
      for (;;) {
        given++
        yield Buffer.alloc(65_536)
      }
    }
    await using peer = await scripted([expectParams(), stopReading(), until(more.open), send(wire.answer(1, `${head}no`)), expectClose()])
    const dialogue = await Dialogue.open(peer.address)
    setTimeout(() => more.pass(), 50)
    const reply = await dialogue.ask({ ...page, keep: true, stdin: endless() })
    expect(reply).toMatchObject({ bodyLength: 2, error: undefined })
    expect(dialogue.open).toBe(false)
    // What the kernel takes, and no more.
    expect(given).toBeLessThan(200)
  })

  test('whose body cannot be read fails with that reason', async () => {
    await using peer = await scripted([expectRequest()])
    const dialogue = await Dialogue.open(peer.address)
    await expect(dialogue.ask({ ...page, stdin: broken() })).rejects.toThrow('the disk is gone')
    expect(dialogue.open).toBe(false)
  })

  test('follows another on a kept connection', async () => {
    const answer = send(wire.answer(1, `${head}ok`))
    await using peer = await scripted([expectRequest(), answer, expectRequest(), answer])
    const dialogue = await Dialogue.open(peer.address)
    for (let i = 0; i < 2; i++) expect(await heard(dialogue, { ...page, keep: true })).toMatchObject({ body: 'ok', error: undefined })
    expect(peer.connections).toBe(1)
    expect(dialogue.questions).toBe(2)
    dialogue.close()
  })
})
