// Ending a process group: the program, and all it has started.

import { GatewayError } from '../core/index.ts'
import type { Exit } from './launch.ts'
import { climb } from './shutdown.ts'
import type { Ladder } from './shutdown.ts'

/** Sends `signal` to every member of a group; 0 only asks. @returns whether there was anybody, also one whom we may not signal. */
export function signalGroup(pgid: number, signal: NodeJS.Signals | 0): boolean {
  // -1 would be everybody, and -0 our own group.
  if (!Number.isSafeInteger(pgid) || pgid <= 1) {
    throw new GatewayError('CONTRACT', { status: 500, message: `process: ${pgid} is not a process group that can be signalled` })
  }
  try {
    process.kill(-pgid, signal)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}

/**
 * Climbs the ladder until the group's leader has exited, then kills what is left of the group. The group's number is the leader's,
 * and once that is reaped and nobody is left it may be given to others: nothing is sent later than in the turn that tells of its
 * exit, and nothing at all if it had exited before.
 * @returns the leader's exit.
 */
export function endGroup(leader: { readonly pid: number; readonly exited: Promise<Exit> }, rungs: Ladder): Promise<Exit> {
  return new Promise((resolve) => {
    const from = performance.now()
    let sent = 0
    let over = false
    let timer: NodeJS.Timeout | undefined
    const step = (): void => {
      if (over) return
      const { due, next } = climb(rungs, performance.now() - from)
      // A timer that was late skips the rungs it missed but the last of them.
      const rung = rungs[due - 1]
      if (rung !== undefined && due > sent) signalGroup(leader.pid, rung.signal)
      sent = due
      if (next !== undefined) timer = setTimeout(step, Math.max(1, next))
    }
    let late = true
    void leader.exited.then((exit) => {
      over = true
      clearTimeout(timer)
      if (!late) signalGroup(leader.pid, 'SIGKILL')
      resolve(exit)
    })
    // One turn later: whoever has exited before this call is found out first, and nothing is sent to a number that is not its own.
    void Promise.resolve().then(() => {
      late = false
      step()
    })
  })
}
