// One front: the process that serves, from its own side. The supervisor started it and tells it when to go.
//
// It builds its application, waits until that can answer, listens on the sockets it inherited and says so; told to drain,
// it ends what runs and exits 0. A terminal's Ctrl-C reaches every process of the group, so a front leaves signals to the
// supervisor; and when that is gone, which the IPC channel tells, it goes as well: nobody else would ever end it.

import { describe } from '../core/index.ts'
import type { Address, Application, Backend, Log, Server } from '../core/index.ts'
import { openGuard } from '../process/index.ts'
import type { Guard } from '../process/index.ts'
import { FIRST_LISTENER } from './messages.ts'
import type { FromFront, ToFront } from './messages.ts'

/** Milliseconds for what runs when the supervisor is gone: its port should be free soon for the next one. */
const ORPHAN_GRACE = 1000
/** Milliseconds that closing may take beyond its grace. */
const CLOSE_MARGIN = 2000

/** Milliseconds for the log lines of the end. */
const LAST_WORDS = 1500

/** One inherited listening socket: not yet listening. */
export interface InheritedSocket {
  /** Its place among those that the supervisor was told to open. */
  readonly index: number
  /** Its descriptor in this process. */
  readonly fd: number
  /** With the real port. */
  readonly address: Address
}

/** What a front is told of the place it takes. */
export interface FrontContext {
  /** 1 for the first front of a supervisor, one more for each that follows. */
  readonly generation: number
  /** No other front serves: the first start, and the one after a crash. Else this one is to take over from one that does. */
  readonly alone: boolean
  /** All that was opened, in the order in which the supervisor was told: with the real ports. */
  readonly addresses: readonly Address[]
  /** Kills the process groups registered with it if this process dies without a word. */
  readonly guard: Guard
  /** The report is another one now. */
  readonly changed: () => void
}

/** What a front is made of. */
export interface FrontParts {
  /** Closed by the front at its end. */
  readonly application: Backend
  /** Listens on one inherited socket. */
  serve(application: Application, socket: InheritedSocket): Promise<Server>
  /** Where the front writes to. */
  readonly log: Log
  /** Plain data for the supervisor: looked at when this front serves, and whenever it has `changed`. */
  readonly report?: unknown
  /** Log files were renamed. */
  reopen?(): void
  /** The very last step, also of an end because of an error: log lines are written. Not waited for longer than a second or so. */
  close?(): Promise<void>
}

/** How a front is built. */
export interface FrontOptions {
  /** Makes the parts of what the supervisor sent as `spec`. What it rejects with reaches the supervisor's log. */
  build(spec: unknown, context: FrontContext): Promise<FrontParts>
  /** Whether an error that nobody caught is somebody's who looks after it. Asked in the turn in which it is thrown. Else it ends the front. */
  owned?(): boolean
}

/** Runs this process as a front. It ends by process.exit. */
export function runFront(options: FrontOptions): void {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const) process.on(signal, () => {})
  if (process.send === undefined) throw new Error('runtime: a front is started by a supervisor, over an IPC channel')
  const front = new Front(options)
  process.on('message', (message) => front.hear(message as ToFront))
  process.on('disconnect', () => void front.leave(ORPHAN_GRACE))
  // Rejections without a handler come here too: node throws them.
  process.on('uncaughtException', (error) => {
    if (options.owned?.() !== true) front.crash(error)
  })
}

class Front {
  readonly #options: FrontOptions
  readonly #guard = openGuard()
  readonly #servers: Server[] = []
  #parts: FrontParts | undefined
  #starting: Promise<void> | undefined
  #isReady = false
  #leaving = false
  #cut: NodeJS.Timeout | undefined

  constructor(options: FrontOptions) {
    this.#options = options
  }

  hear(message: ToFront): void {
    if (message.type === 'start') this.#starting = this.#start(message)
    else if (message.type === 'drain') void this.leave(message.grace)
    else this.#parts?.reopen?.()
  }

  async #start(message: ToFront & { type: 'start' }): Promise<void> {
    try {
      const { spec, generation, alone, addresses } = message
      const changed = (): void => this.#changed()
      this.#parts = await this.#options.build(spec, { generation, alone, addresses, guard: this.#guard, changed })
      const { application } = this.#parts
      await application.ready()
      for (const [index, address] of addresses.entries()) {
        if (this.#leaving) return
        this.#servers.push(await this.#parts.serve(application, { index, fd: FIRST_LISTENER + index, address }))
      }
      this.#isReady = true
      this.#tell({ type: 'ready', report: this.#parts.report })
    } catch (error) {
      if (this.#leaving) return
      this.#tell({ type: 'failed', message: describe(error) })
      // Not awaited: it waits for this very function where nothing was built.
      void this.leave(0, 1)
    }
  }

  #changed(): void {
    if (this.#isReady && !this.#leaving) this.#tell({ type: 'report', report: this.#parts?.report })
  }

  /** Ends everything in order: no new connections, what runs, the application, the log; then the process. Again: in `grace` at the latest. */
  async leave(grace: number, code: number = 0): Promise<void> {
    if (this.#leaving) return this.#cutAfter(grace)
    this.#leaving = true
    this.#cutAfter(grace + CLOSE_MARGIN)
    const end = performance.now() + grace
    try {
      await Promise.all(this.#servers.map((server) => server.close(grace)))
      // What is still being built cannot be closed before it is there.
      if (this.#parts === undefined) await this.#starting
      await this.#parts?.application.close(Math.max(0, end - performance.now()))
    } catch (error) {
      this.#parts?.log.error({ error: describe(error) }, 'runtime: closing failed')
      code = 1
    }
    await this.#exit(code)
  }

  /** The guard ends the programs that are left. */
  #cutAfter(delay: number): void {
    const cut = (): void => {
      this.#parts?.log.warn({}, 'runtime: requests that were still running are cut')
      void this.#exit(0)
    }
    clearTimeout(this.#cut)
    this.#cut = setTimeout(cut, delay)
  }

  crash(error: unknown): void {
    const stack = error instanceof Error ? (error.stack ?? error.message) : String(error)
    if (this.#parts === undefined) this.#tell({ type: 'failed', message: stack })
    else this.#parts.log.error({ error: stack }, 'runtime: an error nobody caught ends this front')
    void this.#exit(1)
  }

  #tell(message: FromFront): void {
    // A supervisor that is gone cannot be told; "disconnect" ends this front.
    process.send?.(message, undefined, undefined, () => {})
  }

  async #exit(code: number): Promise<void> {
    const limit = setTimeout(() => process.exit(code), LAST_WORDS)
    try {
      await this.#parts?.close?.()
    } finally {
      clearTimeout(limit)
      // Ends the programs that are left, as our end would.
      this.#guard.close()
      process.exit(code)
    }
  }
}
