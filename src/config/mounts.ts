// Applications that were found in a folder, each at its place.

import { fromByteString, shift } from '../core/index.ts'
import { toFolder } from '../static/index.ts'
import { tellMissing } from './interpreter.ts'
import { isBelow } from './locate.ts'
import { buildNode } from './node-app.ts'
import { buildWsgi, wsgiVariables } from './wsgi.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse } from '../core/index.ts'
import type { BuildScope, Explained } from './kinds/kind.ts'
import type { NodePlan } from './node-app.ts'
import type { WsgiPlan } from './wsgi.ts'

export type MountPlan = {
  /** The folder under the root, without a slash at the end; empty for all of it. */
  readonly path: ByteString
} & (
  | {
      readonly kind: 'wsgi'
      readonly plan: WsgiPlan
      /** Started with the server; else with its first request. */
      readonly now: boolean
    }
  | { readonly kind: 'node'; readonly plan: NodePlan }
)

/** The one that a path belongs to. No mount lies below another. */
export function mountAt<Mount extends { readonly path: ByteString }>(mounts: readonly Mount[], path: ByteString): Mount | undefined {
  for (const mount of mounts) if (isBelow(path, mount.path)) return mount
  return undefined
}

/** Answers what belongs to it; the site has found that it does. */
export interface Mounted {
  readonly path: ByteString
  readonly application: Backend
}

export function buildMounts(mounts: readonly MountPlan[], scope: BuildScope): Mounted[] {
  return mounts.map((mount) => {
    const { path } = mount
    const name = fileOf(mount)
    const application = mount.kind === 'wsgi' ? buildWsgi(mount.plan, scope, name, mount.now) : buildNode(mount.plan, scope, name)
    return { path, application }
  })
}

/** The application sees what is below its folder, which it is asked for with its slash: relative links would mean something else without. */
export function enter({ path, application }: Mounted, request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
  if (request.pathInfo === path) return toFolder(request)
  return (application as Application)(path === '' ? request : shift(request, path))
}

/** What it would be asked. */
export function explainMount(mount: MountPlan, request: GatewayRequest): Explained {
  const { path } = mount
  if (request.pathInfo === path)
    return {
      what: 'a redirect to the same path with a slash at the end',
      why: [`${fromByteString(path) || '/'} is the folder of an application`],
    }
  const asked = path === '' ? request : shift(request, path)
  const why = [`${fromByteString(path)}/ and all below it belongs to the application that is in it`]
  if (mount.kind === 'node') return { what: 'a JavaScript application, in the process that serves', program: mount.plan.file, why }
  const lacks = 'missing' in mount.plan ? { problem: tellMissing(mount.plan.missing) } : {}
  return {
    what: 'a Python application, in a worker of its pool',
    program: mount.plan.app,
    why,
    variables: wsgiVariables(mount.plan, asked),
    ...lacks,
  }
}

/** As the site calls it: `/shop/app.py`. */
function fileOf({ path, kind, plan }: MountPlan): string {
  const file = kind === 'wsgi' ? plan.app : plan.file
  return `${fromByteString(path)}/${file.slice(file.lastIndexOf('/') + 1)}`
}
