// What a test can see of other processes: who descends from whom, who is still there, how much memory somebody had at most.

import { readFileSync, readdirSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

interface Seen {
  readonly parent: number
  readonly group: number
  /** One letter of proc(5): Z is a zombie. */
  readonly state: string
  /** Ticks since boot: with the pid it names a process, for pids are used again. */
  readonly started: string
}

function look(pid: number): Seen | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0]!, parent: Number(fields[1]), group: Number(fields[2]), started: fields[19]! }
  } catch {
    return undefined
  }
}

function everyPid(): number[] {
  return readdirSync('/proc').map(Number).filter(Number.isInteger)
}

/** One process, for good: another with the same pid later is not it. */
export class Watched {
  readonly pid: number
  readonly #started: string | undefined

  constructor(pid: number) {
    this.pid = pid
    this.#started = look(pid)?.started
  }

  /** A zombie has ended; only its parent has not looked yet. */
  get alive(): boolean {
    const seen = look(this.pid)
    return seen !== undefined && seen.state !== 'Z' && seen.started === this.#started
  }

  get commandLine(): string {
    try {
      return readFileSync(`/proc/${this.pid}/cmdline`, 'utf8').replaceAll('\0', ' ').trim()
    } catch {
      return ''
    }
  }
}

function childrenOf(pid: number): Watched[] {
  return everyPid()
    .filter((each) => look(each)?.parent === pid)
    .map((each) => new Watched(each))
}

/** All processes below `pid`, without it. */
export function descendantsOf(pid: number): Watched[] {
  return childrenOf(pid).flatMap((child) => [child, ...descendantsOf(child.pid)])
}

/** The fronts that `viaduct serve` runs: children of the supervisor. Two for a moment while one follows the other. */
export function frontsOf(supervisor: number): Watched[] {
  return childrenOf(supervisor).filter((child) => child.alive && /\bfront\.js\b/.test(child.commandLine))
}

/** The only front. Throws when there are more or none. */
export function frontOf(supervisor: number): Watched {
  const fronts = frontsOf(supervisor)
  if (fronts.length !== 1) throw new Error(`expected one front below ${supervisor}, found ${fronts.length}`)
  return fronts[0]!
}

/** The most memory the process has had resident, in bytes. */
export function peakMemory(pid: number): number {
  const match = /^VmHWM:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))
  return Number(match?.[1]) * 1024
}

/** Polls until `condition` gives something other than false or undefined. Rejects after `deadline` milliseconds, saying what it waited for. */
export async function eventually<T>(
  what: string,
  condition: () => T | false | undefined | Promise<T | false | undefined>,
  deadline = 10_000,
): Promise<T> {
  const end = Date.now() + deadline
  for (;;) {
    const result = await condition()
    if (result !== undefined && result !== false) return result
    if (Date.now() > end) throw new Error(`not within ${deadline} ms: ${what}`)
    await sleep(20)
  }
}

/** Resolves when none of them is alive; otherwise rejects with their command lines. */
export async function allGone(processes: readonly Watched[], deadline = 10_000): Promise<void> {
  const left = (): Watched[] => processes.filter((each) => each.alive)
  await eventually('all processes gone', () => left().length === 0, deadline).catch(() => {
    throw new Error(
      `still there after ${deadline} ms:\n${left()
        .map((each) => `${each.pid} ${each.commandLine}`)
        .join('\n')}`,
    )
  })
}
