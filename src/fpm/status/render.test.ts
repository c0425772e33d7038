import { describe, expect, test } from 'vitest'
import { statusPage, statusQuery } from './render.ts'
import type { StatusFormat } from './render.ts'
import type { StatusModel } from './types.ts'

const HOSTILE = `/a\r\nX: y<script>&"'\x1b\0</td>\\`
const model: StatusModel = {
  pool: 'w"<w>',
  processManager: 'dynamic',
  startTime: 1_795_362_177,
  now: 1_795_362_180,
  acceptedConn: 10,
  listenQueue: 1,
  maxListenQueue: 2,
  listenQueueLen: 511,
  idleProcesses: 1,
  activeProcesses: 1,
  maxActiveProcesses: 2,
  maxChildrenReached: 3,
  slowRequests: 4,
  processes: [
    {
      pid: 7,
      state: 'Idle',
      startTime: 1_795_362_178,
      requests: 5,
      requestDuration: 600,
      requestMethod: 'GET',
      requestUri: HOSTILE,
      queryString: 'q=\xc3\xa9\xff',
      contentLength: 0,
      user: '<u>',
      script: '',
      lastRequestCpu: 12.3456,
      lastRequestMemory: 2_097_152,
    },
  ],
}
const body = (query: string, more: Partial<StatusModel> = {}): string =>
  Buffer.from(statusPage({ ...model, ...more }, 'GET', query).body).toString()

describe('a query', () => {
  test.each<[string, StatusFormat, boolean]>([
    ['', 'text', false],
    ['full', 'text', true],
    ['json', 'json', false],
    ['full&json', 'json', true],
    ['json&html', 'html', false],
    ['openmetrics', 'openmetrics', false],
    ['%6Ason=1', 'json', false],
    ['jsonx', 'text', false],
    ['=json', 'text', false],
  ])('"%s" asks for %s, with processes: %s', (query, format, full) => {
    expect(statusQuery(query)).toEqual({ format, full })
  })
})

describe('what clients said', () => {
  test('is a value in JSON', () => {
    const page = JSON.parse(body('json&full')) as { pool: string; processes: Record<string, unknown>[] }
    expect(page.pool).toBe('w"<w>')
    expect(page.processes[0]).toMatchObject({ 'request uri': `${HOSTILE}?q=é\ufffd`, user: '<u>', script: '-', 'last request cpu': 12.35 })
  })

  test.each(['html&full', 'xml&full'])('is no markup in %s (CVE-2026-6735, CVE-2026-129292)', (query) => {
    const page = body(query)
    expect(page).not.toContain('<script>&')
    expect(page).not.toContain('<u>')
    expect(page).toContain("/a\\x0d\\x0aX: y&lt;script&gt;&amp;&quot;'\\x1b\\x00&lt;/td&gt;\\?q=")
  })

  test('is one line in text', () => {
    expect(
      body('full')
        .split('\n')
        .filter((line) => line.startsWith('X:')),
    ).toEqual([])
    expect(body('full')).toContain('request URI:          /a\\x0d\\x0aX: y<script>')
  })

  test('stays in the help of a metric', () => {
    expect(body('openmetrics', { pool: 'a\\b\nphpfpm_up 0' }).split('\n')[0]).toBe(
      '# HELP phpfpm_up Could pool a\\\\b\\x0aphpfpm_up 0 using a dynamic PM on PHP-FPM be reached?',
    )
  })
})

test('a process that works tells neither its processor time nor its memory', () => {
  const processes = [{ ...model.processes[0]!, state: 'Running' as const }]
  expect(body('full', { processes })).toMatch(/last request cpu: {5}0\.00\nlast request memory: {2}0\n$/)
  expect(body('full')).toMatch(/last request cpu: {5}12\.35\nlast request memory: {2}2097152\n$/)
})
