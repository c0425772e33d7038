import { describe, expect, test } from 'vitest'
import { ACCESS_LINE, accessFormatFault, accessFormatter, isSuppressed } from './access-format.ts'
import type { AccessRecord } from './access-types.ts'

const record: AccessRecord = {
  pool: 'www',
  pid: 7,
  ppid: 5,
  method: 'GET',
  uri: '/a.php',
  query: '',
  script: '/srv/a.php',
  user: '',
  contentLength: 0,
  remote: '::1',
  status: 200,
  acceptedAt: 1_795_362_178_000,
  endedAt: 1_795_362_179_900,
  duration: 1_234_567,
  cpuUser: 0.5,
  cpuSystem: 0.25,
  cpuDuration: 1,
  memory: 3_145_727,
  env: (name) => ({ NAME: 'value', EMPTY: '' })[name],
  header: (name) => ({ 'X-A': 'b' })[name],
}

describe('a line', () => {
  test.each([
    ['%R - %u %{%s}t "%m %r" %s', '::1 -  1795362178 "GET /a.php" 200'],
    ['%C %{user}C %{SYSTEM}C', '75.00 50.00 25.00'],
    ['%d %{milli}d %{micro}d', '1.235 1234.567 1234567'],
    ['%M %{kilo}M %{mega}M', '3145727 3071 2'],
    ['%{NAME}e %{EMPTY}e %{NONE}e', 'value  -'],
    ['%{X-A}o %{X-B}o', 'b -'],
    ['%{%s}T', '1795362179'],
    ['%n %p %P %l %f', 'www 7 5 0 /srv/a.php'],
  ])('of %s is %j', (format, line) => {
    expect(accessFormatter(format)(record)).toEqual({ line, cut: false })
  })

  test('has - for what is unknown, where php-fpm has it', () => {
    const unknown = { ...record, method: '', uri: '', script: '', remote: undefined, pool: '', cpuDuration: 0 }
    expect(accessFormatter('%m|%r|%f|%R|%n|%q%Q|%C')(unknown).line).toBe('-||-|-|-||0.00')
  })

  test('is one line, whatever a client says', () => {
    const hostile = { ...record, uri: '/a\n[fake] line', query: 'a=\x1b[2J\r', env: () => '\0', header: () => '\x7f' }
    expect(accessFormatter('%r?%q %{A}e %{B}o')(hostile).line).toBe('/a\\x0a[fake] line?a=\\x1b[2J\\x0d \\x00 \\x7f')
  })

  test.each([
    [ACCESS_LINE, false],
    [ACCESS_LINE + 1, true],
  ])('of %i bytes is cut: %s', (length, cut) => {
    const made = accessFormatter('%q')({ ...record, query: 'q'.repeat(length) })
    expect(made).toEqual({ line: 'q'.repeat(ACCESS_LINE), cut })
  })
})

describe('a format', () => {
  test.each([
    ['%Z', 'Invalid token in the access.format (%Z)'],
    ['%{x', 'missing closing embrace in the access.format'],
    ['%{x}C', `only 'total', 'user' or 'system' are allowed as a modifier for %C ('x')`],
    ['%{x}d', `only 'seconds', 'milli', 'milliseconds', 'micro' or 'microseconds' are allowed as a modifier for %d ('x')`],
    ['%{x}M', `only 'bytes', 'kilo', 'kilobytes', 'mega' or 'megabytes' are allowed as a modifier for %M ('x')`],
    ['%e', 'the name of the environment variable must be set between embraces for %e'],
    ['%o', 'the name of the header must be set between embraces for %o'],
    ['%{x}m', 'embrace is not allowed for modifier %m'],
    ['%', undefined],
    ['', undefined],
  ])('%s: %s', (format, fault) => {
    expect(accessFormatFault(format)).toBe(fault)
  })

  test('that is wrong cannot be used', () => {
    expect(() => accessFormatter('%Z')).toThrow('Invalid token')
  })
})

describe('a suppressed path', () => {
  const cheap = { method: 'GET', uri: '/ping', query: '', status: 200, contentLength: 0 }
  test.each([
    [{}, true],
    [{ method: 'HEAD' }, true],
    [{ status: 299 }, true],
    [{ method: 'POST' }, false],
    [{ uri: '/ping/' }, false],
    [{ query: 'x' }, false],
    [{ status: 199 }, false],
    [{ status: 300 }, false],
    [{ contentLength: 1 }, false],
  ])('keeps out a request with %j: %s', (more, expected) => {
    expect(isSuppressed(['/status', '/ping'], { ...cheap, ...more })).toBe(expected)
  })
})
