// The face of `viaduct/node`: JavaScript apps in this process.

export { loadApp } from './load-app.ts'
export { placeOf } from './place.ts'
export { isAppRunning } from './uncaught.ts'
export type { LoadAppOptions } from './load-app.ts'
export type { AppKind } from './detect.ts'
