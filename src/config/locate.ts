// Which file a request's path means, and of what kind it is: the one decision that everything about a folder hangs on.
//
// The path is walked by its segments, never searched by a pattern (CVE-2019-11043), and what is a script is decided by what
// exists: `/upload.jpg/x.php` runs nothing, for upload.jpg is no script and has nothing below it. What a program gets is a
// triple of script, path info and file that agree, so that nothing behind us has to correct them.

import { baseName, hasDotSegment, isHidden } from '../static/index.ts'
import type { ByteString } from '../core/index.ts'

/** What the decision needs to know of the disk. */
export interface Probe {
  look(path: ByteString): Promise<Look>
}

export interface Look {
  readonly kind: 'file' | 'directory' | 'nothing' | 'outside' | 'denied'
  readonly executable?: boolean
  /** For a file: the path under the root it really has, links followed. */
  readonly inner?: ByteString
}

export interface LocateSettings {
  /** Suffixes that PHP runs, case counting as it does in file names (php-fpm's `security.limit_extensions`). */
  readonly php: readonly string[]
  /** What shows a folder, in this order; those with a PHP suffix are run. */
  readonly index: readonly string[]
  /** What is a program: by its place and name (default; `*.fcgi` is one that stays), nothing, or each file whose name ends in one of these (an empty text: every file). */
  readonly programs?: 'by name' | 'none' | readonly string[]
  /** Programs need no execute bit: an interpreter gets them. Default false. */
  readonly interpreted?: boolean
  /** Other files are sent. Default true; else they are as good as absent. */
  readonly files?: boolean
  /** Folders of applications, without a slash at the end: no link leads to a file of theirs. */
  readonly applications?: readonly ByteString[]
  /** What does not exist goes to the nearest index with a PHP suffix. Default true. */
  readonly controller?: boolean
}

export type Located =
  /** An ordinary file. `path` is under the root, as is every path here. */
  | { readonly kind: 'static'; readonly path: ByteString }
  | { readonly kind: 'php' | 'cgi' | 'fcgi'; readonly script: ByteString; readonly pathInfo: ByteString }
  /** A folder asked for without its slash. */
  | { readonly kind: 'folder' }
  /** `program`: it would be one, had it the execute bit. */
  | { readonly kind: 'refused'; readonly status: 403 | 404; readonly reason: string; readonly program?: ByteString }
  | { readonly kind: 'nothing' }

const NOTHING: Located = { kind: 'nothing' }
const PACKAGE: Located = { kind: 'refused', status: 404, reason: 'packages of Python are not served' }

/** `path` is decoded once, without dot segments, and not ambiguous. Rejects with what the probe rejects with. */
export async function locate(probe: Probe, settings: LocateSettings, path: ByteString): Promise<Located> {
  if (path.charCodeAt(0) !== 0x2f || path.includes('\0')) return NOTHING
  if (hasDotSegment(path)) return { kind: 'refused', status: 404, reason: 'a name that begins with a dot is not served' }
  const whole = await probe.look(path)
  switch (whole.kind) {
    case 'file':
      return guarded(probe, asFile(settings, path, whole, ''))
    case 'directory':
      return path.endsWith('/') ? inFolder(probe, settings, path) : { kind: 'folder' }
    case 'nothing':
      return along(probe, settings, path)
    default:
      return refuse(whole.kind)
  }
}

function refuse(kind: 'outside' | 'denied'): Located {
  return kind === 'outside'
    ? { kind: 'refused', status: 404, reason: 'a symbolic link leads out of the folder' }
    : { kind: 'refused', status: 403, reason: 'the file system does not let the server read it' }
}

/** What lies in a virtual environment of Python, or where its packages are, is for nobody who visits a site. */
async function guarded(probe: Probe, located: Located): Promise<Located> {
  if (located.kind !== 'static') return located
  const { path } = located
  if (path.includes('/site-packages/') || path.includes('/__pycache__/')) return PACKAGE
  for (let at = path.indexOf('/venv/'); at !== -1; at = path.indexOf('/venv/', at + 1))
    if ((await probe.look(`${path.slice(0, at)}/venv/pyvenv.cfg`)).kind === 'file') return PACKAGE
  return located
}

/** What an existing regular file is for, with what follows it in the path. */
function asFile(settings: LocateSettings, path: ByteString, look: Look, rest: ByteString): Located {
  const inner = look.inner ?? path
  if (hasDotSegment(inner)) return { kind: 'refused', status: 404, reason: 'it is a link to a name that begins with a dot' }
  if (settings.applications?.some((folder) => isBelow(inner, folder)) === true)
    return { kind: 'refused', status: 404, reason: 'it is a link to a file of an application' }
  if (isPhp(settings, path)) {
    // A link named x.php to a text somebody uploaded is not a script; one to another script is.
    if (isPhp(settings, inner)) return { kind: 'php', script: path, pathInfo: rest }
    return { kind: 'refused', status: 404, reason: 'it is a link to a file that is no PHP script' }
  }
  if (isProgram(settings, path)) {
    const kind = isFcgi(settings, path) ? 'fcgi' : 'cgi'
    if (look.executable === true || settings.interpreted === true) return { kind, script: path, pathInfo: rest }
    return { kind: 'refused', status: 403, reason: 'it is not executable', program: path }
  }
  if (rest !== '' || settings.files === false) return NOTHING
  if (isHidden(path) || isHidden(inner)) return { kind: 'refused', status: 404, reason: 'program sources and configuration are not served' }
  return { kind: 'static', path }
}

/** Whether a path is that of a folder (without a slash at the end), or below it. */
export function isBelow(path: ByteString, folder: ByteString): boolean {
  return path.startsWith(folder) && (path.length === folder.length || path.charCodeAt(folder.length) === 0x2f)
}

function isPhp(settings: LocateSettings, path: ByteString): boolean {
  const name = baseName(path)
  return settings.php.some((suffix) => name.length > suffix.length && name.endsWith(suffix))
}

/** In a folder `cgi-bin`, or named `*.cgi` or `*.fcgi`; or what the settings say. */
function isProgram({ programs }: LocateSettings, path: ByteString): boolean {
  if (programs === 'none') return false
  if (programs === undefined || programs === 'by name') return path.endsWith('.cgi') || path.endsWith('.fcgi') || path.includes('/cgi-bin/')
  return programs.some((suffix) => path.endsWith(suffix))
}

function isFcgi({ programs }: LocateSettings, path: ByteString): boolean {
  return (programs === undefined || programs === 'by name') && path.endsWith('.fcgi')
}

/** Whether everything in it is a program: it has no index, and nothing stands in for what it lacks. */
function isProgramFolder({ programs }: LocateSettings, path: ByteString): boolean {
  return (programs === undefined || programs === 'by name') && path.includes('/cgi-bin/')
}

async function inFolder(probe: Probe, settings: LocateSettings, folder: ByteString): Promise<Located> {
  if (!isProgramFolder(settings, folder)) {
    for (const name of settings.index) {
      const found = await probe.look(folder + name)
      if (found.kind === 'outside' || found.kind === 'denied') return refuse(found.kind)
      const located = found.kind === 'file' ? asFile(settings, folder + name, found, '') : NOTHING
      if (located.kind !== 'nothing') return located
    }
  }
  return controller(probe, settings, folder)
}

/** Nothing has this path: perhaps a script in the middle of it, else the front controller of the deepest folder that exists. */
async function along(probe: Probe, settings: LocateSettings, path: ByteString): Promise<Located> {
  let folder = '/'
  // One look for each folder that exists and one more, however long the path is.
  for (let end = path.indexOf('/', 1); end !== -1; end = path.indexOf('/', end + 1)) {
    const prefix = path.slice(0, end)
    const found = await probe.look(prefix)
    if (found.kind === 'outside' || found.kind === 'denied') return refuse(found.kind)
    if (found.kind === 'file') {
      const located = asFile(settings, prefix, found, path.slice(end))
      if (located.kind !== 'nothing') return located
    }
    if (found.kind !== 'directory') break
    folder = `${prefix}/`
  }
  return controller(probe, settings, folder)
}

/** The nearest index.php from `folder` up. It gets no path info: applications read REQUEST_URI, and the two must not disagree. */
async function controller(probe: Probe, settings: LocateSettings, folder: ByteString): Promise<Located> {
  // A missing program is a 404, not a page of the application.
  if (settings.controller === false || isProgramFolder(settings, folder)) return NOTHING
  const names = settings.index.filter((name) => isPhp(settings, name))
  for (let at = folder.length - 1; at >= 0; at = folder.lastIndexOf('/', at - 1)) {
    for (const name of names) {
      const script = folder.slice(0, at + 1) + name
      const found = await probe.look(script)
      if (found.kind === 'file') return asFile(settings, script, found, '')
    }
    if (at === 0) break
  }
  return NOTHING
}
