// Where the status of a server is: said on the command line, or found in its configuration. Pure, but for the folder's configuration.

import type { ListenerPlan, RoutePlan, ServerPlan } from '../config/index.ts'
import { UsageError } from './arguments.ts'

/** What is asked. */
export interface StatusPlace {
  readonly to: { readonly path: string } | { readonly host: string; readonly port: number }
  readonly tls: boolean
  /** The Host field. */
  readonly host: string
  /** With its slash, without a query. */
  readonly path: string
}

/** `http://127.0.0.1:8080/status`, `127.0.0.1:8080`, `unix:/run/site.sock`, `unix:/run/site.sock:/status`. Throws UsageError. */
export function parsePlace(text: string, fallback: string): StatusPlace {
  if (text.startsWith('unix:')) {
    const match = /^unix:(\/[^:]*)(?::(\/.*))?$/.exec(text)
    if (match === null) throw new UsageError(`${text}: expected unix:/path/of/socket, or unix:/path/of/socket:/status`)
    return { to: { path: match[1]! }, tls: false, host: 'localhost', path: match[2] ?? fallback }
  }
  const whole = text.includes('://') ? text : `http://${text}`
  const url = URL.canParse(whole) ? new URL(whole) : undefined
  if (url === undefined || !['http:', 'https:'].includes(url.protocol))
    throw new UsageError(`${text}: expected a URL such as http://127.0.0.1:8080${fallback}, or unix:/path/of/socket`)
  const tls = url.protocol === 'https:'
  const port = url.port === '' ? (tls ? 443 : 80) : Number(url.port)
  const path = url.pathname === '/' && !text.endsWith('/') ? fallback : url.pathname
  return { to: { host: url.hostname.replace(/^\[(.*)\]$/, '$1'), port }, tls, host: url.host, path }
}

/** The first route that leads to a status, by the first listener of HTTP; a text is the reason why there is none. */
export function placeIn({ applications, sites, listeners }: ServerPlan): StatusPlace | string {
  const names = Object.keys(applications).filter((name) => applications[name]!.kind === 'status')
  if (names.length === 0)
    return 'it has no application of kind "status"; add one, and a route to it: { "path": "/status", "application": "status" }'
  const listener = listeners.find((each) => each.protocol === 'http' && each.redirect === undefined && reachable(each))
  if (listener === undefined) return 'it has no listener of HTTP with a fixed port; give the URL: viaduct status URL'
  for (const { hosts = ['localhost'], routes } of sites) {
    const host = hosts.find((each) => !each.startsWith('*.'))
    const path = routes.flatMap((each) => (names.includes(each.application ?? '') ? fixedPaths(each) : []))[0]
    if (host === undefined || path === undefined) continue
    const { listen, tls } = listener
    const to = 'path' in listen ? { path: listen.path } : { host: local(listen.host), port: listen.port }
    return { to, tls: tls !== undefined, host, path }
  }
  return 'no route with a fixed path leads to its status; give the URL: viaduct status URL'
}

function reachable({ listen }: ListenerPlan): boolean {
  return 'path' in listen || listen.port > 0
}

/** Of `/status` itself, and of `/status/*` its folder. */
function fixedPaths({ path }: RoutePlan): string[] {
  const all = path === undefined ? [] : typeof path === 'string' ? [path] : path
  return all.map((each) => each.replace(/\/\*$/, '/')).filter((each) => each.startsWith('/') && !/[*:]/.test(each))
}

/** Of every address, ours. */
function local(host: string): string {
  return host === '::' ? '::1' : host === '*' || host === '0.0.0.0' ? '127.0.0.1' : host
}
