import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { once } from 'node:events'
import { connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { getSystemErrorName } from 'node:util'
import { afterAll, describe, expect, test } from 'vitest'
import { bindPath, bindPort, ownFile, probeSocket } from './bind.ts'
import type { BoundSocket } from './bind.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-bind-'))
afterAll(() => rmSync(folder, { recursive: true }))

function made<T extends BoundSocket>(socket: T | number): T {
  if (typeof socket === 'number') throw new Error(getSystemErrorName(socket))
  return socket
}

describe('a port', () => {
  test('is bound, one that is free where it is 0', () => {
    const socket = made(bindPort('127.0.0.1', 0))
    expect(socket.address).toMatchObject({ host: '127.0.0.1' })
    expect(socket.address.port).toBeGreaterThan(0)
    socket.close()
    socket.close()
  })

  test('that is taken is found out before anybody listens', () => {
    const socket = made(bindPort('127.0.0.1', 0))
    expect(socket.listen(1)).toBe(0)
    const other = bindPort('127.0.0.1', socket.address.port)
    expect(typeof other === 'number' && getSystemErrorName(other)).toBe('EADDRINUSE')
    socket.close()
  })

  test('of another machine is the system’s error', () => {
    const socket = bindPort('192.0.2.1', 0)
    expect(typeof socket === 'number' && getSystemErrorName(socket)).toBe('EADDRNOTAVAIL')
  })
})

describe('a unix socket', () => {
  test('is removed where it was renamed to, but not what an heir has put there', () => {
    const path = join(folder, 'a')
    for (const heir of [false, true]) {
      const socket = made(bindPath(`${path}.new`, path))
      renameSync(`${path}.new`, path)
      if (heir) {
        writeFileSync(`${path}.heir`, 'its own')
        renameSync(`${path}.heir`, path)
      }
      socket.close()
      expect(existsSync(path)).toBe(heir)
    }
  })

  test('that was bound and not renamed leaves what is there alone', () => {
    const path = join(folder, 'b')
    writeFileSync(path, 'precious')
    made(bindPath(`${path}.new`, path)).close()
    expect([existsSync(path), existsSync(`${path}.new`)]).toEqual([true, false])
  })

  test('is asked who is there', async () => {
    const path = join(folder, 'c')
    expect(await probeSocket(path)).toBe('ENOENT')
    const socket = made(bindPath(path))
    expect(await probeSocket(path)).toBe('ECONNREFUSED')
    socket.close()
    const server = createServer((each) => each.destroy()).listen(path)
    await once(server, 'listening')
    expect(await probeSocket(path)).toBe('alive')
    await new Promise((resolve) => server.close(resolve))
  })

  test('with a full backlog is alive', async () => {
    const path = join(folder, 'd')
    const code = `require('net').createServer().listen({ path: ${JSON.stringify(path)}, backlog: 1 }, () => console.log('up'))`
    const server = spawn(process.execPath, ['-e', code], { stdio: ['ignore', 'pipe', 'inherit'] })
    try {
      await once(server.stdout, 'data')
      // Nobody accepts.
      server.kill('SIGSTOP')
      const codes = new Set<string | undefined>()
      for (let i = 0; i < 5; i++) connect(path).on('error', ({ code: each }: NodeJS.ErrnoException) => codes.add(each))
      await expect.poll(() => [...codes]).toEqual(['EAGAIN'])
      expect(await probeSocket(path)).toBe('alive')
    } finally {
      server.kill('SIGKILL')
      await once(server, 'exit')
    }
  })
})

test('a file that is gone, or is now a link, is not removed', () => {
  const path = join(folder, 'e')
  writeFileSync(path, '')
  const remove = ownFile(path)
  renameSync(path, `${path}.elsewhere`)
  remove()
  symlinkSync(`${path}.elsewhere`, path)
  remove()
  expect(existsSync(path)).toBe(true)
})
