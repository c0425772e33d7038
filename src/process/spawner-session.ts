// Everything that belongs to a session whose leader has gone: what a dead spawning helper left behind.

import { readFile, readdir } from 'node:fs/promises'

/**
 * Kills (SIGKILL) every process of this session. Programs of a helper that was killed have lost their parent, and those that
 * changed their process group, as the background jobs of an interactive shell do, are found no other way.
 * Without /proc nothing is done.
 */
export async function killSession(session: number): Promise<void> {
  // What is being killed may still fork: looked at again until nobody is left, within reason.
  for (let round = 0; round < 10; round++) {
    const members = await membersOf(session)
    if (members.length === 0) return
    for (const pid of members) {
      try {
        process.kill(pid, 'SIGKILL')
      } catch {
        // It went by itself.
      }
    }
    await new Promise((resolve) => {
      setTimeout(resolve, 5)
    })
  }
}

async function membersOf(session: number): Promise<number[]> {
  const names = await readdir('/proc').catch(() => [])
  const pids = names.filter((name) => /^\d+$/.test(name))
  const found = await Promise.all(pids.map(async (name) => ((await sessionOf(name)) === session ? [Number(name)] : [])))
  return found.flat()
}

/** proc(5): the second field of stat is the program's name in parentheses, which may itself hold any byte. Zombies do not count. */
async function sessionOf(pid: string): Promise<number | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return fields[0] === 'Z' || fields[0] === 'X' ? undefined : Number(fields[3])
}
