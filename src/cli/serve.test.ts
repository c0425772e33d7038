import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from './arguments.ts'
import { SERVE, serveOptions } from './serve-options.ts'

const optionsOf = (line: string, env: NodeJS.ProcessEnv = {}): ReturnType<typeof serveOptions> =>
  serveOptions(parse(line.split(' ').filter(Boolean), SERVE.options), env)

test.each(SERVE.examples)('the help shows what works: %s', (line) => {
  expect(line).toMatch(/^viaduct serve\b/)
  expect(optionsOf(line.replace('viaduct serve', '')).folder.listen.length).toBeGreaterThan(0)
})

test('without options it serves this folder at 127.0.0.1:8080, and 30 seconds are the grace', () => {
  expect(optionsOf('')).toEqual({
    config: undefined,
    named: false,
    folder: { folder: resolve('.'), listen: [{ host: '127.0.0.1', port: 8080 }], grace: 30_000, log: { level: 'info', access: '-' } },
    given: { log: {}, folderOnly: [] },
    printConfig: false,
  })
})

test('every option arrives where it is meant to', () => {
  const line =
    'site --listen 80 -l unix:/x -w 3 --php-cgi /p --max-body 8M --timeout 90 --grace 1.5 --access-log a.log --log-level warn --log-format json --pid-file p'
  const log = { level: 'warn', format: 'json', access: resolve('a.log') }
  const both = { listen: [{ host: '127.0.0.1', port: 80 }, { path: '/x' }], grace: 1500, pidFile: resolve('p'), log }
  expect(optionsOf(line)).toEqual({
    config: undefined,
    named: true,
    folder: { ...both, folder: resolve('site'), workers: 3, phpCgi: '/p', maxBody: 8_388_608, timeout: 90_000 },
    given: { ...both, folderOnly: ['workers', 'php-cgi', 'max-body', 'timeout'] },
    printConfig: false,
  })
})

test('a configuration and a folder are not served together', () => {
  expect(optionsOf('-c x.json')).toMatchObject({ config: resolve('x.json'), named: false })
  expect(() => optionsOf('-c x.json site')).toThrow('a configuration or a folder is served, got x.json and site')
})

describe('the environment', () => {
  test.each([
    ['', { PORT: '3000' }, [{ host: '127.0.0.1', port: 3000 }]],
    ['', { HOST: '0.0.0.0', PORT: '3000' }, [{ host: '0.0.0.0', port: 3000 }]],
    ['', { HOST: '::1' }, [{ host: '::1', port: 8080 }]],
    ['', { HOST: '', PORT: '' }, [{ host: '127.0.0.1', port: 8080 }]],
    ['--listen 80', { HOST: '10.0.0.1', PORT: '3000' }, [{ host: '10.0.0.1', port: 80 }]],
    ['--listen 127.0.0.1:80', { HOST: '10.0.0.1', PORT: '3000' }, [{ host: '127.0.0.1', port: 80 }]],
  ])('with "%s" and %j it listens on %j', (line, env, listen) => {
    expect(optionsOf(line, env).folder.listen).toEqual(listen)
  })
})
