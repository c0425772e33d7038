// What a server would do with a request, and why, without doing it: the same decisions by the same functions, told one by one.

import { empty, fromByteString, getHeader, parseTarget, toByteString } from '../core/index.ts'
import { redirectToHttps } from '../http/index.ts'
import { fit, forwarded, hostFinder, hostName } from '../middleware/index.ts'
import { describeListen } from '../runtime/index.ts'
import { makeRequest } from '../testing/index.ts'
import { kindNamed } from './kinds/index.ts'
import { ruleOf } from './server.ts'
import type { GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Unfit } from '../middleware/index.ts'
import type { Explained } from './kinds/kind.ts'
import type { HostPlan, ListenerPlan, RoutePlan, ServerPlan } from './plan.ts'

/** A request to be explained. */
export interface AskedRequest {
  /** `http://host:port/path?query`, or `/path?query` of whatever host. */
  readonly url: string
  /** Default GET. */
  readonly method?: string
  /** `[name, value, ...]` */
  readonly headers?: readonly string[]
  /** Address of the client. Default 127.0.0.1. */
  readonly from?: string
}

/** One decision on the way. `taken`: it led on; else it was looked at and did not apply. */
export interface Step {
  /** Where that is written: `sites[0].routes[2]`. */
  readonly at: string
  /** Whether it led on. */
  readonly taken: boolean
  /** In words. */
  readonly why: string
}

/** What would become of a request, step by step. */
export interface Explanation {
  /** As it was asked for. */
  readonly method: string
  /** The path and query of the URL. */
  readonly target: string
  /** In the order in which they are taken. */
  readonly steps: readonly Step[]
  /** The application that answers, if one does. */
  readonly application?: { readonly name: string; readonly kind: string }
  /** What it comes to. */
  readonly answer: Explained
}

/** Looks at files, and runs nothing. Throws a TypeError for what is no URL. */
export function explainRequest(plan: ServerPlan, asked: AskedRequest): Promise<Explanation> {
  return new Telling(plan, asked).tell()
}

class Telling {
  readonly #plan: ServerPlan
  readonly #asked: AskedRequest
  readonly #url: URL
  /** The port that the URL says or means; undefined for a path alone. */
  readonly #port: number | undefined
  /** The port that the URL says. */
  readonly #written: number | undefined
  readonly #target: string
  readonly #steps: Step[] = []

  constructor(plan: ServerPlan, asked: AskedRequest) {
    this.#plan = plan
    this.#asked = asked
    const absolute = /^https?:\/\//i.test(asked.url)
    this.#url = new URL(absolute ? asked.url : `http://localhost${asked.url.startsWith('/') ? '' : '/'}${asked.url}`)
    const usual = this.#url.protocol === 'https:' ? 443 : 80
    this.#port = absolute ? Number(this.#url.port === '' ? usual : this.#url.port) : undefined
    this.#written = absolute ? portIn(asked.url) : undefined
    // As it was written: URL resolves dots and encodes, and what a client sends is what is asked about.
    const written = absolute ? asked.url.replace(/^https?:\/\/[^/?#]*/i, '') : asked.url
    const path = written.replace(/#.*$/, '')
    this.#target = toByteString(path.startsWith('/') ? path : `/${path}`)
  }

  async tell(): Promise<Explanation> {
    const refusal = parseTarget(this.#target)
    if (typeof refusal === 'string') return this.#answered(status(400, `the path is refused by every listener: ${refusal}`))
    const listener = this.#listener()
    const request = this.#proxied(this.#request(listener))
    const elsewhere = await this.#redirected(listener, request)
    if (elsewhere !== undefined) return this.#answered(elsewhere)
    const site = this.#site(request)
    if (site === undefined) return this.#answered(status(421, 'no site has this host, and each has hosts of its own'))
    return this.#routes(site, request)
  }

  #step(at: string, taken: boolean, why: string): void {
    this.#steps.push({ at, taken, why })
  }

  #answered(answer: Explained, application?: Explanation['application']): Explanation {
    const { method = 'GET' } = this.#asked
    return { method, target: fromByteString(this.#target), steps: this.#steps, answer, ...(application !== undefined && { application }) }
  }

  /** The one with the port of the URL, else the first of its scheme that does not redirect, else the first: what `--listen` opens instead is not known here. */
  #listener(): ListenerPlan {
    const { listeners } = this.#plan
    const secure = this.#url.protocol === 'https:'
    const found = listeners.findIndex(({ listen }) => 'port' in listen && listen.port === this.#port)
    const like = listeners.findIndex(({ tls, redirect }) =>
      this.#port === undefined ? redirect === undefined : (tls !== undefined) === secure && redirect === undefined,
    )
    const index = Math.max(0, found === -1 ? like : found)
    const listener = listeners[index]!
    const { listen, protocol, tls } = listener
    const first = this.#port !== undefined && like > 0 ? `the first one of ${secure ? 'https' : 'http'}` : 'the first one'
    const none = this.#written === undefined ? 'for none has the port of the URL' : `as if it had port ${this.#written}, which none has`
    const why = found === -1 ? `${first}, ${none}` : 'it has the port of the URL'
    this.#step(`listeners[${index}]`, true, `${describeListen(listen)}, ${tls === undefined ? protocol : 'https'}: ${why}`)
    return listener
  }

  /** What a listener of plain HTTP that leads to https says. */
  async #redirected({ redirect }: ListenerPlan, request: GatewayRequest): Promise<Explained | undefined> {
    if (redirect === undefined) return undefined
    const target = 'port' in redirect ? undefined : this.#plan.listeners[redirect.listener]!.listen
    const port = target !== undefined && 'port' in target ? target.port : 'port' in redirect ? redirect.port : 443
    let served = false
    const pass = (): GatewayResponse => {
      served = true
      return empty(200)
    }
    const response = await redirectToHttps({ port, application: pass })(request)
    if (served) {
      this.#step('redirect', false, request.scheme === 'https' ? 'it came by https' : 'what a certificate authority asks for is served')
      return undefined
    }
    const location = getHeader(response.headers, 'location') ?? ''
    return {
      what: `status ${response.status}, a redirect to ${fromByteString(location)}`,
      why: ['this listener sends its clients to https'],
    }
  }

  #request(listener: ListenerPlan): GatewayRequest {
    const { method = 'GET', headers = [], from = '127.0.0.1' } = this.#asked
    const { listen } = listener
    const unix = 'path' in listen
    const local = unix
      ? { address: '', port: 0 }
      : { address: listen.host === '*' ? '127.0.0.1' : listen.host, port: this.#written ?? listen.port }
    const own = headers.map(toByteString)
    const list = getHeader(own, 'host') === undefined ? ['Host', this.#url.host, ...own] : own
    return makeRequest({
      method,
      target: this.#target,
      headers: list,
      scheme: listener.tls === undefined ? 'http' : 'https',
      local,
      remote: unix ? { address: '', port: 0 } : { address: from, port: 50_000 },
    })
  }

  #proxied(request: GatewayRequest): GatewayRequest {
    const { trustedProxies } = this.#plan
    if (trustedProxies === undefined) return request
    let seen = request
    forwarded(trustedProxies)((each) => {
      seen = each
      return empty(200)
    })(request)
    const believed = seen.remote !== request.remote || seen.scheme !== request.scheme
    const who = request.remote.address === '' ? 'whoever connects by a unix socket' : request.remote.address
    const told = believed
      ? `${who} is trusted: the client is ${seen.remote.address || 'unknown'}, by ${seen.scheme}`
      : `${who} says nothing that is believed`
    this.#step('trustedProxies', believed, told)
    return seen
  }

  #site(request: GatewayRequest): HostPlan | undefined {
    const { sites } = this.#plan
    const host = request.headers.get('host') ?? ''
    const found = hostFinder(sites)(host)
    for (const site of sites) {
      const names = site.hosts === undefined ? 'every host that no other site has' : site.hosts.join(', ')
      const is = site === found
      if (is || site.hosts !== undefined)
        this.#step(site.at, is, `host ${JSON.stringify(hostName(host))} ${is ? 'is' : 'is not'} ${is ? 'for' : 'in'} ${names}`)
      if (is) break
    }
    return found
  }

  async #routes(site: HostPlan, request: GatewayRequest): Promise<Explanation> {
    let current = request
    const refused: string[] = []
    const nobody = new Map(Object.keys(this.#plan.applications).map((name) => [name, () => empty(500)]))
    for (const route of site.routes) {
      const rule = ruleOf(route, this.#plan, nobody)
      const found = await fit(rule, current)
      if (typeof found === 'string') {
        if (found === 'method') refused.push(...rule.methods!)
        this.#step(route.at, false, whyNot(found, route, current))
        continue
      }
      this.#step(route.at, true, whyTaken(route, current, found.request))
      if (route.authorizer !== undefined)
        this.#step(route.at, true, `asks "${route.authorizer}" first: only its 200 lets the request through`)
      if (route.filter !== undefined) this.#step(route.at, true, `"${route.filter}" answers with what it makes of the file`)
      if (rule.answer === undefined) current = found.request
      else if (route.application !== undefined) return this.#application(route.application, found.request)
      else return this.#answered(fixedAnswer(route, rule.answer(found.request, found.captures) as GatewayResponse))
    }
    if (refused.length > 0) return this.#answered(status(405, `only ${refused.join(', ')} is answered here`))
    return this.#answered(status(404, 'no route fits'))
  }

  async #application(name: string, request: GatewayRequest): Promise<Explanation> {
    const { kind, plan } = this.#plan.applications[name]!
    return this.#answered(await kindNamed(kind)!.explain(plan, request), { name, kind })
  }
}

/** URL leaves out the usual one of a scheme, also where it is written. */
function portIn(url: string): number | undefined {
  const port = /^https?:\/\/[^/?#]*:(\d+)(?=[/?#]|$)/i.exec(url)?.[1]
  return port === undefined ? undefined : Number(port)
}

function status(code: number, why: string): Explained {
  return { what: `status ${code}`, why: [why] }
}

function fixedAnswer(route: RoutePlan, response: GatewayResponse): Explained {
  const location = getHeader(response.headers, 'location')
  if (route.redirect !== undefined && location !== undefined)
    return { what: `status ${response.status}, a redirect to ${location}`, why: ['the route says so'] }
  return status(
    response.status,
    route.redirect === undefined ? 'the route says so' : 'a path that could be read in two ways is not sent elsewhere',
  )
}

const listed = (value: string | readonly string[] | undefined): string => (typeof value === 'string' ? value : (value ?? []).join(', '))

function whyNot(reason: Unfit, route: RoutePlan, request: GatewayRequest): string {
  switch (reason) {
    case 'path':
      return `the path ${fromByteString(request.pathInfo)} is not ${listed(route.path)}`
    case 'method':
      return `the method ${request.method} is not ${listed(route.method)}`
    case 'file':
      return `none of ${listed(route.tryFiles)} is a file of "${route.application ?? ''}"`
    case 'rewrite':
      return `the path holds %2F, %5C or a backslash, which a rewrite to ${route.rewrite ?? ''} would hide`
  }
}

function whyTaken(route: RoutePlan, before: GatewayRequest, after: GatewayRequest): string {
  const parts = [route.path === undefined ? 'every path' : `the path ${fromByteString(before.pathInfo)} is ${listed(route.path)}`]
  if (route.method !== undefined) parts.push(`the method ${before.method} is ${listed(route.method)}`)
  if (after.scriptName !== before.scriptName) parts.push(`mounted at ${fromByteString(after.scriptName)}`)
  if (route.tryFiles !== undefined) parts.push(`a file of "${route.application ?? ''}"`)
  if (after.pathInfo !== before.pathInfo && (route.rewrite !== undefined || route.tryFiles !== undefined)) {
    parts.push(`the path becomes ${fromByteString(after.pathInfo)}`)
  }
  return parts.join('; ')
}
