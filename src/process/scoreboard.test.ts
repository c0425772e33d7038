import { describe, expect, test } from 'vitest'
import type { Log } from '../core/index.ts'
import { Scoreboard } from './index.ts'
import type { ScoreboardOptions } from './index.ts'

const QUEUE = { waiting: 0, maxWaiting: 0, limit: 5, refused: 0 }
const interpreter = { mode: 'native', name: 'php-cgi' } as const

interface Line {
  readonly fields: Record<string, unknown>
  readonly message: string
}

function open(options: Partial<ScoreboardOptions> = {}): { board: Scoreboard; lines: Line[] } {
  const lines: Line[] = []
  const write = (fields: object, message: string): void => void lines.push({ fields: fields as Record<string, unknown>, message })
  const log: Log = { debug: write, info: write, warn: write, error: write }
  return { board: new Scoreboard({ name: 'blog', kind: 'php', interpreter, log, ...options }), lines }
}

const get = (target: string): { method: string; target: string } => ({ method: 'GET', target })

async function until(done: () => boolean): Promise<void> {
  for (const end = performance.now() + 5000; !done();) {
    if (performance.now() > end) throw new Error('it never happens')
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

describe('a scoreboard', () => {
  test('counts who is idle, busy and starting, the most that were busy, and requests that are over', () => {
    const { board } = open()
    const [a, b, c] = [board.seat({ pid: 1 }), board.seat({ pid: 2 }), board.seat({ pid: 3 })]
    a.ready = b.ready = true
    expect(board.status(QUEUE).workers).toEqual({ total: 3, idle: 2, busy: 0, maxBusy: 0 })
    a.begin(get('/a'))
    b.begin(get('/b'))
    expect(board.status(QUEUE).workers).toEqual({ total: 3, idle: 0, busy: 2, maxBusy: 2 })
    a.end()
    a.end()
    b.unbegin()
    c.leave()
    expect(board.status(QUEUE)).toMatchObject({ workers: { total: 2, idle: 2, busy: 0, maxBusy: 2 }, requests: 1 })
    a.begin(get('/c'))
    a.begin(get('/d'))
    expect(board.status(QUEUE).workers).toEqual({ total: 2, idle: 1, busy: 1, maxBusy: 2 })
    a.leave()
    a.leave()
    expect(board.status(QUEUE)).toMatchObject({ workers: { total: 1, busy: 0 }, requests: 2 })
  })

  test('is plain data: what it says goes through JSON unchanged', () => {
    const { board } = open({ interpreter: { ...interpreter, version: '8.2' } })
    board.seat({ pid: 7 }, 2).begin(get('/x'))
    const status = board.status({ ...QUEUE, waiting: 1, maxWaiting: 2, refused: 3 })
    expect(JSON.parse(JSON.stringify(status))).toEqual(status)
    expect(status).toMatchObject({
      name: 'blog',
      kind: 'php',
      interpreter: { mode: 'native', name: 'php-cgi', version: '8.2' },
      queue: { waiting: 1, maxWaiting: 2, limit: 5 },
      failures: { timeouts: 0, crashes: 0, refused: 3 },
      processes: [{ id: 7, thread: 2, type: 'process', state: 'busy', requests: 0, current: { method: 'GET', target: '/x' } }],
    })
  })

  test('has a version as soon as it is known', () => {
    const { board } = open()
    expect(board.status(QUEUE).interpreter).toEqual(interpreter)
    board.version = '3.13'
    expect(board.status(QUEUE).interpreter).toEqual({ ...interpreter, version: '3.13' })
  })

  test.each([
    ['/a\x1b[31m\n', '/a\\x1b[31m\\x0a'],
    ['/\xc3\xa9', '/\u00e9'],
    ['/\xff', '/\ufffd'],
    ['/' + 'a'.repeat(999), '/' + 'a'.repeat(999)],
    ['/' + 'a'.repeat(1000), '/' + 'a'.repeat(999) + '...'],
  ])('a target %j is shown as %j', (target, shown) => {
    const { board } = open()
    board.seat({ pid: 1 }).begin(get(target))
    expect(board.status(QUEUE).processes[0]?.current?.target).toBe(shown)
  })

  test('tells how long a request has been running', async () => {
    const { board } = open()
    const seat = board.seat({ pid: 1 })
    const began = performance.now()
    seat.begin(get('/'))
    await until(() => performance.now() - began > 50)
    const { seconds } = board.status(QUEUE).processes[0]!.current!
    expect(seconds).toBeGreaterThanOrEqual(0.05)
    expect(seconds).toBeLessThanOrEqual((performance.now() - began) / 1000 + 0.001)
  })
})

describe('the slow log', () => {
  test('names a request once, while it still runs, and counts it', async () => {
    const { board, lines } = open({ slow: 40 })
    const [slow, quick] = [board.seat({ pid: 11 }), board.seat({ pid: 12 })]
    const began = performance.now()
    slow.begin(get('/report\x1b?x=1'))
    quick.begin(get('/quick'))
    quick.end()
    await until(() => lines.length > 0)
    expect(performance.now() - began).toBeGreaterThanOrEqual(40)
    expect(lines[0]?.fields).toMatchObject({ app: 'blog', pid: 11, method: 'GET', target: '/report\\x1b?x=1', slow: true })
    expect(lines[0]?.fields['seconds']).toBeGreaterThanOrEqual(0.04)
    expect(lines[0]?.message).toMatch(/^slow: "blog" has been at GET \/report\\x1b\?x=1 for \d\.\d s \(pid 11\), and goes on$/)
    expect(slow.request).toBeDefined()
    await until(() => performance.now() - began > 200)
    expect(lines).toHaveLength(1)
    expect(board.status(QUEUE).slow).toBe(1)
    slow.end()
  })

  test('knows the next request of the same worker from the one before', async () => {
    const { board, lines } = open({ slow: 20 })
    const seat = board.seat({ pid: 1 })
    seat.begin(get('/one'))
    await until(() => lines.length === 1)
    seat.end()
    seat.begin(get('/two'))
    await until(() => lines.length === 2)
    expect(lines.map(({ fields }) => fields['target'])).toEqual(['/one', '/two'])
  })

  test('says nothing by default, however long it takes', async () => {
    const { board, lines } = open()
    const began = performance.now()
    board.seat({ pid: 1 }).begin(get('/'))
    await until(() => performance.now() - began > 250)
    expect(lines).toEqual([])
  })

  test('names the thread of what has no process of its own', async () => {
    const { board, lines } = open({ slow: 10, type: 'thread' })
    board.seat({ pid: 3 }).begin(get('/'))
    await until(() => lines.length === 1)
    expect(lines[0]?.fields).toMatchObject({ thread: 3 })
    expect(lines[0]?.fields).not.toHaveProperty('pid')
    expect(lines[0]?.message).toContain('(thread 3)')
  })

  test('goes on with the clock of whoever knows when a request began', async () => {
    const { board, lines } = open({ slow: 60_000 })
    board.seat({ pid: 1 }).begin(get('/'), performance.now() - 61_000)
    await until(() => lines.length === 1)
    expect(lines[0]?.fields['seconds']).toBeGreaterThanOrEqual(61)
  })
})
