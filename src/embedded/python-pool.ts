// Python without a Python: the pool of `viaduct/wsgi`, whose workers live in threads of this process, in interpreters in WebAssembly.
//
// Protocol, limits, queue and the worker's own program are those of the native pool. What differs is where a worker lives, and that it
// has one request at a time: what could take others back from it are signals, which there are none of.

import { readFileSync, realpathSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { fileURLToPath } from 'node:url'
import { silent } from '../core/index.ts'
import type { Backend, Log } from '../core/index.ts'
import type { Exit, Guard } from '../process/index.ts'
import { WORKER_PROGRAM, wsgiPool } from '../wsgi/index.ts'
import type { HostEvents, HostOptions, OpenHost, WorkerHost, WsgiLimits, WsgiPool } from '../wsgi/index.ts'
import { temporaryFolder, temporaryPlace } from './folders.ts'
import type { Mount } from './files.ts'
import { requireEmbedded } from './packages.ts'
import { Pipe } from './pipe.ts'
import { announce } from './progress.ts'
import type { FromPython, PythonThreadData } from './python-messages.ts'
import { Thread, lineSink } from './thread.ts'
import { wasm } from './wasm.ts'
import type { WasmModule } from './wasm.ts'
import { Wire } from './wire.ts'

/** What an embedded Python can be told. */
export interface EmbeddedWsgiOptions {
  /** As for `wsgiPool`. */
  readonly app: string
  /** The application's folder: working folder of the workers, first on sys.path. Default: that of the file, else ours. */
  readonly folder?: string
  /** The folder that the application can see. Default: its own. */
  readonly root?: string
  /** Whether it may change what is in it. Default `read-write`, as for a native Python. */
  readonly files?: 'read-write' | 'read-only'
  /** For the log and for messages. Default: `app`. */
  readonly name?: string
  /** Threads, each with an interpreter that serves one request at a time. Default 2. */
  readonly workers?: number
  /** The interpreters' environment. Nothing of ours is inherited. */
  readonly env?: Readonly<Record<string, string>>
  /** In place of the defaults, one by one. */
  readonly limits?: Partial<EmbeddedWsgiLimits>
  /** Hears of what goes wrong, and in debug lines of what happens. Default: nobody does. */
  readonly log?: Log
  /** Removes the folder for temporary files when this process is killed. Without one it stays behind then. */
  readonly guard?: Guard
}

/** Those of a pool of Python processes, and one more. */
export interface EmbeddedWsgiLimits extends WsgiLimits {
  /** Bytes of one interpreter's memory. Default 512 MiB. */
  readonly memory: number
}

const MEMORY = 512 * 1024 ** 2
const START = 60_000
const PIPE = 262_144
const ERRORS = 65_536
/** Of a thread that ends by itself. */
const ENDED: Exit = { code: 0, signal: null }
const KILLED: Exit = { code: null, signal: 'SIGKILL' }

/** A Python application. Throws CONFIG when the package is not installed; all else is as with `wsgiPool`. */
export function embeddedWsgi(options: EmbeddedWsgiOptions): WsgiPool {
  const interpreter = requireEmbedded('python')
  const { limits = {}, log = silent } = options
  const temporary = temporaryFolder(options.guard)
  const module = compiled(interpreter.url)
  const done = announce(log, options.name ?? options.app, `Python ${interpreter.version} (WebAssembly)`)
  const host: OpenHost = (each, events) =>
    new ThreadHost(each, events, {
      url: interpreter.url,
      module,
      temporary: temporary.path,
      writable: options.files !== 'read-only',
      memory: limits.memory ?? MEMORY,
      ...(options.root !== undefined && { root: realpathSync(options.root) }),
    })
  const pool = wsgiPool(
    {
      app: options.app,
      depth: 1,
      log,
      limits: { start: START, ...limits },
      ...(options.folder !== undefined && { folder: options.folder }),
      ...(options.name !== undefined && { name: options.name }),
      ...(options.workers !== undefined && { workers: options.workers }),
      ...(options.env !== undefined && { env: options.env }),
    },
    host,
  )
  pool.ready().then(
    () => done(true),
    // It has closed itself.
    () => {
      done(false)
      void temporary.remove()
    },
  )
  return withCleanUp(pool, temporary.remove)
}

function withCleanUp(pool: WsgiPool, cleanUp: () => Promise<void>): WsgiPool {
  const { close } = pool
  const whole: Backend['close'] = async (grace) => {
    await close(grace)
    await cleanUp()
  }
  return Object.assign(pool, { close: whole, [Symbol.asyncDispose]: () => whole() })
}

interface ThreadHostOptions {
  readonly url: string
  readonly module: Promise<Compiled>
  readonly temporary: string
  readonly root?: string
  readonly writable: boolean
  readonly memory: number
}

class ThreadHost implements WorkerHost {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #events: HostEvents
  readonly #input = new Pipe(Pipe.memory(PIPE))
  readonly #output = new Pipe(Pipe.memory(PIPE))
  readonly #errors = new Pipe(Pipe.memory(ERRORS))
  readonly #full = new Int32Array(new SharedArrayBuffer(4))
  readonly #wire = new Wire(this.#input, this.#output, () => this.#look())
  readonly #stderr: { write(bytes: Uint8Array): void; end(): void }
  #thread: Thread<never, FromPython> | undefined
  #killed = false

  constructor(options: HostOptions, events: HostEvents, host: ThreadHostOptions) {
    this.#events = events
    this.pid = ++hosts
    this.#stderr = lineSink((line) => events.said(line))
    this.exited = this.#run(options, host)
  }

  async #run(options: HostOptions, host: ThreadHostOptions): Promise<Exit> {
    try {
      const { module, size } = await host.module
      if (this.#killed) return KILLED
      const thread = new Thread<never, FromPython>({
        file: 'python-thread',
        data: this.#data(options, host, module, size),
        message: (message) => this.#message(message),
        line: (line) => this.#events.said(line),
      })
      this.#thread = thread
      const reason = await thread.exited
      if (reason !== undefined && !this.#killed) this.#events.said(reason)
    } catch (error) {
      this.#events.said(String(error))
    }
    this.#drainErrors()
    this.#stderr.end()
    this.#events.silent()
    // What it said last, perhaps what it gives back.
    this.#wire.arrived()
    await new Promise((resolve) => setImmediate(resolve))
    this.#wire.destroy()
    return this.#killed ? KILLED : ENDED
  }

  #data(options: HostOptions, host: ThreadHostOptions, module: WasmModule, size: number): PythonThreadData {
    const folder = realpathSync(options.folder)
    const root = host.root !== undefined && `${folder}/`.startsWith(`${host.root}/`) ? host.root : folder
    const temporary = temporaryPlace(root)
    const mounts: Mount[] = [
      { path: root, writable: host.writable },
      { path: host.temporary, at: temporary, writable: true },
    ]
    const { application, threads, multiprocess } = options
    return {
      url: host.url,
      module,
      moduleSize: size,
      program: readFileSync(WORKER_PROGRAM, 'utf8'),
      starter: readFileSync(new URL('./python.py', import.meta.url), 'utf8'),
      settings: JSON.stringify({ application, folder, threads, multiprocess }),
      env: options.env,
      mounts,
      temporary,
      folder,
      memory: host.memory,
      input: this.#input.memory,
      output: this.#output.memory,
      errors: this.#errors.memory,
      full: this.#full.buffer as SharedArrayBuffer,
    }
  }

  #message(message: FromPython): void {
    if (message === 'output') this.#wire.arrived()
    else if (message === 'room') this.#wire.room()
    else if (message === 'errors') this.#drainErrors()
    else this.#events.listening([this.#wire])
  }

  /** Before it is known that a request is over: nothing more is sent to one that is to be replaced. */
  #look(): void {
    if (Atomics.exchange(this.#full, 0, 0) === 1) this.#events.leaving()
  }

  #drainErrors(): void {
    this.#errors.heard()
    const bytes = this.#errors.read()
    if (bytes.length > 0) this.#stderr.write(bytes)
  }

  ask(): void {}

  trace(): void {}

  kill(): void {
    this.#killed = true
    this.#thread?.kill()
  }
}

let hosts = 0

interface Compiled {
  readonly module: WasmModule
  readonly size: number
}

// Once for all pools and threads of this process.
let module: Promise<Compiled> | undefined

function compiled(url: string): Promise<Compiled> {
  module ??= (async () => {
    const bytes = await readFile(`${dirname(fileURLToPath(url))}/pyodide.asm.wasm`)
    return { module: await wasm.compile(bytes), size: bytes.length }
  })()
  module.catch(() => {})
  return module
}
