// How many connections the kernel lets wait at a listening socket, as `ss` tells it: callers look whether there is one.

import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { which } from './peers.ts'

/** No more than this, whatever is asked for. */
export const BACKLOG_MOST: number = Number(readFileSync('/proc/sys/net/core/somaxconn', 'utf8'))

/** Of the listening socket in whose line this is found: `:8080 `, a path. */
export function backlogOf(socket: string): number {
  const lines = execFileSync(which('ss')!, ['-Hlntx'], { encoding: 'utf8' }).split('\n')
  return Number(lines.find((line) => line.includes(socket))?.split(/ +/)[3])
}
