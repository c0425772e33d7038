// How a command that is no server takes signals: Ctrl-C and its like stop it, and a closed standard output too.

const STOP = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'] as const

/** What a shell makes of a program that a signal ended. */
const CODES: Readonly<Partial<Record<NodeJS.Signals, number>>> = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 }

/** Calls `stop` at each of the signals that end programs, also those that came before. SIGUSR1 and SIGUSR2 mean nothing. */
export function onStop(earlySignals: () => NodeJS.Signals[], stop: (signal: NodeJS.Signals) => void): void {
  for (const signal of STOP) process.on(signal, stop)
  // Without a handler the first would open Node's inspector, and the second end us.
  for (const signal of ['SIGUSR1', 'SIGUSR2']) process.on(signal, () => {})
  for (const signal of earlySignals()) if (STOP.some((each) => each === signal)) stop(signal)
}

/** Ends this process as a shell expects it of a program that was told to stop; also when nobody reads standard output any more. */
export function endOnStop(earlySignals: () => NodeJS.Signals[]): void {
  onStop(earlySignals, (signal) => process.exit(CODES[signal]))
  // `viaduct request ... | head`: no reason to say anything.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.stderr.write(`viaduct: standard output cannot be written: ${error.message}\n`)
    process.exit(1)
  })
}

/** Resolves when standard output has room again. */
export function print(bytes: string | Uint8Array): void | Promise<void> {
  if (process.stdout.write(bytes)) return undefined
  return new Promise((resolve) => process.stdout.once('drain', resolve))
}
