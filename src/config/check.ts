// From what a configuration file holds to a plan of the server, or to every mistake in it.
//
// The schema sees each value by itself; what it has nothing to say about is looked at further: names that must exist, files,
// folders, programs, secrets. Both kinds of mistakes come in one report.

import { dirname, resolve } from 'node:path'
import { GatewayError, describe, isNetwork } from '../core/index.ts'
import { checkListeners } from './check-listeners.ts'
import { checkSites } from './check-routes.ts'
import { DEFAULT_PATH } from './describe.ts'
import { kindNamed } from './kinds/index.ts'
import { fromIssues, mistake, pathText } from './problems.ts'
import { HTTP_LIMITS, jsonSchema, schema } from './schema.ts'
import { describeScope, faultOfFolder } from './scope.ts'
import { milliseconds } from './values.ts'
import type { Config } from './config.ts'
import type { ApplicationPlan, HostPlan, ListenerPlan, LogPlan, RoutePlan, ServerPlan } from './plan.ts'
import type { Path, Problem, SchemaNode } from './problems.ts'

/** Where a configuration stands. */
export interface CheckOptions {
  /** What relative paths begin at: the folder of the file. */
  readonly folder: string
  /** Where programs are looked for. Default: PATH of this process. */
  readonly path?: string
  /** The schema has nothing to say about it: it was asked before, or the configuration is our own. Default false. */
  readonly known?: boolean
}

/** A plan, or everything that keeps it from being one. */
export type Checked = { readonly plan: ServerPlan } | { readonly problems: readonly Problem[] }

/** Looks at files, runs php-cgi for its version, and starts nothing. Never rejects for what is in the configuration. */
export async function checkConfig(value: unknown, options: CheckOptions): Promise<Checked> {
  const problems: Problem[] = []
  const tell = (problem: Problem): void => void problems.push(problem)
  const issues = options.known === true ? [] : (schema().safeParse(value).error?.issues ?? [])
  if (issues.length > 0) problems.push(...fromIssues(issues, value, jsonSchema() as SchemaNode))
  // Where the schema found something, nothing at, above or below it is looked at: a value is not of the type it should be.
  // Names that do not exist are told, and else ignored.
  const faulty = issues.filter((issue) => issue.code !== 'unrecognized_keys').map((issue) => issue.path as Path)
  const valid = (path: Path): boolean => !faulty.some((each) => each.slice(0, path.length).every((part, i) => part === path[i]))
  const checker = new Checker((typeof value === 'object' && value !== null ? value : {}) as Config, options, valid, tell)
  const plan = await checker.plan()
  return problems.length === 0 ? { plan } : { problems: inOrder(problems, value) }
}

/** In the order of the file, as far as what they are about is in it. */
function inOrder(problems: readonly Problem[], value: unknown): Problem[] {
  const order = new Map<string, number>()
  const note = (each: unknown, path: Path): void => {
    order.set(pathText(path), order.size)
    if (typeof each !== 'object' || each === null || path.length > DEPTH) return
    for (const [key, member] of Object.entries(each)) note(member, [...path, Array.isArray(each) ? Number(key) : key])
  }
  note(value, [])
  const rank = ({ at }: Problem): number => {
    // What is missing stands where it would be.
    for (let end = at; end !== ''; end = end.slice(0, Math.max(end.lastIndexOf('.'), end.lastIndexOf('['), 0))) {
      const found = order.get(end)
      if (found !== undefined) return found
    }
    return 0
  }
  return problems.toSorted((a, b) => rank(a) - rank(b))
}

/** An object from a module may hold itself. */
const DEPTH = 12

class Checker {
  readonly #config: Config
  readonly #options: CheckOptions
  readonly #valid: (path: Path) => boolean
  readonly #tell: (problem: Problem) => void

  constructor(config: Config, options: CheckOptions, valid: (path: Path) => boolean, tell: (problem: Problem) => void) {
    this.#config = config
    this.#options = options
    this.#valid = valid
    this.#tell = tell
  }

  /** Whole only where nothing was told. */
  async plan(): Promise<ServerPlan> {
    const { trustedProxies, pidFile, grace = '30s', limits } = this.#config
    const listeners = this.#listeners()
    const applications = await this.#applications()
    const sites = this.#sites()
    this.#proxies()
    const read = this.#valid(['limits']) ? HTTP_LIMITS.read(limits) : {}
    const { body = 0, ...http } = read
    return {
      listeners,
      applications,
      sites,
      limits: http,
      maxBody: body,
      logs: this.#logs(),
      grace: this.#valid(['grace']) ? milliseconds(grace) : 0,
      ...(trustedProxies !== undefined && { trustedProxies }),
      ...(pidFile !== undefined && this.#valid(['pidFile']) && { pidFile: this.#place(['pidFile'], pidFile) }),
    }
  }

  #listeners(): ListenerPlan[] {
    const { listeners = ['127.0.0.1:8080'] } = this.#config
    if (!Array.isArray(listeners)) return []
    const place = (at: Path, given: string): void => void this.#place(at, given)
    return checkListeners(listeners, { folder: this.#options.folder, valid: this.#valid, tell: this.#tell, place })
  }

  async #applications(): Promise<Record<string, ApplicationPlan>> {
    const out: Record<string, ApplicationPlan> = {}
    const { applications } = this.#config
    if (typeof applications !== 'object' || applications === null) return out
    for (const [name, settings] of Object.entries(applications)) {
      const at: Path = ['applications', name]
      if (!/^[A-Za-z0-9][\w.-]{0,63}$/.test(name)) {
        this.#tell(mistake(at, 'a name of letters, digits, "-", "_" and "."', JSON.stringify(name)))
      } else if (this.#valid(at)) {
        const made = await this.#application(name, pathText(at), settings)
        if (made !== undefined) out[name] = made
      } else await this.#rest(name, at, settings)
    }
    return out
  }

  /** What is left of an application without what the schema told of, as far as that alone means something: for more mistakes. */
  async #rest(name: string, at: Path, settings: unknown): Promise<void> {
    if (typeof settings !== 'object' || settings === null) return
    const rest = Object.fromEntries(Object.entries(settings).filter(([member]) => this.#valid([...at, member])))
    const issues = kindNamed(String(rest['kind']))?.schema().safeParse(rest).error?.issues ?? []
    if (rest['kind'] === undefined || issues.some((issue) => issue.code !== 'unrecognized_keys')) return
    // Of a member that is there: others may only seem to be missing.
    const places = Object.keys(rest).map((member) => pathText([...at, member]))
    const isIts = (place: string): boolean =>
      places.some((each) => place === each || place.startsWith(`${each}.`) || place.startsWith(`${each}[`))
    await this.#application(name, pathText(at), rest as Config['applications'][string], (problem) => {
      if (isIts(problem.at)) this.#tell(problem)
    })
  }

  async #application(
    name: string,
    at: string,
    settings: Config['applications'][string],
    report: (problem: Problem) => void = this.#tell,
  ): Promise<ApplicationPlan | undefined> {
    let told = 0
    const tell = (problem: Problem): void => {
      told++
      report(problem)
    }
    const { folder, path = process.env['PATH'] ?? DEFAULT_PATH } = this.#options
    const scope = describeScope({ name, at, folder, path }, tell)
    const { sendfile = [], ...own } = settings
    const roots = sendfile.map((each, i) => scope.folder(`sendfile[${i}]`, each))
    try {
      const { plan, entries } = await kindNamed(settings.kind)!.describe(own, scope)
      return { kind: settings.kind, plan, entries, sendfile: roots }
    } catch (error) {
      // A folder that is not there was told already; what is left is what only the kind itself could find.
      if (told === 0) report({ at, message: describe(error) })
      if (!(error instanceof GatewayError)) throw error
      return undefined
    }
  }

  #sites(): HostPlan[] {
    const { sites, applications } = this.#config
    if (!Array.isArray(sites)) return []
    const names = typeof applications === 'object' && applications !== null ? applications : {}
    checkSites(sites, names, this.#valid, this.#tell)
    return (sites as Config['sites']).map((site, i) => {
      const at = pathText(['sites', i])
      const routes = Array.isArray(site?.routes) ? (site.routes as HostPlan['routes']) : []
      return {
        at,
        ...(site?.hosts !== undefined && { hosts: site.hosts }),
        routes: routes.map((route, j): RoutePlan => ({ ...route, at: `${at}.routes[${j}]` })),
      }
    })
  }

  #proxies(): void {
    const { trustedProxies } = this.#config
    if (trustedProxies === undefined || !this.#valid(['trustedProxies', 'from'])) return
    for (const [i, each] of trustedProxies.from.entries()) {
      if (each === 'unix' || isNetwork(each)) continue
      this.#tell(mistake(['trustedProxies', 'from', i], 'an address, a network such as "10.0.0.0/8", or "unix"', JSON.stringify(each)))
    }
  }

  #logs(): LogPlan {
    const { logs = {} } = this.#config
    if (!this.#valid(['logs'])) return { level: 'info', access: '-' }
    const { access = '-', level = 'info', format, accessFormat } = logs
    return {
      level,
      access: access === '-' || access === 'off' ? access : this.#place(['logs', 'access'], access),
      ...(format !== undefined && { format }),
      ...(accessFormat !== undefined && { accessFormat }),
    }
  }

  /** The absolute path of a file that will be made: its folder must be there. */
  #place(at: Path, given: string): string {
    const path = resolve(this.#options.folder, given)
    const why = faultOfFolder(dirname(path))
    if (why !== undefined) this.#tell(mistake(at, 'a file in a folder that is there', `${path}: of ${dirname(path)}, ${why}`))
    return path
  }
}
