import { describe, expect, test } from 'vitest'
import { LIFECYCLE, move } from './lifecycle.ts'
import type { WorkerEvent, WorkerState } from './lifecycle.ts'

const states = Object.keys(LIFECYCLE) as WorkerState[]
const events: WorkerEvent[] = ['ready', 'request', 'finished', 'retire', 'timeout', 'exited']

/** The states and acts that a worker goes through. */
function live(...story: WorkerEvent[]): string {
  let state: WorkerState = 'starting'
  return story
    .map((event) => {
      const next = move(state, event)
      if (next === undefined) return '-'
      state = next.to
      return [state, next.act, next.fault === true ? 'fault' : undefined].filter((each) => each !== undefined).join(' ')
    })
    .join(', ')
}

describe('a worker', () => {
  test.each<[string, WorkerEvent[], string]>([
    ['that serves and is retired', ['ready', 'request', 'finished', 'retire', 'exited'], 'ready, busy, ready, stopping stop, gone'],
    [
      'that is retired while busy ends its request first',
      ['ready', 'request', 'retire', 'finished', 'exited'],
      'ready, busy, draining, stopping stop, gone',
    ],
    ['that is retired while starting is stopped', ['retire', 'ready', 'exited'], 'stopping stop, -, gone'],
    ['that does not come up is killed, and a fault once', ['timeout', 'ready', 'exited'], 'killed kill fault, -, gone'],
    ['that dies while starting is a fault', ['exited'], 'gone fault'],
    ['that dies while idle is a fault', ['ready', 'exited'], 'ready, gone fault'],
    ['that dies of its request is a fault', ['ready', 'request', 'exited'], 'ready, busy, gone fault'],
    ['that takes too long for a request is killed', ['ready', 'request', 'timeout', 'exited'], 'ready, busy, killed kill, gone'],
    ['that does not stop when asked is killed', ['ready', 'retire', 'timeout', 'exited'], 'ready, stopping stop, killed kill, gone'],
    ['that takes too long while draining is killed', ['ready', 'request', 'retire', 'timeout'], 'ready, busy, draining, killed kill'],
    ['takes one request at a time', ['ready', 'request', 'request'], 'ready, busy, -'],
    ['that is idle has no deadline', ['ready', 'timeout'], 'ready, -'],
  ])('%s', (_, story, told) => {
    expect(live(...story)).toBe(told)
  })
})

test('takes a request in no state but ready', () => {
  expect(states.filter((state) => move(state, 'request') !== undefined)).toEqual(['ready'])
})

test('from every state but the last there is a way to gone, by exit alone', () => {
  for (const state of states) expect(move(state, 'exited')?.to, state).toBe(state === 'gone' ? undefined : 'gone')
})

test('nothing revives what was killed or has gone', () => {
  for (const event of events) {
    expect(move('gone', event)).toBeUndefined()
    if (event !== 'exited') expect(move('killed', event)).toBeUndefined()
  }
})
