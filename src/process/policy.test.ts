import { describe, expect, test } from 'vitest'
import { staticPolicy } from './policy.ts'
import type { PoolView } from './policy.ts'

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
    expect(
      actions.map((action) =>
        action.type === 'spawn'
          ? `spawn ${action.count}`
          : action.type === 'retire'
            ? `retire ${action.worker} ${action.reason}`
            : action.what,
      ),
    ).toEqual(story)
  })
})
