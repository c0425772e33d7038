// What the kernel tells of a process: its state, its processor time, and how it ended while nobody has asked yet (proc(5)).

import { readFileSync } from 'node:fs'
import { constants } from 'node:os'

export interface ProcessStat {
  /** `R`, `S`, `T` for stopped, `Z` for one that has ended and waits to be asked about. */
  readonly state: string
  /** Its process group. */
  readonly group: number
  /** Clock ticks of processor time: a hundredth of a second each on Linux, whatever the machine. */
  readonly userTicks: number
  readonly systemTicks: number
  /** As wait(2) has it; only of a zombie, and only for its own user or root. */
  readonly waitStatus: number
}

export const TICKS_PER_SECOND = 100

/** undefined: there is no such process. */
export function processStat(pid: number): ProcessStat | undefined {
  let text
  try {
    text = readFileSync(`/proc/${pid}/stat`, 'latin1')
  } catch {
    return undefined
  }
  // The name is in parentheses and may hold any character, so what follows is counted from the last one.
  const fields = text.slice(text.lastIndexOf(')') + 2).split(' ')
  return {
    state: fields[0]!,
    group: Number(fields[2]),
    userTicks: Number(fields[11]),
    systemTicks: Number(fields[12]),
    waitStatus: Number(fields[49]),
  }
}

/** How a process ended. */
export interface Ending {
  readonly code: number | undefined
  /** Its number, and its name where it has one. */
  readonly signal: number | undefined
  readonly core: boolean
}

/** wait(2)'s status, taken apart. */
export function readWaitStatus(status: number): Ending {
  const signal = status & 0x7f
  return signal === 0
    ? { code: (status >> 8) & 0xff, signal: undefined, core: false }
    : { code: undefined, signal, core: (status & 0x80) !== 0 }
}

const names = new Map<number, string>(Object.entries(constants.signals).map(([name, number]) => [number, name]))
// Node knows them by these names first.
names.set(6, 'SIGABRT')
names.set(29, 'SIGIO')

/** php-fpm's words: `with code 0`, `on signal 11 (SIGSEGV)`. */
export function endingText({ code, signal, core }: Ending): string {
  if (signal === undefined) return `with code ${code}`
  return `on signal ${signal} (${names.get(signal) ?? ''}${core ? ' - core dumped' : ''})`
}

/** php-fpm's way to write a time: seconds and microseconds. */
export function seconds(milliseconds: number): string {
  const micros = Math.max(0, Math.round(milliseconds * 1000))
  return `${Math.floor(micros / 1_000_000)}.${String(micros % 1_000_000).padStart(6, '0')}`
}
