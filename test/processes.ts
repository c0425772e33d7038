// What tests ask about processes: whether any of a group still runs, and how to wait for that without sleeping.

import { readFileSync, readdirSync } from 'node:fs'

/** Pids of the members of a process group that run. Zombies do not: who reaps them is up to init, and some take their time. */
export function members(pgid: number): number[] {
  const found: number[] = []
  for (const entry of readdirSync('/proc')) {
    if (!/^\d+$/.test(entry)) continue
    try {
      // The name is in parentheses and may hold any character, so what follows is counted from the last one.
      const stat = readFileSync(`/proc/${entry}/stat`, 'latin1')
      const [state, , group] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
      if (Number(group) === pgid && state !== 'Z' && state !== 'X') found.push(Number(entry))
    } catch {
      // It ended between the two looks.
    }
  }
  return found
}

/** Polls until `what` is true; throws after `deadline` milliseconds. */
export async function until(what: () => boolean, deadline = 5000): Promise<void> {
  const end = performance.now() + deadline
  while (!what()) {
    if (performance.now() > end) throw new Error(`not within ${deadline} ms: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
