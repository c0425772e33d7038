// The program of a front of `viaduct fpm`: its master starts it, nobody else does. Signal handlers first, as in main.ts; what comes early
// is dropped, for a front does what its master says.

import { earlySignals } from './early.ts'

const { runFront } = await import('../runtime/index.ts')
const { buildFpm } = await import('../fpm/front.ts')
runFront({ build: buildFpm })
earlySignals()
