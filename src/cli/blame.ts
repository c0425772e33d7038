// Why a socket could not be had, and what to do about it: the second half of an error message.

import { readFileSync, readdirSync, readlinkSync } from 'node:fs'
import { describeListen } from '../runtime/index.ts'
import type { ListenError } from '../runtime/index.ts'

/** Begins with a line break, or is empty when there is nothing to add. */
export function blame(error: ListenError): string {
  const { spec, reason } = error
  if ('path' in spec) {
    if (reason === 'EADDRINUSE') return `\nStop the server that listens there, or choose another path.`
    if (reason === 'EEXIST') return `\nRemove that file, or choose another path.`
    return ''
  }
  const elsewhere = `--listen ${describeListen({ host: spec.host, port: spec.port === 65_535 ? 8080 : spec.port + 1 })}`
  if (reason === 'EADDRINUSE') {
    const holder = whoListens(spec.port)
    return `${holder === undefined ? '' : `\nIt is ${holder}.`}\nStop it, or listen elsewhere: ${elsewhere}`
  }
  if (reason === 'EACCES' && spec.port < 1024) return `\nPorts below 1024 are root's: listen on 8080 and forward, or run as root.`
  if (reason === 'EADDRNOTAVAIL' || reason === 'ENOTFOUND') return `\nFor every address of this machine: --listen :${spec.port}`
  return ''
}

// /proc/net/tcp: state 0A is LISTEN; the second field is the local address, the tenth the inode of the socket.
const LISTENING = '0A'

/** `nginx (pid 812)`, as far as /proc shows it to us. */
function whoListens(port: number): string | undefined {
  const inodes = new Set<string>()
  const suffix = `:${port.toString(16).toUpperCase().padStart(4, '0')}`
  for (const file of ['/proc/net/tcp', '/proc/net/tcp6']) {
    for (const line of attempt(() => readFileSync(file, 'latin1').split('\n').slice(1)) ?? []) {
      const fields = line.trim().split(/\s+/)
      if (fields[1]?.endsWith(suffix) === true && fields[3] === LISTENING) inodes.add(`socket:[${fields[9]!}]`)
    }
  }
  if (inodes.size === 0) return undefined
  for (const pid of attempt(() => readdirSync('/proc').filter((name) => /^\d+$/.test(name))) ?? []) {
    for (const fd of attempt(() => readdirSync(`/proc/${pid}/fd`)) ?? []) {
      const target = attempt(() => readlinkSync(`/proc/${pid}/fd/${fd}`))
      if (target === undefined || !inodes.has(target)) continue
      const name = attempt(() => readFileSync(`/proc/${pid}/comm`, 'utf8').trim()) ?? 'a program'
      return `${name} (pid ${pid})`
    }
  }
  return 'a program of another user'
}

/** /proc changes while it is read, and hides what belongs to others. */
function attempt<T>(read: () => T): T | undefined {
  try {
    return read()
  } catch {
    return undefined
  }
}
