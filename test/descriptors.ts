// What this process holds open, for tests that nothing leaks. Linux: reads /proc.

import { readdirSync, readlinkSync } from 'node:fs'

/** The descriptors of files whose path begins with `prefix`; a file that was unlinked counts by the path it had. */
export function descriptorsOf(prefix: string): number[] {
  return readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`).startsWith(prefix) ? [Number(fd)] : []
    } catch {
      return [] // the descriptor that readdir itself used
    }
  })
}
