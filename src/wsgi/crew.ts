// The processes of a pool: started together, each one that ends replaced, and ended together.

import { mkdtempSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe } from '../core/index.ts'
import type { GatewayError, Log } from '../core/index.ts'
import { WELL, openGuard, restart } from '../process/index.ts'
import type { Guard, RestartMemory } from '../process/index.ts'
import { findPython, locate } from './find.ts'
import { processHost } from './host.ts'
import type { OpenHost } from './host.ts'
import { silent } from './options.ts'
import type { WsgiLimits, WsgiPoolOptions } from './options.ts'
import { ShapeTable } from './shapes.ts'
import { Worker } from './worker.ts'
import type { WorkerOptions, WorkerOwner } from './worker.ts'

/** What a crew tells its pool. */
export interface CrewOwner extends WorkerOwner {
  /** It can serve. */
  joined(worker: Worker): void
  /** One could not be had. */
  failed(error: GatewayError): void
  /** It has ended. */
  left(worker: Worker): void
}

/** Milliseconds for an idle worker to end by itself. */
const PATIENCE = 2000

export class Crew {
  /** All that run, ready or not. */
  readonly workers: Set<Worker> = new Set()
  readonly #owner: CrewOwner
  readonly #size: number
  readonly #log: Log
  /** What the processes need, and where they are none, nothing. */
  readonly #processes: { readonly guard: Guard; readonly ownsGuard: boolean; readonly sockets: string } | undefined
  readonly #options: WorkerOptions
  #stopping = false

  /** Throws CONFIG for an application that cannot be one. */
  constructor(options: WsgiPoolOptions, name: string, limits: WsgiLimits, owner: CrewOwner, host: OpenHost | undefined) {
    const place = locate(options.app, options.folder)
    const threads = options.threads ?? 1
    this.#owner = owner
    this.#size = options.workers ?? 2
    this.#log = options.log ?? silent
    this.#processes =
      host === undefined
        ? {
            guard: options.guard ?? openGuard(),
            ownsGuard: options.guard === undefined,
            sockets: mkdtempSync(join(tmpdir(), 'viaduct-wsgi-')),
          }
        : undefined
    this.#options = {
      ...place,
      name,
      threads,
      multiprocess: this.#size > 1,
      // What is queued in a thread other than the first cannot be taken back: signals come to the first alone.
      depth: threads > 1 ? 1 : (options.depth ?? 8),
      env: options.env ?? {},
      start: limits.start,
      silence: limits.silence,
      shapes: new ShapeTable(),
      open:
        host ??
        processHost({
          python: options.python ?? findPython(place.folder),
          scheduling: options.scheduling ?? 'batch',
          ...this.#processes!,
        }),
      log: this.#log,
    }
  }

  /** Resolves when all can serve; rejects with the first reason why one never will. */
  async start(): Promise<void> {
    const results = await Promise.allSettled(Array.from({ length: this.#size }, async () => this.#spawn(WELL).ready))
    const failed = results.find((result) => result.status === 'rejected')
    if (failed !== undefined) throw failed.reason
  }

  #spawn(memory: RestartMemory): Worker {
    const worker = new Worker(this.#options, this.#owner)
    this.workers.add(worker)
    worker.ready.then(
      () => this.#joined(worker),
      (error: GatewayError) => this.#failed(error),
    )
    void worker.exited.then(() => this.#exited(worker, memory))
    return worker
  }

  #joined(worker: Worker): void {
    if (worker.exit !== undefined || this.#stopping) return
    this.#log.info(
      { app: this.#options.name, pid: worker.pid },
      `wsgi: worker ${worker.pid} serves ${worker.loaded} with Python ${worker.version}`,
    )
    this.#owner.joined(worker)
  }

  #failed(error: GatewayError): void {
    if (this.#stopping) return
    this.#log.error({ app: this.#options.name }, error.message)
    this.#owner.failed(error)
  }

  #exited(worker: Worker, memory: RestartMemory): void {
    this.workers.delete(worker)
    this.#owner.left(worker)
    if (this.#stopping) return
    const { exit } = worker
    const { delay, memory: next } = restart(memory, performance.now())
    this.#log.warn(
      { app: this.#options.name, pid: worker.pid },
      `wsgi: worker ${worker.pid} ended with ${exit?.signal ?? `status ${exit?.code}`}; starting another one in ${delay} ms`,
    )
    setTimeout(() => this.#again(next), delay).unref()
  }

  #again(memory: RestartMemory): void {
    if (this.#stopping) return
    try {
      this.#spawn(memory)
    } catch (error) {
      const { delay, memory: next } = restart(memory, performance.now())
      this.#log.error({ app: this.#options.name }, `${describe(error)}; trying again in ${delay} ms`)
      setTimeout(() => this.#again(next), delay).unref()
    }
  }

  /** Ends them all: at once where a request runs, for its time is over. */
  async stop(): Promise<void> {
    this.#stopping = true
    await Promise.all([...this.workers].map((worker) => worker.stop(busy(worker) ? 0 : PATIENCE)))
    if (this.#processes === undefined) return
    await rm(this.#processes.sockets, { recursive: true, force: true })
    if (this.#processes.ownsGuard) this.#processes.guard.close()
  }
}

function busy(worker: Worker): boolean {
  return worker.lines.some((line) => line.calls.length > 0)
}
