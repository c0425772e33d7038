// The face of `viaduct/middleware`: one application made out of another.

export { accessLog, combined } from './access-log.ts'
export type { AccessRecord } from './access-log.ts'
export { bodyLimit } from './body-limit.ts'
export { errorPage } from './error-page.ts'
export type { ErrorPageOptions } from './error-page.ts'
export { internal } from './internal.ts'
export type { InternalFiles, InternalOptions } from './internal.ts'
export { timeout } from './timeout.ts'
