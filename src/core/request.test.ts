import { openSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { descriptorsOf } from '../../test/descriptors.ts'
import { makeRequest } from '../testing/index.ts'
import {
  Channel,
  FileSlice,
  attempt,
  collect,
  derive,
  discard,
  emptyBody,
  isBodyless,
  streamOf,
  text,
  type GatewayRequest,
  type Outcome,
} from './index.ts'

describe('a derived request', () => {
  test("has its parent's members but those that were changed", () => {
    const parent: GatewayRequest = makeRequest({ method: 'POST', target: '/a?b', body: 'hello', headers: ['X', 'y'] })
    const same = derive(parent, {})
    for (const name of [
      'method',
      'target',
      'scriptName',
      'pathInfo',
      'rawPathInfo',
      'queryString',
      'protocol',
      'scheme',
      'headers',
      'contentLength',
      'remote',
      'local',
      'errors',
      'body',
      'signal',
      'inform',
      'upgrade',
      'filterData',
    ] as const) {
      expect(same[name], name).toBe(parent[name])
    }
    const changed = derive(parent, {
      method: 'GET',
      pathInfo: '/c',
      headers: ['A', 'b'],
      body: null,
      scheme: 'https',
      remote: { address: '::1', port: 1 },
    })
    expect(changed).toMatchObject({
      method: 'GET',
      target: '/a?b',
      pathInfo: '/c',
      rawPathInfo: '/a',
      scheme: 'https',
      contentLength: 0,
      remote: { address: '::1' },
    })
    expect(changed.headers.list).toEqual(['A', 'b'])
    expect(changed.headers.get('x')).toBeUndefined()
    expect(changed.variables.get('HTTP_A')).toBe('b')
    expect(changed.variables.get('REQUEST_METHOD')).toBe('GET')
    expect(changed.body).toBe(emptyBody)
    expect(parent.method).toBe('POST')
  })

  test('may have another body, of another length', async () => {
    const parent = makeRequest({ method: 'POST', body: 'hello' })
    const derived = derive(derive(parent, { body: streamOf([Buffer.from('bye')]), contentLength: 3 }), { pathInfo: '/x' })
    expect(derived.contentLength).toBe(3)
    expect((await collect(derived.body)).toString()).toBe('bye')
    expect(derive(parent, { contentLength: undefined }).contentLength).toBeUndefined()
  })

  test("shares its parent's life", () => {
    const parent = makeRequest()
    const derived = derive(derive(parent, {}), { pathInfo: '/x' })
    const heard: Outcome[] = []
    derived.onFinish((outcome) => heard.push(outcome))
    const work = Promise.resolve()
    derived.waitUntil(work)
    parent.abort()
    expect(heard).toMatchObject([{ kind: 'cut' }])
    expect(derived.signal.aborted).toBe(true)
    expect(parent.work).toEqual([work])
  })

  test('may have a signal of its own', () => {
    const controller = new AbortController()
    const derived = derive(makeRequest(), { signal: controller.signal })
    controller.abort('late')
    expect(derived.signal.reason).toBe('late')
  })

  test('can do what its parent can: inform, or not', () => {
    expect(derive(makeRequest(), {}).inform).toBeUndefined()
    expect(derive(makeRequest(), {}).upgrade).toBeUndefined()
    const heard: number[] = []
    const parent = makeRequest({ inform: (status) => void heard.push(status) })
    derive(parent, {}).inform?.(103, [])
    derive(parent, { inform: (status) => void heard.push(-status) }).inform?.(103, [])
    expect(heard).toEqual([103, -103])
  })
})

describe('an attempt', () => {
  test('that is kept ends when its parent does, the same way', () => {
    const parent = makeRequest()
    const tried = attempt(parent, { pathInfo: '/x' })
    const heard: string[] = []
    tried.request.onFinish((outcome) => heard.push(outcome.kind))
    const response = text(200, '')
    expect(tried.keep(response)).toBe(response)
    tried.drop(response)
    expect(heard).toEqual([])
    parent.finish()
    expect(heard).toEqual(['sent'])
    expect(tried.request.pathInfo).toBe('/x')
  })

  test('that is dropped ends now: body cancelled, signal aborted, the parent untouched', () => {
    const parent = makeRequest()
    const tried = attempt(parent)
    const heard: Outcome[] = []
    let cancels = 0
    tried.request.onFinish((outcome) => heard.push(outcome))
    const { signal } = tried.request
    tried.drop({ status: 404, headers: [], body: streamOf([], () => cancels++) })
    tried.drop({ status: 404, headers: [], body: streamOf([], () => cancels++) })
    expect(heard).toMatchObject([{ kind: 'discarded', status: 404 }])
    expect([cancels, signal.aborted, parent.signal.aborted]).toEqual([1, true, false])
    parent.finish()
    expect(heard).toHaveLength(1)
  })

  test.each(['before', 'after'])("hears of its parent's abort, when the signal is asked for %s it", (when) => {
    const controller = new AbortController()
    const tried = attempt(derive(makeRequest(), { signal: controller.signal }))
    const reason = new Error('deadline')
    const early = when === 'before' ? tried.request.signal : undefined
    controller.abort(reason)
    expect(tried.request.signal.reason).toBe(reason)
    if (early !== undefined) expect(early).toBe(tried.request.signal)
  })

  test('of a request that is over is over at once', () => {
    const parent = makeRequest()
    parent.finish()
    const heard: string[] = []
    attempt(parent).request.onFinish((outcome) => heard.push(outcome.kind))
    expect(heard).toEqual(['sent'])
  })
})

test('discard stops any kind of body', async () => {
  let reason: unknown
  discard({ status: 200, headers: [], body: new Channel({ onCancel: (why) => (reason = why) }) }, 'why')
  expect(reason).toBe('why')
  discard({ status: 200, headers: [], body: new FileSlice(openSync(import.meta.filename, 'r'), 0, 1) })
  for (const body of [null, 'text', Buffer.from('bytes')]) discard({ status: 200, headers: [], body })
  await expect.poll(() => descriptorsOf(import.meta.filename)).toEqual([])
})

test.each([
  ['GET', 200, false],
  ['HEAD', 200, true],
  ['HEAD', 404, true],
  ['GET', 204, true],
  ['GET', 304, true],
  ['GET', 103, true],
  ['GET', 205, false],
])('%s with %i has no body: %s', (method, status, bodyless) => {
  expect(isBodyless(method, status)).toBe(bodyless)
})
