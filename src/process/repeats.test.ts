import { describe, expect, test } from 'vitest'
import { Repeats } from './repeats.ts'

/** `a:x` is a line of a, `a+` says that it has come up, `a-` that it has ended; a letter that is new begins. */
function run(...events: string[]): string[] {
  const out: string[] = []
  const repeats = new Repeats((times) => out.push(`${times} more`))
  const voices = new Map<string, ReturnType<Repeats['voice']>>()
  let now = 0
  for (const event of events) {
    if (event.startsWith('after')) {
      now += Number(event.slice(5))
      continue
    }
    const name = event[0]!
    let voice = voices.get(name)
    if (voice === undefined) voices.set(name, (voice = repeats.voice((line) => out.push(`${name}:${line}`), now)))
    if (event[1] === '+') voice.up()
    else if (event[1] === '-') voice.down()
    else if (event[1] === ':') voice.said(event.slice(2))
  }
  return out
}

describe('what workers say while they start', () => {
  test.each<[string, string[], string[]]>([
    ['of one alone', ['a:x', 'a:y', 'a-'], ['a:x', 'a:y']],
    ['told by one after the other', ['a:x', 'a:y', 'a-', 'b:x', 'b:y', 'b-'], ['a:x', 'a:y', '1 more']],
    [
      'told at the same time is told once, and counted when all have ended',
      ['a', 'b', 'c', 'd', 'a:x', 'b:x', 'b:y', 'c:x', 'a:y', 'd:x', 'a-', 'c:y', 'd:y', 'b-', 'd-', 'c-'],
      ['a:x', 'b:y', '3 more'],
    ],
    ['that is said again at each try is counted at each', ['a:x', 'a-', 'b:x', 'b-', 'c:x', 'c-'], ['a:x', '1 more', '1 more']],
    ['that is another thing is told whole', ['a:x', 'a:y', 'a-', 'b:x', 'b:z', 'b:y', 'b-'], ['a:x', 'a:y', 'b:x', 'b:z', 'b:y']],
    ['that goes on where the other ended is told whole', ['a:x', 'a-', 'b:x', 'b:y', 'b-'], ['a:x', 'b:x', 'b:y']],
    ['that ends before the other did is no repeat', ['a:x', 'a:y', 'a-', 'b:x', 'b-'], ['a:x', 'a:y']],
    ['of one that comes up is its own', ['a', 'b', 'a:x', 'b:x', 'a+', 'b+', 'b:later'], ['a:x', 'b:x', 'b:later']],
    ['is news again after one has come up', ['a:x', 'a+', 'b:x', 'b-'], ['a:x', 'b:x']],
    ['is news again after a while', ['a:x', 'a-', 'after60001', 'b:x', 'b-'], ['a:x', 'b:x']],
    ['is no news before', ['a:x', 'a-', 'after60000', 'b:x', 'b-'], ['a:x', '1 more']],
    ['may be nothing', ['a', 'b', 'a-', 'b-', 'a-'], []],
    ['after the end is told', ['a:x', 'a-', 'b:x', 'b+', 'b:x', 'b:y'], ['a:x', 'b:x', 'b:x', 'b:y']],
  ])('%s', (_, events, told) => {
    expect(run(...events)).toEqual(told)
  })

  test('is compared up to 500 lines', () => {
    const lines = Array.from({ length: 600 }, (_, i) => `line ${i}`)
    const told = run('a', 'b', ...lines.flatMap((line) => [`a:${line}`, `b:${line}`]), 'a-', 'b-')
    expect(told.filter((line) => line === 'b:line 0')).toHaveLength(1)
    expect(told).toHaveLength(1200)
  })
})
