import { describe, expect, test } from 'vitest'
import { Channel, derive, text } from '../core/index.ts'
import { makeRequest } from '../testing/index.ts'
import { internal } from './internal.ts'
import type { Application, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { InternalOptions } from './internal.ts'

const to = (redirect: string): GatewayResponse => ({ status: 302, headers: ['Location', redirect], body: null, internal: { redirect } })

/** A site of named answers; what it does not know it echoes. */
function site(answers: Record<string, (request: GatewayRequest) => GatewayResponse>, options?: InternalOptions): Application {
  return internal(options)((request) => {
    const answer = answers[request.pathInfo]
    if (answer !== undefined) return Promise.resolve(answer(request))
    const { method, target, scriptName, pathInfo, rawPathInfo, queryString, contentLength } = request
    return text(
      200,
      JSON.stringify({ method, target, scriptName, pathInfo, rawPathInfo, queryString, contentLength, headers: request.headers.list }),
    )
  })
}

const seen = async (application: Application, request: GatewayRequest): Promise<unknown> =>
  JSON.parse(String((await application(request)).body))

describe('a local redirect', () => {
  test.each([
    ['GET', 'GET'],
    ['HEAD', 'HEAD'],
    ['POST', 'GET'],
    ['DELETE', 'GET'],
  ])('of a %s is asked again as %s, without a body', async (method, again) => {
    const request = makeRequest({ method, target: '/a?x', headers: { Cookie: 'c=1', 'Content-Type': 'text/plain' }, body: 'data' })
    expect(await seen(site({ '/a': () => to('/b%20c?d=%2F') }), request)).toEqual({
      method: again,
      target: '/b%20c?d=%2F',
      scriptName: '',
      pathInfo: '/b c',
      rawPathInfo: '/b%20c',
      queryString: 'd=%2F',
      contentLength: 0,
      headers: ['Host', 'test.example', 'Cookie', 'c=1'],
    })
  })

  test('stays within the mount; one that leaves it is left to the client', async () => {
    const application = site({ '/a': () => to('/app/b'), '/out': () => to('/other'), '/near': () => to('/application') })
    const request = makeRequest({ target: '/app/a', scriptName: '/app' })
    expect(await seen(application, request)).toMatchObject({ scriptName: '/app', pathInfo: '/b' })
    for (const [pathInfo, location] of [
      ['/out', '/other'],
      ['/near', '/application'],
    ] as const) {
      expect(await application(derive(request, { pathInfo }))).toEqual({ status: 302, headers: ['Location', location], body: null })
    }
  })

  test('is followed ten times and then an error', async () => {
    let count = 0
    const around: Record<string, () => GatewayResponse> = { '/loop': () => to(++count > 10 ? '/end' : '/loop') }
    await expect(site({ '/loop': () => to('/loop') })(makeRequest({ target: '/loop' }))).rejects.toMatchObject({
      code: 'REDIRECT_LOOP',
      status: 500,
    })
    count = 1
    expect(await seen(site(around), makeRequest({ target: '/loop' }))).toMatchObject({ pathInfo: '/end' })
    count = 0
    await expect(site(around)(makeRequest({ target: '/loop' }))).rejects.toMatchObject({ code: 'REDIRECT_LOOP' })
    await expect(site({ '/loop': () => to('/loop') }, { limit: 0 })(makeRequest({ target: '/loop' }))).rejects.toMatchObject({
      code: 'REDIRECT_LOOP',
    })
  })

  test.each(['/../x', '/%00', '/a\r\nb', '/%zz', 'x', 'http://other/'])('to %j is an error of the program', async (location) => {
    await expect(site({ '/a': () => to(location) })(makeRequest({ target: '/a' }))).rejects.toMatchObject({
      code: 'UPSTREAM_HEAD',
      status: 502,
    })
  })

  test('ends what it leaves behind: the body is cancelled, and every try but the last one is over', async () => {
    const story: string[] = []
    const leave =
      (redirect: string) =>
      (request: GatewayRequest): GatewayResponse => {
        request.onFinish(({ kind }) => story.push(`${request.pathInfo} ${kind}`))
        return { ...to(redirect), body: new Channel({ onCancel: () => story.push(`${request.pathInfo} cancelled`) }) }
      }
    const end = (request: GatewayRequest): GatewayResponse => {
      request.onFinish(({ kind }) => story.push(`${request.pathInfo} ${kind}`))
      story.push('asked')
      return text(200, 'end')
    }
    const request = makeRequest({ target: '/1' })
    await site({ '/1': leave('/2'), '/2': leave('/3'), '/3': end })(request)
    expect(story).toEqual(['/1 cancelled', '/2 cancelled', '/2 discarded', 'asked'])
    request.finish({ kind: 'sent', status: 200, bytes: 3 })
    expect(story.slice(4).sort()).toEqual(['/1 sent', '/3 sent'])
  })

  test('whose target throws ends the try and passes the error on', async () => {
    const kinds: string[] = []
    const application = site({
      '/a': () => to('/b'),
      '/b': (request) => {
        request.onFinish(({ kind }) => kinds.push(kind))
        throw new Error('broken')
      },
    })
    await expect(application(makeRequest({ target: '/a' }))).rejects.toThrow('broken')
    expect(kinds).toEqual(['discarded'])
  })
})

test('an ordinary answer passes as it is, at once where it came at once', async () => {
  const response = text(200, 'x')
  expect(internal()(() => response)(makeRequest({}))).toBe(response)
  expect(await internal()(() => Promise.resolve(response))(makeRequest({}))).toBe(response)
})

const asks = (file: string, headers: string[] = []): Record<string, () => GatewayResponse> => ({
  '/a': () => ({
    status: 200,
    headers: ['Content-Type', 'text/plain', 'Content-Length', '0', ...headers],
    body: null,
    internal: { file },
  }),
})

describe('a file to be sent', () => {
  const files = {
    roots: ['/srv/files'],
    send: (_: GatewayRequest, root: string, file: string): GatewayResponse => ({
      status: 200,
      headers: ['Content-Type', 'image/png', 'Content-Length', '9', 'ETag', '"x"'],
      body: `${root} ${file}`,
    }),
  }

  test.each(['/etc/passwd', '/srv/filesystem/x', '/srv/files/../../etc/passwd', '/srv/files/./x', '/srv/files', 'x', '/srv/files/x\0'])(
    'is refused when it is %j',
    async (file) => {
      const request = makeRequest({ target: '/a' })
      expect(await site(asks(file), { file: files })(request)).toMatchObject({ status: 500, body: null })
      expect(request.errorText).toContain('lies in no folder that may be sent from')
    },
  )

  test('is refused where no folder is configured', async () => {
    expect(await site(asks('/srv/files/x'))(makeRequest({ target: '/a' }))).toMatchObject({ status: 500, body: null })
  })

  test('comes with its own length, under the type and with the cookies of who asked for it', async () => {
    const response = await site(asks('/srv/files/..x/y', ['Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'etag', '"mine"', 'X-Own', '1']), {
      file: files,
    })(makeRequest({ target: '/a' }))
    expect(response).toEqual({
      status: 200,
      headers: ['Content-Length', '9', 'ETag', '"x"', 'Content-Type', 'text/plain', 'Set-Cookie', 'a=1', 'Set-Cookie', 'b=2', 'X-Own', '1'],
      body: '/srv/files /srv/files/..x/y',
    })
  })

  test('that cannot be sent is a 500, and its reason is for the log', async () => {
    const request = makeRequest({ target: '/a' })
    const broken = { roots: ['/srv/files'], send: () => Promise.reject(new Error('disk on fire')) }
    expect(await site(asks('/srv/files/x'), { file: broken })(request)).toMatchObject({ status: 500, body: null })
    expect(request.errorText).toContain('disk on fire')
  })
})
