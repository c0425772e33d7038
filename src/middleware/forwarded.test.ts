import { describe, expect, test } from 'vitest'
import { compose, text } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { forwarded } from './forwarded.ts'
import type { ForwardedOptions } from './index.ts'

type Init = Parameters<ReturnType<typeof serveMemory>['request']>[0]

async function seen(options: ForwardedOptions, address: string, headers: readonly string[], init: Init = {}): Promise<string> {
  const application = compose((request) => {
    const { variables } = request
    const values = [
      request.remote.address,
      request.remote.port,
      request.scheme,
      variables.get('SERVER_PORT'),
      variables.get('HTTP_X_FORWARDED_FOR') ?? '-',
    ]
    return text(200, values.join(' '))
  }, forwarded(options))
  const { body } = await serveMemory(application).request({
    remote: { address, port: 1234 },
    local: address === '' ? { address: '', port: 0 } : { address: '10.0.0.9', port: 8080 },
    headers: ['Host', 'h', ...headers],
    ...init,
  })
  return body.toString()
}
const X = 'X-Forwarded-For'
const P = 'X-Forwarded-Proto'

describe('X-Forwarded-For', () => {
  const options = { from: ['10.0.0.0/8', '::1', 'unix'] }
  test.each<[string, string[], string]>([
    // Who is not trusted says nothing, and loses what he said.
    ['192.0.2.7', [X, '203.0.113.1', P, 'https'], '192.0.2.7 1234 http 8080 -'],
    ['2001:db8::1', [X, '203.0.113.1'], '2001:db8::1 1234 http 8080 -'],
    ['10.0.0.1', [], '10.0.0.1 1234 http 8080 -'],
    ['10.0.0.1', [X, '203.0.113.1'], '203.0.113.1 0 http 8080 203.0.113.1'],
    ['::ffff:10.0.0.1', [X, '203.0.113.1'], '203.0.113.1 0 http 8080 203.0.113.1'],
    ['', [X, '203.0.113.1', P, 'https'], '203.0.113.1 0 https 443 203.0.113.1'],
    ['10.0.0.1', [P, 'HTTPS'], '10.0.0.1 1234 https 443 -'],
    ['10.0.0.1', [P, 'gopher'], '10.0.0.1 1234 http 8080 -'],
    // The last address that no trusted proxy has: what is in front of it, the client made up.
    ['10.0.0.1', [X, '1.1.1.1, 203.0.113.1'], '203.0.113.1 0 http 8080 1.1.1.1, 203.0.113.1'],
    ['10.0.0.1', [X, '1.1.1.1, 203.0.113.1, 10.0.0.5'], '203.0.113.1 0 http 8080 1.1.1.1, 203.0.113.1, 10.0.0.5'],
    ['10.0.0.1', [X, '1.1.1.1', X, '203.0.113.1'], '203.0.113.1 0 http 8080 1.1.1.1, 203.0.113.1'],
    ['10.0.0.1', [X, '10.0.0.6, 10.0.0.5'], '10.0.0.6 0 http 8080 10.0.0.6, 10.0.0.5'],
    ['10.0.0.1', [X, '203.0.113.1:999'], '203.0.113.1 999 http 8080 203.0.113.1:999'],
    ['10.0.0.1', [X, '[2001:db8::7]:999'], '2001:db8::7 999 http 8080 [2001:db8::7]:999'],
    // What is no address ends the walk: the nearest that is known counts.
    ['10.0.0.1', [X, '1.1.1.1, unknown'], '10.0.0.1 1234 http 8080 1.1.1.1, unknown'],
    ['10.0.0.1', [X, '1.1.1.1, unknown, 10.0.0.5'], '10.0.0.5 0 http 8080 1.1.1.1, unknown, 10.0.0.5'],
    ['10.0.0.1', [X, '1.1.1.1, '], '10.0.0.1 1234 http 8080 1.1.1.1, '],
    ['10.0.0.1', [X, '1.1.1.1,<script>'], '10.0.0.1 1234 http 8080 1.1.1.1,<script>'],
    // Where each hop adds its scheme, that of the client's counts.
    ['10.0.0.1', [X, '203.0.113.1, 10.0.0.5', P, 'https, http'], '203.0.113.1 0 https 443 203.0.113.1, 10.0.0.5'],
    // Forwarded is not believed as well: a proxy that does not set it passes on what its client says.
    ['10.0.0.1', ['Forwarded', 'for=1.1.1.1;proto=https'], '10.0.0.1 1234 http 8080 -'],
  ])('from "%s" with %j: %s', async (address, headers, answer) => {
    expect((await seen(options, address, headers)).trim()).toBe(answer.trim())
  })

  test('is read from its end, however long it is', async () => {
    const long = Array.from({ length: 500 }, (_, i) => `10.0.1.${i % 256}`).join(', ')
    expect(await seen(options, '10.0.0.1', [X, `1.1.1.1, ${long}`])).toMatch(/^10\.0\.1\./)
  })
})

describe('Forwarded', () => {
  const options: ForwardedOptions = { from: ['10.0.0.0/8'], headers: 'forwarded' }
  test.each<[string[], string]>([
    [['Forwarded', 'for=203.0.113.1;proto=https;by=10.0.0.1'], '203.0.113.1 0 https'],
    [['Forwarded', 'For="[2001:db8::7]:4711" ; Proto=http'], '2001:db8::7 4711 http'],
    [['Forwarded', 'for=1.1.1.1, for=203.0.113.1;proto=https, for=10.0.0.5'], '203.0.113.1 0 https'],
    [['Forwarded', 'for=1.1.1.1;proto=http, for=_hidden;proto=https'], '10.0.0.1 1234 https'],
    [['Forwarded', 'for=unknown'], '10.0.0.1 1234 http'],
    [['Forwarded', 'for=1.1.1.1;"'], '1.1.1.1 0 http'],
    [['Forwarded', 'garbage'], '10.0.0.1 1234 http'],
    [[X, '1.1.1.1', P, 'https'], '10.0.0.1 1234 http'],
  ])('%j: %s', async (headers, answer) => {
    expect(await seen(options, '10.0.0.1', headers)).toMatch(new RegExp(`^${answer.replaceAll('.', '\\.')} `))
  })
})

test('nobody on a unix socket is trusted unless that is said', async () => {
  expect(await seen({ from: ['10.0.0.0/8', '::/0'] }, '', [X, '1.1.1.1'])).toBe(' 1234 http 80 -')
})

test('a client by TCP that is gone, and so has no address any more, is not taken for one on a unix socket', async () => {
  const local = { address: '10.0.0.9', port: 8080 }
  expect(await seen({ from: ['unix'] }, '', [X, '1.1.1.1'], { local })).toBe(' 1234 http 8080 -')
})

test('what is no network is refused at the start', () => {
  expect(() => forwarded({ from: ['10.0.0.0/8', 'localhost'] })).toThrow('forwarded: "localhost" is no address, no network and not "unix"')
})
