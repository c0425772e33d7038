// Which application answers a request: rules, tried from the top, each once. A rewrite goes on with the rules below it and
// never starts again, so that no set of rules can go round in circles.

import { backend, derive, empty, isBackend, percentEncode, poolsOf, shift } from '../core/index.ts'
import { pathOf } from './rewrite.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { Captures, PathPattern, Template } from './pattern.ts'
import type { Rewrite } from './rewrite.ts'

/** Whether a file, or where that is asked for a folder, has this path. */
export type Exists = (path: ByteString, folder: boolean) => boolean | Promise<boolean>

/** What a request must be for this rule, and what the rule does. */
export interface RouteRule {
  /** None: every path. */
  readonly paths?: readonly PathPattern[]
  /** None: every method. GET stands for HEAD as well. */
  readonly methods?: readonly ByteString[]
  /** The rule is taken only if one of these exists, and the request gets the path of the first that does. */
  readonly tryFiles?: { readonly candidates: readonly Template[]; exists: Exists }
  /** The path from here on. */
  readonly rewrite?: Rewrite
  /** A folder pattern's base moves from `pathInfo` to `scriptName` before the rule answers. */
  readonly mount?: boolean
  /** Without it the rules below go on with the request as this one has changed it. */
  readonly answer?: Application | ((request: GatewayRequest, captures: Captures) => GatewayResponse)
}

/** Why a rule does not apply to a request. */
export type Unfit = 'path' | 'method' | 'file' | 'rewrite'

/** A rule that applies. */
export interface Fit {
  /** As the rule changes it. */
  readonly request: GatewayRequest
  /** What its pattern found. */
  readonly captures: Captures
}

const NOTHING: Captures = { base: '', rest: '', names: {} }

/** What one rule makes of a request. A Promise only where files are looked for. */
export function fit(rule: RouteRule, request: GatewayRequest): Fit | Unfit | Promise<Fit | Unfit> {
  const captures = capture(rule, request.pathInfo)
  if (captures === undefined) return 'path'
  if (rule.methods !== undefined && !allows(rule.methods, request.method)) return 'method'
  const mounted = rule.mount === true && captures.base !== '' ? shift(request, captures.base) : request
  if (rule.tryFiles === undefined) return rewritten(rule, mounted, captures)
  return firstFile(rule.tryFiles, mounted, captures).then((found) => (typeof found === 'string' ? found : rewritten(rule, found, captures)))
}

function capture({ paths }: RouteRule, path: ByteString): Captures | undefined {
  if (paths === undefined) return path.startsWith('/') ? { ...NOTHING, rest: path.slice(1) } : NOTHING
  for (const pattern of paths) {
    const captures = pattern.match(path)
    if (captures !== undefined) return captures
  }
  return undefined
}

function allows(methods: readonly ByteString[], method: ByteString): boolean {
  return methods.includes(method) || (method === 'HEAD' && methods.includes('GET'))
}

function rewritten(rule: RouteRule, request: GatewayRequest, captures: Captures): Fit | Unfit {
  if (rule.rewrite === undefined) return { request, captures }
  const changes = rule.rewrite.apply(request, captures)
  return changes === undefined ? 'rewrite' : { request: derive(request, changes), captures }
}

async function firstFile(
  { candidates, exists }: NonNullable<RouteRule['tryFiles']>,
  request: GatewayRequest,
  captures: Captures,
): Promise<GatewayRequest | Unfit> {
  for (const candidate of candidates) {
    const path = pathOf(candidate, request, captures)
    // Only a candidate that is written with a slash means a folder, not a path that happens to end in one.
    if (path === undefined || !(await exists(path, candidate.text.endsWith('/')))) continue
    return path === request.pathInfo ? request : derive(request, { pathInfo: path, rawPathInfo: percentEncode(path) })
  }
  return 'file'
}

/** The rules as one application, which closes the applications of its rules. 404 for what none fits, 405 where only the method does not. */
export function router(rules: readonly RouteRule[]): Backend {
  const owners = [
    ...new Set(rules.map((rule) => rule.answer).filter((each) => each !== undefined && isBackend(each as Application))),
  ] as Backend[]
  const walk = (request: GatewayRequest, from: number, refused: readonly ByteString[]): GatewayResponse | Promise<GatewayResponse> => {
    let current = request
    let allowed = refused
    for (let i = from; i < rules.length; i++) {
      const rule = rules[i]!
      const result = fit(rule, current)
      if (result instanceof Promise) {
        const asked = current
        const methods = allowed
        return result.then((found) => {
          if (typeof found === 'string') return walk(asked, i + 1, methods)
          return rule.answer === undefined ? walk(found.request, i + 1, methods) : rule.answer(found.request, found.captures)
        })
      }
      if (result === 'method') allowed = [...allowed, ...rule.methods!]
      if (typeof result === 'string') continue
      if (rule.answer !== undefined) return rule.answer(result.request, result.captures)
      current = result.request
    }
    return allowed.length === 0 ? empty(404) : empty(405, ['Allow', allow(allowed)])
  }
  return backend((request) => walk(request, 0, NO_METHODS), {
    ready: async () => {
      await Promise.all(owners.map((each) => each.ready()))
    },
    close: async (grace) => {
      await Promise.all(owners.map((each) => each.close(grace)))
    },
    pools: () => poolsOf(owners),
  })
}

const NO_METHODS: readonly ByteString[] = []

function allow(methods: readonly ByteString[]): string {
  return [...new Set(methods.flatMap((each) => (each === 'GET' ? ['GET', 'HEAD'] : [each])))].join(', ')
}
