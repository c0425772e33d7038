// The signals of a process that supervises: caught first of all, and only written down. Who acts on them comes later.

/** Until there is a handler, SIGUSR1 opens Node's inspector on a port, and the others end a process that has not tidied up. */
const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGQUIT', 'SIGHUP', 'SIGUSR1', 'SIGUSR2'] as const
/** A signal that a supervisor acts on. */
export type CaughtSignal = (typeof SIGNALS)[number]

/** Those that wait for a consumer. Somebody may send more; that they came, and came again, is all there is to know. */
const KEPT = 16

/** The signals of this process, caught. */
export interface Signals {
  /** Each signal from now on, and first those that came before, in order. A later consumer replaces an earlier one. */
  consume(callback: (signal: CaughtSignal) => void): void
  /** Gives the signals their default actions back. */
  close(): void
}

/** Catches those signals from now on. @param earlier hands over signals that somebody else caught before; asked when the handlers are in place, so that none falls between. */
export function installSignals(earlier?: () => readonly NodeJS.Signals[]): Signals {
  const waiting: CaughtSignal[] = []
  let consumer: ((signal: CaughtSignal) => void) | undefined
  const caught = (signal: CaughtSignal): void => {
    if (consumer !== undefined) consumer(signal)
    else if (waiting.length < KEPT) waiting.push(signal)
  }
  for (const signal of SIGNALS) process.on(signal, caught)
  for (const signal of earlier?.() ?? []) if (isCaught(signal)) caught(signal)
  return {
    consume(callback) {
      consumer = callback
      for (const signal of waiting.splice(0)) callback(signal)
    },
    close() {
      for (const signal of SIGNALS) process.off(signal, caught)
    },
  }
}

function isCaught(signal: NodeJS.Signals): signal is CaughtSignal {
  return (SIGNALS as readonly NodeJS.Signals[]).includes(signal)
}
