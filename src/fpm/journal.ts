// Where lines of the main log go, as the engine sees it.

import type { LogLevel } from './config/types.ts'

export interface Journal {
  /** @param from the function that says such a line in php-fpm: it is shown at level debug. */
  write(level: LogLevel, text: string, from?: string): void
}
