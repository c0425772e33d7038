// The format against the vectors of docs/capture-format.md, and against files that somebody has spoilt.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { afterAll, describe, expect, test } from 'vitest'
import { random } from '../../test/wire.ts'
import { Damage, FrameDecoder, MAGIC, Refusal, encodeFrame } from './format.ts'
import type { Frame } from './format.ts'
import { readCapture } from './reader.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-format-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const meta = {
  software: 'Viaduct/test',
  started: '2026-11-22T12:00:00.000Z',
  listen: '127.0.0.1:9001',
  to: '127.0.0.1:9000',
  mask: ['Cookie'],
}
const content = Buffer.from('Content-Type: text/plain\r\n\r\nhello')
const frames: readonly Frame[] = [
  { kind: 'meta', time: 0, meta },
  { kind: 'open', time: 1.5, connection: 1, peer: '127.0.0.1:40000' },
  {
    kind: 'record',
    time: 2.25,
    connection: 1,
    direction: 'from',
    record: { type: 6, id: 258, content, length: content.length, padding: 7 },
    masked: true,
    contentAt: 0,
  },
  {
    kind: 'record',
    time: 2.5,
    connection: 1,
    direction: 'to',
    record: { type: 5, id: 1, content: Buffer.from('cut'), length: 65_535, padding: 0 },
    masked: false,
    contentAt: 0,
  },
  { kind: 'half-close', time: 3, connection: 1, direction: 'to' },
  { kind: 'foreign', time: 4, connection: 0xffff_ffff, direction: 'from', bytes: Buffer.from('HTTP/1.1') },
  { kind: 'close', time: 5, connection: 1, reason: 'the application broke the connection (ECONNRESET)' },
  { kind: 'finish', time: 281_474_976_710.655, reason: 'stopped' },
]
const file = Buffer.concat([MAGIC, ...frames.map(encodeFrame)])

function decode(...reads: readonly Buffer[]): Frame[] {
  const found: Frame[] = []
  const decoder = new FrameDecoder()
  // A read is used again, as a reader may do it: what a frame holds must be taken at once.
  for (const read of reads) decoder.push(read, (frame) => found.push(structuredFrame(frame)))
  expect(decoder.atBoundary).toBe(true)
  return found
}

function structuredFrame(frame: Frame): Frame {
  if (frame.kind !== 'record') return frame.kind === 'foreign' ? { ...frame, bytes: Buffer.from(frame.bytes) } : frame
  return { ...frame, record: { ...frame.record, content: Buffer.from(frame.record.content) } }
}

describe('frames', () => {
  test('are the same after they were written and read, however the bytes are cut', () => {
    const whole = decode(file)
    expect(whole.map((frame) => (frame.kind === 'record' ? { ...frame, contentAt: 0 } : frame))).toEqual(frames)
    for (let cut = 0; cut <= file.length; cut++) expect(decode(file.subarray(0, cut), file.subarray(cut)), `cut at ${cut}`).toEqual(whole)
    expect(decode(...Array.from(file, (_, at) => file.subarray(at, at + 1)))).toEqual(whole)
  })

  test('tell where the content of a record lies in the file', () => {
    for (const frame of decode(file)) {
      if (frame.kind !== 'record') continue
      const { content: own } = frame.record
      expect(file.subarray(frame.contentAt, frame.contentAt + own.length)).toEqual(own)
    }
  })

  test('of a kind that is not known yet are left out', () => {
    const later = Buffer.from(encodeFrame({ kind: 'open', time: 0, connection: 1, peer: 'x' }))
    later[0] = 99
    later.writeUInt32BE(crc32(later.subarray(24), crc32(later.subarray(0, 20))), 20)
    expect(decode(Buffer.concat([MAGIC, later, encodeFrame(frames[0]!)])).map(({ kind }) => kind)).toEqual(['meta'])
  })
})

describe('the vectors of the documentation', () => {
  const page = readFileSync(new URL('../../docs/capture-format.md', import.meta.url), 'utf8')
  const block = /```hex\n([\s\S]*?)```/.exec(page)?.[1] ?? ''
  const bytes = Buffer.from(block.replace(/;.*$/gm, '').replace(/\s+/g, ''), 'hex')

  test('are read as they are described', () => {
    expect(decode(bytes).map((frame) => frame.kind)).toEqual(['meta', 'open', 'record', 'record', 'half-close', 'close', 'finish'])
    expect(decode(bytes)).toMatchObject([
      { kind: 'meta', meta: { to: '127.0.0.1:9000', mask: ['Cookie'] } },
      { kind: 'open', time: 1, connection: 1, peer: '127.0.0.1:40000' },
      { kind: 'record', time: 1.25, direction: 'to', masked: true, record: { type: 4, id: 1, length: 16, padding: 0 } },
      { kind: 'record', time: 3.5, direction: 'from', masked: false, record: { type: 3, id: 1, length: 8 } },
      { kind: 'half-close', direction: 'from' },
      { kind: 'close', reason: '' },
      { kind: 'finish', time: 5, reason: 'stopped' },
    ])
  })

  test('are what is written', () => {
    const [first, ...rest] = decode(bytes)
    expect(first?.kind).toBe('meta')
    expect(Buffer.concat([MAGIC, ...[first!, ...rest].map(encodeFrame)]).toString('hex')).toBe(bytes.toString('hex'))
  })
})

describe('a file', () => {
  const path = join(folder, 'file')
  async function read(bytes: Buffer): Promise<{ kinds: string[]; problem: string | undefined }> {
    writeFileSync(path, bytes)
    const kinds: string[] = []
    const end = await readCapture(path, (frame) => kinds.push(frame.kind))
    return { kinds, problem: end.problem }
  }

  test('that is cut off anywhere gives what is before that, and says so', async () => {
    const ends = frames.reduce<number[]>((found, frame) => [...found, found.at(-1)! + encodeFrame(frame).length], [MAGIC.length])
    for (let cut = MAGIC.length; cut <= file.length; cut++) {
      const { kinds, problem } = await read(file.subarray(0, cut))
      const whole = ends.filter((end) => end <= cut).length - 1
      expect(kinds, `cut at ${cut}`).toEqual(frames.slice(0, whole).map(({ kind }) => kind))
      if (ends.includes(cut)) expect(problem).toBeUndefined()
      else expect(problem).toBe(`${path} is cut off within a frame, at byte ${ends[whole]}`)
    }
  })

  test.each<[string, Buffer, string]>([
    ['is empty', Buffer.alloc(0), 'is empty'],
    ['has not all of its first bytes', MAGIC.subarray(0, 10), 'is empty'],
    ['is something else', Buffer.from('{"json": true}\n'), 'is no capture of FastCGI'],
    ['is something else, and short', Buffer.from('x'), 'is no capture of FastCGI'],
    [
      'was changed by a transfer as text',
      Buffer.from(MAGIC.toString('latin1').replace('\r\n', '\n'), 'latin1'),
      'is no capture of FastCGI',
    ],
    [
      'is of a later version',
      Buffer.concat([MAGIC.subarray(0, 12), Buffer.from([0, 2, 0, 0])]),
      'is a capture of version 2, and this program reads version 1',
    ],
  ])('that %s is refused', async (_, bytes, message) => {
    await expect(read(bytes)).rejects.toMatchObject({ code: 'CONFIG', message: expect.stringContaining(message) })
  })

  test('of a later minor version is read', async () => {
    const bytes = Buffer.from(file)
    bytes[15] = 9
    expect((await read(bytes)).kinds).toHaveLength(frames.length)
  })

  test('that is not there is named', async () => {
    await expect(readCapture(join(folder, 'none'), () => {})).rejects.toThrow(/cannot read .*none: ENOENT/)
  })

  test.each<[string, (bytes: Buffer) => void, string]>([
    [
      'an impossible length',
      (bytes) => void bytes.writeUInt32BE(0xffff_ffff, MAGIC.length + 16),
      'a frame of 4294967295 bytes, 65543 are the most',
    ],
    ['a changed byte', (bytes) => void (bytes[MAGIC.length + 30]! ^= 1), 'the checksum of the frame at byte 16 is wrong'],
  ])('with %s is damaged there', async (_, spoil, message) => {
    const bytes = Buffer.from(file)
    spoil(bytes)
    expect(await read(bytes)).toEqual({
      kinds: [],
      problem: `${path} is damaged: ${message.startsWith('a frame') ? 'at byte 16 ' : ''}${message}`,
    })
  })

  test('that was spoilt at random is refused, damaged or read: never anything else, and never what was not written', async () => {
    const next = random(5)
    const known = new Set(frames.map((frame) => encodeFrame(frame).toString('hex')))
    for (let round = 0; round < 400; round++) {
      const bytes = Buffer.from(file.subarray(0, next(file.length + 1)))
      for (let i = 0; i < 1 + next(3); i++) if (bytes.length > 0) bytes[next(bytes.length)] = next(256)
      const found: Frame[] = []
      try {
        new FrameDecoder().push(bytes, (frame) => found.push(frame))
      } catch (error) {
        expect(error instanceof Damage || error instanceof Refusal, String(error)).toBe(true)
      }
      for (const frame of found) expect(known).toContain(encodeFrame(frame).toString('hex'))
    }
  })
})
