// One php-cgi that leads children of its own, held still: it is stopped (SIGSTOP) whenever it has forked all of its children.
//
// A leader forks, so that its children share one opcache. Held still, because then a child that dies stays as it died until somebody
// asks: how it ended can be read, and no other takes its place before the manager wants one. Children that were never connected to
// are parked: they wait in accept(2), have done nothing, and cost next to nothing. A few more of them than the pool may use make it
// possible to let the leader go on when nobody is at work. When it must fork while somebody is, its children are held still meanwhile:
// whoever dies while the leader runs is waited for by it, and nobody learns how; and who is held still does not crash.

import { SKIPPED } from '../fastcgi/index.ts'
import { SocketProgram, childrenOf, descriptorsOf, launch, signalGroup } from '../process/index.ts'
import type { Accepted, Exit, Guard } from '../process/index.ts'
import type { Crew, Hand } from './crew.ts'
import { Link } from './link.ts'
import { processStat, readWaitStatus } from './proc.ts'
import type { Ending } from './proc.ts'

export interface LeaderOptions {
  /** The pool, for messages. */
  readonly name: string
  /** Tools that set what Node cannot, then php-cgi and its arguments. */
  readonly command: readonly [string, ...string[]]
  /** The php-cgi among them, for messages. */
  readonly program: string
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly children: number
  readonly guard: Guard
  /** What it and its children write. */
  onOutput(stream: 'stdout' | 'stderr', bytes: Uint8Array): void
}

/** Milliseconds for the forks after a start or a death. */
const FORK_TIME = 20_000
/** So long this process does nothing else while a few are forked, in milliseconds, and between two looks. It takes about one. */
const STANDSTILL = 20
/** Milliseconds for which children are held still at most, and to come to that: one that waits for a disk, or writes a core file, is late. */
const HELD_TIME = 1000
const HOLD_TIME = 500
const GLANCE = 0.3
/** Milliseconds after which a connection that nobody has accepted is a sign that nobody can. */
const ACCEPT_TIME = 50
/** Ends that are remembered. */
const ENDINGS = 1024
/** Milliseconds that a process whose connection broke has to be seen as dead. */
const DEATH_TIME = 250

/** Nobody ever wakes who waits on it. */
const clock = new Int32Array(new SharedArrayBuffer(4))

export class Leader implements Crew {
  readonly pid: number
  readonly counts: boolean = true
  readonly exited: Promise<Exit>
  readonly #guard: Guard
  /** How many children it has when none is missing. */
  readonly #size: number
  readonly #program: SocketProgram
  /** Everything that looks for who gained what happens one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  /** How those ended that nobody has asked about, by pid: letting the leader go on lets the kernel forget it. */
  readonly #endings = new Map<number, Ending>()

  /** Starts it; throws when the program cannot be started. */
  constructor({ name, command, program, cwd, env, children, guard, onOutput }: LeaderOptions) {
    const [file, ...args] = command
    this.#guard = guard
    this.#size = children
    this.#program = new SocketProgram({
      prefix: 'viaduct-fpm-',
      start: (fd) => launch(file, args, { cwd, env, stdio: [fd, 'pipe', 'pipe'], scheduling: 'batch' }),
      guard,
      complaint: (pid) => `fpm: [pool ${name}] no child of ${program} (pid ${pid}) took a connection`,
    })
    this.pid = this.#program.pid
    this.exited = this.#program.exited
    const { stdout, stderr } = this.#program.process
    stdout?.on('data', (bytes: Buffer) => onOutput('stdout', bytes))
    stdout?.on('error', () => {})
    stderr?.on('data', (bytes: Buffer) => onOutput('stderr', bytes))
    void this.#next(() => this.#forked())
  }

  /** Set once it has exited. */
  get exit(): Exit | undefined {
    return this.#program.exit
  }

  #next<T>(what: () => Promise<T>): Promise<T> {
    const next = this.#turn.then(what)
    this.#turn = next.catch(() => {})
    return next
  }

  /** A connection to a child that has none, which one is known when it resolves. Rejects with UNAVAILABLE and the reason. */
  hire(timeout: number): Promise<Hand> {
    return this.#next(() => this.#hire(timeout))
  }

  async #hire(timeout: number): Promise<Hand> {
    const program = this.#program
    const deadline = performance.now() + timeout
    // Only who is counted still has a connection: what is forgotten too late would have us fork too early, and no more.
    if (this.#alive() <= program.held()) await this.#forked()
    const link = new Link({ path: program.path })
    // Else php-cgi would close it soon.
    link.socket.write(SKIPPED, 'latin1')
    const begun = performance.now()
    const { inode, pid } = await program.accepted(link.socket, deadline - begun, () => this.#look(begun))
    this.#endings.delete(pid)
    return { link, pid, crew: this, holds: () => descriptorsOf(pid).includes(`socket:[${inode}]`) }
  }

  async #look(begun: number): Promise<Accepted | undefined> {
    const found = this.#program.newest(() => childrenOf(this.pid))
    // Some of those that live are at work for nobody.
    if (found === undefined && performance.now() - begun > ACCEPT_TIME && this.#missing() > 0) await this.#forked()
    return found
  }

  // ---- forks

  #alive(): number {
    let alive = 0
    for (const pid of childrenOf(this.pid)) if (processStat(pid)?.state !== 'Z') alive++
    return alive
  }

  #missing(): number {
    return this.#size - this.#alive()
  }

  /** Lets it fork what is missing, and holds it still again. Those that have ended are gone then: their end must have been read. */
  async #forked(): Promise<void> {
    const held = await this.#hold()
    this.#remember()
    this.#signal('SIGCONT')
    const begun = performance.now()
    const free = (): void => {
      for (const pid of held.splice(0)) this.kill(pid, 'SIGCONT')
    }
    while (this.#missing() > 0 && performance.now() < begun + STANDSTILL) Atomics.wait(clock, 0, 0, GLANCE)
    while (this.exit === undefined && this.#missing() > 0 && performance.now() < begun + FORK_TIME) {
      if (performance.now() > begun + HELD_TIME) free()
      await new Promise((resolve) => setTimeout(resolve, 1))
    }
    this.#signal('SIGSTOP')
    // The signal is there; until it is acted upon the leader still asks for the dead.
    const stopping = performance.now() + STANDSTILL
    while (this.exit === undefined && !this.#stopped() && performance.now() < stopping) Atomics.wait(clock, 0, 0, GLANCE)
    free()
  }

  /** Children who have a connection may crash at any time, so they are stopped; who was stopped by somebody else stays as it is. */
  async #hold(): Promise<number[]> {
    if (this.#program.held() === 0) return []
    const held = childrenOf(this.pid).filter((pid) => !/[TtZ]/.test(processStat(pid)?.state ?? 'Z'))
    for (const pid of held) this.kill(pid, 'SIGSTOP')
    const begun = performance.now()
    const moving = (): boolean => held.some((pid) => !/[TtZ]/.test(processStat(pid)?.state ?? 'Z'))
    while (moving() && performance.now() < begun + STANDSTILL) Atomics.wait(clock, 0, 0, GLANCE)
    while (moving() && performance.now() < begun + HOLD_TIME) await new Promise((resolve) => setTimeout(resolve, 1))
    return held
  }

  /** How those ended that are dead now, until somebody asks. */
  #remember(): void {
    for (const pid of childrenOf(this.pid)) {
      const stat = processStat(pid)
      if (stat?.state === 'Z') this.#endings.set(pid, readWaitStatus(stat.waitStatus))
    }
    // Nobody asks about some: the oldest are those.
    for (const pid of this.#endings.keys()) {
      if (this.#endings.size <= ENDINGS) break
      this.#endings.delete(pid)
    }
  }

  #stopped(): boolean {
    const state = processStat(this.pid)?.state
    return state === undefined || state === 'T' || state === 'Z'
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.exit !== undefined) return
    try {
      process.kill(this.pid, signal)
    } catch {
      // It was faster.
    }
  }

  /** How a child ended whose connection broke: undefined when it lives, `'unknown'` when nobody can tell any more. */
  async ending(pid: number): Promise<Ending | 'unknown' | undefined> {
    const deadline = performance.now() + DEATH_TIME
    for (;;) {
      const known = this.#endings.get(pid)
      this.#endings.delete(pid)
      if (known !== undefined) return known
      const stat = processStat(pid)
      if (stat === undefined) return 'unknown'
      if (stat.state === 'Z') return readWaitStatus(stat.waitStatus)
      if (performance.now() > deadline) return undefined
      await new Promise((resolve) => setTimeout(resolve, 2))
    }
  }

  /** Ends a child. Only ever one of this leader's group: the pid may be somebody else's by now. */
  kill(pid: number, signal: NodeJS.Signals): void {
    // Also when the leader is dead and they are init's.
    if (processStat(pid)?.group !== this.pid) return
    try {
      process.kill(pid, signal)
    } catch {
      // It was faster.
    }
  }

  /** Those that have ended are let go, and others forked in their place, if `calm` says when it is time that nobody is at work. */
  reap(calm: () => boolean): void {
    void this.#next(async () => {
      if (calm() && this.#missing() > 0) await this.#forked()
    })
  }

  /** Ends all of it, at once. */
  async close(): Promise<void> {
    signalGroup(this.pid, 'SIGKILL')
    await this.exited
    // Children of one that was dead already are in the group, too.
    signalGroup(this.pid, 'SIGKILL')
    this.#guard.forget(this.pid)
  }
}
