// What a schema cannot see of sites and routes: names that must exist, patterns and placeholders that must be understood.

import { isFieldValue, isToken, nearest, toByteString } from '../core/index.ts'
import { compilePattern, compileRewrite, compileTemplate, hostName, patternFault } from '../middleware/index.ts'
import { mistake, pathText, shown } from './problems.ts'
import type { Route, Site } from './config.ts'
import type { Path, Problem } from './problems.ts'

type Tell = (problem: Problem) => void

/** `valid`: whether the schema has nothing to say about what is there. */
export function checkSites(
  sites: readonly unknown[],
  applications: Readonly<Record<string, unknown>>,
  valid: (path: Path) => boolean,
  tell: Tell,
): void {
  const names = new Map<string, string>()
  let fallback: string | undefined
  for (const [i, each] of sites.entries()) {
    if (typeof each !== 'object' || each === null) continue
    const site = each as Site
    const at: Path = ['sites', i]
    if (site.hosts === undefined) {
      if (fallback !== undefined) tell(mistake(at, '"hosts": only one site may be without', `a second one, after ${fallback}`))
      fallback ??= pathText(at)
    } else if (valid([...at, 'hosts'])) checkHosts(site.hosts, [...at, 'hosts'], names, tell)
    if (!Array.isArray(site.routes)) continue
    for (const [j, route] of site.routes.entries()) {
      const where: Path = [...at, 'routes', j]
      if (valid(where)) checkRoute(route, where, applications, tell)
    }
  }
}

function checkHosts(hosts: readonly string[], at: Path, names: Map<string, string>, tell: Tell): void {
  for (const [i, host] of hosts.entries()) {
    const where = pathText([...at, i])
    const name = host.startsWith('*.') ? host.slice(2) : host
    if (
      !/^(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?(?:\.[A-Za-z0-9_](?:[A-Za-z0-9_-]*[A-Za-z0-9_])?)*\.?|\[[0-9A-Fa-f:.]+\])$/.test(
        name,
      )
    ) {
      tell(
        mistake(
          where,
          'a host name without port, such as "example.org" or "*.example.org" (punycode for other letters)',
          JSON.stringify(host),
        ),
      )
      continue
    }
    const before = names.get(hostName(host))
    if (before !== undefined) tell(mistake(where, 'a host that no other site has', `${JSON.stringify(host)}, which is in ${before}`))
    names.set(hostName(host), where)
  }
}

const ANSWERS = ['application', 'redirect', 'respond'] as const
const ALWAYS = ['path', 'rest', 'query', 'host', 'scheme']

function checkRoute(route: Route, at: Path, applications: Readonly<Record<string, unknown>>, tell: Tell): void {
  const given = ANSWERS.filter((each) => route[each] !== undefined)
  if (given.length > 1) tell(mistake(at, 'one answer', given.map((each) => `"${each}"`).join(' and ')))
  if (given.length === 0 && route.rewrite === undefined) {
    tell(mistake(at, 'an answer ("application", "redirect" or "respond") or a "rewrite"', 'neither'))
  }
  const patterns = checkPatterns(route, at, tell)
  for (const method of listOf(route.method)) {
    if (!isToken(method) || method !== method.toUpperCase())
      tell(mistake([...at, 'method'], 'a method in capital letters', JSON.stringify(method)))
  }
  if (route.application !== undefined) checkName(route.application, at, applications, tell)
  else {
    for (const role of ROLES) if (route[role] !== undefined) tell(mistake([...at, role], 'an "application" beside it', 'none'))
    if (route.tryFiles !== undefined) tell(mistake([...at, 'tryFiles'], 'an "application" beside it, whose files they are', 'none'))
    if (route.mount !== undefined) tell(mistake([...at, 'mount'], 'an "application" beside it', 'none'))
  }
  checkRoles(route, at, applications, tell)
  const known = [...ALWAYS, ...patterns]
  if (route.rewrite !== undefined) checkTemplate(route.rewrite, compileRewrite(route.rewrite).names, known, [...at, 'rewrite'], tell)
  for (const [i, each] of (route.tryFiles ?? []).entries())
    checkTemplate(each, compileTemplate(each).names, known, [...at, 'tryFiles', i], tell)
  if (route.redirect !== undefined) checkRedirect(route.redirect, known, at, tell)
  if (typeof route.respond === 'object') checkFields(route.respond.headers ?? {}, [...at, 'respond', 'headers'], tell)
}

const ROLES = ['authorizer', 'filter'] as const

/** Who stands before or behind an application, or answers, has to have the role for it. */
function checkRoles(route: Route, at: Path, applications: Readonly<Record<string, unknown>>, tell: Tell): void {
  for (const member of ['application', ...ROLES] as const) {
    const name = route[member]
    if (name === undefined) continue
    const { kind, role = 'responder' } = (applications[name] ?? {}) as { readonly kind?: string; readonly role?: string }
    const wanted = member === 'application' ? 'responder' : member
    if (kind === undefined) {
      if (member !== 'application') tell(mistake([...at, member], 'the name of an application', JSON.stringify(name)))
    } else if (role !== wanted || (kind !== 'fastcgi' && wanted !== 'responder')) {
      const expected = wanted === 'responder' ? 'an application that answers' : `an application of kind "fastcgi" with "role": "${wanted}"`
      tell(mistake([...at, member], expected, `${JSON.stringify(name)}, of kind "${kind}" with role "${role}"`))
    }
  }
}

function listOf<T>(value: T | readonly T[] | undefined): readonly T[] {
  return value === undefined ? [] : Array.isArray(value) ? (value as readonly T[]) : [value as T]
}

/** The names that every one of the patterns has. */
function checkPatterns(route: Route, at: Path, tell: Tell): string[] {
  const texts = listOf(route.path)
  let names: string[] | undefined
  for (const [i, text] of texts.entries()) {
    const fault = patternFault(text)
    const where = Array.isArray(route.path) ? [...at, 'path', i] : [...at, 'path']
    if (fault !== undefined)
      tell(mistake(where, `a path such as "/about", "/blog/*", "/post/:id" or "*.php": ${fault}`, JSON.stringify(text)))
    const own = compilePattern(text).names
    names = names === undefined ? [...own] : names.filter((name) => own.includes(name))
  }
  return names ?? []
}

function checkName(name: string, at: Path, applications: Readonly<Record<string, unknown>>, tell: Tell): void {
  const names = Object.keys(applications)
  if (names.includes(name)) return
  tell(
    mistake(
      [...at, 'application'],
      names.length === 0 ? 'the name of an application' : `an application (${names.join(', ')})`,
      shown(name),
      nearest(name, names),
    ),
  )
}

function checkTemplate(text: string, used: readonly string[], known: readonly string[], at: Path, tell: Tell): void {
  if (!text.startsWith('/') && !text.startsWith('{path}'))
    tell(mistake(at, 'a path that begins with "/" or "{path}"', JSON.stringify(text)))
  checkPlaceholders(used, known, at, tell)
}

function checkPlaceholders(used: readonly string[], known: readonly string[], at: Path, tell: Tell): void {
  for (const name of used) {
    if (!known.includes(name))
      tell(mistake(at, `placeholders that have a value here (${[...new Set(known)].join(', ')})`, `{${name}}`, nearest(name, known)))
  }
}

// The host of a URL may be the one that was asked for, and nothing else that a client decides.
const TARGET = /^(?:\/(?!\/)|\{path\}|(?:https?|\{scheme\}):\/\/(?:\{host\}|[A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\])(?::\d{1,5})?(?:$|[/?{]))/

function checkRedirect(redirect: NonNullable<Route['redirect']>, known: readonly string[], route: Path, tell: Tell): void {
  const [to, at] = typeof redirect === 'string' ? [redirect, [...route, 'redirect']] : [redirect.to, [...route, 'redirect', 'to']]
  if (!TARGET.test(to) || !isFieldValue(toByteString(to)) || / /.test(to)) {
    tell(mistake(at, 'a path ("/new/{rest}") or a URL with a fixed host or {host} ("https://{host}{path}")', JSON.stringify(to)))
  }
  const used = compileTemplate(to).names
  checkPlaceholders(used, known, at, tell)
}

const DOORS = new Set(['content-length', 'transfer-encoding', 'connection', 'keep-alive', 'upgrade', 'trailer', 'te'])

function checkFields(fields: Readonly<Record<string, string>>, at: Path, tell: Tell): void {
  for (const [name, value] of Object.entries(fields)) {
    if (!isToken(name)) tell(mistake([...at, name], 'the name of a header field', JSON.stringify(name)))
    else if (DOORS.has(name.toLowerCase())) tell(mistake([...at, name], 'a field that the server does not decide itself', name))
    if (!isFieldValue(toByteString(value))) tell(mistake([...at, name], 'a text without line breaks', shown(value)))
  }
}
