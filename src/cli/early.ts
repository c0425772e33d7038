// Signals that come before anybody handles them. This is imported before everything else and imports nothing: until a
// handler exists, SIGUSR1 opens Node's inspector on a port, and SIGTERM ends a process that has not yet begun to tidy up.

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const

const waiting: NodeJS.Signals[] = []
const note = (signal: NodeJS.Signals): void => {
  // Nobody needs to know more than that it came, and again.
  if (waiting.length < 16) waiting.push(signal)
}
for (const signal of SIGNALS) process.on(signal, note)

/** The signals that came, in order, for somebody who has installed handlers of their own in the same turn. */
export function earlySignals(): NodeJS.Signals[] {
  for (const signal of SIGNALS) process.off(signal, note)
  return waiting.splice(0)
}
