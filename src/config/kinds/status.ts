// `status`: how all pools of the server are doing, for those who may know.

import { backend, isNetwork } from '../../core/index.ts'
import { statusPage } from '../../status/index.ts'
import { group, list, may, text, zod } from '../values.ts'
import type { Kind } from './kind.ts'

interface StatusSettings {
  readonly kind: 'status'
  readonly allow?: readonly string[]
}

interface StatusPlan {
  readonly allow: readonly string[]
}

const ALLOWED = 'an address, a network such as "10.0.0.0/8", or "unix"'

export const status: Kind<StatusSettings, StatusPlan> = {
  kind: 'status',
  summary:
    'How all pools of the server are doing, as text, HTML, JSON or metrics (docs/status.md). Only requests from this machine get it, and those from addresses that are listed.',
  schema: () =>
    group({
      kind: zod().literal('status'),
      allow: may(
        list(text(ALLOWED), 'a list of networks'),
        'Addresses and networks that may see it beside this machine, IPv4 and IPv6; `unix`: whoever connects by a unix socket. Behind a trusted proxy the address of the client counts.',
        [],
      ),
    }),

  describe({ allow = [] }, scope) {
    for (const [i, each] of allow.entries())
      if (each !== 'unix' && !isNetwork(each)) scope.problem(`allow[${i}]`, ALLOWED, JSON.stringify(each))
    return Promise.resolve({ plan: { allow }, entries: [{ path: 'status', kind: 'status', note: told(allow) }] })
  },

  build: ({ allow }, { server, log }) =>
    backend(
      statusPage(() => server?.pools() ?? [], { allow, log, ...(server !== undefined && { hosts: server.hosts }) }),
      {},
    ),

  explain: ({ allow }) =>
    Promise.resolve({ what: 'how all pools of the server are doing', why: [`only requests ${told(allow)} get it; others get status 403`] }),
}

function told(allow: readonly string[]): string {
  return `from ${['this machine', ...allow].join(', ')}`
}
