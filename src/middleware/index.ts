// The face of `viaduct/middleware`: one application made out of another.

export { internal } from './internal.ts'
export type { InternalFiles, InternalOptions } from './internal.ts'
