// Where a pool's workers come from: the children of one php-cgi, or processes of any FastCGI program.

import type { Exit } from '../process/index.ts'
import type { Link } from './link.ts'
import type { Ending } from './proc.ts'

/** A worker that has taken a connection. */
export interface Hand {
  readonly pid: number
  readonly link: Link
  readonly crew: Crew
  /** Whether the process still has its end of the connection: one that lives without it has gone on to the next. */
  holds(): boolean
}

export interface Crew {
  /** Of the process that everything ends with, where there is one. */
  readonly pid: number
  readonly exited: Promise<Exit>
  readonly exit: Exit | undefined
  /** Its workers leave by themselves after pm.max_requests. */
  readonly counts: boolean
  hire(timeout: number): Promise<Hand>
  /** How a process ended whose connection broke: undefined when it lives, `'unknown'` when nobody can tell any more. */
  ending(pid: number): Promise<Ending | 'unknown' | undefined>
  kill(pid: number, signal: NodeJS.Signals): void
  /** The dead are no longer needed. `calm` is asked when it is time: whether nobody is at work. */
  reap(calm: () => boolean): void
  close(): Promise<void>
}
