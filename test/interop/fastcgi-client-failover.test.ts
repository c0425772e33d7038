// Three php-fpm on three ports under steady load: one is killed, comes back, and is made slow. Nobody who only asks for something gets
// an error, the load moves away and returns, and the counts say so.

import type { ChildProcess } from 'node:child_process'
import { readFileSync, readdirSync } from 'node:fs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { collect } from '../../src/core/index.ts'
import type { ByteStream } from '../../src/core/index.ts'
import { fastcgi } from '../../src/fastcgi/index.ts'
import type { FastCgiBackend } from '../../src/fastcgi/index.ts'
import { makeRequest } from '../../src/testing/index.ts'
import { has } from '../peers.ts'
import { FPM, Peers, freePort, stop } from './fastcgi-client-peers.ts'

/** The processes of a php-fpm: its master and its workers. */
function family(master: ChildProcess): number[] {
  const workers = readdirSync('/proc').filter((entry) => {
    if (!/^\d+$/.test(entry)) return false
    try {
      return readFileSync(`/proc/${entry}/stat`, 'latin1').split(') ')[1]!.split(' ')[1] === String(master.pid)
    } catch {
      return false
    }
  })
  return [master.pid!, ...workers.map(Number)]
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) process.kill(pid, name)
}

describe.skipIf(!has(FPM))('three php-fpm under load', () => {
  const peers = new Peers()
  const ports: number[] = []
  const masters: ChildProcess[] = []
  let app: FastCgiBackend
  const state = { over: false }
  let answered = 0
  const failed: unknown[] = []
  const loads: Promise<void>[] = []

  beforeAll(async () => {
    for (let i = 0; i < 3; i++) {
      ports.push(await freePort())
      masters.push(await peers.fpm({ host: '127.0.0.1', port: ports[i]! }, 3))
    }
    app = fastcgi({
      upstreams: ports.map((port) => `127.0.0.1:${port}`),
      balance: 'least-connections',
      documentRoot: peers.www,
      connections: 3,
      health: { failures: 2, window: 5000, ejection: 200, longest: 400, slowStart: 300 },
      limits: { firstByte: 1000 },
      retries: 2,
    })
    const ask = async (): Promise<void> => {
      while (!state.over) {
        try {
          const response = await app(makeRequest({ target: '/sleep.php?ms=3' }))
          const { body } = response
          const text = typeof body === 'string' || body instanceof Uint8Array ? body : await collect(body as ByteStream)
          if (response.status !== 200 || Buffer.from(text).toString() !== 'slept') throw new Error(`${response.status} ${text.toString()}`)
          answered++
        } catch (error) {
          failed.push(error)
        }
      }
    }
    for (let i = 0; i < 4; i++) loads.push(ask())
  })

  afterAll(async () => {
    state.over = true
    await Promise.all(loads)
    await app?.close(0)
    await peers.close()
  })

  const requests = (): number[] => app.status().map((each) => each.requests)
  /** The share of each in what is asked from now on, once so many were answered. */
  async function shares(count: number): Promise<number[]> {
    const [from, before] = [answered, requests()]
    await expect.poll(() => answered - from, { timeout: 20_000 }).toBeGreaterThan(count)
    const got = requests().map((each, i) => each - before[i]!)
    const all = got.reduce((a, b) => a + b)
    return got.map((each) => each / all)
  }

  test('all take their part', async () => {
    for (const share of await shares(300)) expect(share).toBeGreaterThan(0.2)
    expect(failed).toEqual([])
  })

  test('one that is killed costs nobody anything: the others have the load', async () => {
    const [first] = masters
    const pids = family(first!)
    signal(pids, 'SIGKILL')
    await expect.poll(() => app.status()[0]!.state, { timeout: 10_000 }).not.toBe('up')
    const [gone, ...others] = await shares(300)
    expect(gone).toBeLessThan(0.1)
    for (const share of others) expect(share).toBeGreaterThan(0.3)
    expect(app.status()[0]!.failures).toBeGreaterThan(0)
    expect(failed).toEqual([])
  })

  test('it comes back, and the load with it', async () => {
    masters[0] = await peers.fpm({ host: '127.0.0.1', port: ports[0]! }, 3)
    await expect.poll(() => app.status()[0]!.state, { timeout: 10_000 }).toBe('up')
    // Past its slow start.
    await shares(200)
    for (const share of await shares(300)) expect(share).toBeGreaterThan(0.2)
    expect(failed).toEqual([])
  })

  test('one that becomes slow loses its load, and nobody waits for it in vain', async () => {
    const pids = family(masters[1]!)
    signal(pids, 'SIGSTOP')
    try {
      const [, slow] = await shares(600)
      expect(slow).toBeLessThan(0.1)
      await expect.poll(() => app.status()[1]!.state, { timeout: 10_000 }).not.toBe('up')
    } finally {
      signal(pids, 'SIGCONT')
    }
    await expect.poll(() => app.status()[1]!.state, { timeout: 10_000 }).toBe('up')
    await shares(200)
    for (const share of await shares(300)) expect(share).toBeGreaterThan(0.2)
    expect(failed).toEqual([])
  })

  test('the set can be changed under load: one goes, and comes again', async () => {
    const all = app.upstreams
    app.upstreams = all.slice(0, 2)
    expect(app.status()).toHaveLength(2)
    expect((await shares(200))[0]).toBeGreaterThan(0.4)
    await stop(masters[2]!)
    masters[2] = await peers.fpm({ host: '127.0.0.1', port: ports[2]! }, 3)
    app.upstreams = all
    await shares(200)
    for (const share of await shares(300)) expect(share).toBeGreaterThan(0.2)
    expect(failed).toEqual([])
    expect(app.status().every((each) => each.active <= 4)).toBe(true)
  })

  test('in the end every request was answered', async () => {
    state.over = true
    await Promise.all(loads)
    expect(failed).toEqual([])
    expect(answered).toBeGreaterThan(2000)
    expect(app.status().map((each) => each.active)).toEqual([0, 0, 0])
  })
})
