import { mkdirSync, mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { once } from 'node:events'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { until } from '../../test/processes.ts'
import { openGuard } from './guard.ts'
import { signalGroup } from './kill.ts'
import { launch } from './launch.ts'
import type { Launched } from './launch.ts'
import { childrenOf, descriptorsOf } from './proc.ts'
import { SocketProgram } from './socket-program.ts'

/** Accepts, and closes only when it is told to: whoever connects may leave, its end stays. */
const PROGRAM = `
  const server = require('net').createServer({ allowHalfOpen: true }, (socket) => {
    socket.on('error', () => {})
    socket.on('data', () => socket.destroy())
  })
  server.listen({ fd: 0 })
`

const guard = openGuard()
afterAll(() => guard.close())
const programs: SocketProgram[] = []
let folder = ''
let before: string | undefined
beforeEach(() => {
  before = process.env['TMPDIR']
  process.env['TMPDIR'] = folder = mkdtempSync(join(tmpdir(), 'viaduct-test-socket-'))
})
afterEach(async () => {
  if (before === undefined) delete process.env['TMPDIR']
  else process.env['TMPDIR'] = before
  for (const each of programs.splice(0)) {
    signalGroup(each.pid, 'SIGKILL')
    await each.exited
    guard.forget(each.pid)
  }
  rmSync(folder, { recursive: true })
})

const command = (fd: number, name: string, ...args: string[]): Launched =>
  launch(name, args, { cwd: '/', env: { PATH: process.env['PATH']! }, stdio: [fd, 'ignore', 'pipe'] })
const node = (fd: number): Launched => command(fd, process.execPath, '-e', PROGRAM)

function open(start: (fd: number) => Launched = node): SocketProgram {
  const program = new SocketProgram({ prefix: 'a-', start, guard, complaint: (pid) => `test: (pid ${pid}) took none` })
  programs.push(program)
  return program
}

describe('a program on a socket of its own', () => {
  test('is reached by nobody else, and leaves nothing', async () => {
    const program = open()
    expect(statSync(dirname(program.path)).mode & 0o777).toBe(0o700)
    // Were it polled here, nobody but this process would have the connection.
    const { pid, inode } = await program.accepted(connect(program.path), 5000)
    expect(pid).toBe(program.pid)
    expect(descriptorsOf(pid)).toContain(`socket:[${inode}]`)
    signalGroup(pid, 'SIGKILL')
    expect(await program.exited).toEqual({ code: null, signal: 'SIGKILL' })
    expect(program.exit).toEqual({ code: null, signal: 'SIGKILL' })
    expect(readdirSync(folder)).toEqual([])
  })

  test('that holds connections we have closed is not taken to have accepted the next one', async () => {
    const program = open()
    const seen = new Set<string>()
    for (let i = 1; i <= 3; i++) {
      const socket = connect(program.path)
      const { inode } = await program.accepted(socket, 5000)
      expect(seen.has(inode)).toBe(false)
      seen.add(inode)
      socket.destroy()
      await once(socket, 'close')
      expect(program.held()).toBe(i)
    }
    process.kill(program.pid, 'SIGSTOP')
    await until(() => program.newest() === undefined)
    const next = connect(program.path)
    await once(next, 'connect')
    expect(program.newest()).toBe(undefined)
    process.kill(program.pid, 'SIGCONT')
    expect(seen.has((await program.accepted(next, 5000)).inode)).toBe(false)
    next.destroy()
  })

  test('forgets those that the program has closed', async () => {
    const program = open()
    const socket = connect(program.path)
    await program.accepted(socket, 5000)
    expect(program.held()).toBe(1)
    socket.on('error', () => {}).write('close')
    await until(() => program.held() === 0)
    socket.destroy()
  })

  test('knows which of those who share the socket has a connection', async () => {
    const pids: number[] = []
    const program = open((fd) => {
      const other = node(fd)
      pids.push(other.pid)
      return node(fd)
    })
    pids.push(program.pid)
    try {
      const who = new Map<number, Socket>()
      for (const stopped of pids) {
        process.kill(stopped, 'SIGSTOP')
        const socket = connect(program.path)
        const { pid, inode } = await program.accepted(socket, 5000, () => program.newest(() => pids))
        process.kill(stopped, 'SIGCONT')
        expect(pid).not.toBe(stopped)
        expect(descriptorsOf(pid)).toContain(`socket:[${inode}]`)
        who.set(pid, socket)
      }
      expect(who.size).toBe(2)
      for (const socket of who.values()) socket.destroy()
    } finally {
      process.kill(pids[0]!, 'SIGKILL')
    }
  })

  test('says why it takes no connection: how it ended, and its last words', async () => {
    const program = open((fd) => command(fd, 'sh', '-c', 'for i in 1 2 3 4 5 6; do echo "line $i" >&2; done; exit 3'))
    const socket = connect(program.path)
    await expect(program.accepted(socket, 5000)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      status: 503,
      message: `test: (pid ${program.pid}) took none: it exited with status 3; it said: line 2 | line 3 | line 4 | line 5 | line 6`,
    })
    expect(socket.destroyed).toBe(true)
  })

  test('is not waited for longer than was said', async () => {
    const program = open((fd) => command(fd, 'sleep', '60'))
    await expect(program.accepted(connect(program.path), 30)).rejects.toThrow(/took none: timed out$/)
  })

  test('is looked at no more once a connection has failed', async () => {
    const program = open((fd) => command(fd, 'sleep', '60'))
    let looking = 0
    let looks = 0
    const socket = connect(program.path)
    const failure = program.accepted(socket, 60_000, async () => {
      looks++
      looking++
      socket.destroy()
      await new Promise((resolve) => setTimeout(resolve, 300))
      looking--
      return undefined
    })
    await expect(failure).rejects.toThrow(/took none: closed before it was accepted$/)
    expect({ looks, looking }).toEqual({ looks: 1, looking: 0 })
  })

  test('that cannot be started leaves nothing', () => {
    expect(() => open((fd) => command(fd, '/nowhere/program'))).toThrow(/nowhere/)
    expect(readdirSync(folder)).toEqual([])
  })

  test('where sockets cannot be named says what to do', () => {
    const long = join(folder, 'x'.repeat(100))
    mkdirSync(long)
    process.env['TMPDIR'] = long
    expect(() => open()).toThrow(/process: the socket path .* is too long: \d+ bytes, the system allows 107; set TMPDIR/)
    expect(readdirSync(long)).toEqual([])
  })
})

test('children are known, also those that have ended', async () => {
  const child = launch('sh', ['-c', 'sleep 60 & sleep 60 & wait'], { cwd: '/', env: { PATH: process.env['PATH']! } })
  await until(() => childrenOf(child.pid).length === 2)
  signalGroup(child.pid, 'SIGKILL')
  await child.exited
  expect(childrenOf(child.pid)).toEqual([])
  expect(descriptorsOf(child.pid)).toEqual([])
})
