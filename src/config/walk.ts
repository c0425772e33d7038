// What lies in a folder, as far as it decides which programs are needed: a bounded walk, breadth first.

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
  /** Files in `cgi-bin` and `*.cgi`, as paths under the root. */
  readonly programs: readonly { readonly path: ByteString; readonly executable: boolean }[]
  /** The walk came to its limit. */
  readonly partial: boolean
}

/** `root` is absolute, without a slash at the end. Links to folders are not followed; dot folders and node_modules are not entered. */
export async function walk(root: ByteString, suffixes: readonly string[], limits: WalkLimits = {}): Promise<Contents> {
  let left = limits.names ?? 20_000
  let php = false
  const programs: { path: ByteString; executable: boolean }[] = []
  let level: ByteString[] = ['/']
  for (let depth = limits.depth ?? 12; level.length > 0 && depth > 0; depth--) {
    const below: ByteString[] = []
    for (const folder of level) {
      for (const entry of await list(root + folder)) {
        if (left-- <= 0) return { php: true, programs, partial: true }
        const path = folder + entry.name
        if (hasDotSegment(path)) continue
        if (entry.isDirectory()) {
          if (entry.name !== 'node_modules') below.push(`${path}/`)
        } else if (isScript(path, suffixes)) php = true
        else if (path.endsWith('.cgi') || path.includes('/cgi-bin/')) {
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

async function list(folder: ByteString): Promise<{ name: ByteString; isDirectory(): boolean }[]> {
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
