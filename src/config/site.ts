// From a plan to the application that serves the folder: the one place where kinds of files become backends.

import { backend, compose, derive, empty, fromByteString } from '../core/index.ts'
import { cgi } from '../cgi/index.ts'
import { accessLog, bodyLimit, errorPage, internal } from '../middleware/index.ts'
import { phpPool } from '../php/index.ts'
import { Files, isAmbiguous, toFolder } from '../static/index.ts'
import { interpreterOf, missing, shellWord } from './interpreter.ts'
import { lazy } from './lazy.ts'
import { Locator } from './locator.ts'
import { missingPage } from './missing-page.ts'
import type { CgiLimits } from '../cgi/index.ts'
import type { Application, Backend, ByteString, GatewayRequest, GatewayResponse, Log } from '../core/index.ts'
import type { AccessRecord } from '../middleware/index.ts'
import type { PhpLimits } from '../php/index.ts'
import type { Guard, Spawner } from '../process/index.ts'
import type { SitePlan } from './describe.ts'
import type { Missing } from './interpreter.ts'
import type { Found } from './locator.ts'

/** What a site gets from the process it lives in. */
export interface SiteContext {
  readonly log: Log
  /** Hears of each request at its end. */
  readonly access?: (record: AccessRecord) => void
  /** Kills the workers should this process vanish. Default: one of the pool's own. */
  readonly guard?: Guard
  /** Starts programs; asked for at most once, when the first program is to run. Default: one of the site's own. */
  readonly spawner?: () => Spawner
  readonly limits?: { readonly php?: Partial<PhpLimits>; readonly cgi?: Partial<CgiLimits> }
}

/** The site as one backend: closes what it starts. Rejects with CONFIG when the folder is gone. */
export async function buildSite(plan: SitePlan, context: SiteContext): Promise<Backend> {
  const site = new Site(plan, context)
  const { maxBody } = plan.settings
  return compose(
    site.backend,
    ...(context.access === undefined ? [] : [accessLog(context.access)]),
    errorPage({ log: context.log }),
    ...(maxBody === undefined ? [] : [bodyLimit(maxBody)]),
    internal(),
  )
}

class Site {
  readonly backend: Backend
  readonly #plan: SitePlan
  readonly #context: SiteContext
  readonly #files: Files
  readonly #locator: Locator
  readonly #index: ByteString
  readonly #php: Application
  readonly #cgi: Application

  constructor(plan: SitePlan, context: SiteContext) {
    this.#plan = plan
    this.#context = context
    const { settings } = plan
    this.#files = new Files({ root: plan.root, symlinks: settings.symlinks })
    this.#index = settings.index[0] ?? 'index.html'
    const programs = lazy(() => this.#programs(), settings.cgi.start)
    const php = this.#pool()
    this.#php = php
    this.#cgi = programs
    this.#locator = new Locator(this.#files.root, {
      php: settings.extensions,
      index: settings.index,
      inspect: (located) => (located.kind === 'cgi' ? this.#lacks(located.script) : Promise.resolve(undefined)),
    })
    this.backend = backend((request) => this.#route(request), {
      ready: async () => {
        await Promise.all([php.ready(), programs.ready()])
      },
      close: async (grace) => {
        await Promise.all([php.close(grace), programs.close(grace)])
      },
    })
  }

  #pool(): Backend {
    const { php, extensions } = this.#plan.settings
    if ('missing' in php) {
      const after = 'Then stop Viaduct and start it again, or send it SIGHUP.'
      return backend((request) => missingPage(request, php.missing, after), {})
    }
    const { log, guard, limits } = this.#context
    return lazy(
      () =>
        phpPool({
          name: 'php',
          phpCgi: php.file,
          workers: php.workers,
          extensions,
          log,
          ...(guard !== undefined && { guard }),
          ...(limits?.php !== undefined && { limits: limits.php }),
        }),
      php.start,
    )
  }

  #programs(): Backend {
    const { log, spawner, limits } = this.#context
    return cgi({
      name: 'cgi',
      env: { PATH: this.#plan.settings.cgi.path },
      log,
      ...(limits?.cgi !== undefined && { limits: limits.cgi }),
      ...(spawner !== undefined && { spawner: spawner() }),
    })
  }

  /** Looked at again with the file itself: an interpreter that has been installed meanwhile is found. */
  async #lacks(script: ByteString): Promise<Missing | undefined> {
    const { path } = this.#plan.settings.cgi
    const interpreter = await interpreterOf(this.#files.root.path + script, path)
    return interpreter === undefined || interpreter.file !== undefined ? undefined : missing(interpreter.name, path)
  }

  #route(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const path = request.pathInfo
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

  #report(path: ByteString, { located }: Found): void {
    if (located.kind !== 'refused') return
    const file = shellWord(fromByteString(this.#files.root.path + (located.program ?? path)))
    const remedy = located.program === undefined ? '' : `; if it is a program: chmod +x ${file}`
    const fields = { path: fromByteString(path), status: located.status }
    const message = `site: ${file}: ${located.reason}${remedy}`
    // A 404 of this kind is what every scanner asks for; a 403 is most likely something the owner wants to know.
    if (located.status === 403) this.#context.log.warn(fields, message)
    else this.#context.log.debug(fields, message)
  }

  #answer(request: GatewayRequest, found: Found): GatewayResponse | Promise<GatewayResponse> {
    const { located } = found
    switch (located.kind) {
      case 'static':
        return this.#files.hit(request, located.path) ?? this.#files.serve(request, located.path)
      case 'php':
      case 'cgi': {
        if (found.lacks !== undefined) return missingPage(request, found.lacks, 'Then load this page again.')
        const mount = request.scriptName
        const changes = mount === '' ? found.changes! : this.#locator.changes(mount, located.script, located.pathInfo)
        return (located.kind === 'php' ? this.#php : this.#cgi)(derive(request, changes))
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
