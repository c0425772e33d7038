import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test } from 'vitest'
import { WebServer, GET_VALUES, begin, bodyOf, data, get, params, stdin } from '../../../test/web-server.ts'
import { pair, random, record } from '../../../test/wire.ts'
import { collect, text } from '../../core/index.ts'
import type { GatewayRequest, GatewayResponse } from '../../core/index.ts'
import { allow, serveFastCgi } from '../index.ts'
import type { FastCgiServer } from '../index.ts'

const folder = mkdtempSync(join(tmpdir(), 'viaduct-fcgi-hostile-'))
afterAll(() => rmSync(folder, { recursive: true }))

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).toReversed()) await close()
})

const AUTHORIZER = 2
const FILTER = 3
const REQUESTS = 40
const silent = { debug() {}, info() {}, warn() {}, error() {} }

/** Says everything that it was told: what does not belong to a request would be seen in its answer. */
const echo = async (request: GatewayRequest): Promise<GatewayResponse> => {
  const file = request.filterData === undefined ? '' : (await collect(request.filterData.body, 1_000_000)).toString('latin1')
  const body = request.filterData === undefined ? (await collect(request.body, 1_000_000)).toString('latin1') : ''
  return text(200, [...request.headers.list, ...request.variables.own, request.target, body, file].join(' '))
}

let count = 0
async function serve(gate?: Promise<void>): Promise<FastCgiServer> {
  const responder = async (request: GatewayRequest): Promise<GatewayResponse> => {
    if (request.queryString === 'wait') await gate
    return echo(request)
  }
  const server = await serveFastCgi(
    { responder, authorizer: (request) => allow({ SAW: request.headers.get('cookie') ?? 'nothing' }), filter: echo },
    { listen: { path: join(folder, `${count++}.sock`) }, log: silent, limits: { requests: REQUESTS, abortTimeout: 50 } },
  )
  closers.push(() => server.close(0))
  return server
}

/** A long conversation in all three roles, in which everything carries this token. */
function conversation(token: string): Buffer[] {
  const cookie = { HTTP_COOKIE: token }
  return [
    begin(1),
    params(1, { ...cookie, CONTENT_LENGTH: String(token.length) }),
    begin(2, true, AUTHORIZER),
    params(2, cookie),
    stdin(1, token),
    stdin(2),
    record(GET_VALUES, 0, pair('FCGI_MAX_REQS', '')),
    stdin(1),
    begin(3, true, FILTER),
    params(3, { ...cookie, FCGI_DATA_LAST_MOD: '1', FCGI_DATA_LENGTH: String(token.length) }),
    stdin(3),
    data(3, token.slice(0, 3)),
    begin(4),
    params(4, { ...cookie, REQUEST_METHOD: 'POST' }),
    data(3, token.slice(3)),
    stdin(4, token),
    data(3),
    stdin(4),
    record(2, 9),
    get(5, cookie, false),
  ]
}

type Numbers = (below: number) => number

/** Bytes changed; records lost, doubled, swapped, cut; the end missing. */
function mutated(parts: readonly Buffer[], next: Numbers): Buffer {
  const list = parts.map((each) => Buffer.from(each))
  for (let i = next(3); i > 0; i--) {
    const at = next(list.length)
    const other = next(list.length)
    const kind = next(5)
    if (kind === 0) list.splice(at, 1)
    else if (kind === 1) list.splice(at, 0, Buffer.from(list[other]!))
    else if (kind === 2) [list[at], list[other]] = [list[other]!, list[at]!]
    else if (kind === 3) list[at] = list[at]!.subarray(0, next(list[at]!.length + 1))
    else list.splice(at, 0, Buffer.from(Array.from({ length: next(40) }, () => next(256))))
    if (list.length === 0) return Buffer.alloc(0)
  }
  const wire = Buffer.concat(list)
  for (let i = next(5); i > 0 && wire.length > 0; i--) wire[next(wire.length)] = next(256)
  return next(4) === 0 ? wire.subarray(0, next(wire.length + 1)) : wire
}

/** No two of them have more than a few letters in the same place. */
function tokenOf(number: number): string {
  const next = random(number)
  return `<${Array.from({ length: 12 }, () => String.fromCharCode(97 + next(26))).join('')}>`
}

describe('a hostile web server', () => {
  test.each([1, 20_261_122, 987_654_321])('learns nothing of others, and takes nothing from them (seed %i)', async (seed) => {
    const server = await serve()
    const next = random(seed)
    let number = 0
    let tokens = 0
    for (let round = 0; round < 60; round++) {
      const hostile = Array.from({ length: 6 }, () => {
        const token = tokenOf(++number)
        const peer = new WebServer(server)
        const wire = mutated(conversation(token), next)
        const cut = next(wire.length + 1)
        peer.send(wire.subarray(0, cut))
        setImmediate(() => peer.socket.write(wire.subarray(cut)))
        return { peer, token }
      })
      const token = tokenOf(++number)
      const calm = new WebServer(server)
      calm.send(...conversation(token))
      for (const id of [1, 3, 4, 5]) expect(bodyOf(await calm.ended(id)), String(id)).toContain(token)
      expect((await calm.ended(2)).stdout).toBe(`Status: 200 OK\r\nVariable-SAW: ${token}\r\n\r\n`)
      for (const { peer, token: own } of [...hostile, { peer: calm, token }]) {
        for (const { stdout, stderr } of peer.replies.values()) {
          // Some bytes of its own token may have been changed.
          for (const [seen] of (stdout + stderr).matchAll(/<[a-z]{12}>/g)) {
            expect([...seen].filter((char, i) => char !== own[i]).length, `${seen} for ${own}`).toBeLessThan(6)
            tokens++
          }
        }
        peer.socket.destroy()
      }
    }
    expect(tokens).toBeGreaterThan(500)
    // No place is lost: as many as there ever were can be at work.
    const last = new WebServer(server)
    closers.push(() => last.socket.destroy())
    for (let id = 1; id <= REQUESTS; id++) last.send(begin(id), params(id, { QUERY_STRING: 'wait', CONTENT_LENGTH: '1' }))
    for (let id = 1; id <= REQUESTS; id++) last.send(stdin(id, 'x'), stdin(id))
    for (let id = 1; id <= REQUESTS; id++) expect((await last.ended(id)).ended).toEqual({ appStatus: 0, protocolStatus: 0 })
  })

  test('gets the same answers however its conversation is cut', async () => {
    const server = await serve()
    const token = tokenOf(0)
    const wire = Buffer.concat(conversation(token))
    const answers = async (cut: number): Promise<string[]> => {
      const peer = new WebServer(server)
      peer.send(wire.subarray(0, cut))
      await new Promise((resolve) => setImmediate(resolve))
      peer.send(wire.subarray(cut))
      const out: string[] = []
      for (const id of [1, 2, 3, 4, 5]) out.push((await peer.ended(id)).stdout)
      expect(peer.management).toHaveLength(1)
      peer.socket.destroy()
      return out
    }
    const whole = await answers(wire.length)
    for (let from = 1; from < wire.length; from += 16) {
      const cuts = Array.from({ length: Math.min(16, wire.length - from) }, (_, i) => from + i)
      for (const [i, some] of (await Promise.all(cuts.map(answers))).entries()) expect(some, `cut at ${cuts[i]}`).toEqual(whole)
    }
  })

  test('uses all 65,535 ids, and no place is lost by it', async () => {
    const server = await serve()
    const peer = new WebServer(server)
    closers.push(() => peer.socket.destroy())
    let last = 0
    for (let from = 1; from <= 65_535; from += 2048) {
      const ids = Array.from({ length: Math.min(2048, 65_536 - from) }, (_, i) => from + i)
      // More at a time than there may be: some are told so, none is forgotten.
      peer.send(...ids.map((id) => get(id)))
      last = ids.at(-1)!
      await peer.ended(last)
      for (const id of ids) expect(peer.replies.get(id)?.ended?.appStatus, String(id)).toBe(0)
      peer.replies.clear()
    }
    expect(last).toBe(65_535)
    peer.send(get(7))
    expect((await peer.ended(7)).ended).toEqual({ appStatus: 0, protocolStatus: 0 })
  })
})
