// The parts of one front: the plan of the folder, the site it becomes, the HTTP door in front of it.

import { buildSite, describeFolder } from '../config/index.ts'
import type { PlanEntry } from '../config/index.ts'
import { serveHttp } from '../http/index.ts'
import type { FrontContext, FrontParts } from '../runtime/index.ts'
import { openLogs } from './log.ts'
import type { LogOptions } from './log.ts'

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
  readonly entries: readonly PlanEntry[]
}

export async function buildFront(given: unknown, context: FrontContext): Promise<FrontParts> {
  const spec = given as SiteSpec
  // Looked at by each generation: a reload finds what has been installed or added.
  const plan = await describeFolder(spec.folder, spec)
  const logs = openLogs(spec.log)
  const { log, access } = logs
  const application = await buildSite(plan, { log, guard: context.guard, ...(access !== undefined && { access }) })
  return {
    application,
    serve: (each, { fd, address }) => serveHttp(each, { listen: { fd, ...('path' in address && { name: address.path }) }, log }),
    log,
    report: { entries: plan.entries } satisfies FrontReport,
    reopen: logs.reopen,
    close: logs.close,
  }
}
