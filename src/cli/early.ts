// Signals that come before anybody handles them. This is imported before everything else and imports nothing of ours: until
// a handler exists, SIGUSR1 opens Node's inspector on a port, and SIGTERM ends a process that has not yet begun to tidy up.

import { getBuiltinModule } from 'node:process'

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const

const waiting: NodeJS.Signals[] = []
const note = (signal: NodeJS.Signals): void => {
  // Nobody needs to know more than that it came, and again.
  if (waiting.length < 16) waiting.push(signal)
}
for (const signal of SIGNALS) process.on(signal, note)

// The first tens of milliseconds belong to Node, not to us: an inspector that a signal has opened by then is closed again,
// for whoever reaches its port can run anything here. It opens from an interrupt, hence the later look.
if (process.features.inspector && ![...process.execArgv, process.env['NODE_OPTIONS']].some((option) => option?.includes('--inspect'))) {
  const { close, url } = getBuiltinModule('node:inspector')
  const look = (): void => {
    if (url() !== undefined) close()
  }
  look()
  setImmediate(look)
  setTimeout(look, 100).unref()
}

/** The signals that came, in order, for somebody who has installed handlers of their own in the same turn. */
export function earlySignals(): NodeJS.Signals[] {
  for (const signal of SIGNALS) process.off(signal, note)
  return waiting.splice(0)
}
