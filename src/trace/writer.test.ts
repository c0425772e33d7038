import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import type { Frame } from './format.ts'
import { readCapture } from './reader.ts'
import { CaptureWriter } from './writer.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-writer-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const meta = { software: 'test', started: '', listen: '', to: '', mask: [] }
const content = Buffer.alloc(65_535, 'x')
const frame: Frame = {
  kind: 'record',
  time: 1,
  connection: 1,
  direction: 'from',
  record: { type: 6, id: 1, content, length: content.length, padding: 0 },
  masked: false,
  contentAt: 0,
}

test('a disk that is slower than the traffic says so, and says when it has caught up', async () => {
  const path = join(folder, 'slow')
  let drained!: () => void
  const caughtUp = new Promise<void>((resolve) => (drained = resolve))
  const writer = await CaptureWriter.open(path, { meta, onStop: () => {}, onDrain: drained })
  // Nothing is written before the event loop turns: all of it waits.
  const said = Array.from({ length: 100 }, () => writer.write(frame))
  expect(said.slice(0, 50)).toEqual(Array.from({ length: 50 }, () => true))
  expect(said.at(-1)).toBe(false)
  await caughtUp
  expect(writer.write(frame)).toBe(true)
  await writer.end(2)
  const kinds: string[] = []
  expect(await readCapture(path, ({ kind }) => kinds.push(kind))).toEqual({ bytes: writer.bytes })
  expect(kinds).toEqual(['meta', ...Array.from({ length: 101 }, () => 'record'), 'finish'])
  expect(statSync(path).size).toBe(writer.bytes)
})

test('a limit is kept to the byte, told once, and what comes later is dropped', async () => {
  const path = join(folder, 'limit')
  const told: string[] = []
  const writer = await CaptureWriter.open(path, { meta, limit: 200_000, onStop: (why) => told.push(why), onDrain: () => {} })
  for (let i = 0; i < 10; i++) expect(writer.write(frame)).toBe(true)
  await writer.end(2)
  expect(told).toEqual(['the file has reached its limit of 200000 bytes'])
  expect(statSync(path).size).toBeLessThanOrEqual(200_000)
  const frames: Frame[] = []
  await readCapture(path, (each) => frames.push(each))
  expect(frames.filter(({ kind }) => kind === 'record')).toHaveLength(3)
  expect(frames.at(-1)).toMatchObject({ kind: 'finish', reason: 'limit' })
})

test('a folder that is not there is named', async () => {
  await expect(CaptureWriter.open(join(folder, 'none/x'), { meta, onStop: () => {}, onDrain: () => {} })).rejects.toMatchObject({
    code: 'CONFIG',
    message: expect.stringMatching(/^capture: cannot write .*none\/x: ENOENT/),
  })
})
