// Whether the terminal has gone. A terminal that is closed sends SIGHUP, which to a daemon means "reload": a server that
// was started by hand would then live on, unseen, with its port.

import { closeSync, openSync } from 'node:fs'
import { isatty } from 'node:tty'

/**
 * To be asked on SIGHUP. True where this process was started on a terminal, writes its messages there, and has it no more;
 * under `nohup` and service managers never.
 */
export function watchTerminal(): () => boolean {
  const attended = isatty(2) && reachable()
  return () => attended && !reachable()
}

function reachable(): boolean {
  try {
    // ENXIO when there is no controlling terminal (tty(4)), as after a hangup.
    closeSync(openSync('/dev/tty', 'r'))
    return true
  } catch {
    return false
  }
}
