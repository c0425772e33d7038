// The parts of one front: the plan of the folder, the applications it becomes, the HTTP door in front of them.

import { createServer } from 'node:http'
import { backend, text } from '../core/index.ts'
import type { FrontContext, FrontParts } from '../runtime/index.ts'
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
  const rows: Row[] = [{ path: '/', kind: 'static files' }]
  return {
    application: backend(() => text(200, 'hello\n'), {}),
    serve: async (_application, socket) => {
      const server = createServer((request, response) => {
        logs.access?.({ method: request.method, target: request.url, status: 200, bytes: 6, duration: 1 })
        response.end(`hello from ${process.pid}\n`)
      })
      await new Promise<void>((done, fail) => {
        server.once('error', fail)
        server.listen({ fd: socket.fd }, done)
      })
      return {
        address: socket.address,
        swap: () => {},
        close: () =>
          new Promise<void>((done) => {
            server.close(() => done())
            server.closeIdleConnections()
          }),
        [Symbol.asyncDispose]: () => Promise.resolve(),
      }
    },
    log: logs.log,
    report: { rows } satisfies FrontReport,
    reopen: logs.reopen,
    flush: logs.flush,
    close: logs.close,
  }
}
