import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net, { createServer } from 'node:net'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { BACKLOG_MOST, backlogOf } from '../../test/backlog.ts'
import { bodyOf, talk } from '../../test/http-raw.ts'
import { has } from '../../test/peers.ts'
import { text } from '../core/index.ts'
import type { GatewayRequest } from '../core/index.ts'
import { serveHttp } from './index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-listen-'))
afterAll(() => rmSync(folder, { recursive: true }))

interface Handle {
  readonly fd: number
  getsockname(address: AddressInfo): void
}

/** Bound, and polled by nobody: what a supervisor hands over. */
function bind(): { fd: number; port: number } {
  const { _createServerHandle: create } = net as unknown as { _createServerHandle(host: string, port: number, family: number): Handle }
  const handle = create('127.0.0.1', 0, 4)
  const address = {} as AddressInfo
  handle.getsockname(address)
  return { fd: handle.fd, port: address.port }
}

const say = (what: string) => () => text(200, what)
const GET = 'GET / HTTP/1.0\r\n\r\n'

describe('a host and a port', () => {
  test('are 127.0.0.1 and a free one unless told', async () => {
    await using server = await serveHttp(say('here'))
    expect(server.address).toMatchObject({ host: '127.0.0.1' })
    expect(bodyOf(await talk(server.address, GET))).toBe('here')
  })

  test('that are taken are a CONFIG error that says what to do', async () => {
    await using server = await serveHttp(say('here'))
    const { port } = server.address as { port: number }
    await expect(serveHttp(say('there'), { listen: { port } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(
        new RegExp(`^http: cannot listen on 127\\.0\\.0\\.1:${port}: another program .* choose another port`),
      ) as string,
    })
  })

  test.each([
    ['an address of another machine', '192.0.2.1', /no such address/],
    ['a name that is none', 'no-such-host.invalid', /ENOTFOUND|EAI_AGAIN/],
  ])('with %s are a CONFIG error', async (_, host, message) => {
    await expect(serveHttp(say('x'), { listen: { host, port: 0 } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(message) as string,
    })
  })
})

describe('a unix socket', () => {
  test('has its mode, serves, has no ports, and is gone afterwards', async () => {
    const path = join(folder, 'a.sock')
    let request: GatewayRequest | undefined
    const server = await serveHttp(
      (each) => {
        request = each
        return text(200, 'here')
      },
      { listen: { path, mode: 0o600 } },
    )
    expect(server.address).toEqual({ path })
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(bodyOf(await talk(server.address, GET))).toBe('here')
    expect(request?.remote).toEqual({ address: '', port: 0 })
    await server.close()
    expect(existsSync(path)).toBe(false)
  })

  test('is for owner and group unless told', async () => {
    const path = join(folder, 'mode.sock')
    await using _ = await serveHttp(say('x'), { listen: { path } })
    expect(statSync(path).mode & 0o777).toBe(0o660)
  })

  test('of a living server is left alone', async () => {
    const path = join(folder, 'b.sock')
    await using server = await serveHttp(say('first'), { listen: { path } })
    await expect(serveHttp(say('second'), { listen: { path } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: `http: a running server listens on ${path}; stop it or choose another path`,
    })
    expect(bodyOf(await talk(server.address, GET))).toBe('first')
  })

  test('of a dead server is replaced', async () => {
    const path = join(folder, 'c.sock')
    const dead = spawn(process.execPath, ['-e', `require('net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(dead.stdout, 'data')
    dead.kill('SIGKILL')
    await once(dead, 'exit')
    expect(existsSync(path)).toBe(true)
    await using server = await serveHttp(say('alive'), { listen: { path } })
    expect(bodyOf(await talk(server.address, GET))).toBe('alive')
  })

  test('that a successor has taken over is not removed by the one before', async () => {
    const path = join(folder, 'd.sock')
    const first = await serveHttp(say('first'), { listen: { path } })
    // A successor that does not ask: it renames its own socket over this one.
    const heir = createServer((socket) => socket.end('heir'))
    heir.listen(`${path}.new`)
    await once(heir, 'listening')
    renameSync(`${path}.new`, path)
    await first.close()
    expect(await talk({ path }, '')).toBe('heir')
    await new Promise((resolve) => heir.close(resolve))
    rmSync(path, { force: true })
  })

  test('is not made over a file of another kind', async () => {
    const path = join(folder, 'e.txt')
    writeFileSync(path, 'precious')
    await expect(serveHttp(say('x'), { listen: { path } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringContaining('is not a socket') as string,
    })
    expect(statSync(path).size).toBe(8)
  })

  test.each([
    ['in a folder that is not there', join(folder, 'none', 'x.sock'), /ENOENT|EACCES|folder/],
    ['with a name too long for the system', join(folder, 'x'.repeat(120)), /too long/],
  ])('%s is a CONFIG error', async (_, path, message) => {
    await expect(serveHttp(say('x'), { listen: { path } })).rejects.toMatchObject({
      code: 'CONFIG',
      message: expect.stringMatching(message) as string,
    })
  })
})

describe('a descriptor', () => {
  test('that was inherited is served, and its address known', async () => {
    const { fd, port } = bind()
    const server = await serveHttp(say('inherited'), { listen: { fd } })
    expect(server.address).toEqual({ host: '127.0.0.1', port })
    expect(bodyOf(await talk(server.address, GET))).toBe('inherited')
    await server.close()
  })

  test('that is none is a CONFIG error', async () => {
    await expect(serveHttp(say('x'), { listen: { fd: 987 } })).rejects.toMatchObject({ code: 'CONFIG' })
  })
})

describe.skipIf(!has('ss'))('as many connections may wait as `backlog` says', () => {
  test.each([
    [undefined, 1024],
    [7, 7],
    [2000, 2000],
  ])('%s, for a port, a path and a descriptor', async (backlog, expected) => {
    const told = backlog === undefined ? {} : { backlog }
    await using port = await serveHttp(say('x'), { listen: { ...told } })
    await using _path = await serveHttp(say('x'), { listen: { path: join(folder, 'backlog.sock'), ...told } })
    const inherited = bind()
    await using _inherited = await serveHttp(say('x'), { listen: { fd: inherited.fd, ...told } })
    // The name that a unix socket was bound to is another one, in the same folder.
    const sockets = [`:${(port.address as { port: number }).port} `, `${folder}/`, `:${inherited.port} `]
    expect(sockets.map(backlogOf)).toEqual(Array(3).fill(Math.min(expected, BACKLOG_MOST)))
  })
})

test.each([0, -1, 1.5, 65_536, Number.NaN])('a backlog of %s is a CONFIG error', async (backlog) => {
  await expect(serveHttp(say('x'), { listen: { backlog } })).rejects.toMatchObject({
    code: 'CONFIG',
    message: `http: listen.backlog: expected a whole number from 1 to 65535, got ${backlog}`,
  })
})
