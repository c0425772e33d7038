import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { once } from 'node:events'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { describeListen, openListeners } from './listeners.ts'
import type { Listener } from './listeners.ts'

let folder = ''
let open: { close(): unknown }[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-listen-'))
})
afterEach(() => {
  for (const each of open) each.close()
  open = []
  rmSync(folder, { recursive: true, force: true })
})

async function listenersOf(...specs: Parameters<typeof openListeners>[0]): Promise<Listener[]> {
  const listeners = await openListeners(specs)
  open.push(...listeners)
  return listeners
}

/** A process that serves on an inherited descriptor. */
async function childOn(fd: number, answer: string): Promise<ChildProcess> {
  const program = `require('net').createServer((s) => s.end('${answer}')).listen({ fd: 4 }, () => process.send('up'))`
  const child = spawn(process.execPath, ['-e', program], { stdio: ['ignore', 'inherit', 'inherit', 'ipc', fd] })
  open.push({ close: () => child.kill('SIGKILL') })
  await once(child, 'message')
  return child
}

/** A server of somebody else. */
async function serverOn(where: string | number): Promise<net.Server> {
  const server = net.createServer((socket) => socket.on('error', () => {}).end('theirs'))
  if (typeof where === 'string') server.listen(where)
  else server.listen(where, '127.0.0.1')
  await once(server, 'listening')
  open.push(server)
  return server
}

async function answerOf(options: net.NetConnectOpts): Promise<string> {
  const socket = net.connect(options)
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString()))
  await once(socket, 'close')
  return text
}

describe('a TCP listener', () => {
  test('has the real port where 0 was asked for, and is not listening yet', async () => {
    const [listener] = await listenersOf({ host: '127.0.0.1', port: 0 })
    const address = listener!.address as { host: string; port: number }
    expect(address).toEqual({ host: '127.0.0.1', port: expect.any(Number) })
    expect(address.port).toBeGreaterThan(0)
    await expect(answerOf({ port: address.port, host: '127.0.0.1' })).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  test('is served by the children that inherit it, and keeps who comes between them', async () => {
    const [listener] = await listenersOf({ host: '127.0.0.1', port: 0 })
    const { port } = listener!.address as { port: number }
    const first = await childOn(listener!.fd, 'first')
    expect(await answerOf({ port, host: '127.0.0.1' })).toBe('first')
    first.kill('SIGKILL')
    await once(first, 'exit')
    const between = answerOf({ port, host: '127.0.0.1' })
    await childOn(listener!.fd, 'second')
    expect(await between).toBe('second')
  })

  test.each([
    ['127.0.0.1', '127.0.0.1'],
    ['localhost', expect.stringMatching(/^(127\.0\.0\.1|::1)$/)],
    ['0.0.0.0', '0.0.0.0'],
    ['*', expect.stringMatching(/^(::|0\.0\.0\.0)$/)],
  ])('on %s is bound to %s', async (host, bound) => {
    const [listener] = await listenersOf({ host, port: 0 })
    expect(listener!.address).toEqual({ host: bound, port: expect.any(Number) })
  })

  test('is refused at once where another program listens', async () => {
    const server = await serverOn(0)
    const { port } = server.address() as net.AddressInfo
    await expect(listenersOf({ host: '127.0.0.1', port })).rejects.toMatchObject({
      reason: 'EADDRINUSE',
      message: `runtime: cannot listen on 127.0.0.1:${port}: another program listens there (EADDRINUSE)`,
    })
  })

  test('is refused on an address that is not of this machine, and for a name nobody knows', async () => {
    await expect(listenersOf({ host: '192.0.2.1', port: 0 })).rejects.toMatchObject({ reason: 'EADDRNOTAVAIL' })
    await expect(listenersOf({ host: 'no-such-host.invalid', port: 0 })).rejects.toMatchObject({ name: 'ListenError' })
  })
})

describe('a unix listener', () => {
  test('has its final name, its mode and no other file, and takes the file with it', async () => {
    const path = join(folder, 'x.sock')
    const [listener] = await listenersOf({ path, mode: 0o600 })
    expect(listener!.address).toEqual({ path })
    expect(statSync(path).isSocket()).toBe(true)
    expect(statSync(path).mode & 0o777).toBe(0o600)
    listener!.close()
    expect(existsSync(path)).toBe(false)
  })

  test('lets the owner and the group connect unless told otherwise', async () => {
    const path = join(folder, 'x.sock')
    await listenersOf({ path })
    expect(statSync(path).mode & 0o777).toBe(0o660)
  })

  test('replaces the file of a server that is dead', async () => {
    const path = join(folder, 'x.sock')
    const [dead] = await listenersOf({ path })
    const before = statSync(path).ino
    await listenersOf({ path })
    expect(statSync(path).ino).not.toBe(before)
    // The file is no longer the first one's: it must not take it away.
    dead!.close()
    expect(existsSync(path)).toBe(true)
  })

  test('is refused where a server is alive, and leaves its file alone', async () => {
    const path = join(folder, 'x.sock')
    await serverOn(path)
    await expect(listenersOf({ path })).rejects.toMatchObject({ reason: 'EADDRINUSE' })
    expect(await answerOf({ path })).toBe('theirs')
  })

  test('never replaces a file that is no socket', async () => {
    const path = join(folder, 'notes.txt')
    writeFileSync(path, 'precious')
    await expect(listenersOf({ path })).rejects.toMatchObject({ reason: 'EEXIST' })
    expect(statSync(path).size).toBe(8)
  })

  test('is refused in a folder that is not there, and where the path does not fit a socket address', async () => {
    await expect(listenersOf({ path: join(folder, 'no', 'x.sock') })).rejects.toMatchObject({ reason: 'ENOENT' })
    await expect(listenersOf({ path: join(folder, 'x'.repeat(108)) })).rejects.toMatchObject({ reason: 'ENAMETOOLONG' })
  })
})

test('of several listeners all are opened or none', async () => {
  const path = join(folder, 'x.sock')
  const server = await serverOn(0)
  const { port } = server.address() as net.AddressInfo
  await expect(listenersOf({ path }, { host: '127.0.0.1', port })).rejects.toMatchObject({ reason: 'EADDRINUSE' })
  expect(existsSync(path)).toBe(false)
})

test.each([
  [{ host: '127.0.0.1', port: 80 }, '127.0.0.1:80'],
  [{ host: '::1', port: 80 }, '[::1]:80'],
  [{ path: '/run/x.sock' }, 'unix:/run/x.sock'],
])('%j reads %s', (where, text) => {
  expect(describeListen(where)).toBe(text)
})
