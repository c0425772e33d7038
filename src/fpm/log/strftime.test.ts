import { execFileSync } from 'node:child_process'
import { describe, expect, test } from 'vitest'
import { CLF_TIME, strftime } from './strftime.ts'

const LETTERS = 'a A b B c C d D e F g G h H I j k l m M n p P r R S s t T u U V w W x X y Y z Z %'.split(' ')
const FORMAT = LETTERS.map((letter) => `${letter}=%${letter}`).join('|')
const FLAGS = '%-d|%_d|%05d|%^a|%#Z|%-H|%_m|%3S|%10b|%_5e|%0e|%-j|%^B|%-I'

/** What coreutils' date says, which formats as strftime(3) does. */
const date = (format: string, seconds: number): string =>
  execFileSync('date', ['-d', `@${seconds}`, `+${format}`], { env: { ...process.env, LC_ALL: 'C' }, encoding: 'utf8' }).slice(0, -1)

describe('times are those of strftime(3)', () => {
  const days = [
    '2026-11-22T15:00:00',
    '2026-01-01T00:00:00',
    '2024-12-29T12:34:56',
    '2024-12-30T01:02:03',
    '2024-02-29T23:59:59',
    '2021-01-03T12:00:00',
    '2021-01-04T00:00:01',
    '2020-12-31T13:00:00',
    '1999-07-04T09:08:07',
  ]
  test.each(days)('at %s', (day) => {
    const time = new Date(day).getTime()
    expect(strftime(FORMAT, time)).toBe(date(FORMAT, time / 1000))
    expect(strftime(FLAGS, time)).toBe(date(FLAGS, time / 1000))
  })

  test('and what is none stays', () => {
    expect(strftime('100% %Q %', 0)).toBe('100% %Q %')
    expect(strftime(CLF_TIME, Date.UTC(2026, 10, 22, 15) + new Date(Date.UTC(2026, 10, 22, 15)).getTimezoneOffset() * 60_000)).toMatch(
      /^22\/Nov\/2026:15:00:00 [+-]\d{4}$/,
    )
  })
})
