import { describe, expect, test } from 'vitest'
import { climb, ladder } from './shutdown.ts'

describe('the ladder', () => {
  test.each([
    [{ grace: 5000 }, ['SIGTERM 0', 'SIGKILL 5000']],
    [{ grace: 0 }, ['SIGTERM 0', 'SIGKILL 0']],
    [{ grace: 5000, polite: 'SIGQUIT' }, ['SIGQUIT 0', 'SIGTERM 5000', 'SIGKILL 6000']],
    [{ grace: 5000, polite: 'SIGQUIT', patience: 200 }, ['SIGQUIT 0', 'SIGTERM 5000', 'SIGKILL 5200']],
  ] as const)('for %j ends with SIGKILL', (options, rungs) => {
    expect(ladder(options).map(({ signal, at }) => `${signal} ${at}`)).toEqual(rungs)
  })

  const quit = ladder({ grace: 5000, patience: 1000, polite: 'SIGQUIT' })
  test.each([
    [0, 1, 5000],
    [1, 1, 4999],
    [4999, 1, 1],
    [5000, 2, 1000],
    [5999, 2, 1],
    [6000, 3, undefined],
    [99_999, 3, undefined],
  ])('after %i ms stands at rung %i, the next one in %s ms', (elapsed, due, next) => {
    expect(climb(quit, elapsed)).toEqual({ due, next })
  })
})
