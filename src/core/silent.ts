// Logs for whoever was given none.

import type { Log } from './types.ts'

/** A log that drops everything: for whoever was given none. */
export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }

/** A log that writes warnings and errors to standard error, a line each. */
export const standardError: Log = {
  debug() {},
  info() {},
  warn: (_, message) => void process.stderr.write(message + '\n'),
  error: (_, message) => void process.stderr.write(message + '\n'),
}
