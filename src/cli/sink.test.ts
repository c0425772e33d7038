import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, mkdtempSync, openSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Sink } from './sink.ts'

let folder = ''
let file = ''
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-sink-'))
  file = join(folder, 'log')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

const lines = (from: number, to: number): string[] => Array.from({ length: to - from }, (_, i) => `line ${from + i}\n`)

describe('a sink', () => {
  test.each([0, 10, 100, 1_000_000])('of batches of %i writes every line, in order, by its end', async (batch) => {
    const sink = new Sink(file, { batch })
    for (const line of lines(0, 1000)) {
      sink.write(line)
      // Some while a write is under way, some in one go.
      if (line.endsWith('0\n')) await new Promise((done) => setImmediate(done))
    }
    await sink.end()
    expect(readFileSync(file, 'utf8')).toBe(lines(0, 1000).join(''))
  })

  test('writes within about a second what does not fill a batch', async () => {
    const sink = new Sink(file, { batch: 1000 })
    sink.write('é\n')
    const start = performance.now()
    while (readFileSync(file, 'utf8') !== 'é\n') {
      expect(performance.now() - start).toBeLessThan(10_000)
      await new Promise((done) => setTimeout(done, 20))
    }
    await sink.end()
  })

  test('appends, and after reopen writes to the new file and no more to the renamed one', async () => {
    const first = new Sink(file, { batch: 1000 })
    first.write('one\n')
    await first.end()
    const sink = new Sink(file, { batch: 1000 })
    sink.write('two\n')
    renameSync(file, `${file}.1`)
    sink.reopen()
    sink.write('three\n')
    await sink.end()
    expect(readFileSync(`${file}.1`, 'utf8')).toBe('one\ntwo\n')
    expect(readFileSync(file, 'utf8')).toBe('three\n')
  })

  test('ends at once and again, and drops what comes later', async () => {
    const sink = new Sink(file, { batch: 0 })
    await sink.end()
    await sink.end()
    sink.write('late\n')
    sink.reopen()
    expect(readFileSync(file, 'utf8')).toBe('')
  })

  test('that cannot write drops the lines, and ends all the same', async () => {
    // Every write to it fails: the disk is full.
    const full = openSync('/dev/full', 'w')
    const sink = new Sink(full, { batch: 0 })
    for (const line of lines(0, 100)) sink.write(line)
    await sink.end()
    closeSync(full)
  })

  test('whose reader reads nothing keeps only its backlog, and its end does not wait for ever', async () => {
    const reader = spawn('sleep', ['600'], { stdio: ['pipe', 'ignore', 'ignore'] })
    try {
      const { fd } = (reader.stdin as unknown as { _handle: { fd: number } })._handle
      const sink = new Sink(fd, { batch: 0, backlog: 100_000 })
      const line = `${'x'.repeat(999)}\n`
      for (let i = 0; i < 2000; i++) {
        sink.write(line)
        if (i % 100 === 0) await new Promise((done) => setTimeout(done, 1))
      }
      const start = performance.now()
      await sink.end()
      expect(performance.now() - start).toBeLessThan(10_000)
    } finally {
      reader.kill('SIGKILL')
      await once(reader, 'exit')
    }
  })
})
