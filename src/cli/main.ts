#!/usr/bin/env node
// The program `viaduct`. Signal handlers first; the rest is loaded once they are there.

import { earlySignals } from './early.ts'

const { run } = await import('./commands.ts')
// Standard output and error are written synchronously on POSIX, so nothing is cut; and no stuck reader of a log keeps us.
process.exit(await run(process.argv.slice(2), earlySignals))
