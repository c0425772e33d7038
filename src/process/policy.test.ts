import { describe, expect, test } from 'vitest'
import { dynamicPolicy, ondemandPolicy, staticPolicy } from './policy.ts'
import type { Policy, PolicyAction, PoolView } from './policy.ts'

/** Idle ones by letter, longest idle first. */
const view = (idle: string, busy: number, starting: number, waiting = 0): PoolView<string> => ({
  idle: [...idle].map((worker, i) => ({ worker, since: i })),
  busy,
  starting,
  waiting,
})

describe('a static policy of 3', () => {
  const policy = staticPolicy({ workers: 3 })
  test.each([
    ['starts all', view('', 0, 0), ['spawn 3']],
    ['waits for those that are starting', view('', 0, 3), []],
    ['is content', view('ab', 1, 0), []],
    ['replaces what has gone', view('a', 1, 0), ['spawn 1']],
    ['does not grow with the queue', view('', 3, 0, 50), []],
    ['retires the longest idle when there are too many', view('abc', 2, 0), ['retire a spare', 'retire b spare']],
    ['leaves busy ones alone', view('a', 4, 0), ['retire a spare']],
  ])('%s', (_, seen, story) => {
    const { actions } = policy.decide(seen, policy.memory, 0)
    expect(actions.map(told)).toEqual(story)
  })
})

function told(action: PolicyAction<unknown>): string {
  if (action.type === 'spawn') return `spawn ${action.count}`
  return action.type === 'retire' ? `retire ${action.worker} ${action.reason}` : action.what
}

/** A second a line: how many are busy and how many requests wait. What is started is ready by the next line, and goes to those that wait. */
function play<M>(policy: Policy<M>, script: readonly { readonly busy: number; readonly waiting?: number }[]): string[] {
  let { memory } = policy
  let idle: { worker: string; since: number }[] = []
  let made = 0
  return script.map(({ busy, waiting = 0 }, second) => {
    const now = second * 1000
    // Last in, first out.
    const total = made
    const keep = Math.max(0, total - busy)
    idle = idle.slice(0, keep)
    while (idle.length < keep) idle.push({ worker: String(idle.length), since: now })
    const decision = policy.decide({ idle, busy: Math.min(busy, total), starting: 0, waiting }, memory, now)
    memory = decision.memory
    for (const action of decision.actions) {
      if (action.type === 'spawn') made += action.count
      else if (action.type === 'retire') {
        made--
        idle = idle.filter((each) => each.worker !== action.worker)
      }
    }
    return decision.actions.map(told).join(', ')
  })
}

describe('a dynamic policy', () => {
  test('doubles while short of spare workers, and says once that it is full', () => {
    const policy = dynamicPolicy({ minSpare: 3, maxSpare: 6, max: 10, start: 1 })
    const busy = [0, 1, 2, 4, 8, 9, 9, 9].map((each) => ({ busy: each }))
    expect(play(policy, busy)).toEqual(['spawn 1', 'spawn 1', 'spawn 2', 'spawn 3', 'spawn 3', 'max-workers', '', ''])
  })

  test('starts half-way between its spares', () => {
    expect(play(dynamicPolicy({ minSpare: 2, maxSpare: 6, max: 20 }), [{ busy: 0 }])).toEqual(['spawn 4'])
    expect(play(dynamicPolicy({ minSpare: 2, maxSpare: 6, max: 3 }), [{ busy: 0 }])).toEqual(['spawn 3'])
  })

  test('lets the coldest go, one a second, until there are no more than enough', () => {
    const policy = dynamicPolicy({ minSpare: 1, maxSpare: 2, max: 10, start: 5 })
    const calm = Array.from({ length: 5 }, () => ({ busy: 0 }))
    expect(play(policy, calm)).toEqual(['spawn 5', 'retire 0 spare', 'retire 1 spare', 'retire 2 spare', ''])
  })

  test('starts at its first pace again after a calm', () => {
    const policy = dynamicPolicy({ minSpare: 4, maxSpare: 8, max: 40, start: 4 })
    const busy = [0, 4, 4, 4, 4, 4, 8, 8].map((each) => ({ busy: each }))
    expect(play(policy, busy)).toEqual(['spawn 4', 'spawn 1', 'spawn 2', 'spawn 1', '', '', 'spawn 1', 'spawn 2'])
  })

  test('does not let requests that wait wait for the next second', () => {
    const policy = dynamicPolicy({ minSpare: 1, maxSpare: 3, max: 10, start: 1, maxSpawnRate: 4 })
    let { memory } = policy.decide(view('', 0, 0), policy.memory, 0)
    const at = (now: number, seen: PoolView<string>): string => {
      const decision = policy.decide(seen, memory, now)
      memory = decision.memory
      return decision.actions.map(told).join(', ')
    }
    expect(at(10, view('', 1, 0, 6))).toBe('spawn 4')
    // Four are on their way for six.
    expect(at(20, view('', 1, 4, 6))).toBe('spawn 2')
    expect(at(30, view('', 1, 6, 6))).toBe('')
    // Nobody waits, but there is none to spare: a matter of the next second.
    expect(at(40, view('', 7, 0))).toBe('')
    expect(at(1000, view('', 7, 0))).toBe('spawn 1')
  })
})

describe('an ondemand policy', () => {
  const policy = ondemandPolicy({ max: 3, idleTimeout: 5000 })

  test('starts what waits, says once that it is full, and keeps none that has long been idle', () => {
    const seconds = [{ busy: 0 }, { busy: 0, waiting: 2 }, { busy: 2, waiting: 5 }, { busy: 3, waiting: 4 }, { busy: 3, waiting: 4 }]
    const calm = Array.from({ length: 7 }, () => ({ busy: 0 }))
    expect(play(policy, [...seconds, ...calm])).toEqual([
      '',
      'spawn 2',
      'spawn 1',
      'max-workers',
      '',
      '',
      '',
      '',
      '',
      '',
      'retire 0 idle, retire 1 idle, retire 2 idle',
      '',
    ])
  })

  test('keeps warm what is used: only those below it grow old', () => {
    const { actions } = policy.decide(
      {
        idle: [
          { worker: 'a', since: 0 },
          { worker: 'b', since: 4000 },
        ],
        busy: 1,
        starting: 0,
        waiting: 0,
      },
      policy.memory,
      5000,
    )
    expect(actions.map(told)).toEqual(['retire a idle'])
  })

  test('counts those that are starting', () => {
    expect(policy.decide(view('', 0, 2, 2), policy.memory, 0).actions).toEqual([])
    expect(policy.decide(view('', 0, 2, 5), policy.memory, 0).actions.map(told)).toEqual(['spawn 1'])
  })
})
