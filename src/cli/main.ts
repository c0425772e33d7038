#!/usr/bin/env node
// The program `viaduct`. Signal handlers first; the rest is loaded once they are there.

import { earlySignals } from './early.ts'

const { run } = await import('./commands.ts')
// Not process.exit: what was printed to a pipe would be cut.
process.exitCode = await run(process.argv.slice(2), earlySignals)
