import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, readFileSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { members, until } from '../../test/processes.ts'
import { openGuard } from './guard.ts'
import { launch } from './launch.ts'

const started: ChildProcess[] = []
let folders = ''
beforeEach(() => {
  folders = mkdtempSync(join(tmpdir(), 'viaduct-guard-'))
})
afterEach(() => {
  for (const child of started.splice(0)) child.kill('SIGKILL')
  rmSync(folders, { recursive: true })
})

function sleeper(): ReturnType<typeof launch> {
  // A group of two: the shell and what it started.
  const child = launch('sh', ['-c', 'sleep 60 & wait'], { cwd: '/', env: { PATH: '/usr/bin:/bin' } })
  started.push(child)
  return child
}

const lives = (pgid: number): boolean => members(pgid).length > 0

/** A process that has three groups of sleepers watched by a guard, the second of them forgotten again. */
async function manager(after: string): Promise<{ manager: ChildProcess; guard: number; groups: number[] }> {
  const guardFile = new URL('guard.ts', import.meta.url).pathname.replace('/src/', '/dist/').replace('.ts', '.js')
  const code = `
    import { spawn } from 'node:child_process'
    import { mkdtempSync } from 'node:fs'
    import { openGuard } from ${JSON.stringify(guardFile)}
    const guard = openGuard()
    const groups = [1, 2, 3].map(() => {
      const child = spawn('sh', ['-c', 'sleep 60 & wait'], { detached: true, stdio: 'ignore' })
      child.unref()
      guard.watch(child.pid, mkdtempSync(process.env.FOLDERS + '/a b-'))
      return child.pid
    })
    guard.forget(groups[1])
    guard.watchFolder(mkdtempSync(process.env.FOLDERS + '/it\\'s a "$(folder)"-'))
    const left = mkdtempSync(process.env.FOLDERS + '/left-')
    guard.watchFolder(left)
    guard.forgetFolder(left)
    console.log(JSON.stringify({ guard: guard.pid, groups }))
    ${after}`
  const child = spawn(process.execPath, ['--input-type=module', '-e', code], {
    stdio: ['ignore', 'pipe', 'inherit'],
    env: { ...process.env, FOLDERS: folders },
    detached: true,
  })
  started.push(child)
  const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string]
  return { manager: child, ...(JSON.parse(line) as { guard: number; groups: number[] }) }
}

describe('when the process that opened a guard', () => {
  test.each<[string, string, (manager: ChildProcess) => void]>([
    ['is killed', 'setInterval(() => {}, 1000)', (child) => void child.kill('SIGKILL')],
    ['crashes', 'setTimeout(() => process.kill(process.pid, "SIGSEGV"), 50)', () => {}],
    ['comes to its end, which the guard does not put off', '', () => {}],
    [
      'and its terminal send SIGINT to all, then it is killed',
      'process.on("SIGINT", () => {}); setInterval(() => {}, 1000)',
      (child) => {
        process.kill(-child.pid!, 'SIGINT')
        process.kill(-child.pid!, 'SIGKILL')
      },
    ],
  ])('%s, what it watched is gone within a second, with its folders, and so is the guard', async (_, after, end) => {
    const { manager: child, guard, groups } = await manager(after)
    const gone = child.exitCode === null && child.signalCode === null ? once(child, 'exit') : Promise.resolve()
    end(child)
    await gone
    const [first, forgotten, last] = groups as [number, number, number]
    try {
      await until(() => !lives(first) && !lives(last) && !lives(guard), 1000)
      expect(lives(forgotten)).toBe(true)
      // The folders of those that were forgotten are somebody else's business again.
      expect(readdirSync(folders).map((name) => name.slice(0, 4))).toEqual(['a b-', 'left'])
    } finally {
      process.kill(-forgotten, 'SIGKILL')
    }
  })
})

test('a guard is in a session of its own, deaf to the signals of a terminal and of a service manager', async () => {
  const guard = openGuard()
  const { pid } = guard
  const status = (): string => readFileSync(`/proc/${pid}/status`, 'utf8')
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
  expect(Number(stat[3])).toBe(pid)
  const ignored = (signal: number): boolean => (BigInt(`0x${/SigIgn:\s*(\w+)/.exec(status())![1]}`) & (1n << BigInt(signal - 1))) !== 0n
  await until(() => [1, 2, 3, 15].every(ignored))
  guard.close()
  await until(() => !lives(pid!))
})

test('closing a guard ends it and what it still watches', async () => {
  const guard = openGuard()
  const { pid } = guard
  const [kept, forgotten] = [sleeper(), sleeper()]
  guard.watch(kept.pid)
  guard.watch(forgotten.pid)
  guard.forget(forgotten.pid)
  guard.close()
  guard.close()
  expect(await kept.exited).toEqual({ code: null, signal: 'SIGKILL' })
  await until(() => !lives(pid!))
  expect(lives(forgotten.pid)).toBe(true)
  process.kill(-forgotten.pid, 'SIGKILL')
  await forgotten.exited
  expect(() => guard.watch(forgotten.pid)).toThrow(expect.objectContaining({ code: 'CLOSED' }))
})

test('a guard that is killed is replaced by one that knows what is to be watched', async () => {
  const guard = openGuard()
  const first = guard.pid!
  const child = sleeper()
  guard.watch(child.pid)
  const folder = mkdtempSync(join(folders, 'kept-'))
  guard.watchFolder(folder)
  process.kill(first, 'SIGKILL')
  await until(() => guard.pid !== undefined && guard.pid !== first)
  expect([lives(child.pid), existsSync(folder)]).toEqual([true, true])
  guard.close()
  expect(await child.exited).toEqual({ code: null, signal: 'SIGKILL' })
  await until(() => !existsSync(folder))
})

test.each([0, 1, -5, 1.5, Number.NaN])('%d is no group to watch: killing it would kill ourselves or everybody', (pgid) => {
  const guard = openGuard()
  expect(() => guard.watch(pgid)).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  guard.close()
})
