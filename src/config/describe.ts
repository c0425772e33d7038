// A folder described as data: what will serve what in it, what is missing, and the settings that building it needs.

import { fromByteString } from '../core/index.ts'
import { Root } from '../static/index.ts'
import { applicationIn } from './apps.ts'
import { describeFcgi, elastic } from './fcgi.ts'
import { firstLineOf, interpreterOf, missing, shellWord } from './interpreter.ts'
import { nodeEntry } from './node-app.ts'
import { describePhp, phpEntry } from './php.ts'
import { describePrograms } from './programs.ts'
import { walk } from './walk.ts'
import { countWorkers } from './workers.ts'
import { describePool, wsgiEntry } from './wsgi.ts'
import type { FoundApp } from './apps.ts'
import type { FcgiPlan, FcgiSettings } from './fcgi.ts'
import type { Missing } from './interpreter.ts'
import type { DescribeScope } from './kinds/kind.ts'
import type { MountPlan } from './mounts.ts'
import type { PhpPlan, PhpSettings } from './php.ts'
import type { ProgramPlan, ProgramSettings } from './programs.ts'
import type { Contents, WalkLimits } from './walk.ts'
import type { WsgiSettings } from './wsgi.ts'
import type { ByteString } from '../core/index.ts'

/** One line of the table that is shown at the start. */
export interface PlanEntry {
  /** Where it is, from the root. */
  readonly path: string
  /** `static`, `php`, `cgi` or another kind of application. */
  readonly kind: string
  /** Of an application in a folder: which of its files it is. */
  readonly file?: string
  /** What runs it. */
  readonly interpreter?: string
  /** Of that. */
  readonly version?: string
  /** How many there are. */
  readonly workers?: number
  /** There may be fewer. */
  readonly upTo?: true
  /** What else is to be known of it. */
  readonly note?: string
  /** What is not there, and how to get it. */
  readonly missing?: Missing
}

interface SiteSettings {
  readonly php: PhpPlan
  readonly cgi: ProgramPlan
  readonly fcgi: FcgiPlan
  /** FastCGI programs that are started with the server, under the root. */
  readonly started: readonly ByteString[]
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
  /** What is served, a line each. */
  readonly entries: readonly PlanEntry[]
  /** Applications that own folders of it. */
  readonly mounts: readonly MountPlan[]
  /** What building it needs. */
  readonly settings: SiteSettings
}

/** What a folder alone does not say. */
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
  /** How PHP runs. */
  readonly php?: PhpSettings
  /** How CGI programs run. */
  readonly cgi?: ProgramSettings
  /** `python` is an absolute path, for all applications. */
  readonly wsgi?: WsgiSettings & { readonly version?: string }
  /** How FastCGI programs run. */
  readonly fcgi?: FcgiSettings
  /** Hears of numbers of processes that contradict each other. Default: they are ignored. */
  readonly problem?: DescribeScope['problem']
  /** How far the folder is looked through. */
  readonly walk?: WalkLimits
}

export const EXTENSIONS: readonly string[] = ['.php']
/** So many applications and FastCGI programs each are started with the server, others when they are asked for. */
const STARTED = 8
export const DEFAULT_PATH = '/usr/local/bin:/usr/bin:/bin'

/** Looks at a folder. Rejects with CONFIG when it cannot be served, or when `phpCgi` is no php-cgi. */
export async function describeFolder(folder: string, options: DescribeOptions = {}): Promise<SitePlan> {
  const root = new Root(folder)
  const path = options.path ?? process.env['PATH'] ?? DEFAULT_PATH
  const apps: FoundApp[] = []
  const contents = await walk(root.path, EXTENSIONS, options.walk, async (at, names) => {
    const app = await applicationIn(root.path, at, names, path)
    if (app !== undefined) apps.push(app)
    return app !== undefined && app.kind !== 'none'
  })
  const mounted = describeApps(apps, root, options.wsgi ?? {}, path)
  const fcgi = describeFcgi(options.fcgi ?? {}, path, elastic(), options.problem ?? (() => {}))
  const { workers, phpCgi } = options
  const given = { ...options.php, ...(workers !== undefined && { workers }), ...(phpCgi !== undefined && { program: phpCgi }) }
  const programs = await programEntries(root, contents, path, fcgi)
  const shownRoot = fromByteString(root.path) || '/'
  const php = await describePhp(given, path, shownRoot, contents.php)
  return {
    root: shownRoot,
    entries: [
      ...(mounted.all ? [] : [{ path: '/', kind: 'static', ...(contents.partial && { note: PARTIAL }) }]),
      ...mounted.entries,
      ...phpEntries(php, contents),
      ...programs.entries,
    ],
    mounts: mounted.mounts,
    settings: {
      php: php.plan,
      cgi: describePrograms(
        options.cgi ?? {},
        path,
        contents.programs.some((program) => program.executable && !program.path.endsWith('.fcgi')),
      ),
      fcgi,
      started: programs.staying.slice(0, STARTED),
      extensions: EXTENSIONS,
      index: options.index ?? ['index.html', 'index.php'],
      symlinks: options.symlinks ?? false,
      ...(options.maxBody !== undefined && { maxBody: options.maxBody }),
    },
  }
}

const PARTIAL = 'too much to look at all of it: applications deeper in it are not found'

/** `all`: one of them is the folder itself. */
function describeApps(
  apps: readonly FoundApp[],
  root: Root,
  settings: NonNullable<DescribeOptions['wsgi']>,
  path: string,
): { mounts: MountPlan[]; entries: PlanEntry[]; all: boolean } {
  const mounts: MountPlan[] = []
  const entries: PlanEntry[] = []
  for (const app of apps) {
    const shown = `${fromByteString(app.folder)}/`
    if (app.kind === 'none') {
      entries.push({ path: shown + app.name, kind: 'file', note: app.why })
      continue
    }
    if (app.kind === 'node') {
      mounts.push({ path: app.folder, kind: 'node', plan: { file: `${fromByteString(root.path + app.folder)}/${app.name}` } })
      entries.push(nodeEntry(shown, app.name))
    } else {
      const { file, python, version, venv } = app.wsgi
      const found =
        settings.python === undefined
          ? { python, version, venv }
          : { python: settings.python, version: settings.version, venv: undefined, named: true }
      const place = { app: file, folder: fromByteString(root.path + app.folder) || '/', root: fromByteString(root.path) || '/', ...found }
      // What is wrong with the settings is told once, where they are, and not for each of the applications.
      const plan = describePool(settings, place, path, () => {})
      mounts.push({ path: app.folder, kind: 'wsgi', plan, now: mounts.length < STARTED })
      entries.push(wsgiEntry(shown, app.name, plan, place))
    }
    for (const name of app.beside)
      entries.push({ path: shown + name, kind: 'file', note: `not run: ${app.name} beside it is the application` })
  }
  return { mounts, entries, all: mounts.some((mount) => mount.path === '') }
}

function phpEntries({ plan, version }: { plan: PhpPlan; version?: string }, contents: Contents): PlanEntry[] {
  // A walk that ended early cannot say that something is needed.
  const shown = 'missing' in plan ? contents.php && !contents.partial : contents.php && version !== undefined
  return shown ? [phpEntry('*.php', plan, version ?? '')] : []
}

/** A line for each place with programs, and one for each thing that is missing for one of them; and the FastCGI programs that can be started. */
async function programEntries(
  root: Root,
  contents: Contents,
  path: string,
  fcgi: FcgiPlan,
): Promise<{ entries: PlanEntry[]; staying: ByteString[] }> {
  const places = new Map<string, Set<string>>()
  const lacking: PlanEntry[] = []
  const pools: PlanEntry[] = []
  const staying: ByteString[] = []
  for (const program of contents.programs) {
    const shown = fromByteString(program.path)
    const kind = program.path.endsWith('.fcgi') ? 'fcgi' : 'cgi'
    const interpreter = await interpreterOf(root.path + program.path, path)
    if (!program.executable) {
      // Data of programs may lie beside them; what begins like a script was meant to be one.
      if (interpreter === undefined) continue
      const command = `chmod +x ${shellWord(fromByteString(root.path + program.path))}`
      lacking.push({ path: shown, kind, missing: { what: `the execute bit of ${shown}`, command } })
    } else if (interpreter !== undefined && interpreter.file === undefined) {
      const lack = missing(interpreter.asked, path, firstLineOf(root.path + program.path))
      lacking.push({ path: shown, kind, interpreter: interpreter.name, missing: lack })
    } else if (kind === 'fcgi') {
      pools.push({ path: shown, kind, interpreter: interpreter?.name ?? 'program', ...countWorkers(fcgi.workers) })
      staying.push(program.path)
    } else {
      const at = shown.lastIndexOf('/cgi-bin/')
      const place = at === -1 ? '*.cgi' : shown.slice(0, at + '/cgi-bin/'.length)
      const names = places.get(place) ?? new Set()
      places.set(place, names.add(interpreter?.name ?? 'programs'))
    }
  }
  const found = [...places].map(([place, names]): PlanEntry => ({ path: place, kind: 'cgi', interpreter: [...names].sort().join(', ') }))
  return { entries: [...found, ...pools, ...lacking], staying }
}
