// The master of `viaduct fpm`: holds the listening sockets, the pid file and the signals, and never serves.
//
// What it decides is process/generations.ts; this carries it out in php-fpm's words. The front that serves is started on the sockets that
// the master holds; a reload reads the configuration anew and starts the next front, and lets the old one finish.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { rmSync } from 'node:fs'
import { describe } from '../core/index.ts'
import { GENERATIONS, NO_GENERATIONS, batchScheduling, decideGenerations } from '../process/index.ts'
import type { CaughtSignal, GenerationAction, GenerationEvent, GenerationLimits, Signals } from '../process/index.ts'
import type { FpmConfig, PoolConfig } from './config/types.ts'
import type { FrontSpec, Tally } from './front.ts'
import type { MainLog } from './log/main-log.ts'
import type { PhpProgram } from './php-command.ts'
import { bindSocket } from './sockets.ts'
import type { BoundSocket } from './sockets.ts'
import { EXIT_CONFIG, EXIT_OK, EXIT_SOFTWARE } from './options.ts'
import { own, writePid } from './self.ts'
import { openNotifier, statusLine } from './systemd.ts'

export interface MasterOptions {
  readonly config: FpmConfig
  readonly log: MainLog
  /** See usesErrorLog. */
  readonly logUsed: boolean
  readonly php: PhpProgram | undefined
  /** In place of php-cgi. */
  readonly program?: readonly [string, ...string[]]
  /** The program of a front. */
  readonly frontEntry: string
  readonly signals: Signals
  /** Reads the configuration anew; undefined: it is refused, and why has been said. */
  reread(): Promise<FpmConfig | undefined>
  /** Everything runs. */
  onReady(): void
}

/** Milliseconds for the requests that run when process_control_timeout is 0, where php-fpm does not wait at all. */
const PATIENCE = 30_000
/** Milliseconds from a stop to the end of what it kills. */
const STOP_MARGIN = 3000

/** Serves until told to stop; resolves with the exit code. */
export async function runMaster(options: MasterOptions): Promise<number> {
  const master = new Master(options)
  try {
    return await master.run()
  } catch (error) {
    options.log.say({ level: 'error', from: 'fpm_sockets_init_main', text: describe(error) })
    options.log.say({ level: 'error', from: 'fpm_init', text: 'FPM initialization failed' })
    return EXIT_CONFIG
  } finally {
    master.close()
  }
}

class Master {
  readonly #options: MasterOptions
  readonly #log: MainLog
  readonly #notifier = openNotifier()
  readonly #fronts = new Map<number, { readonly process: ChildProcess; readonly sockets: readonly BoundSocket[] }>()
  readonly #tallies = new Map<number, Tally>()
  readonly #timers = new Set<NodeJS.Timeout>()
  #config: FpmConfig
  #limits: GenerationLimits
  #state = NO_GENERATIONS
  #sockets: BoundSocket[] = []
  #pidFile: string | undefined
  #reloading = false
  /** Asked to reload while it did. */
  #stale = false
  #ready = false
  #reporter: NodeJS.Timeout | undefined
  #accepted = 0
  #end: (code: number) => void = () => {}

  constructor(options: MasterOptions) {
    this.#options = options
    this.#log = options.log
    this.#config = options.config
    this.#limits = limitsOf(options.config)
  }

  async run(): Promise<number> {
    const { config } = this.#options
    own(config.global, (text) => this.#say('warning', text, 'fpm_unix_init_main'))
    for (const pool of config.pools) this.#sockets.push(await this.#bind(pool))
    if (config.global.pid !== undefined) {
      this.#pidFile = writePid(config.global.pid)
    }
    this.#say('notice', `fpm is running, pid ${process.pid}`, 'fpm_init')
    return await new Promise<number>((resolve) => {
      this.#end = resolve
      this.#tell({ type: 'begin' })
      this.#options.signals.consume((signal) => this.#signal(signal))
    })
  }

  #bind(pool: PoolConfig): Promise<BoundSocket> {
    return bindSocket(pool, (text) => this.#say('notice', text, 'fpm_socket_af_inet_socket_by_addr'))
  }

  close(): void {
    for (const timer of this.#timers) clearTimeout(timer)
    clearInterval(this.#reporter)
    for (const socket of this.#sockets) socket.close()
    if (this.#pidFile !== undefined) rmSync(this.#pidFile, { force: true })
  }

  #say(level: 'debug' | 'notice' | 'warning' | 'error', text: string, from: string): void {
    this.#log.say({ level, text, from })
  }

  // ---- signals

  #signal(signal: CaughtSignal): void {
    this.#say('debug', `received ${signal}`, 'fpm_got_signal')
    switch (signal) {
      case 'SIGINT':
      case 'SIGTERM':
        this.#say('notice', 'Terminating ...', 'fpm_got_signal')
        this.#tell({ type: 'stop' })
        break
      case 'SIGQUIT':
        this.#say('notice', 'Finishing ...', 'fpm_got_signal')
        this.#tell({ type: 'drain' })
        break
      case 'SIGUSR1':
        this.#reopen()
        break
      case 'SIGUSR2':
      case 'SIGHUP':
        this.#say('notice', 'Reloading in progress ...', 'fpm_got_signal')
        void this.#reload()
        break
    }
  }

  #reopen(): void {
    try {
      this.#log.reopen()
      this.#say('notice', 'error log file re-opened', 'fpm_got_signal')
    } catch (error) {
      this.#say('error', `unable to re-open error log file: ${describe(error)}`, 'fpm_got_signal')
    }
    for (const { process: front } of this.#fronts.values()) send(front, { type: 'reopen' })
  }

  /** One at a time. What cannot be read changes nothing: what serves goes on. */
  async #reload(): Promise<void> {
    if (this.#state.phase !== 'running') return
    if (this.#reloading) {
      // What has been read may not be what is there now.
      this.#stale = true
      return
    }
    this.#reloading = true
    void this.#notifier?.send('RELOADING=1')
    const fresh: BoundSocket[] = []
    try {
      const config = await this.#options.reread()
      if (config === undefined) {
        this.#say('error', 'the configuration is refused; what was loaded before goes on', 'fpm_reload')
        return
      }
      // Also those that only a front of before has: what took its place did not come up.
      const before = [...new Set([...this.#sockets, ...this.#known])]
      const sockets: BoundSocket[] = []
      for (const { fd, listen } of before) this.#say('notice', `using inherited socket fd=${fd}, "${listen}"`, 'fpm_sockets_init_main')
      for (const pool of config.pools) {
        const kept = before.find((each) => each.listen === pool.listen)
        const socket = kept ?? (await this.#bind(pool))
        if (kept === undefined) fresh.push(socket)
        sockets.push(socket)
      }
      this.#config = config
      this.#limits = limitsOf(config)
      this.#sockets = sockets
      this.#tell({ type: 'reload' })
    } catch (error) {
      // A port that stayed bound would be in the way of every later reload.
      for (const socket of fresh) socket.close()
      this.#say('error', `${describe(error)}; what was loaded before goes on`, 'fpm_reload')
    } finally {
      this.#reloading = false
      if (this.#stale) {
        this.#stale = false
        void this.#reload()
      } else if (this.#ready) void this.#notifier?.send('READY=1')
    }
  }

  // ---- generations

  #tell(event: GenerationEvent): void {
    const { phase } = this.#state
    const { state, actions } = decideGenerations(this.#state, event, performance.now(), this.#limits)
    this.#state = state
    if (state.phase !== phase && state.phase !== 'running') {
      // While our copy is open the kernel takes connections that nobody will ever accept.
      for (const socket of this.#sockets) socket.close()
      void this.#notifier?.send('STOPPING=1')
    }
    for (const action of actions) this.#carryOut(action)
  }

  #carryOut(action: GenerationAction): void {
    switch (action.type) {
      case 'start':
        this.#start(action.generation)
        this.#after(action.deadline, { type: 'start-timeout', generation: action.generation })
        break
      case 'drain':
        send(this.#fronts.get(action.generation)?.process, { type: 'drain', grace: action.grace })
        this.#after(action.deadline, { type: 'drain-timeout', generation: action.generation })
        break
      case 'kill':
        this.#fronts.get(action.generation)?.process.kill('SIGKILL')
        break
      case 'pause':
        this.#after(action.delay, { type: 'pause-over', generation: action.generation })
        break
      case 'report':
        this.#say(action.level === 'info' ? 'debug' : action.level === 'warn' ? 'warning' : 'error', action.text, 'fpm_pctl')
        break
      case 'exit':
        this.#over(action.code)
        break
    }
  }

  #over(code: number): void {
    if (this.#ready) this.#say('notice', 'exiting, bye-bye!', 'fpm_pctl_exit')
    else this.#say('error', 'FPM initialization failed', 'fpm_init')
    this.#end(this.#ready ? EXIT_OK : code === 1 ? EXIT_CONFIG : EXIT_SOFTWARE)
  }

  #after(delay: number, event: GenerationEvent): void {
    const timer = setTimeout(() => {
      this.#timers.delete(timer)
      this.#tell(event)
    }, delay)
    this.#timers.add(timer)
  }

  #start(generation: number): void {
    const sockets = this.#sockets
    const [node, ...args] = command(this.#options.frontEntry)
    const front = spawn(node, args, { stdio: ['ignore', 'inherit', 'inherit', 'ipc', ...sockets.map(({ fd }) => fd)] })
    this.#fronts.set(generation, { process: front, sockets })
    let why: string | undefined
    let over = false
    const exited = (code: number | null, signal: NodeJS.Signals | null): void => {
      if (over) return
      over = true
      this.#fronts.delete(generation)
      this.#tallies.delete(generation)
      this.#tell({ type: 'exited', generation, code, signal, why })
      this.#release()
    }
    front.on('message', (message) => {
      const said = message as { type: 'ready' } | { type: 'failed'; message: string } | Tally
      if (said.type === 'failed') {
        why = said.message
        this.#say('error', said.message, 'fpm_children_create_initial')
      } else if (said.type === 'tally') this.#tallies.set(generation, said)
      else this.#serves(generation)
    })
    front.once('exit', exited)
    front.on('error', (error) => {
      why ??= describe(error)
      // It was never started: there will be no exit.
      if (front.pid === undefined) exited(1, null)
    })
    const { php, program, logUsed } = this.#options
    const spec: FrontSpec = { config: this.#config, php, program, logUsed }
    const addresses = sockets.map(({ address }) => address)
    send(front, { type: 'start', generation, alone: this.#state.serving === undefined, spec, addresses })
  }

  #serves(generation: number): void {
    if (this.#state.starting === generation) {
      if (this.#ready) this.#say('notice', `fpm is running, pid ${process.pid}`, 'fpm_init')
      this.#say('notice', 'ready to handle connections', 'fpm_event_loop')
    }
    this.#tell({ type: 'ready', generation })
    this.#release()
    if (this.#ready) return
    this.#ready = true
    this.#options.onReady()
    void this.#notifier?.send('READY=1', 'STATUS=Ready to handle connections', `MAINPID=${process.pid}`)
    const { systemdInterval } = this.#config.global
    const interval = systemdInterval > 0 ? `interval set to ${systemdInterval * 1000}ms` : 'disabled'
    this.#say('notice', `systemd monitor ${interval}`, 'fpm_systemd_heartbeat')
    if (systemdInterval <= 0) return
    if (this.#notifier !== undefined) this.#reporter = setInterval(() => this.#report(systemdInterval), systemdInterval * 1000)
  }

  /** Sockets that the last configuration does not have any more, once no front that serves them is left. */
  #release(): void {
    const used = new Set([...this.#sockets, ...[...this.#fronts.values()].flatMap(({ sockets }) => sockets)])
    for (const socket of this.#known) if (!used.has(socket)) socket.close()
    this.#known = used
  }

  #known: ReadonlySet<BoundSocket> = new Set()

  #report(interval: number): void {
    const tally = { active: 0, idle: 0, accepted: 0, slow: 0 }
    for (const each of this.#tallies.values()) for (const key of Object.keys(tally) as (keyof typeof tally)[]) tally[key] += each[key]
    const rate = Math.max(0, tally.accepted - this.#accepted) / interval
    this.#accepted = tally.accepted
    const watchdog = process.env['WATCHDOG_USEC'] === undefined ? [] : ['WATCHDOG=1']
    void this.#notifier?.send(...watchdog, 'READY=1', statusLine(tally, rate))
  }
}

/** How long each step of an end may take. */
function limitsOf({ global }: FpmConfig): GenerationLimits {
  const drain = global.processControlTimeout > 0 ? global.processControlTimeout * 1000 : PATIENCE
  return { ...GENERATIONS, drain, stop: 0, margin: STOP_MARGIN }
}

/** As the runtime's supervisor does it; but of a request little stays, so more room for what is new would only be more memory. */
function command(entry: string): readonly [string, ...string[]] {
  const batch = batchScheduling()
  const node = [process.execPath, '--max-semi-space-size=4', '--no-parallel-scavenge', entry] as const
  const [first, ...rest] = 'chain' in batch ? batch.chain : []
  return first === undefined ? node : [first, ...rest, ...node]
}

function send(front: ChildProcess | undefined, message: object): void {
  // A front that has just died cannot be told; its exit is on the way.
  if (front?.connected === true) front.send(message, () => {})
}
