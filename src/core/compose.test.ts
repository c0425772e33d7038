import { describe, expect, test } from 'vitest'
import { collectResponse, makeRequest, serveMemory } from '../testing/index.ts'
import {
  Channel,
  backend,
  cascade,
  collect,
  compose,
  derive,
  isBackend,
  mount,
  shift,
  streamOf,
  text,
  type Application,
  type Backend,
  type GatewayResponse,
  type Middleware,
} from './index.ts'

const shown: Application = (request) => text(200, JSON.stringify([request.scriptName, request.pathInfo, request.rawPathInfo]))
const owning = (log: string[], name: string, application: Application = shown): Backend =>
  backend(application, {
    ready: () => Promise.resolve(void log.push(`ready ${name}`)),
    close: (grace) => Promise.resolve(void log.push(`close ${name} ${grace}`)),
  })

const named = (name: string, log: string[]): Middleware => {
  log.push(`fold ${name}`)
  return (next) => (request) => {
    log.push(name)
    return next(request)
  }
}

const missing: Application = () => ({ status: 404, headers: [], body: 'none' })

const reading: Application = async (request): Promise<GatewayResponse> => text(200, (await collect(request.body)).toString())

async function until(condition: () => boolean, waiting: (() => void)[]): Promise<void> {
  while (!condition()) await new Promise<void>((resolve) => waiting.push(resolve))
}

describe('a backend', () => {
  test('closes once, and is ready and closable even when it owns nothing', async () => {
    const log: string[] = []
    const own = owning(log, 'a')
    await Promise.all([own.close(5), own.close(6)])
    await own[Symbol.asyncDispose]()
    expect(log).toEqual(['close a 5'])
    const bare = backend(shown, {})
    await bare.ready()
    await bare.close()
    expect([isBackend(bare), isBackend(shown)]).toEqual([true, false])
  })
})

describe('compose', () => {
  test('lets the first middleware see the request first, and stays synchronous', async () => {
    const log: string[] = []
    const application = compose(shown, named('a', log), named('b', log))
    expect(application(makeRequest())).not.toBeInstanceOf(Promise)
    void application(makeRequest())
    expect(log).toEqual(['fold a', 'fold b', 'a', 'b', 'a', 'b'])
  })

  test('closes what it was made of: the application, and a middleware that owns something', async () => {
    const log: string[] = []
    const composed = compose(owning(log, 'app'), (next) => owning(log, 'cache', next), named('a', []))
    await composed.ready()
    await composed.close(7)
    await composed.close(8)
    expect(log).toEqual(['ready app', 'ready cache', 'close app 7', 'close cache 7'])
  })
})

describe('mount', () => {
  const mounted = mount({ '/': (r) => text(200, `root ${r.pathInfo}`), '/app': shown, '/app/deep/': shown, '/é': shown })

  test.each([
    ['/app', ['/app', '', '']],
    ['/app/', ['/app', '/', '/']],
    ['/app/x', ['/app', '/x', '/x']],
    ['/app/x%20y', ['/app', '/x y', '/x%20y']],
    ['/app/x%2Fy', ['/app', '/x/y', '/x%2Fy']],
    ['/app/deep/x', ['/app/deep', '/x', '/x']],
    ['/app/deeper', ['/app', '/deeper', '/deeper']],
    ['/%61pp/x%20y', ['/app', '/x y', '/x%20y']],
    ['//app//x', ['/app', '/x', '//x']],
    ['/%C3%A9/x', ['/\xc3\xa9', '/x', '/x']],
    // Nobody who is mounted at /app gets to see the way out of it.
    ['/app/../app/x', ['/app', '/x', '/x']],
    ['/app/./x%20y', ['/app', '/x y', '/x%20y']],
    ['/b/../app/%2e/x', ['/app', '/x', '/x']],
    ['/app%2Fx', ['/app', '/x', '/x']],
    ['/app%2F..%2Fapp/x', ['/app', '/x', '/x']],
  ])('gives %s the parts %j', async (target, parts) => {
    expect(JSON.parse((await collectResponse(mounted(makeRequest({ target })))).body.toString())).toEqual(parts)
  })

  test.each(['/apple', '/', '/ap', '/App', '/x/app'])('gives %s to what is mounted at the root', async (target) => {
    expect((await collectResponse(mounted(makeRequest({ target })))).body.toString()).toBe(`root ${target}`)
  })

  test('answers 404 to what matches nothing, and refuses a prefix without a slash', async () => {
    expect(await mount({ '/a': shown })(makeRequest({ target: '/b' }))).toMatchObject({ status: 404 })
    expect(() => mount({ a: shown })).toThrow(expect.objectContaining({ code: 'CONFIG' }))
  })

  test('may be nested, and closes each member once', async () => {
    const log: string[] = []
    const shared = owning(log, 'shared')
    const nested = mount({ '/a': mount({ '/b': shared }), '/c': shared })
    expect(JSON.parse((await collectResponse(nested(makeRequest({ target: '/a/b/c' })))).body.toString())).toEqual(['/a/b', '/c', '/c'])
    await nested.close(1)
    expect(log).toEqual(['close shared 1'])
  })

  test('closes every member when one of them fails to', async () => {
    const log: string[] = []
    const failing = backend(shown, {
      close: () => {
        throw new Error('stuck')
      },
    })
    await expect(mount({ '/a': failing, '/b': owning(log, 'b') }).close()).rejects.toThrow('stuck')
    expect(log).toEqual(['close b undefined'])
  })

  test('shifting by hand keeps the parts together', () => {
    expect(shift(makeRequest({ target: '/a/b' }), '/a')).toMatchObject({ scriptName: '/a', pathInfo: '/b', rawPathInfo: '/b' })
  })
})

describe('cascade', () => {
  test('asks one after the other until one does not say 404', async () => {
    const asked: string[] = []
    const step =
      (name: string, status: number): Application =>
      () => {
        asked.push(name)
        return text(status, name)
      }
    const answer = await collectResponse(cascade(step('a', 404), step('b', 500), step('c', 200))(makeRequest()))
    expect([asked, answer.status]).toEqual([['a', 'b'], 500])
    expect((await collectResponse(cascade(step('a', 404), step('b', 404))(makeRequest()))).body.toString()).toBe('b')
    expect(await cascade()(makeRequest())).toMatchObject({ status: 404 })
  })

  test('into a pool of one does not wait for itself', async () => {
    let free = true
    const waiting: (() => void)[] = []
    const release = (): void => {
      free = true
      waiting.shift()?.()
    }
    // The worker is leased until the end of the body that it sends.
    const pool: Application = async (request) => {
      await until(() => free, waiting)
      free = false
      const body = new Channel({ onCancel: release })
      if (request.variables.get('STEP') === '1') return { status: 404, headers: [], body }
      body.write(Buffer.from('found'))
      body.end()
      request.onFinish(release)
      return { status: 200, headers: [], body }
    }
    const step =
      (name: string): Application =>
      (request) =>
        pool(derive(request, { variables: { STEP: name } }))
    await using server = serveMemory(cascade(step('1'), step('2')))
    for (let i = 0; i < 3; i++) expect((await server.request()).body.toString()).toBe('found')
    expect(free).toBe(true)
  })

  test('tells a step that was passed over that it is discarded, now', async () => {
    const heard: string[] = []
    const parent = makeRequest()
    const first: Application = (request) => {
      request.onFinish((outcome) => heard.push(`first ${outcome.kind}`))
      return missing(request)
    }
    const second: Application = (request) => {
      heard.push('second')
      request.onFinish((outcome) => heard.push(`second ${outcome.kind}`))
      return text(200, '')
    }
    await cascade(first, second)(parent)
    expect(heard).toEqual(['first discarded', 'second'])
    parent.finish()
    expect(heard).toEqual(['first discarded', 'second', 'second sent'])
  })

  test('ends a step that throws', async () => {
    const heard: string[] = []
    const throwing: Application = (request) => {
      request.onFinish((outcome) => heard.push(outcome.kind))
      throw new Error('broke')
    }
    await expect(cascade(throwing, missing)(makeRequest())).rejects.toThrow('broke')
    expect(heard).toEqual(['discarded'])
  })

  test.each<[string, Application, number, string]>([
    ['a step that does not look at it', missing, 200, 'hello'],
    ['a step that cancels it unread', (r) => (r.body.cancel(), missing(r)), 200, 'hello'],
    ['a step that reads it and gives up', async (r) => (await collect(r.body), missing(r)), 404, 'none'],
  ])('hands the body on past %s', async (_, first, status, body) => {
    for (const chunks of ['hello', streamOf([Buffer.from('hel'), Buffer.from('lo')])]) {
      const answer = await collectResponse(cascade(first, reading)(makeRequest({ method: 'POST', body: chunks })))
      expect([answer.status, answer.body.toString()]).toEqual([status, body])
    }
  })
})
