// The supervisor: holds the listening sockets, the pid file and the signals, and never serves.
//
// What it decides is process/generations.ts; this carries it out: starts fronts on the sockets it holds, passes on what they
// say, keeps the time. It stays small, so that nothing a request can do reaches it.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { describe } from '../core/index.ts'
import type { Address, Log } from '../core/index.ts'
import { GENERATIONS, NO_GENERATIONS, batchScheduling, decideGenerations } from '../process/index.ts'
import type { GenerationAction, GenerationEvent, GenerationLimits } from '../process/index.ts'
import { openListeners } from './listeners.ts'
import type { ListenSpec, Listener } from './listeners.ts'
import type { FromFront, ToFront } from './messages.ts'
import { writePidFile } from './pid-file.ts'
import { watchTerminal } from './terminal.ts'

/** A front serves. */
export interface ReadyNews {
  /** Its number, from 1. */
  readonly generation: number
  /** Of the front. */
  readonly pid: number
  /** Where, with the real ports. */
  readonly addresses: readonly Address[]
  /** What its builder wanted to be known. */
  readonly report: unknown
}

/** What is served, by which program, and for how long things may take. */
export interface SuperviseOptions {
  /** The sockets, opened here and handed down to each front. */
  readonly listen: readonly ListenSpec[]
  /** The program of a front: it calls `runFront`. */
  readonly frontEntry: string
  /** Plain data for the front's builder: as it is when a front is started. */
  readonly spec: unknown
  /** Where the supervisor writes to. */
  readonly log: Log
  /** Milliseconds until a front must be ready. Default 60 000. */
  readonly startTimeout?: number
  /** Milliseconds for the requests that run when a front is told to go. Default 30 000. */
  readonly drainTimeout?: number
  /** Written once the sockets are open, and removed at the end. Default: none. */
  readonly pidFile?: string
  /** Signals that came before this was called; called once, when the handlers are there. */
  readonly earlySignals?: () => readonly NodeJS.Signals[]
  /** Hears of each front that serves. */
  readonly onReady?: (news: ReadyNews) => void
  /** Hears of the front that serves when what it reported has changed. */
  readonly onReport?: (report: unknown) => void
}

// A reload by HUP as daemons have it, by USR2 as those do whose HUP means something else.
const EVENTS: Readonly<Partial<Record<NodeJS.Signals, 'stop' | 'drain' | 'reload' | 'reopen'>>> = {
  SIGINT: 'stop',
  SIGTERM: 'stop',
  SIGQUIT: 'drain',
  SIGHUP: 'reload',
  SIGUSR2: 'reload',
  // Handled even where there is no log to open anew: without a handler it opens Node's inspector.
  SIGUSR1: 'reopen',
}

/**
 * Serves through fronts until it is told to stop; resolves with the exit code: 0 after a stop, however hurried, and that of
 * the first front if it never came up. Rejects with ListenError when a socket cannot be had.
 *
 * SIGINT and SIGTERM let running requests finish; the second one cuts them, the third kills. SIGQUIT lets them finish.
 * SIGHUP and SIGUSR2 start the next generation, but a SIGHUP because the terminal was closed is a stop. SIGUSR1 has log files opened anew.
 */
export async function supervise(options: SuperviseOptions): Promise<number> {
  const supervisor = new Supervisor(options)
  const signals = Object.keys(EVENTS) as NodeJS.Signals[]
  const hear = (signal: NodeJS.Signals): void => supervisor.signal(signal)
  for (const signal of signals) process.on(signal, hear)
  for (const signal of options.earlySignals?.() ?? []) hear(signal)
  try {
    return await supervisor.run()
  } finally {
    for (const signal of signals) process.off(signal, hear)
  }
}

/**
 * A front handles many small requests between a client and its workers, all on the same cores: under SCHED_BATCH none of them throws
 * the other off its core when it is woken, and helper threads for the garbage of a small heap cost more than they give. Together a
 * tenth more pages of PHP.
 */
function command(entry: string): readonly [string, ...string[]] {
  const batch = batchScheduling()
  const node = [process.execPath, '--max-semi-space-size=16', '--no-parallel-scavenge', entry] as const
  const [first, ...rest] = 'chain' in batch ? batch.chain : []
  return first === undefined ? node : [first, ...rest, ...node]
}

class Supervisor {
  readonly #options: SuperviseOptions
  readonly #limits: GenerationLimits
  readonly #fronts = new Map<number, ChildProcess>()
  readonly #timers = new Set<NodeJS.Timeout>()
  readonly #terminalGone = watchTerminal()
  #state = NO_GENERATIONS
  #listeners: Listener[] = []
  #early: NodeJS.Signals[] | undefined = []
  #end: (code: number) => void = () => {}

  constructor(options: SuperviseOptions) {
    this.#options = options
    const { startTimeout = GENERATIONS.start, drainTimeout = GENERATIONS.stop } = options
    this.#limits = { ...GENERATIONS, start: startTimeout, drain: drainTimeout, stop: drainTimeout }
  }

  async run(): Promise<number> {
    let removePidFile: (() => void) | undefined
    try {
      this.#listeners = await openListeners(this.#options.listen)
      if (this.#options.pidFile !== undefined) removePidFile = writePidFile(this.#options.pidFile)
      return await new Promise<number>((resolve) => {
        this.#end = resolve
        this.#tell({ type: 'begin' })
        const early = this.#early!
        this.#early = undefined
        for (const signal of early) this.signal(signal)
      })
    } finally {
      for (const timer of this.#timers) clearTimeout(timer)
      this.#closeListeners()
      removePidFile?.()
    }
  }

  signal(signal: NodeJS.Signals): void {
    if (this.#early !== undefined) {
      // Sockets are still being opened. There is nothing to stop yet, so it waits until there is.
      this.#early.push(signal)
      return
    }
    const meaning = signal === 'SIGHUP' && this.#terminalGone() ? 'stop' : EVENTS[signal]
    this.#options.log.debug({ signal }, 'runtime: signal')
    if (meaning === 'reopen') for (const front of this.#fronts.values()) send(front, { type: 'reopen' })
    else if (meaning !== undefined) this.#tell({ type: meaning })
  }

  #tell(event: GenerationEvent): void {
    const before = this.#state.phase
    const { state, actions } = decideGenerations(this.#state, event, performance.now(), this.#limits)
    this.#state = state
    if (state.phase !== before) this.#phaseChanged()
    for (const action of actions) this.#carryOut(action)
  }

  #phaseChanged(): void {
    const { phase } = this.#state
    const seconds = Math.round(this.#limits.stop / 1000)
    if (phase === 'stopping') this.#options.log.info({}, `stopping: requests have ${seconds} s to finish; once more stops at once`)
    if (phase === 'draining') this.#options.log.info({}, `stopping: requests have ${seconds} s to finish`)
    if (phase === 'hurrying') this.#options.log.info({}, 'stopping at once')
    // While our copy is open the kernel takes connections that nobody will ever accept.
    if (phase !== 'running') this.#closeListeners()
  }

  #closeListeners(): void {
    for (const listener of this.#listeners) listener.close()
  }

  #carryOut(action: GenerationAction): void {
    switch (action.type) {
      case 'start':
        this.#start(action.generation)
        this.#after(action.deadline, { type: 'start-timeout', generation: action.generation })
        break
      case 'drain':
        send(this.#fronts.get(action.generation), { type: 'drain', grace: action.grace })
        this.#after(action.deadline, { type: 'drain-timeout', generation: action.generation })
        break
      case 'kill':
        this.#fronts.get(action.generation)?.kill('SIGKILL')
        break
      case 'pause':
        this.#after(action.delay, { type: 'pause-over', generation: action.generation })
        break
      case 'report':
        this.#report(action)
        break
      case 'exit':
        this.#end(action.code)
        break
    }
  }

  /** The first start and the end are announced by others; in between, what goes well is news too. */
  #report({ level, generation, text }: GenerationAction & { type: 'report' }): void {
    const expected = level === 'info' && (generation === 1 || this.#state.phase !== 'running')
    this.#options.log[expected ? 'debug' : level]({}, text)
  }

  #after(delay: number, event: GenerationEvent): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#tell(event)
    }, delay)
    this.#timers.add(timer)
  }

  #start(generation: number): void {
    const descriptors = this.#listeners.map((listener) => listener.fd)
    const [program, ...args] = command(this.#options.frontEntry)
    const front = spawn(program, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...descriptors] })
    this.#fronts.set(generation, front)
    let why: string | undefined
    let over = false
    const exited = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (over) return
      over = true
      this.#fronts.delete(generation)
      this.#tell({ type: 'exited', generation, code, signal, why })
    }
    front.on('message', (message) => {
      const said = message as FromFront
      if (said.type === 'failed') why = said.message
      else if (said.type === 'report') this.#reported(generation, said.report)
      else this.#ready(generation, front, said.report)
    })
    front.once('exit', exited)
    front.on('error', (error) => {
      why ??= describe(error)
      // It was never started: there will be no exit.
      if (front.pid === undefined) exited(1, null)
    })
    const addresses = this.#listeners.map((listener) => listener.address)
    send(front, { type: 'start', generation, alone: this.#state.serving === undefined, spec: this.#options.spec, addresses })
  }

  #reported(generation: number, report: unknown): void {
    if (this.#state.serving === generation) this.#options.onReport?.(report)
  }

  #ready(generation: number, front: ChildProcess, report: unknown): void {
    const addresses = this.#listeners.map((listener) => listener.address)
    const serves = this.#state.starting === generation
    this.#tell({ type: 'ready', generation })
    if (serves) this.#options.onReady?.({ generation, pid: front.pid!, addresses, report })
  }
}

function send(front: ChildProcess | undefined, message: ToFront): void {
  // A front that has just died cannot be told; its exit is on the way.
  if (front?.connected === true) front.send(message, () => {})
}
