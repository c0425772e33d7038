// Where the log goes when nobody says where.

import type { Log } from '../core/index.ts'

/** Warnings and errors go to standard error, a line each. */
export const standardError: Log = {
  debug() {},
  info() {},
  warn: (_, message) => void process.stderr.write(message + '\n'),
  error: (_, message) => void process.stderr.write(message + '\n'),
}
