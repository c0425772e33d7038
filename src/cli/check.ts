// `viaduct check`: whether a configuration or a folder can be served, and what it is made of.

import { readFileSync } from 'node:fs'
import { userInfo } from 'node:os'
import { ConfigError, certificateWarnings, dateOf } from '../config/index.ts'
import type { ListenerPlan, Loaded, PlanEntry, RoutePlan } from '../config/index.ts'
import { describeListen } from '../runtime/index.ts'
import type { Parsed } from './arguments.ts'
import { choose } from './chosen.ts'
import { coloursOf } from './colours.ts'
import type { Colours } from './colours.ts'
import { remedies, table } from './table.ts'

/** Exit code 0: it can be served and nothing is missing; 1: it cannot, or something is missing. */
export async function check(parsed: Parsed): Promise<number> {
  const json = parsed.values.has('json')
  try {
    const loaded = await choose(parsed, parsed.rest)
    const found = inspect(loaded)
    process.stdout.write(
      json ? `${JSON.stringify(asJson(loaded, found), undefined, 2)}\n` : `${shown(loaded, found, coloursOf(process.stdout))}\n`,
    )
    return found.missing.length === 0 ? 0 : 1
  } catch (error) {
    if (!(error instanceof ConfigError)) throw error
    if (json) process.stdout.write(`${JSON.stringify({ ok: false, file: error.file, problems: error.problems }, undefined, 2)}\n`)
    else process.stderr.write(`viaduct: ${error.message}\n`)
    return 1
  }
}

interface Found {
  readonly entries: readonly PlanEntry[]
  readonly missing: readonly PlanEntry[]
  /** What works, and is probably not meant. */
  readonly warnings: readonly string[]
  readonly user: string
}

function inspect({ plan }: Loaded): Found {
  const entries = Object.entries(plan.applications).flatMap(([name, { entries: own }]) =>
    own.map((entry) => ({ ...entry, path: `${name}: ${entry.path}` })),
  )
  const used = new Set(plan.sites.flatMap(({ routes }) => routes.map(({ application }) => application)))
  const unused = Object.keys(plan.applications).filter((name) => !used.has(name))
  const warnings = unused.map((name) => `applications.${name}: no route leads to it`)
  for (const { at, routes } of plan.sites) {
    const last = routes.findIndex(takesAll)
    if (last !== -1 && last < routes.length - 1) warnings.push(`${at}.routes[${last}] answers everything: those after it are never asked`)
  }
  const least = leastPort()
  for (const [i, { listen, tls }] of plan.listeners.entries()) {
    if ('port' in listen && listen.port > 0 && listen.port < least)
      warnings.push(`listening on ${describeListen(listen)} needs root, or the capability CAP_NET_BIND_SERVICE`)
    if (tls !== undefined) warnings.push(...certificateWarnings(tls, Date.now()).map((each) => `listeners[${i}].tls: ${each}`))
  }
  return { entries, missing: entries.filter((entry) => entry.missing !== undefined), warnings, user: userName() }
}

/** The lowest port that this user may listen on. */
function leastPort(): number {
  try {
    // Of root's capabilities, the tenth.
    const capabilities = BigInt(`0x${/^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'latin1'))![1]!}`)
    if (((capabilities >> 10n) & 1n) === 1n) return 0
    return Number(readFileSync('/proc/sys/net/ipv4/ip_unprivileged_port_start', 'latin1'))
  } catch {
    return process.getuid?.() === 0 ? 0 : 1024
  }
}

function takesAll({ path, method, tryFiles, application, redirect, respond, rewrite }: RoutePlan): boolean {
  const answers = application !== undefined || redirect !== undefined || respond !== undefined
  return answers && method === undefined && tryFiles === undefined && rewrite === undefined && (path === undefined || path === '/*')
}

function userName(): string {
  try {
    return userInfo().username
  } catch {
    // Containers run as numbers that have no name.
    return String(process.getuid?.() ?? '')
  }
}

/** What a route does, in a few words. */
function routeText({ path, method, tryFiles, rewrite, application, redirect, respond }: RoutePlan): string {
  const where = path === undefined ? 'every path' : typeof path === 'string' ? path : path.join(', ')
  const parts = [method === undefined ? where : `${typeof method === 'string' ? method : method.join(', ')} ${where}`]
  if (tryFiles !== undefined) parts.push(`if ${tryFiles.join(' or ')} is there`)
  if (rewrite !== undefined) parts.push(`as ${rewrite}`)
  if (application !== undefined) parts.push(`-> ${application}`)
  if (redirect !== undefined) parts.push(`-> redirect to ${typeof redirect === 'string' ? redirect : redirect.to}`)
  if (respond !== undefined) parts.push(`-> status ${typeof respond === 'number' ? respond : (respond.status ?? 200)}`)
  return parts.join(' ')
}

function listenerLines({ listen, protocol, tls, redirect }: ListenerPlan, all: readonly ListenerPlan[]): string[] {
  const where = `  ${describeListen(listen)}  `
  if (redirect !== undefined)
    return [`${where}http -> https at ${'port' in redirect ? `port ${redirect.port}` : describeListen(all[redirect.listener]!.listen)}`]
  if (tls === undefined) return [where + protocol]
  const certificates = tls.certificates.map(
    ({ cert, names, facts }) => `    ${cert} for ${(names ?? facts.names).join(', ')}, until ${dateOf(facts.until)}`,
  )
  return [
    `${where}https, ${tls.http2 === false ? 'HTTP/1.1' : 'HTTP/2 and HTTP/1.1'}, from ${(tls.minVersion ?? 'TLSv1.2').replace('v', ' ')} on`,
    ...certificates,
  ]
}

function shown({ file, config, plan }: Loaded, { entries, missing, warnings, user }: Found, c: Colours): string {
  const blocks = [
    `${c.bold(nameOf(file, config))}: ${missing.length === 0 ? c.green('no mistake found') : c.yellow('something is missing')}`,
  ]
  blocks.push(`${c.bold('Listeners')}\n${plan.listeners.flatMap((each) => listenerLines(each, plan.listeners)).join('\n')}`)
  const sites = plan.sites.map(
    ({ hosts, routes }) =>
      `  ${c.bold(hosts === undefined ? 'every other host' : hosts.join(', '))}\n${routes.map((each) => `    ${routeText(each)}`).join('\n')}`,
  )
  blocks.push(`${c.bold('Sites')}\n${sites.join('\n')}`)
  blocks.push(`${c.bold('Applications')}\n${table(entries, c)}`)
  blocks.push(remedies(entries, c))
  if (warnings.length > 0) blocks.push(`${c.yellow('Look at')}\n${warnings.map((each) => `  ${each}`).join('\n')}`)
  blocks.push(c.dim(`  Programs would run as ${user}`))
  return blocks.filter((block) => block !== '').join('\n\n')
}

/** Of a folder there is no file. */
function nameOf(file: string, config: Loaded['config']): string {
  const site = config.applications['site']
  return file.endsWith('/the folder') && site?.kind === 'folder' ? site.root : file
}

function asJson({ file, config, plan }: Loaded, { missing, warnings, user }: Found): object {
  return {
    ok: missing.length === 0,
    file: nameOf(file, config),
    problems: missing.map(({ path, missing: lack }) => ({
      at: path,
      message: `${lack!.what} is missing`,
      why: lack!.why,
      command: lack!.command,
    })),
    warnings,
    user,
    listeners: plan.listeners.map(({ listen, protocol, tls, redirect }) => ({
      listen: describeListen(listen),
      protocol,
      ...(tls !== undefined && {
        certificates: tls.certificates.map(({ cert, names, facts }) => ({
          cert,
          names: names ?? facts.names,
          until: new Date(facts.until).toISOString(),
        })),
      }),
      ...(redirect !== undefined && { redirect: 'https' }),
    })),
    sites: plan.sites.map(({ hosts, routes }) => ({ hosts, routes: routes.map(routeText) })),
    applications: Object.fromEntries(Object.entries(plan.applications).map(([name, { kind, entries }]) => [name, { kind, entries }])),
  }
}
