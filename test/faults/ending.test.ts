// How a server ends, or is killed, under load: who still gets an answer, and what is left behind.

import { mkdirSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { temporaryFolder } from '../interop/peers/index.ts'
import { serveFolder } from '../interop/peers/viaduct.ts'
import type { Viaduct } from '../interop/peers/viaduct.ts'
import { has } from '../peers.ts'
import { Load, get } from './client.ts'
import { allGone, descendantsOf, eventually, frontOf, frontsOf } from './observe.ts'
import { faultSite } from './site.ts'
import type { FaultSite } from './site.ts'

const PATHS = ['/hello.php', '/cgi-bin/hello']
const USERS = 8

describe.skipIf(!has('php-cgi'))('a server under load', () => {
  let site: FaultSite
  let server: Viaduct
  let temporary: { readonly path: string; remove(): void }
  let load: Load

  beforeEach(async () => {
    site = faultSite()
    // Every socket and spool file of the server is made below its TMPDIR: what is left of it at the end is litter.
    temporary = temporaryFolder('viaduct-ending-')
    mkdirSync(join(temporary.path, 'tmp'))
    server = await serveFolder(site.folder, { args: ['--workers', '3'], env: { TMPDIR: join(temporary.path, 'tmp') } })
    load = new Load(server.port, PATHS, USERS)
    await eventually('the load is on', () => load.answered > 100, 30_000)
  })

  afterEach(async () => {
    await load.stop()
    await server.stop()
    site.remove()
    temporary.remove()
  })

  const litter = (): string[] => readdirSync(join(temporary.path, 'tmp'), { recursive: true }).map(String)

  test('whose front is killed with SIGKILL serves on with the next one, and no process of the old one stays', async () => {
    const front = frontOf(server.pid)
    const family = descendantsOf(front.pid)
    // Workers and helpers, and the program of a request that is under way.
    void get(server.port, '/cgi-bin/silent?program').catch(() => undefined)
    family.push(await site.told('program'), await site.told('program-child'))

    process.kill(front.pid, 'SIGKILL')

    await eventually('another front', () => frontsOf(server.pid).some(({ pid }) => pid !== front.pid))
    await eventually('an answer', async () => (await get(server.port, '/hello.php')).status === 200)
    await allGone(family)
    // From here on nothing may be lost any more.
    const broken = load.broken.length
    const answered = load.answered
    await eventually('load is served', () => load.answered > answered + 200, 30_000)
    expect(load.broken.slice(broken)).toEqual([])
    expect([...load.statuses.keys()].filter((status) => status !== 200 && status !== 502 && status !== 503)).toEqual([])
  })

  test('that gets Ctrl-C answers what is under way, exits 0 and leaves nothing behind', async () => {
    const family = descendantsOf(server.pid)
    const page = get(server.port, '/hold.php?name=page')
    const program = get(server.port, '/cgi-bin/slow?slow')
    await site.told('page')
    await site.told('slow')

    server.signalGroup('SIGINT')
    // Refused: it has heard, and has stopped listening.
    await eventually('it has stopped listening', () =>
      get(server.port, '/').then(
        () => false,
        () => true,
      ),
    )
    site.go()

    expect(await page).toMatchObject({ status: 200, text: 'done\n' })
    expect(await program).toMatchObject({ status: 200, text: 'begun\nended\n' })
    expect(await server.exited).toEqual({ code: 0, signal: null })
    await load.stop()
    // Whoever was answered was answered well; the rest found nobody listening.
    expect([...load.statuses.keys()]).toEqual([200])
    await allGone(family)
    expect(litter()).toEqual([])
    await expect(get(server.port, '/hello.php')).rejects.toThrow('ECONNREFUSED')
  })

  test('that is reloaded loses no request, and the old front is gone with all that was its own', async () => {
    const front = frontOf(server.pid)
    const family = descendantsOf(front.pid)
    const page = get(server.port, '/hold.php?name=old')
    await site.told('old')

    server.signal('SIGHUP')
    await eventually('another front beside it', () => frontsOf(server.pid).length === 2)
    site.go()

    expect((await page).status).toBe(200)
    await allGone([front, ...family], 20_000)
    const answered = load.answered
    await eventually('load is served', () => load.answered > answered + 100, 30_000)
    expect(frontOf(server.pid).pid).not.toBe(front.pid)
    expect([load.broken, [...load.statuses.keys()]]).toEqual([[], [200]])
  })

  test('whose supervisor is killed with SIGKILL leaves nobody behind', async () => {
    const family = descendantsOf(server.pid)

    server.signal('SIGKILL')

    await server.exited
    await allGone(family)
  })

  test('whose every process is killed leaves no program running', async () => {
    void get(server.port, '/cgi-bin/silent?program').catch(() => undefined)
    const programs = [await site.told('program'), await site.told('program-child')]
    const family = descendantsOf(server.pid)

    server.signal('SIGKILL')
    process.kill(family.find((each) => /\bfront\.js\b/.test(each.commandLine))!.pid, 'SIGKILL')

    await allGone([...family, ...programs])
  })
})
