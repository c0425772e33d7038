import { once } from 'node:events'
import { describe, expect, test } from 'vitest'
import { members, until } from '../../test/processes.ts'
import { endGroup, signalGroup } from './kill.ts'
import { launch } from './launch.ts'
import type { Launched } from './launch.ts'
import { ladder } from './shutdown.ts'

/** A shell that says when its traps are set. */
async function program(script: string): Promise<Launched> {
  const child = launch('sh', ['-c', script.replace('READY', 'echo ready')], {
    cwd: '/',
    env: { PATH: '/usr/bin:/bin' },
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  await once(child.stdout!, 'data')
  child.stdout!.resume()
  return child
}

describe('ending a group', () => {
  test.each([
    ['leaves when it is asked', 'trap "exit 0" TERM; READY; while :; do sleep 0.05; done', 60_000, { code: 0, signal: null }],
    ['dies of being asked', 'READY; exec sleep 60', 60_000, { code: null, signal: 'SIGTERM' }],
    ['does not listen', 'trap "" TERM; READY; while :; do sleep 0.05; done', 100, { code: null, signal: 'SIGKILL' }],
    ['has no time at all', 'trap "" TERM; READY; while :; do sleep 0.05; done', 0, { code: null, signal: 'SIGKILL' }],
  ])('whose leader %s tells how that went', async (_, script, grace, exit) => {
    const child = await program(script)
    expect(await endGroup(child, ladder({ grace }))).toEqual(exit)
    await until(() => members(child.pid).length === 0)
  })

  test('climbs: QUIT, TERM, then KILL', async () => {
    const said: string[] = []
    const child = await program('trap "echo quit" QUIT; trap "echo term" TERM; READY; while :; do sleep 0.02; done')
    child.stdout!.setEncoding('utf8').on('data', (text: string) => void said.push(...text.trim().split('\n')))
    const heard = once(child.stdout!, 'close')
    expect(await endGroup(child, ladder({ polite: 'SIGQUIT', grace: 500, patience: 500 }))).toEqual({ code: null, signal: 'SIGKILL' })
    await heard
    expect(said).toEqual(['quit', 'term'])
  })

  test('kills what its leader has left behind', async () => {
    const child = await program('(trap "" TERM; sleep 60) & trap "exit 0" TERM; READY; while :; do sleep 0.05; done')
    expect(members(child.pid).length).toBeGreaterThan(1)
    expect(await endGroup(child, ladder({ grace: 60_000 }))).toEqual({ code: 0, signal: null })
    await until(() => members(child.pid).length === 0)
  })

  test('sends nothing to the number of one that had exited before', async () => {
    // Somebody of the group is left, and would be hit if anything was sent.
    const child = await program('sleep 60 & READY; exit 0')
    await child.exited
    expect(await endGroup(child, ladder({ grace: 0 }))).toEqual({ code: 0, signal: null })
    expect(members(child.pid).length).toBe(1)
    expect(signalGroup(child.pid, 'SIGKILL')).toBe(true)
    await until(() => members(child.pid).length === 0)
  })
})

describe('signalling a group', () => {
  test('that is not there is no error', async () => {
    const child = launch('true', [], { cwd: '/', env: {} })
    await child.exited
    expect(signalGroup(child.pid, 'SIGTERM')).toBe(false)
    expect(signalGroup(child.pid, 0)).toBe(false)
  })

  test.each([1, 0, -1, 2.5, Number.NaN])('%d is refused: it would mean ourselves or everybody', (pgid) => {
    expect(() => signalGroup(pgid, 0)).toThrow(expect.objectContaining({ code: 'CONTRACT' }))
  })
})
