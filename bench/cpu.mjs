// Where the CPU time and the memory of a run went, read from /proc for whole process trees.
//
// A rate alone hides who paid for it: a front that idles while workers wait, or a receiver that does the sender's work.

import { execFileSync } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'

const ticksPerSecond = Number(execFileSync('getconf', ['CLK_TCK'], { encoding: 'utf8' }))

/** What /proc/PID/stat says of every process: pid -> { parent, command, own, reaped }, times in seconds. */
function processes() {
  const found = new Map()
  for (const name of readdirSync('/proc')) {
    const pid = Number(name)
    if (!Number.isInteger(pid)) continue
    try {
      const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
      // The command may hold spaces and parentheses: the fields after it start behind the last one.
      const open = stat.indexOf('(')
      const close = stat.lastIndexOf(')')
      const fields = stat.slice(close + 2).split(' ')
      const seconds = (index) => Number(fields[index]) / ticksPerSecond
      found.set(pid, {
        parent: Number(fields[1]),
        command: stat.slice(open + 1, close),
        own: seconds(11) + seconds(12),
        reaped: seconds(13) + seconds(14),
      })
    } catch {
      // It ended between the listing and the look.
    }
  }
  return found
}

function descendants(all, roots) {
  const tree = new Set(roots.filter((pid) => all.has(pid)))
  // A child may be listed before its parent, so look again until nothing new is found.
  for (let before = -1; before !== tree.size;) {
    before = tree.size
    for (const [pid, { parent }] of all) if (tree.has(parent)) tree.add(pid)
  }
  return tree
}

/**
 * Seconds of CPU used so far by the trees under `roots`, as { front, workers }. Workers are PHP processes, and every child that was
 * waited for: CGI programs end within a round, and their time is only in their parent's account by then.
 */
export function cpuOf(roots) {
  const all = processes()
  const sum = { front: 0, workers: 0 }
  for (const pid of descendants(all, roots)) {
    const { command, own, reaped } = all.get(pid)
    if (command.startsWith('php')) sum.workers += own
    else sum.front += own
    sum.workers += reaped
  }
  return sum
}

/** Seconds of CPU of the children of this process that have ended and were waited for: the load generator's, between two calls. */
export function cpuOfEndedChildren() {
  const { reaped } = processes().get(process.pid)
  return reaped
}

/** Seconds of CPU that the whole machine has spent since it started, idling and waiting left out. */
export function cpuOfMachine() {
  const [user, nice, system, , , interrupts, softInterrupts] = readFileSync('/proc/stat', 'utf8')
    .split('\n', 1)[0]
    .split(/ +/)
    .slice(1)
    .map(Number)
  return (user + nice + system + interrupts + softInterrupts) / ticksPerSecond
}

/**
 * Proportional set size of the processes under `roots`, in bytes: shared pages are divided among those who share them.
 * { sum, largest }: of all, and of the one that has most, which is the one that serves.
 */
export function pssOf(roots) {
  const sizes = [...descendants(processes(), roots)].map(pss)
  return { sum: sizes.reduce((sum, size) => sum + size, 0), largest: Math.max(...sizes) }
}

function pss(pid) {
  try {
    return Number(/^Pss:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8'))?.[1] ?? 0) * 1024
  } catch {
    // It ended meanwhile.
    return 0
  }
}
