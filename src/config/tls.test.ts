import { describe, expect, test } from 'vitest'
import { getHeader } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { buildServer, certificateWarnings, explainRequest } from './index.ts'
import type { ListenerPlan, ServerPlan, TlsPlan } from './index.ts'

const DAY = 86_400_000
const NOW = Date.UTC(2026, 10, 22)
const silent = { debug() {}, info() {}, warn() {}, error() {} }

const withCertificate = (from: number, until: number, names?: readonly string[]): TlsPlan => ({
  certificates: [
    {
      cert: '/a.crt',
      key: '/a.key',
      ...(names !== undefined && { names }),
      facts: { names: ['one.example', '*.two.example'], from: NOW + from, until: NOW + until },
    },
  ],
})

test.each<[string, TlsPlan, string[]]>([
  ['for a long time', withCertificate(-DAY, 90 * DAY), []],
  ['for two weeks', withCertificate(-DAY, 14 * DAY), []],
  ['for less', withCertificate(-DAY, 14 * DAY - 1), ['the certificate /a.crt expires in 13 days, on 2026-12-05']],
  ['for a day', withCertificate(-DAY, DAY), ['the certificate /a.crt expires in a day, on 2026-11-23']],
  ['for hours', withCertificate(-DAY, 1), ['the certificate /a.crt expires in 0 days, on 2026-11-22']],
  ['no more', withCertificate(-DAY, -1), ['the certificate /a.crt has expired on 2026-11-21; clients refuse it']],
  ['not yet', withCertificate(DAY, 90 * DAY), ['the certificate /a.crt is valid from 2026-11-23 only; clients refuse it until then']],
  ['for its names', withCertificate(-DAY, 90 * DAY, ['ONE.example', 'a.two.example']), []],
  [
    'not for others',
    withCertificate(-DAY, 90 * DAY, ['two.example', 'a.b.two.example', 'one.example']),
    ['the certificate /a.crt is not for two.example, a.b.two.example; clients refuse it there'],
  ],
])('a certificate that is good %s: %j', (_, plan, warnings) => {
  expect(certificateWarnings(plan, NOW)).toEqual(warnings)
})

const tls = withCertificate(-DAY, 90 * DAY)
const at = (port: number, more: Partial<ListenerPlan> = {}): ListenerPlan => ({
  listen: { host: '127.0.0.1', port },
  protocol: 'http',
  ...more,
})
const plan = (...listeners: ListenerPlan[]): ServerPlan => ({
  listeners,
  applications: {},
  sites: [{ at: 'sites[0]', routes: [{ at: 'sites[0].routes[0]', respond: { body: 'served' } }] }],
  limits: {},
  maxBody: 0,
  logs: { level: 'info', access: 'off' },
  grace: 0,
})

describe('a listener that leads to https', () => {
  test.each([
    ['/a%20b?c=d', 308, 'https://one.example:8443/a%20b?c=d'],
    ['/.well-known/acme-challenge/token', 200, undefined],
    ['/.well-known/acme-challenge', 308, 'https://one.example:8443/.well-known/acme-challenge'],
    ['/.well-known/acme-challenge/../x', 308, 'https://one.example:8443/.well-known/acme-challenge/../x'],
  ])('answers %s with %d', async (target, status, location) => {
    const records: unknown[] = []
    await using server = await buildServer(plan(at(80)), { log: silent, access: (record) => void records.push(record.status) })
    const request = makeRequest({ target, headers: ['Host', 'one.example:80'] })
    const response = await server.redirecting(8443)(request)
    expect([response.status, getHeader(response.headers, 'location')]).toEqual([status, location])
    // It is a request like any other: it is logged.
    request.finish({ status })
    expect(records).toEqual([status])
  })

  test('is explained, and so is the scheme of every listener', async () => {
    const of = plan(at(80, { redirect: { listener: 1 } }), at(443, { tls }), at(8080))
    const told = async (url: string): Promise<unknown[]> => {
      const { steps, answer } = await explainRequest(of, { url })
      return [steps[0]!.at, steps[0]!.why, answer.what]
    }
    const here = 'it has the port of the URL'
    expect(await told('http://one.example/a?b')).toEqual([
      'listeners[0]',
      `127.0.0.1:80, http: ${here}`,
      'status 308, a redirect to https://one.example/a?b',
    ])
    expect(await told('http://one.example/.well-known/acme-challenge/x')).toEqual([
      'listeners[0]',
      `127.0.0.1:80, http: ${here}`,
      'status 200',
    ])
    expect(await told('https://one.example/')).toEqual(['listeners[1]', `127.0.0.1:443, https: ${here}`, 'status 200'])
    expect(await told('https://one.example:444/')).toEqual([
      'listeners[1]',
      '127.0.0.1:443, https: the first one of https, as if it had port 444, which none has',
      'status 200',
    ])
    expect((await told('/'))[0]).toBe('listeners[1]')
  })
})
