// Settings that are given twice. php-fpm keeps them in lists to whose head it adds, and sets them from there: the first one in the files counts.

import type { Pair } from './types.ts'

/** Each name once, in the order of the files. */
export function firstOfEach(pairs: readonly Pair[]): readonly Pair[] {
  return pairs.filter(([name], at) => pairs.findIndex(([other]) => other === name) === at)
}
