// PHP without a PHP: a pool of interpreters in WebAssembly, in threads of this process, as an application.
//
// The same rules as for a pool of php-cgi: a worker is taken when the whole request is here and has one at a time; one that is silent
// too long is killed; one that breaks costs its own request and nobody else's. A thread is killed as surely as a process, in the
// middle of a loop too.

import { readFile } from 'node:fs/promises'
import { realpathSync } from 'node:fs'
import { Dispatcher, Scoreboard, WELL, restart } from '../process/index.ts'
import type { RestartMemory } from '../process/index.ts'
import { GatewayError, backend, describe, spool, toByteString, silent } from '../core/index.ts'
import type { Backend, GatewayRequest, GatewayResponse, Log, PoolStatus, Spooled } from '../core/index.ts'
import { PHP_EXTENSIONS, hasExtension, resolveScript } from '../php/index.ts'
import { sessionFolder, temporaryFolder, temporaryPlace } from './folders.ts'
import type { TemporaryFolder } from './folders.ts'
import { Locks } from './locks.ts'
import { requireEmbedded } from './packages.ts'
import type { EmbeddedInterpreter } from './packages.ts'
import { LIMITS, iniFile } from './php-options.ts'
import type { EmbeddedPhpLimits, EmbeddedPhpOptions } from './php-options.ts'
import { PhpWorker } from './php-worker.ts'
import { announce } from './progress.ts'
import { wasm } from './wasm.ts'
import type { WasmModule } from './wasm.ts'

/** Where scripts find their sessions. */
const SESSIONS = '/sessions'

/**
 * PHP scripts of `root`. Throws CONFIG when the package is not installed. `ready` rejects with the reason when PHP does not start.
 * Requests reject with FILE_REFUSED (403), TIMEOUT (504), UPSTREAM_* (502), QUEUE_* and CLOSED (503), BODY_TOO_LARGE (413).
 */
export function embeddedPhp(options: EmbeddedPhpOptions): Backend {
  const pool = new Pool(options)
  return backend((request) => pool.handle(request), {
    ready: () => pool.ready,
    close: (grace) => pool.close(grace ?? 10_000),
    pools: () => [pool.status()],
  })
}

class Pool {
  readonly ready: Promise<void>
  readonly #name: string
  readonly #root: string
  readonly #limits: EmbeddedPhpLimits
  readonly #options: EmbeddedPhpOptions
  readonly #extensions: readonly string[]
  readonly #interpreter: EmbeddedInterpreter
  readonly #log: Log
  readonly #dispatcher: Dispatcher<PhpWorker>
  readonly #board: Scoreboard
  readonly #locks = new Locks()
  readonly #temporary: TemporaryFolder
  readonly #sessions: string
  readonly #workers = new Set<PhpWorker>()
  #module: WasmModule | undefined
  #closing = false

  constructor(options: EmbeddedPhpOptions) {
    this.#options = options
    this.#interpreter = requireEmbedded('php')
    this.#name = options.name ?? 'php'
    this.#root = realpathSync(options.root)
    this.#limits = { ...LIMITS, ...options.limits }
    this.#extensions = options.extensions ?? PHP_EXTENSIONS
    this.#log = options.log ?? silent
    this.#temporary = temporaryFolder(options.guard)
    this.#sessions = sessionFolder(this.#root)
    const { queue, queueTimeout, slow } = this.#limits
    this.#dispatcher = new Dispatcher({ name: this.#name, maxQueue: queue, queueTimeout })
    const interpreter = { mode: 'embedded', name: 'php', version: this.#interpreter.version } as const
    this.#board = new Scoreboard({ name: this.#name, kind: 'php', interpreter, type: 'thread', slow, log: this.#log })
    this.ready = this.#start()
    // Whoever awaits `ready` hears of it; a pool nobody waits for reports through its log and its 503s.
    this.ready.catch(() => {})
  }

  // ---- requests

  handle(request: GatewayRequest): GatewayResponse | Promise<GatewayResponse> {
    const script = scriptOf(request)
    if (script === undefined) return this.#resolve(request)
    if (!hasExtension(script, this.#extensions)) throw this.#refusal(`${script} does not end in ${this.#extensions.join(' or ')}`)
    if (!script.startsWith(toByteString(this.#root === '/' ? '/' : `${this.#root}/`)) || script.includes('/../')) {
      throw this.#refusal(`${script} is not in ${this.#root}, the folder that this PHP can see`)
    }
    if (request.contentLength === 0) return this.#run(request, undefined)
    return this.#upload(request)
  }

  #refusal(fact: string): GatewayError {
    return new GatewayError('FILE_REFUSED', { status: 403, message: `embedded: "${this.#name}": ${fact}, so it is not run` })
  }

  async #resolve(request: GatewayRequest): Promise<GatewayResponse> {
    const resolved = await resolveScript(request, this.#root, this.#extensions)
    return resolved === undefined ? { status: 404, headers: [], body: null } : this.handle(resolved)
  }

  /** A slow upload holds no worker. */
  async #upload(request: GatewayRequest): Promise<GatewayResponse> {
    const body = await spool(request.body, {
      memory: this.#limits.bodyMemory,
      limit: this.#limits.body,
      expected: request.contentLength,
    })
    return this.#run(request, body)
  }

  #run(request: GatewayRequest, body: Spooled | undefined): Promise<GatewayResponse> {
    const worker = this.#dispatcher.acquire(request)
    if (!(worker instanceof Promise)) return worker.send(request, body)
    return worker.then(
      (each) => each.send(request, body),
      (error: unknown) => {
        body?.close()
        throw error
      },
    )
  }

  // ---- workers

  get #size(): number {
    return this.#options.workers ?? 2
  }

  async #start(): Promise<void> {
    const done = announce(this.#log, this.#name, `PHP ${this.#interpreter.version} (WebAssembly)`)
    try {
      this.#module = await compiled(this.#interpreter)
      const results = await Promise.allSettled(Array.from({ length: this.#size }, async () => this.#spawn(WELL).ready))
      const failed = results.find((result) => result.status === 'rejected')
      if (failed !== undefined) throw failed.reason
      done(true)
    } catch (error) {
      done(false)
      void this.close(0)
      throw error
    }
  }

  #spawn(memory: RestartMemory): PhpWorker {
    let restarts = memory
    const worker = new PhpWorker(
      {
        name: this.#name,
        url: this.#interpreter.url,
        module: this.#module!,
        ini: iniFile({ temporary: temporaryPlace(this.#root), sessions: SESSIONS }, this.#options.ini),
        env: this.#options.env ?? {},
        mounts: [
          { path: this.#root, writable: this.#options.files !== 'read-only' },
          { path: this.#temporary.path, at: temporaryPlace(this.#root), writable: true },
          { path: this.#sessions, at: SESSIONS, writable: true },
        ],
        limits: this.#limits,
        locks: this.#locks,
        board: this.#board,
        log: this.#log,
      },
      {
        idle: (each) => this.#dispatcher.release(each),
        ended: (each, reason) => {
          this.#workers.delete(each)
          this.#dispatcher.remove(each)
          restarts = this.#replace(each, reason, restarts)
        },
      },
    )
    this.#workers.add(worker)
    worker.ready.then(
      () => {
        if (!this.#closing) this.#dispatcher.add(worker)
      },
      () => {},
    )
    return worker
  }

  #replace(worker: PhpWorker, reason: string, memory: RestartMemory): RestartMemory {
    if (this.#closing) return memory
    this.#board.restarts++
    if (worker.hung) this.#board.timeouts++
    else if (!worker.retired) this.#board.crashes++
    if (worker.retired) {
      this.#log.info({ app: this.#name, thread: worker.id }, `embedded: a PHP of "${this.#name}" is replaced: ${reason}`)
      this.#spawn(WELL)
      return WELL
    }
    const { delay, memory: next } = restart(memory, performance.now())
    this.#log.error(
      { app: this.#name, thread: worker.id },
      `embedded: a PHP of "${this.#name}" has ended: ${reason}; starting another one in ${delay} ms`,
    )
    setTimeout(() => {
      if (!this.#closing) this.#spawn(next)
    }, delay).unref()
    return next
  }

  status(): PoolStatus {
    return this.#board.status(this.#dispatcher.queue())
  }

  async close(grace: number): Promise<void> {
    if (this.#closing) return
    this.#closing = true
    await this.#dispatcher.drained(grace)
    this.#dispatcher.close(new GatewayError('CLOSED', { status: 503, message: `embedded: "${this.#name}" is closed`, retryAfter: 1 }))
    const workers = [...this.#workers]
    for (const worker of workers) worker.stop()
    await Promise.all(workers.map((worker) => worker.exited))
    await this.#temporary.remove().catch((error: unknown) => {
      this.#log.warn({ app: this.#name }, `embedded: ${this.#temporary.path} was not removed: ${describe(error)}`)
    })
  }
}

function scriptOf(request: GatewayRequest): string | undefined {
  const { own } = request.variables
  for (let i = 0; i < own.length; i += 2) if (own[i] === 'SCRIPT_FILENAME') return own[i + 1]
  return undefined
}

// Once for all pools and threads of this process: it is most of the time that a start takes.
let module: Promise<WasmModule> | undefined

function compiled({ url }: EmbeddedInterpreter): Promise<WasmModule> {
  module ??= (async () => {
    const { getPHPLoaderModule } = (await import(url)) as { getPHPLoaderModule(): Promise<{ dependencyFilename: string }> }
    const { dependencyFilename } = await getPHPLoaderModule()
    return wasm.compile(await readFile(dependencyFilename))
  })()
  return module
}
