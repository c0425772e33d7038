// The parts of one front: the plan of the folder, the applications it becomes, the HTTP door in front of them.

import { compose } from '../core/index.ts'
import { serveHttp } from '../http/index.ts'
import { accessLog, errorPage } from '../middleware/index.ts'
import type { FrontContext, FrontParts } from '../runtime/index.ts'
import { staticFiles } from '../static/index.ts'
import { openLogs } from './log.ts'
import type { LogOptions } from './log.ts'
import type { Row } from './table.ts'

/** Plain data: what the command line says about the site. */
export interface SiteSpec {
  readonly folder: string
  readonly workers?: number
  readonly phpCgi?: string
  /** Bytes. */
  readonly maxBody?: number
  readonly log: LogOptions
}

/** What a front tells its supervisor when it serves. */
export interface FrontReport {
  readonly rows: readonly Row[]
}

export async function buildFront(given: unknown, _context: FrontContext): Promise<FrontParts> {
  const spec = given as SiteSpec
  const logs = openLogs(spec.log)
  const { log } = logs
  const site = staticFiles({ root: spec.folder })
  const rows: Row[] = [{ path: '/', kind: 'static files' }]
  const middleware = [...(logs.access === undefined ? [] : [accessLog(logs.access)]), errorPage({ log })]
  return {
    application: compose(site, ...middleware),
    serve: (application, { fd, address }) =>
      serveHttp(application, {
        listen: { fd, ...('path' in address && { name: address.path }) },
        log,
        limits: spec.maxBody === undefined ? {} : { body: spec.maxBody },
      }),
    log,
    report: { rows } satisfies FrontReport,
    reopen: logs.reopen,
    flush: logs.flush,
    close: logs.close,
  }
}
