// The program of a front: `viaduct serve` starts it, nobody else does. Signal handlers first, as in main.ts; what comes
// early is dropped, for a front does what its supervisor says.

import { earlySignals } from './early.ts'

const { runFront } = await import('../runtime/index.ts')
const { buildFront } = await import('./site.ts')
const { isAppRunning } = await import('../node/index.ts')
runFront({ build: buildFront, owned: isAppRunning })
earlySignals()
