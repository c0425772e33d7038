// The serving process of `viaduct fpm`: its pools, on the sockets it inherited. The master started it and tells it when to go.

import { rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { backend } from '../core/index.ts'
import type { Address, Application, Log, Server } from '../core/index.ts'
import { describe } from '../core/index.ts'
import { emergency } from '../process/index.ts'
import type { Guard } from '../process/index.ts'
import type { FrontContext, FrontParts, InheritedSocket } from '../runtime/index.ts'
import type { FpmConfig, PoolConfig } from './config/types.ts'
import type { Journal } from './journal.ts'
import { Leader } from './leader.ts'
import { MainLog } from './log/main-log.ts'
import { Speech } from './log/speech.ts'
import { phpCommand, programCommand } from './php-command.ts'
import type { PhpProgram } from './php-command.ts'
import { Pool } from './pool.ts'
import type { PoolOptions } from './pool.ts'
import type { CrewSource } from './staff-options.ts'
import { ProgramCrew } from './program-crew.ts'
import { Records } from './records.ts'
import { Budget } from './budget.ts'
import { copyUnreadable } from './undumpable.ts'
import type { UnreadableCopy } from './undumpable.ts'
import { identify } from './user.ts'
import type { Identity } from './user.ts'

/** What the master tells a front. Plain data. */
export interface FrontSpec {
  readonly config: FpmConfig
  readonly php: PhpProgram | undefined
  /** In place of php-cgi: a FastCGI program and its arguments. */
  readonly program: readonly [string, ...string[]] | undefined
  /** The main log is the configuration's, not standard error. */
  readonly logUsed: boolean
}

/** What a front tells its master beyond a front's usual news, for the service manager. */
export interface Tally {
  readonly type: 'tally'
  readonly active: number
  readonly idle: number
  readonly accepted: number
  readonly slow: number
}

type Common = Omit<PoolOptions, 'startCrew' | 'folders' | 'crewWith' | 'subject' | 'php'>

/** Milliseconds between two of them. */
const TALLY = 1000

/** Builds the pools. What it rejects with reaches the main log. */
export async function buildFpm(spec: unknown, context: FrontContext): Promise<FrontParts> {
  const front = new FpmFront(spec as FrontSpec, context.guard)
  const application = backend(() => ({ status: 500, headers: [], body: null }), {
    ready: () => front.ready(),
    close: (grace) => front.close(grace ?? 0),
  })
  return {
    application,
    serve: (_: Application, socket: InheritedSocket) => front.serve(socket),
    log: front.log,
    reopen: () => front.reopen(),
    close: async () => front.end(),
  }
}

class FpmFront {
  readonly log: Log
  readonly #spec: FrontSpec
  readonly #guard: Guard
  /** The manager's, who is our parent. */
  readonly #main = new MainLog(undefined, process.ppid)
  readonly #journal: Journal
  readonly #pools: Pool[] = []
  readonly #records: Records[] = []
  readonly #removals: (() => void)[] = []
  readonly #budget: Budget
  /** Of php-cgi; null: none can be had. */
  #copy: UnreadableCopy | null | undefined
  readonly #teller: NodeJS.Timeout
  #crashes: readonly number[] = []
  readonly #crashed = new Set<Pool>()

  constructor(spec: FrontSpec, guard: Guard) {
    this.#spec = spec
    this.#guard = guard
    const { config } = spec
    this.#main.configure(config.global, spec.logUsed)
    this.#main.launched()
    const journal: Journal = { write: (level, text, from = 'main') => this.#main.say({ level, text, from }) }
    this.#journal = journal
    this.log = {
      debug: (_, text) => journal.write('debug', text),
      info: (_, text) => journal.write('debug', text),
      warn: (_, text) => journal.write('warning', text),
      error: (fields, text) => journal.write('error', 'error' in fields ? `${text}: ${fields.error}` : text),
    }
    this.#budget = new Budget(config.global.processMax, journal)
    try {
      for (const pool of config.pools) this.#pools.push(this.#build(pool))
    } catch (error) {
      // The settings of those before it: nobody else knows of them.
      for (const remove of this.#removals) remove()
      throw error
    }
    this.#teller = setInterval(() => this.#tell(), TALLY).unref()
  }

  #build(config: PoolConfig): Pool {
    const root = process.geteuid?.() === 0
    const identity = root && config.user !== undefined ? identify(config.name, config.user, config.group) : undefined
    const records = new Records(config, this.#main, this.#journal)
    this.#records.push(records)
    const common = {
      config,
      journal: this.#journal,
      budget: this.#budget,
      identity,
      records,
      speech: new Speech(config, this.#spec.config.global.logBuffering, this.#main),
      crashed: (pool: Pool) => this.#emergency(pool),
    }
    if (config.statusOf !== undefined) {
      const subject = this.#pools.find((each) => each.config.name === config.statusOf)
      return new Pool({ ...common, startCrew: nobody, crewWith: nobody, folders: undefined, subject, php: false })
    }
    return this.#spec.program === undefined ? this.#phpPool(common) : this.#programPool(common, this.#spec.program)
  }

  #phpPool(common: Common): Pool {
    const { config, identity, speech } = common
    const crewWith = (changed: PoolConfig): CrewSource => {
      const command = phpCommand(changed, this.#php(changed, identity), identity, process.env)
      const startCrew = (): Leader => {
        const leader: Leader = new Leader({
          ...command,
          name: config.name,
          guard: this.#guard,
          onOutput: (stream, bytes) => speech.printed(speaker(pool, leader), stream, bytes),
        })
        return leader
      }
      const { folder, folders, remove } = command
      return { startCrew, folders, remove: folder === undefined ? remove : this.#keep(folder) }
    }
    const own = crewWith(config)
    this.#removals.push(own.remove)
    const pool: Pool = new Pool({ ...common, crewWith, startCrew: own.startCrew, folders: own.folders, subject: undefined, php: true })
    return pool
  }

  /** The program of a pool's workers, and its settings. */
  #php({ name, processDumpable, chroot }: PoolConfig, identity: Identity | undefined): PhpProgram {
    const php = this.#spec.php!
    // Without another user php-fpm's workers are dumpable as well.
    if (processDumpable || identity === undefined || identity.uid === 0 || chroot !== undefined) return php
    if (this.#copy === undefined) {
      this.#copy = copyUnreadable(php.file, identity) ?? null
      if (this.#copy === null) {
        const why = `a copy of ${php.file} that they may not read cannot be run from ${tmpdir()}`
        this.#journal.write('warning', `[pool ${name}] process.dumpable: workers can be traced by processes of their user, for ${why}`)
      } else {
        this.#removals.push(this.#keep(this.#copy.folder))
      }
    }
    return this.#copy === null ? php : { ...php, ...this.#copy }
  }

  /** Also when this process is killed the folder goes. @returns what removes it before. */
  #keep(folder: string): () => void {
    this.#guard.watchFolder(folder)
    return () => {
      rmSync(folder, { recursive: true, force: true })
      this.#guard.forgetFolder(folder)
    }
  }

  #programPool(common: Common, program: readonly [string, ...string[]]): Pool {
    const { config, identity } = common
    const command = programCommand(config, program, identity, process.env)
    const onOutput = (pid: number, stream: 'stdout' | 'stderr', bytes: Uint8Array): void => common.speech.printed(pid, stream, bytes)
    const startCrew = (): ProgramCrew => new ProgramCrew({ ...command, name: config.name, guard: this.#guard, onOutput })
    return new Pool({ ...common, startCrew, crewWith: nobody, folders: undefined, subject: undefined, php: false })
  }

  async ready(): Promise<void> {
    await Promise.all(this.#pools.map((pool) => pool.ready()))
  }

  async serve(socket: InheritedSocket): Promise<Server> {
    const pool = this.#pools[socket.index]!
    await pool.listen(socket.fd)
    const address: Address = socket.address
    // Pools close by themselves: what a request still needs must not go before it.
    return { address, swap() {}, close: async () => {}, [Symbol.asyncDispose]: async () => {} }
  }

  /** So many workers died of a broken memory that what they share may be the cause. */
  #emergency(pool: Pool): void {
    const { emergencyRestartThreshold: crashes, emergencyRestartInterval: interval } = this.#spec.config.global
    this.#crashed.add(pool)
    const verdict = emergency(this.#crashes, performance.now(), { crashes, interval: interval * 1000 })
    this.#crashes = verdict.times
    if (!verdict.emergency) return
    this.#journal.write(
      'warning',
      `failed processes threshold (${crashes} in ${interval} sec) is reached, initiating reload`,
      'fpm_children_bury',
    )
    for (const each of this.#crashed) each.restart()
    this.#crashed.clear()
  }

  #tell(): void {
    const tally: Tally = { type: 'tally', ...this.#sums() }
    process.send?.(tally, undefined, undefined, () => {})
  }

  #sums(): Omit<Tally, 'type'> {
    let active = 0
    let idle = 0
    let accepted = 0
    let slow = 0
    for (const pool of this.#pools) {
      const counts = pool.counts()
      idle += counts.idle
      active += counts.total - counts.idle
      accepted += pool.accepted
      slow += pool.slow
    }
    return { active, idle, accepted, slow }
  }

  reopen(): void {
    try {
      this.#main.reopen()
      for (const records of this.#records) records.reopen()
    } catch (error) {
      this.#journal.write('error', `log files cannot be opened anew: ${describe(error)}`)
    }
  }

  async close(grace: number): Promise<void> {
    clearInterval(this.#teller)
    await Promise.all(this.#pools.map((pool) => pool.close(grace)))
    for (const remove of this.#removals) remove()
  }

  end(): void {
    for (const records of this.#records) records.close()
    this.#main.close()
  }
}

/** So long after its request a child may be the one that said what is read now, in milliseconds. */
const RECENT = 20

/**
 * Who of a leader's children said something: they all write to one pipe, so it is known when only one of them can have been at work, and
 * else the leader is named.
 */
function speaker(pool: Pool, leader: Leader): number {
  const now = performance.now()
  let found: number | undefined
  for (const worker of pool.workers) {
    const { exchange, last, hand } = worker
    if (hand.crew !== leader || (exchange === undefined && now - (last?.endedAt ?? 0) > RECENT)) continue
    if (found !== undefined) return leader.pid
    found = worker.pid
  }
  return found ?? leader.pid
}

function nobody(): never {
  throw new Error('fpm: a pool that only tells has no workers')
}
