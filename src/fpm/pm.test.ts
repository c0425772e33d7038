import { describe, expect, test } from 'vitest'
import { CALM, demand, initial, maintain } from './pm.ts'
import type { Memory, View } from './pm.ts'

const rules = (more: object): Parameters<typeof initial>[0] => ({
  name: 'www',
  pm: 'dynamic',
  pmMaxChildren: 10,
  pmStartServers: 2,
  pmMinSpareServers: 3,
  pmMaxSpareServers: 5,
  pmMaxSpawnRate: 32,
  pmProcessIdleTimeout: 10,
  ...more,
})

/** Idle workers by number: those with a higher one were started later. */
function view(idle: number, running: number, more: Partial<View<number>> = {}): View<number> {
  return {
    idle: Array.from({ length: idle }, (_, i) => ({ worker: i, startedAt: i, lastActive: 0 })),
    starting: 0,
    running,
    waiting: 0,
    room: Number.POSITIVE_INFINITY,
    ...more,
  }
}

/** Once a second, `busy` workers are at work; what was decided happens. */
function story(limits: Parameters<typeof initial>[0], busy: readonly number[], from: number): string[] {
  let running = from
  let memory: Memory = CALM
  return busy.map((each) => {
    const decision = maintain(limits, view(Math.max(0, running - each), running), memory, 0)
    memory = decision.memory
    running += decision.spawn - (decision.retire === undefined ? 0 : 1)
    const said = decision.warnings.map((text) => text.replace('[pool www] ', '').split(' ').slice(0, 4).join(' '))
    return [decision.spawn > 0 ? `+${decision.spawn}` : '', decision.retire === undefined ? '' : '-1', ...said].filter(Boolean).join(' ')
  })
}

describe('dynamic', () => {
  test('doubles while there are too few spare ones, and says once that it is full', () => {
    expect(story(rules({}), [2, 3, 5, 10, 10, 10], 2)).toEqual([
      '+1',
      '+2',
      '+3',
      '+2 seems busy (you may',
      'server reached pm.max_children setting',
      '',
    ])
  })

  test('calms down to one at a time as soon as there are enough', () => {
    expect(story(rules({}), [2, 2, 1, 5, 5], 4)).toEqual(['+1', '', '', '+1', '+2'])
  })

  test('lets one go a second while there are too many', () => {
    expect(story(rules({}), [10, 0, 0, 0, 0, 0, 0], 10)).toEqual([
      'server reached pm.max_children setting',
      '-1',
      '-1',
      '-1',
      '-1',
      '-1',
      '',
    ])
  })

  test('warns when it grows by eight and more, and never beyond max_spawn_rate', () => {
    const limits = rules({ pmMaxChildren: 100, pmMinSpareServers: 40, pmMaxSpareServers: 60, pmMaxSpawnRate: 8 })
    expect(story(limits, [1, 1, 1, 1, 1, 1], 1)).toEqual([
      '+1',
      '+2',
      '+4',
      '+8 seems busy (you may',
      '+8 seems busy (you may',
      '+8 seems busy (you may',
    ])
  })

  test('the one that was started first goes', () => {
    const idle = [3, 1, 2].map((startedAt) => ({ worker: startedAt, startedAt, lastActive: 0 }))
    expect(maintain(rules({ pmMinSpareServers: 1, pmMaxSpareServers: 2 }), view(0, 3, { idle }), CALM, 0).retire).toBe(1)
  })
})

describe('ondemand', () => {
  const ondemand = rules({ pm: 'ondemand', pmMaxChildren: 2 })

  test.each([
    ['nobody is idle', view(0, 0, { waiting: 1 }), 1],
    ['one is on its way for it', view(0, 1, { starting: 1, waiting: 1 }), 0],
    ['one is on its way, and two wait', view(0, 1, { starting: 1, waiting: 2 }), 1],
    ['somebody is idle', view(1, 1, { waiting: 1 }), 0],
    ['process.max is reached', view(0, 0, { waiting: 1, room: 0 }), 0],
  ])('a request waits and %s: %#', (_, seen, spawn) => {
    expect(demand(ondemand, seen, CALM).spawn).toBe(spawn)
  })

  test('says once that it is full, in the words that php-fpm has for it', () => {
    const first = demand(ondemand, view(0, 2, { waiting: 1 }), CALM)
    expect(first).toMatchObject({
      spawn: 0,
      reached: true,
      warnings: ['[pool www] server reached max_children setting (2), consider raising it'],
    })
    expect(demand(ondemand, view(0, 2, { waiting: 2 }), first.memory)).toMatchObject({ reached: false, warnings: [] })
  })

  test.each([
    [10_999, undefined],
    [11_000, 0],
  ])('after %i ms without a request: %s goes', (now, worker) => {
    expect(maintain(ondemand, view(2, 2), CALM, now).retire).toBe(worker)
  })
})

describe('static', () => {
  test.each([
    [4, 4, 0, false],
    [3, 4, 1, false],
    [0, 2, 2, true],
  ])('%i of 4 run, room for %i more: %i are started', (running, room, spawn, short) => {
    expect(maintain(rules({ pm: 'static', pmMaxChildren: 4 }), view(0, running, { room }), CALM, 0)).toMatchObject({ spawn, short })
  })
})

test.each([
  ['static', 10],
  ['dynamic', 2],
  ['ondemand', 0],
])('%s starts with %i', (pm, count) => {
  expect(initial(rules({ pm }))).toBe(count)
})
