// The supervisor and its fronts as real processes: stop, reload, crash, roll-back, and nothing left behind.

import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import net from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Clients, Program, SUPERVISOR, alive, ask, until } from './program.ts'

let folder = ''
let programs: Program[] = []
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'viaduct-supervise-'))
})
afterEach(async () => {
  for (const program of programs) await program.end()
  programs = []
  rmSync(folder, { recursive: true, force: true })
})

interface Running {
  readonly program: Program
  readonly url: string
  readonly socketPath: string
}

/** A supervisor on a port and on a unix socket, with one front that serves. */
async function supervisor(options: object = {}): Promise<Running> {
  const program = supervisorProgram(options)
  const [, port] = await program.said(/"generation":1,.*"port":(\d+)/)
  program.family()
  return { program, url: `http://127.0.0.1:${port!}`, socketPath: join(folder, 'x.sock') }
}

function supervisorProgram(options: object = {}): Program {
  const listen = [{ host: '127.0.0.1', port: 0 }, { path: join(folder, 'x.sock') }]
  const program = new Program([SUPERVISOR, JSON.stringify({ listen, spec: { folder }, drainTimeout: 10_000, ...options })])
  programs.push(program)
  return program
}

async function whoServes(url: string): Promise<{ pid: number; generation: number }> {
  return JSON.parse((await ask(url, '/')).body) as { pid: number; generation: number }
}

/** Ends with nothing left: no process, no socket file. */
async function gone({ program, socketPath }: Running): Promise<void> {
  await until('the end of every process', () => program.survivors().length === 0)
  expect(existsSync(socketPath)).toBe(false)
}

test('serves on every socket it holds, from a process of its own', async () => {
  const running = await supervisor()
  const byPort = await whoServes(running.url)
  const bySocket = JSON.parse((await ask({ socketPath: running.socketPath }, '/')).body) as { pid: number }
  expect(bySocket.pid).toBe(byPort.pid)
  expect(byPort.pid).not.toBe(running.program.pid)
  expect(running.program.out).toContain('"report":{"greeting":"hello"}')
})

describe('told to stop', () => {
  test.each(['SIGINT', 'SIGTERM', 'SIGQUIT'] as const)(
    'by %s it answers what runs, takes nothing new, and leaves nothing',
    async (signal) => {
      const running = await supervisor()
      const { program, url } = running
      const slow = [ask(url, '/slow?800'), ask(url, '/slow?800'), ask({ socketPath: running.socketPath }, '/slow?800')]
      const { body } = await ask(url, '/program')
      program.family()
      await ask(url, '/slow?200')
      program.kill(signal)
      await program.said(/stopping/)
      await until('refused connections', () =>
        ask(url, '/').then(
          () => false,
          (error: NodeJS.ErrnoException) => error.code === 'ECONNREFUSED',
        ),
      )
      for (const answer of await Promise.all(slow)) expect(answer).toMatchObject({ status: 200, body: 'slow' })
      expect(await program.exited).toEqual({ code: 0, signal: null })
      await gone(running)
      await until('the end of the program it had started', () => !alive(Number(body)))
    },
  )

  test('under load it fails nobody whom it has accepted', async () => {
    const running = await supervisor()
    const clients = new Clients(running.url, '/slow?20', { kept: 8, fresh: 8 })
    await until('load', () => clients.answered > 100)
    running.program.kill('SIGINT')
    expect(await running.program.exited).toEqual({ code: 0, signal: null })
    await clients.stop()
    // Afterwards there is nobody to connect to; but no answer may have been begun and not ended.
    expect(
      clients.failures.filter((failure) => (failure as Error).message === 'the answer was cut' || 'status' in (failure as object)),
    ).toEqual([])
    expect(clients.bodies).toEqual(new Set(['slow']))
    await gone(running)
  })

  test('twice, it cuts what runs; the exit code is still 0', async () => {
    const running = await supervisor({ drainTimeout: 60_000 })
    const forever = ask(running.url, '/forever').catch((error: NodeJS.ErrnoException) => error.code)
    await whoServes(running.url)
    running.program.kill('SIGINT')
    await running.program.said(/stopping: requests have 60 s/)
    // Ctrl-C under `npm start` arrives twice: what follows within half a second is the same one.
    running.program.kill('SIGINT')
    await new Promise((done) => setTimeout(done, 600))
    expect(running.program.err).not.toContain('"stopping at once"')
    running.program.kill('SIGINT')
    expect(await running.program.exited).toEqual({ code: 0, signal: null })
    expect(await forever).toBe('ECONNRESET')
    await gone(running)
  })

  test('it waits no longer than it said', async () => {
    const running = await supervisor({ drainTimeout: 300 })
    const forever = ask(running.url, '/forever').catch((error: NodeJS.ErrnoException) => error.code)
    await whoServes(running.url)
    running.program.kill('SIGTERM')
    expect(await running.program.exited).toEqual({ code: 0, signal: null })
    expect(await forever).toBe('ECONNRESET')
    await gone(running)
  })

  test('while its first front is still starting, it ends both', async () => {
    writeFileSync(join(folder, 'stuck'), '')
    const program = supervisorProgram({ drainTimeout: 500 })
    const pid = await until(
      'the front',
      () => existsSync(join(folder, 'stuck-pid')) && Number(readFileSync(join(folder, 'stuck-pid'), 'utf8')),
    )
    program.kill('SIGTERM')
    expect(await program.exited).toEqual({ code: 0, signal: null })
    await until('the end of the front', () => !alive(pid))
    expect(existsSync(join(folder, 'x.sock'))).toBe(false)
  })
})

describe('told to reload', () => {
  test.each(['SIGHUP', 'SIGUSR2'] as const)('by %s it replaces the front under load, and no request fails', async (signal) => {
    const running = await supervisor()
    const before = await whoServes(running.url)
    const clients = new Clients(running.url, '/', { kept: 4, fresh: 4 })
    for (let generation = 2; generation <= 4; generation++) {
      const { answered } = clients
      await until('load', () => clients.answered > answered + 50)
      running.program.kill(signal)
      await running.program.said(new RegExp(`"generation":${generation},"pid":`))
      running.program.family()
    }
    const { answered } = clients
    await until('load', () => clients.answered > answered + 200)
    await clients.stop()
    expect(clients.failures).toEqual([])
    const after = await whoServes(running.url)
    expect(after.generation).toBe(4)
    await until('the end of the old one', () => !alive(before.pid))
    expect(running.program.child.exitCode).toBeNull()
  })

  test('it lets requests end that the old front has begun', async () => {
    const running = await supervisor()
    const { pid } = await whoServes(running.url)
    const held = ask(running.url, '/held')
    await until('the request to arrive', () => existsSync(join(folder, 'held')))
    running.program.kill('SIGHUP')
    await running.program.said(/"generation":2/)
    await until('the next front alone', async () => (await whoServes(running.url)).generation === 2)
    expect(alive(pid)).toBe(true)
    writeFileSync(join(folder, 'release'), '')
    expect(await held).toMatchObject({ status: 200, body: 'released' })
    await until('the end of the old one', () => !alive(pid))
  })

  test.each([
    ['broken', /ended before it was ready \(status 1: the site is broken\); generation 1 goes on/],
    ['crashing', /ended before it was ready \(status 1: .*JSON/],
  ])('with a %s site it goes on with the old front, and says why', async (how, message) => {
    const running = await supervisor()
    const before = await whoServes(running.url)
    writeFileSync(join(folder, how), '')
    running.program.kill('SIGHUP')
    await running.program.said(message)
    expect(await whoServes(running.url)).toEqual(before)
    rmSync(join(folder, how))
    running.program.kill('SIGHUP')
    await until('a generation that serves', async () => (await whoServes(running.url)).generation === 3)
  })

  test('with a site that never comes up it gives up after the time it has', async () => {
    const running = await supervisor({ startTimeout: 1500 })
    const before = await whoServes(running.url)
    writeFileSync(join(folder, 'stuck'), '')
    running.program.kill('SIGHUP')
    await running.program.said(/was not ready within 1500 ms and is killed/)
    await running.program.said(/generation 1 goes on/)
    expect(await whoServes(running.url)).toEqual(before)
    expect(alive(Number(readFileSync(join(folder, 'stuck-pid'), 'utf8')))).toBe(false)
  })
})

describe('a front that dies', () => {
  test('by SIGKILL under load is followed by the next; only what it was answering is lost, and its programs with it', async () => {
    const running = await supervisor()
    const { pid } = await whoServes(running.url)
    const orphan = Number((await ask(running.url, '/program')).body)
    const clients = new Clients(running.url, '/slow?5', { kept: 4, fresh: 4 })
    await until('load', () => clients.answered > 50)
    process.kill(pid, 'SIGKILL')
    await running.program.said(/"generation":2,"pid":/)
    const { answered } = clients
    await until('load', () => clients.answered > answered + 50)
    await clients.stop()
    // Each client can have been waiting for one answer, or have had its next request on the way to the dead one.
    expect(clients.failures.length).toBeLessThanOrEqual(8)
    await until('the end of its program', () => !alive(orphan))
    expect((await whoServes(running.url)).generation).toBe(2)
  })

  test('of an error that nobody caught says which', async () => {
    const running = await supervisor()
    await expect(ask(running.url, '/crash')).rejects.toThrow()
    await running.program.said(/Error: crash me/)
    await until('the next one', async () => (await whoServes(running.url).catch(() => undefined))?.generation === 2)
  })

  test('at the very first start is the end, with its reason', async () => {
    writeFileSync(join(folder, 'broken'), '')
    const program = supervisorProgram()
    expect(await program.exited).toEqual({ code: 1, signal: null })
    expect(program.err).toContain('the site is broken')
    expect(existsSync(join(folder, 'x.sock'))).toBe(false)
  })
})

test('a supervisor killed by SIGKILL leaves no process behind', async () => {
  const running = await supervisor()
  const orphan = Number((await ask(running.url, '/program')).body)
  running.program.family()
  running.program.kill('SIGKILL')
  await until('the end of every process', () => running.program.survivors().length === 0)
  await until('the end of the program', () => !alive(orphan))
  // Its socket file stays; the next one replaces it.
  const next = await supervisor()
  expect(await ask({ socketPath: next.socketPath }, '/')).toMatchObject({ status: 200 })
})

test('a signal to the whole group, as a terminal sends it, is the same as one to the supervisor', async () => {
  const running = await supervisor()
  const { pid } = await whoServes(running.url)
  const slow = ask(running.url, '/slow?500')
  await whoServes(running.url)
  for (const signal of ['SIGINT', 'SIGHUP', 'SIGQUIT', 'SIGTERM', 'SIGUSR1', 'SIGUSR2'] as const) process.kill(pid, signal)
  running.program.kill('SIGINT')
  expect(await slow).toMatchObject({ status: 200 })
  expect(await running.program.exited).toEqual({ code: 0, signal: null })
})

test('SIGUSR1 has the logs opened anew, and opens no inspector', async () => {
  const running = await supervisor()
  const { pid } = await whoServes(running.url)
  running.program.kill('SIGUSR1')
  await running.program.said(/reopened/)
  process.kill(pid, 'SIGUSR1')
  await whoServes(running.url)
  expect(running.program.err).not.toContain('Debugger')
  await expect(connects(9229)).resolves.toBe(false)
})

test('the pid file is there while it runs', async () => {
  const pidFile = join(folder, 'pid')
  const { program } = await supervisor({ pidFile })
  expect(readFileSync(pidFile, 'utf8')).toBe(`${program.pid}\n`)
  program.kill('SIGTERM')
  await program.exited
  expect(existsSync(pidFile)).toBe(false)
})

function connects(port: number): Promise<boolean> {
  return new Promise((done) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      socket.destroy()
      done(true)
    })
    socket.on('error', () => done(false))
  })
}
