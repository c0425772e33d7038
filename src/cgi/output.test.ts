import { describe, expect, test } from 'vitest'
import { collect } from '../core/index.ts'
import type { GatewayResponse } from '../core/index.ts'
import { Output } from './output.ts'
import type { OutputOptions } from './output.ts'

function reader(options: Partial<OutputOptions> = {}): { output: Output; answers: GatewayResponse[] } {
  const answers: GatewayResponse[] = []
  const output = new Output({
    headLimit: 1000,
    nph: false,
    hold: 0,
    held() {},
    bodyless: false,
    answer: (response) => answers.push(response),
    drain() {},
    cancel() {},
    ...options,
  })
  return { output, answers }
}

async function bodyOf({ body }: GatewayResponse): Promise<string | null> {
  if (body === null || typeof body === 'string') return body
  return Buffer.from(body instanceof Uint8Array ? body : await collect(body as never)).toString('latin1')
}

/** What a program that writes these pieces and ends well makes. */
async function answer(pieces: Uint8Array[], options: Partial<OutputOptions> = {}): Promise<unknown> {
  const { output, answers } = reader(options)
  for (const piece of pieces) output.write(piece)
  output.end()
  expect(answers.length).toBe(1)
  const [response] = answers
  return { ...response, body: await bodyOf(response!), surplus: output.surplus }
}

describe('an answer', () => {
  const cases: [string, string, Partial<OutputOptions>, object][] = [
    ['a document', 'Content-Type: text/plain\n\nhello', {}, { status: 200, headers: ['Content-Type', 'text/plain'], body: 'hello' }],
    ['CR LF', 'Status: 404 Gone Away\r\nContent-Type: a/b\r\n\r\nx\n\ny', {}, { status: 404, reason: 'Gone Away', body: 'x\n\ny' }],
    [
      'a length',
      'Content-Type: a/b\nContent-Length: 3\n\nabc',
      {},
      { headers: ['Content-Type', 'a/b', 'Content-Length', '3'], body: 'abc', surplus: 0 },
    ],
    ['more than its length', 'Content-Type: a/b\nContent-Length: 3\n\nabcdef', {}, { body: 'abc', surplus: 3 }],
    ['an empty body', 'Content-Type: a/b\nContent-Length: 0\n\n', {}, { body: null }],
    ['no content', 'Status: 204 No Content\n\nignored', {}, { status: 204, body: null }],
    [
      'HEAD',
      'Content-Type: a/b\nContent-Length: 5\n\nhello',
      { bodyless: true },
      { headers: ['Content-Type', 'a/b', 'Content-Length', '5'], body: null },
    ],
    ['a local redirect', 'Location: /other?x=y\n\n', {}, { internal: { redirect: '/other?x=y' }, headers: [], body: null }],
    [
      'a local redirect with a body, which is none',
      'Location: /other\n\nmoved',
      {},
      { status: 302, headers: ['Location', '/other'], body: 'moved' },
    ],
    [
      'a local redirect with a status, which is none',
      'Status: 301\nLocation: /other\n\n',
      {},
      { status: 301, headers: ['Location', '/other'], body: '' },
    ],
    [
      'a redirect for the client',
      'Location: http://example.org/\n\n',
      {},
      { status: 302, headers: ['Location', 'http://example.org/'], body: '' },
    ],
    [
      'a whole HTTP response',
      'HTTP/1.1 201 Made\r\nX: y\r\n\r\nbody',
      { nph: true },
      { status: 201, reason: 'Made', headers: ['X', 'y'], body: 'body' },
    ],
  ]

  test.each(cases)('with %s is the same however the bytes are cut', async (_, text, options, expected) => {
    const wire = Buffer.from(text, 'latin1')
    expect(await answer([wire], options)).toMatchObject(expected)
    for (let cut = 0; cut <= wire.length; cut++) {
      expect(await answer([wire.subarray(0, cut), wire.subarray(cut)], options), `cut at ${cut}`).toMatchObject(expected)
    }
    expect(
      await answer(
        [...wire].map((byte) => Uint8Array.of(byte)),
        options,
      ),
    ).toMatchObject(expected)
  })

  test('of one piece that is whole is a value, not a stream', () => {
    const { output, answers } = reader({ hold: 1 })
    output.write(Buffer.from('Content-Type: a/b\nContent-Length: 1\n\nh'))
    expect(answers[0]!.body).toBeInstanceOf(Uint8Array)
  })
})

const headOf = (bytes: number): Buffer => Buffer.from(`X: ${'y'.repeat(bytes - 5)}\n\n`)

describe('an answer is refused with 502', () => {
  const head = 'Content-Type: text/plain\n'

  test.each([
    ['nothing at all', '', 'no answer at all'],
    ['no blank line', head, 'no blank line'],
    ['an empty head', '\n', 'empty'],
    ['no field', 'hello\n\n', 'not a header field'],
    ['a NUL', `${head}X: a\0b\n\n`, 'control character'],
    ['a bare CR', `${head}X: a\rSet-Cookie: b\n\n`, 'control character'],
    ['two Status', 'Status: 200\nStatus: 404\n\n', 'twice'],
    ['a space before the colon', 'Content-Type : a/b\n\n', 'not a header field'],
  ])('for %s', (_, text, why) => {
    const { output, answers } = reader()
    expect(() => {
      output.write(Buffer.from(text, 'latin1'))
      output.end()
    }).toThrow(expect.objectContaining({ code: 'UPSTREAM_HEAD', status: 502, message: expect.stringContaining(why) }))
    expect(answers).toEqual([])
  })

  test('for a head over its limit, at the limit and not later', () => {
    expect(headOf(1000).length).toBe(1000)
    expect(() => reader().output.write(headOf(1000))).not.toThrow()
    expect(() => reader().output.write(headOf(1001))).toThrow(expect.objectContaining({ code: 'UPSTREAM_HEAD' }))
    const { output } = reader()
    output.write(Buffer.alloc(1000, 'x'))
    expect(() => output.write(Buffer.alloc(1, 'x'))).toThrow(expect.objectContaining({ code: 'UPSTREAM_HEAD' }))
  })

  test('for a body short of its length', async () => {
    const { output, answers } = reader()
    output.write(Buffer.from('Content-Type: a/b\nContent-Length: 5\n\nabc'))
    expect(() => output.end()).toThrow(expect.objectContaining({ code: 'UPSTREAM_TRUNCATED' }))
    output.fail(new Error('cut'))
    await expect(bodyOf(answers[0]!)).rejects.toThrow('cut')
  })
})

test('a client that takes nothing holds the program back, and is heard when it goes on', async () => {
  let drained = 0
  const { output, answers } = reader({ drain: () => drained++ })
  output.write(Buffer.from('Content-Type: a/b\n\n'))
  expect(output.write(Buffer.alloc(60_000))).toBe(true)
  expect(output.write(Buffer.alloc(60_000))).toBe(false)
  expect(drained).toBe(0)
  const whole = bodyOf(answers[0]!)
  await Promise.resolve()
  expect(drained).toBe(1)
  output.end()
  expect((await whole)!.length).toBe(120_000)
})

const text = (value: string): Buffer => Buffer.from(value, 'latin1')

describe('a body that may wait for its end', () => {
  test('is a whole value with its length, however it was cut', async () => {
    const whole = 'Content-Type: a/b\n\nhello, world'
    for (let cut = 0; cut <= whole.length; cut++) {
      const { output, answers } = reader({ hold: 100 })
      output.write(text(whole.slice(0, cut)))
      output.write(text(whole.slice(cut)))
      expect(answers, `cut at ${cut}`).toEqual([])
      output.end()
      expect(answers, `cut at ${cut}`).toEqual([
        { status: 200, headers: ['Content-Type', 'a/b', 'Content-Length', '12'], body: Buffer.from('hello, world') },
      ])
    }
  })

  test('waits for nothing more once it is as long as the program said', () => {
    const { output, answers } = reader({ hold: 100 })
    output.write(text('Content-Type: a/b\nContent-Length: 5\n\nhe'))
    expect(answers).toEqual([])
    output.write(text('llo and more'))
    expect(answers).toEqual([{ status: 200, headers: ['Content-Type', 'a/b', 'Content-Length', '5'], body: Buffer.from('hello') }])
    expect(output.surplus).toBe(9)
  })

  test.each<[string, (output: Output) => void]>([
    ['has waited long enough', (output) => output.release()],
    ['is longer than may wait', (output) => void output.write(text('x'.repeat(100)))],
  ])('becomes a stream when it %s', async (_, happens) => {
    let asked = 0
    const { output, answers } = reader({ hold: 100, held: () => asked++ })
    output.write(text('Content-Type: a/b\n\nbegin '))
    expect([asked, answers.length]).toEqual([1, 0])
    happens(output)
    expect(answers.length).toBe(1)
    expect(answers[0]!.headers).toEqual(['Content-Type', 'a/b'])
    output.write(text(' end'))
    output.release()
    output.end()
    expect(answers.length).toBe(1)
    expect(await bodyOf(answers[0]!)).toMatch(/^begin x* end$/)
  })

  test('is no answer at all when it fails meanwhile', () => {
    const { output, answers } = reader({ hold: 100 })
    output.write(text('Content-Type: a/b\nContent-Length: 9\n\nhalf'))
    expect(() => output.end()).toThrow(/5 bytes before/)
    output.fail(new Error('cut'))
    expect(answers).toEqual([])
  })
})
