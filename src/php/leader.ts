// One php-cgi that leads children of its own, from the manager's side: a private listening socket as its fd 0, one kept
// connection to each child, and which child is behind which connection.
//
// A leader, because children forked after opcache started share its memory: eight workers of a large application take
// 38 MB this way and 214 MB as eight processes. A private socket, because whoever reaches it runs code as the worker.

import { linkSync, mkdtempSync, readFileSync, readdirSync, readlinkSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError } from '../core/index.ts'
import type { Log } from '../core/index.ts'
import { openSocket } from '../fastcgi/index.ts'
import { launch, lines, signalGroup } from '../process/index.ts'
import type { Exit, Guard, Launched } from '../process/index.ts'

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

// A new connection on which nothing comes for 5 s after accept is closed by php-cgi. One empty STDIN record for a request
// that does not exist is skipped, and keeps the connection for good (FastCGI 1.0, 3.3: inactive ids are ignored).
const PRIME = Buffer.from([1, 5, 0, 0, 0, 0, 0, 0])

export class Leader {
  readonly pid: number
  readonly exited: Promise<Exit>
  /** Set once it has exited. */
  exit: Exit | undefined
  readonly #options: LeaderOptions
  readonly #process: Launched
  readonly #folder: string
  /** Inodes of the children's ends of the connections made so far, until a child has closed its own: it may hold it long after we did. */
  readonly #accepted = new Set<string>()
  #connecting: Promise<unknown> = Promise.resolve()
  #lastWords: string[] = []

  /** Starts it; throws when the program cannot be started. `connect` tells whether it works. */
  constructor(options: LeaderOptions) {
    this.#options = options
    this.#folder = mkdtempSync(join(tmpdir(), 'viaduct-php-'))
    // From listen to close all in one turn of the event loop, so that Node never polls the socket: whoever polls it accepts
    // connections meant for PHP. The second name stays when close() unlinks the first.
    const listener = createServer()
    listener.listen({ path: this.#path('first'), exclusive: true, backlog: 511 })
    linkSync(this.#path('first'), this.#path('socket'))
    try {
      const fd = (listener as unknown as { _handle: { fd: number } })._handle.fd
      const args = Object.entries(options.ini).flatMap(([name, value]) => ['-d', `${name}=${value}`])
      this.#process = launch(options.phpCgi, args, {
        cwd: options.cwd,
        // Recycling is the pool's decision: php-cgi's own counter would close a connection under the next request.
        env: { ...options.env, PHP_FCGI_CHILDREN: String(options.children), PHP_FCGI_MAX_REQUESTS: '0' },
        stdio: [fd, 'ignore', 'pipe'],
        scheduling: options.scheduling,
      })
    } catch (error) {
      rmSync(this.#folder, { recursive: true, force: true })
      throw error
    } finally {
      listener.close()
    }
    const child = this.#process
    this.pid = child.pid
    options.guard.watch(this.pid, this.#folder)
    this.exited = child.exited.then((exit) => {
      this.exit = exit
      rmSync(this.#folder, { recursive: true, force: true })
      return exit
    })
    if (child.stderr !== null) {
      lines(child.stderr, (line) => {
        this.#lastWords = [...this.#lastWords.slice(-4), line]
        options.log.warn({ app: options.name, pid: this.pid }, line)
      })
    }
  }

  #path(name: string): string {
    return join(this.#folder, name)
  }

  /** One after the other, so that what a child gained can only be what was just asked for. */
  connect(timeout: number): Promise<Child> {
    const next = this.#connecting.then(() => this.#connect(timeout))
    this.#connecting = next.catch(() => {})
    return next
  }

  async #connect(timeout: number): Promise<Child> {
    const socket = openSocket({ path: this.#path('socket') })
    const failed = new Promise<never>((_, reject) => {
      socket.once('error', reject)
      socket.once('close', () => reject(new Error('closed before it was accepted')))
    })
    failed.catch(() => {})
    socket.write(PRIME)
    try {
      const { inode, pid } = await Promise.race([this.#accepter(performance.now() + timeout), failed])
      this.#accepted.add(inode)
      socket.removeAllListeners('error').removeAllListeners('close')
      return { socket, pid }
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      // The news that the program has ended may come a little after that of its socket, and it is the better reason.
      await Promise.race([this.exited, new Promise((resolve) => setTimeout(resolve, 200))])
      throw new GatewayError('UNAVAILABLE', {
        status: 503,
        retryAfter: 1,
        message: `php: "${this.#options.name}": no worker of ${this.#options.phpCgi} (pid ${this.pid}) took a connection: ${this.#reason(error)}`,
        cause: error,
      })
    }
  }

  #reason(error: unknown): string {
    const said = this.#lastWords.length > 0 ? `; it said: ${this.#lastWords.join(' | ')}` : ''
    const { exit } = this
    if (exit !== undefined) return `it exited with ${exit.signal ?? `status ${exit.code}`}${said}`
    return (error instanceof Error ? error.message : String(error)) + said
  }

  /** Waits until a child has accepted the newest connection, and tells which one. */
  async #accepter(deadline: number): Promise<{ inode: string; pid: number }> {
    for (let wait = 1; ; wait = Math.min(wait * 2, 25)) {
      if (this.exit !== undefined) throw new Error('the leader has exited')
      const found = this.#newest()
      if (found !== undefined) return found
      if (performance.now() > deadline) throw new Error('timed out')
      await new Promise((resolve) => setTimeout(resolve, wait))
    }
  }

  /** The child's end of a connection carries the listener's first name in /proc/net/unix, and an inode once it is accepted. */
  #newest(): { inode: string; pid: number } | undefined {
    const inodes = new Set<string>()
    const open = new Set<string>()
    for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
      if (!line.endsWith(` ${this.#path('first')}`)) continue
      const [, , , , , state, inode] = line.split(/ +/)
      if (state !== '03' || inode === undefined || inode === '0') continue
      open.add(inode)
      if (!this.#accepted.has(inode)) inodes.add(`socket:[${inode}]`)
    }
    for (const inode of this.#accepted) if (!open.has(inode)) this.#accepted.delete(inode)
    if (inodes.size === 0) return undefined
    for (const pid of this.children()) {
      for (const link of descriptors(pid)) if (inodes.has(link)) return { inode: link.slice(8, -1), pid }
    }
    return undefined
  }

  /** Pids of its children now. */
  children(): number[] {
    try {
      const text = readFileSync(`/proc/${this.pid}/task/${this.pid}/children`, 'latin1')
      return text
        .split(' ')
        .filter((each) => each !== '')
        .map(Number)
    } catch {
      return []
    }
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
    if (this.exit === undefined) this.#process.kill('SIGTERM')
    let timer: NodeJS.Timeout | undefined
    await Promise.race([this.exited, new Promise((resolve) => (timer = setTimeout(resolve, grace)))])
    clearTimeout(timer)
    signalGroup(this.pid, 'SIGKILL')
    this.#options.guard.forget(this.pid)
    await this.exited
  }
}

function descriptors(pid: number): string[] {
  const folder = `/proc/${pid}/fd`
  try {
    return readdirSync(folder).map((name) => {
      try {
        return readlinkSync(join(folder, name))
      } catch {
        // Closed while we looked.
        return ''
      }
    })
  } catch {
    // The process went away while we looked.
    return []
  }
}
