#!/usr/bin/env node
// The program `viaduct`. Signal handlers first; the rest is loaded once they are there.

import { earlySignals } from './early.ts'

const { run } = await import('./commands.ts')
// A server ends although a stuck reader of its log has not taken everything; tools have waited for theirs.
process.exit(await run(process.argv.slice(2), earlySignals))
