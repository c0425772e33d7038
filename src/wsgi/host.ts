// What a worker lives in. Here it is a process: it makes a socket in a folder that only we may enter, for whoever can write to it runs
// the application, and says on its standard output when it listens. Then one connection is made for each of its threads, and the
// socket is removed.

import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { launch, lines, signalGroup } from '../process/index.ts'
import type { Exit, Guard } from '../process/index.ts'
import { GIVE_BACK } from './protocol.ts'

/** What a worker is to do, as far as its host has to know. */
export interface HostOptions {
  /** The pool's name. */
  readonly name: string
  /** `module:callable`, or the absolute path of a file. */
  readonly application: string
  /** The application's folder. */
  readonly folder: string
  /** Requests that it runs at a time. */
  readonly threads: number
  /** `wsgi.multiprocess`: whether there may be others of it. */
  readonly multiprocess: boolean
  /** Added to what it inherits. */
  readonly env: Readonly<Record<string, string>>
}

/** What a host tells of its worker. */
export interface HostEvents {
  /** It can be spoken to: a path to connect to, or a stream, for each of its threads. */
  listening(wires: readonly (string | Duplex)[]): void
  /** A line that it says besides. */
  said(line: string): void
  /** It will say nothing more. */
  silent(): void
  /** It is to be replaced, when it has done what it has. */
  leaving(): void
}

/** A worker in whatever it lives. */
export interface WorkerHost {
  /** Its number in the log. */
  readonly pid: number
  /** How it ended. Never rejects. */
  readonly exited: Promise<Exit>
  /** Asks it to give back the requests that it has not begun. */
  ask(): void
  /** Asks it to say where it is: it is about to be killed. */
  trace(): void
  /** With all that it started. */
  kill(): void
}

/** Starts one; throws where that is known to be impossible. */
export type OpenHost = (options: HostOptions, events: HostEvents) => WorkerHost

/** The worker's side of the protocol. */
export const WORKER_PROGRAM: string = fileURLToPath(new URL('./worker.py', import.meta.url))

// What a worker has of our environment: nothing that could be a secret.
const INHERITED = ['PATH', 'HOME', 'LANG', 'LC_ALL', 'TZ', 'TMPDIR']

let sockets = 0

export interface ProcessOptions {
  readonly python: string
  readonly scheduling: 'batch' | 'normal'
  /** The folder for sockets. */
  readonly sockets: string
  readonly guard: Guard
}

export function processHost({ python, scheduling, sockets: folder, guard }: ProcessOptions): OpenHost {
  return (options, events) => {
    const socket = join(folder, String(++sockets))
    const { application, threads, multiprocess } = options
    const settings = JSON.stringify({ socket, application, folder: options.folder, threads, multiprocess })
    const child = launch(python, [WORKER_PROGRAM, settings], {
      cwd: options.folder,
      env: environment(options.env),
      stdio: ['ignore', 'pipe', 'pipe'],
      scheduling,
    })
    const { pid } = child
    guard.watch(pid)
    child.stdout?.once('data', () => events.listening(Array.from({ length: threads }, () => socket)))
    if (child.stderr !== null) {
      lines(child.stderr, (line) => events.said(line))
      child.stderr.once('close', () => events.silent())
    }
    return {
      pid,
      exited: child.exited.then((exit) => {
        // What it started and left behind, in the turn in which its number is still its own.
        signalGroup(pid, 'SIGKILL')
        guard.forget(pid)
        return exit
      }),
      ask: () => signal(pid, GIVE_BACK),
      trace: () => signal(pid, 'SIGUSR2'),
      kill: () => signalGroup(pid, 'SIGKILL'),
    }
  }
}

function signal(pid: number, name: NodeJS.Signals | number): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has gone, and its connection will say so.
  }
}

function environment(own: Readonly<Record<string, string>>): Record<string, string> {
  const env: Record<string, string> = {}
  for (const name of INHERITED) {
    const value = process.env[name]
    if (value !== undefined) env[name] = value
  }
  return { ...env, ...own }
}
