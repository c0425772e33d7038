// A capture made of frames, sent again to peers made of bytes.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { close, expectRequest, scripted, send } from '../../test/scripted.ts'
import type { Step } from '../../test/scripted.ts'
import * as wire from '../../test/wire.ts'
import { MAGIC, encodeFrame } from './format.ts'
import type { Direction } from './record.ts'
import { RecordScanner } from './record.ts'
import { replay } from './replay.ts'
import type { ReplayOptions, ReplayResult, ReplaySummary } from './replay.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-replay-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))
const path = join(folder, 'capture')

const begin = wire.record(1, 1, Buffer.from([0, 1, 0, 0, 0, 0, 0, 0]))
const params = (pairs: Record<string, string>): Buffer =>
  Buffer.concat([wire.record(4, 1, Buffer.concat(Object.entries(pairs).map(([name, value]) => wire.pair(name, value)))), wire.record(4, 1)])
const page = (uri: string, body = '', more: Record<string, string> = {}): Buffer =>
  Buffer.concat([begin, params({ REQUEST_URI: uri, ...more }), ...(body === '' ? [] : [wire.record(5, 1, body)]), wire.record(5, 1)])
const head = 'Content-Type: text/plain\r\nDate: now\r\n\r\n'

type Talk = readonly (readonly [Direction, Buffer])[]

/** Writes a capture in which each talk has a connection of its own. */
function record(talks: readonly Talk[], mask: readonly string[] = ['Cookie']): void {
  const meta = { software: 'test', started: '2026-11-22T12:00:00.000Z', listen: '', to: '', mask }
  const frames = [MAGIC, encodeFrame({ kind: 'meta', time: 0, meta })]
  let time = 0
  for (const [i, talk] of talks.entries()) {
    frames.push(encodeFrame({ kind: 'open', time, connection: i + 1, peer: 'test' }))
    for (const [direction, bytes] of talk) {
      for (const each of new RecordScanner().push(bytes))
        frames.push(encodeFrame({ kind: 'record', time: ++time, connection: i + 1, direction, record: each, masked: false, contentAt: 0 }))
    }
    frames.push(encodeFrame({ kind: 'close', time, connection: i + 1, reason: '' }))
  }
  writeFileSync(path, Buffer.concat(frames))
}

/** Sends the capture to a peer that does this. */
async function sent(
  steps: readonly (readonly Step[])[],
  options: Partial<ReplayOptions> = {},
): Promise<{ results: ReplayResult[]; summary: ReplaySummary; seen: Awaited<ReturnType<typeof scripted>>['requests'] }> {
  await using peer = await scripted(...steps)
  const results: ReplayResult[] = []
  const summary = await replay(path, { to: peer.address, onResult: (result) => void results.push(result), ...options })
  return { results, summary, seen: peer.requests }
}

const says = (text: string): Step[] => [expectRequest(), send(wire.answer(1, text))]
const differences = (results: readonly ReplayResult[]): unknown[] =>
  results.map((result) => result.differences.map((each) => (each.what === 'header' ? each.name : each.what)))

describe('a replay', () => {
  test('sends what was recorded, in order, and finds the same answers the same', async () => {
    const big = 'b'.repeat(150_000)
    record([
      [
        [
          'to',
          Buffer.concat([
            begin,
            params({ REQUEST_URI: '/1' }),
            wire.record(5, 1, big.slice(0, 60_000)),
            wire.record(5, 1, big.slice(60_000, 120_000)),
            wire.record(5, 1, big.slice(120_000)),
            wire.record(5, 1),
          ]),
        ],
        ['from', wire.answer(1, `${head}one`)],
      ],
      [
        ['to', page('/2')],
        [
          'from',
          Buffer.concat([
            wire.stdout(1, head.slice(0, 20)),
            wire.stdout(1, `${head.slice(20)}t`),
            wire.stdout(1, 'wo'),
            wire.endRequest(1),
          ]),
        ],
      ],
    ])
    const { results, summary, seen } = await sent([says(`${head.replace('now', 'later')}one`), says(`${head}two`)])
    expect(summary).toMatchObject({ same: 2, different: 0, skipped: 0 })
    expect(seen.map(({ variables, stdin }) => [variables.get('REQUEST_URI'), stdin.length])).toEqual([
      ['/1', 150_000],
      ['/2', 0],
    ])
    expect(results.map(({ reply }) => reply?.bodyLength)).toEqual([3, 3])
  })

  test.each<[string, string, readonly string[], Partial<ReplayOptions>]>([
    ['another status', `Status: 500\r\n${head}hello`, ['status'], {}],
    ['another body', `${head}hellO`, ['body'], {}],
    ['another body, where bodies do not matter', `${head}hellO`, [], { bodies: false }],
    ['another field', `X-New: 1\r\n${head}hello`, ['X-New'], {}],
    ['another field, where it may differ', `X-New: 1\r\n${head}hello`, [], { ignore: ['date', 'x-*'] }],
    ['another date, where nothing may differ', `${head.replace('now', 'later')}hello`, ['Date'], { ignore: [] }],
    ['no head', 'hello', ['outcome'], {}],
  ])('tells %s', async (_, answer, expected, options) => {
    record([
      [
        ['to', page('/')],
        ['from', wire.answer(1, `${head}hello`)],
      ],
    ])
    const { results, summary } = await sent([says(answer)], options)
    expect(differences(results)).toEqual([expected])
    expect(summary.different).toBe(expected.length > 0 ? 1 : 0)
  })

  test('tells an answer that is cut off, an application status, and one that was bad before and still is', async () => {
    record([
      [
        ['to', page('/1')],
        ['from', wire.answer(1, `${head}hello`)],
      ],
      [
        ['to', page('/2')],
        ['from', wire.answer(1, `${head}hello`)],
      ],
      [
        ['to', page('/3')],
        ['from', wire.answer(1, 'no head')],
      ],
    ])
    const { results } = await sent([
      [expectRequest(), send(wire.stdout(1, `${head}hel`)), close()],
      [expectRequest(), send(Buffer.concat([wire.stdout(1, `${head}hello`), wire.endRequest(1, { app: 9 })]))],
      says('no head'),
    ])
    expect(differences(results)).toEqual([['outcome', 'body'], ['application status'], []])
  })

  test('leaves out what is masked, says so, and takes other values for it', async () => {
    record(
      [
        [
          ['to', page('/', '', { HTTP_COOKIE: '******', HTTP_X: '***' })],
          ['from', wire.answer(1, `Set-Cookie: ***\r\n${head}`)],
        ],
      ],
      ['Cookie', 'Set-Cookie'],
    )
    const first = await sent([says(`Set-Cookie: new\r\n${head}`)], { ignore: ['Date'] })
    expect(first.results).toMatchObject([{ masked: ['HTTP_COOKIE'], differences: [] }])
    expect(first.seen[0]!.variables.has('HTTP_COOKIE')).toBe(false)
    expect(first.seen[0]!.variables.get('HTTP_X')).toBe('***')
    const second = await sent([says(head)], {
      variables: new Map([
        ['HTTP_COOKIE', 'a=b'],
        ['HTTP_NEW', 'c'],
      ]),
    })
    expect(second.results[0]!.masked).toEqual([])
    expect(second.seen[0]!.variables.get('HTTP_COOKIE')).toBe('a=b')
    expect(second.seen[0]!.variables.get('HTTP_NEW')).toBe('c')
  })

  test('does not send what was not recorded whole', async () => {
    record([
      [['to', Buffer.concat([begin, params({ REQUEST_URI: '/1' })])]],
      [
        ['to', page('/2')],
        ['from', wire.stdout(1, `${head}hal`)],
      ],
      [['to', Buffer.concat([page('/3'), wire.record(2, 1)])]],
      [
        ['to', page('/4')],
        ['from', wire.answer(1, head)],
      ],
    ])
    const { results, summary, seen } = await sent([says(head)])
    expect(results.map(({ skipped }) => skipped)).toEqual([
      'its request was not recorded whole',
      'its answer was not recorded whole',
      'it was aborted',
      undefined,
    ])
    expect(summary).toMatchObject({ same: 1, skipped: 3 })
    expect(seen).toHaveLength(1)
  })

  test('sends only what it is told to, and a file that is cut off as far as it is good', async () => {
    record(
      [1, 2, 3].map((i) => [
        ['to', page(`/${i}`)],
        ['from', wire.answer(1, head)],
      ]),
    )
    const { seen } = await sent([says(head)], { numbers: new Set([2, 9]) })
    expect(seen.map(({ variables }) => variables.get('REQUEST_URI'))).toEqual(['/2'])
    writeFileSync(path, readFileSync(path).subarray(0, -10))
    const { summary } = await sent([says(head)])
    expect(summary).toMatchObject({ same: 3, problem: expect.stringContaining('is cut off within a frame') })
  })

  test.each([
    ['another one', 'GET', { same: 3, different: 0 }],
    // It may have been done before the connection was closed.
    ['none', 'POST', { same: 2, different: 1 }],
  ])('uses one connection where it is told to, and %s for a %s on one that was closed meanwhile', async (_, method, expected) => {
    record(
      [1, 2, 3].map((i) => [
        ['to', page(`/${i}`, '', { REQUEST_METHOD: method })],
        ['from', wire.answer(1, head)],
      ]),
    )
    const { seen, summary } = await sent([[...says(head), ...says(head), close()], says(head)], { keep: true })
    expect(summary).toMatchObject(expected)
    expect(seen.slice(0, 2).map(({ connection, keep }) => [connection, keep])).toEqual([
      [0, true],
      [0, true],
    ])
    expect(seen.at(-1)?.connection).toBe(method === 'GET' ? 1 : 0)
  })

  test('rejects when nobody is there, or there is no capture', async () => {
    record([
      [
        ['to', page('/')],
        ['from', wire.answer(1, head)],
      ],
    ])
    await expect(replay(path, { to: { path: join(folder, 'none') } })).rejects.toMatchObject({ code: 'UNAVAILABLE' })
    writeFileSync(path, 'something else')
    await expect(replay(path, { to: '127.0.0.1:9' })).rejects.toThrow('is no capture of FastCGI')
  })
})
