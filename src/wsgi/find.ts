// Finding Python and the application: which file of a folder is one, and which interpreter it is to be run by.

import { execFile } from 'node:child_process'
import { existsSync, readFileSync, statSync } from 'node:fs'
import { basename, dirname, isAbsolute, join, resolve } from 'node:path'
import { GatewayError } from '../core/index.ts'
import { findProgram } from '../process/index.ts'

/** Files that are an application by their name, the most telling first. */
export const WSGI_FILES: readonly string[] = ['wsgi.py', 'passenger_wsgi.py', 'application.py', 'app.py', 'manage.py']

/** A folder that is a WSGI application. */
export interface WsgiDescription {
  /** Absolute path of the file that is the application. */
  readonly file: string
  /** `django`: manage.py, which names the settings. */
  readonly kind: 'wsgi' | 'django'
  /** Absolute path of the interpreter; undefined where there is none. */
  readonly python: string | undefined
  /** For instance `3.11.2`; undefined where there is no interpreter. */
  readonly version: string | undefined
  /** The virtual environment that the interpreter belongs to. */
  readonly venv: string | undefined
}

/** A virtual environment in this folder. */
function findVenv(folder: string): string | undefined {
  for (const name of ['venv', '.venv']) {
    const venv = join(folder, name)
    if (findProgram(join(venv, 'bin', 'python')) !== undefined) return venv
  }
  return undefined
}

/** The name of one in this folder that cannot be used, for its interpreter has gone: after an upgrade of the system, or a move to another machine. */
export function brokenVenv(folder: string): string | undefined {
  if (findVenv(folder) !== undefined) return undefined
  return ['venv', '.venv'].find((name) => existsSync(join(folder, name, 'pyvenv.cfg')))
}

/** The interpreter of a virtual environment in this folder, else `python3` on PATH, else that name. */
export function findPython(folder: string, path: string = process.env['PATH'] ?? ''): string {
  const venv = findVenv(folder)
  if (venv !== undefined) return join(venv, 'bin', 'python')
  return findProgram('python3', { path, cwd: folder }) ?? 'python3'
}

/**
 * What a folder is as a WSGI application; undefined when it is none. A file is looked into only where its name says too little:
 * `app.py` and `application.py` must hold one of the names that are looked for.
 */
export async function describeWsgi(folder: string, path: string = process.env['PATH'] ?? ''): Promise<WsgiDescription | undefined> {
  const root = resolve(folder)
  const name = WSGI_FILES.find((each) => isApplication(join(root, each)))
  if (name === undefined) return undefined
  const python = findPython(root, path)
  // A bare name is one that was not found.
  const version = python.includes('/') ? await pythonVersion(python) : undefined
  return {
    file: join(root, name),
    kind: name === 'manage.py' ? 'django' : 'wsgi',
    python: version === undefined ? undefined : python,
    version,
    venv: findVenv(root),
  }
}

// Many a folder of scripts has an app.py that is none.
const NAMED =
  /^(?:from\s+\S+\s+import\s+.*\b(?:application|app|create_app|make_app)\b|(?:application|app)\s*[:=]|(?:async\s+)?def\s+(?:application|app|create_app|make_app)\b|class\s+application\b)/m

function isApplication(file: string): boolean {
  if (statSync(file, { throwIfNoEntry: false })?.isFile() !== true) return false
  const name = basename(file)
  if (name === 'wsgi.py' || name === 'passenger_wsgi.py') return true
  try {
    const text = readFileSync(file, 'utf8')
    return name === 'manage.py' ? text.includes('DJANGO_SETTINGS_MODULE') : NAMED.test(text)
  } catch {
    // What we cannot read no worker of ours can.
    return false
  }
}

/** For instance `3.11.2`; undefined when that is no Python that can be run. */
export function pythonVersion(python: string): Promise<string | undefined> {
  return new Promise((done) => {
    execFile(python, ['-I', '-S', '-c', 'import sys; print(sys.version.split()[0])'], { timeout: 10_000 }, (error, stdout) => {
      done(error === null && /^3\.\d/.test(stdout) ? stdout.trim() : undefined)
    })
  })
}

/** What a worker is told: an absolute path or a module, and the folder it is run in. */
export function locate(app: string, folder: string | undefined): { readonly application: string; readonly folder: string } {
  const base = resolve(folder ?? '.')
  const file = resolve(base, app)
  const isFile = statSync(file, { throwIfNoEntry: false })?.isFile() === true
  if (isFile) return { application: file, folder: folder === undefined ? dirname(file) : base }
  if (isAbsolute(app) || app.endsWith('.py') || app.includes('/')) throw refuse(app, `there is no file ${file}`)
  if (!/^[A-Za-z_][\w.]*(?::[A-Za-z_][\w.]*(?:\(\))?)?$/.test(app)) throw refuse(app, 'expected a file, a module, or module:callable')
  if (!existsSync(base)) throw refuse(app, `there is no folder ${base}`)
  return { application: app, folder: base }
}

function refuse(app: string, why: string): GatewayError {
  return new GatewayError('CONFIG', { status: 500, message: `wsgi: app: ${JSON.stringify(app)}: ${why}` })
}
