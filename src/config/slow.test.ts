// Slow requests to an application that runs elsewhere.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Channel, GatewayError, backend, collect, text } from '../core/index.ts'
import { serveFastCgi } from '../fastcgi/index.ts'
import { makeRequest, serveMemory } from '../testing/index.ts'
import { until } from '../../test/processes.ts'
import { buildServer, loadConfig } from './index.ts'
import { watched } from './slow.ts'
import type { Application, Backend, Log } from '../core/index.ts'

let lines: string[] = []
const note = (_: object, message: string): void => void lines.push(message)
const log: Log = { debug() {}, info() {}, warn: note, error: note }
let folder = ''
const open: AsyncDisposable[] = []

beforeEach(() => {
  lines = []
  folder = mkdtempSync(join(tmpdir(), 'viaduct-slow-'))
})
afterEach(async () => {
  for (const each of open.splice(0).toReversed()) await each[Symbol.asyncDispose]()
  rmSync(folder, { recursive: true })
})

function watch(application: Application, spools = true): Backend {
  const interpreter = { mode: 'remote', name: '192.0.2.9:9000' } as const
  const made = watched(backend(application, { pools: () => [] }), { name: 'shop', kind: 'fastcgi', interpreter, slow: 40, log, spools })
  open.push(made)
  return made
}
const gate = (): { readonly opened: Promise<void>; readonly open: () => void } => {
  let resolve!: () => void
  const opened = new Promise<void>((done) => (resolve = done))
  return { opened, open: resolve }
}

test('an upstream of a configuration names a slow request while it runs, and counts it', async () => {
  const { opened, open: answer } = gate()
  const address = `unix:${folder}/app.sock`
  open.push(
    await serveFastCgi(
      async (request) => {
        if (request.pathInfo === '/slow') await opened
        return text(200, 'done')
      },
      { listen: { path: join(folder, 'app.sock') } },
    ),
  )
  const applications = { shop: { kind: 'fastcgi', address, limits: { slow: '40ms', firstByte: '10s' } } } as const
  const { plan } = await loadConfig(join(folder, 'viaduct.config.json'), { applications, sites: [{ routes: [{ application: 'shop' }] }] })
  const server = await buildServer(plan, { log })
  open.push(server)
  await server.ready()
  const memory = serveMemory(server)
  expect((await memory.request({ target: '/quick' })).status).toBe(200)
  const running = memory.request({ target: '/slow?a=b' })
  await until(() => lines.length > 0)
  expect(lines).toEqual([
    expect.stringMatching(/^slow: "shop" has been at GET \/slow\?a=b for 0\.\d s \(at unix:.*app\.sock\), and goes on$/),
  ])
  answer()
  expect((await running).body.toString()).toBe('done')
  expect(server.pools!()).toEqual([expect.objectContaining({ application: 'shop', name: 'shop', kind: 'fastcgi', requests: 2, slow: 1 })])
  expect(lines).toHaveLength(1)
})

describe('a request is watched', () => {
  test('until its answer is whole, or its client has the rest of it', async () => {
    const channel = new Channel()
    const server = serveMemory(
      watch(({ pathInfo }) => (pathInfo === '/stream' ? { status: 200, headers: [], body: channel } : text(200, 'x'))),
    )
    expect((await server.request({ target: '/whole' })).status).toBe(200)
    const running = server.request({ target: '/stream' })
    await until(() => lines.some((line) => line.includes('/stream')))
    channel.end()
    await running
    expect(lines).toHaveLength(1)
  })

  test('until it fails, at once or later', async () => {
    const error = new GatewayError('UNAVAILABLE', { status: 502, message: 'gone' })
    const calls: (() => never | Promise<never>)[] = [
      () => {
        throw error
      },
      () => Promise.reject(error),
    ]
    for (const call of calls) {
      const application = watch(call)
      await expect(async () => application(makeRequest({ target: '/fails' }))).rejects.toBe(error)
    }
    const other = watch(async () => {
      await until(() => lines.length > 0)
      return text(200, '')
    })
    await other(makeRequest({ target: '/other' }))
    expect(lines.join()).not.toContain('/fails')
  })

  test.each([
    [true, ['/other']],
    [false, ['/upload', '/other']],
  ])('from the end of its body on, where that is waited for (%s)', async (spools, told) => {
    const { opened, open: answer } = gate()
    const application = watch(async (request) => {
      if (request.contentLength !== 0) {
        expect((await collect(request.body)).toString()).toBe('abc')
        return text(200, 'read')
      }
      await opened
      return text(200, 'other')
    }, spools)
    const body = new Channel()
    const upload = application(makeRequest({ method: 'POST', target: '/upload', body, contentLength: 3 }))
    const other = application(makeRequest({ target: '/other' }))
    await until(() => lines.length === told.length)
    for (const [i, target] of told.entries()) expect(lines[i]).toContain(` ${target} for `)
    body.write(Buffer.from('abc'))
    body.end()
    expect((await upload).body).toBe('read')
    answer()
    await other
  })
})
