import { expect, test } from 'vitest'
import { obituary } from './obituary.ts'
import { readWaitStatus } from './proc.ts'

test.each([
  [0, undefined, 'notice', 'exited with code 0', false],
  [0x300, undefined, 'warning', 'exited with code 3', false],
  [11, undefined, 'warning', 'exited on signal 11 (SIGSEGV)', true],
  [11 | 0x80, undefined, 'warning', 'exited on signal 11 (SIGSEGV - core dumped)', true],
  [7, undefined, 'warning', 'exited on signal 7 (SIGBUS)', true],
  [9, undefined, 'warning', 'exited on signal 9 (SIGKILL)', false],
  [6, undefined, 'warning', 'exited on signal 6 (SIGABRT)', false],
  [3, undefined, 'notice', 'exited on signal 3 (SIGQUIT)', false],
  [64, undefined, 'warning', 'exited on signal 64 ()', false],
  [15, 'worn', 'notice', 'exited on signal 15 (SIGTERM)', false],
  [9, 'spare', 'debug', 'has been killed by the process management', false],
])('wait status %i, dismissed %s: %s, %s', (status, dismissed, level, words, crash) => {
  expect(obituary('www', 12, readWaitStatus(status), 1234.5678, dismissed)).toMatchObject({
    level,
    text: `[pool www] child 12 ${words} after 1.234568 seconds from start`,
    crash,
  })
})

test('what nobody can tell is said', () => {
  expect(obituary('www', 12, 'unknown', 0)).toMatchObject({
    level: 'warning',
    text: expect.stringContaining('nobody can tell') as string,
    crash: false,
  })
})
