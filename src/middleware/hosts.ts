// Sites by the name that the client asked for.

import { empty } from '../core/index.ts'
import type { Application, ByteString } from '../core/index.ts'

/** Names of a site: `example.org`, `*.example.org` (every name below it); none: every name that no other site has. */
export interface HostRule {
  /** Names without port; `*.example.org` is every name below it. Without it: every host that no other rule has. */
  readonly hosts?: readonly string[]
}

/** A Host header as names are compared: without port and final dot, A to Z in lower case. */
export function hostName(value: ByteString): ByteString {
  const end = value.startsWith('[') ? value.indexOf(']') + 1 : value.indexOf(':')
  const name = end > 0 ? value.slice(0, end) : value
  return lower(name.endsWith('.') ? name.slice(0, -1) : name)
}

function lower(name: ByteString): ByteString {
  return /[A-Z]/.test(name) ? name.replace(/[A-Z]/g, (letter) => String.fromCharCode(letter.charCodeAt(0) | 0x20)) : name
}

/** Finds the one of `rules` that has the host: by its full name, else by the longest `*.`, else the one without names. */
export function hostFinder<Rule extends HostRule>(rules: readonly Rule[]): (host: ByteString) => Rule | undefined {
  const exact = new Map<string, Rule>()
  /** By what follows the star, dot and all. */
  const below = new Map<string, Rule>()
  let fallback: Rule | undefined
  for (const rule of rules) {
    if (rule.hosts === undefined) fallback ??= rule
    for (const host of rule.hosts ?? []) {
      if (host.startsWith('*.')) below.set(hostName(host.slice(1)), rule)
      else exact.set(hostName(host), rule)
    }
  }
  return (host) => {
    const name = hostName(host)
    const found = exact.get(name)
    if (found !== undefined || below.size === 0) return found ?? fallback
    for (let dot = name.indexOf('.', 1); dot !== -1; dot = name.indexOf('.', dot + 1)) {
      const wild = below.get(name.slice(dot))
      if (wild !== undefined) return wild
    }
    return fallback
  }
}

/** Sends each request to the site of its host; 421 where there is none (RFC 9110, 15.5.20). */
export function hosts(sites: readonly (HostRule & { readonly application: Application })[]): Application {
  const find = hostFinder(sites)
  return (request) => {
    const site = find(request.headers.get('host') ?? '')
    return site === undefined ? empty(421) : site.application(request)
  }
}
