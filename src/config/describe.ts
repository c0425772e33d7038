// A folder described as data: what will serve what in it, what is missing, and the settings that building it needs.

import { fromByteString } from '../core/index.ts'
import { Root } from '../static/index.ts'
import { interpreterOf, missing, shellWord } from './interpreter.ts'
import { describePhp } from './php.ts'
import { describePrograms } from './programs.ts'
import { walk } from './walk.ts'
import type { Missing } from './interpreter.ts'
import type { PhpPlan, PhpSettings } from './php.ts'
import type { ProgramPlan, ProgramSettings } from './programs.ts'
import type { Contents, WalkLimits } from './walk.ts'

/** One line of the table that is shown at the start. */
export interface PlanEntry {
  readonly path: string
  /** `static`, `php`, `cgi` or another kind of application. */
  readonly kind: string
  /** Of an application in a folder: which of its files it is. */
  readonly file?: string
  readonly interpreter?: string
  readonly version?: string
  readonly workers?: number
  /** There may be fewer. */
  readonly upTo?: true
  readonly missing?: Missing
}

interface SiteSettings {
  readonly php: PhpPlan
  readonly cgi: ProgramPlan
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
  /** Default `index.html`, `index.php`. */
  readonly index?: readonly string[]
  /** Where programs are looked for. Default: PATH of this process. */
  readonly path?: string
  readonly php?: PhpSettings
  readonly cgi?: ProgramSettings
  readonly walk?: WalkLimits
}

export const EXTENSIONS: readonly string[] = ['.php']
export const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'

/** Looks at a folder. Rejects with CONFIG when it cannot be served, or when `phpCgi` is no php-cgi. */
export async function describeFolder(folder: string, options: DescribeOptions = {}): Promise<SitePlan> {
  const root = new Root(folder)
  const path = options.path ?? process.env['PATH'] ?? DEFAULT_PATH
  const contents = await walk(root.path, EXTENSIONS, options.walk)
  const { workers, phpCgi } = options
  const given = { ...options.php, ...(workers !== undefined && { workers }), ...(phpCgi !== undefined && { program: phpCgi }) }
  const php = await describePhp(given, path, contents.php)
  return {
    root: fromByteString(root.path) || '/',
    entries: [{ path: '/', kind: 'static' }, ...phpEntries(php, contents), ...(await programEntries(root, contents, path))],
    settings: {
      php: php.plan,
      cgi: describePrograms(
        options.cgi ?? {},
        path,
        contents.programs.some((program) => program.executable),
      ),
      extensions: EXTENSIONS,
      index: options.index ?? ['index.html', 'index.php'],
      symlinks: options.symlinks ?? false,
      ...(options.maxBody !== undefined && { maxBody: options.maxBody }),
    },
  }
}

function phpEntries({ plan, version }: { plan: PhpPlan; version?: string }, contents: Contents): PlanEntry[] {
  const entry = { path: '*.php', kind: 'php' }
  // A walk that ended early cannot say that something is needed.
  if ('missing' in plan) return contents.php && !contents.partial ? [{ ...entry, missing: plan.missing }] : []
  return version === undefined ? [] : [{ ...entry, interpreter: 'php-cgi', version, workers: plan.workers }]
}

/** A line for each place with programs, and one for each thing that is missing for one of them. */
async function programEntries(root: Root, contents: Contents, path: string): Promise<PlanEntry[]> {
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
