// A folder in front of what runs its scripts and programs: which file a path means is locate.ts; here it is answered.

import { backend, derive, empty, fromByteString, poolsOf } from '../core/index.ts'
import { Files, baseName, isAmbiguous, toFolder } from '../static/index.ts'
import { isNodeApp, whyNotForBrowsers } from './apps.ts'
import { firstLineOf, interpreterOf, missing, shellWord } from './interpreter.ts'
import { Locator } from './locator.ts'
import { missingPage } from './missing-page.ts'
import { enter, mountAt } from './mounts.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse, Log } from '../core/index.ts'
import type { Missing } from './interpreter.ts'
import type { LocateSettings } from './locate.ts'
import type { Found, Refusal } from './locator.ts'
import type { Mounted } from './mounts.ts'

export interface SiteParts {
  /** The folder, as text. */
  readonly root: string
  readonly symlinks: boolean
  readonly locate: LocateSettings
  /** PATH for the interpreters of programs. */
  readonly path: string
  /** What runs located scripts: they carry SCRIPT_FILENAME. Closed with the site. */
  readonly php?: Backend
  /** The same for programs. */
  readonly programs?: Backend
  /** The same for FastCGI programs. */
  readonly fcgi?: Backend
  /** Applications that own folders of it. */
  readonly mounts?: readonly Mounted[]
  readonly log: Log
}

/** The folder as an application. Throws CONFIG when it is gone. */
export function siteOf(parts: SiteParts): Backend {
  const site = new Site(parts)
  const mounted = (parts.mounts ?? []).map(({ application }) => application)
  const owned = [parts.php, parts.programs, parts.fcgi, ...mounted].filter((each) => each !== undefined)
  return backend((request) => site.route(request), {
    ready: async () => {
      await Promise.all(owned.map((each) => each.ready()))
    },
    close: async (grace) => {
      await Promise.all(owned.map((each) => each.close(grace)))
    },
    pools: () => poolsOf(owned),
  })
}

/** What the folder would do with a request. */
export interface Sought {
  readonly found: Found | undefined
  /** The path that was asked for, below the mount. */
  readonly path: ByteString
  /** With the variables that its script or program would see. */
  readonly request: GatewayRequest
  readonly root: ByteString
}

/** Asks the disk what a request means, and nobody else. */
export function seek(parts: SiteParts, request: GatewayRequest): Promise<Sought> {
  return new Site(parts).seek(request)
}

const nobody: Application = () => empty(404)

class Site {
  readonly #parts: SiteParts
  readonly #files: Files
  readonly #locator: Locator
  readonly #index: ByteString
  readonly #php: Application
  readonly #programs: Application
  readonly #fcgi: Application
  readonly #mounts: readonly Mounted[]

  constructor(parts: SiteParts) {
    this.#parts = parts
    this.#files = new Files({ root: parts.root, symlinks: parts.symlinks })
    this.#index = parts.locate.index[0] ?? 'index.html'
    this.#php = parts.php ?? nobody
    this.#programs = parts.programs ?? nobody
    this.#fcgi = parts.fcgi ?? nobody
    this.#mounts = parts.mounts ?? []
    this.#locator = new Locator(this.#files.root, {
      ...parts.locate,
      inspect: (located) => {
        const asked = located.kind === 'fcgi' || (located.kind === 'cgi' && parts.locate.interpreted !== true)
        return asked ? this.#lacks(located.script) : Promise.resolve(undefined)
      },
      ...(parts.mounts !== undefined && { hides: (path) => this.#hides(path) }),
    })
  }

  /** Looked at again with the file itself: an interpreter that has been installed meanwhile is found. */
  async #lacks(script: ByteString): Promise<Missing | undefined> {
    const { path } = this.#parts
    const file = this.#files.root.path + script
    const interpreter = await interpreterOf(file, path)
    return interpreter === undefined || interpreter.file !== undefined ? undefined : missing(interpreter.asked, path, firstLineOf(file))
  }

  /** The source of an application, also of one that cannot be run, is nobody's business. Of one that came late its folder is the application's from the next start on. */
  async #hides(path: ByteString): Promise<Refusal | undefined> {
    const folder = path.slice(0, path.lastIndexOf('/'))
    const has = async (name: string): Promise<boolean> => (await this.#files.root.look(`${folder}/${name}`)).kind === 'file'
    const at = [this.#files.root.path + folder, baseName(path), has] as const
    if (await isNodeApp(...at)) return { status: 404, reason: 'it is an application that came after the start; SIGHUP finds it' }
    const reason = await whyNotForBrowsers(...at)
    return reason === undefined ? undefined : { status: 403, reason: `the source of a program is not sent: ${reason}` }
  }

  route(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const path = request.pathInfo
    if (this.#mounts.length > 0) {
      const mounted = mountAt(this.#mounts, path)
      if (mounted !== undefined) return enter(mounted, request)
    }
    // What was decoded could have been read differently by another layer: it takes the long way, where that is looked at.
    if (path === request.rawPathInfo) {
      const hit = this.#files.hit(request, path.charCodeAt(path.length - 1) === 0x2f ? path + this.#index : path)
      if (hit !== undefined) return hit
      const known = this.#locator.known(path)
      if (known !== undefined) return this.#answer(request, known)
    }
    return this.#search(request)
  }

  async #search(request: GatewayRequest): Promise<GatewayResponse> {
    const path = request.pathInfo
    if (path === '') return toFolder(request)
    if (path === '*' && request.method === 'OPTIONS') return empty(204)
    if (isAmbiguous(request)) return empty(404)
    const known = this.#locator.known(path)
    if (known !== undefined) return this.#answer(request, known)
    const found = await this.#locator.find(path)
    // Here and not in #answer: once for each time that it was looked up, not for each request.
    this.#report(path, found)
    return this.#answer(request, found)
  }

  async seek(request: GatewayRequest): Promise<Sought> {
    const root = this.#files.root.path
    const path = request.pathInfo
    if (path === '' || isAmbiguous(request)) return { found: undefined, path, request, root }
    const found = await this.#locator.find(path)
    const { located } = found
    if (!('script' in located)) return { found, path, request, root }
    return { found, path, request: derive(request, this.#locator.changes(request.scriptName, located.script, located.pathInfo)), root }
  }

  #report(path: ByteString, { located }: Found): void {
    if (located.kind !== 'refused') return
    const file = shellWord(fromByteString(this.#files.root.path + (located.program ?? path)))
    const remedy = located.program === undefined ? '' : `; if it is a program: chmod +x ${file}`
    const fields = { path: fromByteString(path), status: located.status }
    const message = `site: ${file}: ${located.reason}${remedy}`
    // A 404 of this kind is what every scanner asks for; a 403 is most likely something the owner wants to know.
    if (located.status === 403) this.#parts.log.warn(fields, message)
    else this.#parts.log.debug(fields, message)
  }

  #answer(request: GatewayRequest, found: Found): GatewayResponse | Promise<GatewayResponse> {
    const { located } = found
    switch (located.kind) {
      case 'static':
        return this.#files.hit(request, located.path) ?? this.#files.serve(request, located.path)
      case 'php':
      case 'cgi':
      case 'fcgi': {
        if (found.lacks !== undefined) return missingPage(request, found.lacks, 'Once it is there, load this page again.', this.#parts.log)
        const mount = request.scriptName
        const changes = mount === '' ? found.changes! : this.#locator.changes(mount, located.script, located.pathInfo)
        const runner = located.kind === 'php' ? this.#php : located.kind === 'cgi' ? this.#programs : this.#fcgi
        return runner(derive(request, changes))
      }
      case 'folder':
        return toFolder(request)
      case 'refused':
        return empty(located.status)
      case 'nothing':
        return empty(404)
    }
  }
}
