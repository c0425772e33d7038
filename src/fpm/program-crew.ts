// Processes of any FastCGI program as workers: each has a private listening socket as its fd 0 (FastCGI 1.0, 2.2) and one kept connection.

import { linkSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { constants, tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError } from '../core/index.ts'
import { launch, lines, signalGroup } from '../process/index.ts'
import type { Exit, Guard, Launched } from '../process/index.ts'
import type { Crew, Hand } from './crew.ts'
import { Link } from './link.ts'
import { descriptorsOf } from './proc.ts'
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

interface Member {
  readonly process: Launched
  exit: Exit | undefined
}

export class ProgramCrew implements Crew {
  readonly pid: number = process.pid
  readonly counts: boolean = false
  readonly exited: Promise<Exit>
  exit: Exit | undefined
  readonly #options: ProgramCrewOptions
  readonly #folder = mkdtempSync(join(tmpdir(), 'viaduct-spawn-'))
  readonly #members = new Map<number, Member>()
  #made = 0
  #end: (exit: Exit) => void = () => {}

  constructor(options: ProgramCrewOptions) {
    this.#options = options
    this.exited = new Promise((resolve) => (this.#end = resolve))
  }

  async hire(timeout: number): Promise<Hand> {
    const { name, command } = this.#options
    const bound = join(this.#folder, `${++this.#made}-bound`)
    const path = join(this.#folder, String(this.#made))
    const words: string[] = []
    const member = this.#start(bound, path, words)
    const { pid } = member.process
    const link = new Link({ path })
    const { socket } = link
    const failed = new Promise<never>((_, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('closed before it was accepted')))
    })
    failed.catch(() => {})
    try {
      const inode = await Promise.race([accepted(bound, member, performance.now() + timeout), failed])
      socket.removeAllListeners('error').removeAllListeners('close')
      return { link, pid, crew: this, holds: () => descriptorsOf(pid).includes(`socket:[${inode}]`) }
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      await Promise.race([member.process.exited, new Promise((resolve) => setTimeout(resolve, 200))])
      const { exit } = member
      this.kill(pid, 'SIGKILL')
      // Nobody will ask how it ended.
      this.#members.delete(pid)
      const how = exit === undefined ? (error as Error).message : `it exited with ${exit.signal ?? `status ${exit.code}`}`
      const said = words.length > 0 ? `; it said: ${words.join(' | ')}` : ''
      const message = `spawn: [pool ${name}] ${command.at(0)} (pid ${pid}) took no connection: ${how}${said}`
      throw new GatewayError('UNAVAILABLE', { status: 503, message, cause: error })
    } finally {
      rmSync(path, { force: true })
    }
  }

  #start(bound: string, path: string, words: string[]): Member {
    const { command, cwd, env, guard, onOutput } = this.#options
    // From listen to close all in one turn of the event loop, so that Node never polls the socket and takes connections away.
    const listener = createServer()
    listener.listen({ path: bound, exclusive: true, backlog: 128 })
    linkSync(bound, path)
    try {
      const fd = (listener as unknown as { _handle: { fd: number } })._handle.fd
      const [file, ...args] = command
      const child = launch(file, args, { cwd, env, stdio: [fd, 'pipe', 'pipe'], scheduling: 'batch' })
      const { pid } = child
      const member: Member = { process: child, exit: undefined }
      this.#members.set(pid, member)
      guard.watch(pid, this.#folder)
      child.stdout?.on('data', (bytes: Buffer) => onOutput(pid, 'stdout', bytes))
      child.stderr?.on('data', (bytes: Buffer) => onOutput(pid, 'stderr', bytes))
      if (child.stderr !== null) lines(child.stderr, (line) => words.push(line) > 5 && words.shift())
      void child.exited.then((exit) => {
        member.exit = exit
        // What it started and left behind is in its group.
        signalGroup(pid, 'SIGKILL')
        guard.forget(pid)
      })
      return member
    } finally {
      listener.close()
    }
  }

  async ending(pid: number): Promise<Ending | 'unknown' | undefined> {
    const member = this.#members.get(pid)
    if (member === undefined) return 'unknown'
    await Promise.race([member.process.exited, new Promise((resolve) => setTimeout(resolve, DEATH_TIME))])
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
    for (const member of all) signalGroup(member.process.pid, 'SIGKILL')
    await Promise.all(all.map((member) => member.process.exited))
    rmSync(this.#folder, { recursive: true, force: true })
    this.exit = { code: 0, signal: null }
    this.#end(this.exit)
  }
}

/** The program's end of a connection carries the listener's first name in /proc/net/unix, and has an inode once it is accepted. */
async function accepted(bound: string, member: Member, deadline: number): Promise<string> {
  for (let wait = 1; ; wait = Math.min(wait * 2, 25)) {
    if (member.exit !== undefined) throw new Error('it has exited')
    for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
      if (!line.endsWith(` ${bound}`)) continue
      const [, , , , , state, inode] = line.split(/ +/)
      if (state === '03' && inode !== undefined && inode !== '0') return inode
    }
    if (performance.now() > deadline) throw new Error('timed out')
    await new Promise((resolve) => setTimeout(resolve, wait))
  }
}
