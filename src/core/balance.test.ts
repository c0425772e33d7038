import { describe, expect, test } from 'vitest'
import { random } from '../../test/wire.ts'
import { choose, eligible, mayRepeat } from './balance.ts'
import type { Chance, HostState, Policy } from './balance.ts'

interface Host extends HostState {
  turn: number
  active: number
}

function host(key: string, parts: Partial<Host> = {}): Host {
  return { key, weight: 1, active: 0, turn: 0, tier: 0, up: true, room: true, ...parts }
}

const draws = (seed: number, key?: string): Chance => {
  const next = random(seed)
  return { random: () => next(1_000_000) / 1_000_000, key }
}

/** Who is chosen, one after the other; nobody finishes unless `finish` says so. */
function play(policy: Policy, hosts: Host[], count: number, chance: Chance = draws(1), keep = false): string {
  let story = ''
  for (let i = 0; i < count; i++) {
    const { index, turns } = choose(policy, hosts, chance)
    turns?.forEach((turn, at) => (hosts[at]!.turn = turn))
    if (keep) hosts[index]!.active++
    story += hosts[index]!.key
  }
  return story
}

const share = (story: string, key: string): number => story.split(key).length - 1

describe('round robin', () => {
  test.each([
    [[1, 1, 1], 'abcabcabc'],
    [[5, 1, 1], 'aabacaaaabacaa'],
    [[2, 1], 'abaaba'],
    [[1], 'aaa'],
    [[0.1, 1], 'bbbbbabbbbb'],
  ])('with weights %j is %s', (weights, story) => {
    const hosts = weights.map((weight, i) => host('abc'[i]!, { weight }))
    expect(play('round-robin', hosts, story.length)).toBe(story)
  })

  test('begins level with a host that comes later', () => {
    const hosts = [host('a'), host('b')]
    play('round-robin', hosts, 100)
    hosts.push(host('c'))
    const story = play('round-robin', hosts, 9)
    for (const key of 'abc') expect(share(story, key)).toBe(3)
  })
})

describe('least connections', () => {
  test('goes where the fewest are, for its weight', () => {
    const hosts = [host('a', { active: 3 }), host('b', { active: 1 }), host('c', { active: 4, weight: 8 })]
    expect(play('least-connections', hosts, 1)).toBe('c')
  })

  test('takes turns among those that are level', () => {
    expect(play('least-connections', [host('a'), host('b'), host('c')], 6)).toBe('abcabc')
  })

  test('leaves a slow one alone', () => {
    const story = play('least-connections', [host('a', { active: 20 }), host('b'), host('c')], 20, draws(1), true)
    expect(story).not.toContain('a')
  })
})

describe('two random choices', () => {
  test('never takes the busiest of three', () => {
    expect(play('two-choices', [host('a', { active: 9 }), host('b'), host('c')], 200)).not.toContain('a')
  })

  test('spreads by weight', () => {
    const story = play('two-choices', [host('a', { weight: 3 }), host('b')], 400, draws(7), true)
    expect(share(story, 'a')).toBeGreaterThan(280)
    expect(share(story, 'b')).toBeGreaterThan(80)
  })

  test('of one is that one', () => {
    expect(play('two-choices', [host('a')], 3)).toBe('aaa')
  })
})

describe('hashing', () => {
  const keys = Array.from({ length: 2000 }, (_, i) => `session-${i}`)
  const where = (hosts: readonly Host[]): string[] =>
    keys.map((key) => hosts[choose('hash', hosts, { random: Math.random, key }).index]!.key)

  test('sends a key always to the same host, in whatever order they are', () => {
    const hosts = ['a', 'b', 'c', 'd'].map((key) => host(key))
    expect(where(hosts.toReversed())).toEqual(where(hosts))
  })

  test('moves only the keys of a host that goes', () => {
    const before = where(['a', 'b', 'c', 'd'].map((key) => host(key)))
    const after = where(['a', 'b', 'd'].map((key) => host(key)))
    for (const [i, key] of before.entries()) if (key !== 'c') expect(after[i]).toBe(key)
  })

  test.each([
    [
      [1, 1, 1, 1],
      [500, 500, 500, 500],
    ],
    [
      [3, 1, 1, 1],
      [1000, 333, 333, 333],
    ],
  ])('spreads 2000 keys over weights %j as %j', (weights, expected) => {
    const found = where(weights.map((weight, i) => host('abcd'[i]!, { weight })))
    for (const [i, count] of expected.entries()) {
      const got = found.filter((key) => key === 'abcd'[i]).length
      expect(Math.abs(got - count), `${got} for ${count}`).toBeLessThan(count * 0.2)
    }
  })

  test('without a key goes where the fewest are', () => {
    expect(play('hash', [host('a', { active: 1 }), host('b')], 1, { random: Math.random, key: undefined })).toBe('b')
  })
})

describe('the first', () => {
  test('is taken while it has room', () => {
    expect(play('first', [host('a', { active: 7 }), host('b')], 3)).toBe('aaa')
  })
})

describe('eligible', () => {
  test.each<[string, Partial<Host>[], string]>([
    ['those that are up', [{}, { up: false }, {}], 'ac'],
    ['those with room', [{ room: false }, {}, {}], 'bc'],
    ['the lowest tier', [{ tier: 1 }, {}, { tier: 2 }], 'b'],
    ['the next tier when none of the first is up', [{ up: false }, { tier: 1 }, { tier: 2 }], 'b'],
    ['nobody yet when the first tier is full', [{ room: false }, { tier: 1 }, { tier: 1 }], 'full'],
    ['all when none is up', [{ up: false }, { up: false }, { up: false }], 'abc'],
    ['nobody yet when all are full', [{ room: false }, { room: false }, { room: false }], 'full'],
  ])('are %s', (_, parts, expected) => {
    const found = eligible(parts.map((each, i) => host('abc'[i]!, each)))
    expect(typeof found === 'string' ? found : found.map((each) => each.key).join('')).toBe(expected)
  })

  test('are not those that were tried', () => {
    const hosts = [host('a'), host('b')]
    expect(eligible(hosts, new Set([hosts[0]!]))).toEqual([hosts[1]])
    expect(eligible(hosts, new Set(hosts))).toBe('none')
    expect(eligible([])).toBe('none')
  })
})

describe('a request that failed', () => {
  test.each([
    ['GET', { answered: false }, true],
    ['PUT', { answered: false }, true],
    ['POST', { answered: false }, false],
    ['POST', { answered: false, untouched: true }, true],
    ['GET', { answered: true }, false],
    ['POST', { answered: true, untouched: true }, true],
    ['GET', { answered: false, repeatable: false }, false],
    ['GET', { answered: false, untouched: true, repeatable: false }, false],
  ])('%s with %j may be repeated: %s', (method, parts, expected) => {
    expect(mayRepeat({ method, repeatable: true, untouched: false, ...parts })).toBe(expected)
  })
})
