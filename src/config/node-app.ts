// JavaScript applications as a configuration has them: a file, in the process that serves.

import { describe } from '../core/index.ts'
import { loadApp } from '../node/index.ts'
import { wsgi } from '../wsgi/index.ts'
import { mending, startOf } from './mending.ts'
import type { Backend } from '../core/index.ts'
import type { WsgiApplication } from '../wsgi/index.ts'
import type { PlanEntry } from './describe.ts'
import type { BuildScope } from './kinds/kind.ts'

export interface NodePlan {
  /** Absolute. */
  readonly file: string
  /** The name of the export that is the application. */
  readonly export?: string
}

/** One that cannot be loaded is answered with the error; its code is read once, so that only a new front reads what was mended. */
export function buildNode(plan: NodePlan, scope: BuildScope, name: string): Backend {
  const load = (): Promise<Backend> =>
    loadApp(plan.file, {
      log: scope.log,
      wsgi: (callable) => wsgi(callable as WsgiApplication),
      ...(plan.export !== undefined && { export: plan.export }),
    }).catch((error: unknown) => {
      scope.log.error({ app: name, file: plan.file }, `${describe(error)}; SIGHUP reads it again`)
      throw error
    })
  return mending(load, { ...startOf(scope, name), now: true, again: false })
}

export function nodeEntry(path: string, file?: string): PlanEntry {
  return { path, kind: 'node', ...(file !== undefined && { file }), interpreter: 'node', version: process.versions.node }
}
