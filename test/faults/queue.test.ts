// More requests than there is room for: those beyond the queue are told at once, and say so in a way that a proxy understands.

import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { get, start } from './client.ts'
import { eventually } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

/** The default of the pool, which --help names; one worker is busy besides. */
const QUEUE = 512

describe.skipIf(!has('php-cgi'))('a full queue', () => {
  let site: FaultSite
  let server: Viaduct

  beforeAll(async () => {
    site = faultSite()
    server = await serveFolder(site.folder, { args: ['--workers', '1'] })
  })

  afterAll(async () => {
    await server?.stop()
    site?.remove()
  })

  test('refuses the next request at once with 503 and Retry-After, and serves everybody who waited', async () => {
    const running = get(server.port, '/wait.php?name=busy&ms=3000')
    await site.told('busy')
    const begun = performance.now()
    const waiting = Array.from({ length: QUEUE }, () => get(server.port, '/hello.php'))

    const refused = await eventually('the queue is full', async () => {
      // Asked beside the worker's request, not behind it: an answer that comes while that runs did not wait.
      const answer = await get(server.port, '/hello.php')
      return answer.status === 503 && answer
    })

    expect(performance.now() - begun).toBeLessThan(3000)
    expect(Number(refused.headers['retry-after'])).toBeGreaterThan(0)
    expect((await running).status).toBe(200)
    const answers = await Promise.all(waiting)
    expect(answers.filter((answer) => answer.status !== 200)).toEqual([])
  })

  test('does not stop files or programs', async () => {
    const running = get(server.port, '/wait.php?name=again&ms=1500')
    await site.told('again')

    expect((await get(server.port, '/cgi-bin/hello')).text).toBe('hello\n')

    const still = await Promise.race([running, Promise.resolve('running')])
    expect(still).toBe('running')
    expect((await running).status).toBe(200)
  })

  test('forgets who has left: their requests are not run', async () => {
    const running = get(server.port, '/wait.php?name=first&ms=1500')
    await site.told('first')
    const sent = start(server.port, '/wait.php?name=unwanted&ms=60000')
    sent.on('error', () => undefined)
    sent.end()
    await new Promise((resolve) => sent.once('socket', (socket) => socket.once('connect', resolve)))
    await get(server.port, '/cgi-bin/hello')
    sent.destroy()

    expect((await running).status).toBe(200)
    // The only worker is free for the next request, not in the sixty seconds of the one that left.
    expect(await get(server.port, '/hello.php')).toMatchObject({ status: 200, text: 'hello\n' })
  })
})
