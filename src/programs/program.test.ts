import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { describeProgram } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-test-program-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

let count = 0
function file(content: string, mode = 0o755): string {
  const path = join(folder, `${count++}.fcgi`)
  writeFileSync(path, content, 'latin1')
  chmodSync(path, mode)
  return path
}

describe('a program file', () => {
  test.each<[string, string, number, string, string[], RegExp | undefined]>([
    ['machine code', '\x7fELF\x02\x01', 0o755, 'binary', [], undefined],
    ['machine code without the bit', '\x7fELF\x02\x01', 0o644, 'binary', [], /is not executable; run chmod \+x/],
    ['a script', '#!/bin/sh -e\necho', 0o755, 'script', ['/bin/sh', '-e'], undefined],
    ['a script with a space', '#! /bin/sh\n', 0o755, 'script', ['/bin/sh'], undefined],
    ['a script without the bit', '#!/bin/sh\n', 0o600, 'script', ['/bin/sh'], /not executable/],
    ['a script of Windows', '#!/bin/sh\r\necho', 0o755, 'script', ['/bin/sh'], /line ends of Windows/],
    ['a script of nobody', '#!/nowhere/perl\n', 0o755, 'script', ['/nowhere/perl'], /its interpreter \/nowhere\/perl is not there/],
    ['a script with a name only', '#!perl\n', 0o755, 'script', ['perl'], /absolute path/],
    ['text', 'print "hello"', 0o755, 'unknown', [], /first line must name its interpreter/],
    ['nothing', '', 0o755, 'unknown', [], /first line must name its interpreter/],
  ])('%s', (_, content, mode, kind, interpreter, problem) => {
    const path = file(content, mode)
    const facts = describeProgram(path)
    expect(facts).toMatchObject({ command: path, cwd: folder, kind, interpreter })
    if (problem === undefined) expect(facts.problem).toBe(undefined)
    else expect(facts.problem).toMatch(problem)
  })

  test('a folder is none', () => {
    mkdirSync(join(folder, 'sub.fcgi'))
    expect(describeProgram(join(folder, 'sub.fcgi')).problem).toMatch(/not a regular file/)
  })
})
