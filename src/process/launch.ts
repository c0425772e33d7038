// Starts a program that lives long: a leader of workers, a helper. Never one per request, for Node forks to do it and that
// blocks its event loop for a millisecond, and for 14 when it has grown to 360 MB.
//
// What Node's spawn cannot set is set by small tools that replace themselves with the next one (nice, chrt, prlimit,
// setpriv), so that the pid stays ours and the exit facts are the program's.

import { spawn } from 'node:child_process'
import type { ChildProcess, StdioOptions } from 'node:child_process'
import { statSync } from 'node:fs'
import { GatewayError } from '../core/index.ts'
import { batchScheduling, findProgram, primaryGroup, tool } from './tools.ts'

/** Resource limits of setrlimit(2), soft and hard alike: bytes, counts, and seconds for `cpu`. */
export interface Limits {
  /** Open files. */
  readonly nofile?: number
  /** Processes of its user. */
  readonly nproc?: number
  /** Core file. */
  readonly core?: number
  /** Address space. */
  readonly as?: number
  /** Heap and data. */
  readonly data?: number
  /** Stack of its first thread. */
  readonly stack?: number
  /** Largest file it may write. */
  readonly fsize?: number
  /** Seconds of CPU. */
  readonly cpu?: number
  /** Memory that it may lock. */
  readonly memlock?: number
}

/** What a program runs with. */
export interface LaunchOptions {
  /** Its working folder. */
  readonly cwd: string
  /** The whole environment; nothing is inherited. */
  readonly env: Readonly<Record<string, string>>
  /** As in node:child_process. Default: standard input is /dev/null, output is dropped, errors go to ours. */
  readonly stdio?: StdioOptions
  /** `batch` keeps a worker that wakes up from interrupting whoever runs. A wish: where it cannot be had the program runs without. Default `normal`. */
  readonly scheduling?: 'batch' | 'normal'
  /** Added to our own niceness, -20 to 19. */
  readonly nice?: number
  /** Default: ours. */
  readonly limits?: Limits
  /** Name or number of the user it runs as, with that user's groups. */
  readonly user?: string | number
  /** Default: the user's own. */
  readonly group?: string | number
}

/** A child that leads a process group of its own: its pid is the group's number. */
export type Launched = ChildProcess & {
  readonly pid: number
  /** What it got. */
  readonly scheduling: 'batch' | 'normal'
  /** Why it did not get the scheduling that was wished for. */
  readonly lack: string | undefined
  readonly exited: Promise<Exit>
}

/** How a process ended: one of the two is null. */
export interface Exit {
  /** Exit status. */
  readonly code: number | null
  /** What killed it. */
  readonly signal: NodeJS.Signals | null
}

/** In words: `SIGKILL`, `status 3`. */
export function describeExit({ code, signal }: Exit): string {
  return signal ?? `status ${code}`
}

/**
 * Starts `command` (a path, or a name on `env.PATH`, ours if that has none) in its own session and process group. What is asked
 * for and cannot be had is refused: PROGRAM_FAILED when the program or its folder is missing, CONFIG when a limit or a user needs
 * a tool that is not there. A limit that the system refuses ends the program with status 1 and the tool's words on its stderr.
 */
export function launch(command: string, args: readonly string[], options: LaunchOptions): Launched {
  const file = findProgram(command, { path: options.env['PATH'] ?? process.env['PATH'], cwd: options.cwd })
  if (file === undefined) throw failed(command, `there is no such program that we may execute (looked from ${options.cwd})`)
  if (!isFolder(options.cwd)) throw failed(command, `its working folder ${options.cwd} does not exist`)
  const { chain, scheduling, lack } = plan(command, options)
  const [first, ...rest] = [...chain, file, ...args] as [string, ...string[]]
  const child = start(first, rest, command, options)
  const exited = new Promise<Exit>((resolve) => child.once('exit', (code, signal) => resolve({ code, signal })))
  // Without a listener a kill that fails would end our process.
  child.on('error', () => {})
  return Object.assign(child, { scheduling, lack, exited }) as Launched
}

function start(file: string, args: readonly string[], command: string, options: LaunchOptions): ChildProcess {
  let child: ChildProcess
  try {
    child = spawn(file, args, {
      cwd: options.cwd,
      env: options.env,
      stdio: options.stdio ?? ['ignore', 'ignore', 'inherit'],
      // setsid(2): Ctrl-C of the terminal is for us to answer, and a kill of the group reaches all it starts.
      detached: true,
    })
  } catch (error) {
    throw failed(command, 'the system refused', error)
  }
  if (child.pid !== undefined) return child
  child.on('error', () => {})
  throw failed(command, 'the system refused; are its limits of processes or open files reached (ulimit -u, ulimit -n)?')
}

interface Plan {
  readonly chain: readonly string[]
  readonly scheduling: 'batch' | 'normal'
  readonly lack: string | undefined
}

/** What stands in front of the program. Rights are given up last: a higher limit or a lower niceness needs them. */
function plan(command: string, options: LaunchOptions): Plan {
  const chain: string[] = []
  let lack: string | undefined
  if (options.nice !== undefined && options.nice !== 0) chain.push(need('nice', 'nice', command), '-n', String(options.nice))
  if (options.scheduling === 'batch') {
    const batch = batchScheduling()
    if ('chain' in batch) chain.push(...batch.chain)
    else lack = batch.lack
  }
  const limits = Object.entries(options.limits ?? {}).filter(([, value]) => value !== undefined)
  if (limits.length > 0) {
    chain.push(need('prlimit', 'limits', command))
    for (const [name, value] of limits) chain.push(`--${name}=${value}:${value}`)
  }
  if (options.user !== undefined || options.group !== undefined) {
    chain.push(need('setpriv', 'user and group', command), ...identity(command, options))
  }
  return { chain, scheduling: options.scheduling === 'batch' && lack === undefined ? 'batch' : 'normal', lack }
}

function identity(command: string, { user, group }: LaunchOptions): string[] {
  const refuse = (what: string): GatewayError => new GatewayError('CONFIG', { status: 500, message: `process: ${command}: ${what}` })
  for (const each of [user, group]) {
    if (each !== undefined && !/^[A-Za-z0-9_][A-Za-z0-9_.-]*\$?$/.test(String(each))) {
      throw refuse(`"${each}" is not the name or number of a user or group`)
    }
  }
  // Our own supplementary groups, root's among them, must not stay.
  if (user === undefined) return [`--regid=${group}`, '--clear-groups']
  const primary = primaryGroup(user)
  if (primary !== undefined) return [`--reuid=${user}`, `--regid=${group ?? primary}`, '--init-groups']
  // A bare number is a user without an entry, as containers have them.
  if (group !== undefined && /^\d+$/.test(String(user))) return [`--reuid=${user}`, `--regid=${group}`, '--clear-groups']
  throw refuse(`there is no user "${user}"; make one, or give a number together with a group`)
}

function need(name: string, purpose: string, command: string): string {
  const path = tool(name)
  if (path !== undefined) return path
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `process: ${command}: ${purpose} cannot be set, for ${name} was not found; install ${name === 'nice' ? 'coreutils' : 'util-linux'} or leave them out`,
  })
}

function isFolder(path: string): boolean {
  return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true
}

function failed(command: string, why: string, cause?: unknown): GatewayError {
  return new GatewayError('PROGRAM_FAILED', { status: 503, message: `process: ${command} could not be started: ${why}`, cause })
}
