import { describe, expect, test } from 'vitest'
import { Channel, GatewayError, collect, empty, html, notStarted, text } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { accessLog, bodyLimit, combined, errorPage, timeout } from './index.ts'
import type { Application, GatewayRequest, GatewayResponse, Log, OutcomeKind } from '../core/index.ts'
import type { AccessRecord } from './index.ts'

const logged = (init: Parameters<typeof makeRequest>[0], kind: OutcomeKind = 'sent', status = 200): AccessRecord => {
  const records: AccessRecord[] = []
  const request = makeRequest(init)
  void accessLog((record) => records.push(record))(() => text(200, 'x'))(request)
  expect(records).toEqual([])
  request.finish({ kind, status, bytes: 1 })
  expect(records).toHaveLength(1)
  return records[0]!
}

describe('the access log', () => {
  test('has one record for each request, at its end', () => {
    const record = logged({ target: '/a?b', headers: { 'User-Agent': 'test/1', Referer: 'http://x/' } })
    expect(record).toEqual({
      remote: '192.0.2.1',
      method: 'GET',
      target: '/a?b',
      protocol: 'HTTP/1.1',
      status: 200,
      bytes: 1,
      duration: expect.any(Number) as number,
      userAgent: 'test/1',
      referer: 'http://x/',
      outcome: undefined,
    })
    expect(logged({}, 'cut', 0)).toMatchObject({ status: 0, outcome: 'cut', userAgent: undefined })
  })

  test('cannot be forged or made to speak to a terminal', () => {
    const headers = ['User-Agent', 'a"b\t\x1b[2J\x9b\xc3\xa9\\', 'Referer', 'x\x7f']
    const record = logged({ headers })
    expect([record.userAgent, record.referer]).toEqual(['a"b\\x09\\x1b[2J\\x9b\\xc3\\xa9\\x5c', 'x\\x7f'])
    expect(combined(record, 0)).toBe(
      String.raw`192.0.2.1 - - [01/Jan/1970:00:00:00 +0000] "GET / HTTP/1.1" 200 1 "x\x7f" "a\x22b\x09\x1b[2J\x9b\xc3\xa9\x5c"`,
    )
  })

  test('as a Combined line has a dash for what is not known', () => {
    const record = { ...logged({}), remote: '', bytes: 0 }
    expect(combined(record, Date.UTC(2026, 11, 31, 23, 59, 59))).toBe('- - - [31/Dec/2026:23:59:59 +0000] "GET / HTTP/1.1" 200 - "-" "-"')
  })
})

const echo: Application = async (request) => text(200, (await collect(request.body)).toString())

describe('a limit of 4 bytes on bodies', () => {
  const limited = bodyLimit(4)(echo)

  test.each(['', 'abcd'])('lets %j pass', async (body) => {
    expect((await limited(makeRequest({ method: 'POST', body }))).body).toBe(body)
    expect((await limited(makeRequest({ method: 'POST', body: [Buffer.from(body)] }))).body).toBe(body)
  })

  test('refuses one that says it is larger, before the application is asked', () => {
    let asked = false
    const application = bodyLimit(4)(() => {
      asked = true
      return text(200, '')
    })
    expect(() => application(makeRequest({ method: 'POST', body: 'abcde' }))).toThrow(
      expect.objectContaining({ code: 'BODY_TOO_LARGE', status: 413 }) as Error,
    )
    expect(asked).toBe(false)
  })

  test('fails one that grows past it, and stops its source', async () => {
    let cancelled = false
    const body = new Channel({ onCancel: () => (cancelled = true) })
    body.write(Buffer.from('abc'))
    body.write(Buffer.from('de'))
    await expect(limited(makeRequest({ method: 'POST', body }))).rejects.toMatchObject({ code: 'BODY_TOO_LARGE', status: 413 })
    expect(cancelled).toBe(true)
  })
})

describe('a timeout', () => {
  test('lets an answer in time pass, at once where it came at once', async () => {
    const response = text(200, 'x')
    expect(timeout(1000)(() => response)(makeRequest({}))).toBe(response)
    expect(await timeout(1000)(() => Promise.resolve(response))(makeRequest({}))).toBe(response)
  })

  test('answers 504 for one that does not come, aborts its signal and throws away what comes late', async () => {
    let settle: ((response: GatewayResponse) => void) | undefined
    let inner: GatewayRequest | undefined
    const application = timeout(1)((request) => {
      inner = request
      return new Promise((resolve) => (settle = resolve))
    })
    await expect(application(makeRequest({ target: '/slow' }))).rejects.toMatchObject({
      code: 'TIMEOUT',
      status: 504,
      message: expect.stringContaining('GET /slow') as string,
    })
    expect(inner!.signal.aborted).toBe(true)
    const cancelled = new Promise((resolve) =>
      settle!({ status: 200, headers: [], body: new Channel({ onCancel: () => resolve('cancelled') }) }),
    )
    expect(await cancelled).toBe('cancelled')
  })

  test('passes errors on, and ends the try', async () => {
    const kinds: string[] = []
    const broken = (how: () => Promise<GatewayResponse>): Application =>
      timeout(1000)((request) => {
        request.onFinish(({ kind }) => kinds.push(kind))
        return how()
      })
    await expect(broken(() => Promise.reject(new Error('later')))(makeRequest({}))).rejects.toThrow('later')
    const now = broken(() => {
      throw new Error('now')
    })
    expect(() => now(makeRequest({}))).toThrow('now')
    expect(kinds).toEqual(['discarded', 'discarded'])
  })
})

describe('the error page', () => {
  const lines: [string, object, string][] = []
  const note =
    (level: string) =>
    (fields: object, message: string): void =>
      void lines.push([level, fields, message])
  const log: Log = { debug: note('debug'), info: note('info'), warn: note('warn'), error: note('error') }
  const browser = { Accept: 'text/html,application/xhtml+xml,*/*;q=0.8' }

  test('is HTML for browsers and text for others, and keeps the head', async () => {
    const application = errorPage()(() => empty(405, ['Allow', 'GET']))
    const page = await application(makeRequest({ headers: browser }))
    expect([page.status, page.headers]).toEqual([405, ['Content-Type', 'text/html; charset=utf-8', 'Allow', 'GET']])
    expect(page.body).toContain('<h1>Method Not Allowed</h1>')
    const plain = await application(makeRequest({}))
    expect([plain.headers, plain.body]).toEqual([
      ['Content-Type', 'text/plain; charset=utf-8', 'Allow', 'GET'],
      expect.stringMatching(/^405 Method Not Allowed\n/),
    ])
    expect((await application(makeRequest({ method: 'HEAD' }))).body).toBeNull()
  })

  test.each<[string, GatewayResponse]>([
    ['below 400', empty(304)],
    ['with a body', html(404, '<p>mine')],
    ['with a type, so meant to be empty', empty(404, ['content-type', 'text/html'])],
  ])('leaves alone what is %s', async (_, response) => {
    expect(errorPage()(() => response)(makeRequest({}))).toBe(response)
    expect(await errorPage()(() => Promise.resolve(response))(makeRequest({}))).toBe(response)
  })

  test.each<[unknown, number, string]>([
    [new GatewayError('QUEUE_FULL', { status: 503, message: 'secret reason', retryAfter: 7 }), 503, 'warn'],
    [new GatewayError('UPSTREAM_HEAD', { status: 502, message: 'secret reason' }), 502, 'error'],
    [new GatewayError('BODY_TOO_LARGE', { status: 413, message: 'secret reason' }), 413, 'debug'],
    [new TypeError('secret reason'), 500, 'error'],
    ['secret reason', 500, 'error'],
  ])('of %s has status %i, and its reason is for the log', async (error, status, level) => {
    for (const how of ['now', 'later']) {
      lines.length = 0
      const application = errorPage({ log })(() => {
        if (how === 'now') throw error
        return Promise.reject(error as Error)
      })
      const response = await application(makeRequest({ target: '/x', headers: browser }))
      expect(response.status).toBe(status)
      expect(JSON.stringify(response)).not.toContain('secret')
      expect(lines).toEqual([
        [level, expect.objectContaining({ method: 'GET', target: '/x', status }), expect.stringContaining('secret reason')],
      ])
      if (status === 503) expect(response.headers.slice(2)).toEqual(['Retry-After', '7'])
    }
  })

  test.each<[GatewayError, string]>([
    [new GatewayError('QUEUE_FULL', { status: 503, message: 'secret' }), 'The server is busy. Please try again in a moment.'],
    [notStarted(new Error('secret'), 250), 'The application behind this page does not start. The log of the server knows why.'],
    [notStarted(new Error('secret'), Infinity), 'The application behind this page does not start. The log of the server knows why.'],
    [
      new GatewayError('UNAVAILABLE', { status: 503, message: 'secret' }),
      'The application behind this page cannot be reached. The log of the server knows why.',
    ],
  ])('of %s is the server busy only where that is the reason', async (error, words) => {
    const { body, status } = await errorPage()(() => Promise.reject(error))(makeRequest({}))
    expect([body, status]).toEqual([
      `${status} ${status === 503 ? 'Service Unavailable' : 'Internal Server Error'}\n${words}\n`,
      error.status,
    ])
  })

  test('has words for a status nobody knows', async () => {
    expect((await errorPage()(() => empty(499))(makeRequest({}))).body).toBe('499 Client Error\nThis request cannot be answered.\n')
    expect((await errorPage()(() => empty(599))(makeRequest({}))).body).toContain('599 Server Error')
  })
})
