// How a command that is no server begins and ends: Ctrl-C and its like stop it, a closed standard output too, and what it said is read.

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
function endOnStop(earlySignals: () => NodeJS.Signals[]): void {
  onStop(earlySignals, (signal) => process.exit(CODES[signal]))
  // `viaduct request ... | head`: no reason to say anything.
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code !== 'EPIPE') process.stderr.write(`viaduct: standard output cannot be written: ${error.message}\n`)
    process.exit(1)
  })
}

/** Writes to standard output; the promise is kept when it has room again. */
export function print(bytes: string | Uint8Array): void | Promise<void> {
  return process.stdout.write(bytes) ? undefined : room()
}

/** Waits until standard output has room: a pipe whose reader is slow takes 64 KiB, and what is written meanwhile is memory. */
export function room(): void | Promise<void> {
  if (!process.stdout.writableNeedDrain) return undefined
  return new Promise((resolve) => process.stdout.once('drain', resolve))
}

/** Runs what looks at something and prints it. */
export async function runTool(earlySignals: () => NodeJS.Signals[], tool: () => Promise<number>): Promise<number> {
  endOnStop(earlySignals)
  const code = await tool()
  await flushed()
  return code
}

/** Waits until everything is out: the end of this process would cut off what a full pipe has not taken. */
export async function flushed(): Promise<void> {
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise<void>((resolve) => stream.write('', () => resolve()))))
}
