// `viaduct serve`, started as a user starts it: the built command line as a process, on a port of its own choice.

import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const MAIN = fileURLToPath(new URL('../../../dist/cli/main.js', import.meta.url))

/** A running server. */
export interface Viaduct {
  /** The supervisor. */
  readonly pid: number
  readonly port: number
  /** All of its standard error so far: JSON lines. */
  readonly log: () => string
  /** Resolves when the supervisor has ended. */
  readonly exited: Promise<Exit>
  signal(name: NodeJS.Signals): void
  /** To every process of its group, as a terminal does on Ctrl-C. */
  signalGroup(name: NodeJS.Signals): void
  /** SIGTERM, and SIGKILL for the supervisor if that does not end it within `patience` milliseconds (10 seconds). */
  stop(patience?: number): Promise<Exit>
}

interface Exit {
  readonly code: number | null
  readonly signal: NodeJS.Signals | null
}

export interface ServeFolderOptions {
  /** More of the command line. */
  readonly args?: readonly string[]
  readonly env?: Readonly<Record<string, string>>
}

/** Milliseconds: a PHP leader on a busy machine takes seconds. */
const START = 30_000

/** Serves `folder` until it is stopped. Resolves when the first front accepts connections. */
export function serveFolder(folder: string, options: ServeFolderOptions = {}): Promise<Viaduct> {
  return serve([folder], options)
}

/** The same, of a configuration file. */
export function serveConfig(file: string, options: ServeFolderOptions = {}): Promise<Viaduct> {
  return serve(['-c', file], options)
}

async function serve(what: readonly string[], options: ServeFolderOptions): Promise<Viaduct> {
  const args = [MAIN, 'serve', ...what, '--listen', '127.0.0.1:0', '--access-log', 'off', '--log-format', 'json', ...(options.args ?? [])]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ...options.env },
    stdio: ['ignore', 'ignore', 'pipe'],
    detached: true,
  })
  // Its own group, so a test run that is interrupted has to end it.
  const abandon = (): void => void child.kill('SIGTERM')
  process.once('exit', abandon)
  let log = ''
  // Not 'close': that waits for everyone who inherited standard error, and an orphan is what some tests look for.
  const exited = new Promise<Exit>((resolve) =>
    child.once('exit', (code, signal) => {
      process.off('exit', abandon)
      resolve({ code, signal })
    }),
  )
  const port = new Promise<number>((resolve) => {
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log += text
      const found = log.includes('"viaduct serves"') ? /"addresses":\["[^"]*?127\.0\.0\.1:(\d+)/.exec(log) : null
      if (found !== null) resolve(Number(found[1]))
    })
  })
  const timer = setTimeout(() => child.kill('SIGKILL'), START)
  const first = await Promise.race([port, exited])
  clearTimeout(timer)
  if (typeof first !== 'number') throw new Error(`viaduct serve did not come up (${first.signal ?? `exit code ${first.code}`})\n${log}`)
  return running(child, first, () => log, exited)
}

function running(child: ChildProcess, port: number, log: () => string, exited: Promise<Exit>): Viaduct {
  return {
    pid: child.pid!,
    port,
    log,
    exited,
    signal: (name) => void child.kill(name),
    signalGroup: (name) => void process.kill(-child.pid!, name),
    stop: async (patience = 10_000) => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
      const timer = setTimeout(() => child.kill('SIGKILL'), patience)
      const exit = await exited
      clearTimeout(timer)
      return exit
    },
  }
}
