// php-fpm and `viaduct fpm` as processes, with the same configuration; and a web server made of bytes that asks them.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect, createServer } from 'node:net'
import type { AddressInfo, Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { RecordDecoder, Role, Type, encodeRequest, readEndRequest, record } from '../../src/fastcgi/index.ts'
import { MAIN, alive, until } from '../cli/program.ts'
import { which } from '../peers.ts'

export type Kind = 'php-fpm' | 'viaduct'
export const REAL = 'php-fpm8.2'
export const isRoot: boolean = process.geteuid?.() === 0

export interface FpmOptions {
  /** Lines of `[global]`. */
  readonly global?: string
  /** Lines of `[www]`; it listens on `socket` unless they say otherwise. */
  readonly pool: string
  /** Further sections. */
  readonly more?: string
  readonly scripts?: Readonly<Record<string, string>>
  readonly words?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  /** What runs it. */
  readonly wrap?: readonly string[]
  /** In place of a socket that the test reads. */
  readonly stderr?: number
  /** What came by it. */
  readonly also?: () => string
}

/** A folder that every user may look into, gone with the test. */
export function makeFolder(): { readonly path: string; [Symbol.dispose](): void } {
  const path = mkdtempSync(join(tmpdir(), 'vd-fpm-'))
  chmodSync(path, 0o755)
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) }
}

export class Fpm implements AsyncDisposable {
  readonly folder: string
  readonly kind: Kind
  readonly exited: Promise<{ readonly code: number | null; readonly signal: string | null }>
  /** Nobody has its outputs open any more. */
  readonly closed: Promise<void>
  printed = ''
  readonly #child: ChildProcess

  readonly #also: () => string

  private constructor(kind: Kind, folder: string, child: ChildProcess, also: () => string = () => '') {
    this.#also = also
    this.kind = kind
    this.folder = folder
    this.#child = child
    for (const stream of [child.stdout, child.stderr]) stream?.on('data', (chunk: Buffer) => (this.printed += chunk.toString()))
    this.closed = new Promise((resolve) => child.once('close', () => resolve()))
    this.exited = new Promise((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  }

  /** Writes the configuration and starts it; it need not come up. */
  static launch(kind: Kind, options: FpmOptions): Fpm {
    const folder = mkdtempSync(join(tmpdir(), 'vd-fpm-'))
    chmodSync(folder, 0o755)
    writeFileSync(join(folder, 'fpm.conf'), configuration(folder, options))
    for (const [name, text] of Object.entries(options.scripts ?? {})) writeFileSync(join(folder, name), text)
    const words = ['-F', '-y', join(folder, 'fpm.conf'), ...(options.words ?? [])]
    const program = kind === 'php-fpm' ? [which(REAL)!] : [process.execPath, process.env['VIADUCT_MAIN'] ?? MAIN, 'fpm']
    const [file, ...args] = [...(options.wrap ?? []), ...program, ...words]
    const child = spawn(file!, args, { env: { ...process.env, ...options.env }, stdio: ['ignore', 'pipe', options.stderr ?? 'pipe'] })
    return new Fpm(kind, folder, child, options.also)
  }

  static async start(kind: Kind, options: FpmOptions): Promise<Fpm> {
    const fpm = Fpm.launch(kind, options)
    try {
      await fpm.said('ready to handle connections')
    } catch (error) {
      await fpm[Symbol.asyncDispose]()
      throw error
    }
    return fpm
  }

  get pid(): number {
    return this.#child.pid!
  }

  get socket(): string {
    return join(this.folder, 'www.sock')
  }

  script(name: string): string {
    return join(this.folder, name)
  }

  read(name: string): string {
    try {
      return readFileSync(join(this.folder, name), 'utf8')
    } catch {
      return ''
    }
  }

  get log(): string {
    return this.read('error.log')
  }

  /** Waits for a line of the log. */
  said(text: string | RegExp, count = 1): Promise<true> {
    const pattern = typeof text === 'string' ? new RegExp(text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&'), 'g') : new RegExp(text, 'gm')
    let ended = false
    void this.exited.then(() => (ended = true))
    const look = async (): Promise<boolean> => {
      // What is said before it serves is said in two places.
      if ([this.log, this.printed, this.#also()].some((said) => (said.match(pattern) ?? []).length >= count)) return true
      if (ended) throw new Error(`it exited before it said ${text}:\n${this.log}\n${this.printed}`)
      return false
    }
    return until(`${text} of ${this.kind}`, look).then(
      () => true,
      (error: unknown) => {
        throw new Error(`${String(error)}\n${this.log}\n${this.printed}\n${this.#also()}`)
      },
    )
  }

  kill(signal: NodeJS.Signals): void {
    this.#child.kill(signal)
  }

  /** A request for a script. */
  ask(script: string, query = '', more: AskOptions = {}): Promise<Reply> {
    return ask(this.socket, { ...variables(this.script(script), query), ...more.variables }, more)
  }

  /** The status page as JSON. */
  async status(query = 'json&full'): Promise<Status> {
    const reply = await ask(this.socket, { ...variables('', query), SCRIPT_NAME: '/status' })
    return JSON.parse(reply.body) as Status
  }

  async [Symbol.asyncDispose](): Promise<void> {
    const family = descendants(this.pid)
    // Asked first: killed, php-fpm leaves its children behind, and our guard must not be killed before it has done its work.
    this.#child.kill('SIGTERM')
    const patience = setTimeout(() => this.#child.kill('SIGKILL'), 5000)
    await this.exited
    clearTimeout(patience)
    await until('its processes are gone', () => !family.some(alive), 2000).catch(() => {})
    for (const pid of family.filter(alive)) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It went by itself.
      }
    }
    rmSync(this.folder, { recursive: true, force: true })
  }
}

export interface Status {
  readonly [field: string]: unknown
  readonly 'listen queue': number
  readonly 'idle processes': number
  readonly 'active processes': number
  readonly 'total processes': number
  readonly processes: readonly { readonly pid: number; readonly requests: number; readonly state: string }[]
}

export function configuration(folder: string, { global = '', pool, more = '' }: FpmOptions): string {
  const user = isRoot ? 'user = www-data\ngroup = www-data\n' : ''
  const fill = (text: string): string => text.replaceAll('FOLDER', folder)
  return fill(`[global]
error_log = FOLDER/error.log
pid = FOLDER/fpm.pid
daemonize = no
${global}
[www]
${user}listen = FOLDER/www.sock
listen.mode = 0666
pm.status_path = /status
ping.path = /ping
access.log = FOLDER/access.log
${pool}
${more}`)
}

export function variables(script: string, query = ''): Record<string, string> {
  const name = `/${script.split('/').at(-1)}`
  return {
    SCRIPT_FILENAME: script,
    SCRIPT_NAME: name,
    REQUEST_URI: query === '' ? name : `${name}?${query}`,
    REQUEST_METHOD: 'GET',
    QUERY_STRING: query,
    SERVER_PROTOCOL: 'HTTP/1.1',
    REMOTE_ADDR: '127.0.0.1',
  }
}

export interface AskOptions {
  readonly variables?: Readonly<Record<string, string>>
  readonly body?: Buffer
  /** A connection that is kept; it is closed otherwise. */
  readonly socket?: Socket
  readonly id?: number
}

export interface Reply {
  readonly status: number
  readonly head: string
  readonly body: string
  readonly stderr: string
  /** END_REQUEST came. */
  readonly whole: boolean
}

/** One request over FastCGI. */
export function ask(
  address: string | { host: string; port: number },
  params: Readonly<Record<string, string>>,
  options: AskOptions = {},
): Promise<Reply> {
  const socket = options.socket ?? open(address)
  const id = options.id ?? 1
  return new Promise((resolve) => {
    let stdout = ''
    let stderr = ''
    const done = (whole: boolean): void => {
      socket.removeAllListeners('data').removeAllListeners('close')
      if (options.socket === undefined) socket.destroy()
      const end = stdout.indexOf('\r\n\r\n')
      const head = end === -1 ? '' : stdout.slice(0, end)
      const status = Number(/^Status: (\d+)/im.exec(head)?.[1] ?? (end === -1 ? 0 : 200))
      resolve({ status, head, body: end === -1 ? '' : stdout.slice(end + 4), stderr, whole })
    }
    const decoder = new RecordDecoder({
      data: (type, _, bytes, start, finish) => {
        if (type === Type.Stdout) stdout += bytes.toString('latin1', start, finish)
        else stderr += bytes.toString('latin1', start, finish)
      },
      end: () => {},
      record: (type, got, bytes, start, finish) => {
        if (type === Type.EndRequest && got === id) done(readEndRequest(bytes, start, finish).protocolStatus === 0)
      },
    })
    socket.on('data', (bytes: Buffer) => decoder.push(bytes))
    socket.on('error', () => {})
    socket.on('close', () => done(false))
    const { body } = options
    const all = body === undefined ? params : { ...params, CONTENT_LENGTH: String(body.length) }
    const head = encodeRequest(id, Role.Responder, options.socket !== undefined, (emit) => {
      for (const [name, value] of Object.entries(all)) emit(name, value)
    })
    socket.write(head, 'latin1')
    const bytes = body ?? Buffer.alloc(0)
    for (let i = 0; i < bytes.length; i += 60_000) {
      socket.write(record(Type.Stdin, id, bytes.toString('latin1', i, Math.min(bytes.length, i + 60_000))), 'latin1')
    }
    socket.write(record(Type.Stdin, id, ''), 'latin1')
  })
}

export function open(address: string | { host: string; port: number }): Socket {
  const socket = typeof address === 'string' ? connect(address) : connect(address)
  socket.on('error', () => {})
  return socket
}

export function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address() as AddressInfo
      server.close(() => resolve(port))
    })
  })
}

export function descendants(pid: number): number[] {
  let children: number[] = []
  try {
    children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
  } catch {
    // Gone while we looked.
  }
  return children.flatMap((child) => [child, ...descendants(child)])
}

/** Whether a process is a php-cgi, and its parent one too: a worker. */
export function workersOf(pid: number): number[] {
  return descendants(pid).filter(
    (each) => commandOf(each).includes('php-cgi') && commandOf(parentOf(each)).includes('php-cgi') && alive(each),
  )
}

/** Processes of php-cgi that have workers of their own, below a manager. */
export function leadersOf(pid: number): number[] {
  return descendants(pid).filter(
    (each) => commandOf(each).includes('php-cgi') && !commandOf(parentOf(each)).includes('php-cgi') && alive(each),
  )
}

export function leaderOf(pid: number): number {
  const [found] = leadersOf(pid)
  if (found === undefined) throw new Error('there is no leader')
  return found
}

function commandOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'latin1').split('\0')[0]!
  } catch {
    return ''
  }
}

function parentOf(pid: number): number {
  try {
    return Number(/^PPid:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'latin1'))?.[1])
  } catch {
    return 0
  }
}
