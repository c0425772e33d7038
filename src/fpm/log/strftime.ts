// strftime(3) in the C locale and the process's time zone, as far as glibc knows it: what logs and status pages write times with.

const DAYS = ['Sunday', 'Monday', 'Tuesday', 'Wednesday', 'Thursday', 'Friday', 'Saturday']
const MONTHS = ['January', 'February', 'March', 'April', 'May', 'June', 'July', 'August', 'September', 'October', 'November', 'December']

/** As access logs have it: `22/Nov/2026:15:00:00 +0000`. */
export const CLF_TIME = '%d/%b/%Y:%H:%M:%S %z'

/** `time` is unix milliseconds. What is no conversion stays as it is. */
export function strftime(format: string, time: number): string {
  const date = new Date(time)
  return format.replace(/%([_\-0^#]?)(\d*)([EO]?)([^])/g, (whole, flag: string, width: string, _modifier: string, letter: string) => {
    const made = convert(letter, date)
    return made === undefined ? whole : dress(made, flag, width === '' ? undefined : Number(width))
  })
}

/** A number with its usual width and padding, or a text. */
type Made = { readonly text: string } | { readonly number: number; readonly width: number; readonly pad: '0' | ' ' }

function dress(made: Made, flag: string, width: number | undefined): string {
  if ('text' in made) {
    const text = flag === '^' ? made.text.toUpperCase() : flag === '#' ? swapCase(made.text) : made.text
    return width === undefined ? text : text.padStart(width, flag === '0' ? '0' : ' ')
  }
  if (flag === '-') return String(made.number)
  return String(made.number).padStart(width ?? made.width, flag === '_' ? ' ' : flag === '0' ? '0' : made.pad)
}

function swapCase(text: string): string {
  return text === text.toUpperCase() ? text.toLowerCase() : text.toUpperCase()
}

const zero = (number: number, width: number): Made => ({ number, width, pad: '0' })
const space = (number: number, width: number): Made => ({ number, width, pad: ' ' })

function convert(letter: string, date: Date): Made | undefined {
  const hours = date.getHours()
  const half = hours % 12 === 0 ? 12 : hours % 12
  switch (letter) {
    case '%':
      return { text: '%' }
    case 'n':
      return { text: '\n' }
    case 't':
      return { text: '\t' }
    case 'a':
      return { text: DAYS[date.getDay()]!.slice(0, 3) }
    case 'A':
      return { text: DAYS[date.getDay()]! }
    case 'b':
    case 'h':
      return { text: MONTHS[date.getMonth()]!.slice(0, 3) }
    case 'B':
      return { text: MONTHS[date.getMonth()]! }
    case 'd':
      return zero(date.getDate(), 2)
    case 'e':
      return space(date.getDate(), 2)
    case 'H':
      return zero(hours, 2)
    case 'I':
      return zero(half, 2)
    case 'k':
      return space(hours, 2)
    case 'l':
      return space(half, 2)
    case 'M':
      return zero(date.getMinutes(), 2)
    case 'S':
      return zero(date.getSeconds(), 2)
    case 'p':
      return { text: hours < 12 ? 'AM' : 'PM' }
    case 'P':
      return { text: hours < 12 ? 'am' : 'pm' }
    case 'm':
      return zero(date.getMonth() + 1, 2)
    case 'y':
      return zero(date.getFullYear() % 100, 2)
    case 'Y':
      return zero(date.getFullYear(), 1)
    case 'C':
      return zero(Math.floor(date.getFullYear() / 100), 2)
    case 's':
      return zero(Math.floor(date.getTime() / 1000), 1)
    case 'z':
      return { text: zone(date) }
    case 'Z':
      return { text: zoneName(date) }
    default:
      return composed(letter, date) ?? ofYear(letter, date)
  }
}

const COMPOSED: Readonly<Record<string, string>> = {
  c: '%a %b %e %H:%M:%S %Y',
  D: '%m/%d/%y',
  F: '%Y-%m-%d',
  r: '%I:%M:%S %p',
  R: '%H:%M',
  T: '%H:%M:%S',
  x: '%m/%d/%y',
  X: '%H:%M:%S',
}

function composed(letter: string, date: Date): Made | undefined {
  const format = Object.hasOwn(COMPOSED, letter) ? COMPOSED[letter] : undefined
  return format === undefined ? undefined : { text: strftime(format, date.getTime()) }
}

/** Days and weeks of the year; ISO 8601's weeks begin on Monday, and belong to the year of their Thursday. */
function ofYear(letter: string, date: Date): Made | undefined {
  const day = dayOfYear(date)
  const weekday = date.getDay()
  switch (letter) {
    case 'j':
      return zero(day + 1, 3)
    case 'u':
      return zero(weekday === 0 ? 7 : weekday, 1)
    case 'w':
      return zero(weekday, 1)
    case 'U':
      return zero(Math.floor((day + 7 - weekday) / 7), 2)
    case 'W':
      return zero(Math.floor((day + 7 - ((weekday + 6) % 7)) / 7), 2)
  }
  const thursday = new Date(date.getFullYear(), date.getMonth(), date.getDate() + 4 - (weekday === 0 ? 7 : weekday))
  switch (letter) {
    case 'V':
      return zero(Math.floor(dayOfYear(thursday) / 7) + 1, 2)
    case 'G':
      return zero(thursday.getFullYear(), 1)
    case 'g':
      return zero(thursday.getFullYear() % 100, 2)
    default:
      return undefined
  }
}

function dayOfYear(date: Date): number {
  // In UTC, for days of 23 and 25 hours must not count.
  return Math.round((Date.UTC(date.getFullYear(), date.getMonth(), date.getDate()) - Date.UTC(date.getFullYear(), 0, 1)) / 86_400_000)
}

function zone(date: Date): string {
  const minutes = -date.getTimezoneOffset()
  const absolute = Math.abs(minutes)
  return `${minutes < 0 ? '-' : '+'}${String(Math.floor(absolute / 60)).padStart(2, '0')}${String(absolute % 60).padStart(2, '0')}`
}

function zoneName(date: Date): string {
  const parts = new Intl.DateTimeFormat('en-US', { timeZoneName: 'short' }).formatToParts(date)
  return parts.find(({ type }) => type === 'timeZoneName')?.value ?? 'UTC'
}
