import { describe, expect, test } from 'vitest'
import { INPUT_LIMIT, ReportReader, TEXT_LIMIT, encodeJoin, encodeKill, encodeRun } from './spawner-wire.ts'
import type { ProgramSpec, Report } from './spawner-wire.ts'

const spec: ProgramSpec = { file: '/bin/x', argv: ['x', 'a b'], env: ['A', '1', 'B', ''], cwd: '/srv' }

function report(type: number, token: number, fields: Uint8Array = new Uint8Array(0)): Buffer {
  const head = Buffer.alloc(9)
  head.writeUInt32BE(5 + fields.length, 0)
  head[4] = type
  head.writeUInt32BE(token, 5)
  return Buffer.concat([head, fields])
}

function read(...chunks: Uint8Array[]): Report[] {
  const out: Report[] = []
  const reader = new ReportReader()
  // Copied: what is told is only valid during the call.
  for (const chunk of chunks)
    reader.push(chunk, (each) => out.push(each.type === 'stderr' ? { ...each, bytes: Uint8Array.from(each.bytes) } : each))
  return out
}

describe('a frame', () => {
  test('is two lengths, then NUL-separated text', () => {
    const text = 'run\x007\0none\0/srv\0/bin/x\x002\0x\0a b\0A\x001\0B\0'
    expect(encodeRun(7, spec)).toBe(`\0\0\0${String.fromCharCode(text.length)}\0\0\0\0${text}`)
  })

  test('says where standard input comes from, and how long it is', () => {
    expect(encodeRun(1, { ...spec, input: [Buffer.alloc(300), Buffer.alloc(2)] }).slice(4, 8)).toBe('\0\0\x01\x2e')
    expect(encodeRun(1, { ...spec, input: [Buffer.alloc(1)] })).toContain('\0data\0')
    expect(encodeRun(1, { ...spec, input: [] })).toContain('\0none\0')
    expect(encodeRun(1, { ...spec, input: 'stream' })).toContain('\0joined\0')
  })

  test.each<[string, Partial<ProgramSpec>]>([
    ['the working directory', { cwd: '/a\0b' }],
    ['the path of the program', { file: '/a\0b' }],
    ['an argument', { argv: ['x', '\0'] }],
    ['a variable name', { env: ['A\0', 'x'] }],
    ['A', { env: ['A', 'x\0LD_PRELOAD'] }],
  ])('is refused with 400 when there is a NUL in %s', (what, part) => {
    expect(() => encodeRun(1, { ...spec, ...part })).toThrow(
      expect.objectContaining({ code: 'BAD_REQUEST', status: 400, message: expect.stringContaining(what) }),
    )
  })

  test('is refused when a char is no byte, which cutting could turn into a NUL', () => {
    expect(() => encodeRun(1, { ...spec, argv: ['x', '\u0100'] })).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  })

  test('has limits for its text and its data', () => {
    expect(() => encodeRun(1, { ...spec, argv: ['x'.repeat(TEXT_LIMIT)] })).toThrow(expect.objectContaining({ status: 431 }))
    expect(() => encodeRun(1, { ...spec, input: [Buffer.alloc(INPUT_LIMIT + 1)] })).toThrow(expect.objectContaining({ status: 431 }))
  })

  test('of a standard input names the program it is for', () => {
    expect(encodeJoin(258)).toBe('\0\0\0\x08\0\0\0\0join\x00258')
  })

  test('of a signal is five bytes', () => {
    expect(encodeKill(0x01020304, 15)).toBe('\x01\x02\x03\x04\x0f')
  })
})

describe('reports', () => {
  const exit = Buffer.alloc(30)
  exit.writeInt32BE(-1, 0)
  exit[4] = 9
  exit[5] = 1
  exit.writeDoubleBE(1.5, 6)
  exit.writeDoubleBE(0.25, 14)
  exit.writeDoubleBE(4096, 22)
  const wire = Buffer.concat([
    report(1, 0),
    report(2, 7, Uint8Array.of(0, 0, 1, 0)),
    report(5, 7, Buffer.from('oh')),
    report(3, 8, Uint8Array.of(3, 0, 0, 0, 2)),
    report(4, 0xffffffff, exit),
    report(6, 7),
  ])
  const whole: Report[] = [
    { type: 'ready' },
    { type: 'started', token: 7, pid: 256 },
    { type: 'stderr', token: 7, bytes: Uint8Array.from(Buffer.from('oh')) },
    { type: 'failed', token: 8, stage: 'exec', errno: 2 },
    { type: 'exited', token: 0xffffffff, code: -1, signal: 9, left: true, userTime: 1.5, systemTime: 0.25, maxRss: 4096 },
    { type: 'gone', token: 7 },
  ]

  test('are the same however the bytes are cut', () => {
    expect(read(wire)).toEqual(whole)
    for (let cut = 0; cut <= wire.length; cut++) expect(read(wire.subarray(0, cut), wire.subarray(cut)), `cut at ${cut}`).toEqual(whole)
    expect(read(...[...wire].map((byte) => Uint8Array.of(byte)))).toEqual(whole)
  })

  test.each([
    ['shorter than its own head', Uint8Array.of(0, 0, 0, 4, 1, 0, 0, 0)],
    ['longer than any', Uint8Array.of(1, 0, 0, 0)],
    ['of an unknown type', report(9, 1)],
    ['without its fields', report(2, 1, Uint8Array.of(1))],
  ])('that are %s are an error, not a guess', (_, bytes) => {
    expect(() => read(bytes)).toThrow(expect.objectContaining({ code: 'UPSTREAM_PROTOCOL' }))
  })
})
