// The face of `viaduct/php`: a pool of PHP workers as an application.

export { PHP_INSTALL, findPhpCgi, phpVersion } from './interpreter.ts'
export type { PhpInterpreter } from './interpreter.ts'
export { PHP_EXTENSIONS, hasExtension, splitScript } from './script.ts'
export type { ScriptSplit } from './script.ts'
export { resolveScript } from './resolve.ts'
export { phpPool } from './pool.ts'
export type { PhpLimits, PhpPoolOptions } from './options.ts'
