// glob(3) as `include=` uses it: `*`, `?` and `[...]` in each part of a path, sorted by bytes; no braces, no `**`.

import { lstatSync, readdirSync, statSync } from 'node:fs'

/** Paths, folders among them ending in `/`; or that nothing matches; or that a folder could not be read. */
export type Globbed = readonly string[] | 'nothing' | 'unreadable'

export function glob(pattern: string): Globbed {
  try {
    const parts = pattern.split('/').filter((part) => part !== '')
    const found = expand(pattern.startsWith('/') ? '/' : '', parts, true)
    return found.length === 0 ? 'nothing' : found.toSorted((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  } catch {
    return 'unreadable'
  }
}

/** What is below `base`, which is '' or ends in `/`, and `plainly` has no pattern in it. Throws when a folder that has to be listed cannot be. */
function expand(base: string, parts: readonly string[], plainly: boolean): string[] {
  const [part, ...rest] = parts
  if (part === undefined) return []
  const names = isPattern(part) ? list(base === '' ? '.' : base).filter((name) => matches(name, part)) : [plain(part)]
  const found: string[] = []
  for (const name of names) {
    const path = base + name
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) continue
    const folder = statSync(path, { throwIfNoEntry: false })?.isDirectory() ?? false
    if (rest.length === 0) found.push(folder ? `${path}/` : path)
    else if (folder) found.push(...expand(`${path}/`, rest, plainly && !isPattern(part)))
  }
  // glob(3) gives up when the folder before the first pattern is not there.
  const missing =
    plainly && !isPattern(part) && found.length === 0 && lstatSync(base + plain(part), { throwIfNoEntry: false }) === undefined
  if (missing && rest.some(isPattern)) list(base + plain(part))
  return found
}

function list(folder: string): string[] {
  try {
    return readdirSync(folder)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOTDIR') return []
    throw error
  }
}

function isPattern(part: string): boolean {
  return /[*?]|\[.+\]/.test(part)
}

const plain = (part: string): string => part.replace(/\\(.)/g, '$1')

/** A name that begins with a dot is matched by nothing but a dot. */
export function matches(name: string, part: string): boolean {
  if (name.startsWith('.') && !part.startsWith('.')) return false
  let source = ''
  for (let i = 0; i < part.length; i++) {
    const char = part[i]!
    const end = char === '[' ? part.indexOf(']', part[i + 1] === '!' || part[i + 1] === '^' ? i + 3 : i + 2) : -1
    if (char === '*') source += '[^]*'
    else if (char === '?') source += '[^]'
    else if (end > 0) {
      const negated = part[i + 1] === '!' || part[i + 1] === '^'
      source += `[${negated ? '^' : ''}${part.slice(i + (negated ? 2 : 1), end).replace(/[\\\]^[]/g, '\\$&')}]`
      i = end
    } else {
      const literal = char === '\\' && i + 1 < part.length ? part[++i]! : char
      source += literal.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')
    }
  }
  return new RegExp(`^${source}$`).test(name)
}
