// One php-cgi that leads children of its own, from the manager's side: a private listening socket as its fd 0, one kept
// connection to each child, and which child is behind which connection.
//
// A leader, because children forked after opcache started share its memory: eight workers of a large application take
// 38 MB this way and 214 MB as eight processes. A private socket, because whoever reaches it runs code as the worker.

import type { Socket } from 'node:net'
import type { Log } from '../core/index.ts'
import { SKIPPED, openSocket } from '../fastcgi/index.ts'
import { SocketProgram, childrenOf, launch, signalGroup } from '../process/index.ts'
import type { Exit, Guard } from '../process/index.ts'

export interface LeaderOptions {
  /** For messages. */
  readonly name: string
  readonly phpCgi: string
  readonly children: number
  /** `-d name=value` for each. */
  readonly ini: Readonly<Record<string, string>>
  readonly env: Readonly<Record<string, string>>
  readonly cwd: string
  readonly scheduling: 'batch' | 'normal'
  readonly guard: Guard
  readonly log: Log
}

/** A connection that a child has accepted. */
export interface Child {
  readonly socket: Socket
  readonly pid: number
}

export class Leader {
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly #guard: Guard
  readonly #program: SocketProgram
  #connecting: Promise<unknown> = Promise.resolve()

  /** Starts it; throws when the program cannot be started. `connect` tells whether it works. */
  constructor({ name, phpCgi, children, ini, env, cwd, scheduling, guard, log }: LeaderOptions) {
    const args = Object.entries(ini).flatMap(([key, value]) => ['-d', `${key}=${value}`])
    this.#guard = guard
    this.#program = new SocketProgram({
      prefix: 'viaduct-php-',
      start: (fd) =>
        launch(phpCgi, args, {
          cwd,
          // Recycling is the pool's decision: php-cgi's own counter would close a connection under the next request.
          env: { ...env, PHP_FCGI_CHILDREN: String(children), PHP_FCGI_MAX_REQUESTS: '0' },
          stdio: [fd, 'ignore', 'pipe'],
          scheduling,
        }),
      guard,
      complaint: (pid) => `php: "${name}": no worker of ${phpCgi} (pid ${pid}) took a connection`,
      onLine: (line) => log.warn({ app: name, pid: this.pid }, line),
    })
    this.pid = this.#program.pid
    this.exited = this.#program.exited
  }

  /** Set once it has exited. */
  get exit(): Exit | undefined {
    return this.#program.exit
  }

  /** One after the other, so that what a child gained can only be what was just asked for. */
  connect(timeout: number): Promise<Child> {
    const next = this.#connecting.then(() => this.#connect(timeout))
    this.#connecting = next.catch(() => {})
    return next
  }

  async #connect(timeout: number): Promise<Child> {
    const socket = openSocket({ path: this.#program.path })
    // Else php-cgi would close it soon.
    socket.write(SKIPPED, 'latin1')
    const { pid } = await this.#program.accepted(socket, timeout, () => this.#program.newest(() => this.children()))
    return { socket, pid }
  }

  /** Pids of its children now. */
  children(): number[] {
    return childrenOf(this.pid)
  }

  /**
   * Lets an idle child end in its own order, where closing its connection would only make it accept another: php-cgi takes SIGTERM for
   * the word to leave when it next looks for a connection. The leader forks another one, which shares opcache's memory as the first did.
   * To be called before its connection is closed.
   */
  dismiss(pid: number): void {
    this.#signal(pid, 'SIGTERM')
  }

  /** Ends one child at once; the leader forks another. Only ever a child of this leader: the pid may be somebody else's by now. */
  kill(pid: number): void {
    this.#signal(pid, 'SIGKILL')
  }

  #signal(pid: number, signal: NodeJS.Signals): void {
    if (!this.children().includes(pid)) return
    try {
      process.kill(pid, signal)
    } catch {
      // It was faster.
    }
  }

  /** Ends all of it: idle children leave when their connections close, busy ones are killed with the group after `grace` ms. */
  async stop(grace: number): Promise<void> {
    if (this.exit === undefined) this.#program.process.kill('SIGTERM')
    let timer: NodeJS.Timeout | undefined
    await Promise.race([this.exited, new Promise((resolve) => (timer = setTimeout(resolve, grace)))])
    clearTimeout(timer)
    signalGroup(this.pid, 'SIGKILL')
    // Its folder is gone then: if we are ended before, the guard removes it.
    await this.exited
    this.#guard.forget(this.pid)
  }
}
