// A program that was started with a listening socket of its own as its standard input (FastCGI 1.0, 2.2), from the side of whoever
// gives it work: the socket, the program's life, and who of it has accepted which connection.
//
// Private, because whoever reaches the socket runs code as the program; and so that it is known who has which request, and a crash is
// told from a refusal.

import { linkSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import type { Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GatewayError, SOCKET_PATH_LIMIT } from '../core/index.ts'
import type { Guard } from './guard.ts'
import { describeExit } from './launch.ts'
import type { Exit, Launched } from './launch.ts'
import { lines } from './lines.ts'
import { descriptorsOf } from './proc.ts'

/** How a program is started on a socket of its own. */
export interface SocketProgramOptions {
  /** The name of its folder begins with it. Nobody else may enter that folder. */
  readonly prefix: string
  /** Starts it with this descriptor as its standard input, in the same turn of the event loop. */
  readonly start: (fd: number) => Launched
  /** Removes its folder, and kills its group, when this process is gone. To be told by the caller when the group has ended. */
  readonly guard: Guard
  /** Begins the message when it takes no connection: a colon and the reason follow. */
  readonly complaint: (pid: number) => string
  /** Each line of its standard error, where that is a pipe. */
  readonly onLine?: (line: string) => void
}

/** Who has a connection. */
export interface Accepted {
  readonly pid: number
  /** Of the program's end. */
  readonly inode: string
}

type Look = () => Accepted | undefined | Promise<Accepted | undefined>

/** Connections that may wait: they are made one after the other. */
const BACKLOG = 128
/** Milliseconds by which the news that a program has ended may come later than that of its socket, and its last words later than that. */
const NEWS_TIME = 200

/** A program with a listening socket of its own, in a process group of its own, whose number is its pid. */
export class SocketProgram {
  /** As it was started. */
  readonly process: Launched
  /** Of whom `start` started: the program, or what stands in front of it. */
  readonly pid: number
  /** How it has exited; its folder is gone then. */
  readonly exited: Promise<Exit>
  /** The same a little later, when its last words have been heard. */
  readonly over: Promise<Exit>
  /** Set once it has exited. */
  exit: Exit | undefined
  /** Where it is reached. */
  readonly path: string
  readonly #bound: string
  readonly #complaint: (pid: number) => string
  /** Inodes of its ends of the connections made so far, until it has closed its own: it may hold it long after we did. */
  readonly #accepted = new Set<string>()
  readonly #lastWords: string[] = []

  /** Starts it. Throws what `start` throws, and CONFIG where the folder for temporary files has too long a name for a socket. */
  constructor(options: SocketProgramOptions) {
    const folder = mkdtempSync(join(tmpdir(), options.prefix))
    const remove = (): void => rmSync(folder, { recursive: true, force: true })
    this.#bound = join(folder, 'first')
    this.path = join(folder, 'socket')
    this.#complaint = options.complaint
    // From listen to close all in one turn of the event loop, so that Node never polls the socket: whoever polls it accepts
    // connections meant for the program. The second name stays when close() unlinks the first.
    const listener = createServer()
    try {
      checkLength(this.path)
      listener.listen({ path: this.#bound, exclusive: true, backlog: BACKLOG })
      linkSync(this.#bound, this.path)
      this.process = options.start((listener as unknown as { _handle: { fd: number } })._handle.fd)
    } catch (error) {
      remove()
      throw error
    } finally {
      listener.close()
    }
    this.pid = this.process.pid
    options.guard.watch(this.pid, folder)
    this.exited = this.process.exited.then((exit) => {
      this.exit = exit
      remove()
      return exit
    })
    const { stderr } = this.process
    this.over = this.exited.then(async (exit) => {
      if (stderr === null || stderr.closed) return exit
      // Whoever left its group may hold it open.
      let timer: NodeJS.Timeout | undefined
      const late = new Promise((resolve) => (timer = setTimeout(resolve, NEWS_TIME)))
      await Promise.race([new Promise((resolve) => stderr.once('close', resolve)), late])
      clearTimeout(timer)
      return exit
    })
    if (stderr !== null) {
      lines(stderr, (line) => {
        if (this.#lastWords.push(line) > 5) this.#lastWords.shift()
        options.onLine?.(line)
      })
    }
  }

  /**
   * Waits until the connection that `socket` makes has been accepted, `timeout` milliseconds at most, and tells by whom. One after the
   * other: what the program has gained can only be what was just asked for. `look` is asked again and again.
   * Rejects with UNAVAILABLE, 503, and the reason; the socket is destroyed then.
   */
  async accepted(socket: Socket, timeout: number, look: Look = () => this.newest()): Promise<Accepted> {
    let lost: Error | undefined
    socket.once('error', (error) => (lost = error))
    socket.once('close', () => (lost ??= new Error('closed before it was accepted')))
    const deadline = performance.now() + timeout
    try {
      for (let wait = 1; ; wait = Math.min(wait * 2, 25)) {
        if (this.exit !== undefined) throw new Error('it has exited')
        const found = await look()
        if (lost !== undefined) throw lost
        if (found !== undefined) {
          this.#accepted.add(found.inode)
          socket.removeAllListeners('error').removeAllListeners('close')
          return found
        }
        if (performance.now() > deadline) throw new Error('timed out')
        await new Promise((resolve) => setTimeout(resolve, wait))
      }
    } catch (error) {
      socket.on('error', () => {})
      socket.destroy()
      // It is the better reason.
      await Promise.race([this.over, new Promise((resolve) => setTimeout(resolve, NEWS_TIME))])
      throw this.failure(error)
    }
  }

  /** The connection that was accepted since the last one was told, and by whom of `among`; by the program itself unless that is given. */
  newest(among?: () => readonly number[]): Accepted | undefined {
    const [inode, ...more] = [...this.#open()].filter((each) => !this.#accepted.has(each))
    if (inode === undefined) return undefined
    if (among === undefined) return { pid: this.pid, inode }
    const links = new Map([inode, ...more].map((each) => [`socket:[${each}]`, each]))
    for (const pid of among()) {
      for (const link of descriptorsOf(pid)) if (links.has(link)) return { pid, inode: links.get(link)! }
    }
    return undefined
  }

  /** Connections that were accepted and that the program still has, whether we do or not. */
  held(): number {
    this.#open()
    return this.#accepted.size
  }

  /** Inodes of its ends that are open now; what is remembered of the others is forgotten. */
  #open(): Set<string> {
    const open = new Set<string>()
    // They carry the listener's first name, and have an inode once they are accepted.
    const name = ` ${this.#bound}`
    for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
      if (!line.endsWith(name)) continue
      const [, , , , , state, inode] = line.split(/ +/)
      if (state === '03' && inode !== undefined && inode !== '0') open.add(inode)
    }
    for (const inode of this.#accepted) if (!open.has(inode)) this.#accepted.delete(inode)
    return open
  }

  /** Why it takes no connection, with what it said last. */
  failure(error?: unknown): GatewayError {
    const { exit } = this
    const reason = exit === undefined ? (error instanceof Error ? error.message : String(error)) : `it exited with ${describeExit(exit)}`
    const said = this.#lastWords.length > 0 ? `; it said: ${this.#lastWords.join(' | ')}` : ''
    const message = `${this.#complaint(this.pid)}: ${reason}${said}`
    return new GatewayError('UNAVAILABLE', { status: 503, retryAfter: 1, message, cause: error })
  }
}

function checkLength(path: string): void {
  const length = Buffer.byteLength(path)
  if (length <= SOCKET_PATH_LIMIT) return
  const fact = `the socket path ${path} is too long: ${length} bytes, the system allows ${SOCKET_PATH_LIMIT}`
  throw new GatewayError('CONFIG', { status: 500, message: `process: ${fact}; set TMPDIR to a folder with a shorter name` })
}
