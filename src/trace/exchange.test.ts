import { describe, expect, test } from 'vitest'
import * as wire from '../../test/wire.ts'
import { Tracker, targetOf, variableOf } from './exchange.ts'
import type { Exchange } from './exchange.ts'
import { RecordScanner } from './record.ts'
import type { Direction } from './record.ts'

const BEGIN = 1
const ABORT = 2
const PARAMS = 4
const DATA = 8

const begin = (id: number, role = 1): Buffer => wire.record(BEGIN, id, Buffer.from([0, role, 1, 0, 0, 0, 0, 0]))
const params = (id: number, pairs: Record<string, string>): Buffer =>
  Buffer.concat([
    wire.record(PARAMS, id, Buffer.concat(Object.entries(pairs).map(([name, value]) => wire.pair(name, value)))),
    wire.record(PARAMS, id),
  ])
const page = { REQUEST_METHOD: 'GET', REQUEST_URI: '/a?b' }
const asked = (id: number): Buffer => Buffer.concat([begin(id), params(id, page), wire.record(wire.STDIN, id)])

/** Plays `[direction, bytes]` on one connection, a millisecond apart, and gives the requests that were over by then. */
function play(...steps: readonly (readonly [Direction, Buffer])[]): { over: Exchange[]; problems: string[]; close: () => void } {
  const over: Exchange[] = []
  const problems: string[] = []
  const tracker = new Tracker({ onEnd: (exchange) => over.push(exchange), onProblem: (_, fact) => problems.push(fact) })
  let time = 0
  for (const [direction, bytes] of steps) {
    time++
    for (const record of new RecordScanner().push(bytes)) tracker.record(1, direction, record, time)
  }
  return { over, problems, close: () => tracker.close(1, time + 1) }
}

describe('a request', () => {
  test('is over when its END_REQUEST has come, with all that is known of it', () => {
    const { over } = play(
      ['to', asked(1)],
      ['from', Buffer.concat([wire.stderr(1, 'oh'), wire.stdout(1, 'Status: 404 Nope\r\nA: b\r\n'), wire.stdout(1, '\r\nhel')])],
      ['from', Buffer.concat([wire.stdout(1, 'lo'), wire.record(wire.STDOUT, 1), wire.endRequest(1, { app: 3 })])],
    )
    expect(over).toHaveLength(1)
    const [it] = over
    expect(it).toMatchObject({ number: 1, role: 1, keep: true, requestWhole: true, started: 1, answered: 2, ended: 3, bodyLength: 5 })
    expect(it).toMatchObject({ stderr: 'oh', end: { appStatus: 3, protocolStatus: 0 }, head: { status: 404 }, problems: [] })
    expect(targetOf(it!)).toBe('/a?b')
    expect(variableOf(it!, 'REQUEST_METHOD')).toBe('GET')
  })

  test('is told from others on the same connection', () => {
    const { over } = play(
      ['to', asked(1)],
      ['to', asked(2)],
      [
        'from',
        Buffer.concat([
          wire.stdout(2, 'A: b\n\ntwo'),
          wire.stdout(1, 'A: b\n\n1'),
          wire.endRequest(2),
          wire.stdout(1, '23'),
          wire.endRequest(1),
        ]),
      ],
    )
    expect(over.map(({ number, id, bodyLength }) => [number, id, bodyLength])).toEqual([
      [2, 2, 3],
      [1, 1, 3],
    ])
  })

  test('whose answer is faster than its end is whole all the same', () => {
    const { over } = play(
      ['to', Buffer.concat([begin(1), params(1, page)])],
      ['from', Buffer.concat([wire.stdout(1, 'A: b\n\n'), wire.endRequest(1)])],
      ['to', wire.record(wire.STDIN, 1, 'late')],
      ['to', wire.record(wire.STDIN, 1)],
    )
    expect(over).toMatchObject([{ requestWhole: true, stdinLength: 4, ended: 2, problems: [] }])
  })

  test('whose body never ends is over when its id is used again, or with the connection', () => {
    const { over, close } = play(
      ['to', Buffer.concat([begin(1), params(1, page)])],
      ['from', Buffer.concat([wire.stdout(1, 'A: b\n\n'), wire.endRequest(1)])],
      ['to', asked(1)],
    )
    expect(over).toMatchObject([{ number: 1, requestWhole: false, problems: [] }])
    close()
    expect(over).toMatchObject([{ number: 1 }, { number: 2, end: undefined, ended: 4, requestWhole: true }])
  })

  test('of a filter waits for its data too', () => {
    const { over } = play(
      ['to', Buffer.concat([begin(1, 3), params(1, page), wire.record(wire.STDIN, 1)])],
      ['from', Buffer.concat([wire.stdout(1, 'A: b\n\n'), wire.endRequest(1)])],
      ['to', Buffer.concat([wire.record(DATA, 1, 'data'), wire.record(DATA, 1)])],
    )
    expect(over).toMatchObject([{ role: 3, dataLength: 4, requestWhole: true }])
  })
})

describe('what is wrong', () => {
  const done = wire.endRequest(1)
  test.each<[string, readonly Buffer[], readonly Buffer[], string]>([
    ['an answer that is empty', [asked(1)], [done], 'an answer without a head'],
    ['a head without its end', [asked(1)], [wire.stdout(1, 'A: b\n'), done], 'the answer ends within its head'],
    ['a head that is none', [asked(1)], [wire.stdout(1, '<html>\n\n'), done], 'not a header field: "<html>"'],
    [
      'a head without an end',
      [asked(1)],
      [...Array.from({ length: 3 }, () => wire.stdout(1, 'x'.repeat(30_000))), done],
      'head is over 65536 bytes',
    ],
    ['a STDIN from an application', [asked(1)], [wire.record(wire.STDIN, 1, 'x'), done], 'STDIN from an application'],
    [
      'a STDOUT from a web server',
      [begin(1), wire.stdout(1, 'x'), params(1, page), wire.record(wire.STDIN, 1)],
      [done],
      'STDOUT from a web server',
    ],
    ['PARAMS after their end', [asked(1), wire.record(PARAMS, 1, 'x')], [done], 'PARAMS after its end'],
    ['an unknown role', [begin(1, 9), params(1, page), wire.record(wire.STDIN, 1)], [done], 'BEGIN_REQUEST with the unknown role 9'],
    [
      'a pair without its end',
      [begin(1), wire.record(PARAMS, 1, '\x05\x05ab'), wire.record(PARAMS, 1), wire.record(wire.STDIN, 1)],
      [done],
      'the parameters end within a pair',
    ],
    [
      'a BEGIN_REQUEST without a body',
      [wire.record(BEGIN, 1), params(1, page), wire.record(wire.STDIN, 1)],
      [done],
      'BEGIN_REQUEST with a body of 0 bytes',
    ],
    ['an id that is in use', [begin(1), begin(1)], [], 'BEGIN_REQUEST with an id that is in use'],
  ])('%s is said of the request', (_, to, from, problem) => {
    const { over } = play(...to.map((bytes) => ['to', bytes] as const), ...from.map((bytes) => ['from', bytes] as const))
    expect(over.flatMap(({ problems }) => problems).join('; ')).toContain(problem)
  })

  test('and concerns no request is said of the connection', () => {
    const { problems, over } = play(
      ['from', wire.stdout(7, 'x')],
      ['to', wire.record(wire.STDIN, 0, 'x')],
      ['to', asked(1)],
      ['to', wire.record(ABORT, 1)],
      ['from', Buffer.concat([wire.stdout(1, 'A: b\n\n'), wire.endRequest(1), wire.stdout(1, 'more')])],
    )
    expect(problems).toEqual([
      'STDOUT for request 7, which does not run',
      'STDIN without a request id',
      'STDOUT for request 1, which does not run',
    ])
    expect(over).toMatchObject([{ aborted: true }])
  })

  test('is only said: records of any kind, in any order, with any content, break nothing', () => {
    const next = wire.random(3)
    let ended = 0
    const tracker = new Tracker({ onEnd: () => ended++, onProblem: () => {} })
    for (let round = 0; round < 20_000; round++) {
      const content = Buffer.from(Array.from({ length: next(6) === 0 ? 0 : next(24) }, () => next(256)))
      const record = { type: next(13), id: next(4), content, length: content.length + (next(9) === 0 ? 5 : 0), padding: 0 }
      if (next(50) === 0) tracker.close(next(3), round)
      else tracker.record(next(3), next(2) === 0 ? 'to' : 'from', record, round, round)
    }
    tracker.finish(20_000)
    expect(ended).toBeGreaterThan(100)
    for (const connection of [0, 1, 2]) expect(tracker.running(connection)).toBe(0)
  })

  test('does not fill the memory: variables have a limit for all requests together', () => {
    const over: Exchange[] = []
    const tracker = new Tracker({ onEnd: (exchange) => over.push(exchange), variableBytes: 100 })
    for (const id of [1, 2]) {
      const bytes = Buffer.concat([begin(id), params(id, { A: 'x'.repeat(70) })])
      for (const record of new RecordScanner().push(bytes)) tracker.record(id, 'to', record, 0)
    }
    tracker.finish(1)
    expect(over.map(({ variables }) => variables.length)).toEqual([2, 0])
    expect(over[1]!.problems[0]).toContain('variables are not kept')
  })
})
