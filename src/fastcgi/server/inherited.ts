// How a program finds out what it was started as: a listening socket on descriptor 0 is FastCGI (FastCGI 1.0, 2.2), so is one from
// systemd (sd_listen_fds(3)), and a request in the environment is CGI.
//
// The specification's test is getpeername(2), which Node does not have; the kernel's tables say the same and more.

import { GatewayError } from '../../core/index.ts'
import { fstatSync, readFileSync, readlinkSync } from 'node:fs'

/** SO_ACCEPTCON in /proc/net/unix, TCP_LISTEN in /proc/net/tcp. */
const UNIX_LISTENS = 0x10000
const TCP_LISTENS = '0A'

/**
 * Whether this process was started as a FastCGI program: its standard input is a listening socket. With it one program is both:
 * `await (isFastCgi() ? serveFastCgi(application) : serveCgi(application))`.
 */
export function isFastCgi(fd: number = 0): boolean {
  try {
    if (!fstatSync(fd).isSocket()) return false
  } catch {
    // Closed.
    return false
  }
  // A socket that the tables do not show was made in another network namespace, as service managers do; and a CGI program knows its request.
  return listens(fd) ?? process.env['GATEWAY_INTERFACE'] === undefined
}

/** systemd hands over sockets from this descriptor on. */
const SYSTEMD_FIRST = 3

/**
 * The listening socket that this process was started with: descriptor 0, or systemd's. Throws CONFIG where systemd gave several, for
 * which of them is meant only the program knows.
 */
export function inheritedSocket(env: NodeJS.ProcessEnv = process.env): { readonly fd: number } | undefined {
  if (isFastCgi()) return { fd: 0 }
  const count = Number(env['LISTEN_FDS'] ?? 0)
  // Not for us, but for whoever started us.
  if (Number(env['LISTEN_PID']) !== process.pid || !(count >= 1)) return undefined
  if (count === 1) return { fd: SYSTEMD_FIRST }
  const names = env['LISTEN_FDNAMES'] === undefined ? '' : ` (${env['LISTEN_FDNAMES']})`
  throw new GatewayError('CONFIG', {
    status: 500,
    message: `fastcgi: serveFastCgi: systemd gave ${count} sockets${names}; call it for each with listen: { fd }, the first one is { fd: ${SYSTEMD_FIRST} }`,
  })
}

/** Whether this process was started for one request, which is in its environment (RFC 3875, 4.1). */
export function isCgi(env: NodeJS.ProcessEnv = process.env): boolean {
  return env['GATEWAY_INTERFACE'] !== undefined || env['REQUEST_METHOD'] !== undefined
}

function listens(fd: number): boolean | undefined {
  try {
    const inode = /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/self/fd/${fd}`))?.[1]
    if (inode === undefined) return undefined
    return inUnix(inode) ?? inTcp(inode, 'tcp') ?? inTcp(inode, 'tcp6')
  } catch {
    // No /proc.
    return undefined
  }
}

function inUnix(inode: string): boolean | undefined {
  for (const line of readFileSync('/proc/net/unix', 'latin1').split('\n')) {
    const [, , , flags, , , found] = line.split(/ +/)
    if (found === inode) return (parseInt(flags ?? '0', 16) & UNIX_LISTENS) !== 0
  }
  return undefined
}

function inTcp(inode: string, table: 'tcp' | 'tcp6'): boolean | undefined {
  for (const line of readFileSync(`/proc/net/${table}`, 'latin1').split('\n')) {
    const fields = line.trim().split(/ +/)
    if (fields[9] === inode) return fields[3] === TCP_LISTENS
  }
  return undefined
}
