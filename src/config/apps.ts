// Which folders of a site are applications: Python's by the names that their servers have always looked for, JavaScript's by app.mjs
// and app.js. What is found owns its folder: it answers every path below, and none of its files is sent.

import { open } from 'node:fs/promises'
import { isBuiltin } from 'node:module'
import { fromByteString, toByteString } from '../core/index.ts'
import { nativePath } from '../static/index.ts'
import { WSGI_FILES, describeWsgi } from '../wsgi/index.ts'
import type { ByteString } from '../core/index.ts'
import type { WsgiDescription } from '../wsgi/index.ts'

/** `folder`: under the root, without a slash at the end; empty for the root itself. */
export type FoundApp = { readonly folder: ByteString } &
  /** `beside`: what else in the folder looks like an application or a page, and is not run. */
  (
    | { readonly kind: 'wsgi'; readonly name: string; readonly beside: readonly string[]; readonly wsgi: WsgiDescription }
    | { readonly kind: 'node'; readonly name: string; readonly beside: readonly string[] }
    /** A file that is named like an application and is none. */
    | { readonly kind: 'none'; readonly name: string; readonly why: string }
  )

/** In this order. */
const NODE_FILES: readonly string[] = ['app.mjs', 'app.js']
/** How much of a file is looked at. */
const LOOK = 1024 * 1024

/** A default export of a module, or what CommonJS has in its place. */
const EXPORTS =
  /(?:^|[;}])[ \t]*(?:export\s+default\b|export\s*\{[^}]*\bas\s+default\b|(?:exports\s*=\s*)?module\.exports\s*=(?!=)|exports\.default\s*=(?!=))/m

const NOT_WSGI: Readonly<Record<string, string>> = {
  'manage.py': 'not run: it names no DJANGO_SETTINGS_MODULE',
}

/** What a folder is, by the names of its regular files. `path`: where Python is looked for. */
export async function applicationIn(
  root: ByteString,
  folder: ByteString,
  names: ReadonlySet<string>,
  path: string,
): Promise<FoundApp | undefined> {
  const real = root + folder
  const python = WSGI_FILES.filter((name) => names.has(name))
  const has = (name: string): Promise<boolean> => Promise.resolve(names.has(name))
  const candidates: string[] = []
  for (const name of NODE_FILES) if (names.has(name) && (await couldBeNode(name, has))) candidates.push(name)
  const node: string[] = []
  for (const name of candidates) if (await isNodeApp(real, name, has)) node.push(name)
  const pages = names.has('index.php') ? ['index.php'] : []
  // A name that is no UTF-8 cannot be told to Python's import.
  if (python.length > 0 && toByteString(fromByteString(real)) === real) {
    const wsgi = await describeWsgi(fromByteString(real) || '/', path)
    const name = wsgi?.file.slice(wsgi.file.lastIndexOf('/') + 1)
    // Also a link has such a name, and may lead anywhere.
    if (wsgi !== undefined && name !== undefined && names.has(name))
      return { folder, kind: 'wsgi', name, wsgi, beside: [...node, ...pages] }
  }
  if (node[0] !== undefined) return { folder, kind: 'node', name: node[0], beside: [...node.slice(1), ...pages] }
  if (python[0] !== undefined) {
    const why = NOT_WSGI[python[0]] ?? 'not run: it has none of application, app, create_app, make_app'
    return { folder, kind: 'none', name: python[0], why }
  }
  const [name] = candidates
  if (name === undefined) return undefined
  const reason = await whyNotForBrowsers(real, name, has)
  const why = reason === undefined ? 'a file like others: it has no default export' : `not run, and not sent: ${reason}`
  return { folder, kind: 'none', name, why }
}

/** What an import names: a module of Node, a package, or a URL. */
const IMPORTS = /(?:^|[;}])[ \t]{0,100}(?:import|export)\b(?:[\w*${}\s,]{0,2000}?\bfrom\b)?\s{0,100}(?:"([^"\n]*)"|'([^'\n]*)')/gm
const REQUIRES = /^[ \t]{0,100}(?:(?:const|let|var)[ \t][^=\n]{0,500}=[ \t]*)?require[ \t]*\(/m
/** How much of a file is looked at for these. */
const BEGINNING = 64 * 1024

/**
 * Why a file that is named like an application is the source of one, although it exports none; undefined where a browser could run it.
 * What asks for a package by its name needs a page with an import map: without an index beside it, it has none.
 */
export async function whyNotForBrowsers(
  folder: ByteString,
  name: string,
  has: (name: string) => Promise<boolean>,
): Promise<string | undefined> {
  if (!NODE_FILES.includes(name) || !(await couldBeNode(name, has))) return undefined
  const source = (await start(`${folder}/${name}`)).slice(0, BEGINNING)
  const remedy = 'it has no default export, and is for Node, for'
  if (source.startsWith('#!')) return `${remedy} it begins with #!`
  const names = [...source.matchAll(IMPORTS)].map(([, first, second]) => fromByteString(first ?? second ?? ''))
  const builtin = names.find((each) => isBuiltin(each))
  if (builtin !== undefined) return `${remedy} it imports ${builtin}`
  if (name === 'app.js' && REQUIRES.test(source)) return `${remedy} it calls require`
  const found = names.find((each) => /^[@\w]/.test(each) && !each.includes(':'))
  return found === undefined || (await has('index.html')) ? undefined : `${remedy} it imports ${found}, a package`
}

/** Whether a file is a JavaScript application of this server. */
export async function isNodeApp(folder: ByteString, name: string, has: (name: string) => Promise<boolean>): Promise<boolean> {
  if (!NODE_FILES.includes(name) || !(await couldBeNode(name, has))) return false
  return EXPORTS.test(await start(`${folder}/${name}`))
}

/** `app.js` is what many a script for browsers is called: it must have a package.json beside it, and no index that browsers would be shown. */
async function couldBeNode(name: string, has: (name: string) => Promise<boolean>): Promise<boolean> {
  return name !== 'app.js' || ((await has('package.json')) && !(await has('index.html')) && !(await has('index.php')))
}

async function start(path: ByteString): Promise<string> {
  try {
    const file = await open(nativePath(path), 'r')
    try {
      const { buffer, bytesRead } = await file.read(Buffer.alloc(LOOK), 0, LOOK, 0)
      return buffer.toString('latin1', 0, bytesRead)
    } finally {
      await file.close()
    }
  } catch {
    // What cannot be read cannot be run either.
    return ''
  }
}
