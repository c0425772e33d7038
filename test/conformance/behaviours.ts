// What every backend must do, seen by a client in front of any server.

import { expect } from 'vitest'
import { getHeader, getHeaders, type Outcome } from '../../src/core/index.ts'
import { LARGE } from './answer.ts'
import type { Asked, Got } from './doors.ts'

/** One behaviour under test: asks through a door, and may look at what the application's side heard. */
export interface Bench {
  /** Asks for the behaviour; what is given wins over what the room says. */
  ask(asked?: Partial<Asked>): Promise<Got>
  /** The outcomes since the test began, one a request. */
  readonly outcomes: readonly Outcome[]
  /** What was written to `errors` and to the backend's log since the test began. */
  errors(): string
}

const field = (got: Got, name: string): string | undefined => getHeader(got.headers, name)
const lines = (got: Got): string => got.body.toString('latin1')

/** Waits for the application's side, which hears of the end a moment after the client. */
const outcome = (bench: Bench, kind: string): Promise<void> =>
  expect.poll(() => bench.outcomes.map((each) => each.kind), { timeout: 10_000 }).toEqual([kind])

export const behaviours = {
  async echo(bench: Bench): Promise<void> {
    const got = await bench.ask({
      target: '/echo/a%20b/c?d=e%20f&g',
      headers: { 'X-One': '1', Cookie: 'x=1; y=2', Proxy: 'http://evil.example' },
    })
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(field(got, 'content-type')).toMatch(/^text\/plain/)
    expect(lines(got)).toBe(
      'method=GET\npath=/a b/c\nquery=d=e%20f&g\nmount=\nhost=test.example\nname=test.example\none=1\ncookie=x=1; y=2\ntype=\nlength=\n\n',
    )
    await outcome(bench, 'sent')
    expect(bench.outcomes[0]).toMatchObject({ status: 200, bytes: got.body.length })
  },

  async post(bench: Bench): Promise<void> {
    const got = await bench.ask({ method: 'POST', target: '/echo', headers: { 'Content-Type': 'a/b' }, body: 'hello é' })
    expect(lines(got)).toMatch(/^method=POST\npath=\n[^]*type=a\/b\nlength=8\n\nhello \xc3\xa9$/)
  },

  async 'post, chunked'(bench: Bench): Promise<void> {
    const got = await bench.ask({ method: 'PUT', target: '/echo', body: [Buffer.from('hel'), Buffer.from('lo')] })
    // A program is told a length, also of what came in chunks.
    expect(lines(got)).toMatch(/^method=PUT\n[^]*length=5\n\nhello$/)
  },

  async 'large upload'(bench: Bench): Promise<void> {
    const got = await bench.ask({ method: 'POST', target: '/echo', body: LARGE })
    expect(got.body.subarray(-LARGE.length).equals(LARGE)).toBe(true)
    expect(lines(got).slice(0, 300)).toContain(`length=${LARGE.length}\n`)
  },

  async head(bench: Bench): Promise<void> {
    const got = await bench.ask({ method: 'HEAD' })
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(got.body).toHaveLength(0)
    await outcome(bench, 'sent')
  },

  async status(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 418, reason: 'A Custom Reason' })
    expect(lines(got)).toBe('status 418')
  },

  async fields(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(getHeaders(got.headers, 'set-cookie')).toEqual(['a=1; Path=/', 'b=2'])
    expect(field(got, 'x-bytes')).toBe('\xc3\xa9')
    expect(lines(got)).toBe('fields')
  },

  async redirect(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got.status).toBe(303)
    expect(field(got, 'location')).toBe('https://example.test/next?a=b')
  },

  async slow(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(lines(got)).toBe('first\nsecond\n')
    // What there is goes out while the rest is being made.
    expect(Buffer.from(got.pieces[0]!).toString()).toBe('first\n')
    await outcome(bench, 'sent')
  },

  async large(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 200, whole: true })
    expect(field(got, 'content-length')).toBe(String(LARGE.length))
    expect(got.body.equals(LARGE)).toBe(true)
    await outcome(bench, 'sent')
  },

  async 'slow reader'(bench: Bench): Promise<void> {
    const got = await bench.ask({ pause: 100 })
    expect(got.body.equals(LARGE)).toBe(true)
    await outcome(bench, 'sent')
  },

  /** The client leaves amid the body. */
  async endless(bench: Bench): Promise<void> {
    const got = await bench.ask({ leaveAfter: 100_000 })
    expect(got.whole).toBe(false)
    await outcome(bench, 'cut')
    expect(bench.outcomes[0]).toMatchObject({ status: 200, error: expect.anything() })
  },

  async empty(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 204, whole: true })
    expect(got.body).toHaveLength(0)
  },

  async unmodified(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 304, whole: true })
    expect(field(got, 'etag')).toBeDefined()
    expect(got.body).toHaveLength(0)
  },

  async missing(bench: Bench): Promise<void> {
    expect((await bench.ask()).status).toBe(404)
    await outcome(bench, 'sent')
  },

  /** The application fails before it has answered anything. */
  async error(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: expect.toSatisfy((status: number) => status >= 500 && status <= 502), whole: true })
    expect(JSON.stringify(got.headers) + lines(got)).not.toContain('secret')
  },

  /** The application fails amid its answer, or ends before the length that it said. */
  async broken(bench: Bench): Promise<void> {
    const got = await bench.ask().catch(() => undefined)
    // Whether the head was out by then or not, the client never takes what it got for all.
    if (got !== undefined && got.status < 500) expect(got.whole).toBe(false)
    if (got !== undefined) expect(lines(got)).not.toContain('secret')
    await outcome(bench, 'failed')
  },

  async stderr(bench: Bench): Promise<void> {
    expect(lines(await bench.ask())).toBe('logged')
    await expect.poll(() => bench.errors()).toContain('a line for the log')
  },

  /** An internal result that no site resolves. */
  async internal(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 500, whole: true })
    expect(got.body).toHaveLength(0)
    await outcome(bench, 'failed')
  },

  /** Many at once: each gets its own answer. */
  async many(bench: Bench): Promise<void> {
    const numbers = Array.from({ length: 24 }, (_, i) => i)
    const all = await Promise.all(
      numbers.map((i) =>
        bench.ask({ method: 'POST', target: `/echo/${i}?q=${i}`, headers: { 'X-One': String(i) }, body: 'b'.repeat(i * 1000) }),
      ),
    )
    for (const [i, got] of all.entries()) {
      expect(got).toMatchObject({ status: 200, whole: true })
      expect(lines(got)).toContain(`path=/${i}\nquery=q=${i}\n`)
      expect(lines(got)).toContain(`one=${i}\n`)
      expect(lines(got)).toMatch(new RegExp(`\n\nb{${i * 1000}}$`))
    }
    await expect.poll(() => bench.outcomes.map((each) => each.kind)).toEqual(numbers.map(() => 'sent'))
  },

  /** The client leaves before there is an answer; the next one is answered all the same. */
  async silent(bench: Bench): Promise<void> {
    const got = await bench.ask({ leaveAt: 200 })
    expect(got.whole).toBe(false)
    await outcome(bench, 'cut')
    expect(bench.outcomes[0]).toMatchObject({ status: 0, bytes: 0 })
    expect((await bench.ask({ target: '/missing' })).status).toBe(404)
  },

  async trailers(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(lines(got)).toBe('trailed')
    // HTTP/2 has names in lower case.
    expect(got.trailers.map((each) => each.toLowerCase())).toEqual(['x-after', 'yes'])
  },

  async interim(bench: Bench): Promise<void> {
    const got = await bench.ask()
    expect(got).toMatchObject({ status: 200, informed: [103] })
  },
}

export type Behaviour = keyof typeof behaviours
