// The face of `viaduct/embedded`: PHP and Python on a machine that has neither, as WebAssembly from npm.

export { EMBEDDED_INSTALL, findEmbedded } from './packages.ts'
export type { EmbeddedInterpreter, Language } from './packages.ts'
export { embeddedPhp } from './php-pool.ts'
export type { EmbeddedPhpLimits, EmbeddedPhpOptions } from './php-options.ts'
export { embeddedWsgi } from './python-pool.ts'
export type { EmbeddedWsgiLimits, EmbeddedWsgiOptions } from './python-pool.ts'
