// Telling a service manager how we are (sd_notify(3)). Node has no datagram sockets in the file system, so a small program sends for us:
// systemd's own, which says that it speaks for us, or Perl, where the unit must have NotifyAccess=all.

import { spawn } from 'node:child_process'
import { findProgram } from '../process/index.ts'

const PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin'

// An address that begins with @ is an abstract one.
const SEND = `use Socket; my ($to, $text) = @ARGV; $to =~ s/^@/\\0/; socket(my $s, AF_UNIX, SOCK_DGRAM, 0) or exit 1; send($s, $text, 0, pack_sockaddr_un($to)) or exit 1;`

/** Milliseconds for one message: who does not listen must not hold up those after it. */
const SEND_TIME = 5000

export interface Notifier {
  /** Sends `READY=1` and the like, lines in order. Resolves when it was sent, or cannot be. */
  send(...lines: readonly string[]): Promise<void>
}

/** undefined: nobody waits for news, or there is no program to send them with. */
export function openNotifier(env: NodeJS.ProcessEnv = process.env): Notifier | undefined {
  const address = env['NOTIFY_SOCKET']
  if (address === undefined || address === '') return undefined
  const systemd = findProgram('systemd-notify', { path: PATH })
  const perl = findProgram('perl', { path: PATH })
  const command = (lines: readonly string[]): [string, string[]] | undefined => {
    if (systemd !== undefined) return [systemd, [`--pid=${process.pid}`, ...lines]]
    return perl === undefined ? undefined : [perl, ['-e', SEND, address, lines.join('\n')]]
  }
  if (command([]) === undefined) return undefined
  let before: Promise<void> = Promise.resolve()
  return {
    send: (...lines) => {
      const [file, args] = command(lines)!
      return (before = before.then(() => run(file, args, address)))
    },
  }
}

function run(file: string, args: readonly string[], address: string): Promise<void> {
  return new Promise((resolve) => {
    const child = spawn(file, args, { stdio: 'ignore', env: { NOTIFY_SOCKET: address }, timeout: SEND_TIME, killSignal: 'SIGKILL' })
    child.once('error', () => resolve())
    child.once('exit', () => resolve())
  })
}

/** php-fpm's status line. */
export function statusLine(
  tally: { readonly active: number; readonly idle: number; readonly accepted: number; readonly slow: number },
  rate: number,
): string {
  return `STATUS=Processes active: ${tally.active}, idle: ${tally.idle}, Requests: ${tally.accepted}, slow: ${tally.slow}, Traffic: ${rate.toFixed(2)}req/sec`
}
