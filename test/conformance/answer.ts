// The behaviours of the conformance suite in TypeScript: the first part of the path says which. behaviours.ts says what each must be.

import {
  Channel,
  collect,
  empty,
  redirect,
  streamOf,
  text,
  variable,
  type Application,
  type GatewayRequest,
  type GatewayResponse,
} from '../../src/core/index.ts'

/** 5 MiB that every room can make. */
export const LARGE: Buffer = Buffer.alloc(5 * 1024 ** 2, '0123456789abcde\n')

async function echo(request: GatewayRequest): Promise<GatewayResponse> {
  const get = (name: string): string => variable(request, name) ?? ''
  const body = await collect(request.body)
  const lines = [
    `method=${request.method}`,
    `path=${request.pathInfo.slice('/echo'.length)}`,
    `query=${request.queryString}`,
    `mount=${request.scriptName}`,
    `host=${get('HTTP_HOST')}`,
    `name=${get('SERVER_NAME')}`,
    `one=${get('HTTP_X_ONE')}`,
    `cookie=${get('HTTP_COOKIE')}`,
    `type=${get('CONTENT_TYPE')}`,
    `length=${get('CONTENT_LENGTH') || (body.length > 0 ? body.length : '')}`,
    '',
    '',
  ]
  return { status: 200, headers: ['Content-Type', 'text/plain'], body: Buffer.concat([Buffer.from(lines.join('\n'), 'latin1'), body]) }
}

/** Says nothing until it is too late, or until nobody is left to hear it. */
async function silent(request: GatewayRequest): Promise<GatewayResponse> {
  await new Promise<void>((resolve) => {
    const timer = setTimeout(resolve, 1500)
    request.signal.addEventListener('abort', () => {
      clearTimeout(timer)
      resolve()
    })
  })
  return text(200, 'late')
}

async function* slow(): AsyncGenerator<Uint8Array> {
  yield Buffer.from('first\n')
  await new Promise((resolve) => setTimeout(resolve, 300))
  yield Buffer.from('second\n')
}

function* large(): Generator<Uint8Array> {
  for (let at = 0; at < LARGE.length; at += 65_536) yield LARGE.subarray(at, at + 65_536)
}

async function* endless(): AsyncGenerator<Uint8Array> {
  const chunk = Buffer.alloc(8192, 'endless\n')
  for (;;) {
    yield chunk
    // A producer that never lets the event loop turn would never hear that its client has left.
    await new Promise((resolve) => setImmediate(resolve))
  }
}

function broken(): Channel {
  const channel = new Channel()
  channel.write(Buffer.from('half'))
  channel.fail(new Error('a secret detail'))
  return channel
}

const plain = ['Content-Type', 'text/plain']

export const answer: Application = (request) => {
  switch (request.pathInfo.split('/')[1]) {
    case 'echo':
      return echo(request)
    case 'status':
      return { ...text(418, 'status 418'), reason: 'A Custom Reason' }
    case 'fields':
      return text(200, 'fields', ['Set-Cookie', 'a=1; Path=/', 'set-cookie', 'b=2', 'X-Bytes', '\xc3\xa9'])
    case 'redirect':
      return redirect(303, 'https://example.test/next?a=b')
    case 'slow':
      return { status: 200, headers: plain, body: streamOf(slow()) }
    case 'large':
      return { status: 200, headers: [...plain, 'Content-Length', String(LARGE.length)], body: streamOf(large()) }
    case 'endless':
      return { status: 200, headers: plain, body: streamOf(endless()) }
    case 'empty':
      return empty(204)
    case 'unmodified':
      return empty(304, ['ETag', '"tag"'])
    case 'missing':
      return text(404, 'missing')
    case 'error':
      throw new Error('a secret detail')
    case 'broken':
      return { status: 200, headers: [...plain, 'Content-Length', '100'], body: broken() }
    case 'stderr':
      request.errors.write('a line for the log\n')
      return text(200, 'logged')
    case 'silent':
      return silent(request)
    case 'internal':
      return { status: 200, headers: [], body: null, internal: { redirect: '/echo/elsewhere' } }
    case 'trailers':
      return { ...text(200, 'trailed'), trailers: () => ['X-After', 'yes'] }
    case 'interim':
      request.inform?.(103, ['Link', '</a.css>; rel=preload'])
      return text(200, 'informed')
    default:
      return text(501, '')
  }
}
