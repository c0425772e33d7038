// How a worker ended, in php-fpm's words, and what follows from it. Pure.

import type { LogLevel } from './config/types.ts'
import { endingText, seconds } from './proc.ts'
import type { Ending } from './proc.ts'

const SIGQUIT = 3
const SIGBUS = 7
const SIGSEGV = 11

export interface Obituary {
  readonly level: LogLevel
  readonly text: string
  /** It ended as those do that have done their work. */
  readonly calm: boolean
  /** Its memory was broken, and what it shared with others may be, too: counts for an emergency restart. */
  readonly crash: boolean
}

/** @param lived milliseconds. @param dismissed why the manager wanted it gone, if it did. */
export function obituary(pool: string, pid: number, ending: Ending | 'unknown', lived: number, dismissed?: string): Obituary {
  const after = `after ${seconds(lived)} seconds from start`
  if (dismissed === 'spare') {
    const text = `[pool ${pool}] child ${pid} has been killed by the process management ${after}`
    return { level: 'debug', text, calm: true, crash: false }
  }
  if (ending === 'unknown') {
    return {
      level: 'warning',
      text: `[pool ${pool}] child ${pid} exited for a reason that nobody can tell ${after}`,
      calm: false,
      crash: false,
    }
  }
  const { code, signal } = ending
  return {
    level: code === 0 || signal === SIGQUIT || dismissed === 'worn' ? 'notice' : 'warning',
    text: `[pool ${pool}] child ${pid} exited ${endingText(ending)} ${after}`,
    calm: code === 0 || dismissed === 'worn',
    crash: signal === SIGSEGV || signal === SIGBUS,
  }
}
