// The parts of one front: the plan of its configuration, what is built from it, the doors in front of that.

import { ConfigError, Down, buildServer, loadConfig, tlsOptions } from '../config/index.ts'
import type { BuiltServer, Config, Loaded, ListenerPlan, PlanEntry, ServerPlan } from '../config/index.ts'
import { GatewayError, describe } from '../core/index.ts'
import type { Address, Log, Server } from '../core/index.ts'
import { serveFastCgi } from '../fastcgi/index.ts'
import { serveHttp } from '../http/index.ts'
import { describeListen } from '../runtime/index.ts'
import type { FrontContext, FrontParts, InheritedSocket } from '../runtime/index.ts'
import { openLogs } from './log.ts'
import type { LogOptions } from './log.ts'
import { readConfig } from './read-config.ts'

/** Plain data: what the supervisor wants to be served. */
export interface FrontSpec {
  /** The configuration file, absolute; of a folder only what messages name. */
  readonly file: string
  /** In place of the file: the configuration of a folder. */
  readonly config?: Config
  /** The addresses that the supervisor opened, in their order. */
  readonly listeners: readonly string[]
  /** They were given on the command line: what the file says of listeners does not matter. */
  readonly fixed: boolean
  /** What the command line says of logs, in place of the file. */
  readonly log: Partial<LogOptions>
  /** What the last front that was ready was made of: a front that is alone falls back to it. */
  good?: Config
  /** Applications that are down where it serves: that they do not come up in the next front either is no reason against that. */
  down?: readonly string[]
}

/** What a front tells its supervisor when it serves. */
export interface FrontReport {
  readonly entries: readonly PlanEntry[]
  /** What is spoken at each address, in their order. */
  readonly protocols: readonly Protocol[]
  readonly config: Config
  /** Applications that are down, by name. */
  readonly down: readonly string[]
}

/** `redirect`: plain HTTP, and elsewhere. */
export type Protocol = 'http' | 'https' | 'redirect' | 'fastcgi'

export async function buildFront(given: unknown, context: FrontContext): Promise<FrontParts> {
  const spec = given as FrontSpec
  // Looked at by each generation: a reload finds what has been installed, added or written anew.
  const { loaded, lost } = await load(spec, context)
  const { plan } = loaded
  const logs = openLogs({ ...plan.logs, ...spec.log })
  const { log, access } = logs
  const listeners: readonly (ListenerPlan | undefined)[] = spec.fixed ? [] : plan.listeners
  if (lost !== undefined) log.error({}, `the configuration cannot be used, and the last one that could goes on: ${lost}`)
  const down = new Down(context.changed)
  const application = await buildServer(plan, {
    log,
    down,
    excused: new Set(spec.down),
    guard: context.guard,
    strict: !context.alone,
    ...(access !== undefined && { access }),
  })
  return {
    application,
    serve: (_, socket) => open({ application, plan, log, addresses: context.addresses }, socket, listeners[socket.index]),
    log,
    get report(): FrontReport {
      return {
        entries: entriesOf(plan, spec.config !== undefined),
        protocols: context.addresses.map((_, i) => protocolOf(listeners[i])),
        config: loaded.config,
        down: down.names(),
      }
    },
    reopen: logs.reopen,
    close: logs.close,
  }
}

/** `lost`: why the file could not be used, where something else is served. */
async function load(spec: FrontSpec, { alone }: FrontContext): Promise<{ loaded: Loaded; lost?: string }> {
  try {
    const loaded = await (spec.config === undefined ? readConfig(spec.file) : loadConfig(spec.file, spec.config))
    checkListeners(spec, loaded)
    return { loaded }
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    // The options of a folder are no file in which somebody would look for a mistake.
    if (spec.config !== undefined) throw error instanceof ConfigError ? plain(error) : error
    // A reload is refused, and the old front goes on. Where there is none, a file that was broken since is no reason to serve nobody.
    if (!alone || spec.good === undefined) throw error
    return { loaded: await loadConfig(spec.file, spec.good), lost: describe(error) }
  }
}

function plain(error: ConfigError): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: error.problems.map(({ message }) => message).join('; ') })
}

/** The supervisor opens sockets once: a reload that would need others is refused rather than half done. */
function checkListeners(spec: FrontSpec, { file, plan }: Loaded): void {
  const wanted = plan.listeners.map(({ listen }) => describeListen(listen))
  if (
    spec.fixed ||
    spec.config !== undefined ||
    (wanted.length === spec.listeners.length && wanted.every((each, i) => each === spec.listeners[i]))
  )
    return
  const message = `they are ${wanted.join(', ')} now, and were ${spec.listeners.join(', ')} at the start; sockets are held over a reload: stop and start to change them`
  throw new ConfigError(file, [{ at: 'listeners', message }])
}

function protocolOf(listener: ListenerPlan | undefined): Protocol {
  if (listener?.protocol === 'fastcgi') return 'fastcgi'
  if (listener?.tls !== undefined) return 'https'
  return listener?.redirect === undefined ? 'http' : 'redirect'
}

interface Served {
  readonly application: BuiltServer
  readonly plan: ServerPlan
  readonly log: Log
  readonly addresses: readonly Address[]
}

/** Without a listener of the configuration: plain HTTP. */
function open(served: Served, { fd, address }: InheritedSocket, listener: ListenerPlan | undefined): Promise<Server> {
  const { application, plan, log } = served
  const { backlog } = listener ?? {}
  const listen = { fd, ...('path' in address && { name: address.path }), ...(backlog !== undefined && { backlog }) }
  if (listener?.protocol === 'fastcgi') {
    return serveFastCgi(application, { listen, log, mount: '', ...(listener.allow !== undefined && { allow: listener.allow }) })
  }
  const { tls, redirect } = listener ?? {}
  const here = redirect === undefined ? application : application.redirecting(portOf(redirect, served.addresses))
  return serveHttp(here, { listen, log, limits: plan.limits, upgrade: true, ...(tls !== undefined && { tls: tlsOptions(tls) }) })
}

/** Of another listener, the port that it got. */
function portOf(redirect: NonNullable<ListenerPlan['redirect']>, addresses: readonly Address[]): number {
  if ('port' in redirect) return redirect.port
  const address = addresses[redirect.listener]
  return address !== undefined && 'port' in address ? address.port : 443
}

/** Of several applications each line says whose it is. */
function entriesOf({ applications }: ServerPlan, folder: boolean): PlanEntry[] {
  return Object.entries(applications).flatMap(([name, { entries }]) =>
    folder ? entries : entries.map((entry) => ({ ...entry, path: `${name}: ${entry.path}` })),
  )
}
