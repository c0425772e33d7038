// Who a process has started, and what it holds open: from /proc (proc(5)).

import { readFileSync, readdirSync, readlinkSync } from 'node:fs'

/** Pids of a single-threaded process's children, those that have ended included. */
export function childrenOf(pid: number): number[] {
  try {
    const text = readFileSync(`/proc/${pid}/task/${pid}/children`, 'latin1')
    return text
      .split(' ')
      .map(Number)
      .filter((each) => each > 0)
  } catch {
    return []
  }
}

/** What a process's descriptors lead to: `socket:[123]` and the like. */
export function descriptorsOf(pid: number): string[] {
  try {
    return readdirSync(`/proc/${pid}/fd`).map((name) => {
      try {
        return readlinkSync(`/proc/${pid}/fd/${name}`)
      } catch {
        // Closed while we looked.
        return ''
      }
    })
  } catch {
    // The process went away, or is not ours.
    return []
  }
}
