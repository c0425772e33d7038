import { describe, expect, test } from 'vitest'
import { compose, derive, text } from '../core/index.ts'
import { serveMemory } from '../testing/index.ts'
import { xSendfile } from './sendfile.ts'
import type { GatewayResponse } from '../core/index.ts'
import type { InternalFiles } from './index.ts'

const files: InternalFiles = {
  roots: ['/srv/private', '/srv/other'],
  send: (request, root, file) => ({
    status: 200,
    headers: ['Content-Type', 'application/octet-stream', 'Content-Length', '4'],
    body: `${request.method} ${root} ${file}`.slice(0, 4) === 'GET ' ? 'file' : 'oops',
  }),
}

async function ask(
  headers: readonly string[],
  method = 'GET',
): Promise<{ status: number; headers: readonly string[]; body: string; errors: string }> {
  let errors = ''
  const application = compose((): GatewayResponse => ({ status: 200, headers, body: 'what the application said' }), xSendfile(files))
  const response = await serveMemory((request) =>
    application(derive(request, { errors: { write: (line) => void (errors += line) } })),
  ).request({ method })
  return { status: response.status, headers: response.headers, body: response.body.toString(), errors }
}

describe('X-Sendfile', () => {
  test('is replaced by the file, with the type and the cookies that the application said', async () => {
    const { status, headers, body } = await ask([
      'X-Sendfile',
      '/srv/private/a.pdf',
      'Content-Type',
      'application/pdf',
      'Set-Cookie',
      'a=b',
      'Content-Length',
      '25',
    ])
    expect({ status, body }).toEqual({ status: 200, body: 'file' })
    expect(headers).toEqual(['Content-Length', '4', 'Content-Type', 'application/pdf', 'Set-Cookie', 'a=b'])
  })

  test('answers a form with its file', async () => {
    expect(await ask(['x-sendfile', '/srv/other/a'], 'POST')).toMatchObject({ status: 200, body: 'file' })
  })

  test.each([
    '/etc/passwd',
    '/srv/privatex/a',
    '/srv/private',
    'srv/private/a',
    '/srv/private/../../etc/passwd',
    '/srv/private/./a',
    '/srv/private/..',
    '/srv/private/a\0b',
    '',
  ])('never sends %j, and says so in the log alone', async (file) => {
    const { status, headers, body, errors } = await ask(['X-Sendfile', file])
    expect({ status, body }).toEqual({ status: 500, body: '' })
    expect(headers.join()).not.toContain('endfile')
    expect(errors).toContain('lies in no folder that may be sent from')
  })

  test('means nothing where it is not allowed: the field is as any other', async () => {
    const { headers } = await serveMemory(() => text(200, 'x', ['X-Sendfile', '/etc/passwd'])).request()
    expect(headers).toContain('X-Sendfile')
  })
})
