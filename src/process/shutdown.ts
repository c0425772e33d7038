// How a program is made to end: asked, asked again, then killed. Which signal asks depends on the program.

/** One step of making a program end. */
export interface Rung {
  /** Sent to its whole group. */
  readonly signal: NodeJS.Signals
  /** Milliseconds after the first rung. */
  readonly at: number
}

/** In ascending order of time; the last rung is SIGKILL, for nothing else is sure. */
export type Ladder = readonly Rung[]

/**
 * QUIT asks a program to finish what it does, for as long as `grace` ms; TERM asks it to leave; after `patience` more it is killed.
 * With `polite: 'SIGTERM'` there is no QUIT, which would end most programs with a core dump: the choice for all that do not document it.
 */
export function ladder(options: { readonly grace: number; readonly patience?: number; readonly polite?: 'SIGQUIT' | 'SIGTERM' }): Ladder {
  const { grace, patience = 1000, polite = 'SIGTERM' } = options
  if (polite === 'SIGTERM') {
    return [
      { signal: 'SIGTERM', at: 0 },
      { signal: 'SIGKILL', at: grace },
    ]
  }
  return [
    { signal: 'SIGQUIT', at: 0 },
    { signal: 'SIGTERM', at: grace },
    { signal: 'SIGKILL', at: grace + patience },
  ]
}

/** Where one stands `elapsed` ms after the start: how many rungs are due by now, and in how many ms the next one is. */
export function climb(rungs: Ladder, elapsed: number): { readonly due: number; readonly next: number | undefined } {
  const index = rungs.findIndex((rung) => rung.at > elapsed)
  const next = rungs[index]
  return next === undefined ? { due: rungs.length, next: undefined } : { due: index, next: next.at - elapsed }
}
