// A folder described as data: what will serve what in it, what is missing, and the settings that buildSite needs.

import { availableParallelism } from 'node:os'
import { fromByteString } from '../core/index.ts'
import { findPhpCgi, phpVersion } from '../php/index.ts'
import { Root } from '../static/index.ts'
import { interpreterOf, missing, shellWord } from './interpreter.ts'
import { walk } from './walk.ts'
import type { Missing } from './interpreter.ts'
import type { Contents, WalkLimits } from './walk.ts'

/** One line of the table that is shown at the start. */
export interface PlanEntry {
  readonly path: string
  readonly kind: 'static' | 'php' | 'cgi'
  readonly interpreter?: string
  readonly version?: string
  readonly workers?: number
  readonly missing?: Missing
}

interface PhpSettings {
  /** Absolute path of php-cgi. */
  readonly file: string
  readonly workers: number
  /** There are PHP files now. Else the pool starts with the first request for one that came later. */
  readonly start: boolean
}

interface SiteSettings {
  readonly php: PhpSettings | { readonly missing: Missing }
  readonly cgi: {
    /** There are programs now. Else the spawning helpers start with the first request for one that came later. */
    readonly start: boolean
    /** PATH of programs. */
    readonly path: string
  }
  /** Suffixes that PHP runs. */
  readonly extensions: readonly string[]
  /** What shows a folder. */
  readonly index: readonly string[]
  /** Links may lead out of the root. */
  readonly symlinks: boolean
  /** Bytes of a request body, for all kinds; without it each kind has its own limit. */
  readonly maxBody?: number
}

/** Plain data, so that it can be shown, compared and sent to another process. */
export interface SitePlan {
  /** As text; the real path. */
  readonly root: string
  readonly entries: readonly PlanEntry[]
  readonly settings: SiteSettings
}

export interface DescribeOptions {
  /** PHP workers. Default: 2 a core, at least 4. */
  readonly workers?: number
  /** The php-cgi to use rather than the one on PATH. */
  readonly phpCgi?: string
  /** Bytes. */
  readonly maxBody?: number
  /** Default false. */
  readonly symlinks?: boolean
  /** Where programs are looked for. Default: PATH of this process. */
  readonly path?: string
  readonly walk?: WalkLimits
}

const EXTENSIONS = ['.php']

/** Looks at a folder. Rejects with CONFIG when it cannot be served, or when `phpCgi` is no php-cgi. */
export async function describeFolder(folder: string, options: DescribeOptions = {}): Promise<SitePlan> {
  const root = new Root(folder)
  const path = options.path ?? process.env['PATH'] ?? '/usr/local/bin:/usr/bin:/bin'
  const contents = await walk(root.path, EXTENSIONS, options.walk)
  const php = await describePhp(contents, options, path)
  return {
    root: fromByteString(root.path) || '/',
    entries: [{ path: '/', kind: 'static' }, ...php.entries, ...(await describePrograms(root, contents, path))],
    settings: {
      php: php.settings,
      cgi: { start: contents.programs.some((program) => program.executable), path },
      extensions: EXTENSIONS,
      index: ['index.html', 'index.php'],
      symlinks: options.symlinks ?? false,
      ...(options.maxBody !== undefined && { maxBody: options.maxBody }),
    },
  }
}

async function describePhp(
  contents: Contents,
  options: DescribeOptions,
  path: string,
): Promise<{ entries: readonly PlanEntry[]; settings: SiteSettings['php'] }> {
  const file = options.phpCgi ?? findPhpCgi(path)
  const entry = { path: '*.php', kind: 'php' } as const
  if (file === undefined) {
    const lack = missing('php-cgi', path)
    // A walk that ended early cannot say that something is needed.
    return { entries: contents.php && !contents.partial ? [{ ...entry, missing: lack }] : [], settings: { missing: lack } }
  }
  const workers = options.workers ?? Math.max(4, 2 * availableParallelism())
  if (!contents.php) return { entries: [], settings: { file, workers, start: false } }
  const { version, file: found } = await phpVersion(file)
  return { entries: [{ ...entry, interpreter: 'php-cgi', version, workers }], settings: { file: found, workers, start: true } }
}

/** A line for each place with programs, and one for each thing that is missing for one of them. */
async function describePrograms(root: Root, contents: Contents, path: string): Promise<PlanEntry[]> {
  const places = new Map<string, Set<string>>()
  const lacking: PlanEntry[] = []
  for (const program of contents.programs) {
    const shown = fromByteString(program.path)
    const interpreter = await interpreterOf(root.path + program.path, path)
    if (!program.executable) {
      // Data of programs may lie beside them; what begins like a script was meant to be one.
      if (interpreter === undefined) continue
      const command = `chmod +x ${shellWord(fromByteString(root.path + program.path))}`
      lacking.push({ path: shown, kind: 'cgi', missing: { what: `the execute bit of ${shown}`, command } })
    } else if (interpreter !== undefined && interpreter.file === undefined) {
      lacking.push({ path: shown, kind: 'cgi', interpreter: interpreter.name, missing: missing(interpreter.name, path) })
    } else {
      const at = shown.lastIndexOf('/cgi-bin/')
      const place = at === -1 ? '*.cgi' : shown.slice(0, at + '/cgi-bin/'.length)
      const names = places.get(place) ?? new Set()
      places.set(place, names.add(interpreter?.name ?? 'programs'))
    }
  }
  const found = [...places].map(([place, names]): PlanEntry => ({ path: place, kind: 'cgi', interpreter: [...names].sort().join(', ') }))
  return [...found, ...lacking]
}
