import { resolve } from 'node:path'
import { describe, expect, test } from 'vitest'
import { parse } from './arguments.ts'
import { SERVE, serveOptions } from './serve-options.ts'
import { folderConfig } from './source.ts'

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

test('https takes a certificate and its key, wherever it listens by a port', () => {
  const tls = { cert: resolve('a.crt'), key: resolve('a.key') }
  const given = '--tls-cert a.crt --tls-key a.key'
  expect(optionsOf(given, { PORT: '8443' }).folder).toMatchObject({ listen: [{ host: '127.0.0.1', port: 8443 }], tls })
  const options = optionsOf(`--listen :443 -l unix:/x ${given} --redirect-http :80`)
  expect(options.folder).toMatchObject({ tls, redirect: [{ host: '*', port: 80 }] })
  expect(options.given.folderOnly).toEqual(['tls-cert', 'tls-key', 'redirect-http'])
  expect(folderConfig(options.folder).listeners).toEqual([{ listen: '*:443', tls }, 'unix:/x', { listen: '*:80', redirect: 'https' }])
})

test.each([
  ['--tls-cert a', '--tls-cert needs --tls-key beside it'],
  ['--tls-key a', '--tls-key needs --tls-cert beside it'],
  ['--redirect-http 80', '--redirect-http leads to https: --tls-cert and --tls-key are missing'],
  ['--tls-cert a --tls-key b --listen unix:/x', '--tls-cert is for addresses with a port, and --listen names none'],
  ['--tls-cert a --tls-key b --redirect-http x', '--redirect-http x: expected HOST:PORT'],
])('%s is a mistake: %s', (line, message) => {
  expect(() => optionsOf(line)).toThrow(message)
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
