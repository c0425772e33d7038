import { describe, expect, test } from 'vitest'
import { WorkerOutput } from './worker-output.ts'
import type { WorkerOutputOptions } from './worker-output.ts'

const HEAD = 'HEAD: [pool www] child 7 said into stderr: "'

function listen(more: Partial<WorkerOutputOptions> = {}): { output: WorkerOutput; writes: string[] } {
  const writes: string[] = []
  const write = (bytes: Uint8Array): void => void writes.push(Buffer.from(bytes).toString())
  return {
    output: new WorkerOutput({ pool: 'www', pid: 7, decorate: true, buffering: true, limit: 512, head: () => 'HEAD: ', write, ...more }),
    writes,
  }
}

describe('what a worker says', () => {
  test.each<[string, string[]]>([
    ['one\n', [`${HEAD}one"\n`]],
    ['one\ntwo\n', [`${HEAD}one"\n`, `${HEAD}two"\n`]],
    ['\n\n', []],
    ['half', []],
    ['é "x" \t\\\n', [`${HEAD}é "x" \t\\"\n`]],
    // A forged line, an escape sequence, a carriage return.
    ['a\r[22-Nov-2026 15:00:00] ALERT: b\x1b[2J\0\n', [`${HEAD}a\\x0d[22-Nov-2026 15:00:00] ALERT: b\\x1b[2J\\x00"\n`]],
  ])('%j is %j, however the bytes are cut', (said, lines) => {
    const bytes = Buffer.from(said)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const { output, writes } = listen()
      output.push('stderr', bytes.subarray(0, cut))
      output.push('stderr', bytes.subarray(cut))
      expect(writes, `cut at ${cut}`).toEqual(lines)
    }
  })

  test('is never longer than the limit in a line, and never cut', () => {
    const text = '0123456789'.repeat(300)
    for (const cut of [0, 1, 466, 467, 468, 1000]) {
      const { output, writes } = listen()
      output.push('stderr', Buffer.from(text.slice(0, cut)))
      output.push('stderr', Buffer.from(`${text.slice(cut)}\n`))
      expect(Math.max(...writes.map((line) => line.length))).toBe(512)
      expect(writes.every((line) => line.startsWith(HEAD) && line.endsWith('"\n'))).toBe(true)
      expect(writes.map((line) => line.slice(HEAD.length, -2)).join('')).toBe(text)
    }
  })

  test('goes on also with a head that fills the line', () => {
    const { output, writes } = listen({ pool: 'p'.repeat(600) })
    output.push('stderr', Buffer.from('abc\n'))
    expect(writes.length).toBe(3)
  })

  test('ends its line when it speaks on the other stream, and tells of a closed one', () => {
    const { output, writes } = listen()
    output.push('stderr', Buffer.from('err'))
    output.push('stdout', Buffer.from('out'))
    output.end('stderr')
    output.end('stdout')
    output.end('stdout')
    expect(writes).toEqual([
      `${HEAD}err"\n`,
      'HEAD: [pool www] child 7 said into stdout: "out", pipe is closed\n'.replace('out",', 'out",'),
    ])
  })

  test('ends its line with its request', () => {
    const { output, writes } = listen()
    output.push('stderr', Buffer.from('half'))
    output.endLine()
    output.endLine()
    expect(writes).toEqual([`${HEAD}half"\n`])
  })

  test('is written as it comes without buffering, and as it is without decoration', () => {
    const { output, writes } = listen({ buffering: false })
    output.push('stderr', Buffer.from('ha'))
    expect(writes.join('')).toBe(`${HEAD}ha`)
    output.push('stderr', Buffer.from('lf\n'))
    expect(writes.join('')).toBe(`${HEAD}half"\n`)
    const plain = listen({ decorate: false })
    plain.output.push('stderr', Buffer.from('half\nx'))
    plain.output.end('stderr')
    expect(plain.writes).toEqual(['half\n', 'x\n'])
  })
})
