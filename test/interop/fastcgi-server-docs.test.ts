// The configurations of docs/fastcgi-server.md, each given to its web server, and the programs of examples/fastcgi, each as FastCGI and as CGI.

import { execFile, spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { main } from '../../examples/fastcgi/app.ts'
import * as core from '../../src/core/index.ts'
import { allow, deny, fastcgi, serveFastCgi } from '../../src/fastcgi/index.ts'
import type { FastCgiServer } from '../../src/fastcgi/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import { everything, gatekeeper } from '../fixtures/fastcgi/everything.mjs'
import { has } from '../peers.ts'
import { WebServer, begin, bodyOf, data, params, stdin } from '../web-server.ts'
import { BEHIND, ask, listens } from './fastcgi-server-fronts.ts'
import type { WebServerPeer } from './fastcgi-server-fronts.ts'
import { freePort, startApache, startCaddy, startHaproxy, startLighttpd, startNginx, temporaryFolder } from './peers/index.ts'

const folder = temporaryFolder('viaduct-server-docs-')
const path = join(folder.path, 'app.sock')
const md5 = (bytes: Uint8Array): string => createHash('md5').update(bytes).digest('hex')
let server: FastCgiServer
beforeAll(async () => {
  const roles = { responder: everything({ ...core, md5 }, () => {}), authorizer: gatekeeper({ ...core, allow, deny }) }
  server = await serveFastCgi(roles, { mount: '/', listen: { path, mode: 0o666 } })
})
afterAll(async () => {
  await server.close(1000)
  folder.remove()
})

const page = readFileSync(new URL('../../docs/fastcgi-server.md', import.meta.url), 'utf8')

/** The block of this language, for this machine. */
function block(language: string, port = 0): string {
  const found = page.split('```' + language + '\n')[1]?.split('```')[0]
  if (found === undefined) throw new Error(`docs/fastcgi-server.md has no block of ${language}`)
  return found
    .replaceAll('/run/app.sock', path)
    .replaceAll('/usr/bin/node /srv/app/app.mjs', `${process.execPath} ${BEHIND}`)
    .replaceAll('localhost:8080', `127.0.0.1:${port}`)
    .replace(/(listen |bind ):?8080/, `$1127.0.0.1:${port}`)
}

async function answers(peer: WebServerPeer, port: number = peer.address.port): Promise<void> {
  try {
    expect(await ask(port, '/')).toMatchObject({ status: 200, whole: true, body: Buffer.from('hello') })
    const facts = JSON.parse((await ask(port, '/facts?a=b')).body.toString()) as object
    expect(facts).toMatchObject({ scriptName: '', pathInfo: '/facts', queryString: 'a=b', target: '/facts?a=b' })
    const body = Buffer.alloc(200_000, 'x')
    expect((await ask(port, '/echo', { method: 'POST', body })).body.toString()).toMatch(/^POST 200000 /)
  } finally {
    await peer.stop()
  }
}

const own = { folder: folder.path, documentRoot: folder.path }

describe('the configuration of the guide', () => {
  test.runIf(has('nginx'))('for nginx', async () => {
    const port = await freePort()
    await answers(await startNginx({ ...own, http: block('nginx', port), server: 'return 404;' }), port)
  })

  test.runIf(has('apache2'))('for mod_proxy_fcgi', async () => {
    await answers(await startApache({ ...own, modules: ['proxy', 'proxy_fcgi'], config: block('apache mod_proxy_fcgi') }))
  })

  test.runIf(has('apache2') && existsSync('/usr/lib/apache2/modules/mod_fcgid.so'))('for mod_fcgid', async () => {
    const state = join(folder.path, 'fcgid')
    mkdirSync(state)
    chmodSync(state, 0o777)
    const config = `FcgidIPCDir "${state}"\nFcgidProcessTableFile "${join(state, 'table')}"\n${block('apache mod_fcgid')}`
    await answers(await startApache({ ...own, name: 'fcgid', modules: ['fcgid'], config }))
  })

  test.runIf(has('lighttpd'))('for lighttpd', async () => {
    await answers(await startLighttpd({ ...own, config: block('lighttpd') }))
  })

  test.runIf(has('lighttpd'))('for an Authorizer behind lighttpd', async () => {
    const peer = await startLighttpd({ ...own, name: 'lighttpd-authorizer', config: block('lighttpd authorizer') })
    try {
      expect((await ask(peer.address.port, '/private/who')).status).toBe(401)
      expect((await ask(peer.address.port, '/private/who', { headers: { 'X-Ticket': 'ada' } })).body.toString()).toBe('ada 2')
      expect((await ask(peer.address.port, '/')).body.toString()).toBe('hello')
    } finally {
      await peer.stop()
    }
  })

  test.runIf(has('caddy'))('for Caddy', async () => {
    const port = await freePort()
    await answers(await startCaddy({ ...own, site: 'respond 404', config: block('caddyfile', port) }), port)
  })

  test.runIf(has('haproxy'))('for HAProxy', async () => {
    const port = await freePort()
    await answers(await startHaproxy({ ...own, frontend: 'default_backend app', config: block('haproxy', port) }), port)
  })

  test.runIf(has('systemd-analyze'))('for systemd is one that it understands', async () => {
    const units = page
      .split('```ini\n')
      .slice(1)
      .map((each) => each.split('```')[0]!)
    expect(units).toHaveLength(2)
    const files = units.map((unit) => join(folder.path, /^# (\S+)/.exec(unit)![1]!))
    for (const [i, unit] of units.entries()) writeFileSync(files[i]!, unit.replace('/usr/bin/node', process.execPath))
    // It complains about units of the machine too, and fails then.
    const { stderr } = await promisify(execFile)('systemd-analyze', ['verify', ...files]).catch((error: { stderr: string }) => error)
    expect(stderr.split('\n').filter((line) => /\bapp\.(?:socket|service)/.test(line) && !line.includes('is marked executable'))).toEqual(
      [],
    )
  })
})

const example = (name: string): string => fileURLToPath(new URL(`../../examples/fastcgi/${name}.mjs`, import.meta.url))

describe('the example', () => {
  const sum = { method: 'POST', target: '/sum', headers: ['Content-Type', 'application/json'], body: '[1,2,3]' } as const

  test.runIf(has('spawn-fcgi')).each(['express', 'fastify', 'hono'])('%s, from spawn-fcgi', async (name) => {
    const socket = join(folder.path, `${name}.sock`)
    const child = spawn('spawn-fcgi', ['-n', '-s', socket, '--', process.execPath, example(name)], { stdio: 'ignore' })
    try {
      await listens({ path: socket })
      await using client = fastcgi({ address: { path: socket } })
      const hello = await client(makeRequest({ target: '/' }))
      expect((await core.collect(bodyStream(hello.body))).toString()).toBe(`${name} says hello\n`)
      const answer = await client(makeRequest(sum))
      expect(JSON.parse((await core.collect(bodyStream(answer.body))).toString())).toEqual({ sum: 6 })
    } finally {
      const gone = once(child, 'exit')
      child.kill('SIGTERM')
      expect(await gone).toEqual([0, null])
    }
  })

  test.each(['express', 'fastify', 'hono'])('%s, as a CGI program', async (name) => {
    const env = {
      GATEWAY_INTERFACE: 'CGI/1.1',
      REQUEST_METHOD: 'GET',
      SCRIPT_NAME: '',
      PATH_INFO: '/',
      SERVER_PROTOCOL: 'HTTP/1.1',
      SERVER_NAME: 'a',
      SERVER_PORT: '80',
    }
    const { stdout } = await promisify(execFile)(process.execPath, [example(name)], { env })
    expect(stdout).toMatch(/^Status: 200 OK\r\n/)
    expect(stdout).toMatch(new RegExp(`\r\n\r\n${name} says hello\n$`))
  })

  test('in TypeScript plays all three roles', async () => {
    await using played = await main({ listen: { path: join(folder.path, 'roles.sock') } })
    const peer = new WebServer(played)
    const body = '[1,2,3]'
    peer.send(begin(1), params(1, { REQUEST_METHOD: 'POST', CONTENT_LENGTH: String(body.length) }), stdin(1, body), stdin(1))
    peer.send(begin(2, true, 2), params(2, { HTTP_X_TICKET: '4711' }), stdin(2), begin(3, true, 2), params(3), stdin(3))
    peer.send(begin(4, true, 3), params(4, { FCGI_DATA_LENGTH: '4', FCGI_DATA_LAST_MOD: '1' }), stdin(4), data(4, 'file'), data(4))
    expect(bodyOf(await peer.ended(1))).toBe('{"sum":6}')
    expect((await peer.ended(2)).stdout).toContain('Variable-REMOTE_USER: ada\r\n')
    expect((await peer.ended(3)).stdout).toMatch(/^Status: 403 /)
    expect(bodyOf(await peer.ended(4))).toBe('FILE')
    peer.socket.destroy()
  })
})

function bodyStream(body: core.ResponseBody): core.ByteStream {
  if (body === null) return core.emptyBody
  if (typeof body === 'string' || body instanceof Uint8Array) return core.streamOf([Buffer.from(body as Uint8Array)])
  return body instanceof core.FileSlice ? body.stream() : body
}
