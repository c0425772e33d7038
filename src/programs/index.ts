// The face of `viaduct/programs`: any FastCGI program as a managed pool.

export { programPool } from './pool.ts'
export type { ProgramLimits, ProgramPoolOptions, Workers } from './options.ts'
export { describeProgram } from './program.ts'
export type { ProgramFacts } from './program.ts'
