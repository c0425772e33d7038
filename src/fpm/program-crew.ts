// Processes of any FastCGI program as workers: each has a private listening socket as its fd 0 (FastCGI 1.0, 2.2) and one kept connection.

import { constants } from 'node:os'
import { SocketProgram, descriptorsOf, launch, signalGroup } from '../process/index.ts'
import type { Exit, Guard } from '../process/index.ts'
import type { Crew, Hand } from './crew.ts'
import { Link } from './link.ts'
import type { Ending } from './proc.ts'

export interface ProgramCrewOptions {
  /** The pool, for messages. */
  readonly name: string
  /** Tools that set what Node cannot, then the program and its arguments. */
  readonly command: readonly [string, ...string[]]
  readonly cwd: string
  readonly env: Readonly<Record<string, string>>
  readonly guard: Guard
  onOutput(pid: number, stream: 'stdout' | 'stderr', bytes: Uint8Array): void
}

/** Milliseconds that a process whose connection broke has to be seen as dead. */
const DEATH_TIME = 250

export class ProgramCrew implements Crew {
  readonly pid: number = process.pid
  readonly counts: boolean = false
  readonly exited: Promise<Exit>
  exit: Exit | undefined
  readonly #options: ProgramCrewOptions
  readonly #members = new Map<number, SocketProgram>()
  #end: (exit: Exit) => void = () => {}

  constructor(options: ProgramCrewOptions) {
    this.#options = options
    this.exited = new Promise((resolve) => (this.#end = resolve))
  }

  async hire(timeout: number): Promise<Hand> {
    const member = this.#start()
    const { pid } = member
    const link = new Link({ path: member.path })
    try {
      const { inode } = await member.accepted(link.socket, timeout)
      return { link, pid, crew: this, holds: () => descriptorsOf(pid).includes(`socket:[${inode}]`) }
    } catch (error) {
      this.kill(pid, 'SIGKILL')
      // Nobody will ask how it ended.
      this.#members.delete(pid)
      throw error
    }
  }

  #start(): SocketProgram {
    const { name, command, cwd, env, guard, onOutput } = this.#options
    const [file, ...args] = command
    const member = new SocketProgram({
      prefix: 'viaduct-spawn-',
      start: (fd) => launch(file, args, { cwd, env, stdio: [fd, 'pipe', 'pipe'], scheduling: 'batch' }),
      guard,
      complaint: (pid) => `spawn: [pool ${name}] ${file} (pid ${pid}) took no connection`,
    })
    const { pid } = member
    const { stdout, stderr } = member.process
    this.#members.set(pid, member)
    stdout?.on('data', (bytes: Buffer) => onOutput(pid, 'stdout', bytes))
    stderr?.on('data', (bytes: Buffer) => onOutput(pid, 'stderr', bytes))
    void member.exited.then(() => {
      // What it started and left behind is in its group.
      signalGroup(pid, 'SIGKILL')
      guard.forget(pid)
    })
    return member
  }

  async ending(pid: number): Promise<Ending | 'unknown' | undefined> {
    const member = this.#members.get(pid)
    if (member === undefined) return 'unknown'
    await Promise.race([member.exited, new Promise((resolve) => setTimeout(resolve, DEATH_TIME))])
    const { exit } = member
    if (exit === undefined) return undefined
    this.#members.delete(pid)
    const signal = exit.signal === null ? undefined : constants.signals[exit.signal]
    return { code: exit.code ?? undefined, signal, core: false }
  }

  kill(pid: number, signal: NodeJS.Signals): void {
    const member = this.#members.get(pid)
    if (member !== undefined && member.exit === undefined) signalGroup(pid, signal)
  }

  /** Node has waited for the dead. */
  reap(): void {}

  async close(): Promise<void> {
    const all = [...this.#members.values()].filter(({ exit }) => exit === undefined)
    for (const member of all) signalGroup(member.pid, 'SIGKILL')
    await Promise.all(all.map((member) => member.exited))
    this.exit = { code: 0, signal: null }
    this.#end(this.exit)
  }
}
