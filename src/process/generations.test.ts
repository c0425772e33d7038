import { describe, expect, test } from 'vitest'
import { random } from '../../test/random.ts'
import { GENERATIONS, NO_GENERATIONS, decideGenerations } from './generations.ts'
import type { GenerationAction, GenerationEvent, Generations } from './generations.ts'

const limits = {
  ...GENERATIONS,
  start: 60_000,
  drain: 300_000,
  stop: 30_000,
  margin: 5000,
  once: 500,
  together: 2,
  restart: { pause: 100, longest: 400, calm: 10_000 },
}

const shown = (action: GenerationAction): string => {
  switch (action.type) {
    case 'start':
    case 'kill':
      return `${action.type} ${action.generation}`
    case 'drain':
      return `drain ${action.generation} in ${action.grace}`
    case 'pause':
      return `pause ${action.delay}`
    case 'report':
      return `${action.level} ${action.text.replace('process: generation ', '#')}`
    case 'exit':
      return `exit ${action.code}`
  }
}

/** `ready 1`, `exit 1 SIGKILL`, `exit 2 78`, `start-timeout 1`, `drain-timeout 1`, `pause-over 2`, `reload`, `drain`, `stop`, `+500` (time passes). */
function parse(text: string): GenerationEvent {
  const [type, number, how] = text.split(' ')
  const generation = Number(number)
  if (type !== 'exit') return { type, generation } as GenerationEvent
  const code = /^\d+$/.test(how ?? '0') ? Number(how ?? 0) : null
  return { type: 'exited', generation, code, signal: code === null ? how! : null }
}

/** What happens, event by event. One second passes before each. Reports of no more than news are left out. */
function play(...events: string[]): { story: string[]; state: Generations } {
  let state = NO_GENERATIONS
  let now = 0
  const story: string[] = []
  for (const text of events) {
    now += 1000
    if (text.startsWith('+')) {
      now += Number(text.slice(1)) - 1000
      continue
    }
    const decision = decideGenerations(state, parse(text), now, limits)
    state = decision.state
    story.push(
      decision.actions
        .filter((action) => !(action.type === 'report' && action.level === 'info'))
        .map(shown)
        .join(', '),
    )
  }
  return { story, state }
}

/** The last chapter: what the last event brings. */
const last = (...events: string[]): string => play(...events).story.at(-1)!

describe('the first generation', () => {
  test('is started at once, and serves when it is ready', () => {
    expect(play('begin', 'ready 1')).toMatchObject({ story: ['start 1', ''], state: { serving: 1, starting: undefined, proven: true } })
  })

  test('is started once, however often one begins', () => {
    expect(last('begin', 'begin')).toBe('')
  })

  test.each([
    ['exit 1 78', 'error #1 ended before it was ready (status 78), exit 78'],
    ['exit 1 0', 'error #1 ended before it was ready (status 0), exit 1'],
    ['exit 1 SIGSEGV', 'error #1 ended before it was ready (SIGSEGV), exit 1'],
  ])('that never comes up (%s) ends the supervisor with a code that is not 0', (event, story) => {
    expect(last('begin', event)).toBe(story)
    expect(play('begin', event).state.phase).toBe('over')
  })

  test('that is not ready in time is killed, and its exit ends the supervisor', () => {
    expect(play('begin', 'start-timeout 1', 'exit 1 SIGKILL').story.slice(1)).toEqual([
      'error #1 was not ready within 60000 ms and is killed; raise the start limit or see what it waits for, kill 1',
      'error #1 ended before it was ready (SIGKILL), exit 1',
    ])
  })

  test('is tried again if a reload was asked for while it was starting', () => {
    expect(play('begin', 'reload', 'exit 1 1', 'exit 2 1').story.slice(1)).toEqual([
      '',
      'error #1 ended before it was ready (status 1), start 2',
      'error #2 ended before it was ready (status 1), exit 1',
    ])
  })

  test('says in the report what it said itself', () => {
    const { state } = play('begin')
    const { actions } = decideGenerations(
      state,
      { type: 'exited', generation: 1, code: 1, signal: null, why: 'port 80 is taken' },
      0,
      limits,
    )
    expect(shown(actions[0]!)).toBe('error #1 ended before it was ready (status 1: port 80 is taken)')
  })
})

describe('a reload', () => {
  test('starts the next, and drains the old when the new is ready, not before', () => {
    expect(play('begin', 'ready 1', 'reload', 'ready 2', 'exit 1 0')).toMatchObject({
      story: ['start 1', '', 'start 2', 'drain 1 in 300000', ''],
      state: { serving: 2, draining: [], phase: 'running' },
    })
  })

  test.each([
    ['ends', ['exit 2 1'], 'error #2 ended before it was ready (status 1); generation 1 goes on'],
    [
      'is killed for being slow',
      ['start-timeout 2', 'exit 2 SIGKILL'],
      'error #2 ended before it was ready (SIGKILL); generation 1 goes on',
    ],
  ])('is rolled back if the new one %s: the old goes on', (_, events, story) => {
    expect(play('begin', 'ready 1', 'reload', ...events)).toMatchObject({ state: { serving: 1, starting: undefined, draining: [] } })
    expect(last('begin', 'ready 1', 'reload', ...events)).toBe(story)
    expect(last('begin', 'ready 1', 'reload', ...events, 'reload')).toBe('start 3')
  })

  test('that is asked for while one is starting comes after it, once', () => {
    expect(play('begin', 'ready 1', 'reload', 'reload', 'reload', 'ready 2', 'ready 3').story.slice(2)).toEqual([
      'start 2',
      '',
      '',
      'drain 1 in 300000, start 3',
      'drain 2 in 300000',
    ])
  })

  test('that was remembered is tried also when the one before it failed', () => {
    expect(last('begin', 'ready 1', 'reload', 'reload', 'exit 2 1')).toBe(
      'error #2 ended before it was ready (status 1); generation 1 goes on, start 3',
    )
  })

  test('waits while too many old ones drain, then comes by itself', () => {
    const crowd = ['begin', 'ready 1', 'reload', 'ready 2', 'reload', 'ready 3']
    expect(last(...crowd, 'reload')).toBe('warn #3 is reloaded later: 2 older ones are still draining')
    expect(last(...crowd, 'reload', 'reload')).toBe('')
    expect(last(...crowd, 'reload', 'exit 1 0')).toBe('start 4')
    expect(last(...crowd, 'reload', 'exit 1 0', 'exit 2 0')).toBe('')
  })

  test('kills an old one that does not end in its time', () => {
    const events = ['begin', 'ready 1', 'reload', 'ready 2', 'drain-timeout 1']
    expect(last(...events)).toBe('error #1 did not end in the time it had and is killed; requests that were still running are cut, kill 1')
    expect(last(...events, 'exit 1 SIGKILL')).toBe('warn #1 ended badly (SIGKILL)')
    expect(play(...events, 'exit 1 SIGKILL').state).toMatchObject({ serving: 2, draining: [] })
  })

  test('during a pause ends the pause', () => {
    const paused = ['begin', 'ready 1', 'exit 1 1', 'ready 2', 'exit 2 1']
    expect(last(...paused)).toContain('pause 100')
    expect(last(...paused, 'reload')).toBe('start 3')
    expect(last(...paused, 'reload', 'pause-over 3')).toBe('')
  })

  test('leaves no pause behind that could cut short the next one', () => {
    const { story } = play('begin', 'ready 1', 'exit 1 1', 'exit 2 1', 'reload', 'exit 3 1', 'pause-over 3', 'pause-over 4')
    expect(story.slice(4)).toEqual(['start 3', expect.stringContaining('pause 200'), '', 'start 4'])
  })

  test('is not for one that is ending', () => {
    expect(last('begin', 'ready 1', 'stop', 'reload')).toBe('')
    expect(last('begin', 'ready 1', 'drain', 'reload')).toBe('')
  })
})

describe('a generation that dies', () => {
  test('is followed by the next at once', () => {
    expect(last('begin', 'ready 1', 'exit 1 SIGKILL')).toBe('error #1 died (SIGKILL), start 2')
    expect(last('begin', 'ready 1', 'exit 1 0')).toBe('error #1 died (status 0), start 2')
  })

  test('over and over is started after pauses that double up to the longest, for ever', () => {
    const { story } = play(
      'begin',
      'ready 1',
      'exit 1 1',
      'exit 2 1',
      'pause-over 3',
      'exit 3 1',
      'pause-over 4',
      'exit 4 1',
      'pause-over 5',
      'exit 5 1',
    )
    const died = 'ended before it was ready (status 1)'
    expect(story.slice(2)).toEqual([
      'error #1 died (status 1), start 2',
      `error #2 ${died}, warn #3 starts in 100 ms, after 2 failures in a row, pause 100`,
      'start 3',
      `error #3 ${died}, warn #4 starts in 200 ms, after 3 failures in a row, pause 200`,
      'start 4',
      `error #4 ${died}, warn #5 starts in 400 ms, after 4 failures in a row, pause 400`,
      'start 5',
      `error #5 ${died}, warn #6 starts in 400 ms, after 5 failures in a row, pause 400`,
    ])
  })

  test.each([
    [9999, 'pause 100'],
    [10_000, 'start 3'],
  ])('after it served for %i ms: %s', (served, action) => {
    expect(
      last('begin', 'ready 1', 'exit 1 1', 'ready 2', `+${served - 1000}`, 'exit 2 1')
        .split(', ')
        .at(-1),
    ).toBe(action)
  })

  test('has not been calm while it was only starting', () => {
    expect(last('begin', 'ready 1', 'exit 1 1', '+60000', 'ready 2', 'exit 2 1')).toContain('pause 100')
  })

  test('while the next is starting is replaced by that one', () => {
    const events = ['begin', 'ready 1', 'reload', 'exit 1 SIGSEGV']
    expect(last(...events)).toBe('error #1 died (SIGSEGV)')
    expect(play(...events, 'ready 2').state).toMatchObject({ serving: 2, draining: [] })
    expect(last(...events, 'exit 2 1')).toBe('error #2 ended before it was ready (status 1), start 3')
  })
})

describe('a stop', () => {
  test('drains what serves, in the time for a stop, and ends with 0', () => {
    expect(play('begin', 'ready 1', 'stop', 'exit 1 0').story.slice(2)).toEqual(['drain 1 in 30000', 'exit 0'])
  })

  test('waits for all of them: the old, the serving and the starting one', () => {
    expect(play('begin', 'ready 1', 'reload', 'ready 2', 'reload', 'stop', 'exit 3 0', 'exit 1 0', 'exit 2 0').story.slice(5)).toEqual([
      'drain 1 in 30000, drain 2 in 30000, drain 3 in 30000',
      '',
      '',
      'exit 0',
    ])
  })

  test('asked for a second time hurries, a third time kills', () => {
    expect(play('begin', 'ready 1', 'stop', 'stop', 'stop', 'exit 1 SIGKILL').story.slice(2)).toEqual([
      'drain 1 in 30000',
      'drain 1 in 0',
      'kill 1',
      'warn #1 ended badly (SIGKILL), exit 0',
    ])
  })

  test('that comes twice within half a second is one: npm passes the Ctrl-C on that the terminal has sent as well', () => {
    const stopped = ['begin', 'ready 1', 'stop']
    expect(last(...stopped, '+-501', 'stop')).toBe('')
    expect(last(...stopped, '+-500', 'stop')).toBe('drain 1 in 0')
  })

  test('kills what does not end in its time', () => {
    expect(play('begin', 'ready 1', 'stop', 'drain-timeout 1', 'exit 1 SIGKILL').story.slice(3)).toEqual([
      expect.stringMatching(/^error #1 did not end .* kill 1$/),
      'warn #1 ended badly (SIGKILL), exit 0',
    ])
  })

  test.each([
    ['before anything was started', ['stop']],
    ['during a pause', ['begin', 'ready 1', 'exit 1 1', 'exit 2 1', 'stop']],
  ])('%s ends at once with 0, and nothing starts any more', (_, events) => {
    expect(last(...events)).toBe('exit 0')
    expect(last(...events, 'pause-over 3')).toBe('')
    expect(last(...events, 'begin')).toBe('')
  })

  test('during a pause, while an old one drains, starts nothing when the pause is over', () => {
    expect(last('begin', 'ready 1', 'reload', 'ready 2', 'exit 2 1', 'exit 3 1', 'stop')).toBe('drain 1 in 30000')
    expect(last('begin', 'ready 1', 'reload', 'ready 2', 'exit 2 1', 'exit 3 1', 'stop', 'pause-over 4')).toBe('')
  })

  test('during the first start lets that one go, ready or not', () => {
    expect(play('begin', 'stop', 'ready 1', 'exit 1 1').story).toEqual([
      'start 1',
      'drain 1 in 30000',
      '',
      'warn #1 ended badly (status 1), exit 0',
    ])
  })
})

describe('a drain', () => {
  test('gives more time than a stop, and is asked for once', () => {
    expect(play('begin', 'ready 1', 'drain', 'drain', 'exit 1 0').story.slice(2)).toEqual(['drain 1 in 300000', '', 'exit 0'])
  })

  test('is cut short by a stop, which is then the first', () => {
    expect(play('begin', 'ready 1', 'drain', 'stop', 'drain', 'stop').story.slice(2)).toEqual([
      'drain 1 in 300000',
      'drain 1 in 30000',
      '',
      'drain 1 in 0',
    ])
  })
})

test.each(['ready 7', 'exit 7 1', 'start-timeout 1', 'drain-timeout 1', 'pause-over 2'])(
  '%s is ignored when it matters no more',
  (event) => {
    const { state } = play('begin', 'ready 1')
    expect(decideGenerations(state, parse(event), 5000, limits)).toEqual({ state, actions: [] })
  },
)

test('every drain has a deadline beyond its grace', () => {
  const { state } = play('begin', 'ready 1')
  expect(decideGenerations(state, { type: 'stop' }, 9000, limits).actions).toEqual([
    { type: 'drain', generation: 1, grace: 30_000, deadline: 35_000 },
  ])
})

test.each([1, 2, 3, 4, 5, 6])('whatever happens, none is lost and none is forgotten (seed %i)', (seed) => {
  const next = random(seed)
  for (let round = 0; round < 200; round++) {
    let state = NO_GENERATIONS
    let now = 0
    const exits: number[] = []
    const alive = new Set<number>()
    const told = new Set<number>()
    const tell = (event: GenerationEvent): void => {
      const decision = decideGenerations(state, event, (now += Math.floor(next() * 3000)), limits)
      state = decision.state
      for (const action of decision.actions) {
        if (action.type === 'start') alive.add(action.generation)
        if (action.type === 'drain') told.add(action.generation)
        if (action.type === 'drain' || action.type === 'kill') expect(alive, `seed ${seed}`).toContain(action.generation)
        if (action.type === 'exit') exits.push(action.code)
      }
    }
    tell({ type: 'begin' })
    for (let step = 0; step < 60 && exits.length === 0; step++) {
      const generation = [...alive][Math.floor(next() * alive.size)] ?? state.last
      const dice = next()
      if (dice < 0.4) tell({ type: 'ready', generation })
      else if (dice < 0.55 && alive.delete(generation)) tell({ type: 'exited', generation, code: next() < 0.5 ? 0 : 1, signal: null })
      else if (dice < 0.7) tell({ type: 'reload' })
      else if (dice < 0.9) tell({ type: 'pause-over', generation: state.last + 1 })
      else if (dice < 0.95) tell({ type: next() < 0.5 ? 'start-timeout' : 'drain-timeout', generation })
      else if (step > 30) tell({ type: next() < 0.5 ? 'stop' : 'drain' })

      const known = [...state.draining, state.serving, state.starting].filter((each) => each !== undefined)
      // Each one that lives is known in exactly one place, and the old are told to go.
      if (exits.length === 0) expect(known.toSorted(), `seed ${seed}`).toEqual([...alive].toSorted())
      for (const each of state.draining) expect(told).toContain(each)
      if (state.phase === 'running' && exits.length === 0) {
        expect(state.serving ?? state.starting ?? state.pausing, `seed ${seed}: nobody serves and nobody will`).toBeDefined()
        expect(state.draining.length).toBeLessThanOrEqual(limits.together)
      }
    }
    expect(exits.length).toBeLessThanOrEqual(1)
    if (exits.length === 1) expect(alive.size, `seed ${seed}: exit with ${[...alive].join()} alive`).toBe(0)
  }
})
