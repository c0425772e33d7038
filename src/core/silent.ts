// A log for whoever was given none.

import type { Log } from './types.ts'

export const silent: Log = { debug() {}, info() {}, warn() {}, error() {} }
