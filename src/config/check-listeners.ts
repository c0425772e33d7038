// What a schema cannot see of listeners: addresses that can be had, certificates that can be used, members that go together.

import { isIP } from 'node:net'
import { describeListen } from '../runtime/index.ts'
import { readListen } from './listen.ts'
import { mistake, pathText } from './problems.ts'
import { checkTls } from './tls.ts'
import type { ListenSpec } from '../runtime/index.ts'
import type { Listener } from './config.ts'
import type { ListenerPlan } from './plan.ts'
import type { Path, Problem } from './problems.ts'

interface Scope {
  /** What relative paths begin at. */
  readonly folder: string
  /** Whether the schema has nothing to say about what is there. */
  readonly valid: (path: Path) => boolean
  readonly tell: (problem: Problem) => void
  /** Tells where the folder of a file that will be made is not there. */
  readonly place: (at: Path, given: string) => void
}

interface Known {
  readonly at: Path
  readonly listener: Listener
  readonly plan: ListenerPlan
}

/** The listeners in the order of the file; whole only where nothing was told. */
export function checkListeners(given: readonly (string | Listener)[], scope: Scope): ListenerPlan[] {
  const seen = new Map<string, string>()
  const known: Known[] = []
  for (const [i, each] of given.entries()) {
    const at: Path = ['listeners', i]
    if (!scope.valid(at)) continue
    const listener = typeof each === 'string' ? { listen: each } : each
    const listen = checkAddress(listener, typeof each === 'string' ? at : [...at, 'listen'], seen, scope)
    if (listen !== undefined) known.push({ at, listener, plan: checkListener(listener, listen, at, scope) })
  }
  if (given.length === 0 && scope.valid(['listeners'])) scope.tell(mistake(['listeners'], 'at least one address', 'none'))
  const secured = given.some((each) => typeof each === 'object' && each !== null && each.tls !== undefined)
  return known.map((each) => withRedirect(each, known, secured, scope.tell))
}

function checkAddress(listener: Listener, at: Path, seen: Map<string, string>, { folder, tell, place }: Scope): ListenSpec | undefined {
  const listen = readListen(listener.listen, folder, listener.mode)
  if (listen === undefined) {
    const hint = listener.listen.startsWith('/') ? `unix:${listener.listen}` : undefined
    tell(mistake(at, 'an address: HOST:PORT, PORT, :PORT (every address) or unix:/path', JSON.stringify(listener.listen), hint))
    return undefined
  }
  const name = describeListen(listen)
  const before = seen.get(name)
  if (before !== undefined && !('port' in listen && listen.port === 0))
    tell(mistake(at, 'an address that no other listener has', `${name}, which is ${before}`))
  seen.set(name, pathText(at.slice(0, 2)))
  if ('path' in listen) place(at, listen.path)
  return listen
}

function checkListener(listener: Listener, listen: ListenSpec, at: Path, { folder, tell }: Scope): ListenerPlan {
  const { protocol = 'http', allow, tls, mode, backlog } = listener
  if (mode !== undefined && !('path' in listen)) tell(mistake([...at, 'mode'], 'a unix socket beside it', describeListen(listen)))
  if (allow !== undefined && protocol !== 'fastcgi') tell(mistake([...at, 'allow'], '"protocol": "fastcgi" beside it', protocol))
  for (const [i, each] of (allow ?? []).entries())
    if (isIP(each) === 0) tell(mistake([...at, 'allow', i], 'an IP address', JSON.stringify(each)))
  if (tls !== undefined && protocol !== 'http') tell(mistake([...at, 'tls'], '"protocol": "http" beside it', protocol))
  if (tls !== undefined && 'path' in listen) tell(mistake([...at, 'tls'], 'a host and port beside it', describeListen(listen)))
  return {
    listen,
    protocol,
    ...(backlog !== undefined && { backlog }),
    ...(allow !== undefined && { allow }),
    ...(tls !== undefined && { tls: checkTls(tls, [...at, 'tls'], folder, tell) }),
  }
}

/** `https` alone leads to the listener with TLS at the same host, else to the first one. */
function withRedirect({ at, listener, plan }: Known, known: readonly Known[], secured: boolean, tell: Scope['tell']): ListenerPlan {
  if (listener.redirect === undefined) return plan
  const where: Path = [...at, 'redirect']
  const { listen, protocol, tls } = plan
  if (protocol !== 'http' || tls !== undefined)
    tell(mistake(where, 'a listener of plain HTTP', tls === undefined ? protocol : 'one with "tls"'))
  const text = listener.redirect.slice('https:'.length)
  if (text !== '') {
    const port = Number(text)
    if (port === 0 || port > 65_535) tell(mistake(where, 'a port from 1 to 65535', text))
    return { ...plan, redirect: { port } }
  }
  if (!secured) tell(mistake(where, 'a listener with "tls" to lead to, or a port ("https:443")', 'neither'))
  const host = 'host' in listen ? listen.host : undefined
  const found = known.findIndex((each) => each.plan.tls !== undefined && 'host' in each.plan.listen && each.plan.listen.host === host)
  const target = found === -1 ? known.findIndex((each) => each.plan.tls !== undefined) : found
  return { ...plan, redirect: { listener: target } }
}
