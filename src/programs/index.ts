// The face of `viaduct/programs`: any FastCGI program as a managed pool.

export { programPool } from './pool.ts'
export type { ProgramLimits, ProgramPoolOptions } from './options.ts'
export type { Workers } from '../process/index.ts'
export { describeProgram } from './program.ts'
export type { ProgramFacts } from './program.ts'
