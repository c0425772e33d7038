// From a plan to what serves: one application made of all its sites. The one place where plans become backends.

import { GatewayError, backend, compose, isBackend, poolsOf, text, toByteString } from '../core/index.ts'
import {
  accessLog,
  bodyLimit,
  compilePattern,
  compileRedirect,
  compileRewrite,
  compileTemplate,
  errorPage,
  forwarded,
  hosts,
  internal,
  router,
  xSendfile,
} from '../middleware/index.ts'
import { redirectToHttps } from '../http/index.ts'
import { authorizer, filter } from '../fastcgi/index.ts'
import { openSpawner } from '../process/index.ts'
import { Files, Root } from '../static/index.ts'
import { fileProbe } from './file-probe.ts'
import { kindNamed } from './kinds/index.ts'
import { folder } from './kinds/folder.ts'
import type { CgiLimits } from '../cgi/index.ts'
import type { Application, Backend, GatewayResponse, Log, Middleware, PoolStatus } from '../core/index.ts'
import type { AccessRecord, Exists, InternalFiles, RouteRule } from '../middleware/index.ts'
import type { PhpLimits } from '../php/index.ts'
import type { Guard, Spawner } from '../process/index.ts'
import type { Route } from './config.ts'
import type { SitePlan } from './describe.ts'
import type { BuildScope } from './kinds/kind.ts'
import type { Down } from './mending.ts'
import type { ApplicationPlan, HostPlan, RoutePlan, ServerPlan } from './plan.ts'

/** What a server gets from the process it lives in. */
export interface SiteContext {
  /** Where what is built writes to. */
  readonly log: Log
  /** Hears of each request at its end. */
  readonly access?: (record: AccessRecord) => void
  /** Kills the workers should this process vanish. Default: one of each pool's own. */
  readonly guard?: Guard
  /** Starts programs; asked for when the first program is to run. Default: one for all applications. */
  readonly spawner?: () => Spawner
  /** What does not come up is a reason for all not to: `ready` rejects. Default: it costs its own requests, and everything else is served. */
  readonly strict?: boolean
  /** Names of applications that `strict` is not for: they were down before, too. */
  readonly excused?: ReadonlySet<string>
  /** Hears which applications are down. */
  readonly down?: Down
  /** In place of the defaults, one by one: for tests and measurements. */
  readonly limits?: { readonly php?: Partial<PhpLimits>; readonly cgi?: Partial<CgiLimits> }
}

/** A folder as one backend, as `viaduct serve FOLDER` serves it. Rejects with CONFIG when it is gone. */
export async function buildSite(plan: SitePlan, context: SiteContext): Promise<Backend> {
  return compose(folder.build(plan, scopeOf('php', context)), ...outer(context, plan.settings.maxBody ?? 0), internal())
}

/** A server that was built. */
export interface BuiltServer extends Backend {
  /** The same behind a listener of plain HTTP that sends its clients to https at this port. */
  redirecting(port: number): Application
}

/** The whole server as one backend, which closes what it starts. Rejects with CONFIG when a folder or a secret has gone meanwhile. */
export async function buildServer(plan: ServerPlan, context: SiteContext): Promise<BuiltServer> {
  const spawner = context.spawner === undefined ? sharedSpawner(context.log) : undefined
  const applications = new Map<string, Application>()
  const pools = (): PoolStatus[] =>
    [...applications].flatMap(([name, application]) => poolsOf([application]).map((each) => ({ application: name, ...each })))
  const server = { pools, hosts: plan.sites.flatMap(({ hosts: names = [] }) => names) }
  const shared = { ...context, server, ...(spawner !== undefined && { spawner: spawner.get }) }
  for (const [name, application] of Object.entries(plan.applications)) {
    applications.set(name, buildApplication(name, application, shared))
  }
  const sites = plan.sites.map((site) => ({ ...site, application: buildHost(site, plan, applications) }))
  const [only] = sites
  const all = only !== undefined && sites.length === 1 && only.hosts === undefined ? only.application : hosts(sites)
  const owners = [...applications.values()].filter(isBackend)
  const owned = backend(all, {
    ready: async () => {
      await Promise.all(owners.map((each) => each.ready()))
    },
    close: async (grace) => {
      const results = await Promise.allSettled(owners.map((each) => each.close(grace)))
      await spawner?.close()
      const failed = results.find((result) => result.status === 'rejected')
      if (failed !== undefined) throw failed.reason
    },
    pools,
  })
  const { trustedProxies } = plan
  // Proxies first: the access log should name the client, and who came by https is not sent there.
  const around = [...(trustedProxies === undefined ? [] : [forwarded(trustedProxies)]), ...outer(context, plan.maxBody)]
  return Object.assign(compose(owned, ...around), {
    redirecting: (port: number) => compose(redirectToHttps({ port, application: owned }), ...around),
  })
}

/** What stands around everything, from the outside in. */
function outer({ access, log }: SiteContext, maxBody: number): Middleware[] {
  return [...(access === undefined ? [] : [accessLog(access)]), errorPage({ log }), ...(maxBody === 0 ? [] : [bodyLimit(maxBody)])]
}

/** One for all applications, started with the first program. */
function sharedSpawner(log: Log): { get(): Spawner; close(): Promise<void> } {
  let spawner: Spawner | undefined
  return {
    get: () => (spawner ??= openSpawner({ log })),
    close: async () => {
      await spawner?.close()
    },
  }
}

/** With what an application may know of the others. */
type Shared = SiteContext & Pick<BuildScope, 'server'>

function scopeOf(name: string, { log, guard, spawner, strict, excused, down, limits, server }: Shared): BuildScope {
  return {
    name,
    log,
    ...(guard !== undefined && { guard }),
    ...(spawner !== undefined && { spawner }),
    ...(strict !== undefined && { strict }),
    ...(excused !== undefined && { excused }),
    ...(down !== undefined && { down }),
    ...(limits !== undefined && { limits }),
    ...(server !== undefined && { server }),
  }
}

function buildApplication(name: string, { kind, plan, sendfile }: ApplicationPlan, context: Shared): Application {
  const known = kindNamed(kind)
  if (known === undefined) throw new GatewayError('CONFIG', { status: 500, message: `config: there is no kind of application "${kind}"` })
  const application = known.build(plan, scopeOf(name, context))
  return sendfile.length === 0 ? application : compose(application, xSendfile(filesIn(sendfile)))
}

/** Folders that files are sent from, by the name that is configured and by their real one. */
function filesIn(roots: readonly string[]): InternalFiles {
  const byRoot = new Map<string, Files>()
  for (const root of roots) {
    const files = new Files({ root })
    byRoot.set(toByteString(root.replace(/\/+$/, '')), files)
    byRoot.set(files.root.path, files)
  }
  return { roots: [...byRoot.keys()], send: (request, root, file) => byRoot.get(root)!.serve(request, file.slice(root.length)) }
}

function buildHost(site: HostPlan, plan: ServerPlan, applications: ReadonlyMap<string, Application>): Application {
  const rules = site.routes.map((route) => ruleOf(route, plan, applications))
  const [first] = rules
  // A folder and nothing else: nobody has to be asked who answers.
  const simple = rules.length === 1 && first?.answer !== undefined && Object.keys(first).every((key) => key === 'answer' || key === 'mount')
  return internal()(simple ? (first.answer as Application) : router(rules))
}

/** What `router` and `explain` make of a route. */
export function ruleOf(route: RoutePlan, plan: ServerPlan, applications: ReadonlyMap<string, Application>): RouteRule {
  const answer = answerOf(route, applications)
  const { path, method, rewrite, tryFiles } = route
  return {
    ...(path !== undefined && { paths: (typeof path === 'string' ? [path] : path).map(compilePattern) }),
    ...(method !== undefined && { methods: typeof method === 'string' ? [method] : method }),
    ...(rewrite !== undefined && { rewrite: compileRewrite(rewrite) }),
    ...(tryFiles !== undefined && {
      tryFiles: { candidates: tryFiles.map(compileTemplate), exists: existsIn(plan.applications[route.application ?? '']!) },
    }),
    mount: route.application !== undefined && route.mount !== false,
    ...(answer !== undefined && { answer }),
  }
}

function existsIn({ kind, plan }: ApplicationPlan): Exists {
  const files = kindNamed(kind)?.files?.(plan)
  if (files === undefined) return () => Promise.resolve(false)
  return fileProbe(new Root(files.root, files.symlinks), files.accepts)
}

function answerOf(route: Route, applications: ReadonlyMap<string, Application>): RouteRule['answer'] {
  if (route.application !== undefined) {
    const around: Middleware[] = []
    // From the outside in: who may not see a file does not see it filtered.
    if (route.authorizer !== undefined) around.push(authorizer(applications.get(route.authorizer)!))
    if (route.filter !== undefined) around.push(filter(applications.get(route.filter)!))
    const application = applications.get(route.application)!
    return around.length === 0 ? application : compose(application, ...around)
  }
  if (route.redirect !== undefined) {
    const { redirect } = route
    return typeof redirect === 'string' ? compileRedirect(redirect, 302) : compileRedirect(redirect.to, redirect.status ?? 302)
  }
  return route.respond === undefined ? undefined : fixed(route.respond)
}

/** A bare status gets the page of the server. */
function fixed(respond: NonNullable<Route['respond']>): Application {
  if (typeof respond === 'number') return () => ({ status: respond, headers: [], body: null })
  const { status = 200, headers = {}, body = '' } = respond
  const list = Object.entries(headers).flatMap(([name, value]) => [name, toByteString(value)])
  const typed = list.some((name, i) => i % 2 === 0 && name.toLowerCase() === 'content-type')
  const made: GatewayResponse = typed ? { status, headers: list, body } : text(status, body, list)
  const bare: GatewayResponse = { ...made, body: null }
  return (request) => (request.method === 'HEAD' || status === 204 || status === 304 ? bare : made)
}
