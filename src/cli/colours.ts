// Colours only where somebody sees them: on a terminal, unless NO_COLOR is set (no-color.org).

import pc from 'picocolors'

export type Colours = ReturnType<typeof pc.createColors>

/** The colours of one output: of a terminal all, elsewhere none. */
export function coloursOf(stream: { readonly isTTY?: boolean }): Colours {
  const { NO_COLOR: no, TERM: term } = process.env
  return pc.createColors(stream.isTTY === true && (no === undefined || no === '') && term !== 'dumb')
}
