import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { makeRequest, serveMemory } from '../testing/index.ts'
import type { MemoryParts, MemoryResponse } from '../testing/index.ts'
import { until } from '../../test/fixtures/cgi/tools.ts'
import { discard } from '../core/index.ts'
import { cgi, serveCgi } from './index.ts'
import type { CgiBackend } from './index.ts'

// It runs what was built: a program is another process.
const script = fileURLToPath(new URL('../../test/fixtures/cgi/child.mjs', import.meta.url))

let backend: CgiBackend
beforeAll(async () => {
  // Held answers cannot be cut in the middle.
  backend = cgi({ script, interpreter: [process.execPath], limits: { holdTime: 0 } })
  await backend.ready()
})
afterAll(() => backend.close(0))

function ask(path: string, parts: MemoryParts = {}): Promise<MemoryResponse> {
  return serveMemory(backend).request({ target: `/x.cgi${path}`, scriptName: '/x.cgi', ...parts })
}

/** What it writes to its log, which may be after its answer is whole. */
async function heard(path: string, expected: RegExp): Promise<void> {
  const request = makeRequest({ target: `/x.cgi${path}`, scriptName: '/x.cgi' })
  const response = await backend(request)
  await until(() => expected.test(request.errorText))
  discard(response)
}

describe('a program made with serveCgi, under our own host', () => {
  test('gets the request that was made', async () => {
    const answer = await ask('/a%20b?c=d', {
      method: 'PUT',
      headers: { 'x-a': '1', 'content-type': 'a/b', host: 'example.org' },
      body: 'hello',
    })
    expect(answer).toMatchObject({ status: 200, reason: 'OK' })
    expect(JSON.parse(answer.body.toString())).toEqual({
      method: 'PUT',
      target: '/x.cgi/a%20b?c=d',
      scriptName: '/x.cgi',
      pathInfo: '/a b',
      rawPathInfo: '/a%20b',
      queryString: 'c=d',
      protocol: 'HTTP/1.1',
      scheme: 'http',
      contentLength: 5,
      remote: { address: '192.0.2.1', port: 50_000 },
      local: { address: '192.0.2.2', port: 80 },
      variables: { SERVER_NAME: 'example.org', SCRIPT_FILENAME: script, GATEWAY_INTERFACE: 'CGI/1.1', HTTP_X_A: '1' },
      headers: { xa: '1', type: 'a/b' },
    })
  })

  test.each([0, 5, 100_000, 3_000_000])('reads a body of %i bytes, and says how long its answer is', async (length) => {
    const answer = await ask('/echo', { method: 'POST', body: Buffer.alloc(length, 'ab') })
    expect(answer.outcome.kind).toBe('sent')
    expect(answer.headers).toContain('Content-Length')
    expect(answer.body.equals(Buffer.alloc(length, 'ab'))).toBe(true)
  })

  test('streams, at the pace of a slow reader', async () => {
    const answer = await ask('/stream', { reader: 'slow' })
    expect(answer.outcome.kind).toBe('sent')
    expect(answer.body.length).toBe(3_000_000)
  })

  test('answers with status, reason and fields, but none of the connection', async () => {
    const answer = await ask('/status')
    expect(answer).toMatchObject({ status: 404, reason: 'Not At All' })
    expect(answer.headers).toEqual(['X-A', '1', 'Set-Cookie', 'a', 'Set-Cookie', 'b', 'Content-Length', '4'])
  })

  test('answers HEAD without a body', async () => {
    const answer = await ask('/status', { method: 'HEAD' })
    expect(answer).toMatchObject({ status: 404, outcome: { kind: 'sent' } })
    expect(answer.body.length).toBe(0)
  })

  test('asks its server for a local redirect', async () => {
    const response = await backend(makeRequest({ target: '/x.cgi/redirect', scriptName: '/x.cgi' }))
    expect(response.internal).toEqual({ redirect: '/elsewhere?x' })
  })

  test('is 500 when it throws or would split its head, and tells the log only', async () => {
    for (const [path, why] of [
      ['/throw', 'it broke'],
      ['/header', 'not a header field'],
    ] as const) {
      const answer = await ask(path)
      expect(answer).toMatchObject({ status: 500 })
      expect(answer.body.length).toBe(0)
      await heard(path, new RegExp(`^child.mjs\\[\\d+\\]: .*${why}`, 'm'))
    }
  })

  test('never lets half a body look whole', async () => {
    const answer = await ask('/half')
    expect(answer).toMatchObject({ status: 200, outcome: { kind: 'failed' } })
    expect(answer.body.toString()).toBe('half')
    await heard('/half', /the other half is missing/)
  })

  test('does its later work, after the end of the answer', async () => {
    await heard('/later', /finished sent 200 3\n.*later/)
    expect((await ask('/later')).body.toString()).toBe('now')
  })

  test('writes to the log', async () => {
    await heard('/errors', /: a word for the log\n/)
  })
})

describe('serveCgi', () => {
  test('refuses to run without a request', async () => {
    await expect(serveCgi(() => ({ status: 200, headers: [], body: null }))).rejects.toMatchObject({ code: 'CONFIG' })
  })

  test('reads no more than CONTENT_LENGTH from a standard input that stays open, and exits', async () => {
    const program = execFile(process.execPath, [script], {
      env: { GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'POST', PATH_INFO: '/echo', CONTENT_LENGTH: '5' },
    })
    let out = ''
    program.stdout!.on('data', (chunk: string) => {
      out += chunk
    })
    program.stdin!.write('hello and more')
    await new Promise((resolve) => program.once('close', resolve))
    expect(out).toBe('Status: 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello')
  })

  test('is 400 when standard input ends early', async () => {
    const program = execFile(process.execPath, [script], {
      env: { GATEWAY_INTERFACE: 'CGI/1.1', REQUEST_METHOD: 'POST', PATH_INFO: '/echo', CONTENT_LENGTH: '5' },
    })
    let out = ''
    program.stdout!.on('data', (chunk: string) => {
      out += chunk
    })
    program.stdin!.end('he')
    await new Promise((resolve) => program.once('close', resolve))
    expect(out).toMatch(/^Status: 400 /)
  })
})
