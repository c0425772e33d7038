import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse, parseListen, parseSeconds, parseSize, parseWhole } from './arguments.ts'
import { nearest } from '../core/index.ts'

describe('an address to listen on', () => {
  test.each([
    ['8080', { host: '127.0.0.1', port: 8080 }],
    ['0', { host: '127.0.0.1', port: 0 }],
    ['65535', { host: '127.0.0.1', port: 65_535 }],
    [':80', { host: '*', port: 80 }],
    ['*:80', { host: '*', port: 80 }],
    ['0.0.0.0:80', { host: '0.0.0.0', port: 80 }],
    ['localhost:3000', { host: 'localhost', port: 3000 }],
    ['[::1]:3000', { host: '::1', port: 3000 }],
    ['unix:/run/x.sock', { path: '/run/x.sock' }],
    ['unix:x.sock', { path: resolve('x.sock') }],
  ])('%s is %j', (text, spec) => {
    expect(parseListen(text)).toEqual(spec)
  })

  test('is on the host of the environment when only a port is named', () => {
    expect(parseListen('3000', '10.0.0.1')).toEqual({ host: '10.0.0.1', port: 3000 })
  })

  test.each([
    ['', '--listen : expected HOST:PORT'],
    ['localhost', '--listen localhost: expected HOST:PORT'],
    ['::1:80', '--listen ::1:80: expected HOST:PORT'],
    ['localhost:http', 'expected HOST:PORT'],
    ['a b:80', 'expected HOST:PORT'],
    ['65536', 'a port is a number from 0 to 65535, got "65536"'],
    ['unix:', 'a path is missing'],
    ['/run/x.sock', 'did you mean unix:/run/x.sock?'],
    ['http://localhost:80', 'expected HOST:PORT'],
  ])('%s is refused: %s', (text, message) => {
    expect(() => parseListen(text)).toThrow(message)
  })
})

describe('a size', () => {
  test.each([
    ['0', 0],
    ['500', 500],
    ['1k', 1024],
    ['64K', 65_536],
    ['1.5M', 1_572_864],
    ['8MB', 8_388_608],
    ['1GiB', 1_073_741_824],
  ])('%s is %i bytes', (text, bytes) => {
    expect(parseSize(text, '--max-body')).toBe(bytes)
  })

  test.each(['', '-1', '8X', 'M', '1e3', '99999999999G'])('%s is refused', (text) => {
    expect(() => parseSize(text, '--max-body')).toThrow('--max-body: expected a size such as 64K, 8M or 1G')
  })
})

test.each([
  ['30', 30_000],
  ['0.5', 500],
  ['0', 0],
])('%s seconds are %i milliseconds', (text, milliseconds) => {
  expect(parseSeconds(text, '--grace')).toBe(milliseconds)
})

test.each(['', '-1', '1m', '2147484'])('"%s" seconds are refused: a timer would fire at once', (text) => {
  expect(() => parseSeconds(text, '--grace')).toThrow('--grace: expected seconds')
})

test.each(['0', '-1', '1.5', 'many', ''])('"%s" workers are refused', (text) => {
  expect(() => parseWhole(text, 1, '--workers')).toThrow(`--workers: expected a whole number from 1, got "${text}"`)
})

describe('a command line', () => {
  const table = {
    listen: { value: 'ADDRESS', help: '', many: true, short: 'l' },
    workers: { value: 'N', help: '' },
    verbose: { help: '', short: 'V' },
  }

  test.each([
    [['--listen', 'a', '-l', 'b', '--listen=c'], { listen: ['a', 'b', 'c'] }, []],
    [['site', '--workers', '4', '-V'], { workers: ['4'], verbose: [''] }, ['site']],
    [['--', '--workers'], {}, ['--workers']],
    [['--listen', '-'], { listen: ['-'] }, []],
    [['--workers=-1'], { workers: ['-1'] }, []],
    [['--workers', '-1'], { workers: ['-1'] }, []],
  ])('%j gives %j and %j', (args, values, rest) => {
    const parsed = parse(args, table)
    expect(Object.fromEntries(parsed.values)).toEqual(values)
    expect(parsed.rest).toEqual(rest)
  })

  test.each([
    [['--lisen', 'x'], 'unknown option --lisen; did you mean --listen?'],
    [['--frobnicate'], 'unknown option --frobnicate'],
    [['-x'], 'unknown option -x'],
    [['--constructor'], 'unknown option --constructor'],
    [['--workers'], '--workers needs a value: --workers N'],
    [['--workers='], '--workers needs a value'],
    [['--listen', '--workers', '4'], '--listen needs a value'],
    [['--workers', '1', '--workers', '2'], '--workers was given twice'],
    [['--verbose=yes'], '--verbose takes no value'],
  ])('%j is refused: %s', (args, message) => {
    expect(() => parse(args, table)).toThrow(message)
  })
})

describe('the nearest word', () => {
  const words = ['serve', 'listen', 'log-level', 'workers']
  test.each([
    ['sevre', 'serve'],
    ['server', 'serve'],
    ['ser', 'serve'],
    ['lissten', 'listen'],
    ['loglevel', 'log-level'],
    ['worker', 'workers'],
    ['start', undefined],
    ['x', undefined],
    ['', undefined],
  ])('to "%s" is %s', (typed, word) => {
    expect(nearest(typed, words)).toBe(word)
  })
})
