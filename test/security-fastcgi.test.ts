// What went wrong in other FastCGI applications and managers, asked of our own server and client. One test for each advisory, by its number.

import { mkdtempSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collect, text } from '../src/core/index.ts'
import { Role, allow, authorizer, fastcgi, serveFastCgi } from '../src/fastcgi/index.ts'
import { makeRequest } from '../src/testing/index.ts'
import { WebServer, begin, bodyOf, get, params, stdin } from './web-server.ts'
import { bytes, record } from './wire.ts'
import type { GatewayRequest } from '../src/core/index.ts'
import type { FastCgiServer } from '../src/fastcgi/index.ts'

const PARAMS = 4
const silent = { debug() {}, info() {}, warn() {}, error() {} }
let folder: string
let server: FastCgiServer

/** All that a program would see of a request. */
const echo = async (request: GatewayRequest): Promise<ReturnType<typeof text>> => {
  const body = request.queryString === 'unread' ? '' : (await collect(request.body, 1000)).toString('latin1')
  return text(200, JSON.stringify([request.headers.list, request.variables.own, body]))
}

const letIn = (): ReturnType<typeof allow> => allow({ REMOTE_USER: 'ada' })

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-security-fcgi-'))
  server = await serveFastCgi({ responder: echo, authorizer: letIn }, { listen: { path: join(folder, 's') }, log: silent })
})
afterAll(async () => {
  await server?.close(0)
  rmSync(folder, { recursive: true })
})

describe('a web server', () => {
  test('that was not told to cannot pass on what runs other code, nor HTTP_PROXY (CVE-2016-5385)', async () => {
    const web = new WebServer(server)
    const variables = { PHP_VALUE: 'EVIL', PHP_ADMIN_VALUE: 'EVIL', UWSGI_FILE: 'EVIL', REQUEST_BODY_FILE: 'EVIL', HTTP_PROXY: 'EVIL' }
    web.send(get(1, variables))
    expect(bodyOf(await web.ended(1))).not.toContain('EVIL')
    web.socket.destroy()
  })

  test.each([
    ['lengths whose sum is no number of 32 bits', 'ff ff ff ff ff ff ff ff'],
    ['a name of two thousand million bytes', 'ff ff ff ff 00'],
    ['a value that never comes', '01 ff ff ff ff 41'],
  ])('that says %s is closed on (CVE-2012-6687, CVE-2025-23016)', async (_, hex) => {
    const web = new WebServer(server)
    web.send(begin(1), record(PARAMS, 1, bytes(hex)), record(PARAMS, 1))
    await web.closes()
    expect(web.replies.get(1)?.stdout ?? '').not.toContain('200')
    const other = new WebServer(server)
    other.send(get(1))
    expect((await other.ended(1)).ended).toBeDefined()
    other.socket.destroy()
  })

  test('whose request was answered before its body had come finds none of it in the next (CVE-2026-129289)', async () => {
    const web = new WebServer(server)
    web.send(begin(1), params(1, { QUERY_STRING: 'unread', CONTENT_LENGTH: '12' }), stdin(1, 'SECRET'))
    await web.ended(1)
    web.send(stdin(1, 'SECRET'), stdin(1), begin(1), params(1, { CONTENT_LENGTH: '5' }), stdin(1, 'hello'), stdin(1))
    web.replies.delete(1)
    const reply = await web.ended(1)
    expect(bodyOf(reply)).toContain('"hello"')
    expect(bodyOf(reply)).not.toContain('SECRET')
    web.socket.destroy()
  })

  test('of another user cannot connect, where nobody said who may (CVE-2014-0185)', () => {
    expect(statSync(join(folder, 's')).mode & 0o777).toBe(0o660)
  })
})

test('what an Authorizer says of a client, the client cannot say (GHSA-f59h-q822-g45g)', async () => {
  const address = `unix:${join(folder, 's')}`
  const [gate, responder] = [fastcgi({ address, role: Role.Authorizer }), fastcgi({ address })]
  try {
    const headers = ['Remote-User', 'eve', 'Remote_User', 'eve', 'Variable-Remote-User', 'eve', 'Variable-REMOTE_USER', 'eve']
    const response = await authorizer(gate)(responder)(makeRequest({ target: '/', headers }))
    const { body } = response
    const said = typeof body === 'string' ? body : Buffer.from(body as Uint8Array).toString('latin1')
    const [, own] = JSON.parse(said) as [string[], string[]]
    const at = own.indexOf('REMOTE_USER')
    expect([own[at], own[at + 1], own.includes('eve')]).toEqual(['REMOTE_USER', 'ada', false])
  } finally {
    await Promise.all([gate.close(0), responder.close(0)])
  }
})
