// What lies in a folder, as far as it decides which programs and applications there are: a bounded walk, breadth first.

import { readdir, stat } from 'node:fs/promises'
import { baseName, hasDotSegment, nativePath } from '../static/index.ts'
import type { ByteString } from '../core/index.ts'

export interface WalkLimits {
  /** Names looked at. Default 20,000. */
  readonly names?: number
  /** Folders below one another. Default 12. */
  readonly depth?: number
}

export interface Contents {
  /** There is a PHP file, or the walk ended before it could tell. */
  readonly php: boolean
  /** Files in `cgi-bin`, `*.cgi` and `*.fcgi`, as paths under the root. */
  readonly programs: readonly { readonly path: ByteString; readonly executable: boolean }[]
  /** The walk came to its limit. */
  readonly partial: boolean
}

/** Where other people's modules lie: nothing in them is a part of the site. */
const PACKAGES: ReadonlySet<string> = new Set(['node_modules', 'site-packages', '__pycache__'])

/**
 * `root` is absolute, without a slash at the end. Links to folders are not followed; dot folders, node_modules and virtual environments
 * of Python are not entered, nor is a folder that is `taken`, which is asked with the names of its regular files.
 */
export async function walk(
  root: ByteString,
  suffixes: readonly string[],
  limits: WalkLimits = {},
  taken: (folder: ByteString, names: ReadonlySet<ByteString>) => Promise<boolean> = () => Promise.resolve(false),
): Promise<Contents> {
  let left = limits.names ?? 20_000
  let php = false
  const programs: { path: ByteString; executable: boolean }[] = []
  let level: ByteString[] = ['/']
  for (let depth = limits.depth ?? 12; level.length > 0 && depth > 0; depth--) {
    const below: ByteString[] = []
    for (const folder of level) {
      const entries = await list(root + folder)
      const names = new Set(entries.filter((entry) => entry.isFile()).map((entry) => entry.name))
      if (names.has('pyvenv.cfg') || (await taken(folder.slice(0, -1), names))) continue
      for (const entry of entries) {
        if (left-- <= 0) return { php: true, programs, partial: true }
        const path = folder + entry.name
        if (hasDotSegment(path)) continue
        if (entry.isDirectory()) {
          if (!PACKAGES.has(entry.name)) below.push(`${path}/`)
        } else if (isScript(path, suffixes)) php = true
        else if (path.endsWith('.cgi') || path.endsWith('.fcgi') || path.includes('/cgi-bin/')) {
          const mode = await modeOf(root + path)
          if (mode !== undefined) programs.push({ path, executable: (mode & 0o111) !== 0 })
        }
      }
    }
    level = below
  }
  const partial = level.length > 0
  return { php: php || partial, programs, partial }
}

function isScript(path: ByteString, suffixes: readonly string[]): boolean {
  const name = baseName(path)
  return suffixes.some((suffix) => name.length > suffix.length && name.endsWith(suffix))
}

async function list(folder: ByteString): Promise<{ name: ByteString; isDirectory(): boolean; isFile(): boolean }[]> {
  try {
    return await readdir(nativePath(folder), { withFileTypes: true, encoding: 'latin1' })
  } catch {
    // A folder that cannot be listed can still be served by name; it tells us nothing here.
    return []
  }
}

/** Of a regular file. */
async function modeOf(file: ByteString): Promise<number | undefined> {
  try {
    const stats = await stat(nativePath(file))
    return stats.isFile() ? stats.mode : undefined
  } catch {
    // A link to nothing.
    return undefined
  }
}
