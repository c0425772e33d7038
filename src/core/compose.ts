// Making one application out of several. What is made closes its members, each once.

import { attempt, derive } from './request.ts'
import { GatewayError } from './errors.ts'
import { fromByteString, toByteString } from './headers.ts'
import { percentDecode, percentEncode } from './path.ts'
import type { PoolStatus } from './status.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse, Middleware } from './types.ts'

/** An application with what it owns: `close` is called at most once. */
export function backend(
  application: Application,
  own: { ready?: () => Promise<void>; close?: (grace?: number) => Promise<void>; pools?: (() => readonly PoolStatus[]) | undefined },
): Backend {
  let closing: Promise<void> | undefined
  const close = (grace?: number): Promise<void> => (closing ??= own.close?.(grace) ?? Promise.resolve())
  const call = (request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> => application(request)
  return Object.assign(call, {
    ready: own.ready ?? (() => Promise.resolve()),
    close,
    ...(own.pools !== undefined && { pools: own.pools }),
    [Symbol.asyncDispose]: () => close(),
  })
}

/** What `pools` of something that owns these tells; each is asked once. */
export function poolsOf(members: Iterable<Application | undefined>): PoolStatus[] {
  const owners = [...new Set(members)].filter((each) => each !== undefined && isBackend(each))
  return owners.flatMap((each) => (each as Backend).pools?.() ?? [])
}

/** Whether an application owns something. */
export function isBackend(application: Application): application is Backend {
  return 'close' in application && typeof application.close === 'function'
}

function over(application: Application, members: readonly Application[]): Backend {
  const owners = [...new Set(members.filter(isBackend))]
  return backend(application, {
    ready: async () => {
      await Promise.all(owners.map((each) => each.ready()))
    },
    close: async (grace) => {
      const results = await Promise.allSettled(owners.map(async (each) => each.close(grace)))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    },
    pools: () => poolsOf(owners),
  })
}

/** `compose(app, a, b)`: `a` sees the request first, then `b`, then `app`. Folded here, not per request. */
export function compose(application: Application, ...middleware: readonly Middleware[]): Backend {
  const made: Application[] = [application]
  for (const wrap of middleware.toReversed()) made.push(wrap(made.at(-1)!))
  // A middleware that owns something makes a Backend: closed too.
  return over(made.at(-1)!, made)
}

/**
 * Applications by path prefix; the longest that matches whole segments wins. `/` matches everything.
 * The prefix moves from `pathInfo` to `scriptName`. What matches nothing is a 404.
 */
export function mount(applications: Readonly<Record<string, Application>>): Backend {
  const entries = Object.entries(applications)
    .map(([prefix, application]) => ({ prefix: toByteString(prefix.replace(/\/+$/, '')), application }))
    .sort((a, b) => b.prefix.length - a.prefix.length)
  for (const { prefix } of entries) {
    if (prefix !== '' && !prefix.startsWith('/')) {
      throw new GatewayError('CONFIG', { status: 500, message: `core: mount: a prefix begins with "/", got "${fromByteString(prefix)}"` })
    }
  }
  const route: Application = (request) => {
    const path = request.pathInfo
    for (const { prefix, application } of entries) {
      if (prefix === '') return application(request)
      if (path.startsWith(prefix) && (path.length === prefix.length || path.charCodeAt(prefix.length) === 0x2f)) {
        return application(shift(request, prefix))
      }
    }
    return { status: 404, headers: [], body: null }
  }
  return over(
    route,
    entries.map((entry) => entry.application),
  )
}

/** Moves `prefix`, which `pathInfo` begins with, to `scriptName`. */
export function shift(request: GatewayRequest, prefix: ByteString): GatewayRequest {
  const pathInfo = request.pathInfo.slice(prefix.length)
  return derive(request, {
    scriptName: request.scriptName + prefix,
    pathInfo,
    rawPathInfo: rawRest(request.rawPathInfo, prefix) ?? percentEncode(pathInfo),
  })
}

const DOT_SEGMENT = /(?:^|\/|%2f)(?:\.|%2e){1,2}(?:\/|%2f|$)/i

/**
 * The raw path after what decodes to `prefix`, letter for letter. undefined where there is no such place: `/app/../app/x` is below
 * `/app`, but nobody who is mounted there may get to see the dots.
 */
function rawRest(raw: ByteString, prefix: ByteString): ByteString | undefined {
  if (DOT_SEGMENT.test(raw)) return undefined
  if (raw.startsWith(prefix) && (raw.length === prefix.length || raw.charCodeAt(prefix.length) === 0x2f)) return raw.slice(prefix.length)
  // Encoded letters or `//` inside the prefix: as many segments as it has.
  let rest = raw
  let seen = ''
  for (let left = prefix.split('/').length - 1; left > 0 && rest !== '';) {
    const end = rest.indexOf('/', 1)
    const segment = rest.slice(1, end === -1 ? undefined : end)
    rest = end === -1 ? '' : rest.slice(end)
    if (segment === '') continue
    seen += '/' + (percentDecode(segment) ?? '')
    left--
  }
  return seen === prefix ? rest : undefined
}

/**
 * Asks one application after the other until one does not answer 404. A request body can be read only once, so
 * a request that has one is asked of the later ones only as long as nobody began to read it.
 */
export function cascade(...applications: readonly Application[]): Backend {
  const ask: Application = async (request) => {
    const body = request.contentLength === 0 ? undefined : track(request)
    for (let i = 0; ; i++) {
      const application = applications[i]
      if (application === undefined) return { status: 404, headers: [], body: null }
      const tried = attempt(request, body === undefined ? {} : { body, contentLength: request.contentLength })
      let response: GatewayResponse
      try {
        response = await application(tried.request)
      } catch (error) {
        tried.drop()
        throw error
      }
      const last = i === applications.length - 1
      if (response.status !== 404 || last || body?.used === true) return tried.keep(response)
      tried.drop(response)
    }
  }
  return over(ask, applications)
}

/** The request's body, with a note whether somebody began to read it. A cancel by one who did not read is not passed on. */
function track(request: GatewayRequest): GatewayRequest['body'] & { used: boolean } {
  const { body } = request
  return {
    used: false,
    cancel(reason) {
      if (this.used) body.cancel(reason)
    },
    ...(body.pushTo !== undefined && {
      pushTo(sink) {
        this.used = true
        return body.pushTo!(sink)
      },
    }),
    [Symbol.asyncIterator]() {
      this.used = true
      return body[Symbol.asyncIterator]()
    },
  }
}
