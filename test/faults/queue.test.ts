// More requests than there is room for: those beyond the queue are told at once, and say so in a way that a proxy understands.

import { setTimeout as sleep } from 'node:timers/promises'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { get, start } from './client.ts'
import type { Answer } from './client.ts'
import { eventually } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

/** The default of the pool, which --help names; one worker is busy besides. */
const QUEUE = 512

/** Resolves to whether the request is still without its answer. */
const pending = (answer: Promise<unknown>): Promise<boolean> => Promise.race([answer.then(() => false), Promise.resolve(true)])

describe.skipIf(!has('php-cgi'))('a full queue', () => {
  let site: FaultSite
  let server: Viaduct

  beforeAll(async () => {
    site = faultSite()
    server = await serveFolder(site.folder, { args: ['--workers', '1', '--log-level', 'debug'] })
  })

  afterAll(async () => {
    await server?.stop()
    site?.remove()
  })

  beforeEach(() => site.hold())

  test('refuses the next request at once with 503 and Retry-After, and serves everybody who waited', async () => {
    const running = get(server.port, '/hold.php?name=busy')
    await site.told('busy')
    const waiting = Array.from({ length: QUEUE }, () => get(server.port, '/hello.php'))

    // Whichever of these comes when the queue is full is told so while the one worker is still busy: it has not waited.
    const more: Promise<Answer>[] = []
    const refused = await eventually('the queue is full', async () => {
      more.push(get(server.port, '/hello.php'))
      return (await Promise.race([...more, sleep(100)])) ?? false
    })

    expect([refused.status, await pending(running)]).toEqual([503, true])
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    site.go()
    expect((await running).status).toBe(200)
    const statuses = (await Promise.all([...waiting, ...more])).map((answer) => answer.status)
    // As many were served as there was room for, whoever they were.
    expect(statuses.filter((status) => status === 200).length).toBeGreaterThanOrEqual(QUEUE)
    expect(statuses.filter((status) => status !== 200 && status !== 503)).toEqual([])
  })

  test('does not stop files or programs', async () => {
    const running = get(server.port, '/hold.php?name=again')
    await site.told('again')

    expect((await get(server.port, '/cgi-bin/hello')).text).toBe('hello\n')

    expect(await pending(running)).toBe(true)
    site.go()
    expect((await running).status).toBe(200)
  })

  test('forgets who has left: their requests are not run', async () => {
    const running = get(server.port, '/hold.php?name=first')
    await site.told('first')
    const sent = start(server.port, '/wait.php?name=unwanted&ms=60000')
    sent.on('error', () => undefined)
    sent.end()
    await new Promise((resolve) => sent.once('socket', (socket) => socket.once('connect', resolve)))
    // A program's answer later, the server has seen the request.
    await get(server.port, '/cgi-bin/hello')
    sent.destroy()
    await eventually('the server gives it up', () => server.log().includes('CLIENT_GONE'))
    site.go()

    expect((await running).status).toBe(200)
    // The only worker is free for the next request, not in the sixty seconds of the one that left.
    expect(await get(server.port, '/hello.php')).toMatchObject({ status: 200, text: 'hello\n' })
  })
})
