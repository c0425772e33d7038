// The face of `viaduct/fpm`: what php-fpm's configuration, command line, logs and status pages are, and the engine behind them.

export type * from './config/types.ts'
export type { Invocation } from './config/invocation.ts'
export type { AccessRecord } from './log/access-types.ts'
export type * from './status/types.ts'
